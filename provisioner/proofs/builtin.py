"""The proof of the networks that every engine has.

`bridge` is proven like a local network of the inventory. A container on `none` must have only the loopback interface. A
container on `host` must have the host's addresses.
"""

from __future__ import annotations

import secrets
import shlex
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from provisioner import render
from provisioner.errors import ProvisionerError, error_text
from provisioner.model import Check, Problem, ProofResult, State
from provisioner.proofs import local
from provisioner.proofs.advice import of_probes
from provisioner.proofs.base import Round, Seen
from provisioner.proofs.evidence import FACTS, Evidence
from provisioner.proofs.probe import Crew, Probe, Task, patience

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from provisioner.controlplane import Site
    from provisioner.inventory import Inventory
    from provisioner.proofs.base import Again, Asked, Judge, Proof, Say
    from provisioner.transport import Connection

BRIDGE = "bridge"
_CLAIMS = {
    "none": "a container has only the loopback interface",
    "host": "a container has the host's addresses",
}
_START, _ASKED = 120.0, 30.0  # seconds: for a container to start; for the host to report its own addresses


@dataclass(frozen=True)
class BuiltinProof:
    """The proof of one built-in network."""

    network: str
    title: str
    name: str = local.NAME

    def networks(self, inventory: Inventory) -> tuple[str, ...]:  # noqa: ARG002
        return (self.network,)

    def needs(self, site: Site, task: Task) -> Task:  # noqa: ARG002
        return replace(task, facts=FACTS) if self.network == BRIDGE else task

    def result(self, seen: Seen) -> ProofResult:
        return local.judged(local.of_bridge(seen.site), seen) if self.network == BRIDGE else _result(seen)


PROOFS: tuple[Proof, ...] = (
    BuiltinProof(BRIDGE, "containers on one host reach each other, and have outbound access"),
    *(BuiltinProof(network, claim) for network, claim in _CLAIMS.items()),
)


def rounds(site: Site, asked: Asked) -> list[Round]:
    bridge = [local.round_of([local.of_bridge(site)], asked)] if BRIDGE in asked else []
    others = [name for name in _CLAIMS if name in asked]
    return [*bridge, *(Round((name,), partial(prove, network=name, run=secrets.token_hex(3))) for name in others)]


def prove(
    site: Site,
    connections: Mapping[str, Connection],
    network: str,
    *,
    run: str,
    observer: Say,
    again: Again | None = None,  # noqa: ARG001  its causes are known without reading the hosts again
    judge: Judge | None = None,  # noqa: ARG001  this proof tries no path between hosts
) -> tuple[ProofResult, ...]:
    """Prove `none` or `host` on every live host. Nothing is left on the hosts."""
    began = time.monotonic()
    task = Task(run, network, None, 0.0, _START, chosen=False, names=False)
    names = [name for name in site.live if name in connections]
    probes = [
        Probe(connections[name], number, number, task, observer, patience=patience(site, name))
        for number, name in enumerate(names, 1)
    ]
    hosts: dict[str, Evidence] = {}
    if not probes:
        return (ProofResult(local.NAME, network, State.SKIPPED, reason="no host is left"),)
    with Crew(probes) as crew:
        crew.all(Probe.begin)
        if network == "host":
            crew.all(lambda probe: hosts.update({probe.name: _of_the_host(connections[probe.name])}))
        crew.all(Probe.end)
    return (_result(Seen(site, network, probes, hosts=hosts, seconds=time.monotonic() - began)),)


def _result(seen: Seen) -> ProofResult:
    network, seconds = seen.network, seen.seconds
    claims = tuple(_claim(network, probe, seen.hosts.get(probe.name, Evidence()), seconds) for probe in seen.probes)
    error, problems = _error(network, claims), tuple(_problems(seen, claims))
    state = State.FAILED if error else State.SETTLED
    return ProofResult(local.NAME, network, state, checks=claims, error=error, seconds=seconds, problems=problems)


def _problems(seen: Seen, claims: Sequence[Check]) -> Iterator[Problem]:
    yield from of_probes(seen.probes)
    for probe, claim in zip(seen.probes, claims, strict=True):
        unknown = probe.evidence.error or seen.hosts.get(probe.name, Evidence()).error
        if not claim.proven and not unknown:
            yield Problem("builtin-network", probe.name, claim.detail, network=seen.network)


def _of_the_host(connection: Connection) -> Evidence:
    """Run the container's program on the host itself, and return what it reports."""
    found = Evidence()
    try:
        words = f"{shlex.quote(render.text('interfaces.pl'))} own 0 {_ASKED:.0f}"
        script = f"# reading the host's interfaces\nperl -e {words} </dev/null"
        found.take(connection.read(script, deadline=_ASKED).stdout.strip())
    except (ProvisionerError, ValueError) as error:
        found.error = str(getattr(error, "what", error))
    return found


def _claim(network: str, probe: Probe, host: Evidence, seconds: float) -> Check:
    inside = probe.evidence
    error, found, wanted = inside.error or host.error, inside.addresses, host.addresses
    if network == "none":
        found, wanted = inside.interfaces or (), ("lo",)
    if not error and found != wanted:
        error = f"it has {', '.join(found)} instead of {', '.join(wanted)}"
    return Check(probe.name, _CLAIMS[network], None if error else seconds, error)


def _error(network: str, claims: tuple[Check, ...]) -> str:
    failed = [claim for claim in claims if not claim.proven]
    if not failed:
        return ""
    answer = "\n".join(f"{claim.host}: {claim.detail}" for claim in failed)
    what = f"the network {network} is not proven: {len(failed)} of {len(claims)} checks failed"
    cure = "see the engine's log and its networks: journalctl -u docker, docker network ls"
    return error_text(what, answer=answer, cure=cure)
