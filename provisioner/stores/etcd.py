"""etcd: servers on 1, 3 or 5 hosts. Every engine knows all endpoints, and uses the v2 API over HTTPS.

Clients and servers authenticate with certificates of the cluster's own authority (stores/authority.py). The hosts' Perl
has no TLS, so it uses two other listeners: a socket for root only, and port 2381, which serves only metrics and health.
A cluster that was formed without TLS stays without it, because its members know one another by http URLs. So the
inventory's `security` has an effect only when a cluster is founded.

The data has a folder of its own, apart from the data of the package's default cluster.

Sources: etcd's documentation. v2 is off by default since 3.4, and removed in 3.6. etcd reads `initial-*` only while it
has no data.
"""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from provisioner import render
from provisioner.errors import StepFailed, Unreachable
from provisioner.model import Action, Drift, Kind, Problem
from provisioner.stores import asking, authority, shapes
from provisioner.stores.base import TLS_FILES, WAITER, Managed, Unstaged, endpoints, url, waiting_for
from provisioner.stores.engine_keys import Endpoint, endpoint, endpoints_path
from provisioner.stores.rotating import Renewal
from provisioner.stores.secrets import certificate_of
from provisioner.stores.started import needs_restart
from provisioner.stores.values import File, Service, Uploaded, Waiting
from provisioner.stores.waiting import until_leader
from provisioner.system import firewall, packages
from provisioner.system.owned import Data, Owned
from provisioner.system.reading import Sought
from provisioner.system.request import Request
from provisioner.system.strict import json_object, literal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from ipaddress import IPv4Address

    from provisioner.inventory import Store
    from provisioner.stores.protocols import Cluster
    from provisioner.system.facts import Answer, Facts
    from provisioner.system.firewall import Ports
    from provisioner.transport import Connection, Reader

PORT, PEER_PORT, HEALTH_PORT = 2379, 2380, 2381
SOCKET = "/run/provisioner-etcd/localhost:2379"  # etcd accepts only HOST:PORT as the name of a socket
UNIT = "etcd.service"
JSON = "/etc/etcd/provisioner.json"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
LOADED = "/run/provisioner-etcd.loaded"  # unit and configuration that the running server was started with
DATA = "/var/lib/etcd/provisioner"
OWNED = Owned(
    files=(JSON, LOADED),
    folders=("/etc/etcd", "/var/lib/etcd", "/run/provisioner-etcd"),
    units=(UNIT,),
    users=("etcd",),
    packages=packages.names("etcd"),
    data=(Data(DATA, JSON),),
)

_READ_WITHOUT_DATA = {
    "initial-cluster",
    "initial-cluster-state",
    "initial-cluster-token",
    "initial-advertise-peer-urls",
}
_FIT = ((3, 3), (3, 5))  # versions; 3.6 has no v2 API, and before 3.3 only the client port served health
_ASKED = {"version": "/version", "health": "/health", "members": "/v2/members", "self": "/v2/stats/self"}
_SAYS = {"JSON": JSON, "UNIT": UNIT, "PORT": str(PORT), "DATA": DATA}


_CURE_VERSION = "use etcd 3.3, 3.4 or 3.5, as Debian 11, 12 and 13 have it"


@dataclass(frozen=True)
class Etcd(Unstaged, Managed):
    """The backend. Ports: etcd's documentation (2379 clients, 2380 servers)."""

    store: Store
    kind = program = "etcd"
    title = "etcd"
    grows = False
    shrinks = True
    rotates: ClassVar = ("certificates",)
    sought = Sought(
        driver="etcd",
        scheme="etcd",
        user="etcd",
        programs=("etcd",),
        files=(JSON, UNIT_FILE, LOADED, WAITER, *TLS_FILES[:2]),
        sums=TLS_FILES,
        secrets=(TLS_FILES[2], authority.KEY),
        units=(UNIT,),
        data=DATA,
        config=JSON,
        settled=WAITER,
        says=render.filled(render.program("read-etcd.sh"), _SAYS),
        requests=tuple(
            Request(f"{name}{at}", where, path)
            for at, where in (("", str(PORT)), ("@socket", SOCKET))
            for name, path in _ASKED.items()
        ),
        ports=dict.fromkeys((PORT, PEER_PORT, HEALTH_PORT), "etcd"),
        shapes={
            "health": shapes.EtcdHealth,
            "members": shapes.EtcdMembers,
            "self": shapes.EtcdSelf,
            "endpoints": shapes.EtcdKeys,
        },
    )
    uploaded: Uploaded | None = None

    @property
    def ports(self) -> Ports:
        return firewall.with_store(
            tcp=(PORT, PEER_PORT, *([HEALTH_PORT] if self.store.security.tls else [])), users=("etcd",)
        )

    def _founded(self, cluster: Cluster) -> list[str]:
        """Return the configurations of the servers that have data."""
        known = (cluster.facts[name] for name in cluster.servers if name in cluster.facts)
        return [facts.files[JSON] for facts in known if self.has_data(facts) and JSON in facts.files]

    def _secured(self, cluster: Cluster) -> bool:
        """Whether etcd uses TLS: as servers with data do. If no server has data, the inventory decides."""
        founded = self._founded(cluster)
        return any('"https://' in text for text in founded) if founded else self.store.security.tls

    def _scheme(self, cluster: Cluster) -> str:
        return "https" if self._secured(cluster) else "http"

    def url(self, cluster: Cluster) -> str:
        """All servers: an engine switches to the next one when it loses a server."""
        return url("etcd", endpoints(cluster, PORT), self.store)

    def credentials(self, cluster: Cluster, host: str) -> tuple[File, ...]:
        """On servers, etcd reads the same files."""
        if not self._secured(cluster):
            return ()
        owner = "root:etcd" if self.runs_on(cluster, host) else "root:root"
        return authority.credentials(cluster, host, owner, founded=bool(self._founded(cluster)))

    def runs_on(self, cluster: Cluster, host: str) -> bool:
        return host in cluster.servers

    def waiting(self, cluster: Cluster, host: str) -> Waiting:
        port = HEALTH_PORT if self._secured(cluster) else PORT
        return waiting_for(self.kind, endpoints(cluster, port), UNIT if self.runs_on(cluster, host) else "")

    def service(self, cluster: Cluster, host: str) -> Service:
        if why := self._unsupported_version(cluster.facts[host]):
            raise StepFailed(
                why,
                cause="store-without-v2",
                host=host,
                tried="checking its version; nothing was written",
                cure=_CURE_VERSION,
            )
        secured, scheme = self._secured(cluster), self._scheme(cluster)
        known = [(name, cluster.advertise[name]) for name in cluster.servers if name in cluster.advertise]
        config = render.text(
            "etcd.json.j2",
            name=host,
            data=DATA,
            address=str(cluster.advertise[host]),
            cluster=",".join(f"{name}={scheme}://{address}:{PEER_PORT}" for name, address in known),
            token=cluster.inventory.cluster,
            state=self._state(cluster, host),
            tls=TLS_FILES if secured else (),
            socket=SOCKET.rpartition("/")[2],
        )
        words = {"unit_path": UNIT_FILE, "json_path": JSON, "loaded_path": LOADED, "socket": SOCKET if secured else ""}
        files = (File(JSON, config), File(UNIT_FILE, render.text("etcd.service.j2", **words)))
        kept = authority.kept(cluster, founded=bool(self._founded(cluster))) if secured else ()
        secrets = (*self.credentials(cluster, host), *kept)
        return Service(UNIT, "etcd", "/var/lib/etcd", files, {"/var/lib/etcd": "0700"}, secrets)

    def _unsupported_version(self, facts: Facts) -> str:
        """Return why this host's version of etcd can't be a server; "" if it can, or if no version is known."""
        found = re.match(r"([0-9]{1,6})\.([0-9]{1,6})", facts.line("etcd-version"))
        if not found or _FIT[0] <= (int(found[1]), int(found[2])) <= _FIT[1]:
            return ""
        return f"its etcd {found[0]} is not supported: engines need the v2 API, which etcd 3.3, 3.4 and 3.5 can serve"

    def _state(self, cluster: Cluster, host: str) -> str:
        """Return whether the server founds a cluster or joins one. etcd ignores it later, so a written value stays."""
        facts = cluster.facts[host]
        if self.formed(cluster) and not self.has_data(facts):
            return "existing"
        found = json_object(facts.files.get(JSON, "")).get("initial-cluster-state")
        return "existing" if found == "existing" else "new"

    def formed(self, cluster: Cluster) -> bool:
        return any(self._leader_id(cluster.facts[name]) for name in cluster.servers if name in cluster.facts)

    def outdated(self, cluster: Cluster, host: str, service: Service) -> bool:
        unread: set[str] = _READ_WITHOUT_DATA if self.formed(cluster) else set()
        return needs_restart(cluster.facts[host].files.get(LOADED, ""), service, unread)

    def membership(self, cluster: Cluster, host: str) -> list[Drift]:
        """Return differences unless the server answers, has a leader, and every live server has joined once."""
        facts = cluster.facts[host]
        health = _answer(facts, "health")
        if health.code == 0:
            return [Drift(Kind.STORE, "HTTP interface", health.error, "an answer", Action.WAIT, self.title)]
        if str((health.body or {}).get("health")) not in {"true", "True"}:
            return [Drift(Kind.STORE, "leader", "none", "one", Action.WAIT, self.title)]
        started = {member["name"] for member in _members(facts) if member.get("clientURLs")}
        missing = [name for name in cluster.servers if name in cluster.live and name not in started]
        without = "without " + ", ".join(missing)
        return [Drift(Kind.STORE, "members", without, "all servers", Action.WAIT, self.title)] if missing else []

    def peers(self, facts: Mapping[str, Facts]) -> frozenset[IPv4Address]:
        return frozenset(found for of_host in facts.values() for m in _members(of_host) if (found := _address(m)))

    def remembered(self, facts: Mapping[str, Facts]) -> dict[str, IPv4Address]:
        members = (member for of_host in facts.values() for member in _members(of_host) if member["name"])
        return {member["name"]: found for member in members if (found := _address(member))}

    def was_server(self, facts: Facts) -> bool:
        return JSON in facts.files

    def _leader_id(self, facts: Facts) -> str:
        stats = _answer(facts, "self").body if _ours(facts) else None
        return str(((stats or {}).get("leaderInfo") or {}).get("leader") or "").strip("0")

    def leader(self, facts: Facts) -> str:
        found = self._leader_id(facts)
        return next((str(_address(member) or "") for member in _members(facts) if member["id"].strip("0") == found), "")

    def led(self, facts: Facts) -> bool:
        return bool(self.leader(facts))

    def has_data(self, facts: Facts) -> bool:
        return facts.says("etcd-data")

    def idle(self, facts: Facts) -> bool:
        return facts.says("etcd-idle")

    def leaving(self, cluster: Cluster, addresses: Iterable[IPv4Address]) -> str:
        ids = {_address(member): member["id"] for name in cluster.live for member in _members(cluster.facts[name])}
        names = {address: name for name, address in cluster.advertise.items()}
        out = {at: names.get(at, "") for at in addresses}
        removing = [self._command(cluster, out.values(), f"member remove {ids[at]}") for at in out]
        commands = ", then ".join(removing)
        return f"remove them from the store first, one at a time, on another server (package etcd-client): {commands}"

    def setting(self, cluster: Cluster, key: str, text: str) -> str:
        where = (
            ["--unix-socket", SOCKET, f"http://etcd/v2/keys/{key}"]
            if self._secured(cluster)
            else [f"http://127.0.0.1:{PORT}/v2/keys/{key}"]
        )
        return f"`{shlex.join(['curl', '-X', 'PUT', '--data-urlencode', f'value={text}', *where])}` on a server (package curl)"

    @property
    def asks_attached(self) -> tuple[Request, ...]:
        path = f"/v2/keys/{endpoints_path(self.store)}?recursive=true"
        return Request("endpoints", str(PORT), path), Request("endpoints@socket", SOCKET, path)

    def attached(self, facts: Facts) -> tuple[Endpoint, ...]:
        return tree_endpoints(_answer(facts, "endpoints").body)

    def knows(self, facts: Facts, host: str, address: IPv4Address) -> str:
        return "a member" if any(_is(member, host, address) for member in _members(facts)) else ""

    def leave(self, own: Connection | None, other: Connection, cluster: Cluster, host: str) -> None:
        """Remove the member through another server: its own server would stop before it could report success."""
        facts = cluster.facts[other.name]
        where = SOCKET if facts.http("members@socket").code else str(PORT)
        ids = [member["id"] for member in _members(facts) if _is(member, host, cluster.leaving)]
        script = (
            f"# taking {host} out of etcd\n"
            + render.library()
            + render.script("etcd-leave.sh.j2", where=where, ids=ids)
        )
        other.write(script)

    def wait_for_server(self, connection: Reader, cluster: Cluster, address: IPv4Address) -> None:
        pass  # `grows` is False, so no server is ever added

    def findings(self, cluster: Cluster) -> Iterator[Problem]:
        for name in cluster.servers:
            if name in cluster.live and (why := self._unsupported_version(cluster.facts[name])):
                yield Problem("store-without-v2", name, why, variant="package")
        yield from self._tls_mismatch(cluster)
        peers = self.peers({name: cluster.facts[name] for name in cluster.live})
        for name in cluster.servers:
            address = cluster.advertise.get(name)
            if peers and address:
                yield from self._added(cluster, name, member=address in peers)
        members = (member for name in cluster.live for member in _members(cluster.facts[name]))
        started = {member["name"]: member["id"] for member in members if member.get("clientURLs")}
        for name in cluster.servers:
            if name in cluster.live and name in started and not self.has_data(cluster.facts[name]):
                what = f"its etcd has lost its data ({DATA} has none), and the other servers still count it as a member"
                removing = self._command(cluster, (name,), f"member remove {started[name]}")
                values = {"host": name, "removing": removing, "adding": self._adding(cluster, name)}
                # A running unit would start etcd with its old identity as soon as that is removed.
                variant = "tries" if cluster.facts[name].unit(UNIT).up else ""
                yield Problem("etcd-data-lost", name, what, values, variant)

    def _added(self, cluster: Cluster, name: str, *, member: bool) -> Iterator[Problem]:
        """Find a server that can't join because it is no member, or because its data are those of one that was removed."""
        facts = cluster.facts.get(name)
        if facts and self.has_data(facts) and (not member or facts.says("etcd-removed")):
            what = "its etcd has the data of a member that the running etcd cluster has removed"
            values = {"host": name, "data": DATA, "adding": self._adding(cluster, name)}
            yield Problem("server-added", name, what, values, "removed" if not member else "again")
        elif not member:
            what = f"{name} is to be a server of an etcd cluster that already runs and does not have it as a member"
            yield Problem("server-added", "", what, {"adding": self._adding(cluster, name)})

    def _command(self, cluster: Cluster, about: Collection[str], words: str) -> str:
        """Return an etcdctl command for people. about: the hosts that it must not be sent to.

        etcdctl 3.3 uses the v2 API unless ETCDCTL_API is set.
        """
        peers = self.peers({name: cluster.facts[name] for name in cluster.live})
        others = [
            cluster.advertise[name]
            for name in cluster.live
            if name not in about and cluster.advertise.get(name) in peers
        ]
        tls = " --cacert {} --cert {} --key {}".format(*TLS_FILES) if self._secured(cluster) else ""
        where = f"{self._scheme(cluster)}://{(*others, *sorted(peers))[0]}:{PORT}"
        return f"`ETCDCTL_API=3 etcdctl --endpoints {where}{tls} {words}`"

    def _adding(self, cluster: Cluster, name: str) -> str:
        url = f"{self._scheme(cluster)}://{cluster.advertise[name]}:{PEER_PORT}"
        return self._command(cluster, (name,), f"member add {name} --peer-urls={url}")

    def _tls_mismatch(self, cluster: Cluster) -> Iterator[Problem]:
        secured = self._secured(cluster)
        if secured == self.store.security.tls:
            return
        how = f"{'with' if secured else 'without'} TLS"
        what = (
            f"etcd was founded {how}, which can't change: its servers know one another by {self._scheme(cluster)} URLs"
        )
        yield Problem("store-tls-kept", "", what, {"data": DATA})

    def renewal(self, cluster: Cluster, what: str, *, authority: bool) -> Renewal:
        """As `Rotates.renewal`. Servers reload new certificates at runtime; engines need a restart.

        The restart stops their containers, unless live-restore is on.
        """
        if not any(self.credentials(cluster, name) for name in cluster.live):
            why = "there are no certificates to rotate: this etcd was founded without TLS"
            raise StepFailed(why, cause="nothing-to-rotate", cure="see docs/decisions/store-tls.md")
        if authority:
            why = "etcd reads its authority only at start: all servers and engines would have to change at once"
            raise StepFailed(why, cause="nothing-to-rotate", cure="leave out --ca")
        if not self.formed(cluster):
            raise StepFailed(
                "etcd has no leader", cause="rotation-unready", cure="run `provisioner up INVENTORY` first"
            )
        return Renewal(_renewed, settled=True, engines=True)

    def wait_for_leader(self, connection: Reader, *, servers: int) -> str:
        """Query the health where it is served without TLS. `membership` checks which servers have joined."""

        def leader(seen: list[str]) -> str:
            for port in (HEALTH_PORT, PORT):
                with suppress(Unreachable):
                    health = asking.HttpClient(connection, f"127.0.0.1:{port}")("/health")[1]
                    seen.append(f"health: {health.strip()}")
                    return "one" if str(json_object(health).get("health")).lower() == "true" else ""
            raise Unreachable(
                f"nothing answers on {HEALTH_PORT} or {PORT}", cause="port-unanswered", host=connection.name
            )

        cure = "check the servers' log (journalctl -u etcd), and that ports 2379 and 2380 are open between the hosts"
        return until_leader(leader, title=self.title, connection=connection, cure=cure)


def _renewed(now: Callable[[], Cluster], _: Mapping[str, Connection]) -> Iterator[None]:
    """Renew the certificates of all live hosts."""
    now().vault.renewed |= {certificate_of(name) for name in now().live}
    yield


def _ours(facts: Facts) -> bool:
    """Whether the host's running server was started with our configuration."""
    return LOADED in facts.files


def _answer(facts: Facts, what: str) -> Answer:
    """Return the answer from root's socket, or from the port of a server without TLS."""
    found = facts.http(f"{what}@socket")
    return found if found.code else facts.http(what)


def _members(facts: Facts) -> list[dict[str, Any]]:
    """Return the members that this host's server reports. A member that has never started has no clientURLs."""
    answer = _answer(facts, "members").body if _ours(facts) else None
    return list(answer["members"]) if isinstance(answer, dict) else []


def _is(member: Mapping[str, Any], host: str, address: IPv4Address | None) -> bool:
    return bool(member["name"] == host or _address(member) == address)


def tree_endpoints(answer: Mapping[str, Any] | None) -> tuple[Endpoint, ...]:
    """Return the endpoints in a folder of etcd's v2 keys."""
    nodes: list[Mapping[str, Any]] = [(answer or {}).get("node") or {}]
    found = []
    while nodes:
        node = nodes.pop()
        nodes += node.get("nodes") or ()
        if "value" in node and (one := endpoint(node.get("key", ""), node["value"])):
            found.append(one)
    return tuple(sorted(found))


def _address(member: Mapping[str, Any]) -> IPv4Address | None:
    found = re.fullmatch(r"https?://([0-9.]+):\d+", (member.get("peerURLs") or [""])[0])
    return literal(found[1]) if found else None
