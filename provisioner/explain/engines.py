"""Causes on engines: stopped or hanging engines and stores, and obstacles between an engine and its store."""

from __future__ import annotations

import shlex
from collections import defaultdict
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, ip_address, ip_network
from itertools import product
from typing import TYPE_CHECKING

from provisioner import stores
from provisioner.collect import scrub
from provisioner.controlplane import kv, swarm
from provisioner.explain.base import few
from provisioner.model import Problem
from provisioner.system import attached, firewall
from provisioner.system.firewall import walk
from provisioner.system.gossip import PORT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from provisioner.explain.base import Seen
    from provisioner.observe.kernel import Ended, Kernel
    from provisioner.system.facts import Facts

_LOOPBACK = "127.0.0.1"
_ALL_ADDRESSES = frozenset({"*", "0.0.0.0", "[::]"})  # noqa: S104 # of sockets that were read


def engines(seen: Seen) -> Iterator[Problem]:
    """Find engines that are stopped, or that run but do not answer."""
    for name in seen.site.live:
        facts = seen.site.facts[name]
        unit = facts.unit("docker.service")
        if problem := _containerd(seen, name):
            yield problem
        if "dockerd" not in facts.programs or facts.engine:
            continue
        ended = _ended(seen, name, "docker.service")
        if ended or not unit.up:
            evidence, variant = ended.what if ended else f"is {unit.active}", "fails" if ended and ended.fails else ""
            yield Problem(
                "engine-down", name, f"docker.service {evidence}", {"host": name}, variant, where="docker.service"
            )
        elif facts.http("info").late:
            evidence = "docker.service is active, but the engine did not answer in time"
            frozen = _frozen(seen, name, ("docker.service", "containerd.service"))
            values = {"host": name, **frozen.values}
            yield Problem(
                "engine-hangs",
                name,
                evidence + frozen.evidence,
                values,
                frozen.variant,
                where=frozen.unit or "docker.service",
            )
        elif unit.active == "active" and facts.http("info").refused:
            why = facts.http("info").error
            evidence = f"docker.service is active, and its socket accepts no connection: {why}"
            yield Problem("engine-down", name, evidence, {"host": name}, "socket", where="/var/run/docker.sock")


def _ended(seen: Seen, host: str, unit: str) -> Ended | None:
    """Return how a service ended that should run; None if it runs, or if nothing tried to start it. Its log may quote secrets."""
    kernel = seen.observed.kernels.get(host)
    ended = kernel.ended.get(unit) if kernel else None
    return replace(ended, said=scrub.Scrubber()(ended.said)) if ended else None


def _containerd(seen: Seen, name: str) -> Problem | None:
    """Find a host whose engine runs without containerd: it still answers most requests, but starts no container."""
    kernel = seen.observed.kernels.get(name)
    state = kernel.containerd if kernel else ""
    if state not in {"inactive", "failed", "deactivating"}:
        return None
    evidence = f"containerd.service is {state}, and the engine uses it"
    return Problem("engine-down", name, evidence, {"host": name}, "containerd", where="containerd.service")


@dataclass(frozen=True)
class Frozen:
    """A service whose main process a signal has stopped; empty if there is none."""

    unit: str = ""
    pid: int = 0

    @property
    def evidence(self) -> str:
        return f"; a signal has stopped the main process of {self.unit} ({self.pid})" if self.unit else ""

    @property
    def values(self) -> dict[str, object]:
        return {"unit": self.unit, "pid": self.pid} if self.unit else {}

    @property
    def variant(self) -> str:
        return "frozen" if self.unit else ""


def _frozen(seen: Seen, host: str, units: Collection[str]) -> Frozen:
    kernel = seen.observed.kernels.get(host)
    stopped = kernel.stopped if kernel else {}
    return next((Frozen(unit, pid) for unit, pid in stopped.items() if unit in units), Frozen())


def advertised(seen: Seen) -> Iterator[Problem]:
    """Find engines that advertise another address than the inventory gives their hosts, or none: nothing reaches them there.

    Engines of a swarm advertise the address of their node, which a check of the swarm compares.
    """
    site = seen.site
    for name in site.live if site.control == "kv" else ():
        facts, wanted = site.facts[name], site.advertise.get(name)
        own = site.plane.advertised(facts)
        if wanted is None or own == str(wanted) or not site.plane.joined(facts):
            continue
        cause, what = _why_not(facts, own)
        evidence = f"its engine advertises {what}; the inventory gives this host {wanted}"
        values = {"host": name, "wanted": wanted}
        yield Problem(cause, name, evidence, values, "running", where=f"{name}: docker info, Cluster Advertise")


def _why_not(facts: Facts, own: str) -> tuple[str, str]:
    """Return the cause if an engine advertises this address of the host's, which is not the wanted one, and the address in words."""
    if not own:
        return "advertise", "no address"
    try:
        address = IPv4Address(own)
    except ValueError:
        return "wrong-interface", own
    if address.is_loopback:
        return "loopback-advertise", f"{own}, a loopback address"
    device = next((name for name, found in facts.addresses if found.ip == address), "")
    if device and facts.primary(address) != address:
        return "secondary-advertise", f"{own}, a secondary address of {device}"
    return "wrong-interface", f"{own}, the address of {device}" if device else f"{own}, which this host does not have"


def store_servers(seen: Seen) -> Iterator[Problem]:
    """Find servers and agents of the store that accept connections from their own host but do not answer."""
    for host, where in _unanswered(seen):
        place = f"port {where}" if where.isdigit() else where
        evidence = f"the store accepts local connections on {place}, but did not answer in time"
        frozen = _frozen(seen, host, stores.OWNED.units)
        values = {"host": host, **frozen.values}
        yield Problem(
            "store-hangs", host, evidence + frozen.evidence, values, frozen.variant, where=frozen.unit or place
        )


def _unanswered(seen: Seen) -> Iterator[tuple[str, str]]:
    """Yield (host, port or socket) of the store's servers and agents that gave no answer to their own host in time."""
    site = seen.site
    names: dict[str, list[str]] = defaultdict(list)
    for request in site.plane.sought(site.inventory).requests:
        if request.where.startswith("/") or ":" not in request.where:  # not at another host
            names[request.where].append(request.name)
    for host, (where, requests) in product(site.live, names.items()):
        answers = [site.facts[host].http(name) for name in requests]
        if any(answer.late for answer in answers) and not any(answer.code for answer in answers):
            yield host, where


def stopped_servers(seen: Seen) -> Iterator[Problem]:
    """Find hosts on which a server or an agent of the store was set up and does not run."""
    backend = seen.site.managed
    if backend is None:
        return
    down = kv.down(seen.site, backend)
    for host, unit in product(seen.site.live, backend.sought.units):
        found = seen.site.facts[host].unit(unit)
        ended = _ended(seen, host, unit) if backend.runs_on(seen.site, host) else None
        if found.load == "loaded" and (ended or host in down):
            evidence, variant = ended.what if ended else f"is {found.active}", "fails" if ended and ended.fails else ""
            values = {"host": host, "unit": unit}
            yield Problem("store-down", host, f"{unit} {evidence}", values, variant, where=f"{host}: {unit}")


def left(seen: Seen) -> Iterator[Problem]:
    """Return hosts that are in no swarm, although its managers list a node with their address."""
    if seen.site.control != "swarm":
        return
    view = swarm.View(seen.site)
    for name in seen.site.live:
        address = str(seen.site.advertise.get(name, "?"))
        nodes = [node for node in view.nodes.values() if swarm.address_of(node) == address]
        half = swarm.state(seen.site.facts[name]) == "active" and not swarm.swarm_info(seen.site.facts[name]).get(
            "NodeID"
        )
        if nodes and (half or swarm.state(seen.site.facts[name]) == "inactive"):
            what = "began to leave its swarm and has not finished" if half else "is in no swarm"
            evidence = f"its engine {what}, and {view.acting} lists it as a node"
            values = {"host": name, "manager": view.acting, "node": nodes[0]["ID"]}
            variant, where = "half" if half else "", f"{name}: docker info, Swarm"
            yield Problem("node-left", name, evidence, values, variant, where=where)


def services(seen: Seen) -> Iterator[Problem]:
    """Find services of which tasks do not run for a reason that the swarm names. Tasks without one are still starting."""
    for name, kernel in seen.observed.kernels.items():
        for service in kernel.services.short if kernel.services else ():
            if service.errors:
                evidence = f"{service.name}: {service.running} of {service.wanted} tasks run; {service.errors[0]}"
                values = {"service": service.name, "manager": name}
                where = f"docker service ps {service.name}"
                yield Problem("service-tasks-missing", "", evidence, values, where=where)


def wiped(seen: Seen) -> Iterator[Problem]:
    """Find networks that running containers use, and that a store which answers does not have, or has anew.

    Other networks than the inventory's come and go: containers and networks are not read at the same moment. A network that any
    engine lists is there: an engine that does not reach its store lists only its own.
    """
    if seen.site.control != "kv":
        return
    ours = {name for name, network in seen.site.inventory.networks.items() if network.is_global}
    lacking: dict[str, list[str]] = defaultdict(list)
    listed = {str(each.get("Id")) for name in seen.site.live for each in seen.site.facts[name].networks.values()}
    for name in seen.site.live:
        facts = seen.site.facts[name]
        if not seen.site.plane.joined(facts) or not facts.networks or not seen.site.backend.leader(facts):
            continue
        if seen.site.plane.closed(seen.site, name) or attached.unknown(facts):
            continue
        for each in attached.started(facts):
            if each.network in ours and each.network_id and each.network_id not in listed:
                lacking[each.network].append(f"{each.name} on {name}")
    for network, of in lacking.items():
        evidence = f"{few(of)} {'is' if len(of) == 1 else 'are'} on a network {network} that the store does not have"
        values = {"network": network, "containers": ", ".join(of)}
        yield Problem("store-wiped", "", evidence, values, network=network, where="keys of the store")


def detached(seen: Seen) -> Iterator[Problem]:
    """Find running containers that have lost the network of the cluster that they were made on."""
    for name in seen.site.live:
        found = attached.detached(seen.site.facts[name])
        if found and not attached.unknown(seen.site.facts[name]):
            shown = few([f"{container} (created on {network})" for container, network in found.items()])
            evidence = f"{shown} {'is' if len(found) == 1 else 'are'} on no network"
            commands = [
                shlex.join(["docker", "network", "connect", network, container]) for container, network in found.items()
            ]
            values = {"host": name, "commands": "; ".join(commands)}
            yield Problem("network-detached", name, evidence, values, where="containers of the engine")


def off(seen: Seen) -> Iterator[Problem]:
    """Find nodes of a swarm whose engine listens to no gossip, although it answers and its node is active."""
    for name in seen.site.live if seen.site.control == "swarm" else ():
        facts = seen.site.facts[name]
        listening = {port for kind, port, _ in facts.ports if kind.startswith("tcp")}
        if PORT not in listening and seen.site.plane.joined(facts):
            evidence = f"its swarm node is active, but nothing listens on {PORT}/tcp"
            yield Problem("networking-off", name, evidence, {"host": name}, where=f"{name}: engine")


def in_container(seen: Seen) -> Iterator[Problem]:
    """Find an external store that runs in a container of an engine which needs the store."""
    endpoints = seen.site.inventory.the_store.endpoints or () if seen.site.control == "kv" else ()
    hosts = {str(address): name for name, address in seen.site.advertise.items() if name in seen.site.live}
    for address, _, port in (str(endpoint).rpartition(":") for endpoint in endpoints):
        name = hosts.get(address, "")
        container = attached.published(seen.site.facts[name], port) if name else ""
        if container:
            evidence = f"{container} publishes the store's port {port}, and the engine that runs it uses this store"
            yield Problem("store-in-container", name, evidence, {"host": name}, where=f"container {container}")


def loopback(seen: Seen) -> Iterator[Problem]:
    """Find rules that drop what the host sends to the cluster's ports on itself: to all of them, or to those that do not answer it."""
    silent: dict[str, list[int]] = defaultdict(list)
    for host, where in _unanswered(seen):
        silent[host] += [int(where)] if where.isdigit() else []
    for name, kernel in seen.observed.kernels.items():
        ports = silent[name] or seen.site.ports.local or (0,)
        for tool in ("iptables-legacy-save", "iptables-nft-save"):
            if found := _drops_loopback(walk.parse(kernel.rules(tool)), ports):
                evidence, rule = found
                program = tool.removesuffix("-save")
                yield Problem(
                    "loopback-dropped",
                    name,
                    evidence,
                    {"host": name, "tool": program, "rule": firewall.words(rule)[1:]},
                    "rule" if rule else "",
                    where=f"{name}: chain INPUT ({program})",
                )
                break


def _drops_loopback(table: walk.Filter, ports: Iterable[int]) -> tuple[str, str] | None:
    """Return why chain INPUT drops packets to all these ports on loopback, and the rule that can be deleted ("": none). None: not all."""
    ends = [walk.end(table, walk.loopback(port), "INPUT") for port in ports]
    reasons = dict(ends)
    if reasons.keys() - {walk.End.DROPPED, walk.End.RETURNED} or (
        walk.End.RETURNED in reasons and table.policy == "ACCEPT"
    ):
        return None
    if rule := reasons.get(walk.End.DROPPED):
        # A rule may be intended if it drops more than loopback.
        only = firewall.words(rule)[2:4] == ("-i", "lo") and rule.partition(" -j ")[2].partition(" ")[0] in {
            "DROP",
            "REJECT",
        }
        return f"the rule `{rule[:200]}` drops loopback packets", rule if only else ""
    return f"the policy of INPUT is {table.policy}, and no rule accepts loopback packets", ""


def proxies(seen: Seen) -> Iterator[Problem]:
    """Find engines whose environment sends requests for the store through a proxy."""
    if seen.site.control != "kv":
        return
    store = seen.site.inventory.the_store
    addresses = [str(endpoint).partition(":")[0] for endpoint in store.endpoints or ()] or [_LOOPBACK]
    for name, kernel in seen.observed.kernels.items():
        if _has_proxy(kernel):
            caught = [address for address in addresses if not _exempt(address, kernel.proxies.get("NO_PROXY", ""))]
            if caught:
                evidence = f"the engine uses a proxy, and NO_PROXY does not contain {caught[0]}"
                yield Problem(
                    "proxy", name, evidence, {"host": name, "address": caught[0]}, where="environment of docker.service"
                )


def _has_proxy(kernel: Kernel) -> bool:
    return bool({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} & kernel.proxies.keys())


def _exempt(address: str, no_proxy: str) -> bool:
    """Apply the rules of Go's httpproxy: loopback is always exempt. Entries are addresses, CIDRs, names or "*"."""
    try:
        literal = ip_address(address)
    except ValueError:
        literal = None
    if address == "localhost" or (literal and literal.is_loopback):
        return True
    for entry in filter(None, (part.strip() for part in no_proxy.split(","))):
        if entry in {"*", address} or (not literal and address.endswith(f".{entry.lstrip('.')}")):
            return True
        if literal and "/" in entry:
            try:
                if literal in ip_network(entry, strict=False):
                    return True
            except ValueError:
                continue
    return False


def exposed(seen: Seen) -> Iterator[Problem]:
    """Find engines that answer their API on the network without TLS."""
    for name, kernel in seen.observed.kernels.items():
        for socket in kernel.exposed:
            address, _, port = socket.rpartition(":")
            at = f"port {port}" if address in _ALL_ADDRESSES else socket
            evidence = f"its engine answers requests on {at} without TLS: whoever reaches it is root on the host"
            yield Problem("engine-open", name, evidence, {"socket": at}, "answers", where=f"{name}: {at}")


DETECTORS = (
    engines,
    exposed,
    advertised,
    left,
    store_servers,
    stopped_servers,
    services,
    wiped,
    detached,
    off,
    in_container,
    loopback,
    proxies,
)
