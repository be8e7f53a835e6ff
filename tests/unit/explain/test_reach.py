"""Running containers that do not reach each other, while new ones may."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from scenes import HOSTS, NETWORK, healthy, running, with_containers, with_kernel

from provisioner import causes
from provisioner.explain import explain
from provisioner.observe import kernel

ADDRESSES = {"node1": "10.99.0.2", "node2": "10.99.0.3", "node3": "10.99.0.4"}  # as in the captured namespaces


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
