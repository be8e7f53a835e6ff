"""External stores. Nothing is installed; every host checks its access to the store before anything is changed.

Rights are tested with requests that change nothing:
- keys: a compare-and-swap with an index that no key has. It fails for lack of rights, or else in the comparison.
- Consul's sessions: a session with an invalid behaviour. It fails for lack of rights, or else as invalid.
- ZooKeeper: a transaction whose second half can't succeed. Perl has no client for ZooKeeper, so the controller sends it
  through each host's connection.

The hosts' Perl has no TLS. So the controller queries a store with TLS through each host's connection, until the host's
engine uses the store. From then on the engine itself proves the access, without another round trip.

Sources: Consul's and etcd's HTTP APIs, ZooKeeper's four-letter words. etcd serves /v2/keys only if its v2 API is on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from provisioner.errors import ProvisionerError
from provisioner.model import Problem
from provisioner.stores import asking
from provisioner.stores.base import TLS_FILES, WAITER, credentials, url, waiting_for
from provisioner.stores.engine_keys import endpoints_path, nodes_path
from provisioner.stores.values import Waiting, sums
from provisioner.system import firewall
from provisioner.system.reading import ENGINE_TLS, Sought
from provisioner.system.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from provisioner.inventory import Store
    from provisioner.stores.protocols import Cluster
    from provisioner.stores.values import File
    from provisioner.system.facts import Facts
    from provisioner.system.firewall import Ports
    from provisioner.transport import Connection, Reader

NEVER = 2**64 - 1  # an index that no key has ever reached
_FORBIDDEN = {401, 403}
_NAMED = 3  # how many engines a message names


@dataclass(frozen=True)
class Versions:
    """The tested versions, and where a store reports its own.

    answer: the name of the answer with the version. form: a regular expression whose first group is the version.
    first, last: the tested range; `last` includes all versions that begin with it.
    """

    answer: str
    form: str
    first: tuple[int, ...]
    last: tuple[int, ...]


@dataclass(frozen=True)
class External:
    """The backend of an external store. external_kinds.py has what differs between the kinds."""

    store: Store
    takes_tls: ClassVar[bool] = True
    title: ClassVar[str]
    scheme: ClassVar[str]
    queries: ClassVar[Mapping[str, tuple[str, ...]]]
    """Name -> path, method and body of a request, or a four-letter word. NODES and NETWORKS stand for these folders."""
    versions: ClassVar[Versions]
    engines_in: ClassVar[str] = "keys"
    """The name of the answer that lists the engines that have announced themselves in the store."""
    shapes: ClassVar[Mapping[str, Any]]
    """As in `Sought`."""
    tree: ClassVar[str]
    """The path that lists all keys in the folder {}."""

    @property
    def kind(self) -> str:
        return self.store.kind

    @property
    def endpoints(self) -> tuple[str, ...]:
        return self.store.endpoints or ()

    @cached_property
    def ports(self) -> Ports:
        local = tuple(int(word.rpartition(":")[2]) for word in self.endpoints if word.startswith("127."))
        return firewall.with_store(local=local)

    @cached_property
    def sought(self) -> Sought:
        return Sought(
            driver=self.kind,
            scheme=self.scheme,
            files=(WAITER,),
            sums=TLS_FILES if self.store.tls else (),
            settled=WAITER,
            whole=() if self.store.tls else self._requests,
            shapes=self.shapes,
            foreign=True,
        )

    @property
    def _requests(self) -> tuple[Request, ...]:
        """Return all requests to all endpoints."""
        folders = {"NODES": nodes_path(self.store), "NETWORKS": endpoints_path(self.store)}
        return tuple(
            self._request(
                f"{what}@{where}", where, re.sub("NODES|NETWORKS", lambda found: folders[found[0]], path), *how
            )
            for where in self.endpoints
            for what, (path, *how) in self.queries.items()
        )

    def _request(self, name: str, where: str, what: str, method: str = "GET", body: str = "") -> Request:
        """With TLS the controller sends the request, see the module's docstring."""
        return Request(name, where, what, method, body, through=bool(self.store.tls))

    def credentials(self, cluster: Cluster, host: str) -> tuple[File, ...]:
        return self._credentials

    @cached_property
    def _credentials(self) -> tuple[File, ...]:
        files = self.store.tls
        try:
            return credentials(*(path.read_text() for path in (files.ca, files.cert, files.key))) if files else ()
        except (OSError, ValueError):
            return ()  # `findings` reports it

    def asks(self, cluster: Cluster, host: str) -> bool:
        return bool(self.store.tls) and not self._used(cluster, host)

    def _used(self, cluster: Cluster, host: str) -> bool:
        """Whether the host's engine already uses the store with the desired URL and TLS files."""
        facts = cluster.facts[host]
        return facts.engine.get("ClusterStore") == self.url(cluster) and facts.files.get(ENGINE_TLS, "") == sums(
            self._credentials
        )

    def ask(self, connection: Reader, requests: Iterable[Request] = ()) -> dict[str, str]:
        try:
            tls = asking.context(self.store.tls) if self.store.tls else None
        except ProvisionerError:
            return {}  # `findings` reports it
        some, answers = tuple(requests), dict[str, str]()
        for request in some or self._requests:
            answers[request.name] = asking.HttpClient(connection, request.where, tls).report(request)
            if some and answers[request.name].startswith("200 "):
                break
        return answers

    def _servers(self, connection: Connection | Reader) -> tuple[asking.HttpClient, ...]:
        tls = asking.context(self.store.tls) if self.store.tls else None
        return tuple(asking.HttpClient(connection, where, tls) for where in self.endpoints)

    def url(self, cluster: Cluster) -> str:
        return url(self.scheme, self.endpoints, self.store)

    def waiting(self, cluster: Cluster, host: str) -> Waiting:
        """With TLS, only wait until something listens: Perl can't do more."""
        return waiting_for("any" if self.store.tls else self.kind, self.endpoints, "")

    def leader(self, facts: Facts) -> str:
        """Unknown, unless the kind of store reports its leader."""
        return ""

    def setting(self, cluster: Cluster, key: str, text: str) -> str:
        return f"set {key} in the store to {text}"

    @property
    def asks_attached(self) -> tuple[Request, ...]:
        path = self.tree.format(endpoints_path(self.store))
        return tuple(self._request(f"endpoints@{where}", where, path) for where in self.endpoints)

    def _endpoints(self, facts: Facts) -> Any:
        """Return the body of the first server that answered."""
        bodies = (facts.http(f"endpoints@{where}").body for where in self.endpoints)
        return next((body for body in bodies if body), None)

    def findings(self, cluster: Cluster) -> Iterator[Problem]:
        """Find unusable TLS files, faults of endpoints as each host sees them, foreign engines, and untested versions.

        A fault is only a warning if the host can use another endpoint.
        """
        if self.store.tls:
            try:
                asking.context(self.store.tls)
            except ProvisionerError as error:
                yield Problem("store-tls", "", error.what)
                return
        for name in cluster.live:
            facts = cluster.facts[name]
            faults = {where: fault for where in self.endpoints if (fault := self._fault(facts, where))}
            usable = len(faults) < len(self.endpoints)
            for fault in faults.values():
                yield replace(fault, host=name, warns=usable)

        yield from self._shared(cluster)
        yield from self._untested(cluster)

    def _untested(self, cluster: Cluster) -> Iterator[Problem]:
        """Find versions outside the tested range. Only a warning, because the store answered all that engines need."""
        first, last = self.versions.first, self.versions.last
        seen: dict[tuple[str, str], list[str]] = {}
        for name in cluster.live:
            for where in self.endpoints:
                version = self._version(cluster.facts[name], where)
                numbers = tuple(map(int, re.findall(r"[0-9]{1,6}", version)))
                if version and not (first <= numbers and numbers[: len(last)] <= last):
                    seen.setdefault((where, version), []).append(name)
        meant = f"{'.'.join(map(str, first))} to {'.'.join(map(str, last))}.x"
        for (where, version), names in seen.items():
            at = f"{where} of {', '.join(names)}" if where.startswith("127.") else where
            what = f"{self.title} at {at} has version {version}, which has not been tested with engines"
            yield Problem("store-version", "", what, {"versions": f"{self.title} {meant}"})

    def _version(self, facts: Facts, where: str) -> str:
        """Return the version, for example "3.5.16"; "" if it is not reported."""
        found = re.search(self.versions.form, facts.said(f"{self.versions.answer}@{where}"), re.MULTILINE)
        return found[1] if found else ""

    def _shared(self, cluster: Cluster) -> Iterator[Problem]:
        """Find engines outside the inventory: a prefix is missing, or a removed host's engine still runs."""
        if len(cluster.advertise) < len(cluster.inventory.hosts):
            return  # the address of a host that is down is unknown, so its engine would look foreign
        ours = {str(address) for address in cluster.advertise.values()}
        bodies = (
            cluster.facts[name].http(f"{self.engines_in}@{where}").body
            for name in cluster.live
            for where in self.endpoints
        )
        others = {where for body in bodies for where in self._nodes(body) if where.rpartition(":")[0] not in ours}
        if others:
            which = ", ".join(sorted(others)[:_NAMED]) + (
                f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
            )
            text = (
                f"engines that are not in the inventory use the same store: {which}; all of them share their networks"
            )
            yield Problem("store-shared", "", text)

    def _nodes(self, body: object) -> list[str]:
        """Return the engines that have announced themselves in the store, as ADDRESS:PORT."""
        return []

    def _fault(self, facts: Facts, where: str) -> Problem | None:
        """Return the fault of an endpoint as this host sees it. The caller adds the host."""
        if self.store.tls and f"http:leader@{where}" not in facts.raw:
            return None  # the host's engine uses the store, so nothing was requested
        answers = {what: facts.http(f"{what}@{where}") for what in (*self.queries, "rights")}
        if self._silent(facts, where):
            what = f"it does not reach {self.title} at {where}: {answers['leader'].error}"
            return Problem("store-unreachable", "", what, {"where": where})
        if unfit := self._unfit(facts, where):
            return unfit
        nodes, networks = nodes_path(self.store), endpoints_path(self.store)
        rights = {
            "keys": f"read {nodes}",
            "rights": f"write under {nodes}",
            "networks": f"write under {networks}",
            "sessions": "create sessions",
        }
        for right, words in rights.items():
            if right in answers and answers[right].code in _FORBIDDEN:
                docker = networks.partition("docker/")[0] + "docker/"
                folders = docker if nodes.startswith(docker) else f"{docker} and {nodes}"
                what = f"{self.title} at {where} does not allow this host to {words}"
                return Problem("store-forbidden", "", what, {"allowing": self._allowing(where, folders)})
        if not self._has_leader(facts, where):
            return Problem("store-no-leader", "", f"{self.title} at {where} has no leader", {"title": self.title})
        return None

    def _silent(self, facts: Facts, where: str) -> bool:
        return facts.http(f"leader@{where}").code == 0

    def _unfit(self, facts: Facts, where: str) -> Problem | None:
        """Return the fault if the store lacks a feature that engines need. The caller adds the host."""
        return None

    def _allowing(self, where: str, folders: str) -> str:
        """Return the cure that gives a host the rights that engines need."""
        return f"give its guests read and write access under {folders}"

    def _has_leader(self, facts: Facts, where: str) -> bool:
        raise NotImplementedError
