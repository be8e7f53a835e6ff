"""A store that is there already. Nothing of it is installed; each host tells what it reaches, before anything is changed.

Sources: Consul's and etcd's HTTP APIs, ZooKeeper's four-letter words. etcd answers /v2/keys only where its v2 API is on.
What needs a write to find out, such as the right to write, is not tried: nobody's store is written to for a look.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from provisioner.errors import ProvisionerError
from provisioner.model import Finding, Severity
from provisioner.stores.base import WAITER, Service, Uploaded, Waiting, asking, url
from provisioner.stores.zookeeper import ZooKeeper, mode
from provisioner.system import firewall
from provisioner.system.reading import Sought

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from ipaddress import IPv4Address

    from provisioner.inventory import Store
    from provisioner.model import Drift
    from provisioner.stores.base import Cluster
    from provisioner.system.facts import Facts
    from provisioner.system.firewall import Ports
    from provisioner.transport import Connection

_SCHEMES = {"consul": "consul", "etcd": "etcd", "zookeeper": "zk"}
_TITLES = {"consul": "Consul", "etcd": "etcd", "zookeeper": "ZooKeeper"}
_ASKED = {  # what -> path, or word
    "consul": {"leader": "/v1/status/leader", "keys": "/v1/kv/PREFIXdocker/nodes"},
    "etcd": {"version": "/version", "leader": "/health", "keys": "/v2/keys"},
    "zookeeper": {"leader": "srvr"},
}
_FORBIDDEN, _MISSING = 403, 404


@dataclass(frozen=True)
class External:
    """The backend of any kind of store that others look after."""

    store: Store
    package = program = ""
    grows = False
    uploaded: Uploaded | None = None

    @property
    def kind(self) -> str:
        return self.store.kind

    @property
    def title(self) -> str:
        return _TITLES[self.kind]

    @property
    def endpoints(self) -> tuple[str, ...]:
        return self.store.endpoints or ()

    @cached_property
    def ports(self) -> Ports:
        local = tuple(int(word.rpartition(":")[2]) for word in self.endpoints if word.startswith("127."))
        return firewall.with_store(local=local)

    @cached_property
    def sought(self) -> Sought:
        asked = _ASKED[self.kind].items()
        prefix = f"{self.store.prefix}/" if self.store.prefix else ""
        paths = [(what, path.replace("PREFIX", prefix)) for what, path in asked]
        requests = [f"{what}@{where} {where} {path}" for where in self.endpoints for what, path in paths]
        return Sought(driver=self.kind, scheme=_SCHEMES[self.kind], files=(WAITER,), settled=WAITER, requests=tuple(requests))

    def unfit(self, engine: str) -> str:
        return ZooKeeper(self.store).unfit(engine) if self.kind == "zookeeper" else ""

    def url(self, cluster: Cluster) -> str:
        return url(_SCHEMES[self.kind], self.endpoints, self.store)

    def runs_on(self, cluster: Cluster, host: str) -> bool:
        return False

    def waiting(self, cluster: Cluster, host: str) -> Waiting:
        return asking(self.kind, self.endpoints, "")

    def service(self, cluster: Cluster, host: str) -> Service:
        raise ProvisionerError("an external store is not set up")

    def formed(self, cluster: Cluster) -> bool:
        return True

    def outdated(self, cluster: Cluster, host: str, service: Service) -> bool:
        return False

    def membership(self, cluster: Cluster, host: str) -> list[Drift]:
        return []

    def peers(self, facts: Mapping[str, Facts]) -> frozenset[IPv4Address]:
        return frozenset()

    def remembered(self, facts: Mapping[str, Facts]) -> dict[str, IPv4Address]:
        return {}

    def was_server(self, facts: Facts) -> bool:
        return False

    def leader(self, facts: Facts) -> str:
        """The leader as Consul tells it; the others' health says only that there is one."""
        told = (facts.http(f"leader@{where}").body for where in self.endpoints) if self.kind == "consul" else ()
        return next((str(body).rpartition(":")[0] for body in told if body), "")

    def has_data(self, facts: Facts) -> bool:
        return False

    def idle(self, facts: Facts) -> bool:
        return False

    def leaving(self) -> str:
        return ""

    def findings(self, cluster: Cluster) -> Iterator[Finding]:
        """Of each host that sees no endpoint it can use; of the others a warning for each endpoint that it can't."""
        for name in cluster.live:
            facts = cluster.facts[name]
            faults = {where: fault for where in self.endpoints if (fault := self._fault(facts, where))}
            usable = len(faults) < len(self.endpoints)
            for check, what, cure in faults.values():
                yield Finding(check, name, what, cure, Severity.WARNING if usable else Severity.STOP)

    def _fault(self, facts: Facts, where: str) -> tuple[str, str, str] | None:
        """What is wrong with an endpoint as this host sees it: the check's id, the fault, the cure."""
        answers = {what: facts.http(f"{what}@{where}") for what in _ASKED[self.kind]}
        word = facts.said(f"leader@{where}") if self.kind == "zookeeper" else ""
        silent = not word if self.kind == "zookeeper" else answers["leader"].code == 0
        if silent:
            what = f"it does not reach {self.title} at {where}: {answers['leader'].error}"
            return "store-unreachable", what, f"open {where} to this host, or mend store.endpoints"
        keys = answers.get("keys")
        if self.kind == "etcd" and keys and keys.code == _MISSING and "errorCode" not in keys.error:
            version = (answers["version"].body or {}).get("etcdserver", "")
            what = f"etcd {version} at {where} does not serve its v2 API, the only one that engines speak"
            return "store-without-v2", what, "start it with --enable-v2=true (etcd up to 3.5; 3.6 has no v2 any more)"
        if keys and keys.code == _FORBIDDEN:
            what = f"{self.title} at {where} does not let this host read under docker/"
            return "store-forbidden", what, "give its anonymous token write on key_prefix docker/ and session_prefix"
        if not self._led(answers["leader"].body, word):
            return "store-no-leader", f"{self.title} at {where} has no leader", f"mend that {self.title} first"
        return None

    def _led(self, body: object, word: str) -> bool:
        if self.kind == "zookeeper":
            return bool(mode(word))
        if self.kind == "etcd":
            return isinstance(body, dict) and str(body.get("health")).lower() == "true"
        return bool(re.fullmatch(r".+:\d+", str(body or "")))

    def wait_for_leader(self, connection: Connection, *, servers: int) -> str:
        return ""
