"""The proof of overlay networks: a probe on every host and network, and every one of them reaches every other of its own.

By name and by alias (the engine's embedded DNS server), by address, by the address that the name gave, and with one packet
of the network's full size that must not be fragmented; each answered by the other probe, which proves the way back too.
Gossip takes its time on many hosts, so a pair fails only at the deadline; how long it took is part of the result.

What the same probes tell beside it: dns.py (names outside), encrypted.py (packets that nobody can read), internal.py (networks
with no way out), isolation.py (networks that are proven side by side).
"""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from provisioner.controlplane import networks as state
from provisioner.model import Check, ProofResult, State
from provisioner.proofs import dns, encrypted, internal, isolation
from provisioner.proofs.base import Round
from provisioner.proofs.probe import Crew, Probe, Task
from provisioner.proofs.verdict import of_checks, pairs, trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from provisioner.controlplane import Site
    from provisioner.model import Pair
    from provisioner.transport import Connection

    Say = Callable[[str, str], None]

NAME = "overlay"
_PER_HOST = 3.0  # seconds; twenty hosts on two cores have taken one minute
_START = 120.0  # seconds for a container to start; many at once on slow machines take long
_BESIDE = 4  # networks side by side: each is a channel of the host's connection, and sshd allows ten (MaxSessions)
_PROBES = 24  # at once, beyond which no more networks are taken in than isolation needs


def batches(networks: Iterable[str], hosts: int) -> list[tuple[str, ...]]:
    """Networks to prove side by side, in the order of `networks`: two at least where there are two, to be told apart."""
    return side_by_side(networks, max(2, min(_BESIDE, _PROBES // max(hosts, 1))))


class Overlay:
    """Overlay networks, of all live hosts."""

    name = NAME

    def rounds(self, site: Site) -> list[Round]:
        shared = [name for name, network in site.inventory.networks.items() if network.is_global]
        return [
            Round(batch, partial(prove, networks={network: secrets.token_hex(3) for network in batch}))
            for batch in batches(shared, len(site.live))
        ]


def side_by_side(networks: Iterable[str], most: int) -> list[tuple[str, ...]]:
    """At most so many at once; but no one alone where there are two."""
    names = tuple(networks)
    count = -(-len(names) // most)
    if count > 1 and len(names) // count < 2:  # noqa: PLR2004  three networks, two by two: all three at once
        count -= 1
    ends = [len(names) * number // count for number in range(count + 1)] if count else []
    return [names[begin:end] for begin, end in pairwise(ends)]


def prove(
    site: Site,
    connections: Mapping[str, Connection],
    networks: Mapping[str, str],
    *,
    observer: Say,
    again: Callable[[], Site] | None = None,
    deadline: float | None = None,
    start: float = _START,
) -> tuple[ProofResult, ...]:
    """Prove side by side that all live hosts reach one another over some networks; each result has every ordered pair.

    networks: name -> a few hexadecimal digits that are this proof's alone. observer: is told a host and how it stands,
    from several threads. again: reads the hosts once more, to tell why a pair failed. deadline: seconds from the moment when
    all probes run (default: the control plane's patience, and 3 for each host). start: seconds for a probe to start; a host
    whose probe does not start fails with all its pairs, and the others go on.
    Of one host alone the result has no pair, but that a probe has joined the network.
    Nothing is left on the hosts, whatever becomes of the controller. What a host does wrong is part of the result.
    """
    names = [name for name in site.live if name in connections]
    if not names:
        return tuple(_skipped(network, "no host lives") for network in networks)
    limit = deadline or site.plane.patience + _PER_HOST * len(names) * len(networks)
    places = list(site.inventory.hosts)
    found = [_task(site, names[0], network, run, limit=limit, start=start) for network, run in networks.items()]
    tasks = _walled(site, [task for task in found if isinstance(task, Task)])
    probes = [
        Probe(connections[name], number, places.index(name), task, observer)
        for task in tasks
        for number, name in enumerate(names, start=1)
    ]
    site = _opened(site, names, again)
    for probe in probes:
        if closed := site.plane.closed(site, probe.name):
            probe.fail(closed.what, closed.cure)
            probe.evidence.closed = closed
    with Crew(probes) as crew:
        crew.all(Probe.begin)
        ready = [probe for probe in probes if not probe.evidence.error]
        crew.all(lambda probe: probe.go(ready))
        crew.all(Probe.end)
    by_network = {task.network: [probe for probe in probes if probe.network == task.network] for task in tasks}
    reached = {network: pairs({probe.name: probe.evidence for probe in of}) for network, of in by_network.items()}
    if again and not all(pair.proven for of in reached.values() for pair in of):
        site = again()
    skipped = tuple(task for task in found if not isinstance(task, Task))
    return skipped + _results(site, tasks, by_network, reached)


def _opened(site: Site, names: Sequence[str], again: Callable[[], Site] | None) -> Site:
    """The cluster as it is when no host is closed to containers, or does not open by itself."""
    began = time.monotonic()
    while again and time.monotonic() - began < max(
        (c.heals for name in names if (c := site.plane.closed(site, name))), default=0.0
    ):
        time.sleep(1)
        site = again()
    return site


def _skipped(network: str, reason: str) -> ProofResult:
    return ProofResult(NAME, network, State.SKIPPED, reason=reason)


def _task(site: Site, host: str, network: str, run: str, *, limit: float, start: float) -> Task | ProofResult:
    entry = site.inventory.networks[network]
    if not entry.attachable:
        return _skipped(network, "not attachable: only containers of services may join it")
    subnet = state.subnet(site, host, entry)
    if subnet is None:
        return _skipped(network, "it has no IPv4 subnet that is known")
    outside, beyond = dns.outside(site.inventory.dns, entry, run), internal.beyond(site) if entry.internal else {}
    carried = encrypted.carried(site, network) if entry.encrypted and len(site.live) > 1 else None
    return Task(run, network, subnet, limit, start, outside, beyond=beyond, encrypted=carried)


def _walled(site: Site, tasks: list[Task]) -> list[Task]:
    """One of them tries to get at the cluster's ports as well: the first whose containers have a way out of their host."""
    first = next((task for task in tasks if not site.inventory.networks[task.network].internal), None)
    return [replace(task, walls=isolation.walls(site)) if task is first else task for task in tasks]


def _results(
    site: Site,
    tasks: Sequence[Task],
    by_network: Mapping[str, Sequence[Probe]],
    reached: Mapping[str, tuple[Pair, ...]],
) -> tuple[ProofResult, ...]:
    found = [_result(site, task, by_network[task.network], reached[task.network]) for task in tasks]
    for task in tasks:
        evidence = {probe.name: probe.evidence for probe in by_network[task.network]}
        if task.outside:
            found.append(dns.result(site.inventory.dns, task.network, task.outside, evidence))
        if site.inventory.networks[task.network].internal:
            found.append(internal.result(task.network, by_network[task.network], len(evidence)))
        if task.encrypted:
            found.append(encrypted.result(task.network, by_network[task.network], task.encrypted))
    apart = tasks if len(tasks) > 1 else [task for task in tasks if task.walls]
    found += [isolation.result(task.network, by_network[task.network]) for task in apart]
    return tuple(found)


def _alone(probe: Probe) -> ProofResult:
    """What one host alone can show: a container on the network, whose probe has had its say."""
    seen = probe.evidence
    check = Check(
        probe.name, "a container joins it", None if seen.error else seen.seconds, seen.error or str(seen.address)
    )
    cure = seen.cure or "look at the log of its engine (journalctl -u docker), and run again"
    return replace(of_checks(NAME, probe.network, [check], probe.remark, cure), mtu=seen.mtu)


def _result(site: Site, task: Task, probes: Sequence[Probe], result: tuple[Pair, ...]) -> ProofResult:
    found = {probe.name: probe.evidence for probe in probes}
    if len(probes) == 1:
        return _alone(probes[0])
    error = ""
    if not all(pair.proven for pair in result):
        apart = {name: strangers for name in found if (strangers := site.strangers(name))}
        closed = {name: why for name in found if (why := site.plane.closed(site, name))}
        error = trouble(
            task.network,
            found,
            result,
            apart,
            site.plane.reunion(site),
            closed=closed,
            data=site.inventory.data_path_port,
        )
    last = max((seconds for evidence in found.values() for seconds in evidence.seen.values()), default=0.0)
    tried = [evidence.seconds or task.deadline for evidence in found.values() if evidence.address]
    return ProofResult(
        proof=NAME,
        network=task.network,
        state=State.FAILED if error else State.SETTLED,
        pairs=result,
        reason="; ".join(f"{probe.name}: {probe.remark}" for probe in probes if probe.remark),
        error=error,
        mtu=min((evidence.mtu for evidence in found.values() if evidence.mtu), default=0),
        seconds=max(tried, default=0.0) if error else last,
    )
