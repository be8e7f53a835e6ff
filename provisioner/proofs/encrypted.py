"""The proof that an encrypted network's packets can't be read between hosts.

While the probes are at work, each host watches what it gives to its interfaces (templates/esp.pl): packets of IP protocol 50
(ESP) must go to every host with a probe, and none of this network's in plain VXLAN. That its containers reach one another
would prove nothing: see docs/decisions/encryption.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provisioner.model import Check, ProofResult, State
from provisioner.proofs import verdict
from provisioner.proofs.base import joinable
from provisioner.proofs.watched import Carried
from provisioner.system import networks

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    cure = (
        "look there at: journalctl -u docker; an engine needs esp4 and xt_policy of its kernel for it, and xt_u32 or"
        " xt_bpf (modprobe esp4 xt_policy xt_u32 xt_bpf), and protocol 50 has to pass between the hosts"
    )
    return verdict.of_checks(NAME, network, checks, _WHAT, cure)


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
