"""A swarm as one of its managers describes it: its nodes as hosts, its overlay networks, and its fixed settings.

The manager's answers are data: each value passes the inventory's own check, or it is left out with a note. Sources: moby's API
reference (GET /info, /nodes, /networks); tested with 20.10.5 and 26.1.5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_network
from typing import TYPE_CHECKING, Any

from provisioner.inventory import values
from provisioner.inventory.engine_models import DATA_PORT, ENGINES_POOL
from provisioner.inventory.importers import names
from provisioner.inventory.importers.draft import refused
from provisioner.inventory.network_models import NetworkEntry
from provisioner.inventory.problems import code, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

LABEL = "provisioner.cluster"
_MTU = "com.docker.network.driver.mtu"
_ENCRYPTED = "encrypted"
_OF_THE_ENGINE = frozenset(  # options of a network that the engine adds by itself
    {
        "com.docker.network.driver.overlay.vxlanid_list",
        "com.docker.network.enable_ipv4",
        "com.docker.network.enable_ipv6",
    }
)


@dataclass(frozen=True, slots=True)
class Answers:
    """What a manager said: /info, /nodes and /networks, with the shapes of system/answers.py."""

    info: Mapping[str, Any]
    nodes: Sequence[Mapping[str, Any]]
    networks: Iterable[Mapping[str, Any]]

    @property
    def swarm(self) -> Mapping[str, Any]:
        return self.info.get("Swarm") or {}

    @property
    def cluster(self) -> Mapping[str, Any]:
        return self.swarm.get("Cluster") or {}

    @property
    def label(self) -> str:
        """The cluster's name, if `provisioner` has created the swarm."""
        return str(((self.cluster.get("Spec") or {}).get("Labels") or {}).get(LABEL, ""))


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the swarm. address: where the other nodes reach it. left_out: why it can't be a host."""

    id: str
    name: str
    address: str = ""
    manager: bool = False
    down: bool = False
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class Swarm:
    """A swarm with valid values: the nodes that can be hosts, with names of the inventory, and its networks' entries.

    cluster: its label, or "swarm". labelled: whether it has one. me: the name of the node that answered.
    led: whether it has a leader; without one, only the managers are known.
    notes: on nodes, networks and values that an inventory can't have. unexamined: these nodes.
    """

    cluster: str
    me: str
    nodes: tuple[Node, ...]
    networks: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    unexamined: tuple[Node, ...] = ()
    labelled: bool = False
    led: bool = True

    @property
    def managers(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.nodes if node.manager)

    def document(self, ssh: Mapping[str, Any], address: str, reached: Iterable[str]) -> dict[str, Any]:
        """Return the values of an inventory. ssh: how its hosts are reached. address: where the manager was reached.

        reached: the names of the nodes to take as hosts; the manager is always one.
        """
        wanted = {self.me, *reached}
        hosts = {
            node.name: {"address": address if node.name == self.me else node.address}
            | ({"advertise": node.address} if node.address else {})
            for node in self.nodes
            if node.name in wanted
        }
        swarm = {"managers": [name for name in self.managers if name in wanted], **self.settings}
        return {
            "cluster": self.cluster,
            "ssh": dict(ssh),
            "control_plane": "swarm",
            "hosts": hosts,
            "swarm": swarm,
            "networks": {name: dict(entry) for name, entry in self.networks.items()},
        }


def understood(answers: Answers) -> Swarm:
    """Return the swarm that a manager describes."""
    me = str(answers.swarm.get("NodeID", ""))
    found = _distinct([_node(node, answers) for node in answers.nodes], me)
    usable = sorted((node for node in found if not node.left_out), key=lambda node: _natural(node.name))
    named = [_renamed(node, name) for node, name in zip(usable, names.tidied([n.name for n in usable]), strict=True)]
    unusable = tuple(node for node in found if node.left_out)
    networks, notes = _networks(answers.networks)
    labelled = bool(values.CLUSTER.fullmatch(answers.label))
    return Swarm(
        cluster=answers.label if labelled else "swarm",
        labelled=labelled,
        led=bool(answers.cluster.get("ID")),
        me=next((node.name for node in named if node.id == me), ""),
        nodes=tuple(named),
        networks=networks,
        settings=_settings(answers.cluster),
        notes=(*(f"node {code(node.name)} is left out: {node.left_out}" for node in unusable), *notes),
        unexamined=unusable,
    )


# -- nodes -----------------------------------------------------------------------------------------------------------


def _node(found: Mapping[str, Any], answers: Answers) -> Node:
    status, manager = found.get("Status") or {}, found.get("ManagerStatus") or {}
    own = found["ID"] == answers.swarm.get("NodeID")
    address = str((own and answers.swarm.get("NodeAddr")) or _of_manager(manager) or status.get("Addr", ""))
    name = str((found.get("Description") or {}).get("Hostname", "")) or str(found["ID"])[:12]
    why = _unusable(address)
    return Node(
        id=str(found["ID"]),
        name=name,
        address="" if why else address,
        manager=(found.get("Spec") or {}).get("Role") == "manager",
        down=status.get("State") == "down",
        left_out="" if own else why,
    )


def _of_manager(status: Mapping[str, Any]) -> str:
    """Return the address of a manager, whose Status may have 0.0.0.0."""
    return str(status.get("Addr", "")).rpartition(":")[0]


def _unusable(address: str) -> str:
    """Return why other nodes can't be reached at this address; "" if they can."""
    try:
        ip = IPv4Address(address)
    except ValueError:
        return f"{shown(address)} is not an IPv4 address" if address else "the manager knows no address of it"
    special = ip.is_loopback or ip.is_unspecified or ip.is_multicast or ip.is_link_local or ip.is_reserved
    return f"{ip} is not an address where other hosts can be" if special else ""


def _distinct(nodes: list[Node], me: str) -> list[Node]:
    """Leave out the second node of an address: a host that joined again has left its old node behind, which is down."""
    first: dict[str, Node] = {}
    result = []
    for node in sorted(nodes, key=lambda node: (node.id != me, node.down)):
        other = first.setdefault(node.address, node) if node.address else node
        if other is node:
            result.append(node)
        elif not node.down:
            result.append(_left_out(node, f"it has the address of {code(other.name)}, {node.address}"))
    return result


def _left_out(node: Node, why: str) -> Node:
    return Node(node.id, node.name, node.address, node.manager, node.down, why)


def _renamed(node: Node, name: str) -> Node:
    return Node(node.id, name, node.address, node.manager, node.down)


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort node2 before node10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"([0-9]{1,9})", name)]


# -- networks and settings ---------------------------------------------------------------------------------------------


def _networks(found: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """Return name -> entry of the swarm's overlay networks, except the one for published ports, and notes."""
    entries: dict[str, Mapping[str, Any]] = {}
    notes = []
    for network in found:
        name = network["Name"]
        if network["Driver"] != "overlay" or network.get("Scope") != "swarm" or network.get("Ingress"):
            continue
        entry, why = _entry(network)
        if fault := _name_fault(name):
            notes.append(f"network {shown(name)} is left out: {fault}")
        elif "subnet" not in entry:
            notes.append(f"network {code(name)} is left out: it has no IPv4 subnet")
        else:
            entries[name] = entry
            notes += [f"network {code(name)}: {each}" for each in why]
    return dict(sorted(entries.items())), notes


def _name_fault(name: str) -> str:
    try:
        values.network_name(name)
    except ValueError as error:
        return str(error)
    return ""


def _entry(network: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return a network's entry in an inventory, and what an inventory can't express."""
    pools = [pool for pool in (network.get("IPAM") or {}).get("Config") or () if pool.get("Subnet")]
    four = [pool for pool in pools if ":" not in pool["Subnet"]]
    options = {str(key): str(value) for key, value in (network.get("Options") or {}).items()}
    mtu = options.get(_MTU, "")
    entry: dict[str, Any] = dict(_addresses(four[0]) if four else ())
    entry |= {"mtu": int(mtu)} if mtu.isascii() and mtu.isdecimal() and len(mtu) < 6 else {}  # noqa: PLR2004
    entry |= {
        key: True
        for key, wanted in (("internal", network.get("Internal")), ("encrypted", _ENCRYPTED in options))
        if wanted
    }
    entry |= {} if network.get("Attachable") else {"attachable": False}
    others = {key: value for key, value in options.items() if key not in {*_OF_THE_ENGINE, _ENCRYPTED, _MTU}}
    entry |= {
        key: value for key, value in (("options", others), ("labels", dict(network.get("Labels") or {}))) if value
    }
    notes = [f"only the first of its {len(four)} IPv4 subnets is in the inventory"] if len(four) > 1 else []
    notes += ["its IPv6 subnet is left out: IPv6 does not work in overlays"] if len(four) < len(pools) else []
    bad = refused(NetworkEntry, entry)
    notes += [f"{key} is left out: {why}" for key, why in bad.items()]
    return {key: value for key, value in entry.items() if key not in bad}, notes


def _addresses(pool: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    subnet = ip_network(pool["Subnet"], strict=False)
    yield "subnet", str(subnet)
    gateway = str(pool.get("Gateway") or "").partition("/")[0]
    if gateway and gateway != str(subnet.network_address + 1):
        yield "gateway", gateway
    if pool.get("IPRange"):
        yield "ip_range", str(pool["IPRange"])
    if pool.get("AuxiliaryAddresses"):
        yield "aux_addresses", dict(pool["AuxiliaryAddresses"])


def _settings(cluster: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was fixed when the swarm was created, where it is not the engines' default."""
    found: dict[str, Any] = {}
    port = cluster.get("DataPathPort") or DATA_PORT  # engines before 19.03 report none, those before 18.09 no pools
    if port != DATA_PORT:
        found["data_path_port"] = port
    pools = [IPv4Network(text, strict=False) for text in cluster.get("DefaultAddrPool") or ()]
    size = cluster.get("SubnetSize") or ENGINES_POOL.size
    if pools and (tuple(pools), size) != (ENGINES_POOL.pools, ENGINES_POOL.size):
        found["default_addr_pool"] = {"pools": [str(pool) for pool in pools], "size": size}
    return found
