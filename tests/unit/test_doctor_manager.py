"""`provisioner doctor --manager` logs in to the manager alone, until the user agrees to the nodes that it names."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from captured import with_http
from swarms import FOUND, put
from typer.testing import CliRunner

from provisioner import causes, cli, proofs
from provisioner.cli_manager import Login
from provisioner.errors import UsageError
from provisioner.inventory import of_values
from provisioner.inventory.importers.swarm import understood
from provisioner.model import Failure, Report, Severity
from provisioner.proofs import Choice
from provisioner.runner import survey
from provisioner.workflows.doctor import Unexamined, of_swarm

NODES = ["node1", "node2", "node3"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def examined(monkeypatch):
    """Answer as a captured manager, and record the inventories that would be examined."""
    found = []

    def run(inventory, command, workflow, _access, **_):
        workflow(inventory)
        found.append(inventory)
        return Report(command=command, cluster="lab", hosts=tuple(inventory.hosts), exit_code=0, seconds=0.0)

    monkeypatch.setattr(survey, "read", lambda *_: FOUND["node1"])
    monkeypatch.setattr(cli, "_report", run)
    return found


def doctor(*words):
    return CliRunner().invoke(cli.app, ["doctor", *words])


@pytest.mark.parametrize(("answer", "hosts"), [("y\n", NODES), ("\n", NODES[:1]), ("n\n", NODES[:1]), ("", NODES[:1])])
def test_a_person_on_a_terminal_is_asked(monkeypatch, examined, answer, hosts):
    for name, text in (("stdin", answer), ("stderr", ""), ("stdout", "")):
        monkeypatch.setattr(cli.sys, name, Terminal(text))
    cli.app(["doctor", "--manager", "ops@192.168.56.11"], standalone_mode=False)
    assert [list(found.hosts) for found in examined] == [hosts]
    assert "node3  192.168.56.13" in cli.sys.stderr.getvalue()
    assert "Log in to them too, as ops? [y/N]" in cli.sys.stderr.getvalue()


def test_without_a_terminal_only_the_manager_is_examined(examined):
    assert doctor("--manager", "192.168.56.11").exit_code == 0
    assert doctor("--manager", "192.168.56.11", "--reach-nodes").exit_code == 0
    assert [list(found.hosts) for found in examined] == [NODES[:1], NODES]


def test_all_nodes_are_reached_in_the_same_way(examined, tmp_path):
    key = tmp_path / "key"
    key.write_text("")
    how = ["--key", str(key), "--jump", "ops@bastion", "--known-hosts", str(tmp_path / "known")]
    assert doctor("--manager", "ops@manager.example:2222", "--reach-nodes", *how).exit_code == 0
    targets = [examined[0].target(name) for name in NODES]
    assert [target.address for target in targets] == ["manager.example", "192.168.56.12", "192.168.56.13"]
    assert {(t.user, t.port, t.key, t.host_keys, t.known_hosts, t.jump.address) for t in targets} == {
        ("ops", 2222, key, "strict", tmp_path / "known", "bastion")
    }


@pytest.mark.parametrize(
    "words",
    [
        ["lab.yml", "--manager", "192.168.56.11"],
        ["lab.yml", "--reach-nodes"],
        ["lab.yml", "--jump", "bastion"],
        ["--manager", "192.168.56.11", "--key", "/nonexistent"],
    ],
)
def test_words_that_do_not_go_together_are_refused(examined, words):
    assert doctor(*words).exit_code == 2  # main() makes 64 of it
    assert not examined


@pytest.mark.parametrize(
    "name", ["", "none", "a,b", "a b", "-oProxyCommand=id", "root@", "a:99999", "ssh://a/b", "a@b@c"]
)
def test_what_is_no_manager_is_refused(name):
    with pytest.raises(UsageError):
        _ = Login(name).address


def test_a_jump_host_that_is_none_is_refused(examined):
    ended = doctor("--manager", "192.168.56.11", "--jump", "a b", "--json")
    assert ended.exit_code == 64
    assert "ssh.jump" in json.loads(ended.stdout)["errors"][0]
    assert not examined


def inventory_of(names):
    return of_values(understood(survey.answers(FOUND["node1"])).document({}, "192.168.56.11", names), Path("swarm"))


def test_nothing_is_compared_and_only_proofs_that_fit_are_run():
    phases = of_swarm(inventory_of(NODES), Choice(), Unexamined(["node2"]))
    names = [getattr(phase, "func", phase).__name__ for phase in phases]
    assert names == ["begin", "begin", "_look", "observe", "foretell", "_prove", "judge_again", "explain", "describe"]
    units = proofs.units(inventory_of(NODES))
    assert {unit.kind for unit in units} >= {"overlay", "isolation"}
    chosen = phases[5].keywords["chosen"]
    assert {unit.kind for unit in chosen.of(units)} == {"overlay"}
    assert chosen.left_out(units) == ()
    asked = of_swarm(inventory_of(NODES), Choice(only=("isolation",)), Unexamined())[5].keywords["chosen"]
    assert {unit.kind for unit in asked.of(units)} == {"isolation"}  # a user may ask for it
    with pytest.raises(UsageError):
        of_swarm(inventory_of(NODES), Choice(only=("nothing",)), Unexamined())


@pytest.mark.parametrize(
    ("asked", "findings", "observed", "held"),
    [
        (None, [], [], 5.0),
        (None, ["a finding"], [], None),
        (None, [], ["a problem"], None),
        (60.0, [], ["a problem"], 60.0),
    ],
)
def test_connections_are_held_if_nothing_else_is_wrong(monkeypatch, asked, findings, observed, held):
    found = []
    monkeypatch.setattr("provisioner.workflows.doctor.prove", lambda _, chosen: found.append(chosen.hold) or True)
    monkeypatch.setattr("provisioner.workflows.doctor.seen", lambda run: run)
    monkeypatch.setattr("provisioner.workflows.doctor.explaining", lambda: SimpleNamespace(observed=lambda _: observed))
    proving = of_swarm(inventory_of(NODES), Choice(hold=asked), Unexamined())[5]
    assert proving(SimpleNamespace(findings=findings))
    assert found == [held]


def imported(*words):
    return CliRunner().invoke(cli.app, ["inventory", "import", "swarm", *words])


def test_an_inventory_is_imported_from_the_manager_alone(examined):
    ended = imported("ops@192.168.56.11")
    assert (ended.exit_code, ended.stderr) == (0, "")
    assert "  node2: {address: 192.168.56.12}\n" in ended.stdout
    assert "ssh:\n  user: ops\n" in ended.stdout
    assert "the swarm has the label `lab`" in imported("192.168.56.11", "--cluster", "shop").stderr
    assert imported("192.168.56.11", "--cluster", "A B").exit_code == 64


def test_what_is_no_manager_gives_no_inventory(monkeypatch):
    for facts, code in ((FOUND["node2"], 64), (Failure("manager: no answer", "host-unreachable"), 1)):
        monkeypatch.setattr(survey, "read", lambda *_, found=facts: found)
        ended = imported("192.168.56.12")
        assert (ended.exit_code, ended.stdout) == (code, "")
        assert ended.stderr.startswith("manager: ")
    assert imported("a b").exit_code == 64


def test_what_was_not_examined_is_named():
    found = list(Unexamined(["node2 (192.168.56.12)"], ["evil: 127.0.0.1 is no address"], led=False).problems())
    assert [problem.variant for problem in found] == ["", "address", "leader"]
    assert all(causes.severity(problem) is Severity.WARNING for problem in found)
    assert not list(Unexamined().problems())


def test_a_swarm_without_a_leader_gives_no_inventory(monkeypatch):
    facts = with_http(put("node1", Cluster=None), "nodes", "503 no leader")
    monkeypatch.setattr(survey, "read", lambda *_: facts)
    ended = imported("192.168.56.11")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "has no leader" in ended.stderr
