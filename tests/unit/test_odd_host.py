"""A host with malformed answers fails alone, with an error that names it, and does not affect the other hosts.

Whole runs, from reading to report, use captures of three real hosts. One host's answers are altered: a bit, a line, a
word, a section or a JSON value. PROVISIONER_EXAMPLES=N tries N random changes of each kind; the default is a few fixed ones.
"""

from __future__ import annotations

import io
import json
import os
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from captured import HOSTS, capture, printed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner import causes, report, wording
from provisioner.errors import Unreachable
from provisioner.model import Result, Severity, State
from provisioner.runner import look
from provisioner.runner.run import Run
from provisioner.system import attached
from provisioner.workflows import go, plan, remove, status

if TYPE_CHECKING:
    from collections.abc import Callable

    from provisioner.inventory import Inventory

_MANY = int(os.environ.get("PROVISIONER_EXAMPLES", "0"))
_tried = settings(
    max_examples=_MANY or 8,
    derandomize=not _MANY,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ODD = {"swarm-manager": "node1"}  # kind -> the odd host, if it is not node2
KINDS = ("settled", "installed", "etcd", "zookeeper", "swarm", "swarm-manager")


@dataclass
class Host:
    """A connection to a host that always returns the same facts."""

    name: str
    said: bytes
    asked: bytes  # the answer to a reading of single requests
    writes: int = 0

    def read(self, script: str, **_: object) -> Result:
        return Result(0, "", "", self.said if "kernel/hostname" in script else self.asked)

    def close(self) -> None:
        pass


class Silent:
    def event(self, _: object) -> None:
        pass


def odd_of(kind: str) -> str:
    return ODD.get(kind, "node2")


@cache
def said(kind: str, name: str = "") -> dict[str, str]:
    """The sections of a captured host's facts, by default of the odd host."""
    raw = capture(f"{kind.partition('-')[0]}-{name or odd_of(kind)}").raw
    return {s: re.sub(r'"provisioner.cluster":"[^"]*"', '"provisioner.cluster":"lab"', text) for s, text in raw.items()}


def altered(kind: str, section: str, text: str) -> bytes:
    return printed(said(kind) | {section: text})


@pytest.fixture
def cluster(inventory) -> Callable[[str], Inventory]:
    more = {
        "swarm": {"kind": "", "more": "control_plane: swarm"},
        "swarm-manager": {"kind": "", "more": "control_plane: swarm"},
        "etcd": {"kind": "etcd", "store": ", security: {tls: false}"},
        "zookeeper": {"kind": "zookeeper"},
    }
    made: dict[str, Inventory] = {}
    return lambda kind: made[kind] if kind in made else made.setdefault(kind, inventory(**more.get(kind, {})))


def looked(inventory: Inventory, kind: str, odd: bytes | None, monkeypatch, leaver: str = "") -> Run:
    """A run of `plan` over three hosts. odd: the odd host's facts; None: unreachable. leaver: the host to remove."""
    name = odd_of(kind)
    whole = {name: printed(said(kind, name)) for name in HOSTS} | ({name: odd} if odd is not None else {})
    asked = printed(
        {"http:endpoints": "200 []" if kind in {"settled", "installed"} else "404 none", "http:containers": "200 []"}
    )

    def connect_all(targets, **_: object) -> dict[str, Any]:
        found: dict[str, Any] = {t.name: Host(t.name, whole[t.name], asked) for t in targets}
        return found | ({name: Unreachable("no answer", host=name)} if odd is None else {})

    monkeypatch.setattr("provisioner.runner.session.connect_all", connect_all)
    monkeypatch.setattr("provisioner.stores.zookeeper.ask", lambda *_: {"endpoints": "200 {}"})
    with Run(inventory, Silent()) as run:
        go(run, remove.plan(remove.Removal(inventory, leaver)) if leaver else plan.PHASES)
    return run


def document_of(run: Run) -> dict[str, Any]:
    """Renders the reports of `plan` and `status` as text and JSON. Returns the JSON document of `plan`."""
    status.summarize(run)
    for command in ("plan", "status"):
        found = run.report(command)
        report.show(found, out=io.StringIO(), color=False, verbose=True)
        document: dict[str, Any] = json.loads(report.to_json(found))
        if command == "plan":
            planned = document
    return planned


def outcomes(document: dict[str, Any], host: str) -> list[tuple[str, str]]:
    return [(o["step"], o["state"]) for o in document["outcomes"] if o["host"] == host]


def judged(inventory: Inventory, kind: str, odd: bytes, monkeypatch) -> dict[str, Any]:
    run, name = looked(inventory, kind, odd, monkeypatch), odd_of(kind)
    document = document_of(run)
    text = json.dumps(document)
    assert "internal error" not in text, text[max(0, text.index("internal error") - 300) :][:900]
    failed = {o.host: o.error for o in run.outcomes if o.state is State.FAILED}
    found = {f.host for f in run.findings}
    failed |= {host: why.text for host, why in run.session.lost.items() if host not in found}
    assert all(
        error.partition("\n")[0].startswith((f"{host}: ", host)) or "(" in error for host, error in failed.items()
    ), failed
    if name not in run.site.facts:  # its facts were rejected: the others must be treated as if it had not answered
        assert name in run.session.lost
        assert document["exit_code"] == 1
        without = document_of(looked(inventory, kind, None, monkeypatch))
        for other in set(HOSTS) - {name}:
            assert outcomes(document, other) == outcomes(without, other)
    return document


@pytest.mark.parametrize("kind", KINDS)
def test_the_facts_of_real_hosts_are_valid(cluster, kind, monkeypatch):
    document = judged(cluster(kind), kind, printed(said(kind)), monkeypatch)
    assert not document["lost"]
    assert "can't be understood" not in json.dumps(document)


# -- any bit, any line ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_any_bit(cluster, kind, monkeypatch):
    """Flips a bit in a section, whose length is then updated, or in the whole answer."""
    whole, sections = printed(said(kind)), sorted(said(kind))

    def bit(of: bytes, at: int) -> bytes:
        odd = bytearray(of)
        odd[at // 8 % len(odd)] ^= 1 << at % 8
        return bytes(odd)

    @_tried
    @given(st.sampled_from([*sections, ""]), st.integers(0, 2**20))
    def flipped(section: str, at: int) -> None:
        text = said(kind)[section].encode() if section else b""
        odd = altered(kind, section, bit(text, at).decode(errors="replace")) if text else bit(whole, at)
        judged(cluster(kind), kind, odd, monkeypatch)

    flipped()


@pytest.mark.parametrize("kind", KINDS)
def test_any_line(cluster, kind, monkeypatch):
    lines = {section: text.split("\n") for section, text in said(kind).items()}
    everywhere = [(section, at) for section, of in lines.items() for at in range(len(of))]

    @_tried
    @given(st.sampled_from(everywhere), st.sampled_from([0, 2]))
    def lost_or_doubled(place: tuple[str, int], times: int) -> None:
        section, at = place
        odd = [*lines[section][:at], *[lines[section][at]] * times, *lines[section][at + 1 :]]
        judged(cluster(kind), kind, altered(kind, section, "\n".join(odd)), monkeypatch)

    lost_or_doubled()


@pytest.mark.parametrize("kind", KINDS)
def test_any_section(cluster, kind, monkeypatch):
    @_tried
    @given(st.sets(st.sampled_from(sorted(said(kind))), min_size=1))
    def lost(sections: set[str]) -> None:
        odd = {name: text for name, text in said(kind).items() if name not in sections}
        judged(cluster(kind), kind, printed(odd), monkeypatch)

    lost()


def without_address(kind: str) -> bytes:
    routes = re.sub(r"(?m)^/proc/net/(route|fib_trie):.*\n", "", said(kind)["files"])
    return printed(said(kind) | {"addresses": "", "files": routes})


@pytest.mark.parametrize("kind", KINDS)
def test_a_host_without_an_address(cluster, kind, monkeypatch):
    """The others continue. They do not close the firewall to it, or treat what it manages as foreign."""
    run = looked(cluster(kind), kind, without_address(kind), monkeypatch)
    document = document_of(run)
    assert [*document["lost"]] == [odd_of(kind)]
    assert "no address on 192.168.56.0/24, the network that the other hosts share" in document["lost"][odd_of(kind)]
    whole = looked(cluster(kind), kind, printed(said(kind)), monkeypatch)
    for other in set(HOSTS) - {odd_of(kind)}:
        assert run.site.peers(other) == whole.site.peers(other)
    assert not {"other-swarm", "node-left-out", "server-left-out"} & {f.id for f in run.findings}


def test_a_host_without_an_address_can_be_removed(cluster, monkeypatch):
    run = looked(cluster("settled"), "settled", without_address("settled"), monkeypatch, "node2")
    assert not {"unknown-host", "host-gone", "host-lives"} & {f.id for f in run.findings}
    assert "node2" in {o.host for o in run.outcomes}


def test_the_only_manager_can_be_removed(cluster, monkeypatch):
    """The remaining hosts know only the leaving manager. Their swarm must not count as foreign."""
    run = looked(cluster("swarm-manager"), "swarm-manager", printed(said("swarm-manager")), monkeypatch, "node1")
    assert not {"other-swarm", "swarm-leaderless"} & {f.id for f in run.findings}
    assert set(HOSTS) == {o.host for o in run.outcomes}


def test_no_cure_is_to_leave_a_swarm_whose_manager_may_be_an_unreachable_host(inventory, monkeypatch):
    """Its address is unknown, because the inventory names an interface."""
    swarm = inventory(kind="", more="control_plane: swarm\nadvertise: eth0")
    run = looked(swarm, "swarm-manager", None, monkeypatch)
    cures = [causes.cure(f) for f in run.findings if f.id == "other-swarm"]
    assert cures
    assert all(cure.startswith("make node1 reachable first, and run again") for cure in cures)


@pytest.mark.parametrize("kind", KINDS)
def test_any_word(cluster, kind, monkeypatch):
    words = {section: re.split(r"([^\s=:/.,\"]+)", text) for section, text in said(kind).items()}
    everywhere = [(section, at) for section, of in words.items() for at in range(1, len(of), 2)]

    @_tried
    @given(st.sampled_from(everywhere), st.sampled_from(WORDS))
    def another(place: tuple[str, int], word: str) -> None:
        section, at = place
        odd = [*words[section]]
        odd[at] = word
        judged(cluster(kind), kind, altered(kind, section, "".join(odd)), monkeypatch)

    another()


WORDS = (
    "",
    "²",
    "١٩٢",
    "-1",
    "9" * 5000,
    "1e400",
    "NaN",
    "\x1b]0;x\x07",
    "'",
    '"',
    "\\",
    "{",
    "None",
    "0x10",
    "\ufffd",
    "a b c d",
)

# -- any value of its JSON --------------------------------------------------------------------------------------------

VALUES = (
    "null", "true", "false", "0", "-1", "1.5", "1" * 100_000, "1e999", "NaN", '""', '"x"', '"\u0661\u0662"', '"\\ud800"', '"\\u001b[2J"',
    '"10.0.0.300/24"', "[]", "{}", "[[]]", '[""]', '{"a": 1}', '{"a": 1, "a": 2}', "[null]", '[{"a": {}}]', "[" * 100_000 + "]" * 100_000,
)  # fmt: skip


def places(found: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def put(found: Any, path: tuple[Any, ...], text: str) -> str:
    """The JSON with this text instead of a value."""
    mark = "a value that occurs nowhere else"
    if path:
        holder = found
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = mark
    else:
        found = mark
    return json.dumps(found).replace(json.dumps(mark), text)


def answers(kind: str) -> dict[str, Any]:
    """Section -> its JSON, for answers with code 200."""
    found = {name: text.removeprefix("200 ") for name, text in said(kind).items() if text.startswith("200 ")}
    return {name: json.loads(text) for name, text in found.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_any_value(cluster, kind, monkeypatch):
    everywhere = [(name, path) for name, found in answers(kind).items() for path in places(found)]

    @_tried
    @given(st.sampled_from(everywhere), st.sampled_from(VALUES))
    def another(place: tuple[str, tuple[Any, ...]], value: str) -> None:
        name, path = place
        judged(cluster(kind), kind, altered(kind, name, "200 " + put(answers(kind)[name], path, value)), monkeypatch)

    another()


# -- malformed facts that caused a bug or could have: the error names the host and the fact ----------------------------

# section, pattern, replacement, expected words of the error
_ODD_FACTS = {
    "a route without its mask": ("files", r"eth0\t0038A8C0\t.*", "eth0\t0038A8C0\t00000000", "its routes"),
    "a route in other digits": ("files", "0038A8C0", "\u0660\u066038A8C0", "its routes"),
    "a mask with holes": ("files", r"(\t0\t0\t0\t)00FFFFFF", r"\g<1>00FF00FF", "its routes"),
    "an address in other digits": ("addresses", r"(?m)^eth0 192", "eth0 \u0661\u0669\u0662", "its addresses"),
    "an address with a word too many": ("addresses", "(?m)^eth0 192", "eth0 eth0 192", "its addresses"),
    "an MTU that is no number": ("files", "(/eth0/mtu:)1500", r"\g<1>1500 bytes", "the MTU"),
    "a superscript for an MTU": ("files", "(/eth0/mtu:)1500", "\\g<1>\u00b2", "the MTU"),
    "a port of 5000 digits": ("ports", "(?m)^tcp 7946 ", f"tcp {'9' * 5000} ", "its listening sockets"),
    "a socket without its port": ("ports", r"(?m)^tcp 7946 \d+$", "tcp", "its listening sockets"),
    "an owner without a name": ("ports", r"(?m)^tcp 7946 (\d+)$", r"tcp 7946 \1\nowner \1 12", "who listens"),
    "a process that is no number": ("units", r"MainPID=\d+", "MainPID=x", "the state of the unit"),
    "gossip of half a byte": ("gossip", r"\A", "f", "the gossip"),
    "a rule with an open quote": ("iptables", "(?m)^-A INPUT -j PROVISIONER$", '-A INPUT -m comment --comment "x -j DROP', "a rule"),
    "an engine that speaks no HTTP": ("http:info", "(?s)^.*", "SSH-2.0-OpenSSH_9.2", "answer (info)"),
    "an engine's page": ("http:networks", "(?s)^.*", "200 <html><body>Welcome</body></html>", "answer (networks)"),
    "a network without a name": ("http:networks", '"Name":"bridge"', '"Nome":"bridge"', "answer (networks)"),
    "a network that is a text": ("http:networks", "(?s)^.*", '200 ["demo"]', "answer (networks)"),
    "a subnet that is none": ("http:networks", r'"Subnet":"172\.17', '"Subnet":"972.17', "answer (networks)"),
    "a subnet in other digits": ("http:networks", r'"Subnet":"172\.17', '"Subnet":"\u0661\u0667\u0662.17', "answer (networks)"),
    "an /info that is a list": ("http:info", "(?s)^.*", "200 []", "answer (info)"),
    "true for a number of containers": ("http:info", r'"ContainersRunning":\d+', '"ContainersRunning":true', "answer (info)"),
    "a number of 100000 digits": ("http:info", r'"ContainersRunning":\d+', f'"ContainersRunning":{"1" * 100_000}', "answer (info)"),
    "NaN": ("http:info", r'"ContainersRunning":\d+', '"ContainersRunning":NaN', "answer (info)"),
    "half of a surrogate pair": ("http:info", '"ServerVersion":"', r'"ServerVersion":"\\ud800', "answer (info)"),
    "a key twice": ("http:info", '"ServerVersion":', '"ServerVersion":"1","ServerVersion":', "answer (info)"),
    "100000 levels": ("http:info", r'"Labels":\[\]', f'"Labels":{"[" * 100_000}{"]" * 100_000}', "answer (info)"),
    "a leader that is an object": ("http:leader", "(?s)^.*", "200 {}", "answer (leader)"),
    "members without addresses": ("http:members", '"Addr":"', '"Address":"', "answer (members)"),
    "a server that is a number": ("http:peers", "(?s)^.*", "200 [1]", "answer (peers)"),
}  # fmt: skip


@pytest.mark.parametrize(("section", "pattern", "other", "what"), _ODD_FACTS.values(), ids=_ODD_FACTS)
def test_the_error_names_the_malformed_fact(cluster, section, pattern, other, what, monkeypatch):  # noqa: PLR0917
    odd, count = re.subn(pattern, other, said("settled")[section], count=1)
    assert count, "the capture has no such line"
    run = looked(cluster("settled"), "settled", altered("settled", section, odd), monkeypatch)
    why = run.session.lost.pop("node2").text
    assert not run.session.lost
    assert why.startswith("node2: ")
    assert what in why.partition("\n")[0]
    assert "can't be understood" in why
    assert "\n  next:  " in why
    assert len(why) < 1500
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", why)
    assert {name: [s for s in states if s[1] == "failed"] for name, states in _states(run).items()} == {
        "node1": [],
        "node3": [],
    }


def _states(run: Run) -> dict[str, list[tuple[str, str]]]:
    document = document_of(run)
    return {name: outcomes(document, name) for name in ("node1", "node3")}


def test_terminal_escapes_are_stripped(cluster, monkeypatch):
    odd = altered("settled", "http:networks", r'200 [{"Name": "\u001b]0;owned\u0007"}]')
    why = looked(cluster("settled"), "settled", odd, monkeypatch).session.lost["node2"].text
    assert "\x1b" not in why


@pytest.mark.parametrize(
    "body",
    [
        "200 ",
        '200 {"ID":"BIQH:',
        '200 {"ID":"BIQH","Containers',
        '200 {"ID":"BIQH","Debug":tr',
        '200 {"ID":"BIQH","Containers":',
        "",
    ],
)
def test_a_truncated_answer_counts_as_no_answer(cluster, body, monkeypatch):
    """An engine that is stopped while it answers sends one. The host must not drop out for it."""
    run = looked(cluster("settled"), "settled", altered("settled", "http:info", body), monkeypatch)
    assert not run.session.lost
    assert {wording.what(o) for o in _drifts(run, "daemon")} == {"the engine"}


def _drifts(run: Run, step: str) -> list[Any]:
    return [drift for o in run.outcomes if o.host == "node2" and o.step == step for drift in o.drifts]


def test_a_bug_that_one_host_triggers_is_reported_as_such(cluster, monkeypatch):
    """The error has its type and place, the exit code is 1, and the other hosts are compared as usual."""
    from provisioner.steps.firewall import Firewall

    drift = Firewall.drift

    def buggy(self: Firewall, site: Any, host: str) -> Any:
        if host == "node2":
            raise KeyError("Nome")
        return drift(self, site, host)

    monkeypatch.setattr(Firewall, "drift", buggy)
    run = looked(cluster("settled"), "settled", printed(said("settled")), monkeypatch)
    (failed,) = [o for o in run.outcomes if o.state is State.FAILED]
    assert (failed.host, failed.step) == ("node2", "firewall")
    assert failed.error.startswith("node2: internal error: KeyError at ")
    assert "'Nome'" in failed.error
    assert "report it" in failed.error
    assert run.report("plan").exit_code == 1
    assert len([o for o in run.outcomes if o.host == "node1"]) == len([o for o in run.outcomes if o.host == "node2"])


@pytest.mark.parametrize("where", ["preflight.run", "resolve", "summaries"])
def test_a_bug_in_an_evaluation_of_all_hosts_costs_one_host(cluster, where, monkeypatch):
    """The others are evaluated without the host that triggers it."""
    module, name = {"preflight.run": (look.preflight, "run"), "resolve": (look, "resolve")}.get(where, (status, where))
    real = getattr(module, name)

    def buggy(first: Any, *rest: Any, **more: Any) -> Any:
        if "node2" in (rest[0] if where == "resolve" else first.facts):
            raise AttributeError("an odd thing")
        return real(first, *rest, **more)

    monkeypatch.setattr(module, name, buggy)
    run = looked(cluster("settled"), "settled", printed(said("settled")), monkeypatch)
    status.summarize(run)
    document = json.loads(report.to_json(run.report("status")))
    assert [*document["lost"]] == ["node2"]
    assert "internal error: AttributeError at " in document["lost"]["node2"]
    assert document["exit_code"] == 1
    assert {s["host"]: s["reached"] for s in document["summaries"]} == {"node1": True, "node2": False, "node3": True}
    assert {state for name in ("node1", "node3") for _, state in outcomes(document, name)} == {"settled"}


# -- removals of the odd host and of other hosts -----------------------------------------------------------------------


def stops(run: Run) -> list[str]:
    return [f.id for f in run.findings if causes.severity(f) is Severity.STOP]


@pytest.mark.parametrize("kind", ["settled", "swarm-manager"])
def test_a_removal_where_any_value_is_odd(cluster, kind, monkeypatch):
    everywhere = [(name, path) for name, found in answers(kind).items() for path in places(found)]

    @_tried
    @given(st.sampled_from(everywhere), st.sampled_from(VALUES), st.sampled_from(HOSTS))
    def another(place: tuple[str, tuple[Any, ...]], value: str, leaver: str) -> None:
        name, path = place
        odd = altered(kind, name, "200 " + put(answers(kind)[name], path, value))
        document = document_of(looked(cluster(kind), kind, odd, monkeypatch, leaver))
        assert "internal error" not in json.dumps(document)

    another()


def test_a_host_with_malformed_facts_does_not_count_as_gone(cluster, monkeypatch):
    """Else a removal would release its endpoints while its containers still use them."""
    odd = altered("settled", "ports", "tcp x 1")
    run = looked(cluster("settled"), "settled", odd, monkeypatch, "node2")
    assert "host-lives" in stops(run)
    assert "host-gone" not in {f.id for f in run.findings}
    assert "its listening sockets can't be understood" in json.dumps(document_of(run)["lost"]["node2"])


@pytest.mark.parametrize("leaver", ["node2", "node3"])
@pytest.mark.parametrize("where", ["preflight.run", "resolve", "attached.on_shared"])
def test_a_bug_in_a_removal_costs_one_host(cluster, where, leaver, monkeypatch):
    name = where.rpartition(".")[2]
    module = {"preflight.run": look.preflight, "resolve": look, "attached.on_shared": attached}[where]
    real, bad = getattr(module, name), "node2"

    def buggy(first: Any, *rest: Any, **more: Any) -> Any:
        among = rest[0] if where == "resolve" else first.facts if where == "preflight.run" else [hostname(first)]
        if bad in among:
            raise AttributeError("an odd thing")
        return real(first, *rest, **more)

    def hostname(facts: Any) -> str:
        return str(facts.hostname)

    monkeypatch.setattr(module, name, buggy)
    run = looked(cluster("settled"), "settled", printed(said("settled")), monkeypatch, leaver)
    hit = leaver == bad if where == "attached.on_shared" else where == "resolve" or leaver != bad
    assert [*run.session.lost] == ([bad] if hit else [])
    assert all("internal error: AttributeError at " in why.text for why in run.session.lost.values())
    assert ("host-lives" in stops(run)) == (hit and leaver == bad), "it never counts as gone"
    assert not any(f.id == "host-gone" for f in run.findings)
    assert {o.host for o in run.outcomes} >= {"node1"}


def test_a_bug_without_a_host_is_not_hidden(cluster, monkeypatch):
    def buggy(_: Any) -> Any:
        raise AttributeError("an odd thing")

    monkeypatch.setattr("provisioner.preflight.run", buggy)
    with pytest.raises(AttributeError):
        looked(cluster("settled"), "settled", printed(said("settled")), monkeypatch)
