"""The proof that containers of an internal network reach no other host.

Each probe tries to connect to the SSH ports of two other hosts, at their advertised addresses: a server is known to listen
there. A missing default route would be no proof: engine 20.10 gives containers of an internal bridge a default route, and
drops their packets.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provisioner.model import Check, Problem, ProofResult, State
from provisioner.proofs import verdict
from provisioner.proofs.advice import of_probes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from provisioner.controlplane import Site
    from provisioner.inventory import Inventory
    from provisioner.proofs.base import Seen
    from provisioner.proofs.probe import Probe, Task

NAME = "internal"
_WHAT = "no other host is reached"


class InternalProof:
    name = NAME
    title = "containers of an internal network reach no other host"

    def networks(self, inventory: Inventory) -> tuple[str, ...]:
        found = inventory.networks.values() if len(inventory.hosts) > 1 else ()
        return tuple(each.name for each in found if each.internal and (each.attachable or not each.is_global))

    def needs(self, site: Site, task: Task) -> Task:
        return replace(task, beyond=beyond(site))

    def result(self, seen: Seen) -> ProofResult:
        return result(seen.network, seen.probes, len(seen.site.live))


def beyond(site: Site) -> dict[str, tuple[str, int]]:
    """Return live host -> its advertised address and its SSH port."""
    found = {name: site.advertise.get(name) for name in site.live}
    return {name: (str(address), site.inventory.target(name).port) for name, address in found.items() if address}


def result(network: str, probes: Sequence[Probe], hosts: int) -> ProofResult:
    """Return the result from the evidence of one network's probes. hosts: the number of live hosts. Pure."""
    if hosts < 2:  # noqa: PLR2004
        return ProofResult(NAME, network, State.SKIPPED, reason="there is no other host to try")
    checks = tuple(_check(probe) for probe in {probe.name: probe for probe in probes}.values())
    return verdict.of_checks(NAME, network, checks, _WHAT, _problems(network, probes))


def _problems(network: str, probes: Sequence[Probe]) -> Iterator[Problem]:
    yield from of_probes(probes)
    for probe in probes:
        if probe.evidence.way and not probe.evidence.error:
            what = f"its container reaches {', '.join(probe.evidence.way)}"
            yield Problem("internal-open", probe.name, what, {"network": network}, network=network)


def _check(probe: Probe) -> Check:
    evidence = probe.evidence
    if evidence.way is None or evidence.error:
        return Check(probe.name, _WHAT, None, evidence.error or "its probe did not report")
    if evidence.way:
        return Check(probe.name, _WHAT, None, f"its container reaches {', '.join(evidence.way)}")
    return Check(probe.name, _WHAT, evidence.seconds)
