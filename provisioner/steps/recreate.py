"""Networks that differ from the inventory and that `up --recreate NAME` names are removed. The step `networks` creates them.

This happens only if no container on any host uses them. The check network-in-use makes sure of it before anything is changed.
This step checks again under the hosts' locks, and the engine refuses as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner import render
from provisioner.controlplane import networks as state
from provisioner.errors import StepFailed
from provisioner.model import Action, Drift, Kind
from provisioner.steps.base import OfHosts, Work
from provisioner.stores.engine_keys import count_key
from provisioner.system.owned import NOTHING

if TYPE_CHECKING:
    from provisioner.controlplane import Site
    from provisioner.inventory import Network


class Recreate(OfHosts):
    name = "recreate"
    owns = NOTHING
    title = "Networks to recreate removed"
    reads = ("http",)
    patience = 20.0
    cure = "check the engine's log (journalctl -u docker), then run again with --recreate"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        drift = []
        for network in _chosen(site, host):
            if used := state.in_use(site, network):
                what = f"containers are on the network {network.name}: {', '.join(map(str, used))}"
                raise StepFailed(
                    what, cause="network-in-use", host=host, cure="remove them, then run again with --recreate"
                )
            drift.append(Drift(Kind.NETWORK, network.name, _summary(site, host, network), "", Action.REMOVE))
        return tuple(drift)

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work | None:
        own = {
            network.name: _counted(site, host, network)
            for network in _chosen(site, host)
            if _removes(site, host, network)
        }
        if not own:
            return None
        return Work(
            render.script("network-rm.sh.j2", networks=own),
            f"removing {', '.join(own)}",
            deadline=60.0 + 60.0 * len(own),
        )


def _chosen(site: Site, host: str) -> list[Network]:
    """Return the networks that the user chose and that differ on this host."""
    networks = [site.inventory.networks[name] for name in sorted(site.recreate)]
    return [network for network in networks if network.on(host) and state.differences(site, host, network)]


def _summary(site: Site, host: str, network: Network) -> str:
    return ", ".join(f"{what} {found or 'none'}" for what, found, _ in state.differences(site, host, network))


def _removes(site: Site, host: str, network: Network) -> bool:
    """Return whether this host removes the network. One host removes a shared network for all; each host its local ones."""
    return host == _remover(site, network) if _shared(site, host, network) else True


def _shared(site: Site, host: str, network: Network) -> bool:
    return site.facts[host].networks[network.name].get("Scope") != "local"


def _counted(site: Site, host: str, network: Network) -> str:
    """Return the command that resets the network's endpoint count in the store; "" if the engine keeps no count there.

    The engine removes an endpoint from the store, then decrements the count. The second call can be lost
    (docs/decisions/lost-threads.md); the engine only logs a warning. Its next start does not repair the count: seen with 20.10.5.
    """
    if site.control != "kv" or not _shared(site, host, network):
        return ""
    key = count_key(site.inventory.the_store, str(site.facts[host].networks[network.name]["Id"]))
    return site.backend.setting(site, key, '{"Count":0}')


def _remover(site: Site, network: Network) -> str:
    have = [
        name for name in site.live if site.facts[name].networks.get(network.name, {}).get("Scope", "local") != "local"
    ]
    return site.plane.creator(site) if site.plane.creator(site) in have else have[0]
