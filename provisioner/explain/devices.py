"""Devices of overlays in the hosts' namespaces: VXLAN devices, the bridges' ports, their MTU and their queues."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from functools import partial
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from provisioner.explain.base import few
from provisioner.explain.overlays import is_down, link_down, of_kernels, settled, subnets_of
from provisioner.model import Problem
from provisioner.observe.kernel import kind_of
from provisioner.system import attached, networks
from provisioner.transport.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from provisioner.explain.base import Seen
    from provisioner.observe.kernel import Kernel, Space

_ENGINES_DEVICE = re.compile(r"vx-[0-9a-f]{6}-\w+")  # libnetwork's name for a device that is not yet in its namespace
_ENGINES_PORT = re.compile(r"(veth|vxlan)\d+")  # its names for the ports of an overlay's bridge
_IDLE = frozenset({"disabled", "blocking"})  # states of a bridge's port that forwards nothing
_SHAPES = frozenset({"tbf", "netem"})  # kinds of queues that limit, delay or lose packets
_STARTING = 20.0  # seconds that an engine takes to start, at most; it starts containers before it is active
_HAS_QUEUE = "has a queue of the kind {}, which limits or loses packets"


def numbers(seen: Seen) -> Iterator[Problem]:
    """Find VXLAN devices that are missing or down, that have a wrong VNI, or that a crashed engine left."""
    found: dict[str, dict[str, frozenset[int]]] = defaultdict(dict)
    listed = of_kernels(seen)
    known = {  # includes a swarm's ingress, which has a namespace too
        str(network.get("Id", "")) for name in seen.site.live for network in seen.site.facts[name].networks.values()
    }
    for name, kernel in seen.observed.kernels.items():
        live = {
            space.name: "" for space in kernel.spaces.values() if any(each.startswith(space.network) for each in known)
        }
        for network, entry in listed[name].items():
            space = kernel.space_of(str(entry.get("Id", "")))
            if space:
                live[space.name] = network
                found[network][name] = frozenset(_vni(link) for link in space.vxlans)
                yield from _devices(seen, name, network, space)
        yield from _orphans(seen, name, kernel, live)
    for network, by_host in found.items():
        yield from _differing(seen, network, {name: here for name, here in by_host.items() if here})


def _differing(seen: Seen, network: str, found: Mapping[str, frozenset[int]]) -> Iterator[Problem]:
    """Find hosts on which a network's VNI is not the one that a swarm's manager tells, or that most hosts have; else, two that differ."""
    told = {number for name in found if (number := networks.vni(seen.site.facts[name].networks.get(network)))}
    most = Counter(found.values()).most_common(2)
    usual = next((each for each in found.values() if told and told <= each), frozenset[int]())
    if not usual and most and (len(most) == 1 or most[0][1] > most[1][1]):
        usual = most[0][0]
    for name, here in found.items() if usual else ():
        if here != usual:
            evidence = f"the network {network} has VNI {_listed(here)} here and {_listed(usual)} on the other hosts"
            place = partial(Problem, "vni-mismatch", name, evidence, {"host": name}, network=network)
            yield place("kept" if _outlived(seen, name, network) else "", where=f"VXLAN device of {network}")
    if most and not usual and _single(seen, network):
        name, here = next(iter(found.items()))
        other, there = next((other, there) for other, there in found.items() if there != here)
        evidence = f"the network {network} has VNI {_listed(here)} on {name} and {_listed(there)} on {other}"
        values, where = {"name": name, "other": other}, f"VXLAN devices of {network}"
        yield Problem("vni-mismatch", name, evidence, values, "apart", target=other, network=network, where=where)


def _single(seen: Seen, network: str) -> bool:
    """Return whether a network has one subnet, and so one VNI. A host has the devices of the subnets that its containers are in."""
    return all(len([*subnets_of(of[network])]) == 1 for of in of_kernels(seen).values() if network in of)


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def _outlived(seen: Seen, name: str, network: str) -> bool:
    """Return whether the namespace of a network has outlived the last start of an engine with a store, although its containers stopped.

    An engine 20.10 keeps a namespace if it has a record of a container that is gone.
    """
    facts, kernel = seen.site.facts[name], seen.observed.kernels[name]
    space, engine = kernel.space_of(str(of_kernels(seen)[name][network].get("Id", ""))), facts.age("docker.service")
    stopped = seen.site.control == "kv" and not facts.engine.get("LiveRestoreEnabled")
    return bool(space and stopped and engine and kernel.ages.get(space.name, 0) > engine + _STARTING)


def sandboxes(seen: Seen) -> Iterator[Problem]:
    """Find overlays without a namespace of their own on a host where a container has been on them for some seconds.

    The container's own namespace is found beside it, so this is where the engine has its namespaces.
    """
    for name, kernel in seen.observed.kernels.items():
        on: dict[str, list[str]] = defaultdict(list)
        for each in attached.running(seen.site.facts[name]) if kernel.enters_all else ():
            gone = each.network_id and not kernel.space_of(each.network_id)
            if gone and (name, each.network, each.address) in settled(seen):
                on[each.network].append(each.name)
        for network, containers in on.items():
            evidence = (
                f"the namespace of {network} is gone, and containers are still on this network: {few(containers)}"
            )
            where = f"{name}: /var/run/docker/netns"
            yield Problem("sandbox-lost", name, evidence, {"host": name}, network=network, where=where)


def _vni(link: Mapping[str, Any]) -> int:
    data = (link.get("linkinfo") or {}).get("info_data") or {}
    number = data.get("id", 0)
    return number if isinstance(number, int) else 0


def _has_containers(space: Space) -> bool:
    return any(kind_of(link) == "veth" for link in space.links)


def _devices(seen: Seen, name: str, network: str, space: Space) -> Iterator[Problem]:
    """Find devices in an overlay's namespace that pass no packets."""
    if not _has_containers(space):
        return
    lost = partial(Problem, "vxlan-lost", name, network=network)
    values = {"host": name, "space": space.name}
    if not space.vxlans:
        evidence = f"the namespace of {network} has containers but no VXLAN device"
        yield lost(evidence=evidence, values=values, where=f"namespace {space.name}")
    for link in space.vxlans:
        device = str(link.get("ifname", ""))
        of = f"the VXLAN device {device} of {network}"
        if is_down(link):
            yield lost(evidence=f"{of} is down", values=values | {"device": device}, variant="down", where=device)
        elif wrong := _wrong(seen, name, link):
            yield lost(
                evidence=f"{of} {wrong}", values=values, variant="other", where=f"{name}: {device} in {space.name}"
            )
    for link in space.links:
        if kind_of(link) in {"bridge", "veth"} and is_down(link):
            yield link_down(name, network, space, link, f"the namespace of {network}")
    yield from _ports(name, network, space)
    for table, rule in space.filters[:1]:
        values = {"host": name, "space": space.name, "table": table, "rule": rule}
        evidence = f"the namespace of {network} has the rule `{clean(rule.encode())[:200]}` (nft, table {table}), which the engine did not set"
        where = f"{name}: table {table} in {space.name}"
        yield Problem("link-down", name, evidence, values, "filtered", network=network, where=where)


def _wrong(seen: Seen, name: str, vxlan: Mapping[str, Any]) -> str:
    """Return in what a VXLAN device differs from those of other hosts, or ""."""
    data = (vxlan.get("linkinfo") or {}).get("info_data") or {}
    port, wanted = data.get("port"), seen.site.inventory.data_path_port
    if isinstance(port, int) and port != wanted:
        return f"uses the port {port}, and the other hosts use {wanted}"
    local = str(data.get("local", ""))
    if local and local not in {str(its.ip) for _, its in seen.site.facts[name].addresses}:
        return f"sends from {local}, which is no address of {name}"
    return ""


def _ports(name: str, network: str, space: Space) -> Iterator[Problem]:
    """Find interfaces that are up, and no ports of the bridge, or disabled ones. The engine sets an interface up last.

    The bridge of a network with several subnets is not known for sure.
    """
    bridges = [link for link in space.links if kind_of(link) == "bridge"]
    if len(bridges) != 1 or is_down(bridges[0]):
        return
    bridge = str(bridges[0].get("ifname", ""))
    isolated = [link for link in space.links if _of_port(link).get("isolated") is True]
    for link in space.links:
        device = str(link.get("ifname", ""))
        if not _ENGINES_PORT.fullmatch(device) or is_down(link):
            continue
        values = {"host": name, "space": space.name, "device": device, "bridge": bridge}
        place = partial(
            Problem, "link-down", name, values=values, network=network, where=f"{name}: {device} in {space.name}"
        )
        state = str(_of_port(link).get("state", ""))
        if not link.get("master"):
            yield place(evidence=f"{device} in the namespace of {network} is no port of {bridge}", variant="apart")
        elif state in _IDLE and "LOWER_UP" in (link.get("flags") or []):
            yield place(
                evidence=f"the port {device} of {bridge} in the namespace of {network} is {state}", variant="port"
            )
        elif link in isolated and len(isolated) > 1:
            evidence = f"the port {device} of {bridge} in the namespace of {network} is isolated from its other ports"
            yield place(evidence=evidence, variant="isolated")


def _of_port(link: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state of an interface as the port of a bridge."""
    return (link.get("linkinfo") or {}).get("info_slave_data") or {}


def _orphans(seen: Seen, name: str, kernel: Kernel, live: Mapping[str, str]) -> Iterator[Problem]:
    """Find devices that an engine left: in the host's namespace, or in one without a network. Devices of other programs are ignored."""
    port = seen.site.inventory.data_path_port
    for link in kernel.links:
        device, data = str(link.get("ifname", "")), (link.get("linkinfo") or {}).get("info_data") or {}
        if kind_of(link) == "vxlan" and data.get("port") == port and _ENGINES_DEVICE.fullmatch(device):
            evidence = f"the host's own namespace has the VXLAN device {device} with VNI {_vni(link)} on port {port}"
            yield Problem("vxlan-exists", name, evidence, {"host": name, "device": device}, where=f"{name}: {device}")
    used = {_vni(link) for space in kernel.spaces.values() if space.name in live for link in space.vxlans}
    for space in kernel.spaces.values():
        if not space.network or space.name in live or not seen.site.facts[name].networks:
            continue
        if _has_containers(space):  # a network that was created after the engine listed its networks
            continue
        for link in (link for link in space.vxlans if _vni(link) not in used):
            device, vni = str(link.get("ifname", "")), _vni(link)
            evidence = (
                f"the namespace {space.name}, which belongs to no network, has the VXLAN device {device} with VNI {vni}"
            )
            values = {"host": name, "device": device, "space": space.name}
            where = f"{name}: {device} in {space.name}"
            yield Problem("vxlan-exists", name, evidence, values, "space", where=where)


def narrow(seen: Seen) -> Iterator[Problem]:
    """Find interfaces of overlays that pass smaller packets than those of other hosts, and containers that send larger ones."""
    listed, usual = of_kernels(seen), _usual_mtus(seen)
    for name, kernel in seen.observed.kernels.items():
        for network, wanted in usual.items():
            entry = listed[name].get(network) or {}
            subnets, own = list(subnets_of(entry)), kernel.space_of(str(entry.get("Id", "")))
            inside = [(own, link, "<") for link in own.links if kind_of(link) in {"vxlan", "veth"}] if own else []
            for space in kernel.spaces.values():
                macs = {mac for at, mac in space.inner if any(IPv4Address(at) in each for each in subnets)}
                inside += (
                    [(space, link, ">") for link in space.links if link.get("address") in macs]
                    if not space.network
                    else []
                )
            for space, link, sign in inside:
                device, mtu = str(link.get("ifname", "")), link.get("mtu")
                if isinstance(mtu, int) and (mtu < wanted if sign == "<" else mtu > wanted):
                    evidence = f"the interface {device} in {space.name} has the MTU {mtu}, and the network {network} has {wanted}"
                    values = {"host": name, "space": space.name, "device": device, "wanted": wanted}
                    where = f"{name}: {device} in {space.name}"
                    yield Problem("mtu", name, evidence, values, "device", network=network, where=where)


def _usual_mtus(seen: Seen) -> dict[str, int]:
    """Return network -> MTU of its VXLAN devices, if most hosts agree."""
    found: dict[str, Counter[int]] = defaultdict(Counter)
    for name, listed in of_kernels(seen).items():
        for network, entry in listed.items():
            space = seen.observed.kernels[name].space_of(str(entry.get("Id", "")))
            for link in space.vxlans if space else ():
                if isinstance(mtu := link.get("mtu"), int):
                    found[network][mtu] += 1
    usual = {network: each.most_common(1)[0] for network, each in found.items()}
    return {network: mtu for network, (mtu, count) in usual.items() if count > 1 and 2 * count > found[network].total()}


def shaped(seen: Seen) -> Iterator[Problem]:
    """Find queues that limit, delay or lose packets, on hosts whose proofs failed. Queues that disturb nobody are not reported."""
    failed = [each for result in seen.proofs for each in result.problems]
    for name, kernel in seen.observed.kernels.items():
        if not any(name in {each.host, each.target} or not each.host for each in failed):
            continue
        places = [("", link) for link in _own(seen, name)]
        places += [(space.name, link) for space in kernel.spaces.values() if space.network for link in space.links]
        for space_name, link in places:
            if link.get("qdisc") in _SHAPES:
                device, inside = str(link.get("ifname", "")), f" in {space_name}" if space_name else ""
                evidence = f"the interface {device}{inside} {_HAS_QUEUE.format(link['qdisc'])}"
                enter = f"nsenter --net=/var/run/docker/netns/{space_name} " if space_name else ""
                values = {"host": name, "look": f"{enter}tc -s qdisc show dev {device}"}
                yield Problem("packet-loss", name, evidence, values, "shaped", where=f"{name}: {device}{inside}")


def queue(seen: Seen, host: str) -> tuple[str, str]:
    """Return the interface of a host whose queue limits, delays or loses packets to the other hosts, and that in words; "" if there is none."""
    found = (link for link in _own(seen, host) if link.get("qdisc") in _SHAPES)
    return next(
        ((str(link["ifname"]), f"its interface {_HAS_QUEUE.format(link['qdisc'])}") for link in found), ("", "")
    )


def _own(seen: Seen, host: str) -> list[dict[str, Any]]:
    """Return the interfaces of a host with the address that it advertises."""
    if host not in seen.observed.kernels:
        return []
    own = {on for on, its in seen.site.facts[host].addresses if its.ip == seen.site.advertise.get(host)}
    return [link for link in seen.observed.kernels[host].links if link.get("ifname") in own]


DETECTORS = (numbers, sandboxes, narrow, shaped)
