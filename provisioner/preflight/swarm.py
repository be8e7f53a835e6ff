"""Checks of swarm mode: nobody else's swarm is joined, none of the engine's settings excludes it, nothing that is fixed differs."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from provisioner.controlplane.apart import lacking
from provisioner.controlplane.choice import has_no_store
from provisioner.controlplane.swarm import (
    Member,
    View,
    address_of,
    cluster,
    hostname,
    label,
    managers,
    nodes,
    state,
    told,
)
from provisioner.errors import StepFailed
from provisioner.inventory.engine_models import DATA_PORT, ENGINES_POOL
from provisioner.model import Problem
from provisioner.system import daemon_json
from provisioner.system import swarm as on_host
from provisioner.system.reading import DAEMON_JSON
from provisioner.system.strict import json_object

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.controlplane import Site
    from provisioner.system.facts import Facts

_KEYS = ("cluster-store", "cluster-advertise", "cluster-store-opts")
_RENEWED = 0.15  # of a certificate's life: swarmkit renews it when between 0.5 and 0.2 are left
_DAY = 86400


def _store_keys(name: str, facts: Facts) -> list[str]:
    try:
        found = daemon_json.parse(name, facts.files.get(DAEMON_JSON, ""))
    except StepFailed:
        return []  # it is told by a check of its own
    return [key for key in _KEYS if key in found]


def store_keys_left(site: Site) -> Iterator[Problem]:
    """From 23.0 on an engine that finds them in its file does not start, an upgraded one for example."""
    for name in site.live:
        facts = site.facts[name]
        if has_no_store(facts.engine_version) and (keys := _store_keys(name, facts)):
            what = f"{DAEMON_JSON} has {', '.join(keys)}, with which its engine {facts.engine_version} does not start"
            yield Problem("store-keys-left", name, what, {"path": DAEMON_JSON})


def store_in_use(site: Site) -> Iterator[Problem]:
    """An engine on an external store can't be in a swarm (moby v20.10, daemon/cluster)."""
    for name in site.live:
        facts = site.facts[name]
        keys = [] if has_no_store(facts.engine_version) else _store_keys(name, facts)
        if facts.engine.get("ClusterStore") or keys:
            overlays = [n for n, network in facts.networks.items() if network.get("Scope") == "global"]
            what = f"its engine is on an external store ({facts.engine.get('ClusterStore') or ', '.join(keys)}), which excludes a swarm"
            values = {"networks": " ".join(overlays), "keys": ", ".join(_KEYS), "path": DAEMON_JSON}
            yield Problem("store-in-use", name, what, values, "networks" if overlays else "")


def live_restore(site: Site) -> Iterator[Problem]:
    for name in site.live:
        facts = site.facts[name]
        try:
            asked = daemon_json.parse(name, facts.files.get(DAEMON_JSON, "")).get("live-restore")
        except StepFailed:
            asked = None
        if facts.engine.get("LiveRestoreEnabled") or asked:
            what = "its engine has live-restore on, which excludes a swarm"
            yield Problem("live-restore", name, what, {"path": DAEMON_JSON})


def other_swarm(site: Site) -> Iterator[Problem]:
    """A node of another swarm is never taken out of it: services may run there."""
    view = View(site)
    for name in site.live:
        if view.member(name) is not Member.OTHER:
            continue
        facts = site.facts[name]
        managers = ", ".join(sorted(str(entry.get("Addr")) for entry in told(facts).get("RemoteManagers") or ()))
        what = f"its engine is in another swarm{f' (managers: {managers})' if managers else ''}"
        unknown = ", ".join(host for host in site.inventory.hosts if host not in site.advertise)
        variant = "unreached" if managers and unknown else ""  # one of them may be the manager
        if label(facts) == site.inventory.cluster:
            names = ", ".join(sorted(hostname(node) or "?" for node in nodes(facts)))
            what += f", which was made for this cluster too and has these nodes: {names}"
            variant = "same-label"
        yield Problem("other-swarm", name, what, {"hosts": ", ".join(view.hosts), "unknown": unknown}, variant)


def second_swarm(site: Site) -> Iterator[Problem]:
    """Each was made for this cluster. In one of them a host is alone, and leaves it if nothing is in it."""
    view = View(site)
    for name in site.live:
        if view.member(name) is Member.SECOND:
            what = f"its engine is in a second swarm of this cluster, alone; the others ({', '.join(view.hosts)}) are in another one"
            yield Problem("second-swarm", name, what)


def not_well(site: Site) -> Iterator[Problem]:
    manager = View(site).acting
    for name in site.live:
        facts = site.facts[name]
        if state(facts) == "locked":
            what = "its engine was restarted in a swarm with autolock, and is locked: it waits for the swarm's key"
            yield Problem("swarm-locked", name, what, {"manager": manager}, "" if manager else "no-leader")
        elif state(facts) == "error" and View(site).member(name) is not Member.OTHER:
            what = f"its engine does not come into its swarm: {told(facts).get('Error') or 'no reason is told'}"
            yield Problem("swarm-error", name, what)


def leaderless(site: Site) -> Iterator[Problem]:
    """A majority of its managers does not take part: it stays as it is, and nothing in it can be changed. Told of one host."""
    view, names = View(site), {str(address): name for name, address in site.advertise.items()}
    cut = [
        name
        for name in site.live
        if view.member(name) is Member.UNKNOWN and state(site.facts[name]) in {"active", "pending"}
    ]
    name = min(cut, key=lambda name: not told(site.facts[name]).get("ControlAvailable"), default="")
    known = [str(address) for address in managers(site.facts[name])] if name else []
    if not name or str(site.leaving) in known:  # its leader may be the host that leaves
        return
    away = sorted(names.get(address, address) for address in known if names.get(address) not in cut)
    what = f"its swarm has no leader; of its managers ({len(known)}) these do not take part: {', '.join(away) or 'none is known'}"
    anew = "docker swarm leave --force on all hosts"
    if told(site.facts[name]).get("ControlAvailable"):
        anew = f"docker swarm init --force-new-cluster --advertise-addr {site.advertise.get(name)}, on this host alone"
    yield Problem("swarm-leaderless", name, what, {"anew": anew})


def resting(site: Site) -> Iterator[Problem]:
    """Somebody has chosen that, so that it stays."""
    view = View(site)
    for name in view.hosts:
        if closed := site.plane.closed(site, name):
            what = f"{closed.what}; what runs there goes on, and up leaves it so"
            yield Problem("node-resting", name, what, {"node": view.node(name).get("ID")})


def apart(site: Site) -> Iterator[Problem]:
    """Nothing passes between engines that do not know one another from gossip."""
    ours = View(site).hosts
    for name in ours:
        if strangers := [other for other in lacking(site, name) if other in ours]:
            what = f"its engine does not know {', '.join(strangers)} from gossip, so that nothing passes between them"
            yield Problem("engines-apart", name, what, {"reunion": site.plane.reunion(site)})


def certificates(site: Site) -> Iterator[Problem]:
    """A node that was off for too long is shut out; one that does not renew its certificate in time will be (moby#42660)."""
    for name in site.live:
        facts = site.facts[name]
        holds = on_host.validity(facts.files.get(on_host.CERTIFICATE, ""))
        if not holds or not facts.now or state(facts) == "inactive":
            continue
        begin, end = holds
        if facts.now > end:
            what = f"its certificate of the swarm ended {(facts.now - end) / _DAY:.0f} days ago: the managers refuse it"
            yield Problem("swarm-certificate", name, what)
        elif end - facts.now < _RENEWED * (end - begin):
            what = (
                f"its certificate of the swarm ends in {(end - facts.now) / _DAY:.0f} days and was not renewed in time"
            )
            yield Problem("swarm-certificate", name, what, variant="soon", warns=True)


def address_changed(site: Site) -> Iterator[Problem]:
    """What a node advertises can't be changed while it is in the swarm (moby#41043)."""
    view = View(site)
    for name in view.hosts:
        facts, wanted = site.facts[name], str(site.advertise.get(name, ""))
        known = str(told(facts).get("NodeAddr") or wanted)
        data = str(json_object(facts.files.get(on_host.STATE, "")).get("DataPathAddr") or wanted)
        if wanted and {known, data} != {wanted}:
            what = f"the swarm knows it at {known}, and its packets at {data}; wanted: {wanted}"
            leave = "docker swarm leave, on it"
            if told(facts).get("ControlAvailable"):
                leave = f"docker node demote {told(facts).get('NodeID')}, on another manager, then docker swarm leave --force, on it"
            yield Problem("address-changed", name, what, {"known": known, "leave": leave})


def fixed(site: Site) -> Iterator[Problem]:
    """What can be chosen only when a swarm is made. What the inventory leaves out is wanted as engines have it by themselves.

    It is not taken over from the swarm, since the firewall's port would then hang on whether a manager answers.
    """
    found = next(filter(None, (cluster(site.facts[name]) for name in View(site).hosts)), None)
    if not found:
        return
    asked, inventory = site.inventory.swarm, site.inventory
    port = found.get("DataPathPort") or DATA_PORT  # engines before 19.03 tell none, and before 18.09 no pools
    pools = sorted(IPv4Network(text, strict=False) for text in found.get("DefaultAddrPool") or ENGINES_POOL.pools)
    size = found.get("SubnetSize") or ENGINES_POOL.size
    wanted = sorted(inventory.address_pool.pools)
    for key, said, is_, as_wanted, words in (
        ("data_path_port", asked and asked.data_path_port, port, inventory.data_path_port, str(port)),
        (
            "default_addr_pool",
            asked and asked.default_addr_pool,
            _pools(pools, size),
            _pools(wanted, inventory.address_pool.size),
            f"{{pools: [{', '.join(map(str, pools))}], size: {size}}}",
        ),
    ):
        if is_ != as_wanted:
            default = "" if said else f", since swarm.{key} is not given"
            what = (
                f"the swarm was made with the {key} {is_}; wanted: {as_wanted}{default}. It can't be changed afterwards"
            )
            yield Problem("swarm-fixed", "", what, {"key": key, "value": words}, "store" if inventory.store else "")


def _pools(pools: list[IPv4Network], size: int) -> str:
    return f"{', '.join(map(str, pools))} in /{size}"


def left_out(site: Site) -> Iterator[Problem]:
    """Nodes that are in no inventory are shut out by the hosts' firewalls; a majority of the managers must not be."""
    view = View(site)
    known = {
        str(address) for address in (*site.advertise.values(), site.leaving)
    }  # one that is taken out is not forgotten
    ours = {str(told(site.facts[name]).get("NodeID")) for name in view.hosts}
    strangers = {key: node for key, node in view.nodes.items() if key not in ours and address_of(node) not in known}
    if not strangers:
        return
    managers = [key for key, node in view.nodes.items() if node.get("ManagerStatus")]
    lost = 2 * sum(key not in strangers for key in managers) <= len(managers)
    names = ", ".join(sorted(f"{hostname(n) or '?'} ({address_of(n)})" for n in strangers.values()))
    what = f"the swarm has nodes that are not in the inventory, and would be shut out: {names}"
    yield Problem("node-left-out", "", what, warns=not lost)


def ingress_overlap(site: Site) -> Iterator[Problem]:
    """A swarm that is made takes the first subnet of its pool, whatever the hosts reach there (moby#33626)."""
    if View(site).exists:
        return
    first = site.inventory.address_pool.first
    place = ", and control_plane to swarm, in place of `store`" if site.inventory.store else ""
    setting = {"setting": f"swarm.default_addr_pool{place}"}
    would = f"the swarm would take {first} for its network ingress"
    for network in site.inventory.networks.values():  # refused with the inventory, but where a store was named
        if network.subnet and network.subnet.overlaps(first):
            what = f"{would}, and {network.subnet} is to be the network {network.name}'s"
            yield Problem("subnet-overlap", "", what, setting, "ingress")
    for name in site.live:
        for interface, route in site.facts[name].routes:
            if route.overlaps(first):
                what = f"{would}, and the host has the route {route} on {interface}"
                yield Problem("subnet-overlap", name, what, setting, "ingress-route")
