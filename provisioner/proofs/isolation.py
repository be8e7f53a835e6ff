"""The proof of isolation: a container reaches no container of another network, and no cluster port of another host.

Networks that are proven at the same time test each other. Each probe queries the engine's DNS server for two probes of the
other network: on its own host and on the next one (for bridges, on its own host only). It also sends them a datagram that a
probe of its own network would answer. Both probes are alive and answer their own network meanwhile. Waiting for an answer
takes no extra time, because the overlay's proof runs anyway.

The probes of one network try the ports, since the packets of all containers leave a host the same way. They have the host's
source address, so another host takes them for packets of a peer. A container could thus send VXLAN frames into any overlay,
and read the store. Each probe sends one packet to each port, and its host watches whether the packet leaves
(templates/leaks.pl). This takes no time, and no server needs to listen there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provisioner.errors import error_text
from provisioner.model import Check, Problem, ProofResult, State
from provisioner.proofs.advice import advice, of_probes
from provisioner.proofs.base import joinable
from provisioner.proofs.watched import Walls

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from provisioner.controlplane import Site
    from provisioner.inventory import Inventory, Network
    from provisioner.proofs.base import Asked, Proof, Seen
    from provisioner.proofs.probe import Probe, Task

NAME = "isolation"
_LISTED = 6  # failures that an error lists
_WORDS = {"name": "its name is resolved", "address": "its address answers"}
_WALLS = "no packet leaves for the cluster's ports of other hosts"


class _Apart:
    name = NAME

    def result(self, seen: Seen) -> ProofResult | None:
        tried = any(probe.strangers or probe.walls for probe in seen.probes)
        return result(seen.network, seen.probes) if tried else None


class IsolationProof(_Apart):
    """Isolation of networks that span all hosts."""

    title = "containers find no container of another network, and reach no cluster port of another host"

    def networks(self, inventory: Inventory) -> tuple[str, ...]:
        """Return the networks that have another network to be isolated from, or a route to the ports of other hosts."""
        several = len(inventory.hosts) > 1
        shared = joinable(inventory)
        return tuple(each.name for each in shared if len(shared) > 1 or (several and not each.internal))

    def needs(self, site: Site, task: Task) -> Task:
        internal = site.inventory.networks[task.network].internal
        return replace(task, apart=True, walls=None if internal else walls(site))


class LocalIsolationProof(_Apart):
    """Isolation of bridges."""

    title = "containers find no container of another bridge on their host"

    def networks(self, inventory: Inventory) -> tuple[str, ...]:
        """Return the bridges that share a host with another bridge."""
        local = [each.name for each in inventory.networks.values() if not each.is_global]
        return tuple(name for name in local if kept_from(inventory, name))

    def needs(self, site: Site, task: Task) -> Task:  # noqa: ARG002
        return replace(task, apart=True)


def separable(network: Network) -> bool:
    """Whether the engine isolates this local network from others of its kind."""
    return network.driver == "bridge" and not any("gateway_mode" in option for option in network.options)


def kept_from(inventory: Inventory, name: str) -> list[str]:
    """Return the networks with which this one's isolation can be tested: of the same scope, on a shared host."""
    network = inventory.networks[name]
    if network.is_global:
        found = joinable(inventory)
    else:
        found = [each for each in inventory.networks.values() if not each.is_global and separable(each)]
    names = [each.name for each in found if any(each.on(host) and network.on(host) for host in inventory.hosts)]
    return [each for each in names if each != name] if name in names else []


def accompanied(inventory: Inventory, asked: Asked) -> dict[str, Sequence[Proof]]:
    """Add a network without proofs of its own for each isolation proof that has no other chosen network to test with."""
    apart = [name for name, proofs in asked.items() if any(proof.name == NAME for proof in proofs)]
    alone = [found for name in apart if (found := kept_from(inventory, name)) and not set(found) & set(asked)]
    return {**asked, **{found[0]: () for found in alone}}


def walls(site: Site) -> Walls | None:
    """Return the cluster's ports that containers must not reach; None if there is no other host."""
    addresses = {name: str(address) for name, address in site.advertise.items()}
    return Walls(site.ports.tcp, site.ports.udp, addresses) if len(addresses) > 1 else None


def result(network: str, probes: Sequence[Probe]) -> ProofResult:
    """Return the result from the evidence of one network's probes. Pure."""
    checks = tuple(check for probe in probes for check in (*_walled(probe), *_checks(probe)))
    others = dict.fromkeys(stranger.network for probe in probes for stranger in probe.strangers)
    claims = [f"isolated from {', '.join(others)}, by name and by address"] if others else []
    claims += [_WALLS] if any(probe.walls for probe in probes) else []
    problems = tuple(_problems(network, probes)) if any(not check.proven for check in checks) else ()
    error = _error(network, problems, checks)
    return ProofResult(
        proof=NAME,
        network=network,
        state=State.FAILED if error else State.SETTLED if checks else State.SKIPPED,
        checks=checks,
        reason="; ".join(claims) if checks and not error else "",
        error=error,
        problems=problems,
        seconds=max((check.seconds for check in checks if check.seconds), default=0.0),
    )


def _problems(network: str, probes: Sequence[Probe]) -> Iterator[Problem]:
    yield from of_probes(probes)
    for probe in probes:
        if probe.evidence.met:
            met = dict.fromkeys(f"{probe.strangers[number].network}" for number, _ in probe.evidence.met)
            what = f"its container finds containers of {', '.join(met)}"
            yield Problem("networks-joined", probe.name, what, network=network)
        if probe.evidence.leaks:
            yield Problem("cluster-ports-open", probe.name, _leak(probe), network=network)


def _leak(probe: Probe) -> str:
    leaks = sorted(probe.evidence.leaks.items())
    where = "; ".join(f"{address} {', '.join(ports)}" for address, ports in leaks)
    return f"packets of its containers leave the host, with its address, for {where}" if where else ""


def _error(network: str, problems: Sequence[Problem], checks: Sequence[Check]) -> str:
    failed = [check for check in checks if not check.proven]
    if not failed:
        return ""
    return error_text(
        f"the network {network} is not proven to be isolated: {len(failed)} of {len(checks)} checks failed",
        answer="\n".join(f"{check.host}: {check.what}: {check.detail}" for check in failed[:_LISTED]),
        cure=advice(problems) or "see the errors of the probes in the other proofs of these networks",
    )


def _walled(probe: Probe) -> Iterator[Check]:
    evidence = probe.evidence
    if not probe.walls:
        return
    leak = _leak(probe)
    unwatched = "" if evidence.watching else "its host could not watch outgoing packets (perl, packet(7))"
    if leak or evidence.error or unwatched or not evidence.walls:
        yield Check(probe.name, _WALLS, None, leak or evidence.error or unwatched or "not tried")
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
