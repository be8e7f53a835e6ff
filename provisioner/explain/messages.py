"""Causes that the engine itself names: in the error of a probe that did not start, and in its log.

A line of a log may be old. It counts only if something on the host is wrong now that it explains.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from provisioner.explain import paths, subnets
from provisioner.explain.base import once
from provisioner.model import Problem
from provisioner.observe.kernel import Said
from provisioner.system.gossip import PORT
from provisioner.system.reading import DAEMON_JSON
from provisioner.system.swarm import MANAGERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.explain.base import Seen

_SHOWN = 240  # characters of a line of the log that the evidence shows
_ENGINES_WORDS = re.compile(r'\b(?:msg|error)="((?:[^"\\]|\\.)*)"')  # of logrus, with which the engine writes its log
_DOWN = "engine-down"  # as a symptom: the engine does not answer
_NOT_STARTED = frozenset({"probe-failed"})
_APART = frozenset({"engines-apart", "overlay-blocked", "names-unresolved"})
_UNHEARD = frozenset({"gossip-blocked", "gossip-udp"})  # the other program does not answer
_UNENCRYPTED = frozenset({"packets-readable", "overlay-blocked"})
_UNIT = f"docker.service and its drop-ins (systemctl edit --full docker), or remove the keys from {DAEMON_JSON}"


@dataclass(frozen=True)
class Meaning:
    """What a text of the engine means.

    symptoms: problems of the host, one of which makes a line in its log count. anywhere: problems of other hosts count, too.
    encrypted: only problems on encrypted networks count. logged: whether it counts in the log, too. port: the port of the message; 0: that of VXLAN.
    """

    cause: str
    symptoms: frozenset[str]
    variant: str = ""
    anywhere: bool = False
    encrypted: bool = False
    logged: bool = True
    port: int = 0


MEANINGS = {
    Said.NO_ADDRESS: Meaning("subnet-full", _NOT_STARTED),
    Said.NO_ADDRESS_LEFT: Meaning("subnet-full", _NOT_STARTED, anywhere=True),
    Said.ADDRESS_TAKEN: Meaning("leaked-address", _NOT_STARTED),  # a probe whose own address is taken gets another one
    Said.BRIDGE_FULL: Meaning("bridge-full", _NOT_STARTED),
    Said.VXLAN_EXISTS: Meaning("vxlan-exists", _NOT_STARTED, "journal"),
    Said.NO_VXLAN: Meaning("kernel-without", _NOT_STARTED, "vxlan"),
    Said.NO_MARK: Meaning("encrypted-u32", _UNENCRYPTED, encrypted=True),
    Said.GOSSIP_TAKEN: Meaning("port-taken", _APART | _UNHEARD | {"swarm-error", _DOWN}, port=PORT),
    Said.MANAGER_TAKEN: Meaning("port-taken", _APART | {"swarm-error", _DOWN}, port=MANAGERS),
    Said.VXLAN_TAKEN: Meaning("port-taken", _NOT_STARTED),  # the port of VXLAN
    Said.DISK_FULL: Meaning("engine-limited", _NOT_STARTED, "disk", logged=False),
    Said.FILES: Meaning("engine-limited", _NOT_STARTED, "files", logged=False),
    Said.TASKS: Meaning("engine-limited", _NOT_STARTED, "tasks", logged=False),
    Said.THREADS: Meaning("engine-limited", _NOT_STARTED, "tasks", logged=False),
    Said.MEMORY: Meaning("engine-limited", _NOT_STARTED, "memory", logged=False),
    Said.READ_ONLY: Meaning("engine-limited", _NOT_STARTED, "read-only", logged=False),
    Said.NO_PROGRAM: Meaning("runtime-missing", _NOT_STARTED, logged=False),
    Said.NO_SHIM: Meaning("runtime-missing", _NOT_STARTED, logged=False),
    Said.STATE_TOO_LARGE: Meaning("gossip-state", _APART),
    Said.NAME_LOST: Meaning("duplicate-hostname", _APART),
    Said.FLAG_CONFLICT: Meaning("flag-conflict", frozenset({_DOWN})),
    Said.LIVE_RESTORE: Meaning("live-restore", frozenset({_DOWN})),
}
_OF_NETWORKS = frozenset({"subnet-full", "leaked-address"})  # no matter on which host


def answered(seen: Seen) -> Iterator[Problem]:
    """Find causes in the errors with which engines refused to start a probe."""
    for symptom in _problems(seen):
        for said in Said if symptom.id in _NOT_STARTED else ():
            if said in symptom.evidence:
                yield from _problem(seen, said, symptom, symptom.evidence)


def logged(seen: Seen) -> Iterator[Problem]:
    """Find causes in the engines' logs, on hosts that have a problem which they explain."""
    for name, kernel in seen.observed.kernels.items():
        for line in kernel.engine_log:
            for said in (said for said in Said if said in line and MEANINGS[said].logged):
                if symptom := _symptom(seen, name, MEANINGS[said]):
                    yield from _problem(seen, said, replace(symptom, host=name), _shown(name, line, said))


def _shown(name: str, line: str, said: Said) -> str:
    """Return the part of a line around its known text."""
    words = next((words for words in _ENGINES_WORDS.findall(line) if said in words), line)
    begin = max(0, words.index(said) + len(said) - _SHOWN)
    return f"the engine's log on {name}: {'...' if begin else ''}{words[begin : begin + _SHOWN]}"


def _problems(seen: Seen) -> list[Problem]:
    return [*seen.findings, *(problem for result in seen.proofs for problem in result.problems)]


@once
def _on_paths(seen: Seen) -> tuple[Problem, ...]:
    return tuple(problem for detect in paths.DETECTORS for problem in detect(seen))


def _symptom(seen: Seen, name: str, meaning: Meaning) -> Problem | None:
    """Return the problem that the cause explains; None if there is none, or if the cause was found otherwise."""
    found = [*_problems(seen), *_on_paths(seen)]
    if any(problem.id == meaning.cause and problem.host in {"", name} for problem in found):
        return None
    if _DOWN in meaning.symptoms and name in seen.site.live and not seen.site.facts[name].engine:
        return Problem(_DOWN, name, "")
    for problem in found:
        of_host = meaning.anywhere or not problem.host or name in {problem.host, problem.target}
        network = seen.site.inventory.networks.get(problem.network)
        fits = not meaning.encrypted or (network and network.encrypted)
        fits = fits and (not meaning.anywhere or _may_be_full(seen, problem.network))
        if problem.id in meaning.symptoms and of_host and fits:
            return problem
    return None


def _may_be_full(seen: Seen, network: str) -> bool:
    """Return whether a line about a lack of addresses, which names no network, can be about this one. Some in use are unknown."""
    used, room = subnets.filled(seen, network)
    return 2 * used >= room


def _problem(seen: Seen, said: Said, symptom: Problem, evidence: str) -> Iterator[Problem]:
    meaning, network = MEANINGS[said], symptom.network
    host = "" if meaning.cause in _OF_NETWORKS or meaning.anywhere else symptom.host
    values = {"host": symptom.host, "network": network, "place": _UNIT, "path": DAEMON_JSON}
    values |= {"port": str(meaning.port or seen.site.inventory.data_path_port)}
    where = f"subnet of {network}" if meaning.cause in _OF_NETWORKS else f"{symptom.host}: engine"
    yield Problem(meaning.cause, host, evidence, values, meaning.variant, network=network, where=where)


DETECTORS = (answered, logged)
