"""Names of running containers as containers on other hosts resolve them: unknown, or with an address that is not the container's;
and containers that the store no longer knows.

A new container's name may be known all the same, so the proofs do not find this.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from provisioner.controlplane import networks
from provisioner.explain.base import few
from provisioner.explain.overlays import names_of, overlays, settled, within
from provisioner.model import Problem
from provisioner.system import attached

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from provisioner.explain.base import Seen
    from provisioner.observe.kernel import Kernel
    from provisioner.system.attached import Attachment

_ELSEWHERE = frozenset({"nodes-unexamined", "node-left-out"})  # containers may run on nodes that were not read
_BOTH = 2  # answers about one container, if both of its names are known


@dataclass(frozen=True)
class Asked:
    """What the DNS server of a container said about containers on another host.

    containers: all on the other host, once for each of their networks. said: name -> the addresses in each answer.
    """

    host: str
    own: Attachment
    there: str
    containers: Sequence[Attachment]
    said: Mapping[str, tuple[frozenset[str], ...]]

    @property
    def others(self) -> list[Attachment]:
        """The containers on the network about which it was asked."""
        return [each for each in self.containers if each.network == self.own.network]


def _asked(seen: Seen) -> Iterator[Asked]:
    """Yield what each DNS server said that knows its own container."""
    running = {host: list(attached.named(seen.site.facts[host])) for host in seen.site.live}
    for host, kernel in seen.observed.kernels.items():
        for own in running.get(host, ()):
            said = kernel.resolved.get(own.address, {})
            for there, those in running.items() if said.get(own.name) != () else ():
                if there != host:
                    yield Asked(host, own, there, those, said)


def unknown(seen: Seen) -> Iterator[Problem]:
    """Find containers whose names a container on another host does not resolve, while it resolves its own.

    Containers that are gone by now, or have another address, do not count. If it resolves none, and new containers on its host do, its
    engine has lost the store for this container: a call failed that the engine does not repeat (observed with 20.10 in kv mode).
    """
    by_asker: dict[tuple[str, str], list[Asked]] = defaultdict(list)
    for asked in _asked(seen):
        if asked.others:
            by_asker[asked.host, asked.own.id].append(asked)
    for (host, _), each in by_asker.items():
        own = each[0].own
        found = [(asked, names) for asked in each if (names := sorted(_lacking(asked)))]
        alone = all(len(_lacking(asked)) == len(asked.others) for asked in each) and _named(seen, host, own.network)
        if alone and seen.site.control == "kv":
            missing = few([f"{name} on {asked.there}" for asked, names in found for name in names])
            evidence = (
                f"{own.name} on {host} resolves its own name, and not {missing}; new containers on {host} resolve names"
            )
            where = f"DNS of {own.name}"
            yield Problem(
                "names-unresolved", host, evidence, {"name": own.name}, "alone", network=own.network, where=where
            )
            continue
        for asked, names in found:
            yield _problem(seen, asked, names)


def _lacking(asked: Asked) -> list[str]:
    return [each.name for each in asked.others if asked.said.get(each.name) == ()]


def _named(seen: Seen, host: str, network: str) -> bool:
    """Return whether new containers on a host resolved names of a network in a proof."""
    pairs = [
        pair
        for result in seen.proofs
        if (result.proof, result.network) == ("overlay", network)
        for pair in result.pairs
    ]
    ours = [pair for pair in pairs if pair.source == host]
    return bool(ours) and all(pair.name is not None for pair in ours)


def mute(seen: Seen) -> Iterator[Problem]:
    """Find containers whose DNS server answers nothing."""
    for host in seen.site.live:
        for own in attached.named(seen.site.facts[host]):
            if host in seen.observed.kernels and own.address in seen.observed.kernels[host].mute:
                evidence = (
                    f"the engine's DNS server in {own.name} on {host} answers no question, not even for its own name"
                )
                values, where = {"name": own.name}, f"DNS of {own.name}"
                yield Problem("names-unresolved", host, evidence, values, "silent", network=own.network, where=where)


def _problem(seen: Seen, asked: Asked, lacking: list[str]) -> Problem:
    host, own = asked.host, asked.own
    evidence = f"{own.name} on {host} resolves its own name, and not {few(lacking)} on {asked.there}"
    number = str(seen.site.facts[host].networks.get(own.network, {}).get("Id", ""))
    table = seen.observed.kernels[host].tables.networks.get(number)
    if table and all(table.named(each.address) for each in asked.others if each.name in lacking):
        evidence += f", although the gossip tables of {host} have these names"
    return Problem(
        "names-unresolved",
        host,
        evidence,
        target=asked.there,
        network=own.network,
        where=f"DNS of {own.name}",
    )


def informed(seen: Seen, problem: Problem) -> Problem:
    """Return a problem of a proof with the cure for a host whose engine no longer learns names from the store.

    Its probe resolves no other name, although a third host resolves each of them, so the store has it.
    """
    if problem.id != "names-unresolved" or problem.variant or problem.target or seen.site.control != "kv":
        return problem
    of_network = (pair for result in seen.proofs if result.network == problem.network for pair in result.pairs)
    found = [pair for pair in of_network if pair.address is not None]
    own = [pair for pair in found if pair.source == problem.host]
    others = {pair.target for pair in found if pair.source != problem.host and pair.name is not None}
    if not own or any(pair.name is not None for pair in own) or not {pair.target for pair in own} <= others:
        return problem
    return replace(problem, variant="unwatched", evidence=f"{problem.evidence}; other hosts resolve these names")


def unstored(seen: Seen) -> Iterator[Problem]:
    """Find running containers whose endpoints the store does not have: engines that read it no longer know their names.

    Containers that started seconds ago do not count: the store was read before.
    """
    site = seen.site
    if site.control != "kv" or not networks.endpoints_known(site):
        return
    stored, known = {each.id for host in site.live for each in site.backend.attached(site.facts[host])}, settled(seen)
    missing: dict[tuple[str, str], set[str]] = defaultdict(set)
    for host in site.live:
        for each in attached.present(site.facts[host]):
            if each.endpoint and each.endpoint not in stored and (host, each.network, each.address) in known:
                missing[host, each.network].add(each.name)
    for (host, network), names in missing.items():
        evidence = (
            f"the store has no endpoint of {few(sorted(names))}, which {'runs' if len(names) == 1 else 'run'} on {host}"
        )
        values = {"host": host, "names": " ".join(map(shlex.quote, sorted(names)))}
        yield Problem(
            "endpoint-lost", host, evidence, values, network=network, where=f"the store's endpoints of {network}"
        )


@dataclass(frozen=True, order=True)
class Wrong:
    """A name that resolves to wrong addresses. right: the address of the container that has the name."""

    network: str
    host: str
    own: str
    there: str
    name: str
    right: str
    answered: tuple[str, ...]


def stale(seen: Seen) -> Iterator[Problem]:
    """Find names of running containers that resolve to an address that the container does not have.

    Names and addresses change when a container restarts. So only what is wrong in both observations is reported.
    """
    found = _wrong(seen)
    if seen.earlier is not None:
        found &= _wrong(replace(seen, observed=seen.earlier, earlier=None))
    groups: dict[tuple[str, str, str, str], list[Wrong]] = defaultdict(list)
    for each in sorted(found):
        groups[each.network, each.host, each.own, each.there].append(each)
    for (network, host, own, there), those in groups.items():
        texts = [f"{each.name} ({each.right}) to {' and '.join(each.answered)}" for each in those]
        evidence = (
            f"{own} on {host} resolves names of {there} to addresses that their containers do not have: {few(texts)}"
        )
        values = {"network": network}
        yield Problem("name-stale", host, evidence, values, target=there, network=network, where=f"DNS of {own}")


def _wrong(seen: Seen) -> set[Wrong]:
    held = {host: _held(kernel) for host, kernel in seen.observed.kernels.items()}
    listed = {host: {address for _, address in names_of(seen, host)} for host in seen.site.live}
    anyone = set().union(*held.values(), *listed.values())
    whole = _whole(seen, held)
    found = set()
    for asked in _asked(seen):
        entry = overlays(seen, asked.host).get(asked.own.network, {})
        here = held.get(asked.there, set())
        for each in asked.others:
            right = {one.address for one in asked.containers if one.id == each.id}
            inside = [{a for a in answer if within(entry, a)} for answer in asked.said.get(each.name, ())]
            wrong = _not_of(right, inside, anyone, whole=whole)
            # if the engine's list is older than a restart of the container, nothing is known
            if wrong and each.address in here and not wrong & here - listed[asked.there]:
                place = (asked.own.network, asked.host, asked.own.name, asked.there)
                found.add(Wrong(*place, each.name, each.address, tuple(sorted(wrong))))
    return found


def _not_of(right: set[str], answers: list[set[str]], anyone: set[str], *, whole: bool) -> set[str]:
    """Return the addresses in the answers about a container that are wrong.

    right: its addresses. anyone: those of all containers. Another container may have the name as an alias, so its address is wrong
    only if no answer has the right one. whole: whether `anyone` is complete.
    """
    said = set().union(*answers)
    if len(answers) == _BOTH and all(answer and not answer & right for answer in answers):
        return said
    return said - right - anyone if whole or not said & right else set()


def _held(kernel: Kernel) -> set[str]:
    """Return all addresses in the containers' namespaces of a host, with the virtual ones of services."""
    return {
        str(info["local"])
        for space in kernel.spaces.values()
        for entry in space.addresses
        for info in entry.get("addr_info") or ()
        if info.get("family") == "inet"
    }


def _whole(seen: Seen, held: Mapping[str, set[str]]) -> bool:
    """Return whether all containers are known: each host was read, and its namespaces have what its engine lists."""
    if seen.lost or any(problem.id in _ELSEWHERE for problem in seen.findings):
        return False
    return all(
        host in held and {each.address for each in attached.named(seen.site.facts[host])} <= held[host]
        for host in seen.site.live
    )


def replaced(seen: Seen) -> Iterator[Problem]:
    """Find containers that ask another DNS server than the engine's, which alone knows the names of containers."""
    for host, kernel in seen.observed.kernels.items():
        names = {each.id: each.name for each in attached.running(seen.site.facts[host])} if kernel.resolvers else {}
        found = {name: kernel.resolvers[each] for each, name in sorted(names.items()) if each in kernel.resolvers}
        if found:
            evidence = f"/etc/resolv.conf of {few([f'{name} ({server})' for name, server in found.items()])} does not name 127.0.0.11 first"
            restart = f"docker restart {shlex.join(found)}"
            yield Problem(
                "resolver-replaced", host, evidence, {"restart": restart}, where=f"{host}: {few(list(found))}"
            )


DETECTORS = (unstored, unknown, mute, stale, replaced)
