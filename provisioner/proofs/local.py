"""The proof of host-local networks: bridges, including the built-in one, macvlan, ipvlan, and local networks of plugins.

On each host, two containers reach each other: by name if the network has names, and with full-size packets. On a bridge that
is not internal, a container on every host reaches a port that a container on every other host publishes. This proves both
outbound access and the published port. Containers on macvlan or ipvlan reach those of other hosts by address, if the parent
interfaces are on one network. If the network has IPv6, its IPv6 addresses answer too.
The same containers serve internal.py, and isolation.py for bridges on one host.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from provisioner.controlplane import networks as state
from provisioner.errors import error_text
from provisioner.model import Check, Problem, ProofResult, State
from provisioner.proofs.advice import both, of_probes
from provisioner.proofs.base import Round, Seen, asked_of, prepared, results, skipped
from provisioner.proofs.evidence import FACTS, SIX
from provisioner.proofs.internal import InternalProof
from provisioner.proofs.isolation import LocalIsolationProof, separable
from provisioner.proofs.overlay import side_by_side
from provisioner.proofs.probe import Crew, Peer, Probe, Task, patience
from provisioner.system.networks import ICC, MASQUERADE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from provisioner.controlplane import Site
    from provisioner.inventory import Inventory, Network
    from provisioner.proofs.base import Again, Asked, Connections, Judge, Proof, Say

NAME = "local"
_DEADLINE, _START = 30.0, 120.0  # seconds: until everything is reached; for a container to start
_AT_ONCE = 2  # networks: each uses up to three channels of a host's connection, and sshd allows ten (MaxSessions)
_ON_ONE_HOST = frozenset({"", "bridge", "l2", "l3", "l3s"})  # modes in which containers on one host reach each other
_ACROSS = frozenset({"", "bridge", "private", "vepa", "l2"})  # modes that put containers on the parent's network
_EXCLUSIVE = "passthru"  # a single container uses the parent


class Reach(Enum):
    """What a container must reach, in the words of a report."""

    SAME_HOST = "containers on one host reach each other"
    OUT = "a container reaches a published port of another host"
    OTHER_HOST = "a container reaches a container on another host"
    NOTHING = "a container starts"


@dataclass(frozen=True)
class Shape:
    """What to prove of a network on its hosts.

    pairs: two containers on one host reach each other. names: also by name. six: also over IPv6.
    published: containers reach the published ports of other hosts. across: hosts whose containers reach each other.
    apart: it is isolated from other networks of its kind. note: why nothing can be tried.
    """

    name: str
    hosts: tuple[str, ...]
    pairs: bool
    names: bool
    published: bool
    across: tuple[str, ...]
    note: str = ""
    six: bool = False
    apart: bool = False


def of_bridge(site: Site) -> Shape:
    """Return the shape of the built-in bridge, on the hosts that have it. It has no names."""
    hosts = tuple(name for name in site.live if "bridge" in site.facts[name].networks)
    options = [site.facts[name].networks["bridge"].get("Options") or {} for name in hosts]
    return Shape(
        "bridge",
        hosts,
        pairs=all(found.get(ICC, "true") == "true" for found in options),
        names=False,
        published=all(found.get(MASQUERADE, "true") == "true" for found in options),
        across=(),
        note="" if hosts else "no engine has one",
    )


def of(site: Site, network: Network) -> Shape:
    """Return the shape of a local network of the inventory."""
    hosts = tuple(name for name in site.live if network.on(name))
    mode = network.mode or ""
    note = "only one container can use its parent, so nothing is tried" if mode == _EXCLUSIVE else ""
    return Shape(
        network.name,
        () if note else hosts,
        pairs=network.options.get(ICC, "true") == "true" and mode in _ON_ONE_HOST,
        names=True,
        published=network.driver == "bridge"
        and not network.internal
        and network.options.get(MASQUERADE, "true") == "true",
        across=_sharing(site, network, hosts) if mode in _ACROSS else (),
        note=note,
        six=bool(network.subnet6),
        apart=separable(network),
    )


def _sharing(site: Site, network: Network, hosts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the hosts whose parent interfaces are on one network, judging by their addresses."""
    on: dict[object, list[str]] = {}
    for host in hosts:
        for name, address in site.facts[host].addresses:
            if name == network.parent_on(host):
                on.setdefault(address.network, []).append(host)
    most = max(on.values(), key=len, default=[])
    return tuple(most) if len(most) > 1 else ()


def batches(shapes: Sequence[Shape]) -> list[tuple[Shape, ...]]:
    """Return the networks to prove at the same time: isolated ones in groups of at least two if possible, others alone."""
    apart = {shape.name: shape for shape in shapes if shape.apart and shape.hosts}
    together = [tuple(apart[name] for name in names) for names in side_by_side(apart, _AT_ONCE)]
    return [*together, *((shape,) for shape in shapes if shape.name not in apart)]


class LocalProof:
    name = NAME
    title = "containers on one host reach each other, and other hosts as far as the network allows"

    def networks(self, inventory: Inventory) -> tuple[str, ...]:
        return tuple(network.name for network in inventory.networks.values() if not network.is_global)

    def needs(self, site: Site, task: Task) -> Task:  # noqa: ARG002
        return replace(task, facts=FACTS)

    def result(self, seen: Seen) -> ProofResult:
        shape = of(seen.site, seen.site.inventory.networks[seen.network])
        return judged(shape, seen)


PROOFS: tuple[Proof, ...] = (LocalProof(), InternalProof(), LocalIsolationProof())


def rounds(site: Site, asked: Asked) -> list[Round]:
    """Return the rounds that prove the inventory's local networks, each on the hosts that have it."""
    shapes = [of(site, each) for each in site.inventory.networks.values() if each.name in asked and not each.is_global]
    return [round_of(batch, asked) for batch in batches(shapes)]


def round_of(shapes: Iterable[Shape], asked: Asked) -> Round:
    """Return a round that proves these networks at the same time."""
    runs = {shape: secrets.token_hex(3) for shape in shapes}
    names = tuple(shape.name for shape in runs if asked[shape.name])
    return Round(names, partial(prove, shapes=runs, asked=asked))


def prove(
    site: Site,
    connections: Connections,
    shapes: Mapping[Shape, str],
    *,
    observer: Say,
    again: Again | None = None,  # noqa: ARG001  its causes are known without reading the hosts again
    judge: Judge | None = None,  # noqa: ARG001  only paths of overlays are judged
    deadline: float = _DEADLINE,
    asked: Asked | None = None,
) -> tuple[ProofResult, ...]:
    """Prove local networks at the same time, each on the hosts that have it. Nothing is left on the hosts.

    shapes: shape -> hexadecimal digits that are unique to its proof. deadline: seconds until everything must be reached.
    asked: the proofs of each network (default: all that apply).
    """
    asked = asked if asked is not None else asked_of(PROOFS, site.inventory)
    tasks = {
        shape: prepared(
            asked[shape.name], site, Task(run, shape.name, None, deadline, _START, chosen=False, names=shape.names)
        )
        for shape, run in shapes.items()
    }
    probes = {shape: _of_shape(site, connections, shape, task, observer) for shape, task in tasks.items()}
    wanted: dict[Shape, dict[Probe, list[Peer]]] = {}
    with Crew([probe for of in probes.values() for both in of.values() for probe in both]) as crew:
        crew.all(Probe.begin)
        for shape, of in probes.items():
            wanted[shape] = {
                probe: _peers(probe, of, shape, _crossing(shape, of)) for both in of.values() for probe in both
            }
        _introduce([of for shape, of in probes.items() if shape.apart])
        peers = {probe: _ready(others) for of in wanted.values() for probe, others in of.items()}
        crew.all(lambda probe: probe.reach(peers[probe]))
        crew.all(Probe.end)
    return tuple(result for shape in shapes for result in _results(site, shape, wanted[shape], asked[shape.name]))


def _of_shape(site: Site, connections: Connections, shape: Shape, task: Task, observer: Say) -> dict[str, list[Probe]]:
    """Return host -> its probes on a network. task: what the probes have in common."""
    hosts = [name for name in shape.hosts if name in connections]
    crossing = _crossing(shape, hosts) if task.facts else ()

    def probe(host: str, number: int, tag: str) -> Probe:
        on_host = replace(task, subnet=state.found_subnet(site, host, shape.name))
        publish = str(site.advertise.get(host, "")) if host in crossing and not tag else ""
        seconds = patience(site, host)
        return Probe(connections[host], number, number, on_host, observer, tag=tag, publish=publish, patience=seconds)

    return _probes(hosts, ("", "-b") if shape.pairs and task.facts else ("",), probe)


def _crossing(shape: Shape, hosts: Iterable[str]) -> list[str]:
    """Return the hosts between which published ports are tried."""
    found = list(hosts)
    return found if shape.published and len(found) > 1 else []


def _introduce(networks: Sequence[Mapping[str, list[Probe]]]) -> None:
    """On each host, make the last probe of every other network a stranger of a network's first probe.

    If a network has two probes on a host, the last one publishes no port.
    """
    for of in networks:
        for host, (first, *_) in of.items():
            others = [other[host][-1] for other in networks if first.task.apart and other is not of and host in other]
            first.strangers = [] if first.evidence.error else [probe for probe in others if not probe.evidence.error]


def _ready(peers: Iterable[Peer]) -> list[Peer]:
    return [peer for peer in peers if not peer.probe.evidence.error]


def _results(
    site: Site, shape: Shape, wanted: Mapping[Probe, list[Peer]], proofs: Sequence[Proof]
) -> list[ProofResult]:
    if not wanted:
        return skipped(proofs, shape.name, shape.note or "no live host has it")
    return results(proofs, Seen(site, shape.name, tuple(wanted), wanted))


def _probes(hosts: list[str], tags: tuple[str, ...], probe: Callable[[str, int, str], Probe]) -> dict[str, list[Probe]]:
    """Return host -> its probes, one for each tag. Numbers are unique among all of them."""
    numbers = count(1)
    return {host: [probe(host, next(numbers), tag) for tag in tags] for host in hosts}


def _peers(probe: Probe, probes: Mapping[str, list[Probe]], shape: Shape, crossing: list[str]) -> list[Peer]:
    if not probe.task.facts:
        return []
    more = (SIX,) if shape.six else ()
    facts = (*(FACTS if shape.names else ("address", "full")), *more)
    peers = [Peer(other, facts) for other in probes[probe.name] if other is not probe]
    if probe is not probes[probe.name][0]:
        return peers
    for host, (first, *_) in probes.items():
        if host == probe.name:
            continue
        if host in crossing:
            peers.append(Peer(first, ("address",), published=True))
        elif host in shape.across and probe.name in shape.across:
            peers.append(Peer(first, ("address", "full", *more)))
    return peers


def _left_out(shape: Shape, crossing: list[str]) -> str:
    notes = [
        "its containers are isolated from each other (icc)" if not shape.pairs and not shape.across else "",
        "no other host has it, so outbound access was not tried" if shape.published and not crossing else "",
    ]
    return "; ".join(note for note in notes if note)


def judged(shape: Shape, seen: Seen) -> ProofResult:
    """Return the result for a network from the evidence of its probes."""
    wanted = seen.peers
    note = _left_out(shape, _crossing(shape, dict.fromkeys(probe.name for probe in wanted)))
    claims = [_claim(probe, peer) for probe, peers in wanted.items() for peer in peers]
    claims += [_started(probe) for probe, peers in wanted.items() if not peers]
    failed = [(reach, check) for reach, check in claims if not check.proven]
    of_hosts = tuple(of_probes(wanted)) if failed else ()
    between = tuple(_between(shape, failed, {problem.host for problem in of_hosts}))
    remarks = [f"{probe.name}: {probe.remark}" for probe in wanted if probe.remark]
    return ProofResult(
        proof=NAME,
        network=shape.name,
        state=State.FAILED if failed else State.SETTLED,
        checks=tuple(check for _, check in claims),
        reason="; ".join([*([note] if note else []), *remarks]),
        error=_error(shape, failed, len(claims), both(of_hosts, between)),
        problems=(*of_hosts, *between),
        mtu=min((probe.evidence.mtu for probe in wanted if probe.evidence.mtu), default=0),
        seconds=max((check.seconds or 0.0 for _, check in claims), default=0.0),
    )


def _started(probe: Probe) -> tuple[Reach, Check]:
    """Return what a container without a peer proves."""
    error = probe.evidence.error
    return Reach.NOTHING, Check(probe.name, Reach.NOTHING.value, None if error else 0.0, error)


def _claim(probe: Probe, peer: Peer) -> tuple[Reach, Check]:
    there, evidence, number = peer.probe, probe.evidence, peer.probe.number
    same = there.name == probe.name
    reach, target = (
        Reach.OUT if peer.published else Reach.SAME_HOST if same else Reach.OTHER_HOST,
        "" if same else there.name,
    )
    if evidence.proven(number, peer.facts):
        seconds = max(evidence.seen[number, fact] for fact in peer.facts)
        return reach, Check(probe.name, reach.value, seconds, target=target)
    return reach, Check(probe.name, reach.value, detail=_why(probe, peer), target=target)


def _why(probe: Probe, peer: Peer) -> str:
    for one in (probe, peer.probe):
        if one.evidence.error:
            return f"no probe on {one.name}: {one.evidence.error}"
    lacks = [(fact, probe.evidence.lacks.get((peer.probe.number, fact), "not proven in time")) for fact in peer.facts]
    words = [
        f"{fact.replace('_', ' ')}: {reason}"
        for fact, reason in lacks
        if (peer.probe.number, fact) not in probe.evidence.seen
    ]
    if peer.published and peer.probe.evidence.heard is not None:
        heard = probe.number in peer.probe.evidence.heard
        words.append("the packet arrived, but no answer came back" if heard else "no packet arrived")
    return "; ".join(words)


def _between(shape: Shape, failed: Sequence[tuple[Reach, Check]], silent: Collection[str]) -> Iterator[Problem]:
    """Yield the problems of paths between containers.

    silent: hosts whose probes failed; their paths say nothing about firewalls and switches.
    """
    for reach, check in failed:
        if check.host in silent or check.target in silent:
            continue
        if reach is Reach.OUT or (reach is Reach.SAME_HOST and not shape.across):
            yield Problem("forward-blocked", check.host, check.detail, target=check.target, network=shape.name)
        elif reach is Reach.OTHER_HOST and shape.across:
            yield Problem("mac-filtered", check.host, check.detail, target=check.target, network=shape.name)


def _error(shape: Shape, failed: Sequence[tuple[Reach, Check]], total: int, cure: str) -> str:
    if not failed:
        return ""
    answer = "\n".join(f"{check.way}: {check.what}: {check.detail}" for _, check in failed[:6])
    what = f"the network {shape.name} is not proven: {len(failed)} of {total} checks failed"
    return error_text(what, answer=answer, cure=cure)
