"""The neighbour table: when it is full, and what looks alike; interfaces whose packets are not forwarded."""

from __future__ import annotations

import pytest
from scenes import healthy, with_kernel

from provisioner import causes
from provisioner.explain import problems

LOG = "[12.0] neighbour: arp_cache: neighbor table overflow!\n"


@pytest.mark.parametrize(
    ("used", "log", "expected"),
    [
        ("000003f2", "", True),  # 1010 of 1024
        ("00000300", LOG, True),  # it was full within the last minutes, and may be again
        ("", LOG, True),  # unknown
        ("00000040", LOG, False),  # the line is old
        ("00000300", "", False),
        ("xyz", "", False),
    ],
)
def test_the_neighbour_table(site, used, log, expected):
    limit = lambda text: f"{text.rstrip()}\nnet/ipv4/neigh/default/gc_thresh3=1024\n"  # noqa: E731
    seen = with_kernel(healthy(site), "node2", "sysctl", limit)
    seen = with_kernel(
        with_kernel(seen, "node2", "neighbour-count", lambda _: f"{used}\n"), "node2", "kernel-log", lambda _: log
    )
    assert [each.id for each in problems(seen)] == (["neigh-overflow"] if expected else [])


@pytest.mark.parametrize(
    ("device", "expected"), [("docker_gwbridge", True), ("eth0", True), ("tun0", False), ("$(id)", False)]
)
def test_interfaces_whose_packets_are_not_forwarded(site, device, expected):
    """Containers use docker_gwbridge and the host's interface to the others; other interfaces are somebody else's."""
    seen = with_kernel(
        healthy(site), "node2", "unforwarded", lambda _: f"/proc/sys/net/ipv4/conf/{device}/forwarding\n"
    )
    setting = f"net/ipv4/conf/{device}/forwarding"
    found = [(each.id, each.where, causes.shell_commands(each)) for each in problems(seen)]
    assert found == ([("ip-forward", setting, (f"sysctl -w {setting}=1",))] if expected else [])
