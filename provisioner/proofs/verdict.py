"""Evaluates what the probes saw: pairs, and texts that name hosts and causes. Pure."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from types import MappingProxyType
from typing import TYPE_CHECKING

from provisioner.errors import error_text
from provisioner.inventory.engine_models import DATA_PORT
from provisioner.model import Pair, Problem, ProofResult, State
from provisioner.proofs import flows
from provisioner.proofs.advice import advice, both
from provisioner.proofs.evidence import FACTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from provisioner.controlplane.base import Closed
    from provisioner.model import Check
    from provisioner.proofs.evidence import Evidence

_HEADERS = 50  # bytes that the engine subtracts from the underlay's MTU, unless the network is encrypted
_WRONG = 3  # packets with a wrong checksum: fewer are an accident
_SHOWN = 3  # pairs that a problem's evidence lists
_LISTED = 6  # failed pairs that an error lists; the matrix of the report has all of them


def of_checks(
    proof: str,
    network: str,
    checks: Sequence[Check],
    what: str,
    problems: Iterable[Problem],
    *,
    otherwise: str = "see the errors of the probes",
) -> ProofResult:
    """Return the result of a proof (internal, encrypted, a single host's overlay) from one check on each host.

    what: the reason in the result if all checks passed. problems: why checks failed. otherwise: what to do next if no cause
    is known.
    """
    failed = [check for check in checks if not check.proven]
    error, found = "", tuple(problems) if failed else ()
    if failed:
        error = error_text(
            f"the network {network} is not proven to be {proof}: {len(failed)} of {len(checks)} checks failed",
            answer="\n".join(f"{check.host}: {check.detail}" for check in failed),
            cure=advice(found) or otherwise,
        )
    return ProofResult(
        proof=proof,
        network=network,
        state=State.FAILED if failed else State.SETTLED,
        checks=tuple(checks),
        reason="" if failed else what,
        error=error,
        problems=found,
        seconds=max((check.seconds for check in checks if check.seconds), default=0.0),
    )


def pairs(found: Mapping[str, Evidence]) -> tuple[Pair, ...]:
    """Return every ordered pair of hosts. A host's position in `found` is its number in the evidence."""
    numbers = {name: number for number, name in enumerate(found, start=1)}
    result = []
    for source, target in permutations(found, 2):
        seen, number = found[source].seen, numbers[target]
        times = {fact: seen.get((number, fact)) for fact in FACTS}
        if found[source].proven(number):
            flow, rtt = flows.flow(source, target, found, numbers), found[source].rtt.get(number)
        else:
            flow, rtt = flows.Flow(detail=_why(source, target, found, numbers)), None
        result.append(
            Pair(
                source,
                target,
                **times,
                detail=flow.detail,
                rtt=rtt,
                transfer=flow.state,
                throughput=flow.throughput,
                longest_gap=flow.gap,
            )
        )
    return tuple(result)


def _why(source: str, target: str, found: Mapping[str, Evidence], numbers: Mapping[str, int]) -> str:
    here, there = found[source], found[target]
    for name, evidence in ((source, here), (target, there)):
        if evidence.address is None:
            return f"no probe on {name}: {evidence.error or 'it did not start'}"
    if here.address == there.address:
        return f"{source} and {target} have the same address {here.address}"
    if here.seconds is None:
        return f"the probe on {source} ended early: {here.error or 'without a message'}"
    peer = numbers[target]
    lacks = {fact: reason for (of, fact), reason in here.lacks.items() if of == peer}
    return "; ".join(_words(source, target, found, numbers, lacks)) or "not proven in time"


def _words(
    source: str, target: str, found: Mapping[str, Evidence], numbers: Mapping[str, int], lacks: Mapping[str, str]
) -> list[str]:
    here, there, peer = found[source], found[target], numbers[target]
    words = [f"the name of {target} is not resolved: {lacks['name']}"] if "name" in lacks else []
    if "alias" in lacks and "name" not in lacks:
        words.append(f"the alias of {target} on the network is not resolved: {lacks['alias']}")
    if "address" in lacks:
        words.append(f"{there.address}: {lacks['address']}, {_direction(source, target, found, numbers)}")
        if there.seconds is None:
            words.append(f"the probe on {target} ended early: {there.error or 'without a message'}")
    elif "by_name" in lacks and "name" not in lacks:
        words.append(f"by name: {lacks['by_name']}, but {target} has {there.address}")
    if "full" in lacks and "address" not in lacks:
        lost = f"packets of {here.mtu} bytes don't pass, {lacks['full']}"
        words.append(f"MTU: {here.largest[peer]} of {here.mtu} bytes pass" if peer in here.largest else f"MTU: {lost}")
    return words


def _direction(source: str, target: str, found: Mapping[str, Evidence], numbers: Mapping[str, int]) -> str:
    """Say in which direction datagrams get lost. An echo needs both, and each probe reports whom it heard."""
    came, went = found[source].heard, found[target].heard
    if came is None or went is None:
        return "and one of the probes did not report what it received"
    back, there = numbers[target] in came, numbers[source] in went
    match there, back:
        case True, False:
            return f"packets pass from {source} to {target}, but not from {target} to {source}"
        case False, True:
            return f"packets pass from {target} to {source}, but not from {source} to {target}"
        case False, False:
            return "nothing passes in either direction"
        case _:
            return "although packets pass in both directions"


def trouble(
    network: str,
    found: Mapping[str, Evidence],
    result: Sequence[Pair],
    apart: Mapping[str, Sequence[str]],
    reunion: str,
    *,
    closed: Mapping[str, Closed] = MappingProxyType({}),
    data: int = DATA_PORT,
    headers: int = _HEADERS,
) -> tuple[str, tuple[Problem, ...]]:
    """Return the error for the pairs that are not proven, and its causes; ("", ()) if all are proven.

    apart: host -> the hosts that its engine does not know from gossip. reunion: how to reconnect these engines.
    closed: host -> what keeps its containers off the network, as seen after the proof. data: the UDP port of VXLAN.
    headers: bytes by which the MTU of the network is smaller than that of the underlay.
    """
    failed = [pair for pair in result if not pair.proven]
    if not failed:
        return "", ()
    details: dict[str, list[str]] = {}
    for pair in failed:
        details.setdefault(pair.detail, []).append(f"{pair.source} > {pair.target}")
    answer = [f"{', '.join(ways[:3])}{' ...' if len(ways) > 3 else ''}: {why}" for why, ways in details.items()]  # noqa: PLR2004
    if len(answer) > _LISTED:
        answer[_LISTED:] = [f"and {len(failed) - _LISTED} more"]
    answer += [
        f"the engine of {name} does not know {', '.join(strangers)} from gossip" for name, strangers in apart.items()
    ]
    later = {name: why.what for name, why in closed.items() if why != found[name].closed}
    answer += [f"{what} ({', '.join(names)})" for what, names in _together(later).items()]
    what = f"the network {network} is not proven: {len(failed)} of {len(result)} pairs failed"
    of_hosts = tuple(_of_hosts(network, found, closed))
    between = (
        *_between(network, found, failed, {name: (apart[name], reunion) for name in apart}, data),
        *_of_sizes(network, found, failed, headers),
        *_of_flows(network, found, failed),
    )
    text = error_text(what, answer="\n".join(answer), cure=both(of_hosts, between))
    return text, (*of_hosts, *between)


def _together(texts: Mapping[str, str]) -> dict[str, list[str]]:
    """Turn host -> text into text -> hosts."""
    hosts: dict[str, list[str]] = {}
    for name, text in texts.items():
        hosts.setdefault(text, []).append(name)
    return hosts


def _of_hosts(network: str, found: Mapping[str, Evidence], closed: Mapping[str, Closed]) -> Iterator[Problem]:
    """Yield the problems of hosts themselves. Nothing is known about their paths."""
    for name, evidence in found.items():
        problem = closed[name].problem if name in closed else evidence.problem
        if problem:
            yield replace(problem, host=name, network=network)


def _between(
    network: str,
    found: Mapping[str, Evidence],
    failed: Sequence[Pair],
    apart: Mapping[str, tuple[Sequence[str], str]],
    data: int,
) -> Iterator[Problem]:
    """Yield the problems between hosts whose probes ran. Of problems that follow from each other, only the first counts.

    apart: host -> the hosts that its engine does not know, and how to reconnect the engines.
    """
    reached = [pair for pair in failed if all(found[name].address for name in (pair.source, pair.target))]
    lost = [pair for pair in reached if pair.address is None]
    nameless = [pair for pair in reached if pair.name is None or pair.alias is None]
    stale = [pair for pair in reached if pair.by_name is None]
    if lost and apart:
        for name, (strangers, reunion) in apart.items():
            what = f"its engine does not know {', '.join(strangers)} from gossip"
            yield Problem(
                "engines-apart",
                name,
                what,
                {"reunion": reunion},
                target=strangers[0] if len(strangers) == 1 else "",
                network=network,
            )
    elif lost:
        yield _on(lost, Problem("overlay-blocked", "", "", {"port": data}, network=network))
    elif nameless:
        yield _on(nameless, Problem("names-unresolved", "", "", network=network))
    elif stale:
        yield _on(stale, Problem("name-stale", "", "", {"network": network}, network=network))


def _of_sizes(network: str, found: Mapping[str, Evidence], failed: Sequence[Pair], headers: int) -> Iterator[Problem]:
    """Yield the problem of pairs between which small packets pass, but none of full size."""
    small = [pair for pair in failed if pair.address is not None and pair.full is None]
    sizes = [size for evidence in found.values() for size in evidence.largest.values()]
    if small:
        values = {"network": network, "mtu": min(sizes) + headers} if sizes else {"network": network}
        yield _on(small, Problem("path-mtu", "", "", values, "" if sizes else "unmeasured", network=network))


def _of_flows(network: str, found: Mapping[str, Evidence], failed: Sequence[Pair]) -> Iterator[Problem]:
    """Yield the problems of connections. Wrong checksums explain why packets were lost, and transfers stalled."""
    wrong = {name for name, evidence in found.items() if sum(evidence.checksums.values()) >= _WRONG}
    lossy = [
        pair for pair in failed if pair.target in wrong and (pair.address is None or pair.transfer == flows.STALLED)
    ]
    if lossy:
        yield _on(lossy, Problem("offload", "", "", network=network))
    rest = [pair for pair in failed if pair not in lossy]
    if corrupt := [pair for pair in rest if pair.transfer == flows.CORRUPT]:
        yield _on(corrupt, Problem("data-corrupt", "", "", network=network))
    if stalled := [pair for pair in rest if pair.transfer == flows.STALLED]:
        yield _on(stalled, Problem("transfer-stalled", "", "", network=network))
    if dropped := [pair for pair in rest if pair.transfer == flows.DROPPED]:
        yield _on(dropped, Problem("connection-dropped", "", "", network=network))


def _on(pairs: Sequence[Pair], problem: Problem) -> Problem:
    """Return the problem with its place and its evidence filled in from these pairs."""
    host, target = _place(pairs)
    ways = ", ".join(f"{pair.source} > {pair.target}" for pair in pairs[:_SHOWN])
    more = f" and {len(pairs) - _SHOWN} more" if len(pairs) > _SHOWN else ""
    why = f": {pairs[0].detail}" if pairs else ""
    return replace(problem, host=host, target=target, evidence=f"{ways}{more}{why}")


def _place(pairs: Sequence[Pair]) -> tuple[str, str]:
    """Return both ends if all pairs are of one path, otherwise the one host that all have in common, if any."""
    common = set.intersection(*({pair.source, pair.target} for pair in pairs)) if pairs else set()
    if len(common) > 1:
        return pairs[0].source, pairs[0].target
    return next(iter(common), ""), ""
