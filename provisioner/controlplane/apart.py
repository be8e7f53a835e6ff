"""Engines that do not know one another from their gossip. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provisioner.controlplane.site import Site


def lacking(site: Site, host: str) -> list[str]:
    """Return the hosts that this host's engine should know and does not.

    If the engines form several groups, only the smaller groups lack others. So if one host is cut off, no other host is
    blamed or dropped.
    """
    strangers = site.strangers(host)
    main = _largest_part(site) if strangers else set()
    return [name for name in strangers if host not in main or name in main]


def _largest_part(site: Site) -> set[str]:
    """Return the largest group of live hosts that know one another, directly or through others. The first group wins a tie."""
    strangers = {name: set(site.strangers(name)) for name in site.live}
    parts: list[set[str]] = []
    left = set(site.live)
    for first in site.live:
        part, edge = set(), {first} & left
        while edge:
            part |= edge
            left -= edge
            edge = {new for new in left for old in edge if new not in strangers[old] and old not in strangers[new]}
        parts.append(part)
    return max(parts, key=len, default=set())
