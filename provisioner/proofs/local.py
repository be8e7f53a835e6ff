"""The proof of networks that each host has by itself: bridges, the built-in one too, macvlan and ipvlan, plugins' local ones.

On each host two containers reach one another, by name where the network has names, and with packets of full size. Of a
bridge that is not internal a container reaches, from every host, the port that another publishes on every other one: so it
comes out, and the published port is reached from another host. Containers on a macvlan or ipvlan reach those of the other
hosts by address, where the hosts' own interfaces are on one network. Where a network has IPv6, addresses of both answer.
What the same containers tell beside it: internal.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from provisioner.controlplane import networks as state
from provisioner.errors import ProvisionerError
from provisioner.model import Check, ProofResult, State
from provisioner.proofs import internal
from provisioner.proofs.evidence import FACTS, SIX
from provisioner.proofs.probe import Crew, Peer, Probe, Task
from provisioner.system.networks import ICC, MASQUERADE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provisioner.controlplane import Site
    from provisioner.inventory import Network
    from provisioner.transport import Connection

    Say = Callable[[str, str], None]

_DEADLINE, _START = 30.0, 120.0  # seconds: until all is reached, and for a container to start
_SAME_HOST = "containers on one host reach one another"
_OUT = "a container comes out and reaches a published port of another host"
_OTHER_HOST = "a container reaches one on another host"
_ON_ONE_HOST = frozenset({"", "bridge", "l2", "l3", "l3s"})  # modes in which a host's own containers reach one another
_ACROSS = frozenset({"", "bridge", "private", "vepa", "l2"})  # modes in which they are on the parent's network
_NO_ROOM = "passthru"  # the parent is one container's alone
_MAC_CURE = (
    "the network between the hosts must let the containers' own MAC addresses pass (virtual machines: promiscuous mode, forged"
    " transmits); if it can't, use ipvlan or an overlay"
)


@dataclass(frozen=True)
class Shape:
    """What is to be shown of a network. names: by name too. pairs: of two containers on one host. six: over IPv6 too.

    internal: that there is no way out.
    """

    name: str
    hosts: tuple[str, ...]
    pairs: bool
    names: bool
    published: bool
    across: tuple[str, ...]
    note: str = ""
    six: bool = False
    internal: bool = False


def of_bridge(site: Site) -> Shape:
    """The built-in bridge, on the hosts that have it; it has no names."""
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
    """A local network of the inventory."""
    hosts = tuple(name for name in site.live if network.on(name))
    mode = network.mode or ""
    note = "its parent is one container's alone, so nothing is tried" if mode == _NO_ROOM else ""
    return Shape(
        network.name,
        () if note else hosts,
        pairs=network.options.get(ICC, "true") == "true" and mode in _ON_ONE_HOST,
        names=True,
        published=network.driver == "bridge" and not network.internal and network.options.get(MASQUERADE, "true") == "true",
        across=_sharing(site, network, hosts) if mode in _ACROSS else (),
        note=note,
        six=bool(network.subnet6),
        internal=network.internal,
    )


def _sharing(site: Site, network: Network, hosts: tuple[str, ...]) -> tuple[str, ...]:
    """The hosts whose parents are on one network, as far as their own addresses tell."""
    on: dict[object, list[str]] = {}
    for host in hosts:
        for name, address in site.facts[host].addresses:
            if name == network.parent_on(host):
                on.setdefault(address.network, []).append(host)
    most = max(on.values(), key=len, default=[])
    return tuple(most) if len(most) > 1 else ()


def prove(
    site: Site, connections: Mapping[str, Connection], shape: Shape, *, run: str, observer: Say, deadline: float = _DEADLINE
) -> tuple[ProofResult, ...]:
    """Prove one local network on the hosts that have it. As of overlays, nothing is left on the hosts."""
    hosts = [name for name in shape.hosts if name in connections]
    if not hosts:
        return (ProofResult("local", shape.name, State.SKIPPED, reason=shape.note or "no live host has it"),)
    crossing = hosts if shape.published and len(hosts) > 1 else []

    beyond = internal.beyond(site) if shape.internal else {}

    def probe(host: str, number: int, tag: str) -> Probe:
        subnet = state.found_subnet(site, host, shape.name)
        task = Task(run, shape.name, subnet, deadline, _START, chosen=False, names=shape.names, beyond=beyond)
        publish = str(site.advertise.get(host, "")) if host in crossing and not tag else ""
        return Probe(connections[host], number, number, task, observer, tag=tag, publish=publish)

    probes = _probes(hosts, ("", "-b") if shape.pairs else ("",), probe)
    wanted: dict[Probe, list[Peer]] = {}
    with Crew([probe for both in probes.values() for probe in both]) as crew:
        crew.all(Probe.begin)
        wanted = {probe: _peers(probe, probes, shape, crossing) for both in probes.values() for probe in both}
        crew.all(lambda probe: probe.reach([peer for peer in wanted[probe] if not peer.probe.evidence.error]))
        crew.all(Probe.end)
    inside = (internal.result(shape.name, wanted, len(site.live)),) if shape.internal else ()
    return (_result(shape, wanted, _left_out(shape, crossing)), *inside)


def _probes(hosts: list[str], tags: tuple[str, ...], probe: Callable[[str, int, str], Probe]) -> dict[str, list[Probe]]:
    """Host -> its probes: two where they are to reach one another."""
    numbers = count(1)
    return {host: [probe(host, next(numbers), tag) for tag in tags] for host in hosts}


def _peers(probe: Probe, probes: Mapping[str, list[Probe]], shape: Shape, crossing: list[str]) -> list[Peer]:
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
        "its containers are kept from one another (icc)" if not shape.pairs and not shape.across else "",
        "no other host has it, so the way out was not tried" if shape.published and not crossing else "",
    ]
    return "; ".join(note for note in notes if note)


def _result(shape: Shape, wanted: Mapping[Probe, list[Peer]], note: str) -> ProofResult:
    claims = tuple(_claim(probe, peer) for probe, peers in wanted.items() for peer in peers)
    claims += tuple(
        Check(probe.name, "a container starts", None if probe.evidence.error else 0.0, probe.evidence.error)
        for probe, peers in wanted.items()
        if not peers
    )
    failed = [claim for claim in claims if not claim.proven]
    remarks = [f"{probe.name}: {probe.remark}" for probe in wanted if probe.remark]
    return ProofResult(
        proof="local",
        network=shape.name,
        state=State.FAILED if failed else State.SETTLED,
        checks=claims,
        reason="; ".join([*([note] if note else []), *remarks]),
        error=_error(shape, failed, len(claims), wanted),
        mtu=min((probe.evidence.mtu for probe in wanted if probe.evidence.mtu), default=0),
        seconds=max((claim.seconds or 0.0 for claim in claims), default=0.0),
    )


def _claim(probe: Probe, peer: Peer) -> Check:
    there, evidence, number = peer.probe, probe.evidence, peer.probe.number
    same = there.name == probe.name
    what, target = _OUT if peer.published else _SAME_HOST if same else _OTHER_HOST, "" if same else there.name
    if evidence.proven(number, peer.facts):
        return Check(probe.name, what, max(evidence.seen[number, fact] for fact in peer.facts), target=target)
    return Check(probe.name, what, detail=_why(probe, peer), target=target)


def _why(probe: Probe, peer: Peer) -> str:
    for one in (probe, peer.probe):
        if one.evidence.error:
            return f"no probe on {one.name}: {one.evidence.error}"
    lacks = [(fact, probe.evidence.lacks.get((peer.probe.number, fact), "not proven in time")) for fact in peer.facts]
    words = [f"{fact.replace('_', ' ')}: {reason}" for fact, reason in lacks if (peer.probe.number, fact) not in probe.evidence.seen]
    if peer.published and peer.probe.evidence.heard is not None:
        heard = probe.number in peer.probe.evidence.heard
        words.append("it came there, and no answer came back" if heard else "nothing came there")
    return "; ".join(words)


def _error(shape: Shape, failed: list[Check], total: int, wanted: Mapping[Probe, list[Peer]]) -> str:
    if not failed:
        return ""
    cures = [f"on {probe.name}: {probe.evidence.cure}" for probe in wanted if probe.evidence.cure]
    if any(claim.what == _OUT for claim in failed) or (not shape.across and any(claim.what == _SAME_HOST for claim in failed)):
        cures.append("see that nothing of the hosts' firewalls drops what is forwarded to and from containers (chain FORWARD)")
    if shape.across and any(claim.what == _OTHER_HOST for claim in failed):
        cures.append(_MAC_CURE)
    answer = "\n".join(f"{claim.way}: {claim.what}: {claim.detail}" for claim in failed[:6])
    what = f"the network {shape.name} is not proven: {len(failed)} of {total} checks failed"
    return str(ProvisionerError(what, answer=answer, cure="; ".join(dict.fromkeys(cures)) or "run it again"))

