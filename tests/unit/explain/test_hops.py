"""Packets that are lost inside an overlay: where the counts of a way end is the place."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scenes import HOSTS, SPACE, blocked, failed, healthy, kernel, with_kernel

from provisioner.errors import Malformed
from provisioner.explain import explain, explained, firm
from provisioner.model import Missing, Problem
from provisioner.observe.hops import Counts, Point, parsed

(ONE,), (TWO,), (THREE,) = (
    [address for space in kernel(name).spaces.values() if not space.network for address, _ in space.inner if address.startswith("10.99.")]
    for name in HOSTS
)  # fmt: skip
PAIR = ("node1", "node2")
WAITS = Missing(*PAIR, "demo")


def host(name: str, *, sent=(), arrived=(), asked=0, to=TWO, own=ONE) -> str:
    """What one host prints. sent: packets at the container, at the VXLAN device and at the host's interface; arrived: in reverse."""
    ways = ((sent, "out", "in", own, to), (arrived, "in", "out", to, own))
    lines = []
    for counts, way, of_container, source, target in ways:
        where = [(SPACE, "veth0", of_container), (SPACE, "vxlan0", way), ("host", "eth0", way)]
        lines += [
            f"udp {space} {device} {at} {source} {target} {count}"
            for (space, device, at), count in zip(where, counts, strict=False)
            if count
        ]
    lines += [f"arp {SPACE} veth0 in {own} {to} {asked}"] if asked else []
    return "\n".join([*lines, f"end {SPACE}", "end host", ""])


def lost(site, here: str, there: str, *pairs):
    """The causes if node1 and node2 have counted this, and the proof of these pairs failed."""
    problem = Problem("overlay-blocked", "node1", "no answer", target="node2", network="demo")
    seen = failed(healthy(site), *(pairs or (PAIR, PAIR[::-1])), problem=problem)
    hops = {name: parsed(text, name) for name, text in zip(PAIR, (here, there), strict=True)}
    return replace(seen, observed=replace(seen.observed, hops=hops))


HERE = {"sent": (6, 6, 6), "arrived": (6, 6, 6)}


@pytest.mark.parametrize(
    ("here", "there", "place", "said", "is_firm"),
    [
        ({"sent": (6,)}, {}, ("node1",), "6 came from the container on node1, 0 were passed to the VXLAN device", True),
        ({"sent": (6, 6)}, {}, ("node1",), "0 left node1", False),
        ({"sent": (6, 6, 6)}, {}, ("node1", "node2"), "6 left node1, 0 arrived at node2", True),
        ({"sent": (6, 6, 6)}, {"arrived": (0, 0, 5)}, ("node2",), "5 arrived at node2, 0 came out of the VXLAN", True),
        ({"sent": (6, 6, 6)}, {"arrived": (0, 5, 5)}, ("node2",), "5 came out of the VXLAN device there, 0 were", True),
        ({"sent": (6, 6, 6)}, {"arrived": (5, 5, 5)}, ("node2",), "5 were passed to the container on node2, which", False),
        ({"asked": 3}, {}, ("node1",), "asked for the MAC address without an answer (3 requests); 0 of them", True),
    ],
)  # fmt: skip
def test_the_place_is_the_first_point_that_no_packet_reached(site, here, there, place, said, is_firm):  # noqa: PLR0917
    there = {**there, "own": TWO, "to": ONE}
    seen = lost(site, host("node1", **here), host("node2", **there))
    (cause,) = explain(seen)
    assert (cause.id, cause.hosts) == ("lost-in-overlay", place)
    assert said in cause.evidence[0]
    assert cause.network == "demo"
    assert cause.pairs == 2
    assert bool(firm(seen, [WAITS])) == is_firm


def test_a_request_that_the_vxlan_device_got_and_did_not_answer_is_the_engines_fault(site):
    here = host("node1", asked=3) + f"arp {SPACE} vxlan0 out {ONE} {TWO} 3\n"
    (cause,) = explain(lost(site, here, host("node2")))
    assert cause.problems[0].variant == "asked"
    assert not firm(lost(site, here, host("node2")), [WAITS])


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("", ""),
        (host("node1", sent=(1,)), host("node2")),  # too few to tell
        (host("node1", **HERE), host("node2", **HERE, own=TWO, to=ONE)),  # all arrived
        (host("node1", sent=(6,), to="10.99.0.77"), host("node2")),  # of another container
        (host("node1", sent=(6,)).replace(SPACE, "1-0123456789"), host("node2")),  # in another network
    ],
)
def test_nothing_is_concluded_from_counts_without_a_loss(site, here, there):
    assert "lost-in-overlay" not in {cause.id for cause in explain(lost(site, here, there))}


def test_packets_of_other_networks_that_pass_the_hosts_do_not_count(site):
    other = "".join(f"udp host eth0 {way} 10.98.0.1 10.98.0.2 90\n" for way in ("in", "out"))
    seen = lost(site, host("node1", sent=(6,)) + other, host("node2") + other)
    boxes = {name: next(s for s in kernel(name).spaces.values() if not s.network and s.inner).name for name in PAIR}
    for name, address in zip(PAIR, ("10.98.0.1", "10.98.0.2"), strict=True):
        more = {"local": address, "family": "inet", "prefixlen": 24}
        wide = lambda links, more=more: [{**each, "addr_info": [*each.get("addr_info", []), more]} for each in links]  # noqa: E731
        seen = with_kernel(seen, name, f"space:{boxes[name]}:addresses", wide)
    assert [problem.host for problem in firm(seen, [WAITS])] == ["node1"]


def test_one_request_is_enough_from_a_container_that_had_to_answer(site):
    heard = "".join(f"udp {SPACE} veth0 out {TWO} {ONE} {count}\n" for count in (5,))
    for more, found in (("", False), (heard, True)):
        seen = lost(site, host("node1", asked=1) + more, host("node2"))
        assert bool(firm(seen, [WAITS])) == found


def test_pairs_that_were_proven_lost_nothing(site):
    seen = lost(site, host("node1", sent=(6,)), host("node2"), ("node2", "node3"))
    assert "lost-in-overlay" not in {cause.id for cause in explain(seen)}


def test_a_blocked_port_explains_it(site):
    seen = blocked(lost(site, host("node1", sent=(6, 6, 6)), host("node2")))
    hops = lost(site, host("node1", sent=(6, 6, 6)), host("node2")).observed.hops
    (cause,) = explain(replace(seen, observed=replace(seen.observed, hops=hops)))
    assert cause.id == "vxlan-blocked"
    assert "lost-in-overlay" in {problem.id for problem in cause.explained}


def test_it_explains_pairs_of_its_host_only(site):
    found = firm(lost(site, host("node1", sent=(6,)), host("node2")), [WAITS])
    assert explained(found, [WAITS, Missing("node3", "node1", "demo")])
    assert not explained(found, [Missing("node2", "node3", "demo")])


def test_interfaces_of_one_kind_count_once_and_others_not_at_all():
    found = parsed(
        f"udp host bond0 out {ONE} {TWO} 4\nudp host eth0 out {ONE} {TWO} 5\nudp host lo out {ONE} {TWO} 9\n"
        f"udp {SPACE} br0 in {ONE} {TWO} 9\n",
        "node1",
    )
    assert found == Counts({Point("", "host", out=True): {(ONE, TWO): 5}}, {})


@pytest.mark.parametrize("line", ["udp host eth0 out 10.0.0.1", "nonsense", f"udp host eth0 in {ONE} {TWO} -1"])
def test_other_output_is_refused(line):
    with pytest.raises(Malformed):
        parsed(f"{line}\n", "node1")


def test_counts_of_other_packets_are_added():
    probes, echoes = (
        parsed(f"{kind} {SPACE} veth0 in {one} {TWO} 5\n", "node1") for kind, one in (("udp", ONE), ("icmp", THREE))
    )
    assert (probes | echoes).packets == {Point(SPACE, "container", out=False): {(ONE, TWO): 5, (THREE, TWO): 5}}
