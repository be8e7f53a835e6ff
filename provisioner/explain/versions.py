"""Causes in known errors of engine versions. None of them was reproduced: the lab's engines have other versions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provisioner.controlplane import swarm
from provisioner.explain import names
from provisioner.inventory.engine_models import DATA_PORT
from provisioner.model import Problem
from provisioner.system import networks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.explain.base import Seen
    from provisioner.system.facts import Facts

Version = tuple[int, ...]
Range = tuple[Version, Version]  # the first version with the error, and the first one without it

_FIRST: Version = (0, 0, 0)
NAMES_FORGOTTEN: tuple[Range, ...] = (((29, 0, 0), (29, 7, 0)),)  # moby#53141
LOCAL_NAMES: tuple[Range, ...] = (((29, 0, 0), (29, 0, 1)),)  # moby#51491, moby#51515
OTHER_SPI: tuple[Range, ...] = (((29, 0, 0), (29, 2, 1)),)  # moby#51798, moby#51951
ONE_PORT: tuple[Range, ...] = ((_FIRST, (23, 0, 7)), ((24, 0, 0), (24, 0, 3)))  # moby#45635, moby#45637, moby#45638
NO_IPV6: tuple[Range, ...] = ((_FIRST, (25, 0, 0)),)  # moby#43643, moby#46790


def version(facts: Facts) -> Version | None:
    """Return the engine's version as three numbers; None if it has another form."""
    found = re.match(r"([0-9]{1,4})\.([0-9]{1,4})\.([0-9]{1,4})(?![0-9])", facts.engine_version)
    return tuple(map(int, found.groups())) if found else None


def has(facts: Facts, ranges: tuple[Range, ...]) -> bool:
    """Whether the host's engine has an error that these versions have."""
    found = version(facts)
    return found is not None and any(first <= found < fixed for first, fixed in ranges)


def forgotten(seen: Seen) -> Iterator[Problem]:
    """Find names that engines forgot, where only names are missing, and containers reach each other by address."""
    for problems in (*(result.problems for result in seen.proofs), tuple(names.unknown(seen))):
        for problem in problems:
            places = {problem.host, problem.target} - {""} or set(seen.site.live)
            faulty = sorted(
                name for name in places & set(seen.site.live) if has(seen.site.facts[name], NAMES_FORGOTTEN)
            )
            if problem.id == "names-unresolved" and faulty and seen.site.control == "swarm":
                number = seen.site.facts[faulty[0]].engine_version
                evidence = f"engine {number} on {', '.join(faulty)}; addresses answer, names do not: {problem.evidence}"
                host = problem.target or problem.host
                values = {"host": host, "hosts": ", ".join(faulty)}
                yield Problem(
                    "dns-lost",
                    problem.host,
                    evidence,
                    values,
                    "" if host else "several",
                    target=problem.target,
                    network=problem.network,
                    where=f"engine {number}",
                )


def local_names(seen: Seen) -> Iterator[Problem]:
    """Find engines that do not resolve names of local networks once they are in a swarm."""
    for name in seen.site.live:
        facts = seen.site.facts[name]
        if has(facts, LOCAL_NAMES) and swarm.in_swarm(facts):
            evidence = f"engine {facts.engine_version} is in a swarm"
            yield Problem("local-dns", name, evidence, {"host": name}, where=f"engine {facts.engine_version}")


def encrypted(seen: Seen) -> Iterator[Problem]:
    """Find engines that can't exchange encrypted packets with other versions, or not on the swarm's port."""
    if seen.site.control != "swarm" or not (network := _encrypted_network(seen)):
        return
    known = {name: found for name in seen.site.live if (found := version(seen.site.facts[name]))}
    other = {name for name in known if has(seen.site.facts[name], OTHER_SPI)}
    peers = sorted(known.keys() - other)
    port = _data_port(seen)
    for name in known:
        number = seen.site.facts[name].engine_version
        where = f"engine {number}"
        if name in other and peers:
            others = f"engine {seen.site.facts[peers[0]].engine_version} on {', '.join(peers)}"
            evidence = f"engine {number} here and {others}; the network {network} is encrypted"
            yield Problem("spi-mismatch", name, evidence, {"host": name}, where=where)
        if port != DATA_PORT and has(seen.site.facts[name], ONE_PORT):
            evidence = f"engine {number}, data path port {port}; the network {network} is encrypted"
            yield Problem("encrypted-port", name, evidence, {"host": name, "port": port}, where=where)


def _encrypted_network(seen: Seen) -> str:
    """Return the name of an encrypted overlay that exists; "" if there is none."""
    found = (each for name in seen.site.live for each in seen.site.facts[name].networks.values())
    return next((str(each["Name"]) for each in found if networks.ENCRYPTED in (each.get("Options") or {})), "")


def _data_port(seen: Seen) -> int:
    """Return the swarm's data path port. Engines before 19.03 report none, and have only one."""
    found = next(filter(None, (swarm.cluster(seen.site.facts[name]) for name in seen.site.live)), {})
    return int(found.get("DataPathPort") or (DATA_PORT if found else seen.site.inventory.data_path_port))


def ipv6(seen: Seen) -> Iterator[Problem]:
    """Find nodes that advertise an IPv6 address with an engine that sends VXLAN over IPv4 only."""
    for name in seen.site.live:
        facts = seen.site.facts[name]
        address = str(swarm.swarm_info(facts).get("NodeAddr", ""))
        if ":" in address and has(facts, NO_IPV6):
            evidence = f"engine {facts.engine_version} advertises {address}"
            yield Problem("ipv6-underlay", name, evidence, {"host": name}, where=f"engine {facts.engine_version}")


DETECTORS = (forgotten, local_names, encrypted, ipv6)
