"""Running containers that do not reach each other, while new ones may."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from scenes import HOSTS, NETWORK, SPACE, healthy, running, with_containers, with_kernel

from provisioner import causes
from provisioner.explain import explain, senders
from provisioner.observe import kernel
from provisioner.observe.hops import parsed

ADDRESSES = {"node1": "10.99.0.2", "node2": "10.99.0.3", "node3": "10.99.0.4"}  # as in the captured namespaces
TO = (ADDRESSES["node2"], ADDRESSES["node1"])


def seen_with(site, **said):
    """A container on each host; `said`: host -> the other hosts' containers that did not answer its own: host -> what passed."""
    seen = healthy(site)
    for host, address in ADDRESSES.items():
        networks = {"demo": {"NetworkID": NETWORK, "IPAddress": address}}
        seen = with_containers(seen, host, running(f"web-{host}", NetworkSettings={"Networks": networks}))
        text = "asked 2\n" + "".join(f"{ADDRESSES[other]} {what}\n" for other, what in said.get(host, {}).items())
        seen = with_kernel(seen, host, f"echo:{address}", lambda _, text=text: text)
    return seen


def cut_off(host, what="none"):
    return {host: dict.fromkeys(set(HOSTS) - {host}, what), **{other: {host: what} for other in HOSTS if other != host}}


@pytest.mark.parametrize(("what", "cause"), [("none", "overlay-blocked"), ("small", "path-mtu")])
def test_a_container_that_is_cut_off_is_named_and_restarted(site, what, cause):
    (found,) = explain(seen_with(site, **cut_off("node2", what)))
    assert (found.id, found.hosts, found.problems[0].variant) == (cause, ("node2",), "running")
    assert causes.cure(found.problems[0]).startswith("restart web-node2, which gives it new interfaces")
    assert "web-node1 on node1 gets" in found.problems[0].evidence


def test_without_a_proof_new_containers_may_be_cut_off_too(site):
    (found,) = explain(replace(seen_with(site, **cut_off("node2")), proofs=()))
    assert (found.id, found.problems[0].variant) == ("overlay-blocked", "passes")
    assert not explain(replace(seen_with(site, **cut_off("node2", "small")), proofs=()))


def test_one_direction_between_two_hosts(site):
    (found,) = explain(seen_with(site, node1={"node2": "none"}))
    assert (found.id, found.path) == ("overlay-blocked", ("node1", "node2"))


def test_healthy_twins(site):
    assert not explain(seen_with(site))
    assert not explain(
        seen_with(site, node1={"node2": "none"}, node3={"node2": "none"})
    )  # web-node2 ignores echo requests
    silent = seen_with(site, **cut_off("node2"))
    for host, address in ADDRESSES.items():
        silent = with_kernel(silent, host, f"echo:{address}", lambda _: "")  # no Perl, or it ended early
    assert not explain(silent)


def test_a_container_that_has_lost_its_address_ignores_nobody(site):
    seen = seen_with(site, node1={"node2": "none"}, node3={"node2": "none"})
    space = next(name for name, of in seen.observed.kernels["node2"].spaces.items() if not of.network)
    seen = with_kernel(seen, "node2", "echo:10.99.0.3", lambda _: "")
    seen = with_kernel(
        seen,
        "node2",
        f"space:{space}:addresses",
        lambda found: json.loads(json.dumps(found).replace("10.99.0.3", "10.99.0.200")),
    )
    (found,) = explain(seen)
    assert (found.id, found.hosts) == ("overlay-blocked", ("node2",))
    assert causes.cure(found.problems[0]).startswith("restart web-node2")


def test_a_container_whose_namespace_was_not_read_may_ignore_others(site):
    seen = seen_with(site, node1={"node2": "none"}, node3={"node2": "none"})
    space = next(name for name, of in seen.observed.kernels["node2"].spaces.items() if not of.network)
    whole = {name: text for name, text in seen.observed.kernels["node2"].raw.items() if name != "echo:10.99.0.3"}
    raw = {name: text for name, text in whole.items() if not name.startswith(f"space:{space}:")}
    for missing in (whole, raw | {"failed": f"space:{space}:links nsenter: no\n"}):
        seen = replace(
            seen,
            observed=replace(seen.observed, kernels={**seen.observed.kernels, "node2": kernel.Kernel(missing)}),
        )
        assert not explain(seen)


def test_each_container_asks_those_on_other_hosts(site):
    assert kernel.echoes(seen_with(site).site)["node1"] == ["10.99.0.2 10.99.0.3 10.99.0.4"]
    assert kernel.echoes(healthy(site).site) == {}


def followed(seen, counts):
    """The same with what the hosts have counted of the containers' echo requests: host -> lines of templates/hops.pl."""
    hops = {host: parsed(text, host) for host, text in counts.items()}
    return replace(seen, observed=replace(seen.observed, hops=hops))


def test_packets_of_running_containers_are_followed_if_new_ones_could_not_be_tried(site):
    seen = replace(seen_with(site, **cut_off("node2")), proofs=())
    inside = {
        name: next(space.name for space in seen.observed.kernels[name].spaces.values() if not space.network)
        for name in HOSTS
    }
    assert {host: set(of) for host, of in senders(seen).items()} == {host: {inside[host]} for host in HOSTS}
    assert senders(seen)["node2"] == {inside["node2"]: ["10.99.0.2", "10.99.0.4"]}
    two, one = TO
    there = "".join(
        f"icmp {at} {one} {two} 6\n" for at in (f"{SPACE} veth0 in", f"{SPACE} vxlan0 out", "host eth0 out")
    )
    here = "".join(f"icmp {at} {one} {two} 6\n" for at in ("host eth0 in", f"{SPACE} vxlan0 in", f"{SPACE} veth0 out"))
    here += f"icmp {SPACE} veth0 in {two} {one} 6\n"
    found = followed(seen, {"node1": there, "node2": here})
    (cause,) = explain(found)
    assert (cause.id, cause.hosts, cause.network) == ("lost-in-overlay", ("node2",), "demo")
    assert "6 came from the container on node2, 0 were passed to the VXLAN device there" in cause.evidence[0]
    assert {problem.id for problem in cause.explained} == {"overlay-blocked"}


def test_they_are_not_followed_if_new_containers_reach_each_other(site):
    assert senders(seen_with(site, **cut_off("node2"))) == {}
    assert senders(seen_with(site)) == {}
