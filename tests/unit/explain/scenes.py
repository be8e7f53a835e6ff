"""Scenes: captured observations of three settled hosts, with one change each that makes one cause."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import permutations
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from captured import HOSTS, capture, container, with_http, with_unit

from provisioner.explain import Seen, problems
from provisioner.model import Drift, Failure, Kind, Outcome, Pair, Problem, ProofResult, State
from provisioner.observe import Observed
from provisioner.observe.kernel import Kernel
from provisioner.observe.underlay import Attempt, Datagrams, Underlay
from provisioner.observe.underlay import Path as Way
from provisioner.system.facts import sections
from provisioner.system.firewall import Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from provisioner.controlplane import Site
    from provisioner.system.facts import Facts

NETWORK = "774f09dcd7" + "0" * 54  # the ID of the network demo on the captured hosts
SPACE = "6-774f09dcd7"  # its namespace on them
DATA, GOSSIP, SERVER = 4789, 7946, 8300
CAPTURES = Path(__file__).parent / "captures"


@cache
def kernel(name: str) -> Kernel:
    """The kernel of a lab host with one container on demo, as observe/kernel.py read it."""
    return Kernel(sections((CAPTURES / f"kernel-{name}.txt").read_bytes()))


def altered(found: Kernel, section: str, change: Callable[[Any], Any]) -> Kernel:
    """Return the kernel with one section changed. change: gets and returns the text, or the value if the text is JSON."""
    text = found.raw.get(section, "")
    is_json = text[:1] in "[{" and bool(text)
    new = json.dumps(change(json.loads(text))) if is_json else change(text)
    return Kernel({**found.raw, section: new})


def without(seen, *begins, host="node2"):
    """Remove sections of a host's kernel. begins: how their names begin."""
    raw = {name: text for name, text in seen.observed.kernels[host].raw.items() if not name.startswith(begins)}
    return replace(seen, observed=replace(seen.observed, kernels={**seen.observed.kernels, host: Kernel(raw)}))


def facts(name: str) -> Facts:
    """The facts of a settled host. The ID of the network demo matches the captured kernels."""
    found = capture(f"settled-{name}")
    networks = [{**each, "Id": NETWORK} if each["Name"] == "demo" else each for each in found.networks.values()]
    return with_http(found, "networks", networks)


GOOD = Way(
    "",
    "",
    {DATA: Datagrams(20, 20, 20, 20), GOSSIP: Datagrams(3, 3, 3, 3)},
    {port: Attempt("open", 0.0004, "", 1, 1, 1, 1, 1) for port in (GOSSIP, SERVER)},
    1500,
)


def ways(site: Site, change: Callable[[Way], Way] = lambda way: way) -> dict[tuple[str, str], Way]:
    """Return all paths: healthy ones, each passed through `change`."""
    found = {}
    for source, target in permutations(HOSTS, 2):
        address = frozenset({str(site.advertise[source])})
        udp = {port: replace(seen, sources=address, sent_from=address) for port, seen in GOOD.udp.items()}
        found[source, target] = change(replace(GOOD, source=source, target=target, udp=udp))
    return found


def into(host: str, *, source: str = "", **of_path: Any) -> Callable[[Way], Way]:
    """Return a change of the paths to a host. of_path: udp and tcp by port, size, or mtu."""

    def change(way: Way) -> Way:
        if way.target != host or source not in {"", way.source}:
            return way
        udp = {**way.udp, **{port: replace(way.udp[port], **new) for port, new in of_path.get("udp", {}).items()}}
        tcp = {**way.tcp, **of_path.get("tcp", {})}
        return replace(way, udp=udp, tcp=tcp, size=of_path.get("size", way.size), mtu=of_path.get("mtu", way.mtu))

    return change


def behind_nat(host: str, **of_path: Any) -> Callable[[Way], Way]:
    """Return a change of the paths from a host: its packets arrive with another address, and the receivers drop them."""

    def change(way: Way) -> Way:
        if way.source != host:
            return way
        udp = {port: replace(d, sources=frozenset({"192.168.56.254"}), passed=0) for port, d in way.udp.items()}
        return replace(way, udp=udp, **of_path)

    return change


def healthy(site: Callable[..., Site], **hosts: Facts) -> Seen:
    """A cluster without problems. hosts: facts that replace those of single hosts."""
    found = site(**{name: hosts.get(name) or facts(name) for name in HOSTS})
    pairs = tuple(Pair(a, b, 0.1, 0.1, 0.1, 0.1, 0.1) for a, b in permutations(HOSTS, 2))
    proof = ProofResult("overlay", "demo", State.SETTLED, pairs, mtu=1450)
    return Seen(found, Observed(Underlay(ways(found)), {name: kernel(name) for name in HOSTS}), (proof,))


def with_ways(seen: Seen, *changes: Callable[[Way], Way], **more: Any) -> Seen:
    """Apply changes to all paths. more: other fields of the underlay."""
    paths = ways(seen.site)
    for change in changes:
        paths = {way: change(path) for way, path in paths.items()}
    return replace(seen, observed=replace(seen.observed, underlay=Underlay(paths, **more)))


def with_kernel(seen: Seen, name: str, section: str, change: Callable[[Any], Any]) -> Seen:
    kernels = {**seen.observed.kernels, name: altered(seen.observed.kernels[name], section, change)}
    return replace(seen, observed=replace(seen.observed, kernels=kernels))


def failed(seen: Seen, *ways: tuple[str, str], problem: Problem | None = None) -> Seen:
    """Make the proof fail for these pairs."""
    (proof,) = seen.proofs
    pairs = tuple(
        Pair(p.source, p.target, detail="no answer") if (p.source, p.target) in ways else p for p in proof.pairs
    )
    problems = (problem,) if problem else ()
    return replace(
        seen, proofs=(replace(proof, state=State.FAILED, pairs=pairs, problems=problems, error="not proven"),)
    )


# -- a container on each host -----------------------------------------------------------------------------------------


BOX = {name: next(s for s in kernel(name).spaces.values() if not s.network and s.inner) for name in HOSTS}
GIVEN = {name: box.inner[0] for name, box in BOX.items()}  # host -> address, MAC address
NOW, OLD, YOUNG = 1_795_973_993, 600, 2


def since(ages: Mapping[str, int]) -> str:
    return "\n".join([str(NOW), *(f"{NOW - age} /var/run/docker/netns/{name}" for name, age in ages.items()), ""])


def attached(seen: Seen, host: str, **more: object) -> Seen:
    """Let the engine of a host list its container."""
    address, mac = GIVEN[host]
    given = {"NetworkID": NETWORK, "IPAddress": address, "MacAddress": mac}
    return with_containers(seen, host, running(f"web-{host}", NetworkSettings={"Networks": {"demo": given}}, **more))


def cluster(
    site: Callable[..., Site],
    scope: str = "swarm",
    *,
    age: int = OLD,
    engine: str = "active",
    listed: Sequence[str] = HOSTS,
) -> Seen:
    """Three hosts with one container each. age: of node1's container. engine: the state of node1's engine."""
    seen = healthy(site)
    for host in HOSTS:
        facts = seen.site.facts[host]
        networks = [{**each, "Scope": scope} if each["Name"] == "demo" else each for each in facts.networks.values()]
        seen = replace(seen, site=seen.site.known(host, with_http(facts, "networks", networks)))
        seen = attached(seen, host) if host in listed else seen
        ages = since({BOX[host].name: age if host == "node1" else OLD, SPACE: OLD})
        seen = with_kernel(seen, host, "since", lambda _, ages=ages: ages)
        seen = with_kernel(seen, host, "engine-state", lambda _, is_=engine if host == "node1" else "active": is_)
    return seen


def named(seen: Seen) -> list[tuple[str, ...]]:
    """Return the problems without their texts."""
    return [(each.id, each.variant, each.host, each.target, each.network) for each in problems(seen)]


# -- one scene for each cause -------------------------------------------------------------------------------------------


def _rule(text: str, tool: str = "iptables-nft-save", table: str = "filter") -> Mapping[str, tuple[Rule, ...]]:
    return MappingProxyType(
        {"node2": (Rule("iptables-nft-save", "filter", 900, ":INPUT ACCEPT"), Rule(tool, table, 40, text))}
    )


STORE_PORT = {"Ports": [{"IP": "0.0.0.0", "PrivatePort": 8500, "PublicPort": 8500, "Type": "tcp"}]}
DROPPED = {"passed": 0}
SILENT = Attempt("silent", 0.0, "", 2, 2, 0)


def blocked(seen: Seen) -> Seen:
    rules = _rule("-A INPUT -p udp -m udp --dport 4789 -j DROP")
    return with_ways(seen, into("node2", udp={DATA: DROPPED}), rules=rules)


def _not_answering(seen: Seen, name: str, *requests: str) -> Seen:
    facts = seen.site.facts[name]
    for request in requests or ("info",):
        facts = with_http(facts, request, "000 timeout")
    return replace(seen, site=seen.site.known(name, facts))


def _stopped(seen: Seen, name: str) -> Seen:
    facts = with_http(seen.site.facts[name], "info", "000 no answer")
    return replace(seen, site=seen.site.known(name, with_unit(facts, "docker.service", ActiveState="inactive")))


def _addresses(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


def _of_container(name: str) -> str:
    """Return the name of the section with the addresses of the container on a captured host."""
    (space,) = (space for space in kernel(name).spaces.values() if not space.network and space.inner)
    return f"space:{space.name}:addresses"


def _json(section: str, old: str, new: str) -> Callable[[Any], Any]:
    return lambda value: json.loads(json.dumps(value).replace(old, new))


def _without(text: str) -> Callable[[str], str]:
    return lambda lines: "\n".join(line for line in lines.split("\n") if text not in line)


def _full(seen: Seen) -> Seen:
    subnet = {"Config": [{"Subnet": "10.99.0.0/29", "Gateway": "10.99.0.1"}]}
    for name in HOSTS:
        host = seen.site.facts[name]
        networks = [{**each, "IPAM": subnet} if each["Name"] == "demo" else each for each in host.networks.values()]
        seen = replace(seen, site=seen.site.known(name, with_http(host, "networks", networks)))
    section = _of_container("node1")
    extra = [{"family": "inet", "local": f"10.99.0.{last}", "prefixlen": 29} for last in range(5, 7)]
    return with_kernel(seen, "node1", section, lambda links: [*links, {"ifname": "eth0", "addr_info": extra}])


def with_containers(seen: Seen, name: str, *containers: Mapping[str, Any]) -> Seen:
    """Let the engine of a host list these containers."""
    return replace(seen, site=seen.site.known(name, with_http(seen.site.facts[name], "containers", list(containers))))


def running(name: str, number: str = NETWORK, network: str = "demo", **more: object) -> dict[str, object]:
    """A container that runs on a network. number: the network's ID."""
    return {
        **container(name, network),
        "State": "running",
        "NetworkSettings": {"Networks": {network: {"NetworkID": number, "IPAddress": "10.99.0.9"}}},
        **more,
    }


def alone(name: str, mode: str = "demo", **more: object) -> dict[str, object]:
    """A container that runs on no network. mode: what it was created with."""
    return {**container(name), "State": "running", "HostConfig": {"NetworkMode": mode}, **more}


def without_network(seen: Seen, name: str, network: str) -> Seen:
    host = seen.site.facts[name]
    kept = [found for found in host.networks.values() if found["Name"] != network]
    return replace(seen, site=seen.site.known(name, with_http(host, "networks", kept)))


# cause -> (scene, hosts of the diagnosis)
SCENES: Mapping[str, tuple[Callable[[Seen], Seen], tuple[str, ...]]] = MappingProxyType(
    {
        "vxlan-blocked": (blocked, ("node2",)),
        "gossip-blocked": (
            lambda seen: with_ways(seen, into("node2", udp={GOSSIP: DROPPED}, tcp={GOSSIP: SILENT})),
            ("node2",),
        ),
        "gossip-udp": (lambda seen: with_ways(seen, into("node2", udp={GOSSIP: DROPPED})), ("node2",)),
        "store-blocked": (
            lambda seen: with_ways(seen, into("node2", source="node1", tcp={SERVER: SILENT})),
            ("node1", "node2"),
        ),
        "underlay-blocked": (
            lambda seen: with_ways(
                seen,
                into(
                    "node2",
                    source="node1",
                    udp={DATA: {"arrived": 0, "passed": 0}, GOSSIP: {"arrived": 0, "passed": 0}},
                    tcp={GOSSIP: Attempt("silent", left=3), SERVER: Attempt("silent", left=3)},
                ),
            ),
            ("node1", "node2"),
        ),
        "no-route": (
            lambda seen: with_kernel(
                seen, "node2", "unrouted", lambda _: "192.168.56.11 RTNETLINK answers: Invalid argument\n"
            ),
            ("node2", "node1"),
        ),
        "neighbour-wrong": (
            lambda seen: with_kernel(
                seen,
                "node2",
                "neighbours",
                lambda _: [
                    {"dst": "192.168.56.11", "dev": "eth0", "lladdr": "02:de:ad:be:ef:01", "state": ["PERMANENT"]}
                ],
            ),
            ("node2", "node1"),
        ),
        "link-down": (
            lambda seen: with_kernel(
                seen,
                "node2",
                f"space:{SPACE}:links",
                lambda links: [{**each, "flags": []} if each["ifname"] == "br0" else each for each in links],
            ),
            ("node2",),
        ),
        "packet-loss": (lambda seen: with_ways(seen, into("node2", udp={DATA: {"passed": 11}})), ("node2",)),
        "mtu": (lambda seen: with_ways(seen, into("node2", size=1400)), ("node2",)),
        "source-mismatch": (
            lambda seen: with_ways(
                seen,
                lambda way: (
                    replace(
                        way,
                        udp={
                            port: replace(d, sources=frozenset({"192.0.2.7"}), sent_from=frozenset({"192.0.2.7"}))
                            for port, d in way.udp.items()
                        },
                    )
                    if way.source == "node2"
                    else way
                ),
            ),
            ("node2",),
        ),
        "nat-between": (lambda seen: with_ways(seen, behind_nat("node2")), ("node2",)),
        "address-conflict": (
            lambda seen: with_ways(seen, macs={("node2", ""): ("02:00:00:00:00:99",)}),
            ("node2",),
        ),
        "ip-forward": (
            lambda seen: with_kernel(seen, "node2", "sysctl", _addresses("ip_forward=1", "ip_forward=0")),
            ("node2",),
        ),
        "conntrack-full": (
            lambda seen: with_kernel(
                seen,
                "node2",
                "sysctl",
                lambda text: f"{_without('conntrack_count')(text)}net/netfilter/nf_conntrack_count=262144\n",
            ),
            ("node2",),
        ),
        "neigh-overflow": (
            lambda seen: with_kernel(
                seen, "node2", "kernel-log", lambda _: "[12.0] neighbour: arp_cache: neighbor table overflow!\n"
            ),
            ("node2",),
        ),
        "lxc-host": (
            lambda seen: replace(
                with_kernel(seen, "node2", "virtualisation", lambda _: "lxc\n"),
                site=replace(seen.site, control="swarm"),
            ),
            ("node2",),
        ),
        "route-shadow": (
            lambda seen: with_kernel(
                seen, "node2", "routes", lambda routes: [*routes, {"dst": "10.99.0.0/16", "dev": "tun0"}]
            ),
            ("node2",),
        ),
        "firewall-reload": (
            lambda seen: with_kernel(seen, "node2", "iptables-nft-save", _without("-j DOCKER")),
            ("node2",),
        ),
        "iptables-split": (
            lambda seen: with_kernel(
                seen,
                "node2",
                "iptables-legacy-save",
                lambda _: "*filter\n:INPUT ACCEPT\n-A INPUT -s 192.0.2.1/32 -j DROP\n",
            ),
            ("node2",),
        ),
        "gwbridge": (
            lambda seen: with_kernel(
                seen, "node2", "links", lambda links: [each for each in links if each["ifname"] != "docker_gwbridge"]
            ),
            ("node2",),
        ),
        "bridge-full": (
            lambda seen: with_kernel(
                seen,
                "node2",
                "links",
                lambda links: [*links, *({"ifname": f"v{n}", "master": "docker0"} for n in range(1023))],
            ),
            ("node2",),
        ),
        "vni-mismatch": (
            lambda seen: with_kernel(seen, "node2", f"space:{SPACE}:links", _json("", '"id": 256', '"id": 300')),
            ("node2",),
        ),
        "vxlan-lost": (
            lambda seen: with_kernel(
                seen,
                "node2",
                f"space:{SPACE}:links",
                lambda links: [each for each in links if "vxlan" not in json.dumps(each)],
            ),
            ("node2",),
        ),
        "vxlan-exists": (
            lambda seen: with_kernel(
                seen,
                "node2",
                "links",
                lambda links: [
                    *links,
                    {
                        "ifname": "vx-000101-old",
                        "linkinfo": {"info_kind": "vxlan", "info_data": {"id": 256, "port": DATA}},
                    },
                ],
            ),
            ("node2",),
        ),
        "fdb-stale": (
            lambda seen: with_kernel(
                seen, "node2", f"space:{SPACE}:forwarding", _json("", '"192.168.56.11"', '"192.168.56.13"')
            ),
            ("node2", "node1"),
        ),
        "fdb-lost": (
            lambda seen: with_kernel(
                seen,
                "node2",
                f"space:{SPACE}:forwarding",
                lambda entries: [e for e in entries if e.get("dst") != "192.168.56.11"],
            ),
            ("node2", "node1"),
        ),
        "duplicate-ip": (
            lambda seen: with_kernel(seen, "node2", _of_container("node2"), _json("", '"10.99.0.3"', '"10.99.0.2"')),
            ("node1", "node2"),
        ),
        "gateway-given": (
            lambda seen: with_kernel(seen, "node2", _of_container("node2"), _json("", '"10.99.0.3"', '"10.99.0.1"')),
            ("node2",),
        ),
        "store-wiped": (lambda seen: with_containers(seen, "node2", running("web", "gone")), ()),
        "network-detached": (lambda seen: with_containers(seen, "node2", alone("web")), ("node2",)),
        "store-in-container": (
            lambda seen: with_containers(
                replace(seen, site=_external(seen.site, "192.168.56.12:8500")), "node2", running("store", **STORE_PORT)
            ),
            ("node2",),
        ),
        "subnet-full": (_full, ()),
        "engine-down": (lambda seen: _stopped(seen, "node2"), ("node2",)),
        "engine-hangs": (lambda seen: _not_answering(seen, "node2"), ("node2",)),
        "store-hangs": (
            lambda seen: _not_answering(seen, "node2", "info", "leader", "peers", "members"),
            ("node2",),
        ),
        "loopback-dropped": (
            lambda seen: with_kernel(
                seen,
                "node2",
                "iptables-nft-save",
                lambda text: text.replace("*filter\n", "*filter\n", 1).replace(
                    "-A INPUT", "-A INPUT -i lo -j DROP\n-A INPUT", 1
                ),
            ),
            ("node2",),
        ),
        "proxy": (
            lambda seen: with_kernel(
                replace(seen, site=_external(seen.site)),
                "node2",
                "proxies",
                lambda _: "HTTP_PROXY=set\nNO_PROXY=10.0.0.0/8\n",
            ),
            ("node2",),
        ),
        "br-netfilter": (
            lambda seen: failed(
                replace(
                    seen,
                    site=seen.site.known(
                        "node2",
                        with_http(
                            seen.site.facts["node2"],
                            "info",
                            {**seen.site.facts["node2"].engine, "ServerVersion": "28.5.2"},
                        ),
                    ),
                ),
                problem=Problem("forward-blocked", "node2", "nothing passes"),
            ),
            ("node2",),
        ),
        "host-lost": (
            lambda seen: replace(
                seen, lost={"node2": Failure("node2: no answer\n  next:  look at it", "host-unreachable")}
            ),
            ("node2",),
        ),
        "drift": (
            lambda seen: replace(
                seen, outcomes=(Outcome("node2", "daemon", State.DRIFTED, (Drift(Kind.FILE, "/etc/x"),)),)
            ),
            ("node2",),
        ),
        "unexplained": (lambda seen: failed(seen, ("node1", "node2")), ("node1",)),
        "manager-blocked": (
            lambda seen: replace(
                with_ways(seen, into("node2", tcp={2377: SILENT})), site=replace(seen.site, control="swarm")
            ),
            ("node2",),
        ),
    }
)


def _external(site: Site, *endpoints: str) -> Site:
    """Use an external store."""
    store = site.inventory.the_store.model_copy(update={"endpoints": endpoints or ("192.0.2.9:8500",)})
    return replace(site, inventory=site.inventory.model_copy(update={"store": store}))
