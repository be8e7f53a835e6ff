"""Causes on paths between hosts: from lost packets to what drops them."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING

from provisioner.explain import devices, peers, reach, sizes
from provisioner.explain.base import few
from provisioner.explain.losses import NOISE, Lost, attempted, lost
from provisioner.model import Problem
from provisioner.observe import underlay

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from provisioner.explain.base import Seen
    from provisioner.observe.underlay import Path
    from provisioner.system.firewall import Rule

_GOSSIP = 7946
_ALL, _WHOLE = 100, 90  # percent; from this loss on, a port counts as blocked
_QUIET = frozenset(
    {"vxlan_rcv", "vxlan_err_lookup"}
)  # the kernel drops our datagrams here if all is well: their VNI is unused
_OF_OVERLAYS = frozenset({"overlay-blocked", "transfer-stalled", "path-mtu", "connection-dropped"})
_BLOCKED = "overlay-blocked"
_OF_THE_MESH = "-A DOCKER-INGRESS "  # the engine's rules that send published ports to the namespace of the routing mesh
_DELETES = frozenset({"rule", "nft-rule"})  # variants with commands that delete the rule
_SHAPED = "shaped"  # the variant for queues


@dataclass(frozen=True)
class Outside:
    """What drops packets on a host besides the rules of its firewall.

    counters: a pattern for the kernel's counters of these packets. refusals: why the kernel of the sender refuses them.
    what: for people. look: the commands that show it.
    """

    counters: str
    refusals: frozenset[str]
    what: str
    look: str


_OUTSIDE = (
    Outside("Xfrm.*", frozenset(), "a policy of IPsec", "ip xfrm policy; ip xfrm state"),
    Outside(
        "IPReversePathFilter",
        frozenset(),
        "the reverse path filter",
        "ip rule; ip route show table all; sysctl -a | grep rp_filter",
    ),
    Outside(
        "(Out|In)NoRoutes",
        frozenset({"Permission denied", "Invalid argument", "No route to host", "Network is unreachable"}),
        "a rule or a route that discards packets",
        "ip rule; ip route show table all",
    ),
)


def blocked(seen: Seen) -> Iterator[Problem]:
    """Find blocked ports: one problem for each place. A path on which all ports are blocked is one problem."""
    meshed = underlay.published(seen.site)
    paths = {
        way: replace(path, tcp={port: attempt for port, attempt in path.tcp.items() if port not in meshed})
        for way, path in seen.observed.underlay.paths.items()
    }
    found = [each for path in paths.values() for each in lost(path, anything=seen.earlier is None)]
    whole: dict[tuple[str, str], list[Lost]] = defaultdict(list)
    partial: list[Lost] = []
    # What lets some packets of one host pass may let fewer of another one pass.
    some = {(each.at, each.protocol, each.port) for each in found if each.share < _WHOLE}
    for each in found:
        is_whole = each.share >= (_ALL if (each.at, each.protocol, each.port) in some else _WHOLE)
        (whole[each.source, each.target] if is_whole else partial).append(each)
    apart = {way for way, on_it in whole.items() if _all_lost(paths[way], on_it)}
    yield from _apart(seen, {way: whole[way] for way in apart})
    yield from _ports(seen, [each for way, on_it in whole.items() if way not in apart for each in on_it])
    for place, of_it in _by_place(partial).items():
        yield from _by_rule(seen, "packet-loss", place, of_it)


def published(seen: Seen) -> Iterator[Problem]:
    """Find hosts that do not answer a published port of a service which others answer.

    If no host answers, nothing is reported: the service itself may not listen.
    """
    for port, service in underlay.published(seen.site).items():
        tried = [path for path in seen.observed.underlay.paths.values() if port in path.tcp and path.tcp[port].state]
        silent = [path for path in tried if path.tcp[port].state != "open"]
        if len(silent) == len(tried):
            continue
        found = [loss for path in silent if (loss := attempted(path, port, replace(path.tcp[port], passed=0)))]
        for place, of_it in _by_place(found, "published-unanswered").items():
            for problem in _by_rule(seen, place[0], place, of_it):
                what = f"{problem.evidence}; the service {service} publishes this port"
                yield replace(problem, evidence=what, variant="" if place[1] else "between")


def overlays_only(seen: Seen) -> Iterator[Problem]:
    """Find rules that drop packets of overlays, and let those of the test pass: they look into the packets, or at their source port.

    Only rules that count packets while containers on their host do not reach others are reported.
    """
    data = seen.site.inventory.data_path_port
    dropped = {each.at for path in seen.observed.underlay.paths.values() for each in lost(path)}
    found = [*(each for result in seen.proofs for each in result.problems), *reach.unreached(seen)]
    failed = [each for each in found if each.id in _OF_OVERLAYS]
    for host, rules in seen.observed.underlay.rules.items():
        if host in dropped or not any(host in {each.host, each.target} or not each.host for each in failed):
            continue
        counted = [each for each in rules if each.drops and each.packets >= NOISE and not each.is_ours]
        if rule := next((each for each in counted if each.is_only_for({data})), None):
            evidence = (
                f"the rule `{rule.text}` counted {rule.packets} packets while containers did not reach each other; it lets"
                f" the packets of the test pass, which have the same port and another content"
            )
            values = _values(f"{data}/udp", host, "", host) | rule.values
            yield Problem(
                "vxlan-blocked", host, evidence, values, _variant(seen, host, rule), where=f"{host}: {rule.where}"
            )


def _apart(seen: Seen, whole: Mapping[tuple[str, str], list[Lost]]) -> Iterator[Problem]:
    """Find paths on which nothing passes: one problem for each host that drops everything, and one for each other path."""
    droppers: dict[str, list[Lost]] = defaultdict(list)
    for on_it in whole.values():
        places = {each.at for each in on_it}
        if len(places) == 1 and (at := places.pop()):
            droppers[at] += on_it
    for at, on_it in droppers.items():
        yield from _by_rule(seen, "underlay-blocked", ("underlay-blocked", at, ""), on_it)
    dropped = {(each.source, each.target) for on_it in droppers.values() for each in on_it}
    for source, target in _unordered(way for way in whole if not {way, way[::-1]} & dropped):
        evidence = f"{source} > {target}: no packet passes on {', '.join(each.what for each in whole[source, target])}"
        evidence += "".join(_through(seen, *way) for way in ((source, target), (target, source)))
        values = _values("the cluster's ports", source, target, "")
        yield Problem("underlay-blocked", source, evidence, values, "between", target=target)


def _all_lost(path: Path, on_it: Sequence[Lost]) -> bool:
    """Return whether nothing passes on a path. on_it: the ports on which nothing does."""
    tried = len([d for d in path.udp.values() if d.tried]) + len([a for a in path.tcp.values() if a.state])
    return len(on_it) == tried > 1


def _unordered(ways: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return each pair of hosts once, sorted by name."""
    found: dict[frozenset[str], tuple[str, str]] = {}
    for way in sorted(ways):
        found.setdefault(frozenset(way), way)
    return list(found.values())


Place = tuple[str, str, str]  # cause, host that drops the packets or "", path if no host drops them


def _by_place(found: Iterable[Lost], kind: str = "") -> dict[Place, list[Lost]]:
    """Group losses by the host that drops the packets, or by path if no host does."""
    places: dict[Place, list[Lost]] = defaultdict(list)
    for each in found:
        places[kind, each.at, "" if each.at else f"{each.source} {each.target}"].append(each)
    return dict(places)


def _ports(seen: Seen, whole: list[Lost]) -> Iterator[Problem]:
    data = seen.site.inventory.data_path_port
    kinds: dict[str, list[Lost]] = defaultdict(list)
    for each in whole:
        kinds[_kind(each, data, seen.site.control)].append(each)
    for kind, found in kinds.items():
        for place, of_it in _by_place(found, kind).items():
            udp_only = kind == "gossip-blocked" and {each.protocol for each in of_it} == {"udp"}
            yield from _by_rule(seen, "gossip-udp" if udp_only else kind, place, of_it)


def _kind(each: Lost, data: int, control: str) -> str:
    if each.protocol == "udp" and each.port == data:
        return "vxlan-blocked"
    if each.port == _GOSSIP:
        return "gossip-blocked"
    return "manager-blocked" if control == "swarm" else "store-blocked"


def _by_rule(seen: Seen, name: str, place: Place, found: list[Lost]) -> Iterator[Problem]:
    """Yield one problem for each rule that dropped some of the packets that are lost at one place. Their cures differ only in the rule."""
    at = place[1]
    parts: dict[Rule | None, list[Lost]] = defaultdict(list)
    for each in found:
        parts[_rule(seen, at, each) if at else None].append(each)
    unknown = parts.pop(None, [])  # what no rule explains can have the same reason as the rest
    parts[next(iter(parts), None)] += unknown
    for rule, part in parts.items():
        yield _problem(seen, name, place, part, rule, among=found)


def _what(found: Iterable[Lost]) -> str:
    return ", ".join(dict.fromkeys(each.what for each in found))


def _problem(
    seen: Seen, name: str, place: Place, found: list[Lost], rule: Rule | None, *, among: Sequence[Lost]
) -> Problem:
    """Combine losses into one problem. rule: the one that dropped them, if it is known. among: all losses at this place."""
    at = place[1]
    ways, everywhere = (sorted({(each.source, each.target) for each in of}) for of in (found, among))
    source, target = ways[0]
    reason = _reason(seen, at, found, rule) if at else _Reason(f"between {source} and {target}", "between")
    values = {**_values(_what(among), source, target, at), **reason.values}
    worst = max(found, key=lambda each: each.share)
    share = f"{worst.share}% of " if worst.share < 100 else ""  # noqa: PLR2004
    evidence = f"{few([f'{a} > {b}' for a, b in ways])}: {share}{_what(found)} packets lost: {worst.stage}"
    evidence += reason.evidence + (_dropped(seen, at, ways) if at else _through(seen, source, target))
    host, end = (source, target) if len(everywhere) == 1 else (at, "")
    variant = "" if name == "packet-loss" and reason.variant not in {*_DELETES, _SHAPED} else reason.variant
    return Problem(name, host, evidence, values, variant, target=end, where=reason.where)


@dataclass(frozen=True)
class _Reason:
    """What drops packets: its place and the variant of the cure. values: those that the variant needs."""

    where: str
    variant: str
    evidence: str = ""
    values: Mapping[str, object] = field(default_factory=dict)


def _reason(seen: Seen, at: str, found: Sequence[Lost], rule: Rule | None) -> _Reason:
    """Return what most likely drops these packets on a host: a rule, something outside of the rules, or unknown."""
    if rule:
        counted = f"counted {rule.packets} packets" if rule.packets else "has no counter, and can match these packets"
        evidence = f"; the rule `{rule.text}` {counted}"
        return _Reason(f"{at}: {rule.where}", _variant(seen, at, rule), evidence, rule.values)
    own = all(each.at == each.source and each.share < _WHOLE for each in found)
    device, what = devices.queue(seen, at) if own else ("", "")
    if device:
        return _Reason(f"{at}: {device}", _SHAPED, f"; {what}", {"look": f"tc -s qdisc show dev {device}"})
    counters = seen.observed.underlay.drops.get(at, {})
    for outside in _OUTSIDE:
        rose = {name: by for name, by in counters.items() if re.fullmatch(outside.counters, name)}
        if sum(rose.values()) >= max(each.count for each in found) or outside.refusals & {
            each.refused for each in found
        }:
            shown = "".join(f"; the kernel's counter {name} rose by {by}" for name, by in rose.items())
            return _Reason(f"{at}: {outside.what}", "elsewhere", shown, {"what": outside.what, "look": outside.look})
    return _Reason(at, "here")


def _through(seen: Seen, source: str, target: str) -> str:
    """Return that the route of a host to another one leads through a third one of the cluster, which may drop what it forwards; else ""."""
    kernel = seen.observed.kernels.get(source)
    gateway = kernel.gateways.get(str(seen.site.advertise[target]), "") if kernel else ""
    host = next((name for name, address in seen.site.advertise.items() if str(address) == gateway), "")
    return (
        f"; the route of {source} to {target} leads through {host} ({gateway}): ip rule; ip route show table all"
        if host
        else ""
    )


def _dropped(seen: Seen, at: str, ways: Iterable[tuple[str, str]]) -> str:
    """Return why the kernel of a host dropped packets on these paths, if that was recorded; else ""."""
    incoming = {at == target for _, target in ways}
    found = seen.observed.drops[at].found if at in seen.observed.drops else ()
    drops = [drop for drop in found if drop.incoming in incoming and drop.place not in _QUIET]
    reasons = ", ".join(f"{drop.reason} in {drop.place} ({drop.count})" for drop in drops[:3])
    return f"; the kernel of {at} dropped packets of the test: {reasons}" if reasons else ""


def _values(what: str, source: str, target: str, at: str) -> dict[str, object]:
    return {"protocols": what, "source": source, "to": target, "at": at, "host": at or source}


def _variant(seen: Seen, at: str, rule: Rule) -> str:
    """Return the variant of the cure for a rule. `up` sets rules in the chains of one backend, so it does not open all ports."""
    ports = {port for path in seen.observed.underlay.paths.values() for port in (*path.udp, *path.tcp)}
    kind = rule.variant
    if kind in _DELETES and (rule.is_ours or not rule.is_only_for(ports)):
        ours = any(each.is_ours for each in seen.observed.underlay.rules.get(at, ()) if each.tool == rule.tool)
        opens = rule.is_ours or (ours if rule.is_of_nftables else rule.table == "filter")
        kind = "wide" if opens else "outside"
    elif kind == "nft-rule" and not rule.packets:
        kind = "likely"
    return kind or "here"


def _rule(seen: Seen, at: str, loss: Lost) -> Rule | None:
    """Return the rule of a host that most likely dropped these packets.

    It drops, and counted packets. Rules that name the port are preferred. If none counted packets: one without a counter that
    names the port or the address of the other host, or a policy. Rules for other protocols, directions and addresses are left out.
    """
    rules = [rule for rule in seen.observed.underlay.rules.get(at, ()) if not rule.text.startswith(_OF_THE_MESH)]
    doubled = any(rule.tool == "iptables-nft-save" for rule in rules)  # nft lists these rules once more
    hook = "output" if at == loss.source else "input"
    hooks = {"input", "output", ""} if loss.protocol == "tcp" else {hook, ""}  # a connection needs answers, too
    rules = [rule for rule in rules if rule.protocol in {loss.protocol, ""} and rule.hook in hooks]
    rules = [rule for rule in rules if not (doubled and rule.is_of_iptables)]
    near = [
        rule for rule in rules if rule.is_between({seen.site.advertise[loss.source], seen.site.advertise[loss.target]})
    ]
    return _blamed(seen, at, loss, near) or _blamed(seen, at, loss, rules)  # NAT may have changed an address


def _blamed(seen: Seen, at: str, loss: Lost, rules: Sequence[Rule]) -> Rule | None:
    """Return the most likely one of these rules."""
    dropping = [rule for rule in rules if rule.drops]
    counted = [rule for rule in dropping if rule.packets]
    port = str(loss.port)
    named = [rule for rule in rules if rule.packets and port in rule.ports and (rule in counted or rule.diverts)]
    if candidates := named or [rule for rule in counted if not rule.is_policy] or counted:
        return max(candidates, key=lambda rule: rule.packets)
    hook, other = ("output", loss.target) if at == loss.source else ("input", loss.source)
    by_port = (rule for rule in dropping if not rule.is_policy and port in rule.ports)
    by_address = (rule for rule in dropping if str(seen.site.advertise.get(other)) in rule.text.split())
    by_policy = (rule for rule in dropping if rule.is_at(hook))
    return next(chain(by_port, by_address, by_policy), None)


def informed(seen: Seen, problem: Problem) -> Problem:
    """Return a problem with the cure for what was observed.

    If the cluster's ports pass, nobody needs to check them. A path whose width differs in the two observations is not narrow, if its
    sender has a queue that loses packets.
    """
    if problem.id == sizes.NARROW and not problem.variant and (unsteady := _unsteady(seen, problem.host)):
        device, what = devices.queue(seen, problem.host)
        evidence = f"the largest packets that arrived differ from time to time: {unsteady}; {what}"
        values = {"host": problem.host, "look": f"tc -s qdisc show dev {device}"}
        return Problem("packet-loss", problem.host, evidence, values, _SHAPED, where=f"{problem.host}: {device}")
    if problem.id != _BLOCKED or problem.variant:
        return problem
    ends, others = {problem.host, problem.target} - {""}, len(seen.site.live) - 1
    between = [path for way, path in seen.observed.underlay.paths.items() if ends <= set(way)]
    all_observed = len(between) == ((others + 1) * others, 2 * others, 2)[len(ends)]
    passes = all_observed and all(path.udp and not any(lost(path)) for path in between)
    return replace(problem, variant="passes") if passes and between else problem


def _unsteady(seen: Seen, host: str) -> str:
    """Return a path from a host with a queue and its widths, if these differ in the two observations; else ""."""
    before = seen.earlier.underlay.paths if seen.earlier and devices.queue(seen, host)[0] else {}
    for way, path in seen.observed.underlay.paths.items():
        size = before[way].size if path.source == host and way in before else path.size
        if None not in {size, path.size} and size != path.size:
            return f"{path.source} > {path.target}: {size} and {path.size} bytes"
    return ""


DETECTORS = (
    peers.routes,
    peers.neighbours,
    peers.conflicts,
    blocked,
    overlays_only,
    published,
    sizes.sizes,
    peers.sources,
)
