"""Named checks that run before anything is changed, and are all reported together. This list is the table of contents.

A finding with a host makes this host drop out; a finding without a host stops the run. A warning can be left out by its id
(`--ignore ID`). A finding that stops can't be left out, since it would break a network.
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
OF_PLANE: Mapping[str, tuple[Callable[[Site], Iterable[Problem]], ...]] = {  # checks of one control plane only
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
        store.invalid_times,
        store.backend_findings,
        store.locked_out,
        networks.endpoint_left,
        network.gossip_overload,
    ),
    "swarm": (
        swarm.store_in_use,
        swarm.live_restore,
        swarm.other_swarm,
        swarm.second_swarm,
        swarm.locked_or_failed,
        swarm.leaderless,
        swarm.node_resting,
        swarm.engines_apart,
        swarm.certificate_validity,
        swarm.address_changed,
        swarm.fixed_settings,
        swarm.nodes_left_out,
        swarm.ingress_overlap,
    ),
}


_UNREADABLE = frozenset({"no-root", "no-perl"})  # the facts of such a host are incomplete


def run(site: Site) -> list[Problem]:
    """Return all findings of all checks, on the hosts that answered.

    A host whose facts are incomplete gets only the finding that says so.
    """
    advertise = {name: address for name, address in site.advertise.items() if name not in site.misplaced}
    placed = site.without(site.misplaced)  # misplaced hosts have a finding of their own
    found = [finding for check in CHECKS for finding in check(replace(site, advertise=advertise))]
    found += [finding for check in OF_PLANE[site.control] for finding in check(placed)]
    unsure = {finding.host for finding in found if finding.id in _UNREADABLE}
    return [finding for finding in found if finding.host not in unsure or finding.id in _UNREADABLE]
