"""Causes in the state of the hosts' kernels: settings, routes, rules, bridges, VXLAN devices and forwarding entries."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

from provisioner.controlplane import swarm
from provisioner.model import Problem
from provisioner.observe.kernel import kind_of
from provisioner.system import attached, firewall, services
from provisioner.system.firewall import in_own_tables, walk
from provisioner.system.networks import of_kernel
from provisioner.transport.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provisioner.explain.base import Seen
    from provisioner.observe.kernel import Kernel, Space
    from provisioner.observe.tables import Table

_MOST_PORTS = 1023  # ports of a bridge: BR_MAX_PORTS - 1 in linux/net/bridge/br_private.h
_FULL = 0.95  # share of a table from which it counts as full
_NO_BRIDGE_RULES = 27  # the first engine version that sets no rules for bridged packets
_ENGINE_CHAINS = ("DOCKER-FORWARD", "DOCKER-ISOLATION")  # targets of FORWARD: in engines 28 and later, in older engines
_GWBRIDGE = "docker_gwbridge"
_ANYWHERE = IPv4Address("192.0.2.1")  # an address outside of the host that no rule names (TEST-NET-1)
_MESH = "ingress_sbox"  # the namespace of a swarm's routing mesh on each node, which answers the published ports of services
_ENGINES_DEVICE = re.compile(r"vx-[0-9a-f]{6}-\w+")  # libnetwork's name for a device that is not yet in its namespace
_ENGINES_PORT = re.compile(r"(veth|vxlan)\d+")  # its names for the ports of an overlay's bridge
_IDLE = frozenset({"disabled", "blocking"})  # states of a bridge's port that forwards nothing
_UNNAMED = "a container"  # its engine does not list it, or not on this network
_SETTLED = 5  # seconds after which all engines know a new container; observed in the lab: less than one
_OVERLAYS = frozenset({"overlay"})
_SHAPES = frozenset({"tbf", "netem"})  # kinds of queues that limit, delay or lose packets
_TABLE_FULL = re.compile(
    r"^(?!.*ndisc_cache).*able overflow"
)  # ndisc_cache is the table of IPv6, which overlays do not use
_NO_RULES = re.compile(r'"iptables"\s*:\s*false')  # in daemon.json


def overlays(seen: Seen, host: str) -> dict[str, dict[str, Any]]:
    """Return the overlay networks of a host's engine: name -> entry of the API's network list."""
    networks = seen.site.facts[host].networks.items()
    return {name: found for name, found in networks if found.get("Driver") in _OVERLAYS and not found.get("Ingress")}


def of_kernels(seen: Seen) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the overlay networks that each observed kernel may have: host -> name -> entry of the API's network list.

    This includes networks that only other engines list: an engine whose store is down lists none, but its kernel has them.
    """
    known = {network: entry for name in seen.site.live for network, entry in overlays(seen, name).items()}
    return {name: known | overlays(seen, name) for name in seen.observed.kernels}


def settings(seen: Seen) -> Iterator[Problem]:
    """Find kernel settings that break engines, full tables, and LXC hosts."""
    for name, kernel in seen.observed.kernels.items():
        values = {"host": name}
        if kernel.setting("net.ipv4.ip_forward") == 0 and seen.site.facts[name].engine:
            yield Problem("ip-forward", name, "net.ipv4.ip_forward is 0", values, where="net.ipv4.ip_forward")
        used, most = (kernel.setting(f"net.netfilter.nf_conntrack_{what}") for what in ("count", "max"))
        if used and most and used >= _FULL * most:
            evidence = f"{used} of {most} entries are in use"
            yield Problem(
                "conntrack-full", name, evidence, values | {"twice": 2 * most}, where="net.netfilter.nf_conntrack_max"
            )
        if evidence := _overflow(kernel):
            yield Problem("neigh-overflow", name, evidence, values, where="net.ipv4.neigh.default.gc_thresh3")
        if kernel.virtualisation == "lxc" and seen.site.control == "swarm":
            yield Problem("lxc-host", name, "systemd-detect-virt reports lxc", values)


def _overflow(kernel: Kernel) -> str:
    """Return how the neighbour table is full, or "". A line of the kernel's log is outdated if the table is far from full."""
    used, most = kernel.neighbour_count, kernel.setting("net.ipv4.neigh.default.gc_thresh3")
    if used and most and used >= _FULL * most:
        return f"{used} of {most} entries are in use"
    lines = [line.strip() for line in kernel.raw.get("kernel-log", "").splitlines() if _TABLE_FULL.search(line)]
    outdated = used is not None and most and used < most / 2
    return f"kernel log: {lines[-1][:200]}" if lines and not outdated else ""


def balancers(seen: Seen) -> Iterator[Problem]:
    """Find hosts whose kernel can't balance connections to the services of their swarm."""
    site = seen.site
    needs = [each for each in services.of(site.facts[name] for name in site.live) if each.virtual or each.ports]
    for name in site.live if needs and site.control == "swarm" else ():
        if services.IPVS in site.facts[name].kernel_lacks and site.plane.joined(site.facts[name]):
            what = "published ports" if needs[0].ports else "a virtual address"
            evidence = f"the kernel has no module {services.IPVS}, and the service {needs[0].name} has {what}"
            yield Problem("ipvs-missing", name, evidence, {"host": name}, where=f"{name}: modprobe {services.IPVS}")


def shadows(seen: Seen) -> Iterator[Problem]:
    """Find routes that cover subnets of overlays."""
    listed = of_kernels(seen)
    for name, kernel in seen.observed.kernels.items():
        for network, found in listed[name].items():
            for subnet in _subnets(found):
                for route, device in kernel.networks_routed():
                    if route.overlaps(subnet) and route.prefixlen:
                        evidence = (
                            f"the route to {route} through {device or '?'} covers {subnet} of the network {network}"
                        )
                        values = {"host": name, "route": route, "device": device, "network": network}
                        yield Problem(
                            "route-shadow", name, evidence, values, network=network, where=f"route to {route}"
                        )


def _subnets(network: Mapping[str, Any]) -> Iterator[IPv4Network]:
    for config in (network.get("IPAM") or {}).get("Config") or ():
        subnet = str(config.get("Subnet", ""))
        if subnet and ":" not in subnet:
            yield IPv4Network(subnet, strict=False)


def within(network: Mapping[str, Any], address: str) -> bool:
    """Return whether a network can have this IPv4 address. network: its entry of the API's network list."""
    return any(IPv4Address(address) in subnet for subnet in _subnets(network))


# -- the engine's rules and bridges -------------------------------------------------------------------------------------


def rules(seen: Seen) -> Iterator[Problem]:
    """Find missing rules of the engine, rules in both backends of iptables, and filtering of bridged packets."""
    for name, kernel in seen.observed.kernels.items():
        tables = {tool: _parsed(kernel.rules(tool)) for tool in ("iptables-legacy-save", "iptables-nft-save")}
        yield from _engine_rules(seen, name, tables)
        if all(_may_drop(kernel.rules(tool)) for tool in tables):
            evidence = " and ".join(f"{tool} shows {sum(map(len, of.values()))} rules" for tool, of in tables.items())
            yield Problem("iptables-split", name, evidence, {"host": name}, where="iptables-legacy and iptables-nft")
        if (
            kernel.setting("net.bridge.bridge-nf-call-iptables")
            and _major(seen, name) > _NO_BRIDGE_RULES - 1
            and _failed_local(seen, name)
        ):
            evidence = "net.bridge.bridge-nf-call-iptables is 1, and containers on one bridge do not reach each other"
            yield Problem("br-netfilter", name, evidence, {"host": name}, where="net.bridge.bridge-nf-call-iptables")


def _may_drop(lines: list[str]) -> bool:
    """Return whether rules or policies can drop packets. Rules that only accept, count or mark disturb no other rules."""
    return any(words[1:2] == ["DROP"] or {"DROP", "REJECT"} & set(words) for words in map(str.split, lines))


def _major(seen: Seen, name: str) -> int:
    first = seen.site.facts[name].engine_version.partition(".")[0]
    return int(first) if first.isascii() and first.isdigit() else 0


def _failed_local(seen: Seen, name: str) -> bool:
    return any(
        problem.id == "forward-blocked" and problem.host in {"", name}
        for result in seen.proofs
        for problem in result.problems
    )


def _parsed(lines: list[str]) -> dict[tuple[str, str], list[str]]:
    """Return (table, chain) -> its rules."""
    found: dict[tuple[str, str], list[str]] = {}
    table = ""
    for line in lines:
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            found.setdefault((table, line[1:].split(" ")[0]), [])
        elif line.startswith("-A "):
            found.setdefault((table, line.split(" ")[1]), []).append(line)
    return found


def _engine_rules(
    seen: Seen, name: str, tables: Mapping[str, Mapping[tuple[str, str], list[str]]]
) -> Iterator[Problem]:
    facts = seen.site.facts[name]
    sets_none = bool(_NO_RULES.search(facts.files.get("/etc/docker/daemon.json", "")))
    sets_none |= "--iptables=false" in facts.unit("docker.service").command
    if not facts.engine or sets_none or not any(tables.values()) or in_own_tables(facts.engine):
        return
    lacking = []
    forward = [rule for table in tables.values() for rule in table.get(("filter", "FORWARD"), ())]
    if not any(f"-j {chain}" in rule for chain in _ENGINE_CHAINS for rule in forward):
        lacking.append("FORWARD jumps to none of the engine's chains")
    if any(table.get(("filter", "DOCKER-FORWARD")) == [] for table in tables.values()):
        lacking.append("DOCKER-FORWARD is empty")
    nat = [
        rule
        for table in tables.values()
        for (of, chain), found in table.items()
        if of == "nat" and chain in {"PREROUTING", "POSTROUTING"}
        for rule in found
    ]
    if not any("-j DOCKER" in rule for rule in nat):
        lacking.append("PREROUTING (nat) does not jump to DOCKER")
    if lacking and not tables.keys() & seen.observed.kernels[name].failed.keys():
        evidence = f"{' and '.join(lacking)}, but the engine runs"
        yield Problem("firewall-reload", name, evidence, {"host": name}, where="iptables, the engine's chains")
    for tool in tables:
        yield from _drops_forwarded(seen, name, tool)


def _drops_forwarded(seen: Seen, name: str, tool: str) -> Iterator[Problem]:
    """Find a rule in front of the engine's rules that drops all forwarded packets, or all that containers send out.

    The second one may be intended.
    """
    facts = seen.site.facts[name]
    gateway = next((its.ip for on, its in facts.addresses if on == _GWBRIDGE), IPv4Address("172.18.0.1"))
    outside = next((on for on, its in facts.addresses if its.ip == seen.site.advertise.get(name)), "eth0")
    packet = walk.Packet(_GWBRIDGE, outside, gateway + 1, _ANYWHERE)
    end, rule = walk.end(walk.parse(seen.observed.kernels[name].rules(tool)), packet, "FORWARD")
    words = firewall.words(rule)
    everything = words[2:] in (("-j", "DROP"), ("-j", "REJECT")) or words[2:4] == ("-j", "REJECT")
    if end is walk.End.DROPPED and (everything or _outbound(seen, name)):
        what = "all forwarded packets" if everything else "what containers on overlays send to the outside"
        evidence = f"the rule `{rule[:200]}` drops {what}, in front of the engine's rules"
        program = tool.removesuffix("-save")
        values = {"host": name, "tool": program, "rule": words[1:]}
        where = f"{name}: chain {words[1]} ({program})"
        yield Problem("forward-dropped", name, evidence, values, where=where, warns=not everything)


def bridges(seen: Seen) -> Iterator[Problem]:
    """Find a missing, disabled or too wide docker_gwbridge, and full bridges."""
    for name, kernel in seen.observed.kernels.items():
        if kernel.iproute and seen.site.facts[name].networks:
            yield from _gwbridge(seen, name, kernel)
        yield from _full_bridges(seen, name, kernel)


def _gwbridge(seen: Seen, name: str, kernel: Kernel) -> Iterator[Problem]:
    facts, link = seen.site.facts[name], kernel.link(_GWBRIDGE)
    place = partial(Problem, "gwbridge", name, where=f"{name}: {_GWBRIDGE}")
    if _GWBRIDGE not in facts.networks:
        if users := _outbound(seen, name):
            yield place(
                evidence=f"the network {_GWBRIDGE} does not exist, and {users[0]} needs it", values={"host": name}
            )
    elif not link:
        yield place(evidence=f"{_GWBRIDGE} is missing", values={"host": name})
    elif "UP" not in (link.get("flags") or []):
        yield place(evidence=f"{_GWBRIDGE} is down", values={"host": name}, variant="down")
    elif (mtu := _narrower(kernel, link)) and _outbound(seen, name):
        wide = int(link["mtu"])
        evidence = f"{_GWBRIDGE} has the MTU {wide}, and the interface of the default route has {mtu}"
        yield place(evidence=evidence, values={"host": name, "mtu": mtu}, variant="mtu", warns=True)


def _narrower(kernel: Kernel, bridge: Mapping[str, Any]) -> int:
    """Return the MTU of the default route's interface if it is smaller than the bridge's; otherwise 0."""
    routes = [
        route for route in kernel.routes if route.get("dst") == "default" and route.get("table") in {None, "main"}
    ]
    mtus = [kernel.link(str(route.get("dev", ""))).get("mtu") for route in routes]
    known = [mtu for mtu in mtus if isinstance(mtu, int)]
    wide = bridge.get("mtu")
    return max(known) if known and isinstance(wide, int) and wide > max(known) else 0


def _outbound(seen: Seen, name: str) -> list[str]:
    """Return the running containers on overlays that are not internal: these use docker_gwbridge."""
    open_to = {network for network, entry in overlays(seen, name).items() if not entry.get("Internal")}
    facts = seen.site.facts[name]
    return [container for container, network, _ in attached.started_on(facts) if network in open_to]


def _full_bridges(seen: Seen, name: str, kernel: Kernel) -> Iterator[Problem]:
    """Find full bridges on the host itself, and in the namespaces of its overlays."""
    places = [("", "", kernel.links)]
    for network, entry in overlays(seen, name).items():
        if space := kernel.space_of(str(entry.get("Id", ""))):
            places.append((network, f" in {space.name}", space.links))
    for network, inside, links in places:
        for bridge, ports in Counter(str(link.get("master", "")) for link in links).items():
            if bridge and ports >= _MOST_PORTS:
                evidence, where = f"{bridge}{inside} has {ports} ports", f"{name}: {bridge}{inside}"
                yield Problem("bridge-full", name, evidence, {"host": name}, network=network, where=where)


def _has_containers(space: Space) -> bool:
    return any(kind_of(link) == "veth" for link in space.links)


# -- the overlays' own namespaces -----------------------------------------------------------------------------------------


def numbers(seen: Seen) -> Iterator[Problem]:
    """Find VXLAN devices that are missing or down, that have a wrong VNI, or that a crashed engine left."""
    found: dict[str, dict[str, frozenset[int]]] = defaultdict(dict)
    listed = of_kernels(seen)
    known = {  # includes a swarm's ingress, which has a namespace too
        str(network.get("Id", "")) for name in seen.site.live for network in seen.site.facts[name].networks.values()
    }
    for name, kernel in seen.observed.kernels.items():
        live = {
            space.name: "" for space in kernel.spaces.values() if any(each.startswith(space.network) for each in known)
        }
        for network, entry in listed[name].items():
            space = kernel.space_of(str(entry.get("Id", "")))
            if space:
                live[space.name] = network
                found[network][name] = frozenset(_vni(link) for link in space.vxlans)
                yield from _devices(seen, name, network, space)
        yield from _orphans(seen, name, kernel, live)
    for network, by_host in found.items():
        usual = Counter(numbers for numbers in by_host.values() if numbers).most_common(1)
        for name, here in by_host.items():
            if here and usual and here != usual[0][0] and usual[0][1] > 1:
                others = ", ".join(map(str, sorted(usual[0][0])))
                evidence = f"the network {network} has VNI {', '.join(map(str, sorted(here)))} here and {others} on the other hosts"
                yield Problem(
                    "vni-mismatch", name, evidence, {"host": name}, network=network, where=f"VXLAN device of {network}"
                )


def _vni(link: Mapping[str, Any]) -> int:
    data = (link.get("linkinfo") or {}).get("info_data") or {}
    number = data.get("id", 0)
    return number if isinstance(number, int) else 0


def _devices(seen: Seen, name: str, network: str, space: Space) -> Iterator[Problem]:
    """Find devices in an overlay's namespace that pass no packets."""
    if not _has_containers(space):
        return
    lost = partial(Problem, "vxlan-lost", name, network=network)
    values = {"host": name, "space": space.name}
    if not space.vxlans:
        evidence = f"the namespace of {network} has containers but no VXLAN device"
        yield lost(evidence=evidence, values=values, where=f"namespace {space.name}")
    for link in space.vxlans:
        device = str(link.get("ifname", ""))
        of = f"the VXLAN device {device} of {network}"
        if _is_down(link):
            yield lost(evidence=f"{of} is down", values=values | {"device": device}, variant="down", where=device)
        elif wrong := _wrong(seen, name, link):
            yield lost(
                evidence=f"{of} {wrong}", values=values, variant="other", where=f"{name}: {device} in {space.name}"
            )
    for link in space.links:
        if kind_of(link) in {"bridge", "veth"} and _is_down(link):
            yield _down(name, network, space, link, f"the namespace of {network}")
    yield from _ports(name, network, space)
    for table, rule in space.filters[:1]:
        values = {"host": name, "space": space.name, "table": table, "rule": rule}
        evidence = f"the namespace of {network} has the rule `{clean(rule.encode())[:200]}` (nft, table {table}), which the engine did not set"
        where = f"{name}: table {table} in {space.name}"
        yield Problem("link-down", name, evidence, values, "filtered", network=network, where=where)


def _wrong(seen: Seen, name: str, vxlan: Mapping[str, Any]) -> str:
    """Return in what a VXLAN device differs from those of other hosts, or ""."""
    data = (vxlan.get("linkinfo") or {}).get("info_data") or {}
    port, wanted = data.get("port"), seen.site.inventory.data_path_port
    if isinstance(port, int) and port != wanted:
        return f"uses the port {port}, and the other hosts use {wanted}"
    local = str(data.get("local", ""))
    if local and local not in {str(its.ip) for _, its in seen.site.facts[name].addresses}:
        return f"sends from {local}, which is no address of {name}"
    return ""


def _ports(name: str, network: str, space: Space) -> Iterator[Problem]:
    """Find interfaces that are up, and no ports of the bridge, or disabled ones. The engine sets an interface up last.

    The bridge of a network with several subnets is not known for sure.
    """
    bridges = [link for link in space.links if kind_of(link) == "bridge"]
    if len(bridges) != 1 or _is_down(bridges[0]):
        return
    bridge = str(bridges[0].get("ifname", ""))
    isolated = [link for link in space.links if _of_port(link).get("isolated") is True]
    for link in space.links:
        device = str(link.get("ifname", ""))
        if not _ENGINES_PORT.fullmatch(device) or _is_down(link):
            continue
        values = {"host": name, "space": space.name, "device": device, "bridge": bridge}
        place = partial(
            Problem, "link-down", name, values=values, network=network, where=f"{name}: {device} in {space.name}"
        )
        state = str(_of_port(link).get("state", ""))
        if not link.get("master"):
            yield place(evidence=f"{device} in the namespace of {network} is no port of {bridge}", variant="apart")
        elif state in _IDLE and "LOWER_UP" in (link.get("flags") or []):
            yield place(
                evidence=f"the port {device} of {bridge} in the namespace of {network} is {state}", variant="port"
            )
        elif link in isolated and len(isolated) > 1:
            evidence = f"the port {device} of {bridge} in the namespace of {network} is isolated from its other ports"
            yield place(evidence=evidence, variant="isolated")


def _of_port(link: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state of an interface as the port of a bridge."""
    return (link.get("linkinfo") or {}).get("info_slave_data") or {}


def _is_down(link: Mapping[str, Any]) -> bool:
    return "UP" not in (link.get("flags") or [])


def _down(name: str, network: str, space: Space, link: Mapping[str, Any], where: str) -> Problem:
    device = str(link.get("ifname", ""))
    values = {"host": name, "space": space.name, "device": device}
    evidence = f"the interface {device} in {where} is down"
    return Problem("link-down", name, evidence, values, network=network, where=f"{name}: {device} in {space.name}")


def links_down(seen: Seen) -> Iterator[Problem]:
    """Find containers whose interface on an overlay is down, and such interfaces of the routing mesh."""
    listed = of_kernels(seen)
    for name, kernel in seen.observed.kernels.items():
        if mesh := kernel.spaces.get(_MESH):
            for down in (each for each in mesh.links if kind_of(each) == "veth" and _is_down(each)):
                yield _down(name, "", mesh, down, "the namespace of the routing mesh")
        names = names_of(seen, name)
        for network, entry in listed[name].items():
            subnets = list(_subnets(entry))
            for space in kernel.spaces.values():
                for address, mac in () if space.network else space.inner:
                    link = next((each for each in space.links if mac and each.get("address") == mac), None)
                    if link and _is_down(link) and any(IPv4Address(address) in subnet for subnet in subnets):
                        yield _down(name, network, space, link, names.get((network, address), "a container"))


def _orphans(seen: Seen, name: str, kernel: Kernel, live: Mapping[str, str]) -> Iterator[Problem]:
    """Find devices that an engine left: in the host's namespace, or in one without a network. Devices of other programs are ignored."""
    port = seen.site.inventory.data_path_port
    for link in kernel.links:
        device, data = str(link.get("ifname", "")), (link.get("linkinfo") or {}).get("info_data") or {}
        if kind_of(link) == "vxlan" and data.get("port") == port and _ENGINES_DEVICE.fullmatch(device):
            evidence = f"the host's own namespace has the VXLAN device {device} with VNI {_vni(link)} on port {port}"
            yield Problem("vxlan-exists", name, evidence, {"host": name, "device": device}, where=f"{name}: {device}")
    used = {_vni(link) for space in kernel.spaces.values() if space.name in live for link in space.vxlans}
    for space in kernel.spaces.values():
        if not space.network or space.name in live or not seen.site.facts[name].networks:
            continue
        if _has_containers(space):  # a network that was created after the engine listed its networks
            continue
        for link in (link for link in space.vxlans if _vni(link) not in used):
            device, vni = str(link.get("ifname", "")), _vni(link)
            evidence = (
                f"the namespace {space.name}, which belongs to no network, has the VXLAN device {device} with VNI {vni}"
            )
            values = {"host": name, "device": device, "space": space.name}
            where = f"{name}: {device} in {space.name}"
            yield Problem("vxlan-exists", name, evidence, values, "space", where=where)


def narrow(seen: Seen) -> Iterator[Problem]:
    """Find interfaces of overlays that pass smaller packets than those of other hosts, and containers that send larger ones."""
    listed, usual = of_kernels(seen), _usual_mtus(seen)
    for name, kernel in seen.observed.kernels.items():
        for network, wanted in usual.items():
            entry = listed[name].get(network) or {}
            subnets, own = list(_subnets(entry)), kernel.space_of(str(entry.get("Id", "")))
            inside = [(own, link, "<") for link in own.links if kind_of(link) in {"vxlan", "veth"}] if own else []
            for space in kernel.spaces.values():
                macs = {mac for at, mac in space.inner if any(IPv4Address(at) in each for each in subnets)}
                inside += (
                    [(space, link, ">") for link in space.links if link.get("address") in macs]
                    if not space.network
                    else []
                )
            for space, link, sign in inside:
                device, mtu = str(link.get("ifname", "")), link.get("mtu")
                if isinstance(mtu, int) and (mtu < wanted if sign == "<" else mtu > wanted):
                    evidence = f"the interface {device} in {space.name} has the MTU {mtu}, and the network {network} has {wanted}"
                    values = {"host": name, "space": space.name, "device": device, "wanted": wanted}
                    where = f"{name}: {device} in {space.name}"
                    yield Problem("mtu", name, evidence, values, "device", network=network, where=where)


def shaped(seen: Seen) -> Iterator[Problem]:
    """Find queues that limit, delay or lose packets, on hosts whose proofs failed. Queues that disturb nobody are not reported."""
    failed = [each for result in seen.proofs for each in result.problems]
    for name, kernel in seen.observed.kernels.items():
        if not any(name in {each.host, each.target} or not each.host for each in failed):
            continue
        own = {on for on, its in seen.site.facts[name].addresses if its.ip == seen.site.advertise.get(name)}
        places = [("", link) for link in kernel.links if link.get("ifname") in own]
        places += [(space.name, link) for space in kernel.spaces.values() if space.network for link in space.links]
        for space_name, link in places:
            if link.get("qdisc") in _SHAPES:
                device, inside = str(link.get("ifname", "")), f" in {space_name}" if space_name else ""
                evidence = f"the interface {device}{inside} has a queue of the kind {link['qdisc']}, which limits or loses packets"
                enter = f"nsenter --net=/var/run/docker/netns/{space_name} " if space_name else ""
                values = {"host": name, "look": f"{enter}tc -s qdisc show dev {device}"}
                yield Problem("packet-loss", name, evidence, values, "shaped", where=f"{name}: {device}{inside}")


def _usual_mtus(seen: Seen) -> dict[str, int]:
    """Return network -> MTU of its VXLAN devices, if most hosts agree."""
    found: dict[str, Counter[int]] = defaultdict(Counter)
    for name, networks in of_kernels(seen).items():
        for network, entry in networks.items():
            space = seen.observed.kernels[name].space_of(str(entry.get("Id", "")))
            for link in space.vxlans if space else ():
                if isinstance(mtu := link.get("mtu"), int):
                    found[network][mtu] += 1
    usual = {network: each.most_common(1)[0] for network, each in found.items()}
    return {network: mtu for network, (mtu, count) in usual.items() if count > 1 and 2 * count > found[network].total()}


# -- containers and their forwarding entries -------------------------------------------------------------------------


@dataclass(frozen=True)
class Endpoint:
    """A container on an overlay. name: "a container" if unknown.

    space: its namespace. balances: whether it is a swarm's load balancer. settled: whether its engine lists it on the network,
    runs, and started it some seconds ago: other engines must know it by now.
    """

    host: str
    name: str
    mac: str
    space: str = ""
    balances: bool = False
    settled: bool = False


def endpoints(seen: Seen) -> dict[str, dict[str, list[Endpoint]]]:
    """Return network -> address -> containers with it, from the interfaces in the containers' namespaces."""
    found: dict[str, dict[str, list[Endpoint]]] = defaultdict(lambda: defaultdict(list))
    listed = of_kernels(seen)
    for host, kernel in seen.observed.kernels.items():
        names = names_of(seen, host)
        subnets = {name: list(_subnets(entry)) for name, entry in listed[host].items()}
        for space in kernel.spaces.values():
            if space.network:
                continue
            for address, mac in space.inner:
                for network in (n for n, of in subnets.items() if any(IPv4Address(address) in each for each in of)):
                    here = (names.get((network, each)) for each, of in space.inner if of == mac)
                    name = names.get((network, address)) or next(filter(None, here), _UNNAMED)
                    name = "the load balancer" if space.balances else name
                    settled = (network, address) in names and kernel.engine_runs
                    settled &= not space.balances and kernel.ages.get(space.name, 0) >= _SETTLED
                    found[network][address].append(Endpoint(host, name, mac, space.name, space.balances, settled))
    return found


def names_of(seen: Seen, host: str) -> dict[tuple[str, str], str]:
    """Return (network, address) -> container name, from the host's engine."""
    found = {}
    for container in seen.site.facts[host].http("containers").body or ():
        names = [str(name).removeprefix("/") for name in container.get("Names") or ()]
        for network, endpoint in ((container.get("NetworkSettings") or {}).get("Networks") or {}).items():
            address = endpoint.get("IPAddress") if isinstance(endpoint, dict) else ""
            found[network, str(address or "")] = names[0] if names else "a container"
    return found


def addresses(seen: Seen) -> Iterator[Problem]:
    """Find containers with the same address, or with the gateway's address."""
    listed = of_kernels(seen)
    for network, by_address in endpoints(seen).items():
        gateways = {
            address
            for name, kernel in seen.observed.kernels.items()
            if (space := kernel.space_of(str((listed[name].get(network) or {}).get("Id", ""))))
            for address, _ in space.inner
        }
        for address, holders in by_address.items():
            first, *others = holders
            where = f"{first.host}: address {address} on {network}"
            if others:
                both = " and ".join(f"{each.name} on {each.host}" for each in holders)
                values = {"both": both, "network": network, "name": others[0].name, "host": others[0].host}
                target = others[0].host if others[0].host != first.host else ""
                evidence = f"{both} have the address {address}"
                variant = "unnamed" if others[0].name == _UNNAMED else ""
                place = partial(Problem, "duplicate-ip", first.host, target=target, network=network, where=where)
                yield place(evidence=evidence, values=values, variant=variant)
            elif address in gateways:
                values = {"network": network, "name": first.name, "host": first.host}
                evidence = f"{first.name} has the gateway's address {address}"
                variant = "unnamed" if first.name == _UNNAMED else ""
                place = partial(Problem, "gateway-given", first.host, network=network, where=where)
                yield place(evidence=evidence, values=values, variant=variant)


def forwarding(seen: Seen) -> Iterator[Problem]:
    """Find missing and wrong forwarding entries of overlays."""
    listed = of_kernels(seen)
    for network, by_address in endpoints(seen).items():
        here = {each.host for holders in by_address.values() for each in holders if each.settled}
        for name, kernel in seen.observed.kernels.items():
            entry = listed[name].get(network) or {}
            space = kernel.space_of(str(entry.get("Id", "")))
            if space and space.vxlans:
                whole = entry.get("Scope") == "swarm" and name in here
                at = Entry(name, network, space, kernel.tables.networks.get(str(entry.get("Id", ""))), whole)
                for address, holders in by_address.items():
                    if len(holders) == 1 and holders[0].host != name:
                        yield from filter(None, (_entry(seen, at, address, holders[0]),))


@dataclass(frozen=True)
class Entry:
    """The place of the entries for a network's containers on other hosts.

    table: what the engine knows of the network from gossip; None if it was not read. whole: whether an absent entry is an
    error: an engine of a swarm has those of all containers, and one with a store learns them on demand.
    """

    host: str
    network: str
    space: Space
    table: Table | None = None
    whole: bool = False

    def said(self, address: str) -> str:
        """Return what the engine knows of the holder of an address, for the evidence."""
        if self.table is None:
            return ""
        places = ", ".join(sorted({place.host for place in self.table.at(address)}))
        return f"; its gossip table says {places}" if places else "; its gossip table has no host for it"


def _entry(seen: Seen, at: Entry, address: str, holder: Endpoint) -> Problem | None:
    """Return the problem of the entries for a container on another host, if any."""
    space = at.space
    right = swarm.data_address(seen.site.facts[holder.host]) or str(seen.site.advertise.get(holder.host, ""))
    if not right or space.neighbours is None or space.forwarding is None:
        return None
    known = space.neighbours.get(address)
    device = known.device if known else str(space.vxlans[0].get("ifname", ""))
    values = {"host": at.host, "space": space.name, "mac": holder.mac, "device": device, "right": right}
    values |= {"address": address, "holder": f"{address} in {holder.space}"}
    where = f"{at.host}: entry for {holder.mac} in {space.name}"
    place = partial(Problem, host=at.host, values=values, target=holder.host, network=at.network, where=where)
    who = f"{holder.name} ({address}, {holder.mac})"
    to = space.forwarding.get(holder.mac)
    if not known:
        lost = at.whole and holder.settled and len(space.vxlans) == 1
        evidence = f"{at.host} has no MAC address for {who} on {holder.host}{at.said(address)}"
        return place("fdb-lost", evidence=evidence, variant="address") if lost else None
    if known.mac != holder.mac:
        wrong = known.permanent and holder.settled
        evidence = (
            f"{at.host} sends packets for {who} on {holder.host} to the MAC address {known.mac}{at.said(address)}"
        )
        return place("fdb-stale", evidence=evidence, variant="mac") if wrong else None
    if to is None:
        evidence = f"{at.host} has the MAC address of {who}, but no forwarding entry for it{at.said(address)}"
        return place("fdb-lost", evidence=evidence)
    if at.whole and holder.settled and holder.mac in space.learned and len(space.vxlans) == 1:
        evidence = f"{at.host} has only an entry for {who} that its kernel learned from a packet, and that expires"
        return place("fdb-lost", evidence=f"{evidence}{at.said(address)}")
    if to != right:
        runs = f"but it runs on {holder.host} ({right}){at.said(address)}"
        return place("fdb-stale", evidence=f"{at.host} sends packets for {who} to {to}, {runs}")
    return None


# -- what the engine gave its containers --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Given:
    """A running container on an overlay, as its engine lists it."""

    name: str
    network: str
    subnet: IPv4Network
    address: str
    mac: str


def _given(seen: Seen, host: str) -> Iterator[Given]:
    known = overlays(seen, host)
    for each in attached.attachments(seen.site.facts[host]):
        network = known.get(each.network, {})
        subnets = [subnet for subnet in _subnets(network) if IPv4Address(each.address) in subnet]
        if each.number == network.get("Id") and subnets:
            yield Given(each.name, each.network, subnets[0], each.address, each.mac)


def addressed(seen: Seen) -> Iterator[Problem]:
    """Find containers whose interface is up and has lost its address or its route. The engine sets an interface up last."""
    for host, kernel in seen.observed.kernels.items():
        spaces = [
            space
            for space in kernel.spaces.values()
            if not space.network and not space.balances and space.has("addresses")
        ]
        for given in _given(seen, host):
            found = [(space, link) for space in spaces for link in space.links if link.get("address") == given.mac]
            if len(found) == 1 and kind_of(found[0][1]) == "veth" and not _is_down(found[0][1]):
                yield from _addressed(host, given, *found[0])


def _addressed(host: str, given: Given, space: Space, link: Mapping[str, Any]) -> Iterator[Problem]:
    device = str(link.get("ifname", ""))
    has = [address for address, mac in space.inner if mac == given.mac]
    values = {"host": host, "space": space.name, "device": device, "name": given.name, "source": given.address}
    values |= {"subnet": str(given.subnet), "address": f"{given.address}/{given.subnet.prefixlen}"}
    place = partial(
        Problem, "address-lost", host, values=values, network=given.network, where=f"{host}: {device} of {given.name}"
    )
    routes = None if space.routed is None else space.routed.get(device, [])
    if given.address not in has:
        instead = f"has {', '.join(has)} instead of" if has else "lacks"
        yield place(evidence=f"{device} of {given.name} {instead} the address {given.address} that the engine gave it")
    elif routes is not None and not any(route.overlaps(given.subnet) for route in routes):
        evidence = f"{given.name} has no route to the subnet {given.subnet} of {given.network} through {device}"
        yield place(evidence=evidence, variant="route")


def filled(seen: Seen, network: str) -> tuple[int, int]:
    """Return the addresses of a network that are known to be in use, and all for containers; 0 if unknown.

    In a swarm, those in use include the addresses of the nodes' load balancers.
    """
    entry = next((overlays(seen, name)[network] for name in seen.site.live if network in overlays(seen, name)), {})
    return len(endpoints(seen).get(network, {})), sum(subnet.num_addresses - 3 for subnet in _subnets(entry))


def full(seen: Seen) -> Iterator[Problem]:
    """Find subnets without a free address."""
    for network in seen.site.inventory.networks:
        used, room = filled(seen, network)
        if room and used >= room:
            where = f"subnet of {network}"
            evidence = f"{used} of {room} addresses are in use"
            yield Problem("subnet-full", "", evidence, {"network": network}, network=network, where=where)


def lacking(seen: Seen) -> Iterator[Problem]:
    """Find hosts whose kernel lacks what an existing network needs. Before `up` creates a network, a check does."""
    for name in seen.site.live:
        facts = seen.site.facts[name]
        for network in seen.site.inventory.networks.values():
            for needed in sorted(of_kernel(network) & facts.kernel_lacks) if network.name in facts.networks else ():
                evidence = f"the network {network.name} needs {needed}, which this host's kernel lacks"
                variant = "encrypted" if network.encrypted else ""
                yield Problem("kernel-without", name, evidence, variant=variant, network=network.name)


DETECTORS = (
    settings,
    balancers,
    lacking,
    shadows,
    rules,
    bridges,
    numbers,
    narrow,
    shaped,
    addresses,
    links_down,
    addressed,
    forwarding,
    full,
)
