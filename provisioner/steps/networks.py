"""Each network of the inventory exists once and is the same on every host. Other networks are left alone.

One engine creates a shared network, and the control plane shows it to all. Each engine creates its local networks itself. Two
engines that create the same name at the same time make two networks (moby#20648). So there is one creator, under the hosts'
locks, and the IDs are compared afterwards. An existing network can't be changed, only recreated: see recreate.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner import render
from provisioner.controlplane import networks as state
from provisioner.errors import StepFailed
from provisioner.model import Action, Drift, Kind
from provisioner.steps.base import OfHosts, PeerOutput, Work
from provisioner.system.networks import MTU, arguments, is_being_made
from provisioner.system.owned import NOTHING

if TYPE_CHECKING:
    from provisioner.controlplane import Site
    from provisioner.inventory import Network

_DEFAULT_MTU = 1500  # bytes; the engine assumes this MTU of the underlay


class Networks(OfHosts):
    name = "networks"
    owns = NOTHING
    title = "Networks"
    reads = ("http",)
    patience = 20.0
    cure = "check the logs of this engine and of the store (journalctl -u docker -u consul -u etcd -u zookeeper), then run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        return tuple(
            d for network in site.inventory.networks.values() if network.on(host) for d in _drift(site, host, network)
        )

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work | None:
        missing = [n for n in site.inventory.networks.values() if n.on(host) and _missing(site, host, n)]
        if not missing:
            return None
        networks = [
            {"name": n.name, "arguments": arguments(n, host, site.plane.scope), "measured": _is_measured(n)}
            for n in missing
        ]
        script = render.script("network.sh.j2", networks=networks, option=MTU, assumed=_DEFAULT_MTU)
        text = "creating " + ", ".join(network.name for network in missing)
        stdin = _paths(site) if any(map(_is_measured, missing)) else None
        return Work(script, text, deadline=60.0 + 60.0 * len(networks), stdin=stdin)


def _missing(site: Site, host: str, network: Network) -> bool:
    """Return whether this host is to create the network."""
    if not network.is_global:
        return network.name not in site.facts[host].networks
    return host == site.plane.creator(site) and not any(network.name in site.facts[name].networks for name in site.live)


def _drift(site: Site, host: str, network: Network) -> list[Drift]:
    facts = site.facts[host]
    name, found = network.name, facts.networks.get(network.name)
    wanted = " ".join(str(word) for word in (network.driver, network.subnet, network.subnet6) if word)
    if found is not None and is_being_made(found):
        return [Drift(Kind.NETWORK, name, "being created", wanted, Action.WAIT)]
    if found is None:
        known = site.plane.joined(facts) if network.is_global else bool(facts.engine)
        if known and network.is_global and not site.plane.lists(facts):
            return []
        if network.is_global and (others := state.differing_hosts(site, network)):
            is_ = f"absent, and different from the inventory on {', '.join(others)}"
            return [Drift(Kind.NETWORK, name, is_, wanted, Action.RECREATE, held=True)]
        return [Drift(Kind.NETWORK, name, "absent" if known else "", wanted, Action.CREATE, pending=not known)]
    if different := state.differences(site, host, network):
        return [
            Drift(Kind.NETWORK_OPTION, key, is_, wanted, Action.RECREATE, name, held=True)
            for key, is_, wanted in different
        ]
    _refuse_twins(site, host, network)
    return []


def _refuse_twins(site: Site, host: str, network: Network) -> None:
    own = site.facts[host].networks[network.name]
    all_of_it = [site.facts[name].networks.get(network.name, own) for name in site.live] if network.is_global else [own]
    ids = {found["Id"] for found in all_of_it}
    if len(ids) > 1 or "+" in own["Id"]:
        raise StepFailed(
            f"{max(2, len(ids))} networks have the name {network.name}",
            cause="duplicate-network",
            host=host,
            answer="\n".join(sorted(ids)),
            cure=f"remove the one that no container uses: docker network rm ID (docker network inspect {network.name})",
        )


def _is_measured(network: Network) -> bool:
    """Return whether the underlay's MTU is measured and passed to the engine: the inventory sets none.

    The engine subtracts 50 bytes.
    """
    return network.driver == "overlay" and not network.mtu


def _paths(site: Site) -> PeerOutput:
    """Return scripts that measure the MTU of the paths from each live host to the others.

    The MTU of the host's own interface is the upper limit.
    """
    program = render.text("path-mtu.pl")
    scripts = {}
    for host in site.live:
        facts = site.facts[host]
        own = [name for name, address in facts.addresses if address.ip == site.advertise.get(host)]
        most = min([facts.mtus.get(name, _DEFAULT_MTU) for name in own], default=_DEFAULT_MTU)
        others = [str(site.advertise[name]) for name in site.live if name != host and name in site.advertise]
        scripts[host] = render.script("path-mtu.sh.j2", program=program, arguments=[str(most), *others])
    return PeerOutput(scripts)
