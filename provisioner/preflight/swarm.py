"""Checks of swarm mode: no engine is in another swarm, or has settings that exclude swarm mode or differ from the swarm's."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from provisioner.controlplane.apart import lacking
from provisioner.controlplane.swarm import (
    Member,
    View,
    address_of,
    asked_manager,
    cluster,
    hostname,
    label,
    managers,
    nodes,
    state,
    swarm_info,
)
from provisioner.errors import StepFailed
from provisioner.inventory.engine_models import DATA_PORT, ENGINES_POOL
from provisioner.inventory.engine_versions import has_no_store
from provisioner.model import Problem
from provisioner.system import daemon_json
from provisioner.system import swarm as on_host
from provisioner.system.reading import DAEMON_JSON
from provisioner.system.strict import json_object

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from provisioner.controlplane import Site
    from provisioner.system.facts import Facts

_KEYS = ("cluster-store", "cluster-advertise", "cluster-store-opts")
_RENEWED = 0.15  # of a certificate's lifetime; swarmkit renews it when 0.5 to 0.2 of it remain
_DAY = 86400


def _store_keys(name: str, facts: Facts) -> dict[str, Any]:
    try:
        found = daemon_json.parse(name, facts.files.get(DAEMON_JSON, ""))
    except StepFailed:
        return {}  # software.daemon_json_broken reports it
    return {key: found[key] for key in _KEYS if key in found}


def store_keys_left(site: Site) -> Iterator[Problem]:
    """From 23.0 on, an engine does not start with these keys in its file, for example after an upgrade."""
    for name in site.live:
        facts = site.facts[name]
        if has_no_store(facts.engine_version) and (keys := _store_keys(name, facts)):
            what = f"{DAEMON_JSON} has {', '.join(keys)}, with which its engine {facts.engine_version} does not start"
            yield Problem("store-keys-left", name, what, {"path": DAEMON_JSON})


def store_in_use(site: Site) -> Iterator[Problem]:
    """An engine that uses an external store can't be in a swarm (moby v20.10, daemon/cluster)."""
    for name in site.live:
        facts = site.facts[name]
        keys = {} if has_no_store(facts.engine_version) else _store_keys(name, facts)
        if facts.engine.get("ClusterStore") or keys:
            overlays = [n for n, network in facts.networks.items() if network.get("Scope") == "global"]
            store = facts.engine.get("ClusterStore") or ", ".join(keys)
            what = f"its engine uses an external store ({store}), which excludes swarm mode"
            keep = _keeping(site, str(facts.engine.get("ClusterStore") or keys.get("cluster-store")))
            values = {"networks": " ".join(overlays), "keys": ", ".join(_KEYS), "path": DAEMON_JSON, "keep": keep}
            yield Problem("store-in-use", name, what, values, "networks" if overlays else "")


def _keeping(site: Site, store: str) -> str:
    """Return what the inventory needs so that engines keep their store. store: its URL."""
    if site.inventory.store:
        return "control_plane: kv"
    from provisioner.inventory.importers import engine_stores  # imported only if needed

    kind = engine_stores.KINDS.get(store.partition("://")[0], "KIND")
    place = ", in place of `control_plane: swarm`" if site.inventory.control_plane == "swarm" else ""
    return (
        f"add `store: {{kind: {kind}}}` to the inventory{place}, with its `endpoints` if provisioner did not set it up"
    )


def live_restore(site: Site) -> Iterator[Problem]:
    for name in site.live:
        facts = site.facts[name]
        try:
            configured = daemon_json.parse(name, facts.files.get(DAEMON_JSON, "")).get("live-restore")
        except StepFailed:
            configured = None
        if facts.engine.get("LiveRestoreEnabled") or configured:
            what = "its engine has live-restore enabled, which excludes swarm mode"
            yield Problem("live-restore", name, what, {"path": DAEMON_JSON})


def other_swarm(site: Site) -> Iterator[Problem]:
    """A node is never removed from another swarm, since services may run there."""
    view = View(site)
    for name in site.live:
        if view.member(name) is not Member.OTHER:
            continue
        facts = site.facts[name]
        managers = ", ".join(sorted(str(entry.get("Addr")) for entry in swarm_info(facts).get("RemoteManagers") or ()))
        what = f"its engine is in another swarm{f' (managers: {managers})' if managers else ''}"
        unknown = ", ".join(host for host in site.inventory.hosts if host not in site.advertise)
        variant = "unreached" if managers and unknown else ""  # an unreached host may be the manager
        if label(facts) == site.inventory.cluster:
            names = ", ".join(sorted(hostname(node) or "?" for node in nodes(facts)))
            what += f", which was created for this cluster too and has these nodes: {names}"
            variant = "same-label"
        yield Problem("other-swarm", name, what, {"hosts": ", ".join(view.hosts), "unknown": unknown}, variant)


def join_unanswered(site: Site) -> Iterator[Problem]:
    """The engine goes on asking, but a person should know; `up` starts the join again with a new token."""
    view = View(site)
    for name in site.live:
        if view.member(name) is Member.JOINING:
            asked, error = asked_manager(site.facts[name]), swarm_info(site.facts[name]).get("Error")
            what = f"its engine asks {asked} to let it into the swarm, and is not in it yet{f' ({error})' if error else ''}"
            yield Problem("join-unanswered", name, what, {"asked": asked})


def second_swarm(site: Site) -> Iterator[Problem]:
    """Two swarms were created for this cluster. A host that is alone in one of them leaves it if it is empty."""
    view = View(site)
    for name in site.live:
        if view.member(name) is Member.SECOND:
            others = ", ".join(view.hosts)
            what = f"its engine is alone in a second swarm of this cluster; the others ({others}) are in another one"
            yield Problem("second-swarm", name, what)


def locked_or_failed(site: Site) -> Iterator[Problem]:
    manager = View(site).acting
    for name in site.live:
        facts = site.facts[name]
        if state(facts) == "locked":
            what = "its engine is locked: it was restarted in a swarm with autolock, and waits for the swarm's key"
            yield Problem("swarm-locked", name, what, {"manager": manager}, "" if manager else "no-leader")
        elif state(facts) == "error" and View(site).member(name) not in {Member.OTHER, Member.JOINING}:
            what = f"its engine can't join its swarm: {swarm_info(facts).get('Error') or 'it gives no reason'}"
            yield Problem("swarm-error", name, what)


def leaderless(site: Site) -> Iterator[Problem]:
    """Without a majority of its managers, nothing in a swarm can be changed. Only one host reports it."""
    view, names = View(site), {str(address): name for name, address in site.advertise.items()}
    cut = [
        name
        for name in site.live
        if view.member(name) is Member.UNKNOWN
        and state(site.facts[name]) in {"active", "pending"}
        and (managers(site.facts[name]) or not view.hosts)  # a node that knows no manager is about to leave or to join
    ]
    name = min(cut, key=lambda name: not swarm_info(site.facts[name]).get("ControlAvailable"), default="")
    known = [str(address) for address in managers(site.facts[name])] if name else []
    if not name or str(site.leaving) in known:  # the leader may be the host that is being removed
        return
    away = sorted(names.get(address, address) for address in known if names.get(address) not in cut)
    what = f"its swarm has no leader; of its {len(known)} managers, these do not take part: {', '.join(away)}"
    if not away:
        what = (
            f"its swarm has no leader, although the {len(known)} managers that it knows run; managers that left without being"
            " demoted still count for the majority"
        )
    anew = "docker swarm leave --force on all hosts"
    if swarm_info(site.facts[name]).get("ControlAvailable"):
        anew = f"docker swarm init --force-new-cluster --advertise-addr {site.advertise.get(name)}, on this host only"
    yield Problem("swarm-leaderless", name, what, {"anew": anew})


def node_resting(site: Site) -> Iterator[Problem]:
    """Somebody drained or paused the node on purpose, so a run leaves it alone."""
    view = View(site)
    for name in view.hosts:
        if closed := site.plane.closed(site, name):
            what = f"{closed.what}; running containers continue, and up does not change it"
            yield Problem("node-resting", name, what, {"node": view.node(name).get("ID")})


def network_unallocated(site: Site) -> Iterator[Problem]:
    """The leader gives each network a driver, a number and a subnet before anything can use it. Managers list those without."""
    manager = View(site).acting
    for name, network in site.facts[manager].networks.items() if manager else ():
        if network.get("Scope") == "swarm" and network.get("Driver") == "":
            what = f"{manager} lists the network {name} without a driver and a subnet: the swarm's leader could not allocate it"
            yield Problem("network-unallocated", "", what, {"network": name})


def engines_apart(site: Site) -> Iterator[Problem]:
    """No packet passes between engines that do not know each other from gossip."""
    ours = View(site).hosts
    for name in ours:
        if strangers := [other for other in lacking(site, name) if other in ours]:
            what = f"its engine does not know {', '.join(strangers)} from gossip, so no packet passes between them"
            only = strangers[0] if len(strangers) == 1 else ""
            yield Problem("engines-apart", name, what, {"reunion": site.plane.reunion(site)}, target=only)


def certificate_validity(site: Site) -> Iterator[Problem]:
    """Managers reject a node whose certificate expired while it was off, or was not renewed in time (moby#42660)."""
    for name in site.live:
        facts = site.facts[name]
        holds = on_host.validity(facts.files.get(on_host.CERTIFICATE, ""))
        if not holds or not facts.now or state(facts) == "inactive":
            continue
        begin, end = holds
        if facts.now > end:
            what = f"its swarm certificate expired {(facts.now - end) / _DAY:.0f} days ago: the managers reject it"
            yield Problem("swarm-certificate", name, what)
        elif end - facts.now < _RENEWED * (end - begin):
            what = f"its swarm certificate expires in {(end - facts.now) / _DAY:.0f} days and was not renewed in time"
            yield Problem("swarm-certificate", name, what, variant="soon", warns=True)


def address_changed(site: Site) -> Iterator[Problem]:
    """A node can't change its advertised address while it is in the swarm (moby#41043)."""
    view = View(site)
    for name in view.hosts:
        facts, wanted = site.facts[name], str(site.advertise.get(name, ""))
        known = str(swarm_info(facts).get("NodeAddr") or wanted)
        data = str(json_object(facts.files.get(on_host.STATE, "")).get("DataPathAddr") or wanted)
        if wanted and {known, data} != {wanted}:
            what = f"the swarm knows it by the address {known}, and its data path by {data}; wanted: {wanted}"
            leave = "docker swarm leave, on this host"
            if swarm_info(facts).get("ControlAvailable"):
                node = swarm_info(facts).get("NodeID")
                leave = f"docker node demote {node}, on another manager, then docker swarm leave --force, on this host"
            yield Problem("address-changed", name, what, {"known": known, "leave": leave})


def fixed_settings(site: Site) -> Iterator[Problem]:
    """Settings that are fixed when a swarm is created. For those that the inventory omits, the engine's defaults are wanted.

    They are not read from the swarm: the firewall's port would then depend on whether a manager answers.
    """
    found = next(filter(None, (cluster(site.facts[name]) for name in View(site).hosts)), None)
    if not found:
        return
    given, inventory = site.inventory.swarm, site.inventory
    port = found.get("DataPathPort") or DATA_PORT  # engines before 19.03 report no port, those before 18.09 no pools
    pools = sorted(IPv4Network(text, strict=False) for text in found.get("DefaultAddrPool") or ENGINES_POOL.pools)
    size = found.get("SubnetSize") or ENGINES_POOL.size
    wanted = sorted(inventory.address_pool.pools)
    for key, setting, actual, desired, words in (
        ("data_path_port", given and given.data_path_port, port, inventory.data_path_port, str(port)),
        (
            "default_addr_pool",
            given and given.default_addr_pool,
            _pools(pools, size),
            _pools(wanted, inventory.address_pool.size),
            f"{{pools: [{', '.join(map(str, pools))}], size: {size}}}",
        ),
    ):
        if actual != desired:
            default = "" if setting else f", the engine's default, since the inventory has no swarm.{key}"
            what = (
                f"the swarm was created with {key} {actual}; wanted: {desired}{default}. It can't be changed afterwards"
            )
            yield Problem("swarm-fixed", "", what, {"key": key, "value": words}, "store" if inventory.store else "")


def _pools(pools: list[IPv4Network], size: int) -> str:
    return f"{', '.join(map(str, pools))} (subnets of /{size})"


def nodes_left_out(site: Site) -> Iterator[Problem]:
    """The hosts' firewalls shut out nodes that the inventory does not name. A majority of the managers must not be among them."""
    view = View(site)
    # A host that is being removed is known, too.
    known = {str(address) for address in (*site.advertise.values(), site.leaving)}
    ours = {str(swarm_info(site.facts[name]).get("NodeID")) for name in view.hosts}
    strangers = {key: node for key, node in view.nodes.items() if key not in ours and address_of(node) not in known}
    if not strangers:
        return
    managers = [key for key, node in view.nodes.items() if node.get("ManagerStatus")]
    lost = 2 * sum(key not in strangers for key in managers) <= len(managers)
    names = ", ".join(sorted(f"{hostname(n) or '?'} ({address_of(n)})" for n in strangers.values()))
    what = f"the swarm has nodes that are not in the inventory and would be shut out: {names}"
    yield Problem("node-left-out", "", what, warns=not lost)


def _free_pool(site: Site) -> IPv4Network | None:
    """Return a private range that overlaps with no live host's route and no network of the inventory."""
    taken = [route for name in site.live for _, route in site.facts[name].routes if route.prefixlen]
    taken += [network.subnet for network in site.inventory.networks.values() if network.subnet]
    ranges = IPv4Network("10.0.0.0/8").subnets(new_prefix=16)
    return next((each for each in ranges if not any(each.overlaps(other) for other in taken)), None)


def ingress_overlap(site: Site) -> Iterator[Problem]:
    """A new swarm uses the first subnet of its address pool, whatever the hosts reach there (moby#33626)."""
    if View(site).exists:
        return
    first = site.inventory.address_pool.first
    place = ", and control_plane to swarm, in place of `store`" if site.inventory.store else ""
    free = f"; free on all hosts: `pools: [{pool}]`" if (pool := _free_pool(site)) else ""
    setting = {"setting": f"swarm.default_addr_pool{place}{free}"}
    would = f"the swarm would use {first} for its network ingress"
    for network in site.inventory.networks.values():  # the inventory's own check refuses this, unless it names a store
        if network.subnet and network.subnet.overlaps(first):
            what = f"{would}, which overlaps with the subnet {network.subnet} of the network {network.name}"
            yield Problem("subnet-overlap", "", what, setting, "ingress")
    for name in site.live:
        for interface, route in site.facts[name].routes:
            if route.overlaps(first):
                what = f"{would}, which overlaps with the host's route {route} on {interface}"
                yield Problem("subnet-overlap", name, what, setting, "ingress-route")
