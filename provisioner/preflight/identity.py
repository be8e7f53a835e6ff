"""Checks that hosts are who they say: equal names and equal keys make gossip and discovery take two hosts for one."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from provisioner.model import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from provisioner.controlplane import Site
    from provisioner.system.facts import Facts


def _shared(site: Site, value: Callable[[Facts], str]) -> Iterator[tuple[str, list[str]]]:
    by_value = defaultdict(list)
    for name in site.live:
        by_value[value(site.facts[name])].append(name)
    return ((found, names) for found, names in by_value.items() if found and len(names) > 1)


def duplicate_hostname(site: Site) -> Iterator[Problem]:
    """Gossip names its members after the hostname; of two with one name it throws out one (moby#19301)."""
    for hostname, names in _shared(site, lambda facts: facts.hostname):
        what = f"{', '.join(names)} have the same hostname, {hostname}: they would throw each other out of the gossip"
        yield Problem("duplicate-hostname", "", what)


def cloned_engine_id(site: Site) -> Iterator[Problem]:
    """Cloned machines share /etc/docker/key.json, and with it the engine's ID (classicswarm#362)."""
    for _, names in _shared(site, lambda facts: facts.engine_id):
        what = f"the engines of {', '.join(names)} have the same ID: they were cloned from one machine"
        yield Problem("cloned-engine-id", "", what)
