"""Partial loss: what is lost in a first observation causes a closer one, and only what both lost is reported."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from captured import HOSTS
from scenes import DATA, GOSSIP, healthy, into, with_ways

from provisioner import observe as observing
from provisioner.explain import problems, suspected
from provisioner.model import Outcome, State
from provisioner.observe import Wanted, underlay
from provisioner.observe.underlay import Output, assembled
from provisioner.runner import diagnose


def of(tried, lost, *, source="", port=DATA, host="node2", **more):
    """Return a change of the paths to a host: some of the datagrams do not pass the host's rules."""
    counts = {"tried": tried, "left": tried, "arrived": tried, "passed": tried - lost, **more}
    return into(host, source=source, udp={port: counts})


def between(tried, lost, **more):
    return of(tried, lost, **{"source": "node1", **more}, arrived=tried - lost)


# observation and its repetition -> the causes, each with its hosts
BOTH = {
    "5 percent: one datagram, then on all paths": (
        of(40, 1, source="node1"),
        of(200, 10),
        [("packet-loss", "node2", "")],
    ),
    "all paths, then one": (of(40, 4), of(200, 18, source="node3"), [("packet-loss", "node3", "node2")]),
    "one path, then another one": (
        of(40, 4, source="node1"),
        of(200, 18, source="node3"),
        [("packet-loss", "node3", "node2")],
    ),
    "a path, then its end": (between(40, 1), of(200, 20), [("packet-loss", "node2", "")]),
    "between the hosts": (between(40, 2), between(200, 11), [("packet-loss", "node1", "node2")]),
    "all few datagrams by chance": (of(3, 3, port=GOSSIP), of(40, 8, port=GOSSIP), [("packet-loss", "node2", "")]),
    "nearly all, then all": (of(40, 30), of(200, 200), [("vxlan-blocked", "node2", "")]),
    "blocked on all paths, then on one": (
        of(40, 40),
        of(40, 40, source="node1"),
        [("vxlan-blocked", "node1", "node2")],
    ),
    "less than 2 percent": (of(40, 1), of(200, 3), []),
    "two of few": (of(40, 2), of(40, 2), []),
    "one gossip datagram": (of(3, 1, port=GOSSIP), of(40, 2, port=GOSSIP), []),
    "only then": (of(40, 3), of(200, 0), []),
    "only now": (of(40, 0), of(200, 20), []),
    "at another host": (of(40, 3, host="node3"), of(200, 20), []),
    "on another path": (between(40, 3), between(200, 20, host="node3"), []),
    "the other direction": (
        between(40, 3),
        between(200, 20, host="node1", source="node2"),
        [],
    ),
    "not counted by a busy host": (of(40, 3), of(200, 40, missed=45), []),
}


@pytest.mark.parametrize("name", BOTH)
def test_loss_counts_if_both_observations_show_it_there(site, name):
    first, second, expected = BOTH[name]
    seen = healthy(site)
    earlier = with_ways(seen, first).observed
    found = problems(replace(with_ways(seen, second), earlier=earlier))
    assert [(each.id, each.host, each.target) for each in found] == expected


@pytest.mark.parametrize("change", [of(40, 1, source="node3"), of(3, 1, source="node3", port=GOSSIP)])
def test_one_lost_datagram_causes_a_closer_observation(site, monkeypatch, change):
    """It gets the first one, and sends more datagrams where some were lost."""
    calls = []
    seen, first = healthy(site), with_ways(healthy(site), change).observed
    again = suspected(replace(seen, observed=first))
    assert again == Wanted(frozenset({"node2", "node3"}), frozenset({"node2", "node3"}))
    assert not suspected(seen)

    def observe(*_, earlier, traced, **__):
        calls.append((earlier, traced))
        return first

    monkeypatch.setattr(observing, "observe", observe)
    monkeypatch.setattr(diagnose.time, "sleep", lambda _: None)
    session = SimpleNamespace(emit=print, progress=print, connections={}, lost={})
    run = SimpleNamespace(
        site=seen.site,
        session=session,
        observations=None,
        deep=False,
        proofs=(),
        outcomes=(),
        findings=(),
        observed=None,
        seen=None,
        kept=(),
    )
    diagnose.observe(SimpleNamespace(**vars(run), drop_lost=lambda: None))
    assert calls == [(None, ()), (first, ())]
    monkeypatch.setattr(diagnose.labs, "owner", lambda _: "lab")
    inventory = seen.site.inventory.model_copy(
        update={"ssh": seen.site.inventory.ssh.model_copy(update={"key": "key"})}
    )
    in_lab = vars(run) | {"site": replace(seen.site, inventory=inventory)}
    diagnose.observe(SimpleNamespace(**in_lab, drop_lost=lambda: None))
    assert calls[2:] == [(None, ()), (first, ("node2",))], "in a lab, the repetition records the kernel's reasons"


def peers(site, closer, hosts=HOSTS):
    """Return (host, peer) -> port -> the number of datagrams between them."""
    found = {}
    for host in HOSTS:
        lines = underlay._input(site, HOSTS, host, "00" * 8, 20_000, hosts=hosts, closer=closer).split("\n")
        for _, number, _, udp, _ in (line.split() for line in lines if line.startswith("peer")):
            found[host, HOSTS[int(number) - 1]] = {
                int(port): int(count) for port, count in (each.split(":") for each in udp.split(","))
            }
    return found


def test_a_repetition_tests_only_the_paths_of_its_hosts(site):
    both = {(host, other) for host in HOSTS for other in HOSTS if host != other and "node2" in {host, other}}
    assert set(peers(site(), {}, ["node2"])) == both


def test_more_datagrams_are_sent_on_all_paths_of_hosts_that_lost_some(site):
    seen = healthy(site)
    assert {tuple(counts[port] for port in (DATA, GOSSIP)) for counts in peers(seen.site, {}).values()} == {(40, 3)}
    lossy = underlay.lossy(with_ways(seen, of(40, 1, source="node1")).observed.underlay)
    found = peers(seen.site, lossy)
    assert lossy == {DATA: {"node1", "node2"}}
    assert {counts[DATA] for counts in found.values()} == {200}
    assert {counts[GOSSIP] for counts in found.values()} == {3}  # it lost none
    assert all(found[way] == found[way[::-1]] for way in found)  # both ends expect the same
    few = peers(seen.site, {DATA: {"node1"}})
    assert (few["node2", "node3"][DATA], few["node2", "node1"][DATA]) == (40, 200)
    assert underlay.lossy(with_ways(seen, of(40, 40), of(3, 3, port=GOSSIP)).observed.underlay) == {GOSSIP: set(HOSTS)}
    assert not underlay.lossy(seen.observed.underlay)


def test_packets_that_a_program_missed_are_not_lost():
    outputs = {name: Output() for name in ("a", "b")}
    for line in ("sent 2 4789 200", "left 2 4789 190 10.0.0.1"):
        outputs["a"].parse(line)
    for line in ("came 1 4789 150 10.0.0.1", "took 1 4789 180", "missed 12"):
        outputs["b"].parse(line)
    seen = assembled(["a", "b"], outputs, {}).paths["a", "b"].udp[4789]
    assert (seen.left, seen.arrived, seen.passed, seen.missed, seen.lost) == (190, 180, 180, 12, 8)


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ((180, 176), {("packet-loss", "node2", "")}),
        ((200, 176), {("vxlan-blocked", "node1", "node2"), ("packet-loss", "node3", "node2")}),
        ((190, 180), {("vxlan-blocked", "node2", "")}),
    ],
)
def test_what_loses_nearly_all_is_a_block_unless_it_lets_more_pass_from_another_host(site, lost, expected):
    whole = healthy(site)
    seen = with_ways(whole, of(200, lost[0], source="node1"), of(200, lost[1], source="node3"))
    found = problems(replace(seen, earlier=seen.observed))
    assert {(each.id, each.host, each.target) for each in found} == expected


def test_causes_that_the_observations_show_are_said_before_the_proofs(site):
    said = []
    seen = with_ways(healthy(site), of(40, 40))
    run = SimpleNamespace(
        site=seen.site,
        session=SimpleNamespace(notice=said.append, lost={}),
        is_reported=lambda cause: cause != "packet-loss",
        **dict.fromkeys(("proofs", "outcomes", "findings"), ()),
        earlier=None,
        seen=None,
        kept=(),
    )
    run.observed = seen.observed
    assert diagnose.foretell(run)
    assert said == ["found so far: the overlay's data port is blocked: node2 (vxlan-blocked)"]
    run.is_reported = lambda cause: cause != "vxlan-blocked"
    assert diagnose.foretell(run)
    run.observed, run.outcomes = healthy(site).observed, (Outcome("node1", "daemon", State.DRIFTED),)
    assert diagnose.foretell(run)
    assert len(said) == 1, "drift, and what is not to be reported, is not said"
