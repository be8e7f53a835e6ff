"""The proof that the engine's embedded DNS server forwards external names to the resolvers of `dns`.

The overlay's proof covers the names and aliases of containers. Here, the probes query 127.0.0.11 for a name that only an
external resolver can know. They also query each resolver directly, so the result says which of them they do not reach.
Tested with 20.10.5: if no resolver answers, 127.0.0.11 does not answer at all. It gives each resolver four seconds, in order.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provisioner.errors import error_text
from provisioner.model import Check, Problem, ProofResult, State
from provisioner.proofs.advice import advice
from provisioner.proofs.base import joinable
from provisioner.proofs.evidence import EMBEDDED
from provisioner.proofs.probe import Outside

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from provisioner.controlplane import Site
    from provisioner.inventory import Dns, Inventory, Network
    from provisioner.proofs.base import Seen
    from provisioner.proofs.evidence import Evidence
    from provisioner.proofs.probe import Task

NAME = "dns"
FORWARDS, SEARCH, OPTIONS = "external names", "search", "options"
_REFUSALS = {"SERVFAIL", "REFUSED"}


class DnsProof:
    name = NAME
    title = "the engine resolves external names with the resolvers of `dns`"

    def networks(self, inventory: Inventory) -> tuple[str, ...]:
        forwarded = [network.name for network in joinable(inventory) if not network.internal]
        return tuple(forwarded) if inventory.dns.servers else ()

    def needs(self, site: Site, task: Task) -> Task:
        return replace(task, outside=outside(site.inventory.dns, site.inventory.networks[task.network], task.run))

    def result(self, seen: Seen) -> ProofResult | None:
        evidence = {probe.name: probe.evidence for probe in seen.probes}
        question = seen.task.outside
        return result(seen.site.inventory.dns, seen.network, question, evidence) if question else None


def outside(asked: Dns, network: Network, run: str) -> Outside | None:
    """Return what to query on a network; None if nothing is forwarded. The engine forwards nothing to IPv6 resolvers."""
    if not asked.servers or network.internal:  # tested: the engine forwards no queries of an internal network
        return None
    resolvers = tuple(str(server) for server in asked.servers if server.version == 4)  # noqa: PLR2004
    # RFC 6761: resolvers know that this domain does not exist, so they do not forward the query.
    name, kind = (asked.check, "address") if asked.check else (f"provisioner-{run}.invalid", "answer")
    return Outside(name, kind, resolvers)


def result(asked: Dns, network: str, question: Outside, found: Mapping[str, Evidence]) -> ProofResult:
    """Return the result from the evidence of a network's probes. Pure."""
    checks = tuple(check for host, evidence in found.items() for check in _checks(asked, question, host, evidence))
    error, problems = _trouble(network, question, found, checks)
    return ProofResult(
        proof=NAME,
        network=network,
        state=State.FAILED if error else State.SETTLED,
        checks=checks,
        reason=f"external names are forwarded to {', '.join(question.resolvers)}{_deaf(question, found)}",
        error=error,
        problems=problems,
        seconds=max((check.seconds for check in checks if check.seconds), default=0.0),
    )


def _checks(asked: Dns, question: Outside, host: str, evidence: Evidence) -> Iterator[Check]:
    seconds, answer = evidence.outside.get(EMBEDDED, (None, ""))
    why = evidence.silent.get(EMBEDDED) or _no_probe(evidence)
    yield Check(host, FORWARDS, seconds, f"{question.name}: {answer or why}")
    for what, wanted in ((SEARCH, asked.search), (OPTIONS, asked.options)):
        words = evidence.conf.get(what, ())
        if wanted:
            there = set(wanted) <= set(words)
            yield Check(host, what, evidence.seconds if there else None, f"resolv.conf has {' '.join(words) or 'none'}")


def _no_probe(evidence: Evidence) -> str:
    return f"no probe: {evidence.error or 'it ended early'}"


def _deaf(question: Outside, found: Mapping[str, Evidence]) -> str:
    """Name the resolvers that do not answer on a host where another resolver does."""
    silent = [
        f"{server} does not answer containers of {host} ({evidence.silent[server]})"
        for host, evidence in found.items()
        for server in question.resolvers
        if server in evidence.silent and EMBEDDED in evidence.outside
    ]
    return "; " + "; ".join(silent) if silent else ""


def _trouble(
    network: str, question: Outside, found: Mapping[str, Evidence], checks: Sequence[Check]
) -> tuple[str, tuple[Problem, ...]]:
    """Return the error's text and its causes, one for each failed host; ("", ()) if none failed."""
    failed = [check for check in checks if not check.proven]
    if not failed:
        return "", ()
    problems = _together(
        [_problem(network, question, host, found[host]) for host in dict.fromkeys(c.host for c in failed)]
    )
    answer = []
    for problem in problems:
        what = ", ".join(f"{check.what}: {check.detail}" for check in failed if check.host == problem.host)
        evidence = found[problem.host]
        direct = [f"{server} itself: {_said(server, evidence)}" for server in question.resolvers if evidence.address]
        answer.append("; ".join([f"{problem.host}: {what}", *direct]))
    what = f"the engines' DNS on {network} is not proven: it fails on {len(problems)} of {len(found)} hosts"
    text = error_text(what, answer="\n".join(answer[:6]), cure=advice(problems))
    return text, tuple(replace(problem, evidence=line) for problem, line in zip(problems, answer, strict=True))


def _said(server: str, evidence: Evidence) -> str:
    return evidence.outside[server][1] if server in evidence.outside else evidence.silent.get(server, "not queried")


def _problem(network: str, question: Outside, host: str, evidence: Evidence) -> Problem:
    """Return the cause on one host, according to its own probe."""
    if not evidence.address:
        return Problem("probe-failed", host, "", {"hosts": host}, "first", network=network)
    resolvers = ", ".join(question.resolvers)
    words = [evidence.silent.get(server, "") for server in question.resolvers]
    if EMBEDDED in evidence.outside or any(server in evidence.outside for server in question.resolvers):
        return Problem("resolvers-outdated", host, "", network=network)
    named = question.kind == "address"
    if named and {"NXDOMAIN", "no address"} & set(words):
        return Problem("name-unknown", host, "", {"name": question.name}, network=network)
    if _REFUSALS & set(words):
        values = {"resolvers": resolvers, "name": question.name}
        return Problem("resolver-refuses", host, "", values, "name" if named else "", network=network)
    return Problem("resolver-silent", host, "", {"hosts": host, "resolvers": resolvers}, network=network)


def _together(problems: Sequence[Problem]) -> list[Problem]:
    """Return these problems with the names of all hosts that share a cause in its values."""
    hosts: dict[tuple[str, str], list[str]] = {}
    for problem in problems:
        hosts.setdefault((problem.id, problem.variant), []).append(problem.host)
    return [
        replace(problem, values={**problem.values, "hosts": ", ".join(hosts[problem.id, problem.variant])})
        for problem in problems
    ]
