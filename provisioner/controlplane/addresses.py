"""Choose each host's address on the network that the hosts share."""

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

# Interfaces of the engine or libvirt are never part of the underlay. A br-lan or br-ex may be.
_ENGINE_INTERFACE = re.compile(r"(docker|veth|virbr).*|br-[0-9a-f]{12}|lo")


def advertised(
    inventory: Inventory, facts: Mapping[str, Facts], plane: ControlPlane
) -> tuple[dict[str, IPv4Address], list[Problem]]:
    """Return each host's address on the network that the hosts share, and the problems.

    A host that answered and has no such address is a problem. Like a host that did not answer, it keeps the address by which
    the others know it. Otherwise their firewalls would exclude it, and its swarm or store would look foreign.
    """
    shared, remembered = _shared_network(facts), plane.remembered(inventory, facts)
    found: dict[str, IPv4Address] = {}
    findings = []
    for name in inventory.hosts:
        chosen, listed = inventory.advertise_for(name), literal(inventory.hosts[name].address)
        address, why = _advertised(chosen, listed, facts.get(name), shared)
        if why:
            findings.append(Problem("advertise", name, why))
            address, _ = _advertised(chosen, listed, None, shared)
        if (why or name not in facts) and not literal(chosen or ""):
            address = remembered.get(name, address)
        if address is not None:
            found[name] = address
    return {name: found[name] for name in inventory.hosts if name in found}, findings


def _advertised(
    chosen: str | None, address: IPv4Address | None, facts: Facts | None, shared: IPv4Network | None
) -> tuple[IPv4Address | None, str]:
    """Return a host's address, or why it has none.

    chosen: the inventory's `advertise`, an address or an interface. address: the inventory's address of the host.
    """
    if chosen and (fixed := literal(chosen)):
        return fixed, ""
    if facts is None:  # the host did not answer: the inventory's address is the best guess
        return (None if chosen or (address and address.is_loopback) else address), ""
    if chosen:
        on_it = [str(a.ip) for interface, a in facts.addresses if interface == chosen]
        return (IPv4Address(on_it[0]), "") if on_it else (None, f"it has no interface {chosen} with an IPv4 address")
    if address and any(address == a.ip for _, a in facts.addresses):
        return facts.primary(address), ""  # SSH may use a virtual address
    if shared is None:
        return None, "it has no address on a network that all hosts share"
    found = next((a.ip for _, a in facts.addresses if a.ip in shared), None)
    return found, "" if found else f"it has no address on {shared}, the network that the other hosts share"


def _shared_network(facts: Mapping[str, Facts]) -> IPv4Network | None:
    """Return the network on which most hosts have an address, if these are a majority and no other network has as many.

    A network on which two hosts have the same address (a VM's NAT) does not count. The remaining hosts are reported, and do
    not stop this majority.
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
