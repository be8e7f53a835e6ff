"""Engines that do not know one another from their gossip: which of them lack which. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provisioner.controlplane.site import Site


def lacking(site: Site, host: str) -> list[str]:
    """The hosts that this one's engine does not know, of those it should.

    Where the engines are apart, it is the smaller part that lacks the others: of a host that is cut off nobody else is
    to blame, and nobody else is to drop out.
    """
    strangers = site.strangers(host)
    main = _largest_part(site) if strangers else set()
    return [name for name in strangers if host not in main or name in main]


def _largest_part(site: Site) -> set[str]:
    """The largest group of live hosts that know one another, through others too; the first of several."""
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
