"""Named checks that run before anything is changed, and are all reported together. This list is the table of contents.

A finding with a host makes this host drop out; a finding without a host stops the run. A warning can be left out by its id
(`--ignore ID`). A finding that stops can't be left out, since it would break a network.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from provisioner.preflight import identity, machine, network, networks, software, store, swarm

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from provisioner.controlplane import Site
    from provisioner.model import Problem

Check: TypeAlias = "Callable[[Site], Iterable[Problem]]"
CHECKS: tuple[Check, ...] = (
    machine.no_root,
    machine.newer_version,
    machine.no_perl,
    machine.programs_missing,
    machine.clock_skew,
    machine.disk_full,
    identity.same_machine,
    identity.duplicate_hostname,
    identity.cloned_engine_id,
    software.no_engine_unit,
    software.daemon_json_broken,
    software.set_twice,
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
OF_PLANE: Mapping[str, tuple[Check, ...]] = {  # checks of one control plane only
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
        swarm.join_unanswered,
        swarm.second_swarm,
        swarm.locked_or_failed,
        swarm.leaderless,
        swarm.node_resting,
        swarm.network_unallocated,
        swarm.engines_apart,
        swarm.certificate_validity,
        swarm.address_changed,
        swarm.fixed_settings,
        swarm.nodes_left_out,
        swarm.ingress_overlap,
    ),
}

# Checks that also make sense in a swarm that somebody else built, which nothing will be installed on or changed in.
OF_OTHERS = frozenset(
    {
        machine.no_root,
        machine.no_perl,
        machine.clock_skew,
        machine.disk_full,
        identity.same_machine,
        software.daemon_json_broken,
        software.set_twice,
        swarm.store_keys_left,
        network.wrong_interface,
        network.secondary_advertise,
        network.loopback_advertise,
        network.duplicate_advertise,
        network.subnet_overlap,
        networks.kernel_without,
        network.port_taken,
        swarm.store_in_use,
        swarm.live_restore,
        swarm.other_swarm,
        swarm.join_unanswered,
        swarm.locked_or_failed,
        swarm.leaderless,
        swarm.node_resting,
        swarm.network_unallocated,
        swarm.engines_apart,
        swarm.certificate_validity,
        swarm.ingress_overlap,
    }
)

_UNREADABLE = frozenset({"no-root", "no-perl"})  # the facts of such a host are incomplete
_UNSURE = _UNREADABLE | {"same-machine"}  # what else is found there is not certain


def run(site: Site, only: Collection[Check] | None = None) -> list[Problem]:
    """Return the findings of the checks, on the hosts that answered. only: the checks to run; default: all.

    A host whose facts are incomplete gets only the finding that says so. So do entries that reach one machine: what is wrong with
    them, and with the cluster as a whole, follows from that.
    """
    advertise = {name: address for name, address in site.advertise.items() if name not in site.misplaced}
    placed = site.without(site.misplaced)  # misplaced hosts have a finding of their own
    found = [finding for check in _chosen(CHECKS, only) for finding in check(replace(site, advertise=advertise))]
    found += [finding for check in _chosen(OF_PLANE[site.control], only) for finding in check(placed)]
    twins = {name for names in identity.twins(site) for name in names}
    unsure = unreadable(found) | twins | ({""} if twins else set())
    return [finding for finding in found if finding.host not in unsure or finding.id in _UNSURE]


def _chosen(checks: Iterable[Check], only: Collection[Check] | None) -> Iterable[Check]:
    return [check for check in checks if only is None or check in only]


def unreadable(findings: Iterable[Problem]) -> set[str]:
    """Return the hosts whose facts are incomplete."""
    return {finding.host for finding in findings if finding.id in _UNREADABLE}
