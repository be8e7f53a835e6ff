"""Each host's address on the network that the hosts share."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from provisioner.model import Problem
from provisioner.system.strict import literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.controlplane.base import ControlPlane
    from provisioner.inventory import Inventory
    from provisioner.system.facts import Facts

# Interfaces that the engine or libvirt makes for itself: never part of the underlay. A br-lan or br-ex may be.
_ENGINE_INTERFACE = re.compile(r"(docker|veth|virbr).*|br-[0-9a-f]{12}|lo")


def advertised(
    inventory: Inventory, facts: Mapping[str, Facts], plane: ControlPlane
) -> tuple[dict[str, IPv4Address], list[Problem]]:
    """Each host's address on the network that the hosts share, always a literal.

    A host that answered and has no such address has a finding. Like one that did not answer, it keeps the address by which
    the others know it: their firewalls must not shut it out, and its swarm or store must not be taken for a foreign one.
    """
    shared, remembered = _shared_network(facts), plane.remembered(inventory, facts)
    found: dict[str, IPv4Address] = {}
    findings = []
    for name in inventory.hosts:
        asked, listed = inventory.advertise_for(name), literal(inventory.hosts[name].address)
        address, why = _advertised(asked, listed, facts.get(name), shared)
        if why:
            findings.append(Problem("advertise", name, why))
            address, _ = _advertised(asked, listed, None, shared)
        if (why or name not in facts) and not literal(asked or ""):
            address = remembered.get(name, address)
        if address is not None:
            found[name] = address
    return {name: found[name] for name in inventory.hosts if name in found}, findings


def _advertised(
    asked: str | None, address: IPv4Address | None, facts: Facts | None, shared: IPv4Network | None
) -> tuple[IPv4Address | None, str]:
    if asked and (told := literal(asked)):
        return told, ""
    if facts is None:  # it did not answer: the inventory's address is the best that is known
        return (None if asked or (address and address.is_loopback) else address), ""
    if asked:
        on_it = [str(a.ip) for interface, a in facts.addresses if interface == asked]
        return (IPv4Address(on_it[0]), "") if on_it else (None, f"there is no interface {asked} with an IPv4 address")
    if address and any(address == a.ip for _, a in facts.addresses):
        return facts.primary(address), ""  # SSH may come in by a virtual address
    if shared is None:
        return None, "it has no address on a network that all hosts share"
    found = next((a.ip for _, a in facts.addresses if a.ip in shared), None)
    return found, "" if found else f"it has no address on {shared}, the network that the other hosts share"


def _shared_network(facts: Mapping[str, Facts]) -> IPv4Network | None:
    """The one network on which every host has an address of its own; equal addresses (a VM's NAT) don't count.

    Without one it is the network on which the most hosts have one, if these are a majority: then it is the others that
    are odd, and they do not take this majority with them.
    """
    by_network: dict[IPv4Network, dict[str, IPv4Address]] = {}
    for name, of_host in facts.items():
        for interface, address in of_host.addresses:
            if not _ENGINE_INTERFACE.fullmatch(interface) and address.network.prefixlen < 32:  # noqa: PLR2004
                by_network.setdefault(address.network, {})[name] = address.ip
    own = {network: len(on_it) for network, on_it in by_network.items() if len(on_it) == len(set(on_it.values()))}
    most = max(own.values(), default=0)
    best = [network for network, count in own.items() if count == most]
    return best[0] if len(best) == 1 and 2 * most > len(facts) else None
