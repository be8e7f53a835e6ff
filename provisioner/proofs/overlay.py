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
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise, permutations
from threading import Event, Thread
from typing import TYPE_CHECKING

from provisioner.controlplane import networks as state
from provisioner.model import Check, Problem, ProofResult, State
from provisioner.proofs.advice import of_probes
from provisioner.proofs.base import Round, Seen, asked_of, prepared, results, skipped
from provisioner.proofs.dns import DnsProof
from provisioner.proofs.encrypted import EncryptedProof
from provisioner.proofs.evidence import FACTS
from provisioner.proofs.internal import InternalProof
from provisioner.proofs.isolation import IsolationProof
from provisioner.proofs.probe import Crew, Probe, Task
from provisioner.proofs.verdict import of_checks, pairs, trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from provisioner.controlplane import Site
    from provisioner.inventory import Inventory
    from provisioner.proofs.base import Asked, Judge, Proof, Say
    from provisioner.transport import Connection

NAME = "overlay"
_PER_HOST = 3.0  # seconds; twenty hosts on two cores have taken one minute
_START = 120.0  # seconds for a container to start; many at once on slow machines take long
_GLANCE = 1.0  # seconds between two questions to the judge
_JUDGING = 10.0  # seconds that a judgement which comes too late may still take
_BESIDE = 4  # networks side by side: each is a channel of the host's connection, and sshd allows ten (MaxSessions)
_AGAIN = "look at the log of its engine (journalctl -u docker), and run again"
_PROBES = 24  # at once, beyond which no more networks are taken in than isolation needs


def _shared(site: Site, name: str) -> bool:
    entry = site.inventory.networks.get(name)
    return entry is not None and entry.is_global


def batches(networks: Iterable[str], hosts: int) -> list[tuple[str, ...]]:
    """Networks to prove side by side, in the order of `networks`: two at least where there are two, to be told apart."""
    return side_by_side(networks, max(2, min(_BESIDE, _PROBES // max(hosts, 1))))


class OverlayProof:
    name = NAME
    title = "every host reaches every other by name, alias and address, at full packet size"

    def networks(self, inventory: Inventory) -> tuple[str, ...]:
        return tuple(network.name for network in inventory.networks.values() if network.is_global)

    def needs(self, site: Site, task: Task) -> Task:  # noqa: ARG002
        return replace(task, facts=FACTS)

    def result(self, seen: Seen) -> ProofResult:
        return _result(seen.site, seen.task, seen.probes)


PROOFS: tuple[Proof, ...] = (OverlayProof(), DnsProof(), EncryptedProof(), InternalProof(), IsolationProof())


def rounds(site: Site, asked: Asked) -> list[Round]:
    """The rounds in which the networks of all hosts are proven."""
    wanted = {name: proofs for name, proofs in asked.items() if _shared(site, name)}
    return [
        Round(
            tuple(name for name in batch if wanted[name]),
            partial(prove, networks={name: secrets.token_hex(3) for name in batch}, asked=wanted),
        )
        for batch in batches(wanted, len(site.live))
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
    asked: Asked | None = None,
    judge: Judge | None = None,
) -> tuple[ProofResult, ...]:
    """Prove side by side that all live hosts reach one another over some networks; each result has every ordered pair.

    networks: name -> a few hexadecimal digits that are this proof's alone. observer: is told a host and how it stands,
    from several threads. again: reads the hosts once more, to tell why a pair failed. deadline: seconds from the moment when
    all probes run (default: the control plane's patience, and 3 for each host). start: seconds for a probe to start; a host
    whose probe does not start fails with all its pairs, and the others go on. asked: what is asked of each network; default: all. judge: see `base.Judge`.
    Of one host alone the result has no pair, but that a probe has joined the network.
    Nothing is left on the hosts, whatever becomes of the controller. What a host does wrong is part of the result.
    """
    names = [name for name in site.live if name in connections]
    asked = asked if asked is not None else asked_of(PROOFS, site.inventory)
    if not names:
        return tuple(result for network in networks for result in skipped(asked[network], network, "no host lives"))
    limit = deadline or site.plane.patience + _PER_HOST * len(names) * len(networks)
    places = list(site.inventory.hosts)
    found = {name: _task(site, names[0], name, run, limit=limit, start=start) for name, run in networks.items()}
    tasks = _walled([prepared(asked[task.network], site, task) for task in found.values() if isinstance(task, Task)])
    probes = [
        Probe(connections[name], number, places.index(name), task, observer)
        for task in tasks
        for number, name in enumerate(names, start=1)
    ]
    site = _opened(site, names, again)
    for probe in probes:
        if closed := site.plane.closed(site, probe.name):
            probe.fail(closed.problem)
            probe.evidence.closed = closed
    with Crew(probes) as crew:
        crew.all(Probe.begin)
        ready = [probe for probe in probes if not probe.evidence.error]
        with _judged(ready, judge):
            crew.all(lambda probe: probe.go(ready))
        crew.all(Probe.end)
    by_network = {task.network: [probe for probe in probes if probe.network == task.network] for task in tasks}
    if again and not all(_reached(of) for of in by_network.values()):
        site = again()
    seen = [Seen(site, network, of) for network, of in by_network.items()]
    return (
        *(result for name, why in found.items() if isinstance(why, str) for result in skipped(asked[name], name, why)),
        *(result for each in seen for result in results(asked[each.network], each)),
    )


@contextmanager
def _judged(probes: Sequence[Probe], judge: Judge | None) -> Iterator[None]:
    """Once a second, the judge is told the pairs that have not reached each other; where waiting can't help, the probes end."""
    over, began = Event(), time.monotonic()

    def watch() -> None:
        while judge and not over.wait(_GLANCE):
            missing = _missing(probes)
            if missing and judge(missing, time.monotonic() - began) and not over.is_set():
                for probe in probes:
                    probe.enough.set()
                return

    thread = Thread(target=watch, name="judge", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_JUDGING)


def _missing(probes: Sequence[Probe]) -> frozenset[tuple[str, str]]:
    """The pairs of hosts of which not all is seen."""
    return frozenset(
        (one.name, other.name)
        for one, other in permutations(probes, 2)
        if one.network == other.network and not one.evidence.proven(other.number, one.task.facts)
    )


def _reached(probes: Sequence[Probe]) -> bool:
    """Whether each probe has seen of every other one what it was to see."""
    return all(one.evidence.proven(other.number, one.task.facts) for one, other in permutations(probes, 2))


def _opened(site: Site, names: Sequence[str], again: Callable[[], Site] | None) -> Site:
    """The cluster as it is when no host is closed to containers, or does not open by itself."""
    began = time.monotonic()
    while again and time.monotonic() - began < max(
        (c.heals for name in names if (c := site.plane.closed(site, name))), default=0.0
    ):
        time.sleep(1)
        site = again()
    return site


def _task(site: Site, host: str, network: str, run: str, *, limit: float, start: float) -> Task | str:
    """What all its probes have in common; or why there are none."""
    entry = site.inventory.networks[network]
    if not entry.attachable:
        return "not attachable: only containers of services may join it"
    subnet = state.subnet(site, host, entry)
    return Task(run, network, subnet, limit, start) if subnet else "it has no IPv4 subnet that is known"


def _walled(tasks: list[Task]) -> list[Task]:
    """One of them tries to get at the cluster's ports: the first that may. All containers go out the same way."""
    first = next((task for task in tasks if task.walls), None)
    return [task if task is first else replace(task, walls=None) for task in tasks]


def _alone(probe: Probe) -> ProofResult:
    """What one host alone can show: a container on the network, whose probe has had its say."""
    seen = probe.evidence
    check = Check(
        probe.name, "a container joins it", None if seen.error else seen.seconds, seen.error or str(seen.address)
    )
    found = of_checks(NAME, probe.network, [check], probe.remark, of_probes([probe]), otherwise=_AGAIN)
    return replace(found, mtu=seen.mtu)


def _result(site: Site, task: Task, probes: Sequence[Probe]) -> ProofResult:
    found = {probe.name: probe.evidence for probe in probes}
    if len(probes) == 1:
        return _alone(probes[0])
    result = pairs(found)
    error, problems = "", tuple[Problem, ...]()
    if not all(pair.proven for pair in result):
        apart = {name: strangers for name in found if (strangers := site.strangers(name))}
        closed = {name: why for name in found if (why := site.plane.closed(site, name))}
        error, problems = trouble(
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
        problems=problems,
        mtu=min((evidence.mtu for evidence in found.values() if evidence.mtu), default=0),
        seconds=max(tried, default=0.0) if error else last,
    )
