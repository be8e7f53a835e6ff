"""Checks of the hosts' identity: gossip and discovery treat two hosts with one name or one key as one host."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from provisioner.model import Problem
from provisioner.system import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from provisioner.controlplane import Site
    from provisioner.system.facts import Facts


def _shared(site: Site, value: Callable[[Facts], str]) -> Iterator[tuple[str, list[str]]]:
    by_value = defaultdict(list)
    for name in site.live:
        by_value[value(site.facts[name])].append(name)
    return ((found, names) for found, names in by_value.items() if found and len(names) > 1)


def twins(site: Site) -> list[list[str]]:
    """Return the entries that reach one machine, for each such machine.

    Cloned machines share a machine ID. Containers of one machine can share a boot ID.
    """
    return [names for _, names in _shared(site, _machine)]


def _machine(facts: Facts) -> str:
    boot, machine = (facts.files.get(path, "").strip() for path in (reading.BOOT_ID, "/etc/machine-id"))
    return f"{boot} {machine}" if boot and machine else ""


def same_machine(site: Site) -> Iterator[Problem]:
    for names in twins(site):
        what = f"{', '.join(names)} have the same boot ID and the same machine ID"
        yield Problem("same-machine", "", what, {"entries": ", ".join(names)}, where=" and ".join(names))


def duplicate_hostname(site: Site) -> Iterator[Problem]:
    """Gossip names its members after the hostname, and evicts one of two members with the same name (moby#19301)."""
    for hostname, names in _shared(site, lambda facts: facts.hostname):
        what = f"{', '.join(names)} have the same hostname, {hostname}: they would evict each other from the gossip"
        yield Problem("duplicate-hostname", "", what)


def cloned_engine_id(site: Site) -> Iterator[Problem]:
    """Cloned machines share /etc/docker/key.json and thereby the engine's ID (classicswarm#362)."""
    for _, names in _shared(site, lambda facts: facts.engine_id):
        what = f"the engines of {', '.join(names)} have the same ID: they were cloned from one machine"
        yield Problem("cloned-engine-id", "", what)
