"""The checks that found no problem, one line for each subject. Lists only what was really observed."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from provisioner.explain import balancing, tables
from provisioner.explain.losses import lost
from provisioner.model import State
from provisioner.observe.gaps import RULES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from provisioner.explain.base import Seen
    from provisioner.model import ProofResult
    from provisioner.observe.kernel import Kernel, Space


_EACH = 3  # hosts and networks that are named one by one; more are counted


def well(seen: Seen, found: frozenset[str]) -> tuple[str, ...]:
    """Return the lines. found: the ids of the causes that were found."""
    return (
        *_paths(seen, found),
        *_kernels(seen, found),
        *_tables(seen, found),
        *_engines(seen),
        *_services(seen),
        *_balanced(seen, found),
        *_steps(seen),
        *_proofs(seen),
    )


def _hosts(seen: Seen, names: Sequence[str]) -> str:
    return f"all {len(names)} hosts" if len(names) > _EACH and set(names) == set(seen.site.live) else ", ".join(names)


def _paths(seen: Seen, found: frozenset[str]) -> Iterator[str]:
    """Return the number of working paths for each port, connection times, and packet sizes."""
    passes: dict[str, list[bool]] = defaultdict(list)
    trips: list[float] = []
    sizes: list[int] = []
    for path in seen.observed.underlay.paths.values():
        bad = {each.what for each in lost(path)}
        for port, datagrams in path.udp.items():
            if datagrams.tried:
                passes[f"{port}/udp"].append(f"{port}/udp" not in bad)
        for port, attempt in path.tcp.items():
            if attempt.state:
                passes[f"{port}/tcp"].append(f"{port}/tcp" not in bad)
                trips += [attempt.seconds] if attempt.state == "open" else []
        sizes += [path.size] if path.size else []
    if passes:
        good = [f"{port} {sum(each)} of {len(each)}" for port, each in sorted(passes.items()) if any(each)]
        times = f", connected in {1000 * min(trips):.1f} to {1000 * max(trips):.1f} ms" if trips else ""
        size = f", packets of up to {min(sizes)} bytes" if sizes and "mtu" not in found else ""
        yield f"paths between hosts: {', '.join(good)}{size}{times}"


def _kernels(seen: Seen, found: frozenset[str]) -> Iterator[str]:
    """Return one line for all hosts of which the same was read."""
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, kernel in seen.observed.kernels.items():
        good = [what for what, (problems, is_read) in _OF_KERNELS.items() if is_read(kernel) and not problems & found]
        alike[tuple(good)].append(name)
    for checks, names in alike.items():
        count = sum(len(_overlays(seen.observed.kernels[name])) for name in names)
        overlays = f"{count} overlay namespace{'' if count == 1 else 's'}"
        if checks:
            yield f"kernels of {_hosts(seen, names)}: {', '.join(checks).format(overlays=overlays)}"


def _overlays(kernel: Kernel) -> list[Space]:
    return [space for space in kernel.spaces.values() if space.network]


def _has_forwarding(kernel: Kernel) -> bool:
    tables = [table for space in _overlays(kernel) for table in (space.neighbours, space.forwarding)]
    return kernel.enters_all and None not in tables


# What was checked -> (the causes that it finds, whether what it needs was read).
_OF_KERNELS: Mapping[str, tuple[frozenset[str], Callable[[Kernel], bool]]] = {
    "routes": (frozenset({"route-shadow", "source-mismatch"}), lambda kernel: kernel.has("routes")),
    "settings": (
        frozenset({"ip-forward", "br-netfilter", "conntrack-full", "neigh-overflow"}),
        lambda kernel: bool(kernel.sysctls),
    ),
    "the engine's rules": (
        frozenset({"firewall-reload", "iptables-split"}),
        lambda kernel: kernel.has(*RULES) and not kernel.failed.keys() & set(RULES),
    ),
    "bridges": (frozenset({"gwbridge", "bridge-full"}), lambda kernel: kernel.iproute),
    "{overlays}": (
        frozenset({"vxlan-exists", "vxlan-lost", "vni-mismatch", "link-down", "address-lost"}),
        lambda kernel: kernel.enters_all or bool(_overlays(kernel)),
    ),
    "forwarding entries": (frozenset({"fdb-lost", "fdb-stale"}), _has_forwarding),
}


def _tables(seen: Seen, found: frozenset[str]) -> Iterator[str]:
    names = [name for name, kernel in seen.observed.kernels.items() if kernel.tables.members]
    if names and "table-differs" not in found:
        compared, running = {view.network for view in tables.views(seen)}, tables.containers(seen)
        counts = {
            name: sum(not each.balances for each in running[name].running.values()) for name in compared & set(running)
        }
        known = [f"{count} containers on {network}" for network, count in sorted(counts.items())]
        yield f"gossip tables of {_hosts(seen, names)}: {', '.join(known) or 'no network with containers'}"


def _engines(seen: Seen) -> Iterator[str]:
    versions: dict[str, list[str]] = defaultdict(list)
    for name in seen.site.live:
        if seen.site.facts[name].engine:
            versions[seen.site.facts[name].engine_version].append(name)
    for version, names in versions.items():
        yield f"engines of {_hosts(seen, names)}: version {version}, responding"


def _services(seen: Seen) -> Iterator[str]:
    for kernel in seen.observed.kernels.values():
        if (found := kernel.services) and (good := found.count - len(found.short)) > 0:
            yield f"services of the swarm: {good} of {found.count} run all their tasks"


def _balanced(seen: Seen, found: frozenset[str]) -> Iterator[str]:
    names = {call.service.name for _, call, _ in balancing.called(seen)}
    if names and "vip-unanswered" not in found:
        plural = "es" if len(names) > 1 else ""
        yield f"virtual address{plural} of {', '.join(sorted(names))}"


def _steps(seen: Seen) -> Iterator[str]:
    states: dict[str, set[State]] = defaultdict(set)
    for outcome in seen.outcomes:
        states[outcome.step].add(outcome.state)
    good = [step for step, found in states.items() if found == {State.SETTLED}]
    if good:
        yield f"matches the inventory: {', '.join(good)}"


def _proofs(seen: Seen) -> Iterator[str]:
    good: dict[str, list[ProofResult]] = defaultdict(list)
    for result in seen.proofs:
        if result.state is State.SETTLED:
            good[result.proof].append(result)
    for kind, results in good.items():
        several = [(f"{kind} on {len(results)} networks", sum(len(each.pairs) for each in results))]
        each_ = [(result.name, len(result.pairs)) for result in results]
        for name, pairs in several if len(results) > _EACH else each_:
            yield f"proof {name}{f', {pairs} pairs' if pairs else ''}"
