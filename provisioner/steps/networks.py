"""One network of each name, the same on every host: made once, by one engine, and seen by all through the store.

Two engines that create one name at the same time make two networks (moby#20648): so one creator, under the hosts' locks,
and the IDs are compared afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provisioner import render
from provisioner.errors import StepFailed
from provisioner.model import Drift
from provisioner.steps.base import Work

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.controlplane import Site
    from provisioner.inventory import Network
    from provisioner.transport import Connection

_DEFAULT_MTU = 1500  # bytes; what the engine assumes of the underlay
_POOL = ("Subnet", "Gateway", "IPRange")  # of IPAM, as the engine's API names them
_MTU = "com.docker.network.driver.mtu"


class Networks:
    name = "networks"
    title = "Overlay networks"
    reads = ("http",)
    patience = 20.0
    cure = "look at the logs of this engine and of the store (journalctl -u docker -u consul -u etcd -u zookeeper), and run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        return tuple(d for network in site.inventory.networks.values() for d in _drift(site, host, network))

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work | None:
        missing = [n for n in site.inventory.networks.values() if not _seen(site, n.name)]
        if not missing or host != site.plane.creator(site):
            return None
        networks = [{"name": network.name, "arguments": _arguments(network, _mtu(site, network))} for network in missing]
        text = "creating " + ", ".join(network.name for network in missing)
        return Work(render.script("network.sh.j2", networks=networks), text, deadline=60.0 + 60.0 * len(networks))

    def barrier(self, site: Site, connections: Mapping[str, Connection]) -> None:
        pass


def _seen(site: Site, name: str) -> bool:
    return any(name in site.facts[host].networks for host in site.live)


def _drift(site: Site, host: str, network: Network) -> list[Drift]:
    facts = site.facts[host]
    wanted = f"{network.driver} {network.subnet}"
    found = facts.networks.get(network.name)
    if found is None:
        joined = site.plane.joined(facts)
        if joined and not site.plane.lists(facts):
            return []
        return [Drift(f"network {network.name}", "absent" if joined else "", wanted, pending=not joined)]
    _refuse_other(host, network, found, site.plane.scope)
    ids = {site.facts[name].networks.get(network.name, found)["Id"] for name in site.live}
    if len(ids) > 1 or "+" in found["Id"]:
        raise StepFailed(
            f"there are {max(2, len(ids))} networks of the name {network.name}",
            host=host,
            answer="\n".join(sorted(ids)),
            cure=f"remove the one that no container uses: docker network rm ID (docker network inspect {network.name})",
        )
    return []


def _refuse_other(host: str, network: Network, found: Mapping[str, Any], scope: str) -> None:
    """A network of that name but of another kind is never changed: containers may live on it."""
    pools = (found.get("IPAM") or {}).get("Config") or ()
    subnets, gateways, ranges = (", ".join(pool.get(key, "") for pool in pools) for key in _POOL)
    mtu = (found.get("Options") or {}).get(_MTU)
    for what, is_, wanted in (
        ("driver", found["Driver"], network.driver),
        ("scope", found.get("Scope"), scope),
        ("subnet", subnets, str(network.subnet)),
        ("gateway", gateways, str(network.gateway or gateways)),
        ("address range", ranges, str(network.ip_range or ranges)),
        ("MTU option", mtu, str(network.mtu) if network.mtu else mtu),
        ("internal", bool(found.get("Internal")), network.internal),
    ):
        if is_ != wanted:
            raise StepFailed(
                f"the network {network.name} is there with the {what} {is_ or 'of the engine'}; wanted: {wanted or 'none'}",
                host=host,
                cure=f"change the inventory, or remove it when no container is on it: docker network rm {network.name}",
            )


def _mtu(site: Site, network: Network) -> int | None:
    """The underlay's MTU to tell the engine (it takes 50 off): the inventory's, or the smallest of the hosts' own."""
    found = [
        site.facts[host].mtus.get(interface, _DEFAULT_MTU)
        for host in site.live
        for interface, address in site.facts[host].addresses
        if address.ip == site.advertise.get(host)
    ]
    smallest = min(found, default=_DEFAULT_MTU)
    return network.mtu or (smallest if smallest < _DEFAULT_MTU else None)


def _arguments(network: Network, mtu: int | None) -> list[str]:
    words = ["--driver", network.driver, "--subnet", str(network.subnet)]
    if network.gateway:
        words += ["--gateway", str(network.gateway)]
    if network.ip_range:
        words += ["--ip-range", str(network.ip_range)]
    if mtu:
        words += ["--opt", f"{_MTU}={mtu}"]
    if network.internal:
        words.append("--internal")
    for key, value in sorted((network.labels or {}).items()):
        words += ["--label", f"{key}={value}"]
    return words
