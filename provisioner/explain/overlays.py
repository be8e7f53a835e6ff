"""What detectors look up: overlay networks and their subnets, containers on them, and interfaces. Has no detectors of its own."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import TYPE_CHECKING, Any

from provisioner.explain.base import once
from provisioner.model import Problem
from provisioner.system import attached, networks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from provisioner.explain.base import Seen
    from provisioner.observe.kernel import Space

GWBRIDGE = "docker_gwbridge"
_INHIBITS = "com.docker.network.bridge.inhibit_ipv4"
_MODE = "com.docker.network.bridge.gateway_mode_ipv4"
UNNAMED = "a container"  # its engine does not list it, or not on this network
_SETTLED = 5  # seconds after which all engines know a new container; observed in the lab: less than one
_OVERLAYS = frozenset({"overlay"})


def overlays(seen: Seen, host: str) -> dict[str, dict[str, Any]]:
    """Return the overlay networks of a host's engine: name -> entry of the API's network list."""
    listed = seen.site.facts[host].networks.items()
    return {name: found for name, found in listed if found.get("Driver") in _OVERLAYS and not found.get("Ingress")}


@once
def of_kernels(seen: Seen) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Return the overlay networks that each observed kernel may have: host -> name -> entry of the API's network list.

    This includes networks that only other engines list: an engine whose store is down lists none, but its kernel has them. If no engine
    lists a network, the inventory describes it, and containers tell its ID.
    """
    known = _described(seen)
    known |= {network: entry for name in seen.site.live for network, entry in overlays(seen, name).items()}
    return {name: known | overlays(seen, name) for name in seen.observed.kernels}


def _described(seen: Seen) -> dict[str, dict[str, Any]]:
    """Return the inventory's overlays that containers are on: name -> what the inventory knows of the API's entry."""
    found = {}
    for network in seen.site.inventory.networks.values():
        facts = (seen.site.facts[name] for name in seen.site.live) if network.driver in _OVERLAYS else ()
        on = (each for of in facts for each in attached.started(of) if each.network == network.name)
        ids = {each.network_id for each in on} - {""}
        if len(ids) == 1:
            pool = {"Subnet": str(network.subnet or ""), "Gateway": str(network.gateway or "")}
            options = networks.options(network, "")
            found[network.name] = {"Id": ids.pop(), "IPAM": {"Config": [pool]}, "Options": options}
    return found


def subnets_of(network: Mapping[str, Any]) -> Iterator[IPv4Network]:
    for config in (network.get("IPAM") or {}).get("Config") or ():
        subnet = str(config.get("Subnet", ""))
        if subnet and ":" not in subnet:
            yield IPv4Network(subnet, strict=False)


def gateway(network: Mapping[str, Any]) -> IPv4Interface | None:
    """Return the bridge's own address on its network, with the prefix length; None if unknown, or if its options give it another role."""
    options = network.get("Options") or {}
    if options.get(_INHIBITS) == "true" or not str(options.get(_MODE, "nat")).startswith("nat"):
        return None
    for config in (network.get("IPAM") or {}).get("Config") or ():
        length = str(config.get("Subnet", "")).partition("/")[2]
        with suppress(ValueError):
            return IPv4Interface(f"{config.get('Gateway', '')}/{length}")
    return None


def within(network: Mapping[str, Any], address: str) -> bool:
    """Return whether a network can have this IPv4 address. network: its entry of the API's network list."""
    return any(IPv4Address(address) in subnet for subnet in subnets_of(network))


@dataclass(frozen=True)
class Endpoint:
    """A container on an overlay. name: "a container" if unknown.

    space: its namespace. balances: whether it is a swarm's load balancer. settled: whether its engine lists it on the network,
    runs, and started it some seconds ago: other engines must know it by now.
    """

    host: str
    name: str
    mac: str
    space: str = ""
    balances: bool = False
    settled: bool = False


@once
def endpoints(seen: Seen) -> Mapping[str, Mapping[str, Sequence[Endpoint]]]:
    """Return network -> address -> containers with it, from the interfaces in the containers' namespaces."""
    found: dict[str, dict[str, list[Endpoint]]] = defaultdict(lambda: defaultdict(list))
    listed = of_kernels(seen)
    for host, kernel in seen.observed.kernels.items():
        names = names_of(seen, host)
        subnets = {name: list(subnets_of(entry)) for name, entry in listed[host].items()}
        for space in kernel.spaces.values():
            if space.network:
                continue
            for address, mac in space.inner:
                for network in (n for n, of in subnets.items() if any(IPv4Address(address) in each for each in of)):
                    here = (names.get((network, each)) for each, of in space.inner if of == mac)
                    name = names.get((network, address)) or next(filter(None, here), UNNAMED)
                    name = "the load balancer" if space.balances else name
                    settled = (network, address) in names and kernel.engine_runs
                    settled &= not space.balances and kernel.ages.get(space.name, 0) >= _SETTLED
                    found[network][address].append(Endpoint(host, name, mac, space.name, space.balances, settled))
    return found


@once
def settled(seen: Seen) -> frozenset[tuple[str, str, str]]:
    """Return (host, network, address) of the containers that are settled; see `Endpoint`."""
    return frozenset(
        (each.host, network, address)
        for network, by_address in endpoints(seen).items()
        for address, holders in by_address.items()
        for each in holders
        if each.settled
    )


def names_of(seen: Seen, host: str) -> dict[tuple[str, str], str]:
    """Return (network, address) -> container name, from the host's engine."""
    found = {}
    for container in seen.site.facts[host].http("containers").body or ():
        names = [str(name).removeprefix("/") for name in container.get("Names") or ()]
        for network, endpoint in ((container.get("NetworkSettings") or {}).get("Networks") or {}).items():
            address = endpoint.get("IPAddress") if isinstance(endpoint, dict) else ""
            found[network, str(address or "")] = names[0] if names else "a container"
    return found


def outbound(seen: Seen, name: str) -> list[str]:
    """Return the running containers on overlays that are not internal: these use docker_gwbridge."""
    open_to = {network for network, entry in overlays(seen, name).items() if not entry.get("Internal")}
    facts = seen.site.facts[name]
    return [each.name for each in attached.started(facts) if each.network in open_to]


def is_down(link: Mapping[str, Any]) -> bool:
    return "UP" not in (link.get("flags") or [])


def link_down(name: str, network: str, space: Space, link: Mapping[str, Any], where: str) -> Problem:
    device = str(link.get("ifname", ""))
    values = {"host": name, "space": space.name, "device": device}
    evidence = f"the interface {device} in {where} is down"
    return Problem("link-down", name, evidence, values, network=network, where=f"{name}: {device} in {space.name}")
