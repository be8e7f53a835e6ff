"""The networks, as the inventory wants them. Global ones are made once, by one engine, and seen by all through the control
plane; local ones by each engine for itself. Networks that the inventory does not know are left alone.

Two engines that create one name at the same time make two networks (moby#20648): so one creator, under the hosts' locks,
and the IDs are compared afterwards. A network that is there can't be changed, only made anew: see recreate.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner import render
from provisioner.controlplane import networks as state
from provisioner.errors import StepFailed
from provisioner.model import Drift
from provisioner.steps.base import Work
from provisioner.system.networks import arguments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.controlplane import Site
    from provisioner.inventory import Network
    from provisioner.transport import Connection

_DEFAULT_MTU = 1500  # bytes; what the engine assumes of the underlay


class Networks:
    name = "networks"
    title = "Networks"
    reads = ("http",)
    patience = 20.0
    cure = "look at the logs of this engine and of the store (journalctl -u docker -u consul -u etcd -u zookeeper), and run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        return tuple(d for network in site.inventory.networks.values() if network.on(host) for d in _drift(site, host, network))

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work | None:
        missing = [n for n in site.inventory.networks.values() if n.on(host) and _missing(site, host, n)]
        if not missing:
            return None
        networks = [{"name": n.name, "arguments": arguments(n, host, site.plane.scope, _mtu(site, n))} for n in missing]
        text = "creating " + ", ".join(network.name for network in missing)
        return Work(render.script("network.sh.j2", networks=networks), text, deadline=60.0 + 60.0 * len(networks))

    def barrier(self, site: Site, connections: Mapping[str, Connection]) -> None:
        pass


def _missing(site: Site, host: str, network: Network) -> bool:
    """Whether it is for this host to make it."""
    if not network.is_global:
        return network.name not in site.facts[host].networks
    return host == site.plane.creator(site) and not any(network.name in site.facts[name].networks for name in site.live)


def _drift(site: Site, host: str, network: Network) -> list[Drift]:
    facts = site.facts[host]
    what, found = f"network {network.name}", facts.networks.get(network.name)
    if found is None:
        wanted = " ".join(str(word) for word in (network.driver, network.subnet, network.subnet6) if word)
        known = site.plane.joined(facts) if network.is_global else bool(facts.engine)
        if known and network.is_global and not site.plane.lists(facts):
            return []
        if network.is_global and (others := state.otherwise(site, network)):
            return [Drift(what, f"absent, and another of this name on {', '.join(others)}", wanted, _asked(network), held=True)]
        return [Drift(what, "absent" if known else "", wanted, pending=not known)]
    if different := state.differences(site, host, network):
        return [Drift(f"{what}: {key}", is_, wanted, _asked(network), held=True) for key, is_, wanted in different]
    _refuse_twins(site, host, network)
    return []


def _asked(network: Network) -> str:
    return f"up --recreate {network.name}"


def _refuse_twins(site: Site, host: str, network: Network) -> None:
    own = site.facts[host].networks[network.name]
    all_of_it = [site.facts[name].networks.get(network.name, own) for name in site.live] if network.is_global else [own]
    ids = {found["Id"] for found in all_of_it}
    if len(ids) > 1 or "+" in own["Id"]:
        raise StepFailed(
            f"there are {max(2, len(ids))} networks of the name {network.name}",
            host=host,
            answer="\n".join(sorted(ids)),
            cure=f"remove the one that no container uses: docker network rm ID (docker network inspect {network.name})",
        )


def _mtu(site: Site, network: Network) -> int | None:
    """The underlay's MTU to tell the engine of an overlay (it takes 50 off): the smallest of the hosts' own interfaces.

    None where the inventory tells it, or where it is what the engine assumes.
    """
    if network.mtu or network.driver != "overlay":
        return None
    found = [
        site.facts[host].mtus.get(interface, _DEFAULT_MTU)
        for host in site.live
        for interface, address in site.facts[host].addresses
        if address.ip == site.advertise.get(host)
    ]
    smallest = min(found, default=_DEFAULT_MTU)
    return smallest if smallest < _DEFAULT_MTU else None
