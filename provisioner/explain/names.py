"""Names of running containers that containers on other hosts do not resolve, although a new container's name may be known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.explain.base import few
from provisioner.model import Problem
from provisioner.system import attached

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.explain.base import Seen
    from provisioner.system.attached import Named


def unknown(seen: Seen) -> Iterator[Problem]:
    """Find containers whose names a container on another host does not resolve, while it resolves its own; and mute DNS servers.

    Containers that are gone by now, or have another address, do not count.
    """
    running = {host: list(attached.named(seen.site.facts[host])) for host in seen.site.live}
    for host, kernel in seen.observed.kernels.items():
        for own in running.get(host, ()):
            missing = set(kernel.unknown_names.get(own.address, ()))
            if own.address in kernel.mute:
                evidence = (
                    f"the engine's DNS server in {own.name} on {host} answers no question, not even for its own name"
                )
                values = {"name": own.name}
                where = f"DNS of {own.name}"
                yield Problem("names-unresolved", host, evidence, values, "silent", network=own.network, where=where)
            if own.name in missing:
                continue
            for there, those in running.items():
                lacking = [each for each in those if each.name in missing and each.network == own.network]
                if lacking and there != host:
                    yield _problem(seen, host, own, there, lacking)


def _problem(seen: Seen, host: str, own: Named, there: str, lacking: list[Named]) -> Problem:
    shown = few(sorted(each.name for each in lacking))
    evidence = f"{own.name} on {host} resolves its own name, and not {shown} on {there}"
    number = str(seen.site.facts[host].networks.get(own.network, {}).get("Id", ""))
    table = seen.observed.kernels[host].tables.networks.get(number)
    if table and all(table.named(each.address) for each in lacking):
        evidence += f", although the gossip tables of {host} have these names"
    return Problem(
        "names-unresolved",
        host,
        evidence,
        target=there,
        network=own.network,
        where=f"DNS of {own.name}",
    )


DETECTORS = (unknown,)
