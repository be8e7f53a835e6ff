"""etcd: servers on 1, 3 or 5 hosts, whose endpoints every engine knows. Engines speak its v2 API, over HTTP.

The data lie in a folder of their own: what a package's default cluster has written stays beside it, and never comes into
ours. Sources: etcd's documentation; v2 is off by default from 3.4 on and gone in 3.6; etcd reads `initial-*` only while
it has no data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provisioner import render
from provisioner.model import Drift, Finding
from provisioner.stores import http
from provisioner.stores.base import (
    WAITER,
    File,
    Service,
    Uploaded,
    Waiting,
    asking,
    endpoints,
    json_object,
    literal,
    loaded_otherwise,
    url,
)
from provisioner.stores.waiting import until_leader
from provisioner.system import firewall
from provisioner.system.reading import Sought

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from ipaddress import IPv4Address

    from provisioner.inventory import Store
    from provisioner.stores.base import Cluster
    from provisioner.system.facts import Facts
    from provisioner.transport import Connection

PORT, PEER_PORT = 2379, 2380
UNIT = "etcd.service"
JSON = "/etc/etcd/provisioner.json"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
LOADED = "/run/provisioner-etcd.loaded"  # unit and configuration as the running server found them at its start
DATA = "/var/lib/etcd/provisioner"

_ONLY_WITHOUT_DATA = {
    "initial-cluster",
    "initial-cluster-state",
    "initial-cluster-token",
    "initial-advertise-peer-urls",
}
_OK = 200
# A package's own server that nobody has written to: one member at localhost, no key of either API.
_IDLE = f"""\
[ -e {JSON} ] || ! [ -L /run/systemd/units/invocation:{UNIT} ] || {{
  v=$(perl -e "$ASK" "$M" "" / "members {PORT} /v2/members" "keys {PORT} /v2/keys" "metrics {PORT} /metrics")
  case $v in *'"peerURLs":["http://localhost:2380"]'*'"node":{{"dir":true}}}}'*'
etcd_debugging_mvcc_keys_total 0
'*) echo etcd-idle=yes ;; esac
}}
[ ! -d {DATA}/member ] || echo etcd-data=yes"""


@dataclass(frozen=True)
class Etcd:
    """The backend. Ports: etcd's documentation (2379 clients, 2380 servers)."""

    store: Store
    kind = program = "etcd"
    title = "etcd"
    package = "etcd-server"
    grows = False
    ports = firewall.with_store(tcp=(PORT, PEER_PORT))
    sought = Sought(
        driver="etcd",
        scheme="etcd",
        programs=("etcd",),
        files=(JSON, UNIT_FILE, LOADED, WAITER),
        units=(UNIT,),
        data=DATA,
        config=JSON,
        settled=WAITER,
        says=_IDLE,
        requests=(
            f"version {PORT} /version",
            f"health {PORT} /health",
            f"members {PORT} /v2/members",
            f"self {PORT} /v2/stats/self",
        ),
        ports={PORT: "etcd", PEER_PORT: "etcd"},
    )
    uploaded: Uploaded | None = None

    def unfit(self, engine: str) -> str:
        return ""

    def url(self, cluster: Cluster) -> str:
        """All servers: an engine goes on with the next when one is lost."""
        return url("etcd", endpoints(cluster, PORT), self.store)

    def credentials(self, cluster: Cluster, host: str) -> tuple[File, ...]:
        return ()

    def asks(self, cluster: Cluster, host: str) -> bool:
        return False

    def ask(self, connection: Connection) -> dict[str, str]:
        return {}

    def runs_on(self, cluster: Cluster, host: str) -> bool:
        return host in cluster.servers

    def waiting(self, cluster: Cluster, host: str) -> Waiting:
        return asking(self.kind, endpoints(cluster, PORT), UNIT if self.runs_on(cluster, host) else "")

    def service(self, cluster: Cluster, host: str) -> Service:
        known = [(name, cluster.advertise[name]) for name in cluster.servers if name in cluster.advertise]
        config = render.text(
            "etcd.json.j2",
            name=host,
            data=DATA,
            address=str(cluster.advertise[host]),
            cluster=",".join(f"{name}=http://{address}:{PEER_PORT}" for name, address in known),
            token=cluster.inventory.cluster,
            state=self._state(cluster, host),
        )
        unit = render.text("etcd.service.j2", unit_path=UNIT_FILE, json_path=JSON, loaded_path=LOADED)
        files = (File(JSON, config), File(UNIT_FILE, unit))
        return Service(UNIT, "etcd", "/var/lib/etcd", files, {"/var/lib/etcd": "0700"})

    def _state(self, cluster: Cluster, host: str) -> str:
        """Whether it founds a cluster with the others or joins one. It means nothing later, so what is there stays."""
        facts = cluster.facts[host]
        if self.formed(cluster) and not self.has_data(facts):
            return "existing"
        found = json_object(facts.files.get(JSON, "")).get("initial-cluster-state")
        return "existing" if found == "existing" else "new"

    def formed(self, cluster: Cluster) -> bool:
        return any(self._leader_id(cluster.facts[name]) for name in cluster.servers if name in cluster.facts)

    def outdated(self, cluster: Cluster, host: str, service: Service) -> bool:
        unread: set[str] = _ONLY_WITHOUT_DATA if self.formed(cluster) else set()
        return loaded_otherwise(cluster.facts[host].files.get(LOADED, ""), service, unread)

    def membership(self, cluster: Cluster, host: str) -> list[Drift]:
        """It answers, has a leader, and every live server has taken part once."""
        facts = cluster.facts[host]
        health = facts.http("health")
        if health.code == 0:
            return [Drift("etcd's HTTP interface", health.error, "an answer", note="waits")]
        if str((health.body or {}).get("health")) not in {"true", "True"}:
            return [Drift("etcd's leader", "none", "one", note="waits")]
        started = {member["name"] for member in _members(facts) if member["clientURLs"]}
        missing = [name for name in cluster.servers if name in cluster.live and name not in started]
        return (
            [Drift("etcd's members", "without " + ", ".join(missing), "all servers", note="waits")] if missing else []
        )

    def peers(self, facts: Mapping[str, Facts]) -> frozenset[IPv4Address]:
        return frozenset(found for of_host in facts.values() for m in _members(of_host) if (found := _address(m)))

    def remembered(self, facts: Mapping[str, Facts]) -> dict[str, IPv4Address]:
        told = (member for of_host in facts.values() for member in _members(of_host) if member["name"])
        return {member["name"]: found for member in told if (found := _address(member))}

    def was_server(self, facts: Facts) -> bool:
        return JSON in facts.files

    def _leader_id(self, facts: Facts) -> str:
        told = facts.http("self").body if _ours(facts) else None
        return str(((told or {}).get("leaderInfo") or {}).get("leader") or "").strip("0")

    def leader(self, facts: Facts) -> str:
        found = self._leader_id(facts)
        return next((str(_address(member) or "") for member in _members(facts) if member["id"].strip("0") == found), "")

    def has_data(self, facts: Facts) -> bool:
        return facts.says("etcd-data")

    def idle(self, facts: Facts) -> bool:
        return facts.says("etcd-idle")

    def leaving(self) -> str:
        return "take one after the other out of the store first: `etcdctl member remove ID` (package etcd-client) on another"

    def findings(self, cluster: Cluster) -> Iterator[Finding]:
        peers = self.peers({name: cluster.facts[name] for name in cluster.live})
        for name in cluster.servers:
            address = cluster.advertise.get(name)
            if peers and address and address not in peers:
                what = f"{name} is to be a server of an etcd that has its servers already, without it"
                cure = f"add it first, on a server: `etcdctl member add {name} http://{address}:{PEER_PORT}` (package etcd-client)"
                yield Finding("server-added", "", what, f"{cure}, or leave it out of store.servers")
        told = (member for name in cluster.live for member in _members(cluster.facts[name]))
        started = {member["name"]: member["id"] for member in told if member["clientURLs"]}
        for name in cluster.servers:
            if name in cluster.live and name in started and not self.has_data(cluster.facts[name]):
                what = f"its etcd has lost its data ({DATA} is not there), and the other servers still count on it"
                cure = f"on another server: `etcdctl member remove {started[name]}`, then `etcdctl member add {name} "
                cure += f"http://{cluster.advertise[name]}:{PEER_PORT}` (package etcd-client), and run again"
                yield Finding("etcd-data-lost", name, what, cure)

    def wait_for_leader(self, connection: Connection, *, servers: int) -> str:
        import requests

        session = requests.Session()
        http.mount(session, connection, PORT)

        def get(path: str) -> Any:
            return session.get(f"http://127.0.0.1:{PORT}{path}", timeout=10).json()

        def leader(seen: list[str]) -> str:
            health = str(get("/health").get("health"))
            started = [member["name"] for member in get("/v2/members")["members"] if member["clientURLs"]]
            seen += [f"health: {health}", f"servers that take part: {', '.join(started) or 'none'}"]
            return "one" if health.lower() == "true" and len(started) >= servers else ""

        cure = "see what its servers say (journalctl -u etcd) and that 2379 and 2380 are open between the hosts"
        errors = (requests.RequestException, ValueError, KeyError)
        return until_leader(leader, title=self.title, host=connection.name, cure=cure, errors=errors)


def _ours(facts: Facts) -> bool:
    """Whether the server that answers there was started with our configuration."""
    return LOADED in facts.files


def _members(facts: Facts) -> list[dict[str, Any]]:
    """The members as this host's server tells them; one that has never started has no clientURLs."""
    told = facts.http("members").body if _ours(facts) else None
    return list(told["members"]) if isinstance(told, dict) else []


def _address(member: Mapping[str, Any]) -> IPv4Address | None:
    found = re.fullmatch(r"https?://([0-9.]+):\d+", (member.get("peerURLs") or [""])[0])
    return literal(found[1]) if found else None
