"""Commands, options, scripts and links in the documents exist, and the output that they show is current."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from provisioner.cli import app
from provisioner.explain.messages import MEANINGS
from provisioner.inventory import load
from provisioner.model import (
    Action,
    Call,
    Check,
    Drift,
    Failure,
    Kind,
    Outcome,
    Pair,
    ProofResult,
    Report,
    SshTarget,
    State,
)
from provisioner.report.people import show_people
from provisioner.runner.converge import outcome
from provisioner.steps import STEPS
from provisioner.transport.network import _unreachable

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
LAB = (ROOT / "docs/lab.md").read_text()
COMMANDS = (ROOT / "docs/commands.md").read_text()
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("vagrant/*.md")], key=str)
COMMAND = re.compile(r"(?:^ *|`)(?:sudo )?((?:\.venv/bin/)?provisioner [^`#\n]*?)(?=`|  +|#|$)", re.MULTILINE)


def commands(text: str) -> list[str]:
    return [found.strip() for found in COMMAND.findall(text)]


def refuse_unknown(words: list[str]) -> None:
    """Check the words of a command line against typer's commands and options."""
    command = typer.main.get_command(app)
    while words:
        word = words.pop(0)
        if word == "--":
            return
        if word.startswith("-") and word != "-":  # `-` is standard input
            known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
            assert word in known | {"--help", "--install-completion", "--show-completion"}, f"no option {word}"
        elif children := getattr(command, "commands", None):
            assert word in children, f"no command {word}"
            command = children[word]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_commands_exist(path):
    for line in commands(path.read_text()):
        words = shlex.split(re.sub(r"[\[\]|>()]", " ", line))[1:]
        refuse_unknown([word for word in words if word != "..."])


def test_commands_are_found_at_all():
    assert {"provisioner up cluster.yml", "provisioner plan cluster.yml"} <= set(commands(README))
    with pytest.raises(AssertionError, match="no command undo"):
        refuse_unknown(["undo"])
    with pytest.raises(AssertionError, match="no option --host"):
        refuse_unknown(["lab", "up", "--host", "3"])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_links_lead_somewhere(path):
    for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", path.read_text()):
        if target.startswith("http"):
            continue
        page = path.parent / target if target else path
        assert page.exists(), target
        assert not anchor or anchor in anchors(page.read_text()), f"{target}#{anchor}"


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub derives them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_fits_three_screens():
    lines = README.splitlines()
    assert len(lines) <= 3 * 45
    assert max(map(len, lines)) <= 140


def test_the_scripts_exist_and_are_executable():
    named = set(re.findall(r"scripts/[a-z]+\b", README))
    assert {"scripts/demo", "scripts/test"} <= named
    for name in named:
        assert (ROOT / name).stat().st_mode & 0o111


def test_the_inventory_in_the_readme_is_valid(tmp_path):
    text = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)[1]
    (tmp_path / "cluster.yml").write_text(text)
    assert len(load(tmp_path / "cluster.yml").hosts) == 3


def demo() -> Report:
    """The demo's report, as far as it is shown. tests/e2e/test_scripts.py compares a real one."""
    hosts = ("node1", "node2", "node3")
    changed = {
        "version": [Drift(Kind.FILE, "/etc/provisioner/version")],
        "firewall": [
            Drift(Kind.RULES, "iptables", is_file=True),
            Drift(Kind.RULES, "ip6tables", is_file=True),
            Drift(Kind.FILE, "/etc/provisioner/firewall.sh"),
            Drift(Kind.FILE, "/etc/systemd/system/provisioner-firewall.service"),
            Drift(Kind.BOOT, "provisioner-firewall.service", action=Action.ENABLE),
            Drift(Kind.UNIT, "provisioner-firewall.service", action=Action.START),
        ],
        "store": [
            Drift(Kind.FILE, "/etc/consul.d/provisioner.json", is_file=True),
            Drift(Kind.FILE, "/etc/systemd/system/consul.service", is_file=True),
            Drift(Kind.CONFIDENTIAL, "/var/lib/consul/serf/local.keyring", action=Action.RESTART, of="Consul"),
            Drift(Kind.FILE, "/etc/provisioner/consul-gossip.json"),
            Drift(Kind.CONFIDENTIAL, "/etc/consul.d/provisioner-tls/authority.pem", action=Action.RELOAD, of="Consul"),
            Drift(Kind.CONFIDENTIAL, "/etc/consul.d/provisioner-tls/agent.pem", action=Action.RELOAD, of="Consul"),
            Drift(Kind.CONFIDENTIAL, "/etc/consul.d/provisioner-tls/agent-key.pem", action=Action.RELOAD, of="Consul"),
            Drift(Kind.FILE, "/etc/consul.d/provisioner-tls/authority-key.pem"),
            Drift(Kind.CONFIDENTIAL, "/etc/consul.d/provisioner-management.json", action=Action.RESTART, of="Consul"),
            Drift(Kind.CONFIDENTIAL, "/etc/consul.d/provisioner-tokens.json", action=Action.RELOAD, of="Consul"),
            Drift(Kind.UNIT, "consul.service", action=Action.START),
            Drift(Kind.BOOT, "consul.service", action=Action.ENABLE),
        ],
        "daemon": [
            Drift(Kind.FILE, "/etc/docker/daemon.json", is_file=True),
            Drift(Kind.FILE, "/etc/systemd/system/docker.service.d/provisioner.conf", is_file=True),
            Drift(Kind.FILE, "/etc/provisioner/gossip.pl", is_file=True),
            Drift(Kind.FILE, "/etc/systemd/system/provisioner-gossip.service", is_file=True),
            Drift(Kind.ENGINE_USES, "store", action=Action.RELOAD),
            Drift(Kind.BOOT, "provisioner-gossip.service", action=Action.ENABLE),
        ],
        "networks": [Drift(Kind.NETWORK, "demo", action=Action.CREATE)],
    }
    outcomes = tuple(
        Outcome(host, step, State.CONVERGED, tuple(drifts)) for step, drifts in changed.items() for host in hosts
    )
    times = iter((0.07, 0.23, 0.14, 0.08, 0.15, 0.13))
    speeds = iter((1039.0, 1887.0, 2600.0, 1089.0, 1204.0, 1711.0))
    pairs = tuple(
        Pair(s, t, *[0.302] * 5, rtt=next(times) / 1000, throughput=next(speeds))
        for s in hosts
        for t in hosts
        if s != t
    )
    proof = ProofResult("overlay", "demo", State.SETTLED, pairs, mtu=1450, seconds=0.302)
    checks = tuple(Check(host, "", 0.303) for host in hosts)
    apart = ProofResult(
        "isolation",
        "demo",
        State.SETTLED,
        reason="no packet leaves for the cluster's ports of other hosts",
        checks=checks,
        seconds=0.303,
    )
    return Report("up", "demo", hosts, 0, 9.0, writes=10, outcomes=outcomes, proofs=(proof, apart))


def printed(report: Report, folder: Path) -> str:
    with (folder / "out").open("w+", encoding="utf-8") as stream:
        show_people(report, stream, color=False, verbose=False)
        stream.seek(0)
        return stream.read()


def test_the_shown_output_is_current(tmp_path):
    shown = re.search(r"```text\n.*?\n\n(.*?\n)\nThe hosts keep running", LAB, re.DOTALL)[1]
    extract = re.search(r"```text\n(.*?)```", README, re.DOTALL)[1]
    assert printed(demo(), tmp_path) == shown
    assert shown.endswith(extract)


def test_the_plan_in_the_commands_is_current(site, tmp_path):
    """The numbers and the store's files differ, because the captured hosts have no security."""
    shown = re.search(r"```console\n\$ provisioner plan cluster.yml\n(.*?)```", COMMANDS, re.DOTALL)[1]
    found = site("installed")
    steps = [step for step in STEPS if step.name not in found.plane.unused]
    outcomes = tuple(outcome(step, found, name) for step in steps for name in found.live)
    call = Call("cluster.yml", makes="up")
    report = Report("plan", "lab", tuple(found.live), 2, 1.0, outcomes=outcomes, call=call)
    lines = [re.sub(r"\d+ things", "75 things", line) for line in printed(report, tmp_path).splitlines()]
    parts = [part.splitlines() for part in shown.split("...\n")]
    assert [lines[: len(parts[0])], lines[-len(parts[1]) :]] == parts


def test_the_plan_with_a_dead_host_is_current(tmp_path):
    text = (ROOT / "docs/troubleshooting.md").read_text()
    shown = re.search(r"```console\n\$ provisioner plan cluster.yml\n(.*?)```", text, re.DOTALL)[1]
    target = SshTarget("node3", "192.168.56.13", 22, "root", None, "strict", Path("known_hosts"))
    error = _unreachable(target, "no answer from 192.168.56.13:22 in 10 seconds")
    outcomes = tuple(Outcome(host, "version", State.SETTLED) for host in ("node1", "node2"))
    call, lost = Call("cluster.yml", makes="up"), {"node3": Failure.of(error)}
    report = Report("plan", "lab", ("node1", "node2", "node3"), 1, 1.0, outcomes=outcomes, lost=lost, call=call)
    assert printed(report, tmp_path) == shown


def test_from_zero_shows_output_that_the_page_of_the_doctor_shows():
    shown = re.search(r"```console\n(.*?)```", (ROOT / "docs/from-zero.md").read_text(), re.DOTALL)[1]
    assert set(shown.splitlines()) <= set((ROOT / "docs/doctor.md").read_text().splitlines())


def test_every_message_of_the_engine_has_its_cause_in_troubleshooting():
    text = (ROOT / "docs/troubleshooting.md").read_text()
    rows = dict(re.findall(r"^\| `([^`]+)`[^|]*\| (.*) \|$", text, re.MULTILINE))
    for said, meaning in MEANINGS.items():
        assert f"(causes.md#{meaning.cause})" in rows.get(said, ""), f"docs/troubleshooting.md lacks `{said}`"


def test_the_glossary_has_every_state():
    rows = (ROOT / "docs/glossary.md").read_text().partition("| state | meaning |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| ([a-z]+) \|", rows, re.MULTILINE) == list(State)


def test_every_page_is_linked_from_another_one():
    linked = {
        (path.parent / target).resolve()
        for path in DOCUMENTS
        for target in re.findall(r"\]\(([^)#:]+\.md)", path.read_text())
        if (path.parent / target).resolve() != path
    }
    assert set(ROOT.glob("docs/*.md")) <= linked


def test_every_decision_is_listed():
    folder = ROOT / "docs/decisions"
    listed = set(re.findall(r"\]\(([a-z-]+\.md)\)", (folder / "README.md").read_text()))
    assert listed == {path.name for path in folder.glob("*.md")} - {"README.md"}


def test_the_steps_of_up_are_listed_in_their_order():
    table = (ROOT / "docs/commands.md").read_text().partition("| step | ")[2].partition("\n\n")[0]
    assert re.findall(r"^ *\| ([a-z]+) \|", table, re.MULTILINE) == [step.name for step in STEPS]
