"""How hosts reach each other's addresses: source addresses, routes, neighbour entries, and addresses that two machines have."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from provisioner.explain.base import few
from provisioner.model import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provisioner.explain.base import Seen
    from provisioner.observe.kernel import Route
    from provisioner.observe.underlay import Datagrams


def sources(seen: Seen) -> Iterator[Problem]:
    """Find hosts whose packets arrive from another address than they advertise: they sent from it, or NAT put it in."""
    found: dict[str, list[tuple[str, Datagrams]]] = defaultdict(list)
    for (source, target), path in sorted(seen.observed.underlay.paths.items()):
        advertised = str(seen.site.advertise[source])
        changed = [each for each in path.udp.values() if each.sources and advertised not in each.sources]
        if changed:
            found[source].append((target, changed[0]))
    for source, of_it in found.items():
        advertised = str(seen.site.advertise[source])
        wrong = {target: each for target, each in of_it if each.sent_from - {advertised}}
        if wrong:
            yield from _mismatches(seen, source, wrong, advertised)
        else:
            yield from _nat(seen, source, dict(of_it), advertised)


def _mismatches(seen: Seen, source: str, wrong: Mapping[str, Datagrams], advertised: str) -> Iterator[Problem]:
    """Yield one problem for each route of a host that has another source address than the one that the host advertises."""
    kernel = seen.observed.kernels.get(source)
    routes: dict[tuple[Route | None, str], list[str]] = defaultdict(list)
    for target in wrong:
        to = str(seen.site.advertise[target])
        chosen, device = kernel.sources.get(to, ("", "")) if kernel else ("", "")
        translated = chosen == advertised
        route = kernel.route_of(to) if kernel and device and not translated else None
        routes[route, device if route else "nat" if translated else ""].append(target)
    for (route, device), targets in routes.items():
        variant, values = device, {"host": source, "advertised": advertised}
        if route:
            variant = "via" if route.gateway else "route"
            values |= {"to": str(route.to), "device": device, "gateway": route.gateway, "table": route.table}
        evidence = f"{_arrived(source, few(targets), wrong[targets[0]])}; {source} advertises {advertised}"
        to = str(route.to) if route else ", ".join(str(seen.site.advertise[target]) for target in targets)
        where = f"{source}: a NAT rule" if variant == "nat" else f"{source}: source address of its route to {to}"
        yield Problem("source-mismatch", source, evidence, values, variant, where=where)


def _nat(seen: Seen, source: str, targets: Mapping[str, Datagrams], advertised: str) -> Iterator[Problem]:
    """Yield the problems of a host whose packets leave with the right address and arrive with another one."""
    first, others = next(iter(targets)), ", ".join(targets)
    evidence = f"{_arrived(source, first, targets[first])}; they left {source} from {advertised}, which it advertises"
    values = {"host": source, "others": others, "advertised": advertised, "actual": _addresses(targets[first])}
    target, where = others if len(targets) == 1 else "", f"between {source} and {others}"
    yield Problem("nat-between", source, evidence, values, target=target, where=where)
    for name, network in seen.site.inventory.networks.items():
        if network.encrypted:
            what = f"the network {name} sends ESP between {source} and {others}, and NAT is between them"
            yield Problem(
                "esp-nat", source, what, {**values, "network": name}, target=target, network=name, where=where
            )


def _arrived(source: str, target: str, datagrams: Datagrams) -> str:
    return f"packets from {source} arrive at {target} with the source address {_addresses(datagrams)}"


def _addresses(datagrams: Datagrams) -> str:
    return ", ".join(sorted(datagrams.sources))


def routes(seen: Seen) -> Iterator[Problem]:
    """Find hosts without a route to another host."""
    for source, kernel in seen.observed.kernels.items():
        for target, address in seen.site.advertise.items():
            if why := kernel.unrouted.get(str(address)):
                evidence = f"{source} has no route to {address} of {target}: `ip route get` says: {why[:200]}"
                values = {"host": source, "address": str(address), "to": target}
                where = f"{source}: route to {address}"
                yield Problem("no-route", source, evidence, values, target=target, where=where)
            elif device := _elsewhere(seen, source, target):
                evidence = f"no packet from {source} arrives at {target}: the route to {address} leads to {device}, and not to the interface of its address"
                values = {"host": source, "address": str(address), "to": target}
                where = f"{source}: route to {address}"
                yield Problem("no-route", source, evidence, values, "elsewhere", target=target, where=where)


def _elsewhere(seen: Seen, source: str, target: str) -> str:
    """Return the interface of the route to another host if nothing sent there arrives, and the host's address is on another one."""
    path, kernel = seen.observed.underlay.paths.get((source, target)), seen.observed.kernels[source]
    _, device = kernel.sources.get(str(seen.site.advertise[target]), ("", ""))
    own = {on for on, its in seen.site.facts[source].addresses if its.ip == seen.site.advertise.get(source)}
    came = [seen_.arrived for seen_ in path.udp.values() if seen_.tried] if path else []
    return device if device and own and device not in own and came and not any(came) else ""


def neighbours(seen: Seen) -> Iterator[Problem]:
    """Find permanent entries in a host's neighbour table with a MAC address that the other host does not have."""
    for source, kernel in seen.observed.kernels.items():
        for target, address in seen.site.advertise.items():
            mac, device = kernel.pinned.get(str(address), ("", ""))
            macs = _macs(seen, target)
            if mac and macs and mac not in macs:
                evidence = f"{source} sends packets for {address} of {target} to {mac}, and no interface of {target} has this MAC address"
                values = {"host": source, "address": str(address), "device": device}
                where = f"{source}: neighbour entry of {address} on {device}"
                yield Problem("neighbour-wrong", source, evidence, values, target=target, where=where)


def conflicts(seen: Seen) -> Iterator[Problem]:
    """Find addresses that another machine has, or for which one answers. Proxies, which answer for several hosts, are not reported."""
    macs = seen.observed.underlay.macs
    held = dict(_held(seen))
    for owner, (evidence, values) in held.items():
        yield Problem(
            "address-conflict", owner, evidence, values, "held", where=f"the address {seen.site.advertise[owner]}"
        )
    owned = {mac for host in seen.observed.kernels for mac in _macs(seen, host)}
    for owner, address in seen.site.advertise.items():
        if owner in held:
            continue
        correct = _macs(seen, owner)
        answers = {(asker, mac) for (asker, of), found in macs.items() if (of or asker) == owner for mac in found}
        proxies = {mac for _, mac in answers if mac not in owned and _answers_for(macs, mac) > 1}
        others = sorted({mac for _, mac in answers} - correct - proxies)
        known = {mac: host for host in seen.observed.kernels if host != owner for mac in _macs(seen, host) & {*others}}
        if known or (others and (correct or len(others) > 1)):  # the MAC address of a host that was not read is unknown
            others = sorted(known) or others
            asker = next(asker for asker, mac in sorted(answers) if mac in others)
            shown = f" ({', '.join(sorted(correct & _all(macs)) or sorted(correct)[:1])})" if correct else ""
            named = ", ".join(f"{mac} of {known[mac]}" if mac in known else mac for mac in others)
            evidence = f"{asker} asked for {address} of {owner}{shown}, and {named} answered"
            values = {"other": named, "owner": owner, "wanted": str(address)}
            variant = "answers" if known else ""
            yield Problem("address-conflict", owner, evidence, values, variant, where=f"the address {address}")


def _held(seen: Seen) -> Iterator[tuple[str, tuple[str, dict[str, object]]]]:
    """Yield each host whose address another host of the cluster has on an interface, with the evidence and the cure's values."""
    for owner, address in seen.site.advertise.items():
        for other in seen.site.live:
            for device, its in seen.site.facts[other].addresses if other != owner else ():
                if its.ip == address and seen.site.advertise.get(other) != address:
                    values: dict[str, object] = {"host": other, "address": str(its), "device": device, "owner": owner}
                    yield owner, (f"{other} has the address {its} of {owner} on {device}", values)


def _answers_for(macs: Mapping[tuple[str, str], tuple[str, ...]], mac: str) -> int:
    """Return for how many hosts a MAC address answers."""
    return len({of or asker for (asker, of), found in macs.items() if mac in found})


def _all(macs: Mapping[tuple[str, str], tuple[str, ...]]) -> set[str]:
    return {mac for found in macs.values() for mac in found}


def _macs(seen: Seen, host: str) -> set[str]:
    """Return all MAC addresses of a host. Interfaces of a host on one segment answer for each other."""
    kernel = seen.observed.kernels.get(host)
    return {str(link.get("address", "")) for link in kernel.links} if kernel else set()
