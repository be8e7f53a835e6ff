"""The proof that an encrypted network's packets can't be read between hosts.

While the probes run, each host watches its outgoing packets (templates/esp.pl). It must send packets of IP protocol 50 (ESP)
to every host with a probe, and no plain VXLAN packet of this network. Containers that reach each other would prove nothing:
see docs/decisions/encryption.md.
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
        """Return the task with packets to watch: each probe contacts every other one, even if no other proof needs it."""
        return replace(task, encrypted=carried(site, task.network), facts=task.facts or ("address",))

    def result(self, seen: Seen) -> ProofResult | None:
        return result(seen.network, seen.probes, seen.task.encrypted) if len(seen.site.live) > 1 else None


def carried(site: Site, network: str) -> Carried | None:
    """Return how to recognise the network's packets; None if no host reports the network's VNI."""
    found = (networks.vni(site.facts[host].networks.get(network)) for host in site.live)
    vni = next((number for number in found if number), None)
    addresses = {host: str(site.advertise[host]) for host in site.live if host in site.advertise}
    return Carried(site.inventory.data_path_port, vni, addresses) if vni else None


def result(network: str, probes: Sequence[Probe], where: Carried | None) -> ProofResult:
    """Return the result from what the hosts saw while the probes of one network ran. Pure."""
    if where is None:
        return ProofResult(NAME, network, State.SKIPPED, reason="no host reports the network's VNI")
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
        return Check(probe.name, _WHAT, None, f"packets to {', '.join(sorted(evidence.clear))} are not encrypted")
    if evidence.error or evidence.seconds is None:
        return Check(probe.name, _WHAT, None, evidence.error or "its probe did not finish")
    if silent:
        return Check(probe.name, _WHAT, None, f"no encrypted packet was sent to {', '.join(silent)}")
    return Check(probe.name, _WHAT, evidence.seconds)
