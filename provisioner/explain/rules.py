"""Rules of the hosts' packet filters: the engine's rules that are missing, and other rules that drop packets of its containers."""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from provisioner.explain.overlays import GWBRIDGE, gateway, outbound
from provisioner.model import Problem
from provisioner.system import firewall
from provisioner.system.firewall import in_own_tables, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from provisioner.explain.base import Seen

_NO_BRIDGE_RULES = 27  # the first engine version that sets no rules for bridged packets
_ENGINE_CHAINS = ("DOCKER-FORWARD", "DOCKER-ISOLATION")  # targets of FORWARD: in engines 28 and later, in older engines
_ANYWHERE = IPv4Address("192.0.2.1")  # an address outside of the host that no rule names (TEST-NET-1)
_MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
_NO_RULES = re.compile(r'"iptables"\s*:\s*false')  # in daemon.json


def rules(seen: Seen) -> Iterator[Problem]:
    """Find missing rules of the engine, rules in both backends of iptables, and filtering of bridged packets."""
    for name, kernel in seen.observed.kernels.items():
        tables = {tool: _parsed(kernel.rules(tool)) for tool in ("iptables-legacy-save", "iptables-nft-save")}
        yield from _engine_rules(seen, name, tables)
        if all(_may_drop(kernel.rules(tool)) for tool in tables):
            evidence = " and ".join(f"{tool} shows {sum(map(len, of.values()))} rules" for tool, of in tables.items())
            yield Problem("iptables-split", name, evidence, {"host": name}, where="iptables-legacy and iptables-nft")
        if (
            kernel.setting("net.bridge.bridge-nf-call-iptables")
            and _major(seen, name) > _NO_BRIDGE_RULES - 1
            and _failed_local(seen, name)
        ):
            evidence = "net.bridge.bridge-nf-call-iptables is 1, and containers on one bridge do not reach each other"
            yield Problem("br-netfilter", name, evidence, {"host": name}, where="net.bridge.bridge-nf-call-iptables")


def _may_drop(lines: list[str]) -> bool:
    """Return whether rules or policies can drop packets. Rules that only accept, count or mark disturb no other rules."""
    return any(words[1:2] == ["DROP"] or {"DROP", "REJECT"} & set(words) for words in map(str.split, lines))


def _major(seen: Seen, name: str) -> int:
    first = seen.site.facts[name].engine_version.partition(".")[0]
    return int(first) if first.isascii() and first.isdigit() else 0


def _failed_local(seen: Seen, name: str) -> bool:
    return any(
        problem.id == "forward-blocked" and problem.host in {"", name}
        for result in seen.proofs
        for problem in result.problems
    )


def _parsed(lines: list[str]) -> dict[tuple[str, str], list[str]]:
    """Return (table, chain) -> its rules."""
    found: dict[tuple[str, str], list[str]] = {}
    table = ""
    for line in lines:
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            found.setdefault((table, line[1:].split(" ")[0]), [])
        elif line.startswith("-A "):
            found.setdefault((table, line.split(" ")[1]), []).append(line)
    return found


def _engine_rules(
    seen: Seen, name: str, tables: Mapping[str, Mapping[tuple[str, str], list[str]]]
) -> Iterator[Problem]:
    facts = seen.site.facts[name]
    sets_none = bool(_NO_RULES.search(facts.files.get("/etc/docker/daemon.json", "")))
    sets_none |= "--iptables=false" in facts.unit("docker.service").command
    if not facts.engine or sets_none or not any(tables.values()) or in_own_tables(facts.engine):
        return
    lacking = []
    forward = [rule for table in tables.values() for rule in table.get(("filter", "FORWARD"), ())]
    if not any(f"-j {chain}" in rule for chain in _ENGINE_CHAINS for rule in forward):
        lacking.append("FORWARD jumps to none of the engine's chains")
    if any(table.get(("filter", "DOCKER-FORWARD")) == [] for table in tables.values()):
        lacking.append("DOCKER-FORWARD is empty")
    nat = [
        rule
        for table in tables.values()
        for (of, chain), found in table.items()
        if of == "nat" and chain in {"PREROUTING", "POSTROUTING"}
        for rule in found
    ]
    if not any("-j DOCKER" in rule for rule in nat):
        lacking.append("PREROUTING (nat) does not jump to DOCKER")
    if not _masked(facts.networks.get(GWBRIDGE, {}), tables.values()):
        lacking.append(f"no rule of nat replaces the source addresses of {GWBRIDGE}")
    if lacking and not tables.keys() & seen.observed.kernels[name].failed.keys():
        evidence = f"{' and '.join(lacking)}, but the engine runs"
        yield Problem("firewall-reload", name, evidence, {"host": name}, where="iptables, the engine's chains")
    for tool in tables:
        yield from _drops_forwarded(seen, name, tool)


def _masked(gwbridge: Mapping[str, Any], tables: Iterable[Mapping[tuple[str, str], list[str]]]) -> bool:
    """Return whether what containers send out by this bridge gets the host's address, or need not get it."""
    subnet = gateway(gwbridge)
    if not subnet or (gwbridge.get("Options") or {}).get(_MASQUERADE, "true") != "true":
        return True
    rules = (rule for table in tables for (of, _), found in table.items() if of == "nat" for rule in found)
    masks = (words for words in map(firewall.words, rules) if {"MASQUERADE", "SNAT"} & set(words))
    return any("-s" not in words or str(subnet.network) in words for words in masks)


def _drops_forwarded(seen: Seen, name: str, tool: str) -> Iterator[Problem]:
    """Find a rule in front of the engine's rules that drops all forwarded packets, or all that containers send out.

    The second one may be intended.
    """
    facts = seen.site.facts[name]
    gateway = next((its.ip for on, its in facts.addresses if on == GWBRIDGE), IPv4Address("172.18.0.1"))
    outside = next((on for on, its in facts.addresses if its.ip == seen.site.advertise.get(name)), "eth0")
    packet = walk.Packet(GWBRIDGE, outside, gateway + 1, _ANYWHERE)
    end, rule = walk.end(walk.parse(seen.observed.kernels[name].rules(tool)), packet, "FORWARD")
    words = firewall.words(rule)
    everything = words[2:] in (("-j", "DROP"), ("-j", "REJECT")) or words[2:4] == ("-j", "REJECT")
    if end is walk.End.DROPPED and (everything or outbound(seen, name)):
        what = "all forwarded packets" if everything else "what containers on overlays send to the outside"
        evidence = f"the rule `{rule[:200]}` drops {what}, in front of the engine's rules"
        program = tool.removesuffix("-save")
        values = {"host": name, "tool": program, "rule": words[1:]}
        where = f"{name}: chain {words[1]} ({program})"
        yield Problem("forward-dropped", name, evidence, values, where=where, warns=not everything)


DETECTORS = (rules,)
