"""The proof that networks are kept apart: a container on one finds no container of another by name, nor by its address.

The probes of networks that are proven side by side try it: each asks the engine's DNS server for the probe of the other
network on its own host and on the next one (of bridges: on its own alone), and sends them what a probe of its own network would answer. Both live and
answer their own at that moment. That nothing comes is seen within the time that the overlay's proof takes anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.errors import ProvisionerError
from provisioner.model import Check, ProofResult, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from provisioner.proofs.probe import Probe

NAME = "isolation"
_TOLD = 6  # failures that an error lists
_WORDS = {"name": "its name is resolved", "address": "its address answers"}


def result(network: str, probes: Sequence[Probe]) -> ProofResult:
    """From what the probes of one network saw of those of others. Pure."""
    checks = tuple(check for probe in probes for check in _checks(probe))
    others = dict.fromkeys(stranger.network for probe in probes for stranger in probe.strangers)
    failed = [check for check in checks if not check.proven]
    met = [f"{check.host}: {check.what}: {check.detail}" for check in failed]
    error = ""
    if failed:
        error = str(
            ProvisionerError(
                f"the network {network} is not proven to be kept from others: {len(failed)} of {len(checks)} tries failed",
                answer="\n".join(met[:_TOLD]),
                cure="look for what carries packets or names between the networks: `ip route` on the hosts, rules of the firewall"
                " that others have put before the engine's (or that it makes none: `iptables: false`), containers that are on both,"
                " resolvers that know their names"
                if any(probe.evidence.met for probe in probes)
                else "see what is said of the probes in the networks' own proofs",
            )
        )
    return ProofResult(
        proof=NAME,
        network=network,
        state=State.FAILED if error else State.SETTLED if checks else State.SKIPPED,
        checks=checks,
        reason=f"kept from {', '.join(others)}, by name and by address" if checks and not error else "",
        error=error,
        seconds=max((check.seconds for check in checks if check.seconds), default=0.0),
    )


def _checks(probe: Probe) -> Iterator[Check]:
    evidence = probe.evidence
    for number, stranger in enumerate(probe.strangers):
        what = f"the probe of {stranger.network} on {stranger.name}"
        met = [words for fact, words in _WORDS.items() if (number, fact) in evidence.met]
        ended = "" if stranger.evidence.seconds is not None else "it ended early"
        if met or ended or not evidence.tried.get(number):
            yield Check(probe.name, what, None, ", ".join(met) or evidence.error or ended or "not tried")
        else:
            yield Check(probe.name, what, evidence.seconds, "neither by name nor by address")
