"""swarm: the engines form a swarm. Engines 23.0 and later require this; earlier ones support it.

A swarm that `provisioner` creates has a label with the cluster's name. By the label, a later run recognises the swarm of an
interrupted one, and takes no foreign swarm for it. A swarm without the label is taken over if most hosts of the inventory are
in it.

A worker lists an overlay network only while one of its containers uses it, so networks are created on a manager. Sources:
moby's API reference (/info, /nodes, /swarm/init, /swarm/join); tested with 20.10.5 and 26.1.5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from provisioner import render
from provisioner.controlplane.base import ELECTION, Closed, EngineFiles
from provisioner.model import Problem
from provisioner.system import firewall, gossip
from provisioner.system import swarm as on_host
from provisioner.system.reading import ENGINE_DROPIN, Sought
from provisioner.system.request import ENGINE, Request
from provisioner.system.strict import json_object, literal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from ipaddress import IPv4Address

    from provisioner.controlplane.base import SiteView
    from provisioner.inventory import Inventory
    from provisioner.model import Drift
    from provisioner.system.facts import Facts
    from provisioner.system.firewall import Ports

LABEL = "provisioner.cluster"
RESTS = {"drain": "drained", "pause": "paused"}  # availability of nodes that get no tasks -> text; see Swarm.closed
SOUGHT = Sought(
    driver="none",
    scheme="none",
    files=on_host.FILES,
    engine=(Request("nodes", ENGINE, "/nodes"), Request("ingress", ENGINE, "/networks/ingress")),
    ports={on_host.MANAGERS: "swarm"},
    settled=on_host.STATE,
)


class Swarm:
    name = "swarm"
    unused = frozenset({"store", "gossip"})
    scope = "swarm"
    majority = ("swarm", "managers")
    # A single manager joins no other after its restart. The other engines look for it once a minute (libnetwork, networkdb's
    # rejoinClusterInterval), and then need up to ten seconds. Measured: 57 s.
    patience = 75.0

    def sought(self, inventory: Inventory) -> Sought:
        return replace(SOUGHT, ports={**SOUGHT.ports, inventory.data_path_port: "VXLAN"})

    def ports(self, inventory: Inventory) -> Ports:
        encrypted = any(network.encrypted for network in inventory.networks.values())
        return firewall.of_swarm(managers=on_host.MANAGERS, data=inventory.data_path_port, esp=encrypted)

    def programs(self, site: SiteView, host: str) -> tuple[str, ...]:
        return ()

    def servers(
        self, inventory: Inventory, facts: Mapping[str, Facts], advertise: Mapping[str, IPv4Address]
    ) -> tuple[str, ...]:
        """Return the managers: 1 for up to 2 hosts, 3 for 3 or 4, otherwise 5. All existing managers stay managers."""
        if inventory.swarm and inventory.swarm.managers:
            return inventory.swarm.managers
        names = list(inventory.hosts)
        known = {address for of in facts.values() for address in managers(of)}
        already = [name for name in names if advertise.get(name) in known and _may_be_ours(inventory, facts, name)]
        others = [name for name in names if name not in already]
        chosen = already + others[: max(0, len(inventory.servers) - len(already))]
        return tuple(name for name in names if name in chosen)

    def remembered(self, inventory: Inventory, facts: Mapping[str, Facts]) -> dict[str, IPv4Address]:
        """Return the hosts' addresses by hostname, which is the only name of a node in a swarm."""
        listed = [node for of_host in facts.values() for node in nodes(of_host)]
        found = {hostname(node): literal(address_of(node)) for node in listed}
        return {name: address for name, address in found.items() if name in inventory.hosts and address}

    def engine(self, site: SiteView, host: str) -> EngineFiles:
        """Return the unit that starts containers which the engine gave up.

        Files for an external store are removed: otherwise the engine would wait for the store at every boot.
        """
        files = {
            on_host.PROGRAM: render.text("containers.sh.j2"),
            on_host.UNIT_FILE: render.text("containers.service.j2", program=on_host.PROGRAM),
        }
        units = ("docker.service", on_host.UNIT)
        return EngineFiles(files=files, units=units, gone=(ENGINE_DROPIN, gossip.UNIT_FILE, gossip.PROGRAM))

    def running(self, site: SiteView, host: str) -> list[Drift]:
        return []

    def leaderless(self, host: str, what: str) -> Problem:
        return Problem("swarm-leaderless", host, what, variant="start")

    def joined(self, facts: Facts) -> bool:
        return swarm_info(facts).get("LocalNodeState") == "active"

    def advertised(self, facts: Facts) -> str:
        return str(swarm_info(facts).get("NodeAddr", ""))

    def standing(self, site: SiteView, host: str) -> tuple[str, str, str]:
        facts, view = site.facts[host], View(site)
        if view.member(host) is Member.NONE:
            return "", "", ""
        if state(facts) == "locked":
            return "swarm", "locked, waits for its key", ""
        role = "manager" if swarm_info(facts).get("ControlAvailable") else "worker"
        well = view.member(host) is Member.OURS and state(facts) == "active"
        rests = f", {rest}" if (rest := RESTS.get(availability(view.node(host)))) else ""
        return "swarm", role + rests if well else f"{view.member(host)}, {state(facts)}", view.leader

    def creator(self, site: SiteView) -> str:
        return View(site).acting

    def reunion(self, site: SiteView) -> str:
        """Return the cure for engines that do not know one another.

        An engine knows only the managers that exist when it starts, and looks for these once a minute (networkdb's
        rejoinClusterBootStrap). Seen with 26.1.5: the manager's role moved to another host, whose engine restarted. The
        other engines would never have found it.
        """
        managers = {site.advertise.get(name) for name in site.servers if name in site.live}
        known = {name: site.facts[name].gossip or frozenset() for name in View(site).hosts}
        lost = [name for name, engines in known.items() if name not in site.servers and managers.isdisjoint(engines)]
        where = f"on {', '.join(lost)}, one after the other" if lost else "on one side"
        return (
            "make sure that 7946/tcp and 7946/udp pass between these hosts in both directions; if they do and this persists for"
            f" a minute, run {where}: systemctl restart docker; an engine finds the managers when it starts (its containers"
            " stop during the restart)"
        )

    def closed(self, site: SiteView, host: str) -> Closed | None:
        """A container joins a network through a task. If the node gets no tasks, it fails after 20 s (tested with 26.1.5)."""
        view = View(site)
        if host not in site.facts:
            return None
        if view.member(host) is Member.UNKNOWN and state(site.facts[host]) in {"active", "pending"}:
            what = "its swarm has no leader, so containers can't join the swarm's networks"
            return Closed(self.leaderless(host, what), heals=ELECTION)
        node = view.node(host)
        rest = RESTS.get(availability(node))
        if not rest:
            return None
        what = f"its swarm node is {rest}, so containers that start there can't join the swarm's networks"
        return Closed(Problem("node-resting", host, what, {"node": node["ID"]}))

    def lists(self, facts: Facts) -> bool:
        return bool(swarm_info(facts).get("ControlAvailable"))


def swarm_info(facts: Facts) -> Mapping[str, Any]:
    """Return the part of /info about the swarm; {} if the engine does not answer."""
    found = facts.engine.get("Swarm")
    return found if isinstance(found, dict) else {}


def state(facts: Facts) -> str:
    """Return inactive, pending, active, error or locked; "" if the engine does not answer."""
    return str(swarm_info(facts).get("LocalNodeState", "inactive")) if facts.engine else ""


def in_swarm(facts: Facts) -> bool:
    """Return whether the engine is in a swarm, in whatever state. False also if it does not answer."""
    return state(facts) not in {"", "inactive"}


def data_address(facts: Facts) -> str:
    """Return the address to which the others send its containers' packets; "" if it is the advertised one."""
    found = literal(str(json_object(facts.files.get(on_host.STATE, "")).get("DataPathAddr", "")))
    return str(found) if found and str(found) != str(swarm_info(facts).get("NodeAddr", "")) else ""


def cluster(facts: Facts) -> Mapping[str, Any]:
    """Return a manager's description of the swarm; {} on workers, and without a leader (managers then report zeros)."""
    found = swarm_info(facts).get("Cluster")
    return found if isinstance(found, dict) and found.get("ID") else {}


def remote(facts: Facts) -> tuple[Mapping[str, Any], ...]:
    """Return the managers that this node knows: NodeID, and Addr as ADDRESS:PORT."""
    return tuple(swarm_info(facts).get("RemoteManagers") or ())


def managers(facts: Facts) -> list[IPv4Address | None]:
    """Return the addresses of the managers that this node knows; None for each that is not IPv4."""
    return [literal(str(manager.get("Addr", "")).rpartition(":")[0]) for manager in remote(facts)]


def asked_manager(facts: Facts) -> str:
    """Return the manager, as ADDRESS:PORT, that the engine asks to let it into a swarm; "" if it does not ask.

    Until then, the engine has no ID as a node. Its state is "pending", and "error" after it has asked in vain for a while; then
    only its file names the manager (seen with 20.10.5).
    """
    if swarm_info(facts).get("NodeID") or state(facts) not in {"pending", "error"}:
        return ""
    saved = json_object(facts.files.get(on_host.STATE, ""))
    known = [saved.get("RemoteAddr")] if saved.get("JoinInProgress") else [each.get("Addr") for each in remote(facts)]
    found = str(next(iter(known), ""))
    return found if re.fullmatch(r"[^:\s]+:[0-9]{1,5}", found) else ""


def nodes(facts: Facts) -> tuple[Mapping[str, Any], ...]:
    """Return the swarm's nodes as a manager lists them; nothing on other hosts."""
    return facts.swarm_nodes


def label(facts: Facts) -> str:
    """Return the cluster's name from the label of this manager's swarm; "" without our label."""
    return str(((cluster(facts).get("Spec") or {}).get("Labels") or {}).get(LABEL, ""))


def founder(site: SiteView, host: str) -> str:
    """Return the host of the inventory that this host has recorded as the founder of the swarm, or ""."""
    found = on_host.recorded(site.facts[host].files.get(on_host.FOUNDER, ""), site.inventory.cluster)
    if not found or found[0] in site.inventory.hosts:
        return found[0] if found else ""
    return next((name for name, address in site.advertise.items() if str(address) == found[1]), "")


def _may_be_ours(inventory: Inventory, facts: Mapping[str, Facts], name: str) -> bool:
    """Return whether this manager's swarm is ours or has no label. A host that did not answer counts as ours."""
    return name not in facts or label(facts[name]) in {"", inventory.cluster}


class Member(StrEnum):
    """Whether a host is in the cluster's swarm."""

    NONE = "in no swarm"
    JOINING = "joining the cluster's swarm"  # no manager has let it in yet
    OURS = "in the cluster's swarm"
    OTHER = "in another swarm"
    SECOND = "in a second swarm of this cluster"  # and alone in it
    UNKNOWN = "in a swarm that has no leader"  # it may be ours


@dataclass(frozen=True)
class View:
    """The cluster's swarm, as the live hosts of one site report it."""

    site: SiteView

    @cached_property
    def _clusters(self) -> dict[str, list[str]]:
        """ID of a swarm -> the live hosts that are certainly in it, managers first.

        A worker knows the managers, but new ones only after some seconds. Managers know every node.
        """
        facts = {name: self.site.facts[name] for name in self.site.live}
        found: dict[str, list[str]] = {}
        known: dict[str, set[str]] = {}
        for name, of_host in facts.items():
            if number := str(cluster(of_host).get("ID", "")):
                found.setdefault(number, []).append(name)
                own = (
                    swarm_info(of_host)["NodeID"],
                    *(m["NodeID"] for m in remote(of_host)),
                    *(node["ID"] for node in nodes(of_host)),
                )
                known.setdefault(number, set()).update(own)
        for number, ids in known.items():
            found[number] += [
                name
                for name, of_host in facts.items()
                if name not in found[number]
                and ids & {swarm_info(of_host).get("NodeID"), *(m["NodeID"] for m in remote(of_host))}
            ]
        return found

    @cached_property
    def _ours(self) -> list[list[str]]:
        """The live hosts of each swarm that has the cluster's label, managers first. The swarm to keep is the first."""
        found = [
            hosts
            for hosts in self._clusters.values()
            if label(self.site.facts[hosts[0]]) == self.site.inventory.cluster
        ]
        return sorted(found, key=self._size, reverse=True)

    def _size(self, hosts: list[str]) -> tuple[int, int, int]:
        """Return the sort key of a swarm: its live hosts, then its nodes, then its networks."""
        facts = self.site.facts[hosts[0]]
        networks = sum(network.get("Scope") == "swarm" for network in facts.networks.values())
        return len(hosts), len(nodes(facts)), networks

    @cached_property
    def _unlabelled(self) -> list[list[str]]:
        return [hosts for hosts in self._clusters.values() if not label(self.site.facts[hosts[0]])]

    @cached_property
    def _founded(self) -> list[list[str]]:
        """The unlabelled swarms of a recorded founder, which has not labelled its swarm yet or lost power before it could."""
        return [hosts for hosts in self._unlabelled if any(founder(self.site, name) == name for name in hosts)]

    @cached_property
    def hosts(self) -> tuple[str, ...]:
        """The live hosts that are certainly in the cluster's swarm. Empty if there is none, or if it has no leader."""
        taken_over = [
            hosts for hosts in self._unlabelled if 2 * (len(hosts) + self._silent(hosts)) > len(self.site.live)
        ]
        return tuple(next(iter(self._ours or self._founded or taken_over), ()))

    def _silent(self, hosts: Collection[str]) -> int:
        """Return how many live hosts have an engine that does not answer, and an address that this swarm lists as a node's."""
        listed = {address_of(node) for name in hosts for node in nodes(self.site.facts[name])}
        silent = (name for name in self.site.live if not self.site.facts[name].engine)
        return sum(str(self.site.advertise.get(name)) in listed for name in silent)

    @cached_property
    def lacks_label(self) -> bool:
        """Whether a recorded founder has created the cluster's swarm and not labelled it yet."""
        return not self._ours and bool(self._founded)

    def member(self, host: str) -> Member:
        facts, ours = self.site.facts[host], self.hosts
        if not in_swarm(facts):
            return Member.NONE
        if host in ours:
            return Member.OURS
        if cluster(facts):
            return Member.SECOND if [host] in self._ours and len(nodes(facts)) == 1 else Member.OTHER
        addresses = set(managers(facts))
        if ours and (asked := asked_manager(facts)):
            return Member.JOINING if literal(asked.rpartition(":")[0]) in self.site.advertise.values() else Member.OTHER
        near = not addresses or not addresses.isdisjoint({*self.site.advertise.values(), self.site.leaving})
        return Member.UNKNOWN if near and not (ours and addresses) else Member.OTHER

    @cached_property
    def exists(self) -> bool:
        """Whether a swarm exists that may be the cluster's. Then no other one is created."""
        return any(self.member(name) in {Member.OURS, Member.UNKNOWN} for name in self.site.live)

    @cached_property
    def acting(self) -> str:
        """The live manager that answers and acts for the swarm, or "". One that is to stay a manager is preferred."""
        able = [name for name in self.hosts if nodes(self.site.facts[name])]
        return next((name for name in able if name in self.site.servers), next(iter(able), ""))

    @cached_property
    def nodes(self) -> dict[str, Mapping[str, Any]]:
        """ID -> node of the cluster's swarm, as the acting manager lists it."""
        found = nodes(self.site.facts[self.acting]) if self.acting else ()
        return {str(node["ID"]): node for node in found}

    def node(self, host: str) -> Mapping[str, Any]:
        """Return a host's node, or {}. A host that does not answer is identified by its address."""
        if host in self.site.facts:
            return self.nodes.get(str(swarm_info(self.site.facts[host]).get("NodeID")), {})
        return next(iter(self._at(host)), {})

    def stale(self, host: str) -> list[Mapping[str, Any]]:
        """Return the nodes that a host left behind when it left the swarm.

        None if the host does not answer, or if its engine does not: it may still be in the swarm.
        """
        if host not in self.site.live:
            return []
        facts, info = self.site.facts[host], swarm_info(self.site.facts[host])
        if "dockerd" in facts.programs and not info:
            return []
        own = str(info.get("NodeID", ""))
        return [node for node in self._at(host) if node["ID"] != own and (own or is_down(node))]

    def _at(self, host: str) -> list[Mapping[str, Any]]:
        """Return the nodes with a host's address, those that are not down first."""
        address = str(self.site.advertise.get(host, "?"))
        return sorted((node for node in self.nodes.values() if address_of(node) == address), key=is_down)

    @cached_property
    def leader(self) -> str:
        """The address of the swarm's leader; "" if there is none or no manager answers."""
        return next((address_of(n) for n in self.nodes.values() if (n.get("ManagerStatus") or {}).get("Leader")), "")


def hostname(node: Mapping[str, Any]) -> str:
    return str((node.get("Description") or {}).get("Hostname", ""))


def availability(node: Mapping[str, Any]) -> str:
    """Return a node's availability: active, pause or drain; "" without a node."""
    return str((node.get("Spec") or {}).get("Availability", ""))


def is_down(node: Mapping[str, Any]) -> bool:
    return (node.get("Status") or {}).get("State") == "down"


def address_of(node: Mapping[str, Any]) -> str:
    """Return the address that a node advertises. A manager's is in its ManagerStatus, because its Status may have 0.0.0.0."""
    of_manager = str((node.get("ManagerStatus") or {}).get("Addr", "")).rpartition(":")[0]
    return of_manager or str((node.get("Status") or {}).get("Addr", ""))
