"""The proof that networks are kept apart: a container on one finds no container of another by name, nor by its address; and no
container reaches the cluster's ports of other hosts.

The probes of networks that are proven side by side try the first: each asks the engine's DNS server for the probe of the other
network on its own host and on the next one (of bridges: on its own alone), and sends them what a probe of its own network would answer. Both live and
answer their own at that moment. That nothing comes is seen within the time that the overlay's proof takes anyway.

The second is tried by the probes of one of these networks, since all containers go out the same way. What a container sends to
another host leaves with its host's address, so the other host takes it for its peer's: frames in VXLAN get into any overlay, and
the store is open. Each probe sends one packet to each port, and its host looks whether one leaves it (templates/leaks.pl). That
takes no time, and needs nobody who listens there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.errors import ProvisionerError
from provisioner.model import Check, ProofResult, State
from provisioner.proofs.watched import Walls

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from provisioner.controlplane import Site
    from provisioner.proofs.probe import Probe

NAME = "isolation"
_TOLD = 6  # failures that an error lists
_WORDS = {"name": "its name is resolved", "address": "its address answers"}
_WALLS = "no packet leaves for the cluster's ports of other hosts"


def walls(site: Site) -> Walls | None:
    """None: there is no other host."""
    addresses = {name: str(address) for name, address in site.advertise.items()}
    return Walls(site.ports.tcp, site.ports.udp, addresses) if len(addresses) > 1 else None


def result(network: str, probes: Sequence[Probe]) -> ProofResult:
    """From what the probes of one network saw. Pure."""
    checks = tuple(check for probe in probes for check in (*_walled(probe), *_checks(probe)))
    others = dict.fromkeys(stranger.network for probe in probes for stranger in probe.strangers)
    claims = [f"kept from {', '.join(others)}, by name and by address"] if others else []
    claims += [_WALLS] if any(probe.walls for probe in probes) else []
    error = _error(network, probes, checks)
    return ProofResult(
        proof=NAME,
        network=network,
        state=State.FAILED if error else State.SETTLED if checks else State.SKIPPED,
        checks=checks,
        reason="; ".join(claims) if checks and not error else "",
        error=error,
        seconds=max((check.seconds for check in checks if check.seconds), default=0.0),
    )


def _error(network: str, probes: Sequence[Probe], checks: Sequence[Check]) -> str:
    failed = [check for check in checks if not check.proven]
    if not failed:
        return ""
    met = any(probe.evidence.met for probe in probes)
    leaks = any(probe.evidence.leaks for probe in probes)
    cures = [
        "look for what carries packets or names between the networks: `ip route` on the hosts, rules of the firewall"
        " that others have put before the engine's (or that it makes none: `iptables: false`), containers that are on both,"
        " resolvers that know their names"
        if met
        else "",
        "`provisioner up` sets the rules that drop these packets (chain PROVISIONER-FORWARD in iptables' table mangle, chain forward"
        " of nftables' table inet provisioner); if they are gone again, look for what flushes them there"
        if leaks
        else "",
    ]
    return str(
        ProvisionerError(
            f"the network {network} is not proven to be kept from others: {len(failed)} of {len(checks)} tries failed",
            answer="\n".join(f"{check.host}: {check.what}: {check.detail}" for check in failed[:_TOLD]),
            cure="; ".join(filter(None, cures)) or "see what is said of the probes in the networks' own proofs",
        )
    )


def _walled(probe: Probe) -> Iterator[Check]:
    evidence = probe.evidence
    if not probe.walls:
        return
    where = [f"{address} {', '.join(ports)}" for address, ports in sorted(evidence.leaks.items())]
    untold = "" if evidence.watching else "its host could not watch what leaves it (perl, packet(7))"
    if where or evidence.error or untold or not evidence.walls:
        detail = f"what its containers send leaves it, with its own address, for {'; '.join(where)}" if where else ""
        yield Check(probe.name, _WALLS, None, detail or evidence.error or untold or "not tried")
    else:
        yield Check(probe.name, _WALLS, evidence.seconds)


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
