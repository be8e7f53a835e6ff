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
_TOLD = 6  # failures that an error lists
_WORDS = {"name": "its name is resolved", "address": "its address answers"}
_WALLS = "no packet leaves for the cluster's ports of other hosts"


class _Apart:
    name = NAME

    def result(self, seen: Seen) -> ProofResult | None:
        tried = any(probe.strangers or probe.walls for probe in seen.probes)
        return result(seen.network, seen.probes) if tried else None


class IsolationProof(_Apart):
    """Of networks of all hosts."""

    title = "containers find no container of another network, and reach no cluster port of another host"

    def networks(self, inventory: Inventory) -> tuple[str, ...]:
        """Those with another network to be kept from, or with a way to the ports of another host."""
        several = len(inventory.hosts) > 1
        shared = joinable(inventory)
        return tuple(each.name for each in shared if len(shared) > 1 or (several and not each.internal))

    def needs(self, site: Site, task: Task) -> Task:
        internal = site.inventory.networks[task.network].internal
        return replace(task, apart=True, walls=None if internal else walls(site))


class LocalIsolationProof(_Apart):
    """Of bridges."""

    title = "containers find no container of another bridge on their host"

    def networks(self, inventory: Inventory) -> tuple[str, ...]:
        """Those with another one on one of their hosts."""
        local = [each.name for each in inventory.networks.values() if not each.is_global]
        return tuple(name for name in local if kept_from(inventory, name))

    def needs(self, site: Site, task: Task) -> Task:  # noqa: ARG002
        return replace(task, apart=True)


def separable(network: Network) -> bool:
    """Whether the engine keeps containers of this local network from those of others of its kind."""
    return network.driver == "bridge" and not any("gateway_mode" in option for option in network.options)


def kept_from(inventory: Inventory, name: str) -> list[str]:
    """The networks from which containers of this one can be seen to be kept: of the same scope, on the same hosts."""
    network = inventory.networks[name]
    if network.is_global:
        found = joinable(inventory)
    else:
        found = [each for each in inventory.networks.values() if not each.is_global and separable(each)]
    names = [each.name for each in found if any(each.on(host) and network.on(host) for host in inventory.hosts)]
    return [each for each in names if each != name] if name in names else []


def accompanied(inventory: Inventory, asked: Asked) -> dict[str, Sequence[Proof]]:
    """What is asked, with one more network, of which nothing is asked, where isolation has nothing else to be tried with."""
    apart = [name for name, proofs in asked.items() if any(proof.name == NAME for proof in proofs)]
    alone = [found for name in apart if (found := kept_from(inventory, name)) and not set(found) & set(asked)]
    return {**asked, **{found[0]: () for found in alone}}


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
            what = f"its container meets containers of {', '.join(met)}"
            yield Problem("networks-joined", probe.name, what, network=network)
        if probe.evidence.leaks:
            what = f"what its containers send leaves it, with its own address, for {_leaked(probe)}"
            yield Problem("cluster-ports-open", probe.name, what, network=network)


def _leaked(probe: Probe) -> str:
    return "; ".join(f"{address} {', '.join(ports)}" for address, ports in sorted(probe.evidence.leaks.items()))


def _error(network: str, problems: Sequence[Problem], checks: Sequence[Check]) -> str:
    failed = [check for check in checks if not check.proven]
    if not failed:
        return ""
    return error_text(
        f"the network {network} is not proven to be kept from others: {len(failed)} of {len(checks)} tries failed",
        answer="\n".join(f"{check.host}: {check.what}: {check.detail}" for check in failed[:_TOLD]),
        cure=advice(problems) or "see what is said of the probes in the networks' own proofs",
    )


def _walled(probe: Probe) -> Iterator[Check]:
    evidence = probe.evidence
    if not probe.walls:
        return
    where = _leaked(probe)
    untold = "" if evidence.watching else "its host could not watch what leaves it (perl, packet(7))"
    if where or evidence.error or untold or not evidence.walls:
        detail = f"what its containers send leaves it, with its own address, for {where}" if where else ""
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
