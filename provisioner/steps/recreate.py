"""Networks that are there otherwise than wanted, and that `up --recreate NAME` names, are removed; the next step makes them.

Only with no container on them, on any host: the check network-in-use sees to that before anything is changed, this step
once more under the hosts' locks, and the engine has the last word.
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
    title = "Networks that are made anew are removed"
    reads = ("http",)
    patience = 20.0
    cure = "look at the engine's log (journalctl -u docker), and run again with --recreate"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        drift = []
        for network in _asked(site, host):
            if used := state.in_use(site, network):
                what = f"the network {network.name} has containers on it: {', '.join(map(str, used))}"
                raise StepFailed(what, host=host, cure="remove them, and run again with --recreate")
            drift.append(Drift(Kind.NETWORK, network.name, _told(site, host, network), "", Action.REMOVE))
        return tuple(drift)

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work | None:
        own = {
            network.name: _counted(site, host, network)
            for network in _asked(site, host)
            if _removes(site, host, network)
        }
        if not own:
            return None
        return Work(
            render.script("network-rm.sh.j2", networks=own),
            f"removing {', '.join(own)}",
            deadline=60.0 + 60.0 * len(own),
        )


def _asked(site: Site, host: str) -> list[Network]:
    networks = [site.inventory.networks[name] for name in sorted(site.recreate)]
    return [network for network in networks if network.on(host) and state.differences(site, host, network)]


def _told(site: Site, host: str, network: Network) -> str:
    return ", ".join(f"{what} {found or 'none'}" for what, found, _ in state.differences(site, host, network))


def _removes(site: Site, host: str, network: Network) -> bool:
    """What the control plane knows is removed on one host, and goes everywhere; anything else where it is."""
    return host == _remover(site, network) if _shared(site, host, network) else True


def _shared(site: Site, host: str, network: Network) -> bool:
    return site.facts[host].networks[network.name].get("Scope") != "local"


def _counted(site: Site, host: str, network: Network) -> str:
    """What to do where the engine has counted endpoints that are not there; "" where it does not count them in the store.

    It takes an endpoint out of the store, then counts it out; that call can be lost (docs/decisions/lost-threads.md), and is
    only warned of in the engine's log. Its next start does not mend the count: seen with 20.10.5.
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
