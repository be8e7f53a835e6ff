"""Programs that a host lacks, or that fail: they are named with the reason, and nothing is concluded from what was not read."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from captured import with_http
from scenes import NETWORK, SCENES, SPACE, facts, healthy, kernel

from provisioner.errors import Malformed
from provisioner.explain import explain, problems, tables, well
from provisioner.model import PhaseEnded, State
from provisioner.observe import Observed, Wanted, gaps
from provisioner.observe.kernel import Kernel, parsed, script
from provisioner.runner import diagnose

if TYPE_CHECKING:
    from collections.abc import Sequence

ALL = "routes, settings, the engine's rules, bridges"
SPACES = f"space:{SPACE}"
CONTAINER = next(f"space:{space.name}" for space in kernel("node3").spaces.values() if not space.network)
OF_IP = "interfaces, routes and network namespaces of overlays and containers"
DENIED = "nsenter: reassociate to namespace failed: Operation not permitted"


def without(found: Kernel, *sections: str, **added: str) -> Kernel:
    """Return a kernel without the sections that begin so. added: other sections."""
    kept = {name: text for name, text in found.raw.items() if not name.startswith(sections)}
    return Kernel({**kept, **added})


def lacking(seen, *sections, host="node3", **added):
    kernels = seen.observed.kernels
    return replace(
        seen, observed=replace(seen.observed, kernels={**kernels, host: without(kernels[host], *sections, **added)})
    )


def of_kernels(seen):
    return [line for line in well(seen, frozenset()) if line.startswith("kernels")]


# sections that are not there, what the host says -> what is reported as not read, what was checked on the host
CASES = {
    "bridge": (
        (f"{SPACES}:forwarding",),
        {"lacks": "bridge\n"},
        "forwarding entries of overlays not read: bridge is missing (Debian package iproute2)",
        f"{ALL}, 1 overlay namespace",
    ),
    "nsenter": (
        ("space:",),
        {"lacks": "nsenter\n"},
        "network namespaces of overlays and containers not read: nsenter is missing (Debian package util-linux)",
        ALL,
    ),
    "iproute2": (
        ("space:", "links", "addresses", "routes", "neighbours", "gets"),
        {"lacks": "ip\nbridge\n"},
        f"{OF_IP}, forwarding entries of overlays not read: ip and bridge are missing (Debian package iproute2)",
        "settings, the engine's rules",
    ),
    "old iproute2": (
        ("space:", "links", "addresses", "routes", "neighbours", "gets"),
        {"failed": 'links Option "-j" is unknown, try "ip -help".\n'},
        f'{OF_IP} not read: Option "-j" is unknown, try "ip -help".',
        "settings, the engine's rules",
    ),
    "iptables": (
        ("iptables",),
        {"lacks": "iptables-legacy-save\niptables-nft-save\n"},
        "rules of iptables not read: iptables-legacy-save and iptables-nft-save are missing (Debian package iptables)",
        "routes, settings, bridges, 1 overlay namespace, forwarding entries",
    ),
    "iptables-nft-save": (
        ("iptables-nft-save",),
        {"failed": "iptables-nft-save iptables-nft-save: Could not fetch rule set generation id\n"},
        "rules of iptables-nft not read: iptables-nft-save: Could not fetch rule set generation id",
        "routes, settings, bridges, 1 overlay namespace, forwarding entries",
    ),
    "forwarding": (
        (f"{SPACES}:forwarding",),
        {"failed": f"{SPACES}:forwarding RTNETLINK answers: Operation not permitted\n"},
        f"forwarding entries in {SPACE} not read: RTNETLINK answers: Operation not permitted",
        f"{ALL}, 1 overlay namespace",
    ),
    "neighbours": (
        (f"{SPACES}:neighbours",),
        {"failed": f"{SPACES}:neighbours \n"},
        f"neighbour entries in {SPACE} not read: its program gave no reason",
        f"{ALL}, 1 overlay namespace",
    ),
    "overlay": (
        (SPACES,),
        {"failed": f"{SPACES}:links {DENIED}\n"},
        f"interfaces in {SPACE} not read: {DENIED}",
        ALL,
    ),
    "container": (
        (CONTAINER,),
        {"failed": f"{CONTAINER}:links {DENIED}\n"},
        f"interfaces in {CONTAINER.partition(':')[2]} not read: {DENIED}",
        f"{ALL}, 1 overlay namespace",
    ),
}


@pytest.mark.parametrize(("sections", "said", "unread", "checked"), CASES.values(), ids=CASES)
def test_what_was_not_read_is_no_problem_and_was_not_checked(site, sections, said, unread, checked):
    seen = lacking(healthy(site), *sections, **said)
    assert problems(seen) == []
    assert seen.observed.kernels["node3"].unread == unread
    assert of_kernels(seen) == [
        f"kernels of node1, node2: {ALL}, 2 overlay namespaces, forwarding entries",
        f"kernels of node3: {checked}",
    ]


def test_a_healthy_host_lacks_nothing(site):
    assert not any(found.unread for found in healthy(site).observed.kernels.values())
    whole = f"kernels of node1, node2, node3: {ALL}, 3 overlay namespaces, forwarding entries"
    assert of_kernels(healthy(site)) == [whole]


def test_what_was_read_is_still_judged(site):
    """A rule that drops everything is seen in one backend of iptables, although the other one failed."""
    said = {
        "failed": "iptables-nft-save failed\n",
        "iptables-legacy-save": "*filter\n:FORWARD ACCEPT\n-A FORWARD -j DROP\n",
    }
    seen = lacking(healthy(site), "iptables", **said)
    assert [each.id for each in explain(seen)] == ["forward-dropped"]
    for cause in ("ip-forward", "engine-down"):
        found = explain(lacking(SCENES[cause][0](healthy(site)), "space:", "links", host="node2", lacks="ip\n"))
        assert [each.id for each in found] == [cause]


def test_a_container_whose_namespace_was_not_read_is_not_gone(site):
    """The load balancers of a swarm are in no engine's list of containers."""
    known = [host for host, found in healthy(site).observed.kernels.items() if found.enters_all]
    assert known == ["node1", "node2", "node3"]
    for said in ({"lacks": "nsenter\n"}, {"failed": f"{CONTAINER}:addresses {DENIED}\n"}):
        seen = lacking(healthy(site), CONTAINER, **said)
        assert set(tables._hosts(seen).gossip.values()) == {"node1", "node2"}


def test_many_namespaces_are_one_text():
    found = gaps.failed("".join(f"space:{number}-{NETWORK[:10]}:links {DENIED}\n" for number in range(5)))
    shown = ", ".join(f"{number}-{NETWORK[:10]}" for number in range(3))
    assert gaps.text((), found.values()) == f"interfaces in {shown} and 2 more not read: {DENIED}"
    assert len(gaps.text((), gaps.failed(f"links {'x' * 900}").values())) < 400
    assert gaps.text(["sl", "\x1b[1m"], ()) == ""


@pytest.mark.parametrize(
    "line", ["links", "space:links x", "space:1-a:gets x", "space:1 a:links x", "other x", "a:b x"]
)
def test_a_line_that_the_program_never_prints_is_refused(line):
    with pytest.raises(Malformed):
        gaps.failed(line)


def test_only_what_a_host_needs_is_sought():
    engine = facts("node1")
    assert not {"docker"} & set(gaps.sought(engine, manages=False))
    assert {"docker", "ip", *gaps.RULES} <= set(gaps.sought(engine, manages=True))
    own = with_http(engine, "info", {**engine.engine, "FirewallBackend": {"Driver": "nftables"}})
    assert not set(gaps.RULES) & set(gaps.sought(own, manages=False))


# -- the program on the host ------------------------------------------------------------------------------------------------

LINK = '[{"ifname":"eth0","flags":["UP"]}]'
FAKES = {
    "ip": f"case $* in *' link') echo '{LINK}' ;; *) echo '[]' ;; esac",
    "bridge": 'echo \'[{"mac":"02:00:00:00:00:01","dst":"192.0.2.1"}]\'',
    "nsenter": 'case $1 in */2-*) echo "nsenter: no" >&2; exit 1 ;; esac; shift; exec "$@"',
    "iptables-nft-save": "echo '*filter'; echo ':INPUT ACCEPT [0:0]'",
    "journalctl": "exit 1",
    "systemctl": "exit 1",
    "dmesg": "exit 1",
}


@pytest.fixture
def host(tmp_path):
    """Run the program with these programs instead of the machine's. Two namespaces exist, and a third one is gone."""
    spaces, programs = tmp_path / "netns", tmp_path / "bin"
    spaces.mkdir()
    programs.mkdir()
    for name in ("1-aaaaaaaaaa", "2-bbbbbbbbbb"):
        (spaces / name).symlink_to("/proc/self/ns/net")
    for name in ("sh", "awk", "cat", "cut", "date", "find", "grep", "head", "sed", "stat", "tail", "tr"):
        (programs / name).symlink_to(shutil.which(name))

    def read(names: Sequence[str] = (), echoes: Sequence[str] = (), root: str = "", **changed: str) -> Kernel:
        fakes = {**FAKES, **{name.replace("_", "-"): text for name, text in changed.items()}}
        for name, text in fakes.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(0o755 if text else 0)
            if not text:
                (programs / name).unlink()
        tools = gaps.sought(facts("node1"), manages=False)
        body = script([], names=names, echoes=echoes, tools=tools, root=root).replace(
            "/var/run/docker/netns", str(spaces)
        )
        done = subprocess.run(
            [shutil.which("sh"), "-c", body], env={"PATH": str(programs)}, capture_output=True, check=True
        )
        return parsed("node1", done.stdout)

    read.spaces = spaces
    return read


def test_only_containers_that_ask_another_dns_server_are_listed(host, tmp_path):
    ours, theirs = "nameserver 127.0.0.11\n", "# mine\nnameserver 9.9.9.9\n"
    files = {"a": ours, "b": theirs, "c": f"{theirs}{ours}", "d": f"{ours}{theirs}", "e": "", "f": theirs + "#" * 5000}
    folder = tmp_path / "a'b c"
    for number, text in files.items():
        path = folder / "containers" / (number * 64) / "resolv.conf"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    (folder / "containers" / ("b" * 63)).mkdir()
    (folder / "containers" / ("b" * 63) / "resolv.conf").write_text(theirs)
    assert host(root=str(folder)).resolvers == {"b" * 64: "9.9.9.9", "c" * 64: "9.9.9.9"}
    assert host(root=str(tmp_path / "gone")).resolvers == {}


def test_a_namespace_that_can_t_be_entered_is_named_and_the_others_are_read(host):
    found = host()
    assert found.unread == "interfaces in 2-bbbbbbbbbb not read: nsenter: no"
    assert [*found.spaces] == ["1-aaaaaaaaaa"]
    assert found.spaces["1-aaaaaaaaaa"].forwarding == {"02:00:00:00:00:01": "192.0.2.1"}
    assert found.rules("iptables-nft-save") == ["*filter", ":INPUT ACCEPT [0:0]"]


def test_the_file_of_a_namespace_that_is_gone_is_no_failure(host):
    (host.spaces / "2-bbbbbbbbbb").unlink()
    (host.spaces / "2-bbbbbbbbbb").touch()
    found = host()
    assert (found.unread, [*found.spaces]) == ("", ["1-aaaaaaaaaa"])


@pytest.mark.parametrize(
    ("changed", "unread", "spaces"),
    [
        ({"bridge": ""}, "forwarding entries of overlays not read: bridge is missing (Debian package iproute2)", 2),
        (
            {"bridge": "echo '[]'; echo no >&2; exit 1"},
            "forwarding entries in 1-aaaaaaaaaa, 2-bbbbbbbbbb not read: no",
            2,
        ),
        ({"nsenter": ""}, "nsenter is missing (Debian package util-linux)", 0),
        ({"ip": ""}, "ip is missing (Debian package iproute2)", 0),
        ({"ip": "echo 'ip: invalid option -- j' >&2; exit 1"}, "not read: ip: invalid option -- j", 0),
        (
            {"iptables_nft_save": ""},
            "iptables-legacy-save and iptables-nft-save are missing (Debian package iptables)",
            2,
        ),
        ({"iptables_nft_save": "echo '*filter'; echo no >&2; exit 4"}, "rules of iptables-nft not read: no", 2),
        (
            {"iptables_nft_save": "echo '*filter'; head -c 500000 /dev/zero | tr '\\0' :"},
            "rules of iptables-nft not read: more than 400000 characters",
            2,
        ),
        ({"journalctl": ""}, "the engine's log not read: journalctl is missing (Debian package systemd)", 2),
    ],
)
def test_programs_that_are_missing_or_fail_on_a_host(host, changed, unread, spaces):
    found = host(nsenter=changed.pop("nsenter", 'shift; exec "$@"'), **changed)
    assert found.unread.endswith(unread)
    assert "; " not in found.unread
    assert len(found.spaces) == spaces
    assert all(found.spaces[name].forwarding is None for name in found.spaces) is ("forwarding" in unread or not spaces)
    assert found.has("iptables-nft-save") is ("iptables-nft" not in unread)


def test_a_program_that_fails_runs_once(host, tmp_path):
    runs = tmp_path / "runs"
    found = host(iptables_nft_save=f"echo run >>{runs}; echo '*filter'; echo no >&2; echo more >&2; exit 4")
    assert runs.read_text() == "run\n"
    assert "rules of iptables-nft not read: no" in found.unread


def test_a_warning_is_no_failure_and_no_output(host):
    found = host(nsenter='shift; exec "$@"', bridge="echo warning >&2; echo '[]'; echo; echo warning >&2")
    assert found.unread == ""
    assert [each.forwarding for each in found.spaces.values()] == [{}, {}]
    assert found.raw["space:1-aaaaaaaaaa:forwarding"] == "[]\n"


def test_containers_of_several_networks_ask_side_by_side(host, tmp_path):
    (tmp_path / "bin/perl").symlink_to(shutil.which("perl"))
    own = [f"10.{net}.0.2" for net in range(12)]
    addresses = json.dumps([{"local": address} for address in own])
    began = time.monotonic()
    found = host(
        [f"{address} web/0123456789ab" for address in own],
        [f"{address} 10.99.0.3 10.99.0.4" for address in own],
        ip=f"case $* in *' link') echo '{LINK}' ;; *' address') echo '{addresses}' ;; *) echo '[]' ;; esac",
        nsenter='shift; exec "$@"',
        # Stands for the two programs, which get the containers as their last arguments.
        timeout=f"{shutil.which('sleep')} 0.5; echo asked 1; case $5 in */*) echo ${{5%/*}} 10.99.0.9 ;; *) echo $5 none; echo $6 small ;; esac",
    )
    assert time.monotonic() - began < 12 * 0.5
    assert found.resolved == {address: {"web": (frozenset({"10.99.0.9"}),)} for address in own}
    assert found.unanswered == {address: {"10.99.0.3": "none", "10.99.0.4": "small"} for address in own}


# -- the outcome ------------------------------------------------------------------------------------------------------------


def test_each_host_has_one_outcome_with_all_reasons(site, monkeypatch):
    monkeypatch.setattr(diagnose, "explaining", lambda: SimpleNamespace(suspected=lambda _: Wanted()))
    monkeypatch.setattr(diagnose, "seen", lambda _: None)
    events, unread = (
        [],
        {("underlay", "node1"): "late", ("kernel", "node1"): "bridge is missing", ("kernel", "gone"): "x"},
    )
    run = SimpleNamespace(
        site=site(),
        observations=None,
        deep=False,
        outcomes=[],
        session=SimpleNamespace(emit=events.append),
        drop_lost=lambda: None,
    )
    for found in ({}, unread, unread):
        monkeypatch.setattr(diagnose, "_observed", lambda _, __, found=found: Observed(unread=found))
        assert diagnose.observe(run)
        states = {each.host: each.state for each in events[-1].outcomes}
        assert isinstance(events[-1], PhaseEnded)
        assert states == {host: State.SKIPPED if found and host == "node1" else State.SETTLED for host in run.site.live}
        reasons = [(each.step, each.host, each.state, each.reason) for each in run.outcomes]
        assert reasons == [("observe", "node1", State.SKIPPED, "late; bridge is missing")] * bool(found)
