"""Kernel settings, tables, modules and routes of hosts that keep engines and overlays from working."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provisioner.explain.overlays import GWBRIDGE, of_kernels, subnets_of
from provisioner.model import Problem
from provisioner.system import services
from provisioner.system.networks import of_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.explain.base import Seen
    from provisioner.observe.kernel import Kernel

_FULL = 0.95  # share of a table from which it counts as full
_TABLE_FULL = re.compile(
    r"^(?!.*ndisc_cache).*able overflow"
)  # ndisc_cache is the table of IPv6, which overlays do not use


def settings(seen: Seen) -> Iterator[Problem]:
    """Find kernel settings that break engines, full tables, and LXC hosts."""
    for name, kernel in seen.observed.kernels.items():
        values = {"host": name}
        if kernel.setting("net.ipv4.ip_forward") == 0 and seen.site.facts[name].engine:
            yield Problem("ip-forward", name, "net.ipv4.ip_forward is 0", values, where="net.ipv4.ip_forward")
        elif seen.site.facts[name].engine:
            yield from _unforwarded(seen, name, kernel)
        used, most = (kernel.setting(f"net.netfilter.nf_conntrack_{what}") for what in ("count", "max"))
        if used and most and used >= _FULL * most:
            evidence = f"{used} of {most} entries are in use"
            yield Problem(
                "conntrack-full", name, evidence, values | {"twice": 2 * most}, where="net.netfilter.nf_conntrack_max"
            )
        if evidence := _overflow(kernel):
            yield Problem("neigh-overflow", name, evidence, values, where="net.ipv4.neigh.default.gc_thresh3")
        if kernel.virtualisation == "lxc" and seen.site.control == "swarm":
            yield Problem("lxc-host", name, "systemd-detect-virt reports lxc", values)


def _unforwarded(seen: Seen, name: str, kernel: Kernel) -> Iterator[Problem]:
    """Find interfaces that containers need, and whose packets are not forwarded although the host forwards others."""
    address = seen.site.advertise.get(name)
    underlay = {device for device, own in seen.site.facts[name].addresses if own.ip == address}
    for device in sorted(kernel.unforwarded & {GWBRIDGE, *underlay}):
        setting = f"net/ipv4/conf/{device}/forwarding"  # a name can contain dots
        yield Problem(
            "ip-forward", name, f"{setting} is 0", {"host": name, "setting": setting}, "interface", where=setting
        )


def _overflow(kernel: Kernel) -> str:
    """Return how the neighbour table is full, or "". A line of the kernel's log is outdated if the table is far from full."""
    used, most = kernel.neighbour_count, kernel.setting("net.ipv4.neigh.default.gc_thresh3")
    if used and most and used >= _FULL * most:
        return f"{used} of {most} entries are in use"
    lines = [line.strip() for line in kernel.raw.get("kernel-log", "").splitlines() if _TABLE_FULL.search(line)]
    outdated = used is not None and most and used < most / 2
    return f"kernel log: {lines[-1][:200]}" if lines and not outdated else ""


def balancers(seen: Seen) -> Iterator[Problem]:
    """Find hosts whose kernel can't balance connections to the services of their swarm."""
    site = seen.site
    needs = [each for each in services.of(site.facts[name] for name in site.live) if each.virtual or each.ports]
    for name in site.live if needs and site.control == "swarm" else ():
        if services.IPVS in site.facts[name].kernel_lacks and site.plane.joined(site.facts[name]):
            what = "published ports" if needs[0].ports else "a virtual address"
            evidence = f"the kernel has no module {services.IPVS}, and the service {needs[0].name} has {what}"
            yield Problem("ipvs-missing", name, evidence, {"host": name}, where=f"{name}: modprobe {services.IPVS}")


def lacking(seen: Seen) -> Iterator[Problem]:
    """Find hosts whose kernel lacks what an existing network needs. Before `up` creates a network, a check does."""
    for name in seen.site.live:
        facts = seen.site.facts[name]
        for network in seen.site.inventory.networks.values():
            for needed in sorted(of_kernel(network) & facts.kernel_lacks) if network.name in facts.networks else ():
                evidence = f"the network {network.name} needs {needed}, which this host's kernel lacks"
                variant = "encrypted" if network.encrypted else ""
                yield Problem("kernel-without", name, evidence, variant=variant, network=network.name)


def shadows(seen: Seen) -> Iterator[Problem]:
    """Find routes that cover subnets of overlays."""
    listed = of_kernels(seen)
    for name, kernel in seen.observed.kernels.items():
        for network, found in listed[name].items():
            for subnet in subnets_of(found):
                for route, device in kernel.networks_routed():
                    if route.overlaps(subnet) and route.prefixlen:
                        evidence = (
                            f"the route to {route} through {device or '?'} covers {subnet} of the network {network}"
                        )
                        values = {"host": name, "route": route, "device": device, "network": network}
                        yield Problem(
                            "route-shadow", name, evidence, values, network=network, where=f"route to {route}"
                        )


DETECTORS = (settings, balancers, lacking, shadows)
