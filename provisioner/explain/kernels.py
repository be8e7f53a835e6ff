"""Causes that the kernels of the hosts show: routes, rules, bridges, and the forwarding entries of overlays."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

from provisioner.model import Problem
from provisioner.observe.kernel import kind_of
from provisioner.system.firewall import in_own_tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provisioner.explain.base import Seen
    from provisioner.observe.kernel import Kernel, Space

_MOST_PORTS = 1023  # of a bridge: linux/net/bridge/br_private.h, BR_MAX_PORTS
_FULL = 0.95  # of a table
_NO_BRIDGE_RULES = 27  # the first engine that sets no rules for bridged packets
_OF_ENGINES = ("DOCKER-FORWARD", "DOCKER-ISOLATION")  # where engines from 28 on, and those before, have their rules
_GWBRIDGE = "docker_gwbridge"
_ENGINES_DEVICE = re.compile(r"vx-[0-9a-f]{6}-\w+")  # libnetwork names its devices so until they are in their namespace
_OVERLAYS = frozenset({"overlay"})


def overlays(seen: Seen, host: str) -> dict[str, dict[str, Any]]:
    """Name -> what the host's engine tells of its overlay networks."""
    networks = seen.site.facts[host].networks.items()
    return {name: found for name, found in networks if found.get("Driver") in _OVERLAYS and not found.get("Ingress")}


def same_machine(seen: Seen) -> Iterator[Problem]:
    by_id: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, kernel in seen.observed.kernels.items():
        if kernel.boot_id and kernel.machine_id:
            by_id[kernel.boot_id, kernel.machine_id].append(name)
    for (boot, _), names in by_id.items():
        if len(names) > 1:
            yield Problem("same-machine", names[0], f"{' and '.join(names)} have the boot ID {boot}", target=names[1])


def settings(seen: Seen) -> Iterator[Problem]:
    """Settings of the kernel that engines need, and tables that are full."""
    for name, kernel in seen.observed.kernels.items():
        values = {"host": name}
        if kernel.setting("net.ipv4.ip_forward") == 0 and seen.site.facts[name].engine:
            yield Problem("ip-forward", name, "net.ipv4.ip_forward is 0", values, where="net.ipv4.ip_forward")
        used, most = (kernel.setting(f"net.netfilter.nf_conntrack_{what}") for what in ("count", "max"))
        if used and most and used >= _FULL * most:
            evidence = f"{used} of {most} entries are in use"
            yield Problem(
                "conntrack-full", name, evidence, values | {"twice": 2 * most}, where="net.netfilter.nf_conntrack_max"
            )
        if "able overflow" in kernel.raw.get("kernel-log", ""):
            evidence = f"the kernel log says: {kernel.raw['kernel-log'].strip().splitlines()[-1][:200]}"
            yield Problem("neigh-overflow", name, evidence, values, where="net.ipv4.neigh.default.gc_thresh3")
        if kernel.virtualisation == "lxc" and seen.site.control == "swarm":
            yield Problem("lxc-host", name, "systemd-detect-virt says lxc", values)


def shadows(seen: Seen) -> Iterator[Problem]:
    """Routes that cover subnets of overlays."""
    for name, kernel in seen.observed.kernels.items():
        for network, found in overlays(seen, name).items():
            for subnet in _subnets(found):
                for route, device in kernel.networks_routed():
                    if route.overlaps(subnet) and route.prefixlen:
                        evidence = (
                            f"the route to {route} through {device or '?'} covers {subnet} of the network {network}"
                        )
                        values = {"host": name, "route": route, "device": device, "network": network}
                        yield Problem(
                            "route-shadow", name, evidence, values, network=network, where=f"route to {route}"
                        )


def _subnets(network: Mapping[str, Any]) -> Iterator[IPv4Network]:
    for config in (network.get("IPAM") or {}).get("Config") or ():
        subnet = str(config.get("Subnet", ""))
        if subnet and ":" not in subnet:
            yield IPv4Network(subnet, strict=False)


# -- the engine's rules and bridges -------------------------------------------------------------------------------------


def rules(seen: Seen) -> Iterator[Problem]:
    """The engine's rules are gone; or two backends have rules; or loopback is dropped."""
    for name, kernel in seen.observed.kernels.items():
        tables = {tool: _parsed(kernel.rules(tool)) for tool in ("iptables-legacy-save", "iptables-nft-save")}
        yield from _engine_rules(seen, name, tables)
        used = [tool for tool, table in tables.items() if any(table.values())]
        if len(used) > 1:
            evidence = " and ".join(f"{tool} shows {sum(map(len, tables[tool].values()))} rules" for tool in used)
            yield Problem("iptables-split", name, evidence, {"host": name}, where="iptables-legacy and iptables-nft")
        if (
            kernel.setting("net.bridge.bridge-nf-call-iptables")
            and _major(seen, name) > _NO_BRIDGE_RULES - 1
            and _failed_local(seen, name)
        ):
            evidence = "net.bridge.bridge-nf-call-iptables is 1, and containers of one bridge do not reach each other"
            yield Problem("br-netfilter", name, evidence, {"host": name}, where="net.bridge.bridge-nf-call-iptables")


def _major(seen: Seen, name: str) -> int:
    first = seen.site.facts[name].engine_version.partition(".")[0]
    return int(first) if first.isascii() and first.isdigit() else 0


def _failed_local(seen: Seen, name: str) -> bool:
    return any(
        problem.id == "forward-blocked" and problem.host in {"", name}
        for result in seen.proofs
        for problem in result.problems
    )


def _parsed(lines: list[str]) -> dict[tuple[str, str], list[str]]:
    """(table, chain) -> its rules."""
    found: dict[tuple[str, str], list[str]] = {}
    table = ""
    for line in lines:
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            found.setdefault((table, line[1:].split(" ")[0]), [])
        elif line.startswith("-A "):
            found.setdefault((table, line.split(" ")[1]), []).append(line)
    return found


def _engine_rules(
    seen: Seen, name: str, tables: Mapping[str, Mapping[tuple[str, str], list[str]]]
) -> Iterator[Problem]:
    facts = seen.site.facts[name]
    if not facts.engine or '"iptables": false' in facts.files.get("/etc/docker/daemon.json", "").replace(
        '":false', '": false'
    ):
        return
    if not any(tables.values()) or in_own_tables(facts.engine):
        return
    lacking = []
    forward = [rule for table in tables.values() for rule in table.get(("filter", "FORWARD"), ())]
    if not any(f"-j {chain}" in rule for chain in _OF_ENGINES for rule in forward):
        lacking.append("FORWARD jumps to no chain of the engine's")
    if any(table.get(("filter", "DOCKER-FORWARD")) == [] for table in tables.values()):
        lacking.append("DOCKER-FORWARD is empty")
    nat = [
        rule
        for table in tables.values()
        for (of, chain), found in table.items()
        if of == "nat" and chain in {"PREROUTING", "POSTROUTING"}
        for rule in found
    ]
    if not any("-j DOCKER" in rule for rule in nat):
        lacking.append("PREROUTING (nat) does not jump to DOCKER")
    if lacking:
        evidence = f"{' and '.join(lacking)}, although the engine runs"
        yield Problem("firewall-reload", name, evidence, {"host": name}, where="iptables, chains of the engine")


def bridges(seen: Seen) -> Iterator[Problem]:
    """The bridge through which containers of overlays leave their host, and bridges that are full."""
    for name, kernel in seen.observed.kernels.items():
        if kernel.iproute and _GWBRIDGE in seen.site.facts[name].networks:
            link = kernel.link(_GWBRIDGE)
            if not link:
                yield Problem(
                    "gwbridge", name, f"{_GWBRIDGE} is not there", {"host": name}, where=f"{name}: {_GWBRIDGE}"
                )
            elif "UP" not in (link.get("flags") or []):
                evidence = f"{_GWBRIDGE} is down"
                yield Problem("gwbridge", name, evidence, {"host": name}, "down", where=f"{name}: {_GWBRIDGE}")
        for bridge, ports in Counter(str(link.get("master", "")) for link in kernel.links).items():
            if bridge and ports >= _MOST_PORTS:
                yield Problem("bridge-full", name, f"{bridge} has {ports} ports", where=f"{name}: {bridge}")


def _has_containers(space: Space) -> bool:
    return any(kind_of(link) == "veth" for link in space.links)


# -- the overlays' own namespaces -----------------------------------------------------------------------------------------


def numbers(seen: Seen) -> Iterator[Problem]:
    """VXLAN devices: missing, down, with another number than on the other hosts, or left behind by a crash."""
    found: dict[str, dict[str, frozenset[int]]] = defaultdict(dict)
    # Of all networks: a swarm's ingress has a namespace too.
    known = {str(told.get("Id", "")) for name in seen.site.live for told in seen.site.facts[name].networks.values()}
    for name, kernel in seen.observed.kernels.items():
        live = {
            space.name: "" for space in kernel.spaces.values() if any(each.startswith(space.network) for each in known)
        }
        for network, told in overlays(seen, name).items():
            space = kernel.space_of(str(told.get("Id", "")))
            if space:
                live[space.name] = network
                found[network][name] = frozenset(_vni(link) for link in space.vxlans)
                yield from _devices(name, network, space)
        yield from _orphans(seen, name, kernel, live)
    for network, by_host in found.items():
        usual = Counter(numbers for numbers in by_host.values() if numbers).most_common(1)
        for name, here in by_host.items():
            if here and usual and here != usual[0][0] and usual[0][1] > 1:
                others = ", ".join(map(str, sorted(usual[0][0])))
                evidence = f"the network {network} has VNI {', '.join(map(str, sorted(here)))} here and {others} on the other hosts"
                yield Problem(
                    "vni-mismatch", name, evidence, {"host": name}, network=network, where=f"VXLAN device of {network}"
                )


def _vni(link: Mapping[str, Any]) -> int:
    data = (link.get("linkinfo") or {}).get("info_data") or {}
    number = data.get("id", 0)
    return number if isinstance(number, int) else 0


def _devices(name: str, network: str, space: Space) -> Iterator[Problem]:
    if not _has_containers(space):
        return
    values = {"host": name, "space": space.name}
    if not space.vxlans:
        evidence = f"the namespace of {network} has containers and no VXLAN device"
        yield Problem("vxlan-lost", name, evidence, values, network=network, where=f"namespace {space.name}")
    for link in space.vxlans:
        if "UP" not in (link.get("flags") or []):
            device = str(link.get("ifname", ""))
            evidence = f"the VXLAN device {device} of {network} is down"
            yield Problem(
                "vxlan-lost", name, evidence, values | {"device": device}, "down", network=network, where=device
            )


def _orphans(seen: Seen, name: str, kernel: Kernel, live: Mapping[str, str]) -> Iterator[Problem]:
    """Devices that an engine left behind: on the host itself, or in a namespace of no network. Devices of others are not reported."""
    port = seen.site.inventory.data_path_port
    for link in kernel.links:
        device, data = str(link.get("ifname", "")), (link.get("linkinfo") or {}).get("info_data") or {}
        if kind_of(link) == "vxlan" and data.get("port") == port and _ENGINES_DEVICE.fullmatch(device):
            evidence = f"the host itself has the VXLAN device {device} with VNI {_vni(link)} on port {port}"
            yield Problem("vxlan-exists", name, evidence, {"host": name, "device": device}, where=f"{name}: {device}")
    used = {_vni(link) for space in kernel.spaces.values() if space.name in live for link in space.vxlans}
    for space in kernel.spaces.values():
        if not space.network or space.name in live or not seen.site.facts[name].networks:
            continue
        for link in (link for link in space.vxlans if _vni(link) not in used):
            device, vni = str(link.get("ifname", "")), _vni(link)
            evidence = f"the namespace {space.name} of no network has the VXLAN device {device} with VNI {vni}"
            values = {"host": name, "device": device, "space": space.name}
            where = f"{name}: {device} in {space.name}"
            yield Problem("vxlan-exists", name, evidence, values, "space", where=where)


# -- containers, and where packets for them are sent -------------------------------------------------------------------------


@dataclass(frozen=True)
class Endpoint:
    """A container on an overlay: its host, its name as far as it is known, its MAC address."""

    host: str
    name: str
    mac: str


def _endpoints(seen: Seen) -> dict[str, dict[str, list[Endpoint]]]:
    """Network -> address -> the containers that have it, as the kernels show: the interfaces in their own namespaces."""
    found: dict[str, dict[str, list[Endpoint]]] = defaultdict(lambda: defaultdict(list))
    for host, kernel in seen.observed.kernels.items():
        names = _names(seen, host)
        subnets = {name: list(_subnets(told)) for name, told in overlays(seen, host).items()}
        for space in kernel.spaces.values():
            if space.network:
                continue
            for address, mac in space.inner:
                for network in (n for n, of in subnets.items() if any(IPv4Address(address) in each for each in of)):
                    name = "the load balancer" if space.balances else names.get((network, address), "a container")
                    found[network][address].append(Endpoint(host, name, mac))
    return found


def _names(seen: Seen, host: str) -> dict[tuple[str, str], str]:
    """(network, address) -> the container's name, as its engine tells."""
    found = {}
    for container in seen.site.facts[host].http("containers").body or ():
        names = [str(name).removeprefix("/") for name in container.get("Names") or ()]
        for network, told in ((container.get("NetworkSettings") or {}).get("Networks") or {}).items():
            found[network, str(told.get("IPAddress") or "")] = names[0] if names else "a container"
    return found


def addresses(seen: Seen) -> Iterator[Problem]:
    """Addresses that two containers have, or that are the gateway's."""
    for network, by_address in _endpoints(seen).items():
        gateways = {
            address
            for name, kernel in seen.observed.kernels.items()
            if (space := kernel.space_of(str((overlays(seen, name).get(network) or {}).get("Id", ""))))
            for address, _ in space.inner
        }
        for address, holders in by_address.items():
            first, *others = holders
            where = f"{first.host}: address {address} on {network}"
            if others:
                told = " and ".join(f"{each.name} on {each.host}" for each in holders)
                values = {"both": told, "network": network, "name": others[0].name, "host": others[0].host}
                target = others[0].host if others[0].host != first.host else ""
                evidence = f"{told} have {address}"
                yield Problem("duplicate-ip", first.host, evidence, values, target=target, network=network, where=where)
            elif address in gateways:
                values = {"network": network, "name": first.name, "host": first.host}
                evidence = f"{first.name} has {address}, the gateway's address"
                yield Problem("gateway-given", first.host, evidence, values, network=network, where=where)


def forwarding(seen: Seen) -> Iterator[Problem]:
    """Entries of overlays that send packets to the wrong host, or to none."""
    for network, by_address in _endpoints(seen).items():
        for name, kernel in seen.observed.kernels.items():
            told = overlays(seen, name).get(network) or {}
            space = kernel.space_of(str(told.get("Id", "")))
            if space and space.vxlans:
                for address, holders in by_address.items():
                    if len(holders) == 1 and holders[0].host != name:
                        found = _entry(seen, Entry(name, network, space), address, holders[0])
                        yield from filter(None, (found,))


@dataclass(frozen=True)
class Entry:
    """Where a forwarding entry is: on which host, of which network, in which namespace."""

    host: str
    network: str
    space: Space


def _entry(seen: Seen, at: Entry, address: str, holder: Endpoint) -> Problem | None:
    """What is wrong with the entry for a container of another host."""
    space, right = at.space, str(seen.site.advertise.get(holder.host, ""))
    known = space.neighbours.get(address)
    if not known or not right or known != holder.mac:
        return None  # engines on a store learn entries when they need them
    device = str(space.vxlans[0].get("ifname", ""))
    values = {"host": at.host, "space": space.name, "mac": known, "device": device, "right": right}
    place = partial(Problem, host=at.host, values=values, target=holder.host, network=at.network)
    where = f"{at.host}: entry for {known} in {space.name}"
    to = space.forwarding.get(known)
    who = f"{holder.name} ({address}, {known})"
    if to is None:
        return place("fdb-lost", evidence=f"{at.host} knows {who}, and has no forwarding entry for it", where=where)
    if to != right:
        evidence = f"{at.host} sends packets for {who} to {to}; it runs on {holder.host} ({right})"
        return place("fdb-stale", evidence=evidence, where=where)
    return None


def full(seen: Seen) -> Iterator[Problem]:
    """Subnets without a free address."""
    for network, by_address in _endpoints(seen).items():
        wanted = seen.site.inventory.networks.get(network)
        told = next((overlays(seen, name)[network] for name in seen.site.live if network in overlays(seen, name)), {})
        room = sum(subnet.num_addresses - 3 for subnet in _subnets(told))
        used = len(by_address)  # in a swarm, with those of the nodes' load balancers
        if wanted and room and used >= room:
            where = f"subnet of {network}"
            evidence = f"{used} of {room} addresses are in use"
            yield Problem("subnet-full", "", evidence, {"network": network}, network=network, where=where)


DETECTORS = (same_machine, settings, shadows, rules, bridges, numbers, addresses, forwarding, full)
