"""The proof of an overlay network: a probe on every host, and every one of them reaches every other.

By name (the engine's embedded DNS server), by address, by the address that the name gave, and with one packet of the
network's full size that must not be fragmented; each answered by the other probe, which proves the way back too.
Gossip takes its time on many hosts, so a pair fails only at the deadline; how long it took is part of the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.controlplane import networks as state
from provisioner.model import ProofResult, State
from provisioner.proofs.probe import Crew, Probe, Task
from provisioner.proofs.verdict import pairs, trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provisioner.controlplane import Site
    from provisioner.transport import Connection

    Say = Callable[[str, str], None]

NAME = "overlay"
_LEAST, _PER_HOST = 30.0, 3.0  # seconds; twenty hosts on two cores have taken one minute
_START = 120.0  # seconds for a container to start; many at once on slow machines take long


def prove(
    site: Site,
    connections: Mapping[str, Connection],
    network: str,
    *,
    run: str,
    observer: Say,
    deadline: float | None = None,
    start: float = _START,
) -> ProofResult:
    """Prove that all live hosts reach one another over a network; the result has every ordered pair of them.

    run: a few hexadecimal digits that are this proof's alone. observer: is told a host and how it stands, from several
    threads. deadline: seconds from the moment when all probes run (default: 30, and 3 for each host). start: seconds
    for a probe to start; a host whose probe does not start fails with all its pairs, and the others go on without it.
    Nothing is left on the hosts, whatever becomes of the controller. What a host does wrong is part of the result.
    """
    names = [name for name in site.live if name in connections]
    if len(names) < 2:  # noqa: PLR2004
        return ProofResult(NAME, network, State.SKIPPED, reason="one live host alone has no other to reach")
    limit = deadline or _LEAST + _PER_HOST * len(names)
    subnet = state.subnet(site, names[0], site.inventory.networks[network])
    if subnet is None:
        return ProofResult(NAME, network, State.SKIPPED, reason="it has no IPv4 subnet that is known")
    task, places = Task(run, network, subnet, limit, start), list(site.inventory.hosts)
    probes = [
        Probe(connections[name], number, places.index(name), task, observer)
        for number, name in enumerate(names, start=1)
    ]
    with Crew(probes) as crew:
        crew.all(Probe.begin)
        ready = [probe for probe in probes if not probe.evidence.error]
        crew.all(lambda probe: probe.go(ready))
        crew.all(Probe.end)
    apart = {name: strangers for name in names if (strangers := site.strangers(name))}
    return _result(network, probes, limit, apart)


def _result(network: str, probes: list[Probe], limit: float, apart: Mapping[str, tuple[str, ...]]) -> ProofResult:
    found = {probe.name: probe.evidence for probe in probes}
    result = pairs(found)
    error = trouble(network, found, result, apart)
    last = max((seconds for evidence in found.values() for seconds in evidence.seen.values()), default=0.0)
    return ProofResult(
        proof=NAME,
        network=network,
        state=State.FAILED if error else State.SETTLED,
        pairs=result,
        reason="; ".join(f"{probe.name}: {probe.remark}" for probe in probes if probe.remark),
        error=error,
        mtu=min((evidence.mtu for evidence in found.values() if evidence.mtu), default=0),
        seconds=max((evidence.seconds or limit for evidence in found.values()), default=limit) if error else last,
    )
