"""The proof that an encrypted network's packets can't be read between hosts.

While the probes are at work, each host watches what it gives to its interfaces (templates/esp.pl): packets of IP protocol 50
(ESP) must go to every host with a probe, and none of this network's in plain VXLAN. That its containers reach one another
would prove nothing: see docs/decisions/encryption.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provisioner.model import Check, Problem, ProofResult, State
from provisioner.proofs import verdict
from provisioner.proofs.advice import of_probes
from provisioner.proofs.base import joinable
from provisioner.proofs.watched import Carried
from provisioner.system import networks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from provisioner.controlplane import Site
    from provisioner.inventory import Inventory
    from provisioner.proofs.base import Seen
    from provisioner.proofs.probe import Probe, Task

NAME = "encrypted"
_WHAT = "packets to the other hosts are encrypted"


class EncryptedProof:
    name = NAME
    title = "packets to other hosts are encrypted"

    def networks(self, inventory: Inventory) -> tuple[str, ...]:
        return tuple(each.name for each in joinable(inventory) if each.encrypted and len(inventory.hosts) > 1)

    def needs(self, site: Site, task: Task) -> Task:
        """Packets to look at: whatever else is asked, each probe calls every other one."""
        return replace(task, encrypted=carried(site, task.network), facts=task.facts or ("address",))

    def result(self, seen: Seen) -> ProofResult | None:
        return result(seen.network, seen.probes, seen.task.encrypted) if len(seen.site.live) > 1 else None


def carried(site: Site, network: str) -> Carried | None:
    """None: no host tells the network's number."""
    found = (networks.vni(site.facts[host].networks.get(network)) for host in site.live)
    vni = next((number for number in found if number), None)
    addresses = {host: str(site.advertise[host]) for host in site.live if host in site.advertise}
    return Carried(site.inventory.data_path_port, vni, addresses) if vni else None


def result(network: str, probes: Sequence[Probe], where: Carried | None) -> ProofResult:
    """From what the hosts have seen while the probes of one network were at work. Pure."""
    if where is None:
        return ProofResult(NAME, network, State.SKIPPED, reason="no host tells the network's number (VNI)")
    ready = [probe.name for probe in probes if not probe.evidence.error]
    checks = tuple(_check(probe, where, [name for name in ready if name != probe.name]) for probe in probes)
    return verdict.of_checks(NAME, network, checks, _WHAT, _problems(network, probes, checks))


def _problems(network: str, probes: Sequence[Probe], checks: Sequence[Check]) -> Iterator[Problem]:
    yield from of_probes(probes)
    for probe, check in zip(probes, checks, strict=True):
        ended = not probe.evidence.error and probe.evidence.seconds is not None
        if not check.proven and (probe.evidence.clear or ended):
            yield Problem("packets-readable", probe.name, check.detail, network=network)


def _check(probe: Probe, where: Carried, others: Sequence[str]) -> Check:
    evidence = probe.evidence
    silent = sorted(where.of(others) - evidence.esp)
    if evidence.clear:
        return Check(
            probe.name, _WHAT, None, f"packets to {', '.join(sorted(evidence.clear))} can be read on their way"
        )
    if evidence.error or evidence.seconds is None:
        return Check(probe.name, _WHAT, None, evidence.error or "its probe did not end")
    if silent:
        return Check(probe.name, _WHAT, None, f"no encrypted packet has gone to {', '.join(silent)}")
    return Check(probe.name, _WHAT, evidence.seconds)
