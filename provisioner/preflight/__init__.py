"""Named checks, all reported together before anything is changed. This list is the table of contents.

A finding that names a host makes this host drop out; one that names none stops the run. A check that only warns can be
left out by its id (`--ignore ID`); one that stops can't: what it finds would break a network.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provisioner.preflight import identity, machine, network, networks, software, store, swarm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from provisioner.controlplane import Site
    from provisioner.model import Problem

CHECKS: tuple[Callable[[Site], Iterable[Problem]], ...] = (
    machine.no_root,
    machine.newer_version,
    machine.no_perl,
    machine.programs_missing,
    machine.clock_skew,
    machine.disk_full,
    identity.duplicate_hostname,
    identity.cloned_engine_id,
    software.no_engine_unit,
    software.daemon_json_broken,
    software.engine_open,
    swarm.store_keys_left,
    network.wrong_interface,
    network.secondary_advertise,
    network.loopback_advertise,
    network.duplicate_advertise,
    network.subnet_overlap,
    networks.network_in_use,
    networks.parent_missing,
    networks.kernel_without,
    network.port_taken,
    network.other_firewall,
)
OF_PLANE: Mapping[str, tuple[Callable[[Site], Iterable[Problem]], ...]] = {  # those of one control plane alone
    "kv": (
        software.engine_too_new,
        software.driver_not_built,
        software.other_store,
        software.swarm_active,
        software.swarm_network,
        software.store_tls,
        software.flag_conflict,
        store.foreign_store,
        store.foreign_data,
        store.server_left_out,
        store.times_that_clash,
        store.of_its_own,
        store.locked_out,
        networks.endpoint_left,
        network.gossip_overload,
    ),
    "swarm": (
        swarm.store_in_use,
        swarm.live_restore,
        swarm.other_swarm,
        swarm.second_swarm,
        swarm.not_well,
        swarm.leaderless,
        swarm.resting,
        swarm.apart,
        swarm.certificates,
        swarm.address_changed,
        swarm.fixed,
        swarm.left_out,
        swarm.ingress_overlap,
    ),
}


_UNREADABLE = frozenset({"no-root", "no-perl"})  # what is read of such a host is not all that there is


def run(site: Site) -> list[Problem]:
    """Every finding of every check, on the hosts that answered. Of a host that tells nothing for certain, no more than that."""
    advertise = {name: address for name, address in site.advertise.items() if name not in site.misplaced}
    placed = site.without(site.misplaced)  # the others have a finding of their own
    found = [finding for check in CHECKS for finding in check(replace(site, advertise=advertise))]
    found += [finding for check in OF_PLANE[site.control] for finding in check(placed)]
    unsure = {finding.host for finding in found if finding.id in _UNREADABLE}
    return [finding for finding in found if finding.host not in unsure or finding.id in _UNREADABLE]
