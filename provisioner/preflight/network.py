"""Checks of addresses, routes and ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.inventory.network_values import MODES_OF
from provisioner.model import Problem
from provisioner.system import firewall
from provisioner.system import swarm as swarm_on_host
from provisioner.system.networks import pools, subnet4

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from provisioner.controlplane import Site
    from provisioner.inventory import Network

_GOSSIP_HOSTS = 25  # with more hosts than about this, serf in kv mode flaps (moby#35807)
_BUILT_IN = ("bridge", "docker_gwbridge")  # networks that nobody removes; their routes are reported
_GOSSIP, _VXLAN = 7946, "VXLAN"
_DOWN = {"", "inactive", "failed"}  # systemd's ActiveState of a unit that has no process


def wrong_interface(site: Site) -> Iterator[Problem]:
    """The engine accepts an address that its host does not have, and only logs a warning. Peers can't reach it."""
    for name in site.live:
        address = site.advertise.get(name)
        own = [str(found.ip) for _, found in site.facts[name].addresses]
        if address and not address.is_loopback and str(address) not in own:
            what = f"this host does not have the advertised address {address} (it has {', '.join(own) or 'none'})"
            yield Problem("wrong-interface", name, what)


def secondary_advertise(site: Site) -> Iterator[Problem]:
    """The kernel sends VXLAN from the network's primary address. Peers drop packets from an address that they don't know.

    Source: Linux, drivers/net/vxlan, vxlan_snoop(): a frame that contradicts a permanent forwarding entry is dropped.
    """
    for name in site.live:
        address = site.advertise.get(name)
        primary = site.facts[name].primary(address) if address else None
        if address and primary != address:
            what = (
                f"the advertised address {address} is a secondary one: the host sends VXLAN packets from {primary},"
                " and peers drop them"
            )
            yield Problem("secondary-advertise", name, what, {"primary": primary})


def loopback_advertise(site: Site) -> Iterator[Problem]:
    """The engine silently accepts a loopback address, but no peer can reach it."""
    for name in site.live:
        if name in site.advertise and site.advertise[name].is_loopback:
            what = f"the advertised address {site.advertise[name]} is loopback: no other host can reach it"
            yield Problem("loopback-advertise", name, what)


def duplicate_advertise(site: Site) -> Iterator[Problem]:
    by_address: dict[str, list[str]] = {}
    for name in site.live:
        if name in site.advertise:
            by_address.setdefault(str(site.advertise[name]), []).append(name)
    for address, names in by_address.items():
        if len(names) > 1:
            what = f"{', '.join(names)} would all advertise {address}: is it a virtual machine's NAT interface?"
            yield Problem("wrong-interface", "", what, variant="shared")


def subnet_overlap(site: Site) -> Iterator[Problem]:
    """A network that overlaps with a host's route or resolver makes it unreachable for the host (moby#26912).

    Networks of macvlan and ipvlan are exempt: they are part of the host's own network.
    """
    for name in site.live:
        facts = site.facts[name]
        for network in site.inventory.networks.values():
            kept = network.name in facts.networks and network.name not in site.recreate
            if network.subnet is None or network.driver in MODES_OF or kept or not network.on(name):
                continue
            if facts.http("networks").body is None and _exists(site, name, network):
                continue  # the engine is down or too busy, and the route may belong to the network itself or be newer
            for route in _routes(site, name, network):
                what = f"the subnet {network.subnet} of the network {network.name} overlaps with {route}"
                yield Problem("subnet-overlap", name, what)
            for other, subnet in _overlapped(site, name, network):
                what = f"the subnet {network.subnet} of the network {network.name} overlaps with the network {other}, {subnet}"
                remover = _remover(site, name, other)
                variant = "network" if remover else "local"
                variant = "" if other == "ingress" else "recreate" if _is_wanted(site, name, other) else variant
                yield Problem("subnet-overlap", name, what, {"network": other, "host": remover or name}, variant)


def _exists(site: Site, host: str, network: Network) -> bool:
    """Return whether the host may have a network that its engine does not list: a local one, or one that other engines list."""
    listed = any(network.name in site.facts[name].networks for name in site.live)
    return not network.is_global or (listed and "dockerd" in site.facts[host].programs)


def _routes(site: Site, host: str, network: Network) -> Iterator[str]:
    """Yield the routes and resolvers of the host inside the network's subnet, without the routes to its engine's networks."""
    facts, subnet = site.facts[host], network.subnet
    theirs = [other for name, other in facts.networks.items() if name == network.name or _is_routed(other)]
    known = {pool.get("Subnet") for other in theirs for pool in pools(other)}
    for interface, route in facts.routes:
        if subnet and route.overlaps(subnet) and str(route) not in known:
            yield f"its route {route} on {interface}"
    for resolver in facts.resolvers:
        if subnet and resolver in subnet:
            yield f"its resolver {resolver}"


def _is_routed(found: Mapping[str, Any]) -> bool:
    """Return whether the engine has added a route to this network, and removes it with the network."""
    return found.get("Scope") == "local" and found["Driver"] not in MODES_OF and found["Name"] not in _BUILT_IN


def _is_shown(found: Mapping[str, Any]) -> bool:
    return found["Driver"] == "overlay" or _is_routed(found)


def _is_wanted(site: Site, host: str, network: str) -> bool:
    found = site.inventory.networks.get(network)
    return found is not None and found.on(host)


def _overlapped(site: Site, host: str, network: Network) -> Iterator[tuple[str, str]]:
    """Yield name and subnet of the host's other networks that overlap. Those that are recreated do not count: they go first."""
    for name, other in site.facts[host].networks.items():
        goes = name in site.recreate and _is_wanted(site, host, name)
        for entry in pools(other) if name != network.name and not goes and _is_shown(other) else ():
            found = subnet4(entry)
            if network.subnet and found and found.overlaps(network.subnet):
                yield name, str(found)


def _remover(site: Site, host: str, network: str) -> str:
    """Return the host that removes a shared network for all; "" if the network is local. A swarm's workers can't remove one."""
    if site.facts[host].networks[network].get("Scope") == "local":
        return ""
    acting = site.plane.creator(site)
    return acting if acting and network in site.facts[acting].networks else host


def port_taken(site: Site) -> Iterator[Problem]:
    """Another program listens on one of our ports: the store or engine that needs the port does not run, or has no process."""
    for name in site.live:
        facts = site.facts[name]
        sought = site.plane.sought(site.inventory)
        store = any(facts.unit(unit).active not in _DOWN for unit in (*sought.units, *sought.through))
        needs = {**sought.ports, _GOSSIP: "gossip", site.inventory.data_path_port: _VXLAN}
        engine = facts.unit("docker.service")
        swarm = (facts.engine.get("Swarm") or {}).get("LocalNodeState", "inactive") != "inactive"
        # An engine that runs but does not answer may be the one that listens.
        gossips = facts.engine.get("ClusterStore") or swarm if facts.engine else engine.active not in _DOWN
        for protocol, port, inode in [entry for entry in facts.ports if entry[1] in needs]:
            if needs[port] == _VXLAN:
                theirs = bool(
                    facts.owner(inode)
                )  # without a process it is the kernel's socket for the overlays' devices
            elif port in {_GOSSIP, swarm_on_host.MANAGERS}:
                theirs = not gossips
            else:
                theirs = not store
            if theirs:
                what = f"{port}/{protocol}, which {needs[port]} needs, is held by {facts.owner(inode) or 'another program'}"
                yield Problem("port-taken", name, what, {"port": port})


def other_firewall(site: Site) -> Iterator[Problem]:
    """Another manager of firewall rules may drop ours when it reloads; the next run restores them."""
    for name in site.live:
        for manager in firewall.other_managers(site.facts[name], site.ports):
            what = f"{manager} manages the firewall: reloading it may drop the cluster's rules"
            ports = ", ".join(
                [*(f"{port}/udp" for port in site.ports.udp), *(f"{port}/tcp" for port in site.ports.tcp)]
            )
            yield Problem("other-firewall", name, what, {"ports": ports})


def gossip_overload(site: Site) -> Iterator[Problem]:
    count = len(site.inventory.hosts)
    if count > _GOSSIP_HOSTS:
        what = f"{count} hosts: with more than about {_GOSSIP_HOSTS}, the engines' gossip on an external store flaps"
        yield Problem("gossip-overload", "", what)
