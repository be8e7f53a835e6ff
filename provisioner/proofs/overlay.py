"""The proof of overlay networks: each probe of a network, one on every host, reaches every other probe.

A probe resolves the other's name and alias with the engine's embedded DNS server. It reaches the other by address, by the
address that the name resolved to, and with a full-size packet that must not be fragmented. The other probe answers, which
proves the opposite direction too. Gossip takes time on many hosts, so a pair fails only at the deadline. The result says how
long it took.

The same probes serve dns.py (external names), encrypted.py (unreadable packets), internal.py (no outbound access) and
isolation.py (networks that are proven at the same time).
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
from provisioner.model import Check, Missing, Problem, ProofResult, State
from provisioner.proofs.advice import of_probes
from provisioner.proofs.base import Round, Seen, asked_of, prepared, results, skipped
from provisioner.proofs.dns import DnsProof
from provisioner.proofs.encrypted import EncryptedProof
from provisioner.proofs.evidence import FACTS
from provisioner.proofs.internal import InternalProof
from provisioner.proofs.isolation import IsolationProof
from provisioner.proofs.probe import Crew, Probe, Task, patience
from provisioner.proofs.verdict import of_checks, pairs, trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from provisioner.controlplane import Site
    from provisioner.inventory import Inventory
    from provisioner.proofs.base import Asked, Judge, Proof, Say
    from provisioner.transport import Connection

NAME = "overlay"
_PER_HOST = 3.0  # seconds; measured: twenty hosts on two cores took one minute
_START = 120.0  # seconds for a container to start; many at once take long on slow machines
_GLANCE = 1.0  # seconds between two calls of the judge
# Seconds until the judge is asked about probes that have not started, and without a start before. On busy machines, many take long.
_STARTS, _STILL = 12.0, 5.0
_JUDGING = 10.0  # seconds to wait for a judge that is still at work when the probes have ended
_AT_ONCE = 4  # networks: each uses a channel of the host's connection, and sshd allows ten (MaxSessions)
_AGAIN = "see the log of its engine (journalctl -u docker), and run again"
_PROBES = 24  # at once; above this, a round has only the networks that isolation needs


def _shared(site: Site, name: str) -> bool:
    entry = site.inventory.networks.get(name)
    return entry is not None and entry.is_global


def batches(networks: Iterable[str], hosts: int) -> list[tuple[str, ...]]:
    """Return the networks to prove at the same time, in the order of `networks`.

    Each batch has at least two networks if there are two, because isolation needs a second one.
    """
    return side_by_side(networks, max(2, min(_AT_ONCE, _PROBES // max(hosts, 1))))


class OverlayProof:
    name = NAME
    title = "every host reaches every other by name, alias and address, at full packet size"

    def networks(self, inventory: Inventory) -> tuple[str, ...]:
        return tuple(network.name for network in inventory.networks.values() if network.is_global)

    def needs(self, site: Site, task: Task) -> Task:  # noqa: ARG002
        return replace(task, facts=FACTS, flows=True)

    def result(self, seen: Seen) -> ProofResult:
        return _result(seen.site, seen.task, seen.probes)


PROOFS: tuple[Proof, ...] = (OverlayProof(), DnsProof(), EncryptedProof(), InternalProof(), IsolationProof())


def rounds(site: Site, asked: Asked, *, hold: float = 0.0) -> list[Round]:
    """Return the rounds that prove the networks that span all hosts. hold: see `prove`."""
    wanted = {name: proofs for name, proofs in asked.items() if _shared(site, name)}
    return [
        Round(
            tuple(name for name in batch if wanted[name]),
            partial(prove, networks={name: secrets.token_hex(3) for name in batch}, asked=wanted, hold=hold),
        )
        for batch in batches(wanted, len(site.live))
    ]


def side_by_side(networks: Iterable[str], most: int) -> list[tuple[str, ...]]:
    """Split the networks into batches of at most `most`. No batch has a single network unless it is the only one.

    To avoid a single one, a batch can have one network more than `most`.
    """
    names = tuple(networks)
    count = -(-len(names) // most)
    if count > 1 and len(names) // count < 2:  # noqa: PLR2004  three networks in batches of two: all three at once
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
    hold: float = 0.0,
) -> tuple[ProofResult, ...]:
    """Prove that all live hosts reach each other over some networks, at the same time. A result has every ordered pair.

    networks: name -> hexadecimal digits that are unique to this proof. observer: receives a host and its progress; called
    from several threads. again: reads the hosts once more, to find out why a pair failed. deadline: seconds from the start of
    all probes (default: the control plane's patience, plus 3 for each host and network). start: seconds for a probe to start;
    if one does not, all pairs of its host fail, and the others continue. asked: the proofs of each network (default: all that
    apply). judge: see `base.Judge`. hold: seconds for which the probes hold their connections at least.
    With a single host, the result has no pairs; it says that a probe joined the network.
    Nothing is left on the hosts, even if the controller dies. Failures of hosts are part of the result, not exceptions.
    """
    names = [name for name in site.live if name in connections]
    asked = asked if asked is not None else asked_of(PROOFS, site.inventory)
    if not names:
        return tuple(result for network in networks for result in skipped(asked[network], network, "no host is live"))
    limit = deadline or hold + site.plane.patience + _PER_HOST * len(names) * len(networks)
    places = list(site.inventory.hosts)
    found = {
        name: _task(site, names[0], name, run, limit=limit, start=start, hold=hold) for name, run in networks.items()
    }
    tasks = _walled([prepared(asked[task.network], site, task) for task in found.values() if isinstance(task, Task)])
    probes = [
        Probe(
            connections[name],
            number,
            places.index(name),
            task,
            observer,
            patience=patience(site, name),
            among=len(names) * len(tasks),
        )
        for task in tasks
        for number, name in enumerate(names, start=1)
    ]
    site = _opened(site, names, again)
    for probe in probes:
        if closed := site.plane.closed(site, probe.name):
            probe.fail(closed.problem)
            probe.evidence.closed = closed
    with Crew(probes) as crew:
        with _judged(probes, judge, _unstarted, after=_STARTS, still=_STILL):
            crew.all(Probe.begin)
        ready = [probe for probe in probes if not probe.evidence.error]
        for probe in ready:
            probe.enough.clear()
        with _judged(ready, judge, partial(_missing, site)) as hopeless:
            crew.all(lambda probe: probe.go([other for other in ready if site.concerns(probe.name, other.name)]))
        crew.all(Probe.end)
    by_network = {task.network: [probe for probe in probes if probe.network == task.network] for task in tasks}
    if again and not hopeless.is_set() and not all(_reached(site, of) for of in by_network.values()):
        site = again()
    seen = [Seen(site, network, of) for network, of in by_network.items()]
    return (
        *(result for name, why in found.items() if isinstance(why, str) for result in skipped(asked[name], name, why)),
        *(result for each in seen for result in results(asked[each.network], each)),
    )


@contextmanager
def _judged(
    probes: Sequence[Probe],
    judge: Judge | None,
    lacking: Callable[[Sequence[Probe]], frozenset[Missing]],
    *,
    after: float = 0.0,
    still: float = 0.0,
) -> Iterator[Event]:
    """Call the judge once a second with what is missing, from `after` seconds on. If waiting can't help, end the probes.

    still: seconds for which nothing must have changed. On busy hosts, one after the other gets there.
    Yields an event that is set if the judge has ended the probes.
    """
    over, hopeless, began = Event(), Event(), time.monotonic()

    def watch() -> None:
        missing, since = frozenset[Missing](), began
        while judge and not over.wait(_GLANCE):
            before, missing, now = missing, lacking(probes), time.monotonic()
            since = since if missing == before else now
            late = now - began >= after and now - since >= still
            if missing and late and judge(missing, now - began) and not over.is_set():
                hopeless.set()
                for probe in probes:
                    probe.enough.set()
                return

    thread = Thread(target=watch, name="judge", daemon=True)
    thread.start()
    try:
        yield hopeless
    finally:
        over.set()
        thread.join(_JUDGING)


def _unstarted(probes: Sequence[Probe]) -> frozenset[Missing]:
    """Return the hosts whose probe has neither started nor failed."""
    return frozenset(
        Missing(probe.name, "", probe.network)
        for probe in probes
        if not (probe.evidence.address or probe.evidence.interfaces or probe.evidence.error)
    )


def _missing(site: Site, probes: Sequence[Probe]) -> frozenset[Missing]:
    """Return the pairs of hosts that are not proven yet."""
    return frozenset(
        Missing(one.name, other.name, one.network)
        for one, other in _pairs(site, probes)
        if one.network == other.network and not one.evidence.proven(other.number, one.task.facts)
    )


def _reached(site: Site, probes: Sequence[Probe]) -> bool:
    """Whether each probe saw everything it had to see of every other one."""
    return all(one.evidence.proven(other.number, one.task.facts) for one, other in _pairs(site, probes))


def _pairs(site: Site, probes: Sequence[Probe]) -> Iterator[tuple[Probe, Probe]]:
    """Yield the pairs to prove."""
    return ((one, other) for one, other in permutations(probes, 2) if site.concerns(one.name, other.name))


def _opened(site: Site, names: Sequence[str], again: Callable[[], Site] | None) -> Site:
    """Wait for hosts that are closed to containers but heal by themselves. Return the site as it is then."""
    began = time.monotonic()
    while again and time.monotonic() - began < max(
        (c.heals for name in names if (c := site.plane.closed(site, name))), default=0.0
    ):
        time.sleep(1)
        site = again()
    return site


def _task(site: Site, host: str, network: str, run: str, *, limit: float, start: float, hold: float) -> Task | str:
    """Return what all probes of a network have in common, or the reason why it can't have probes."""
    entry = site.inventory.networks[network]
    if not entry.attachable:
        return "not attachable: only containers of services may join it"
    subnet = state.subnet(site, host, entry)
    return Task(run, network, subnet, limit, start, hold=hold) if subnet else "its IPv4 subnet is unknown"


def _walled(tasks: list[Task]) -> list[Task]:
    """Keep the test of the cluster's ports in the first task that has it: all containers leave a host the same way."""
    first = next((task for task in tasks if task.walls), None)
    return [task if task is first else replace(task, walls=None) for task in tasks]


def _alone(probe: Probe) -> ProofResult:
    """Return the result for a single host: whether a container with a probe joined the network."""
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
    result = tuple(pair for pair in pairs(found) if site.concerns(pair.source, pair.target))
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
            headers=site.inventory.networks[task.network].headers,
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
