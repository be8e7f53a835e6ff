"""The kinds of external stores: the requests to each, and what the answers mean. See external.py."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from provisioner.model import Problem
from provisioner.stores import proxy, shapes, zookeeper
from provisioner.stores.base import url
from provisioner.stores.consul import KEYS, kv_endpoints
from provisioner.stores.engine_keys import Endpoint, endpoints_path, nodes_path
from provisioner.stores.etcd import tree_endpoints
from provisioner.stores.external import NEVER, External, Versions
from provisioner.stores.keys import ConsulKeys, EtcdKeys, leaves, plain
from provisioner.stores.zookeeper_keys import ZooKeeperKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from provisioner.inventory import Store
    from provisioner.stores.keys import Keys
    from provisioner.stores.protocols import Cluster, StoreReader
    from provisioner.stores.values import Waiting
    from provisioner.system.facts import Facts
    from provisioner.system.reading import Sought
    from provisioner.system.request import Request
    from provisioner.transport import Connection, Reader

_MISSING = 404


class ExternalConsul(External):
    """Without read access, Consul refuses a single key with 403, but lists a folder as empty."""

    title, scheme = "Consul", "consul"
    queries: ClassVar = {
        "leader": ("/v1/status/leader",),
        "keys": ("/v1/kv/NODES",),
        "engines": ("/v1/kv/NODES?recurse",),
        "rights": (f"/v1/kv/NODES/provisioner?cas={NEVER}", "PUT"),
        "networks": (f"/v1/kv/NETWORKS/provisioner?cas={NEVER}", "PUT"),
        "sessions": ("/v1/session/create", "PUT", '{"Behavior":"none"}'),
        "version": ("/v1/agent/self",),  # needs the right to read agents
    }
    versions = Versions(
        "version", r'"Version": ?"([\d.]+)', (1, 4), (1,)
    )  # 1.4 has tokens with policies, which the cures name
    engines_in = "engines"
    shapes: ClassVar = {"leader": str, "engines": KEYS, "endpoints": KEYS}
    tree = "/v1/kv/{}?recurse"

    def keys(self, connection: Connection) -> Keys:
        return ConsulKeys(self._servers(connection))

    def leader(self, facts: Facts) -> str:
        leaders = (facts.http(f"leader@{where}").body for where in self.endpoints)
        return next((str(body).rpartition(":")[0] for body in leaders if body), "")

    def attached(self, facts: Facts) -> tuple[Endpoint, ...]:
        return kv_endpoints(self._endpoints(facts))

    def _nodes(self, body: object) -> list[str]:
        return [plain(entry["Value"]) for entry in body if entry.get("Value")] if isinstance(body, list) else []

    def _allowing(self, where: str, folders: str) -> str:
        whom = (
            "the token of this host's agent (or the anonymous token if it has none)"
            if where.startswith("127.")
            else "its anonymous token"
        )
        return f"give {whom} write access to key_prefix {folders} and to session_prefix"

    def _has_leader(self, facts: Facts, where: str) -> bool:
        return bool(re.fullmatch(r".+:\d+", str(facts.http(f"leader@{where}").body or "")))


class ExternalEtcd(External):
    """etcd's health only shows whether there is a leader, not which server it is."""

    title, scheme = "etcd", "etcd"
    queries: ClassVar = {
        "version": ("/version",),
        "leader": ("/health",),
        "keys": ("/v2/keys/NODES?recursive=true",),
        "rights": (f"/v2/keys/NODES/provisioner?prevIndex={NEVER}&value=", "PUT"),
        "networks": (f"/v2/keys/NETWORKS/provisioner?prevIndex={NEVER}&value=", "PUT"),
    }
    versions = Versions(
        "version", r'(?:"etcdserver": ?"|^200 etcd )([\d.]+)', (3, 3), (3, 5)
    )  # the same as for a managed etcd
    shapes: ClassVar = {"leader": shapes.EtcdHealth, "keys": shapes.EtcdKeys, "endpoints": shapes.EtcdKeys}
    tree = "/v2/keys/{}?recursive=true"

    def keys(self, connection: Connection) -> Keys:
        return EtcdKeys(self._servers(connection))

    def attached(self, facts: Facts) -> tuple[Endpoint, ...]:
        return tree_endpoints(self._endpoints(facts))

    def _nodes(self, body: object) -> list[str]:
        return [text for _, text in leaves(body.get("node") or {})] if isinstance(body, dict) else []

    def _unfit(self, facts: Facts, where: str) -> Problem | None:
        keys = facts.http(f"keys@{where}")
        if keys.code != _MISSING or "errorCode" in keys.error:
            return None
        what = f"etcd {self._version(facts, where)} at {where} does not serve the v2 API, the only one that engines use"
        return Problem("store-without-v2", "", what)

    def _has_leader(self, facts: Facts, where: str) -> bool:
        body = facts.http(f"leader@{where}").body
        return isinstance(body, dict) and str(body.get("health")).lower() == "true"


class ExternalZooKeeper(External):
    """Engines use the proxies on their hosts, as with a managed ZooKeeper.

    The controller queries the store through each host's connection.
    """

    title, scheme = "ZooKeeper", "zk"
    takes_tls = False
    queries: ClassVar = {"leader": ("srvr",)}
    shapes: ClassVar = {"endpoints": shapes.Texts}
    versions = Versions("leader", r"^Zookeeper version: ([\d.]+)", (3, 4), (3,))

    @cached_property
    def sought(self) -> Sought:
        found = super().sought
        return replace(found, files=(*found.files, *proxy.FILES), through=(proxy.UNIT,), ports={proxy.PORT: self.title})

    def asks(self, cluster: Cluster, host: str) -> bool:
        return not self._used(cluster, host)

    def ask(self, connection: Reader, requests: Iterable[Request] = ()) -> dict[str, str]:
        if requests:
            return zookeeper.ask(connection, requests)
        # One answer for all servers: their access control lists are the same.
        answer = zookeeper.rights(self._servers(connection), (nodes_path(self.store), endpoints_path(self.store)))
        return {f"rights@{where}": answer for where in self.endpoints}

    def keys(self, connection: Connection) -> Keys:
        return ZooKeeperKeys(self._servers(connection))

    def url(self, cluster: Cluster) -> str:
        return url(self.scheme, (proxy.ADDRESS,), self.store)

    def waiting(self, cluster: Cluster, host: str) -> Waiting:
        return proxy.through(super().waiting(cluster, host), host, self.endpoints)

    @property
    def asks_attached(self) -> tuple[Request, ...]:
        return zookeeper.list_endpoints(self.store)

    def attached(self, facts: Facts) -> tuple[Endpoint, ...]:
        return zookeeper.attached(facts)

    def _silent(self, facts: Facts, where: str) -> bool:
        return not facts.said(f"leader@{where}")

    def _has_leader(self, facts: Facts, where: str) -> bool:
        return bool(zookeeper.mode(facts.said(f"leader@{where}")))


KINDS: Mapping[str, Callable[[Store], StoreReader]] = {
    "consul": ExternalConsul,
    "etcd": ExternalEtcd,
    "zookeeper": ExternalZooKeeper,
}
