"""Finds the causes of failures in the observations of a run: detectors find problems, then consequences are hidden. Pure.

losses: packets lost between two hosts. paths: what drops them. sizes: paths that are too narrow. peers: addresses of hosts, and routes
and entries for them. hops: packets lost inside an overlay.
settings: kernel settings, modules and routes. rules: packet filters. bridges: docker_gwbridge and full bridges.
devices: VXLAN devices and ports of overlays. interfaces: those of containers. forwarding: entries for containers on other hosts.
addresses: those that are in use twice. subnets: those that are full.
engines: engines and their store. messages: what engines say. names: names that containers do not resolve, or to a wrong address.
reach: containers that do not answer. balancing: services that do not. tables: what engines know from gossip. versions: known errors of engines.
hosts: hosts that dropped out or drifted.
overlays: what detectors look up about networks and containers.
Checks and proofs also find problems. A problem that another one explains at the same place is a consequence. It is counted, but
not reported as a cause. Problems without an explanation are reported with their evidence.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from provisioner import causes
from provisioner.causes.proofs import SYMPTOMS
from provisioner.explain import (
    addresses,
    balancing,
    bridges,
    devices,
    engines,
    fixes,
    forwarding,
    hops,
    hosts,
    interfaces,
    messages,
    names,
    paths,
    reach,
    rules,
    settings,
    subnets,
    tables,
    versions,
)
from provisioner.explain.base import Seen, few, once
from provisioner.explain.hops import firm, senders
from provisioner.explain.losses import concerned, losing, summaries
from provisioner.explain.well import well
from provisioner.model import Diagnosis, Missing, Problem, State
from provisioner.observe import Observed, Wanted
from provisioner.parallel import blamed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provisioner.explain.base import Detector
    from provisioner.model import ProofResult

__all__ = [
    "NOTHING",
    "Seen",
    "explain",
    "explained",
    "few",
    "firm",
    "losing",
    "observed",
    "of_failed_networks",
    "of_paths",
    "problems",
    "senders",
    "summaries",
    "suspected",
    "well",
]

NOTHING = Observed()
_Spot = tuple[str, ...]
_LAST = {"drift": 1, **dict.fromkeys(SYMPTOMS, 2), "unexplained": 3}  # sorted after known causes: `up` repairs drift
_UNREACHABLE = frozenset({"overlay-blocked", "names-unresolved"})  # problems of pairs without a connection
_INCOMPLETE = frozenset({"path-mtu"})  # of pairs between which small packets pass
_OF_HOSTS: tuple[Detector, ...] = (
    *engines.DETECTORS,
    *versions.DETECTORS,
    *settings.DETECTORS,
    *rules.DETECTORS,
    *bridges.DETECTORS,
    *devices.DETECTORS,
    *addresses.DETECTORS,
    *interfaces.DETECTORS,
    *forwarding.DETECTORS,
    *subnets.DETECTORS,
    *messages.DETECTORS,
    *tables.DETECTORS,
    *names.DETECTORS,
    *reach.DETECTORS,
    *balancing.DETECTORS,
)
OBSERVING: tuple[Detector, ...] = (*_OF_HOSTS, *paths.DETECTORS)
_OF_THE_ENGINE = frozenset(
    {"engine-uses", "engine-leaves", "network", "swarm", "engines", "package"}
)  # kinds of drift with which a network is not shared; without iptables, for example, no container starts, or none resolves names
_NOT_SHARED = frozenset({"probe-failed", "engines-apart", "overlay-blocked", "names-unresolved"})
_SAME_NAME = "duplicate-hostname"
_ELSEWHERE = frozenset({"fdb-stale", _SAME_NAME})
# An engine that advertises another address gets other entries, and its log says that its name in the gossip was taken. A network that differs
# is no reason for either. And if two hosts really have one name, which is reported without a host, no drift is the reason.
_AFTER_DRIFT = {kind: _NOT_SHARED | (_ELSEWHERE if kind != "network" else set()) for kind in _OF_THE_ENGINE}
_OF_THE_STORE = frozenset({"store-no-leader"})
# Large packets between stores and managers are lost, too. What blocks an overlay, and so explains `mtu`, does not explain these.
_NARROW, _OF_LARGE_PACKETS = "mtu", frozenset({"engine-hangs", "store-hangs", "store-no-leader", "probe-failed"})
# Engines that lose their store for a moment lose names, start no probe or hang, on any host. If the store loses endpoints, engines on any
# host may lose names. Nor do engines answer while their swarm has no leader, after its leader was blocked.
_DISTURB = frozenset({"store-blocked", "store-no-leader", "endpoint-lost", "manager-blocked"})
_DISTURBED = frozenset({"names-unresolved", "probe-failed", "engine-hangs"})
_OF_A_PAIR = frozenset(
    {"vxlan-blocked", "gossip-blocked", "gossip-udp"}
)  # ports that only overlays use: see `explained`
_OF_A_PATH = _OF_A_PAIR | {"underlay-blocked"}  # not of others of its ends
# A device that is set down loses its own entries. Those of other hosts for its containers stay.
_FLUSHED = ("vxlan-lost", "fdb-lost")
_OF_THE_SWARM = "swarm-leaderless"  # the host that reports it is one of many
# Proofs report this problem wherever it exists. So its consequences are explained by it, and not by its causes.
_SEEN = "overlay-blocked"
_LOCATED = "lost-in-overlay"
_LOSSES = frozenset({"packet-loss", "vxlan-blocked", "gossip-blocked", "gossip-udp"})
_NO_PROBE = frozenset({"probe-failed"})  # problems of hosts on which no probe starts


@once
def problems(seen: Seen) -> list[Problem]:
    """Return all problems that checks, observations and proofs found, without duplicates."""
    found = [*seen.findings, *observed(seen), *(problem for detect in hosts.DETECTORS for problem in detect(seen))]
    found += [*_followed(seen), *seen.kept]
    found += [problem for result in seen.proofs for problem in result.problems]
    return [
        names.informed(seen, paths.informed(seen, each))
        for each in {_key(each): each for each in reversed(found)}.values()
    ][::-1]


def _followed(seen: Seen) -> list[Problem]:
    return [problem for detect in hops.DETECTORS for problem in _detected(detect, seen)]


def of_failed_networks(seen: Seen) -> tuple[Problem, ...]:
    """Return what observations show of networks whose proofs have failed. A later observation may not: their probes have ended."""
    networks = {result.network for result in seen.proofs if result.state is State.FAILED}
    return tuple(problem for problem in (*observed(seen), *_followed(seen)) if problem.network in networks)


@once
def observed(seen: Seen) -> list[Problem]:
    """Return the problems in the observations. If there are two observations, only those in both."""
    found = [problem for detect in OBSERVING for problem in _detected(detect, seen)]
    if seen.earlier is None:
        return found
    before = observed(replace(seen, observed=seen.earlier, earlier=None))
    places, ends = (frozenset[_Spot]().union(*map(of, before)) for of in (_places, _ends))
    return [problem for problem in found if _places(problem) & (places | ends) or _ends(problem) & places]


def suspected(seen: Seen) -> Wanted:
    """Return what to observe again, since it shows problems.

    Paths are tested again from and to hosts with problems, which are read again, too. If a host itself shows a problem, all are
    read: many problems are differences between hosts.
    """
    every = frozenset(seen.site.live)
    found = [problem for detect in paths.DETECTORS for problem in _detected(detect, seen)]
    ends = concerned(seen).union(seen.observed.underlay.silent, *((each.host, each.target) for each in found))
    hosts = (ends & every or every) if found else frozenset[str]()
    return Wanted(hosts, every if any(_detected(detect, seen) for detect in _OF_HOSTS) else hosts)


def _detected(detect: Detector, seen: Seen) -> list[Problem]:
    """Run one detector. If a host's data trigger a bug in it, that host is skipped and reported."""
    found, bug = blamed(
        tuple(seen.observed.kernels), lambda names: list(detect(seen.only(names))), "looking for causes"
    )
    return [*found, Problem("unexplained", bug.host, bug.what)] if bug else found


def _place(problem: Problem) -> tuple[str, ...]:
    return problem.id, problem.host, problem.target, problem.network


def _places(problem: Problem) -> set[_Spot]:
    """Return where the problem is: on a host or path, and on the host that drops the packets, on whichever paths it does."""
    at = str(problem.values.get("at", ""))
    return {_spot(problem, problem.host, problem.target), *([_spot(problem, at)] if at else ())}


def _ends(problem: Problem) -> set[_Spot]:
    """Return the ends of the problem's path. An observation of more paths, or of fewer, may name one of them alone."""
    return {_spot(problem, host) for host in (problem.host, problem.target)} if problem.target else set()


def _spot(problem: Problem, host: str, target: str = "") -> _Spot:
    """Return a place with the kind of the problem, and its network, namespaces and device: in others, it is another problem.

    Whether all packets or some are lost depends on chance, and so does which ports lose some.
    """
    kind = "packet-loss" if problem.id in _LOSSES else problem.id
    values = (str(problem.values.get(name, "")) for name in ("space", "device", "holder"))
    return kind, host, target, problem.network, *values


def _key(problem: Problem) -> tuple[str, ...]:
    return *_place(problem), problem.evidence


def of_paths(seen: Seen) -> bool:
    """Return whether packets that are lost between hosts, and hosts that dropped out, explain everything.

    If so, newer facts about the hosts would change nothing.
    """
    detected = [problem for detect in paths.DETECTORS for problem in _detected(detect, seen)]
    known = {_place(problem) for problem in [*detected, *hosts.lost(seen)]}
    return all(_place(problem) in known for cause in explain(seen) for problem in cause.problems)


@once
def explain(seen: Seen) -> tuple[Diagnosis, ...]:
    """Return the causes, the most fundamental first. Cures that contradict each other are kept apart.

    Errors precede warnings, and known causes precede drift and what only proofs see. Causes that fewer of the other causes could
    explain precede others, then those that explain more failed pairs, those that explain something directly, and those that fewer
    catalogue entries explain.
    """
    found = problems(seen)
    closure = _closure()
    reasons = {id(problem): _reasons(problem, found, closure) for problem in found}
    roots = [problem for problem in found if not reasons[id(problem)]]
    groups: dict[tuple[object, ...], list[Problem]] = {}
    for problem in roots:
        groups.setdefault(_group_key(problem), []).append(problem)
    diagnoses = [_diagnosis(group, found, seen.proofs, closure) for group in groups.values()]
    order, ids = list(causes.CAUSES), {diagnosis.id for diagnosis in diagnoses}
    among = {name: after for name, after in closure.items() if name in ids}

    def key(d: Diagnosis) -> tuple[int, ...]:
        indirect = not any(problem.id in causes.CAUSES[d.id].explains for problem in d.explained)
        return (
            causes.warns(d),
            _LAST.get(d.id, 0),
            _depth(d, among),
            -d.pairs,
            indirect,
            _depth(d, closure),
            order.index(d.id),
        )

    return fixes.apart(sorted(diagnoses, key=key))


def explained(found: Iterable[Problem], missing: Iterable[Missing], *, late: bool = False) -> bool:
    """Return whether these problems explain everything that is missing, each on its network.

    If a port that only overlays use is blocked between two hosts, this explains their pair alone. Any other problem between two hosts
    explains all pairs of both, since the store may be lost, too. late: pairs had time to connect. Then the blocked port explains all
    pairs of both, too, and a pair is also explained by what loses only large packets.
    """
    closure, lost = _closure(), _UNREACHABLE | (_INCOMPLETE if late else set())
    return all(
        any(
            _related(problem, Problem("overlay-blocked", host, "", target=other, network=network))
            for problem in found
            if (lost if other else _NO_PROBE) & closure[problem.id]
            and (late or not other or not _elsewhere(problem, {host, other}))
        )
        for host, other, network in missing
    )


def _elsewhere(problem: Problem, pair: set[str]) -> bool:
    return problem.id in _OF_A_PAIR and bool(problem.target) and {problem.host, problem.target} != pair


@cache
def _closure() -> dict[str, frozenset[str]]:
    """Cause -> all its consequences, direct and indirect."""
    direct = {cause.id: frozenset(cause.explains) for cause in causes.CAUSES.values()}
    found = dict(direct)
    for _ in range(len(direct)):
        wider = {
            name: of.union(*(found[other] for other in of - {_SEEN} if other in found)) for name, of in found.items()
        }
        if wider == found:
            break
        found = wider
    return {name: of - {name} for name, of in found.items()}


def _reasons(problem: Problem, found: Iterable[Problem], closure: Mapping[str, frozenset[str]]) -> list[Problem]:
    """Return the problems that explain this one: its causes, and the same problem of the whole host if this one names a network."""
    return [
        other
        for other in found
        if (_follows(problem, other, closure) and other.id not in closure[problem.id] and _related(other, problem))
        or (problem.network and _place(other) == (problem.id, problem.host, problem.target, ""))
        or (problem.network and not other.network and problem.id == other.id == _OF_THE_SWARM)
    ]


def _follows(problem: Problem, cause: Problem, closure: Mapping[str, frozenset[str]]) -> bool:
    """Return whether a problem of this kind can follow from a cause."""
    if problem.variant in causes.of(problem).evident:
        return False
    if cause.id == _NARROW and cause.variant != "device" and problem.id in _OF_LARGE_PACKETS:
        return True
    if cause.id == "drift":
        by_name = problem.id == _SAME_NAME and not problem.host
        return problem.id in _AFTER_DRIFT.get(str(cause.values["kind"]), ()) and not by_name
    if problem.id == "drift":
        names = {name for each in (cause.id, *closure[cause.id]) for name in causes.CAUSES[each].drifts}
        return problem.id in closure[cause.id] or bool(names & {problem.values["kind"], problem.values["target"]})
    if problem.id == _LOCATED:  # it says where, and what loses packets between two hosts says why
        return _SEEN in closure[cause.id] and cause.id != _LOCATED
    return problem.id in closure[cause.id]


def _related(cause: Problem, consequence: Problem) -> bool:
    """Return whether a cause can affect the place of a consequence.

    It can if they share a host, or one of them concerns the whole cluster. If both name a network, it must be the same one.
    """
    if cause.network and consequence.network and cause.network != consequence.network:
        return False
    if (
        cause.id == _OF_THE_SWARM
        or consequence.id in _OF_THE_STORE
        or (cause.id in _DISTURB and consequence.id in _DISTURBED)
        or (consequence.id == "drift" and consequence.values["kind"] == "store")
    ):
        return True  # what one host says of the store concerns all hosts
    here, there = {cause.host, cause.target} - {""}, {consequence.host, consequence.target} - {""}
    if consequence.id == "drift":  # a manager's drift can be about another host's node
        there |= {str(consequence.values["target"])} & here
    if cause.target and consequence.target and consequence.id in _OF_A_PATH:
        return here == there
    if (cause.id, consequence.id) == _FLUSHED:
        return cause.host == consequence.host
    return not here or not there or bool(here & there)


def _group_key(problem: Problem) -> tuple[object, ...]:
    """Return the key under which problems are reported as one. Each path is separate.

    On several hosts, it is the same cause if the cure is the same, apart from the host that the cure names. Several networks of a host
    or path have the same cause.
    """
    if problem.target:
        return problem.id, problem.host, problem.target
    anywhere = replace(problem, values={**problem.values, "host": ""}) if "host" in problem.values else problem
    cure = problem.values.get("check") or causes.cure(anywhere)  # the cures of lost hosts contain their addresses
    return problem.id, cure, problem.variant, problem.where if not problem.host else ""


def _diagnosis(
    group: list[Problem], found: Iterable[Problem], proofs: Iterable[ProofResult], closure: Mapping[str, frozenset[str]]
) -> Diagnosis:
    after = closure[group[0].id]
    explained = tuple(
        problem
        for problem in found
        if any(_follows(problem, cause, closure) and _related(cause, problem) for cause in group)
    )
    names = {name for problem in group for name in (problem.host, problem.target) if name}
    networks = {problem.network for problem in group}
    kinds = after | {group[0].id} | {problem.id for problem in explained}  # what follows from drift depends on its kind
    return Diagnosis(tuple(group), explained, _failure_count(proofs, names, networks, kinds))


def _failure_count(
    proofs: Iterable[ProofResult], names: set[str], networks: set[str], kinds: frozenset[str] | set[str]
) -> int:
    """Count the failed pairs and checks in proofs with a problem in `kinds`, on these hosts and networks."""
    count = 0
    for result in proofs:
        if result.state is not State.FAILED or not {problem.id for problem in result.problems} & kinds:
            continue
        if "" not in networks and result.network not in networks:
            continue
        count += sum(
            not pair.proven and (not names or bool({pair.source, pair.target} & names)) for pair in result.pairs
        )
        count += sum(not check.proven and (not names or check.host in names) for check in result.checks)
    return count


def _depth(diagnosis: Diagnosis, closure: Mapping[str, frozenset[str]]) -> int:
    """Return how many causes in `closure` could explain it; 0: the most fundamental."""
    return sum(diagnosis.id in after for after in closure.values())
