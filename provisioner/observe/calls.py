"""Which connections containers open to the virtual addresses of a swarm's services, and directly to the tasks of these. Pure.

A task may not listen, so only the difference between both ways is a finding. Connections are closed at once, without data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provisioner.system import attached, services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.controlplane import Site
    from provisioner.system.services import Service

_SERVICES = 8  # services that one container calls
_TASKS = 4  # tasks of one service that it calls directly
_TIMES = 2  # connections to a virtual address for each running task: one after the other goes to each task
_MOST = 8  # connections to one virtual address
_ADDRESSES = 100  # virtual addresses to which connections are looked for
_ANY = 80  # the port for services that publish none; if no task listens there, nothing is concluded


@dataclass(frozen=True)
class Call:
    """The connections from a container to one service. own: the container's address. network: its name."""

    network: str
    own: str
    service: Service
    virtual: str
    direct: tuple[str, ...]
    times: int

    @property
    def words(self) -> str:
        """The arguments of call.pl."""
        return " ".join((*[self.virtual] * self.times, *self.direct))


def of(site: Site) -> dict[str, list[Call]]:
    """Return host -> the calls of one of its containers on each network that has virtual addresses.

    Hosts whose kernels can't balance connections are left out: these have a cause of their own.
    """
    if site.control != "swarm":
        return {}
    ours = [each for each in services.of(site.facts[name] for name in site.live) if each.running and each.virtual]
    found: dict[str, list[Call]] = {}
    for host in site.live if ours else ():
        if services.IPVS in site.facts[host].kernel_lacks:
            continue
        names = {str(each.get("Id")): name for name, each in site.facts[host].networks.items()}
        callers = {each.network_id: each.address for each in attached.running(site.facts[host])}
        for number, own in callers.items():
            if number in names:
                found.setdefault(host, []).extend(_calls(site, ours, number, names[number], own))
    return found


def virtual(site: Site) -> dict[str, tuple[str, ...]]:
    """Return host -> the virtual addresses of services, on hosts whose kernels can balance connections."""
    if site.control != "swarm":
        return {}
    found = {str(each) for of in services.of(site.facts[name] for name in site.live) for each in of.virtual.values()}
    able = [host for host in site.live if services.IPVS not in site.facts[host].kernel_lacks]
    return dict.fromkeys(able, tuple(sorted(found)[:_ADDRESSES]))


def _calls(site: Site, ours: list[Service], number: str, network: str, own: str) -> Iterator[Call]:
    tasks: dict[str, list[str]] = {}
    for host in site.live:
        for each in attached.running(site.facts[host]):
            if each.network_id == number and each.service:
                tasks.setdefault(each.service, []).append(each.address)
    there = [each for each in ours if number in each.virtual and each.id in tasks]
    for service in there[:_SERVICES]:
        port = next(iter(service.targets), _ANY)
        direct = tuple(f"{address}:{port}" for address in tasks[service.id][:_TASKS])
        times = min(_TIMES * max(service.running, len(direct)), _MOST)
        yield Call(network, own, service, f"{service.virtual[number]}:{port}", direct, times)
