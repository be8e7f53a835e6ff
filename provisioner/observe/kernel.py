"""The state of each host's kernel: links, routes, neighbours, forwarding entries, settings and rules. One round trip per host.

The network namespaces of overlays and containers are read too. Every value is typed and bounded here. A malformed value fails
this observation for its host only.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import TYPE_CHECKING, Any

from provisioner import render, stores
from provisioner.controlplane import swarm
from provisioner.errors import Malformed, ProvisionerError
from provisioner.observe import calls, gaps, tables
from provisioner.parallel import bounded, each
from provisioner.system import attached, reading
from provisioner.system import facts as system_facts
from provisioner.system.firewall import LISTED
from provisioner.system.strict import malformed, number, value
from provisioner.transport import Together

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from provisioner.controlplane import Site
    from provisioner.observe.gaps import Failed
    from provisioner.observe.tables import Tables
    from provisioner.system.attached import Attachment
    from provisioner.transport import Connection

_SERVICE = re.compile("[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}")  # a name of a service
_STUCK = re.compile(
    r"New (?!less than|1?[0-9] second)"
)  # the state of a task since 20 s, which usually lasts milliseconds
_WAITS = "it waits for addresses on its networks, or for ports, which the swarm's leader can't give it"
_MAIN = "main"  # the routing table that `ip` means if it names none
_OF_HOST, _ASKED = 25, 200  # most containers of one host, and of all, that a DNS server is asked for
_DEADLINE, _LEAST = 15.0, 6.0  # seconds; the second applies once the other hosts have answered
# Files in /proc/sys that affect how packets are handled.
SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/bridge/bridge-nf-call-iptables",
    "net/netfilter/nf_conntrack_count",
    "net/netfilter/nf_conntrack_max",
    "net/ipv4/neigh/default/gc_thresh3",
)


class Said(StrEnum):
    """Texts of the engine that name a cause: in its log, and in its answers. Sources: moby, libnetwork, memberlist and serf."""

    NO_ADDRESS = "no available IPv4 addresses on this network"
    NO_ADDRESS_LEFT = "could not find an available IP"  # a swarm's leader, about a service or a node
    ADDRESS_TAKEN = "Address already in use"
    BRIDGE_FULL = "exchange full"
    VXLAN_EXISTS = "vxlan interface: file exists"
    NO_VXLAN = "vxlan interface: operation not supported"
    NO_MARK = "could not install mangle rule"
    GOSSIP_TAKEN = ":7946: bind: address already in use"
    MANAGER_TAKEN = ":2377: bind: address already in use"
    VXLAN_TAKEN = "failed to set link up: address already in use"
    STATE_TOO_LARGE = "Remote node state is larger than limit"
    NAME_LOST = "minority in name conflict resolution"
    FLAG_CONFLICT = "specified both as a flag and in the configuration file"
    DISK_FULL = "no space left on device"
    FILES = "too many open files"
    TASKS = "resource temporarily unavailable"
    THREADS = "pthread_create failed"
    MEMORY = "cannot allocate memory"
    READ_ONLY = "read-only file system"
    NO_PROGRAM = "executable file not found in $PATH"
    NO_SHIM = "containerd-shim-runc-v2: no such file"
    LIVE_RESTORE = "live-restore daemon configuration is incompatible with swarm mode"


# Services without which an overlay does not work. A main process that a signal has stopped holds its sockets and never answers.
UNITS = ("docker.service", "containerd.service", *stores.OWNED.units)


def json_list(raw: Mapping[str, str], section: str) -> list[dict[str, Any]]:
    """Return the objects that `ip -j` or `bridge -j` printed; [] if the section is missing. Raises Malformed."""
    text = raw.get(section, "").strip()
    if not text:
        return []
    try:
        found = [item for line in text.split("\n") if line.strip() for item in value(line)]
        if all(isinstance(item, dict) for item in found):
            return [item for item in found if item]
    except (ValueError, TypeError) as error:
        raise malformed(f"the output of `ip -j` ({section})", str(error), text) from error
    raise malformed(f"the output of `ip -j` ({section})", "it is not a list of objects", text)


@dataclass(frozen=True)
class Ended:
    """A service that failed, or that systemd starts again and again. said: the line of its log that says most; "" if there is none."""

    fails: bool
    said: str = ""

    @property
    def what(self) -> str:
        said = f"; its log: {self.said}" if self.said else ""
        return f"{'ends again and again' if self.fails else 'failed'}{said}"


@dataclass(frozen=True)
class Short:
    """A service of which not all tasks run. errors: what its last tasks say, with their node and state."""

    name: str
    running: int
    wanted: int
    errors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Services:
    """The services of a swarm. count: of all. short: those of which not all tasks run, at most five."""

    count: int
    short: tuple[Short, ...] = ()


def services(text: str) -> Services | None:
    """Parse the section about services; None if it is missing or incomplete. Raises Malformed."""
    count, short = None, list[Short]()
    for line in text.split("\n"):
        words = line.split("|", 4)
        match words:
            case ["short", name, running, wanted] if _SERVICE.fullmatch(name):
                short.append(Short(name, _count(running, line), _count(wanted, line)))
            case ["task", task, node, state, error] if short and error:
                where = f"{task} on {node}" if node else task
                short[-1] = replace(short[-1], errors=(*short[-1].errors, f"{where}: {state}: {error}"))
            case ["task", task, _, state, ""] if short and _STUCK.match(state):
                short[-1] = replace(short[-1], errors=(*short[-1].errors, f"{task}: {state}: {_WAITS}"))
            case ["task", _, _, _, _]:
                pass
            case ["all", number]:
                count = _count(number, line)
            case _ if line:
                raise malformed("the list of services", "it has an unknown line", line)
    return None if count is None else Services(count, tuple(short))


def _count(text: str, line: str) -> int:
    try:
        return number(text)
    except ValueError as error:
        raise malformed("the list of services", str(error), line) from error


@dataclass(frozen=True)
class Route:
    """A route of a host. gateway: "" if there is none. table: the routing table that has it, or where it belongs."""

    to: IPv4Network
    gateway: str
    table: str


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An entry of an overlay for a container's address. permanent: it was set by the engine, or by hand, and does not expire."""

    mac: str
    device: str
    permanent: bool


@dataclass(frozen=True)
class Space:
    """A network namespace that the engine created: for an overlay ("1-0123456789"), or for a container."""

    name: str
    raw: Mapping[str, str] = field(repr=False)

    @property
    def network(self) -> str:
        """The first characters of its overlay's ID; "" for the namespace of a container."""
        return self.name.partition("-")[2] if "-" in self.name and self.name[0].isdigit() else ""

    @property
    def balances(self) -> bool:
        """Whether it belongs to a swarm's load balancer. It has an address on every network of a node."""
        return self.name.startswith("lb_") or self.name == "ingress_sbox"

    def has(self, kind: str) -> bool:
        """Whether this section of it was read."""
        return f"space:{self.name}:{kind}" in self.raw

    def _list(self, kind: str) -> list[dict[str, Any]]:
        return json_list(self.raw, f"space:{self.name}:{kind}")

    @cached_property
    def links(self) -> list[dict[str, Any]]:
        return self._list("links")

    @cached_property
    def addresses(self) -> list[dict[str, Any]]:
        return self._list("addresses")

    @cached_property
    def inner(self) -> list[tuple[str, str]]:
        """(IPv4 address, MAC) of its interfaces, except for loopback and /32 addresses, which are virtual."""
        macs = {link.get("ifname"): str(link.get("address", "")) for link in self.links}
        return [
            (str(IPv4Address(str(info["local"]))), macs.get(entry.get("ifname"), ""))
            for entry in self.addresses
            if entry.get("ifname") != "lo"
            for info in entry.get("addr_info") or ()
            if info.get("family") == "inet" and info.get("prefixlen") != 32  # noqa: PLR2004
        ]

    @cached_property
    def held(self) -> frozenset[str]:
        """All IPv4 addresses of its interfaces, also virtual ones."""
        return frozenset(str(info.get("local")) for entry in self.addresses for info in entry.get("addr_info") or ())

    @cached_property
    def routed(self) -> dict[str, list[IPv4Network]] | None:
        """Interface -> the destinations of its routes, without default routes; None if they were not read."""
        if not self.raw.get(f"space:{self.name}:routes", "").strip():
            return None
        found: dict[str, list[IPv4Network]] = {}
        for route in self._list("routes"):
            if route.get("dst") not in {None, "default"}:
                found.setdefault(str(route.get("dev", "")), []).append(IPv4Network(str(route["dst"]), strict=False))
        return found

    @cached_property
    def vxlans(self) -> list[dict[str, Any]]:
        """Its VXLAN devices."""
        return [link for link in self.links if kind_of(link) == "vxlan"]

    @cached_property
    def neighbours(self) -> dict[str, Neighbour] | None:
        """Address -> resolved entry of a VXLAN device; None if they were not read. Those of bridges are the kernel's own."""
        if not self.has("neighbours"):
            return None
        devices = {link.get("ifname") for link in self.vxlans}
        return {
            str(entry.get("dst")): Neighbour(str(entry["lladdr"]), str(entry["dev"]), "PERMANENT" in state)
            for entry in self._list("neighbours")
            if "lladdr" in entry and entry.get("dev") in devices
            for state in (set(entry.get("state") or ()),)
            if not {"FAILED", "INCOMPLETE"} & state
        }

    @property
    def filters(self) -> list[tuple[str, str]]:
        """(table, rule) of the rules and policies of nftables that drop packets in it; those of iptables-nft are among them."""
        found, table = [], ""
        for line in map(str.strip, self.raw.get(f"space:{self.name}:filters", "").split("\n")):
            if line.startswith("table "):
                table = " ".join(line.split()[1:3])
            elif line and not line.startswith("chain ") and table:
                found.append((table, line))
        return found

    @cached_property
    def forwarding(self) -> dict[str, str] | None:
        """MAC -> underlay address of the host that receives packets for it. None if the entries were not read."""
        if not self.has("forwarding"):
            return None
        return {str(e.get("mac")): str(e["dst"]) for e in self._list("forwarding") if e.get("dst")}

    @property
    def learned(self) -> frozenset[str]:
        """The MAC addresses whose entry the kernel learned from packets of the container. Such an entry expires."""
        return frozenset(
            str(e.get("mac")) for e in self._list("forwarding") if e.get("dst") and e.get("state") != "permanent"
        )


@dataclass(frozen=True)
class Kernel:
    """The kernel of one host. raw: the sections as the host sent them."""

    raw: Mapping[str, str] = field(repr=False)

    def has(self, *sections: str) -> bool:
        """Whether one of these sections was read."""
        return any(section in self.raw for section in sections)

    @property
    def iproute(self) -> bool:
        """Whether `ip` works on the host; without it there are no links, routes or namespaces."""
        return self.has("links")

    @cached_property
    def lacks(self) -> frozenset[str]:
        """The programs that the observation needs and the host does not have."""
        return frozenset(filter(None, self.raw.get("lacks", "").split("\n")))

    @cached_property
    def failed(self) -> dict[str, Failed]:
        """Section -> the program that failed to print it."""
        return gaps.failed(self.raw.get("failed", ""))

    @property
    def unread(self) -> str:
        """What was not read, and why; "" if everything was."""
        return gaps.text(self.lacks, self.failed.values())

    @property
    def enters_all(self) -> bool:
        """Whether the interfaces and addresses of all network namespaces were read."""
        gone = any(each.space and each.kind in {"links", "addresses"} for each in self.failed.values())
        return self.iproute and "nsenter" not in self.lacks and not gone

    @cached_property
    def virtualisation(self) -> str:
        """As systemd-detect-virt names it; "" if unknown."""
        return self.raw.get("virtualisation", "").strip()

    @cached_property
    def sysctls(self) -> dict[str, str]:
        lines = (line.partition("=") for line in self.raw.get("sysctl", "").split("\n"))
        return {name.replace("/", "."): found for name, _, found in lines if name}

    def setting(self, name: str) -> int | None:
        """The value of a numeric sysctl; None if it is missing or not a number."""
        found = self.sysctls.get(name, "")
        return int(found) if re.fullmatch("-?[0-9]{1,12}", found) else None

    @cached_property
    def unforwarded(self) -> frozenset[str]:
        """The interfaces whose packets the kernel does not forward."""
        return frozenset(
            re.findall("(?m)^/proc/sys/net/ipv4/conf/([^/\\s]+)/forwarding$", self.raw.get("unforwarded", ""))
        )

    @cached_property
    def neighbour_count(self) -> int | None:
        """The number of entries in the kernel's neighbour table, of all namespaces; None in a container, which can't see it."""
        found = self.raw.get("neighbour-count", "").strip()
        return int(found, 16) if re.fullmatch("[0-9a-f]{8}", found) else None

    @property
    def engine_log(self) -> list[str]:
        """The last line of the running engine's log with each text of `Said`."""
        return [line for line in self.raw.get("engine-log", "").split("\n")[: len(Said)] if line]

    @cached_property
    def services(self) -> Services | None:
        """The services of its swarm, if the host was chosen to report them and its swarm has a leader."""
        return services(self.raw.get("services", ""))

    @cached_property
    def tables(self) -> Tables:
        """The engine's own tables of gossip, if they were asked for."""
        return tables.parse(self.raw["tables"]) if "tables" in self.raw else tables.Tables()

    @cached_property
    def stopped(self) -> dict[str, int]:
        """Unit -> process ID, of services whose main process a signal has stopped."""
        lines = (line.split() for line in self.raw.get("stopped", "").split("\n") if line)
        return {unit: number(pid) for unit, pid in lines if unit in UNITS}

    @cached_property
    def resolvers(self) -> dict[str, str]:
        """Container's ID -> its first DNS server, of containers that do not ask the engine's."""
        lines = (line.split() for line in self.raw.get("resolvers", "").split("\n") if line)
        return {container: str(ip_address(server)) for container, server in lines}

    @cached_property
    def ended(self) -> dict[str, Ended]:
        """Unit -> how it ended, of services that do not run although systemd started them."""
        found = {}
        for line in self.raw.get("ended", "").split("\n"):
            unit, _, rest = line.partition(" ")
            state, _, said = rest.partition(" ")
            if unit in UNITS and state:
                found[unit] = Ended(state != "failed", said.strip())
        return found

    @cached_property
    def resolved(self) -> dict[str, dict[str, tuple[frozenset[str], ...]]]:
        """Address of a container -> what its DNS server said, if it was asked: name -> the addresses in each answer.

        A container is asked for by two names, see `questions`. If there is no answer, none of them is known.
        """
        found = {}
        for key, text in self.raw.items():
            asked, *lines = text.split("\n")
            if key.startswith("names:") and asked.startswith("asked "):
                said = (line.split() for line in lines if line)
                found[key.removeprefix("names:")] = {name: tuple(map(_addresses, answers)) for name, *answers in said}
        return found

    @cached_property
    def mute(self) -> frozenset[str]:
        """Addresses of containers whose DNS server knows none of the names, not even their own: it does not answer."""
        return frozenset(
            address
            for address, said in self.resolved.items()
            if said and not any(said.values()) and self.raw[f"names:{address}"].startswith(f"asked {len(said)}\n")
        )

    @cached_property
    def unanswered(self) -> dict[str, dict[str, str]]:
        """Address of a container -> the containers that did not answer its echo requests: address -> "none", or "small" if only small ones passed."""
        sections = {
            key.removeprefix("echo:"): [line.split() for line in text.split("\n") if line]
            for key, text in self.raw.items()
            if key.startswith("echo:")
        }
        return {
            own: {line[0]: line[1] for line in lines[1:] if len(line) == 2 and line[1] in {"none", "small"}}  # noqa: PLR2004
            for own, lines in sections.items()
            if lines and lines[0][0] == "asked"
        }

    @cached_property
    def called(self) -> dict[str, dict[str, Counter[str]]]:
        """Address of a container -> "ADDRESS:PORT" that it called -> how often it was "open", "refused" or "silent"."""
        found: dict[str, dict[str, Counter[str]]] = {}
        for key, text in self.raw.items():
            for line in text.split("\n")[1:] if key.startswith("call:") else ():
                to, _, said = line.partition(" ")
                if said in {"open", "refused", "silent"}:
                    found.setdefault(key.removeprefix("call:"), {}).setdefault(to, Counter())[said] += 1
        return found

    @cached_property
    def forgotten(self) -> tuple[tuple[str, str, str], ...]:
        """The connections of containers to virtual addresses of services that its load balancers lack: container, its port, virtual address and port."""
        found = []
        for line in self.raw.get("forgotten", "").split("\n"):
            if line:
                (own, port), (virtual, to) = (end.rsplit(":", 1) for end in line.split(" "))
                found.append((str(IPv4Address(own)), str(number(port)), f"{IPv4Address(virtual)}:{number(to)}"))
        return tuple(found)

    @cached_property
    def proxies(self) -> dict[str, str]:
        """Proxy variables in the engine's environment: HTTP_PROXY and similar -> "set"; NO_PROXY -> its value."""
        lines = (line.partition("=") for line in self.raw.get("proxies", "").split("\n"))
        return {name.upper(): found for name, _, found in lines if name}

    @property
    def containerd(self) -> str:
        """The state of the containerd that the engine uses, such as "failed"; "" if unknown, or if it is part of the engine."""
        found = self.raw.get("containerd", "").strip()
        return found if re.fullmatch("[a-z-]{1,20}", found) else ""

    @cached_property
    def exposed(self) -> tuple[str, ...]:
        """The sockets, such as "0.0.0.0:2375", at which the engine answers requests of its API without TLS."""
        return tuple(
            line for line in self.raw.get("exposed", "").split("\n") if re.fullmatch(r"[\w.:*%\[\]]{3,80}", line)
        )

    @cached_property
    def links(self) -> list[dict[str, Any]]:
        return json_list(self.raw, "links")

    def link(self, name: str) -> dict[str, Any]:
        return next((link for link in self.links if link.get("ifname") == name), {})

    @cached_property
    def routes(self) -> list[dict[str, Any]]:
        return json_list(self.raw, "routes")

    @cached_property
    def sources(self) -> dict[str, tuple[str, str]]:
        """Peer's address -> (source address, interface) that the kernel uses for it. An address that the host has itself is left out."""
        found = [g for g in json_list(self.raw, "gets") if g.get("type") != "local"]
        return {str(g.get("dst")): (str(g.get("prefsrc", "")), str(g.get("dev", ""))) for g in found}

    @cached_property
    def gateways(self) -> dict[str, str]:
        """Peer's address -> the gateway to which the kernel sends packets for it, if there is one."""
        return {str(g.get("dst")): str(g["gateway"]) for g in json_list(self.raw, "gets") if g.get("gateway")}

    @cached_property
    def tables_used(self) -> dict[str, str]:
        """Peer's address -> the routing table in which the kernel finds its route."""
        return {str(g.get("dst")): str(g.get("table", _MAIN)) for g in json_list(self.raw, "gets")}

    def route_of(self, address: str) -> Route:
        """Return the route to replace, so that packets to a peer get another source address.

        It is the route that names the present source, in the routing table in which the kernel finds the peer. If there is none but
        the default route, it is a new one for this peer alone.
        """
        chosen, device = self.sources.get(address, ("", ""))
        table = self.tables_used.get(address, _MAIN)
        found = [
            Route(IPv4Network(str(route["dst"]), strict=False), str(route.get("gateway", "")), table)
            for route in self.routes
            if (route.get("prefsrc"), route.get("dev"), str(route.get("table", _MAIN))) == (chosen, device, table)
            and route.get("type", "unicast") == "unicast"
            and route.get("dst", "default") != "default"
            and not {"metrics", "nexthops"} & route.keys()
        ]
        holding = [route for route in found if IPv4Address(address) in route.to]
        alone = Route(IPv4Network(address), self.gateways.get(address, ""), table)
        return max(holding, key=lambda route: route.to.prefixlen, default=alone)

    @cached_property
    def unrouted(self) -> dict[str, str]:
        """Peer's address -> why the kernel has no route to it, as `ip route get` says it."""
        lines = (line.partition(" ") for line in self.raw.get("unrouted", "").split("\n"))
        return {address: why for address, _, why in lines if address}

    @cached_property
    def pinned(self) -> dict[str, tuple[str, str]]:
        """Address -> (MAC, interface), of the permanent entries in the host's own neighbour table."""
        found = json_list(self.raw, "neighbours")
        return {
            str(entry.get("dst")): (str(entry["lladdr"]), str(entry.get("dev", "")))
            for entry in found
            if "lladdr" in entry and "PERMANENT" in (entry.get("state") or ())
        }

    @cached_property
    def spaces(self) -> dict[str, Space]:
        names = (key.split(":")[1] for key in self.raw if key.startswith("space:") and key.endswith(":links"))
        return {name: Space(name, self.raw) for name in names}

    def space_of(self, network_id: str) -> Space | None:
        """Return the namespace of an overlay. network_id: the full ID."""
        if not network_id:
            return None
        return next((s for s in self.spaces.values() if s.network and network_id.startswith(s.network)), None)

    @cached_property
    def ages(self) -> dict[str, int]:
        """Namespace -> for how many seconds it has existed."""
        now, *lines = self.raw.get("since", "").split("\n")
        found = (line.partition(" ") for line in lines if line)
        return {path.rpartition("/")[2]: number(now.strip()) - number(since) for since, _, path in found}

    @property
    def idle(self) -> frozenset[str]:
        """The namespaces in which no process runs."""
        return frozenset(self.raw.get("idle", "").split("\n")) - {""}

    @property
    def engine_runs(self) -> bool:
        """Whether systemd has started the engine completely, and is not stopping it."""
        return self.raw.get("engine-state", "").strip() == "active"

    def rules(self, tool: str) -> list[str]:
        """Return the output lines of iptables-legacy-save or iptables-nft-save: "*TABLE", ":CHAIN POLICY", "-A ..."."""
        return [line for line in self.raw.get(tool, "").split("\n") if line]

    def networks_routed(self) -> Iterator[tuple[IPv4Network, str]]:
        """(destination, interface) of the routes in all tables that rules use, except for default and local routes."""
        rules = json_list(self.raw, "rules")
        used = {str(rule.get("table")) for rule in rules}
        for route in self.routes:
            if route.get("type") in {"local", "broadcast", "multicast"} or route.get("dst") in {None, "default"}:
                continue
            if not rules or str(route.get("table", "main")) in used:
                yield IPv4Network(str(route["dst"]), strict=False), str(route.get("dev", ""))


def _addresses(text: str) -> frozenset[str]:
    """Parse one answer of a DNS server, as names.pl writes it. Raises Malformed."""
    try:
        return frozenset(str(IPv4Address(each_)) for each_ in text.split(",")) if text != "-" else frozenset()
    except ValueError as error:
        raise malformed("an answer of a DNS server", str(error), text) from error


def kind_of(link: Mapping[str, Any]) -> str:
    info = link.get("linkinfo")
    return str(info.get("info_kind", "")) if isinstance(info, dict) else ""


def questions(site: Site) -> dict[str, list[str]]:
    """Return what to ask the DNS servers of containers: host -> "ADDRESS NAME/ID ...", for one container of each network.

    ADDRESS is the container's own. It is asked for itself first, which it must know, and then for containers on other hosts.
    """
    found: dict[str, list[str]] = {}
    for host, own, others in _askers(site):
        asked = [f"{one.name}/{one.short}" for one in (own, *others)]
        found.setdefault(host, []).append(" ".join((own.address, *asked)))
    return found


def echoes(site: Site) -> dict[str, list[str]]:
    """Return which containers send echo requests to which ones: host -> "ADDRESS ADDRESS ...", its own and those on other hosts."""
    found: dict[str, list[str]] = {}
    for host, own, others in _askers(site):
        found.setdefault(host, []).append(" ".join((own.address, *(each.address for each in others))))
    return found


def connections_of(site: Site) -> dict[str, list[str]]:
    """Return which connections containers open to services: host -> "ADDRESS ADDRESS:PORT ...", the container's own address first."""
    found: dict[str, dict[str, list[str]]] = {}
    for host, each_ in calls.of(site).items():
        for call in each_:
            found.setdefault(host, {}).setdefault(call.own, []).append(call.words)
    return {host: [" ".join((own, *words)) for own, words in by_own.items()] for host, by_own in found.items()}


def _askers(site: Site) -> Iterator[tuple[str, Attachment, list[Attachment]]]:
    """Yield one container of each network and host, with containers of the network on other hosts."""
    on: dict[str, dict[str, list[Attachment]]] = {}
    for host in site.live:
        for each_ in attached.named(site.facts[host]):
            on.setdefault(each_.network, {}).setdefault(host, []).append(each_)
    for hosts in on.values():
        for host, (own, *_) in hosts.items():
            others = [other for there, those in hosts.items() if there != host for other in those[:_OF_HOST]]
            if others:
                yield host, own, others[:_ASKED]


def script(
    peers: list[str],
    *,
    manages: bool = False,
    names: Sequence[str] = (),
    echoes: Sequence[str] = (),
    connections: Sequence[str] = (),
    virtual: Sequence[str] = (),
    gossip: Sequence[str] = (),
    tools: Sequence[str] = (),
    root: str = "",
) -> str:
    """Return the program that reads one host.

    peers: the underlay addresses of the other hosts. manages: also read the services of the host's swarm.
    names, echoes, connections: see `questions`, `echoes` and `connections_of`. virtual: the virtual addresses of services to which
    connections of containers are looked for. gossip: see `tables.asked`. tools: see `gaps.sought`.
    root: the folder with the engine's data.
    """
    words = {
        "MANAGES": "yes" if manages else '""',
        "SYSCTLS": shlex.join(SYSCTLS),
        "ENGINE_SAYS": shlex.join(Said),
        "PEERS": shlex.join(peers),
        "UNITS": shlex.join(UNITS),
        "NAMES": shlex.join(names) or '""',
        "ECHOES": shlex.join(echoes) or '""',
        "CONNECTIONS": shlex.join(connections) or '""',
        "VIRTUAL": " or ".join(f"dst {shlex.quote(address)}" for address in virtual),
        "GOSSIP": shlex.join(gossip),
        "LIST_RULES": shlex.quote(LISTED),
        "TOOLS": shlex.join(tools),
        "ROOT": shlex.quote(root),
    }
    programs = {"ASK": "names.pl", "ASK_OTHERS": "echo.pl", "CALL": "call.pl", "TOGETHER": "together.pl"}
    programs = programs if names or echoes or connections else {}
    programs |= {"ASK_ENGINE": "tables.pl"} if gossip else {}
    programs |= {"FORGOTTEN": "forgotten.pl"} if virtual else {}
    ask = "".join(f"{variable}={shlex.quote(render.text(name))}\n" for variable, name in programs.items())
    return reading.framed("reading the host's kernel", render.filled(render.program("read-kernel.sh"), words), ask)


def observe(
    site: Site, connections: Mapping[str, Connection], hosts: Collection[str], *, deep: bool = False
) -> tuple[dict[str, Kernel], dict[str, ProvisionerError]]:
    """Read these of the live hosts. The second mapping is host -> error, for hosts that could not be read.

    deep: also read the engines' tables of gossip.
    """
    names = [name for name in site.live if name in connections and name in hosts]
    together = Together(len(names), _DEADLINE, _LEAST)
    manager = swarm.View(site).acting if site.control == "swarm" else ""
    names_, echoes_, connections_ = questions(site), echoes(site), connections_of(site)
    virtual_ = calls.virtual(site)

    def one(name: str) -> Kernel:
        peers = [str(address) for other, address in site.advertise.items() if other != name]
        gossip = tables.asked(site, name) if deep else ()
        manages = name == manager
        program = script(
            peers,
            manages=manages,
            names=names_.get(name, ()),
            echoes=echoes_.get(name, ()),
            connections=connections_.get(name, ()),
            virtual=virtual_.get(name, ()),
            gossip=gossip,
            tools=gaps.sought(site.facts[name], manages=manages),
            root=str(site.facts[name].engine.get("DockerRootDir") or ""),
        )
        result = connections[name].read(program, deadline=together.deadline())
        together.ended()
        return parsed(name, result.raw)

    answers = each(names, one)
    kernels = {name: answer for name, answer in answers.items() if isinstance(answer, Kernel)}
    return kernels, {name: e for name, e in answers.items() if isinstance(e, ProvisionerError)}


def parsed(name: str, raw: bytes) -> Kernel:
    """Parse and validate one host's answer. Raises ProvisionerError."""
    try:
        found = Kernel(_by_container(system_facts.sections(raw)))
    except ValueError as error:
        raise Malformed(f"the state of its kernel can't be parsed: {error}", host=name) from error
    try:
        bounded("reading its kernel", lambda _: _parse_all(found))(name)
    except Malformed as error:
        error.host = name
        raise
    return found


def _by_container(raw: dict[str, str]) -> dict[str, str]:
    """Return the sections with one for each container that asked others, such as "names:10.99.0.2"; see together.pl."""
    for line in raw.pop("asked", "").split("\n"):
        key, _, said = line.partition(" ")
        if key.startswith(("names:", "echo:", "call:")):
            raw[key] = f"{raw.get(key, '')}{said}\n"
    return raw


def _parse_all(found: Kernel) -> None:
    """Parse every lazy property now, so that a malformed value is an error here and not in a detector."""
    for space in found.spaces.values():
        for name in ("links", "vxlans", "inner", "neighbours", "forwarding", "routed"):
            getattr(space, name)
    for name in (
        "services",
        "links",
        "routes",
        "sources",
        "gateways",
        "pinned",
        "stopped",
        "tables",
        "unanswered",
        "called",
        "forgotten",
        "resolved",
        "ages",
        "failed",
        "resolvers",
    ):
        getattr(found, name)
    for network, _ in found.networks_routed():
        str(network)
