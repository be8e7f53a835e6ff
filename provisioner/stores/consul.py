"""Consul: an agent on every host, some of them servers; the engine asks its own host's agent.

Its HTTP port stays on the host's loopback: the controller's requests travel in a channel of the SSH connection that is
there anyway, so nothing listens on the controller either. Used through py-consul, the maintained continuation of
python-consul. Which configuration the running agent was started with is observed: its unit copies both files to /run at
every start. So an interrupted run is seen, and a change that needs no restart makes none.
"""

from __future__ import annotations

import base64
import contextlib
import re
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from provisioner import render
from provisioner.errors import StoreError
from provisioner.model import Action, Drift, Kind, Problem
from provisioner.stores import consul_acl as acl
from provisioner.stores import consul_rotation, shapes
from provisioner.stores import consul_security as security
from provisioner.stores.base import SetUpHere, url
from provisioner.stores.consul_client import HTTP_PORT, LEADER, client, manager
from provisioner.stores.consul_program import UPLOADED, program
from provisioner.stores.consul_security import LOADED
from provisioner.stores.engine_keys import Endpoint, endpoint, endpoints_path, nodes_path
from provisioner.stores.started import at_its_start, loaded_otherwise
from provisioner.stores.values import File, Service, Uploaded, Waiting
from provisioner.stores.waiting import until_leader
from provisioner.system import answers, firewall, packages
from provisioner.system.owned import Data, Owned
from provisioner.system.reading import Sought
from provisioner.system.request import Request
from provisioner.system.strict import UNFIT, json_object, literal, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from ipaddress import IPv4Address

    from provisioner.inventory import Store
    from provisioner.stores.consul_security import Levels
    from provisioner.stores.protocols import Cluster
    from provisioner.stores.rotating import Renewal
    from provisioner.system.facts import Facts
    from provisioner.transport import Connection, Reader

JSON = "/etc/consul.d/provisioner.json"
UNIT_FILE = "/etc/systemd/system/consul.service"
DATA = "/var/lib/consul"
OWNED = Owned(
    files=(JSON, *(path for path in security.FILES if path != security.KEYRING), LOADED),
    folders=(*security.FOLDERS, DATA),
    units=("consul.service",),
    users=("consul",),
    packages=packages.names("consul"),
    programs=(UPLOADED,),
    data=(Data(DATA, JSON),),
)

# Consul reads these only to find its cluster; an agent that is in it needs no restart for them.
_TO_FIND_THE_CLUSTER = {"retry_join", "bootstrap_expect"}
_STATUS = {1: "alive", 2: "leaving", 4: "failed"}  # those of a member that is still counted on
_OK, _FORBIDDEN = 200, 403
KEYS = list[shapes.ConsulKey] | None  # the form of what a folder of keys is answered with
_TOKEN = f"with ACLs it takes the token in a server's {security.MANAGEMENT}, as CONSUL_HTTP_TOKEN"


@dataclass(frozen=True)
class Consul(SetUpHere):
    """The backend. Ports: Consul's documentation (8300 server, 8301 gossip, 8500 HTTP)."""

    store: Store
    kind = program = "consul"
    title = "Consul"
    grows = shrinks = True
    rotates: ClassVar = consul_rotation.ROTATES
    ports = firewall.with_store(tcp=(8300, 8301), udp=(8301,), local=(HTTP_PORT,), users=("consul",))
    sought = Sought(
        driver="consul",
        scheme="consul",
        user="consul",
        programs=("consul",),
        files=(JSON, UNIT_FILE, LOADED),
        secrets=security.FILES,
        units=("consul.service",),
        data=DATA,
        config=JSON,
        settled=JSON,
        says="[ ! -d /var/lib/consul/raft ] || echo raft=yes",
        requests=(
            LEADER,
            Request("peers", str(HTTP_PORT), "/v1/status/peers"),
            Request("members", str(HTTP_PORT), "/v1/agent/members"),
        ),
        ports={8300: "Consul", 8301: "Consul", HTTP_PORT: "Consul"},
        shapes={
            "leader": str,
            "peers": list[str] | None,
            "members": list[shapes.ConsulMember] | None,
            "endpoints": KEYS,
        },
    )

    def __post_init__(self) -> None:
        rights = Request("rights", str(HTTP_PORT), f"/v1/kv/{nodes_path(self.store)}")
        object.__setattr__(self, "sought", replace(self.sought, requests=(*self.sought.requests, rights)))

    @property
    def uploaded(self) -> Uploaded | None:
        store = self.store
        return Uploaded(store.binary, UPLOADED, lambda: program(store)) if store.binary else None

    def url(self, cluster: Cluster) -> str:
        """Always the host's own agent: Consul's way to high availability, and libkv takes one endpoint only."""
        return url("consul", [f"127.0.0.1:{HTTP_PORT}"], self.store)

    def credentials(self, cluster: Cluster, host: str) -> tuple[File, ...]:
        return ()

    def runs_on(self, cluster: Cluster, host: str) -> bool:
        return True

    def waiting(self, cluster: Cluster, host: str) -> Waiting:
        return Waiting(f"{self._program(cluster.facts[host])} catalog nodes", {}, "consul.service")

    def service(self, cluster: Cluster, host: str) -> Service:
        unit = render.text(
            "consul.service.j2",
            binary=self._program(cluster.facts[host]),
            unit_path=UNIT_FILE,
            json_path=JSON,
            loaded_path=LOADED,
        )
        files = (File(JSON, self._json(cluster, host), "0640", "root:consul"), File(UNIT_FILE, unit))
        folders = {"/var/lib/consul": "0750"}
        secret = security.files(cluster, host)
        folders |= {file.path.rpartition("/")[0]: "0700" for file in secret if file.path == security.KEYRING}
        gone = security.gone(cluster, host)
        guarded = tuple(
            folder for folder in security.FOLDERS if any(file.path.startswith(f"{folder}/") for file in secret)
        )
        return Service("consul.service", "consul", "/var/lib/consul", files, folders, secret, gone, guarded)

    def _json(self, cluster: Cluster, host: str) -> str:
        return render.text(
            "consul.json.j2",
            name=host,
            server=host in cluster.servers,
            expect=self._expect(cluster, host),
            address=str(cluster.advertise[host]),
            join=[str(cluster.advertise[name]) for name in cluster.servers if name in cluster.advertise],
            security=security.settings(security.levels(cluster, host)),
        )

    def _expect(self, cluster: Cluster, host: str) -> int:
        """How many servers to wait for before the first election. It means nothing afterwards, so what is there stays.

        While there never was a leader it is the number of servers that live: one that is down must not hold up the rest.
        """
        if not self.formed(cluster):
            return sum(name in cluster.live for name in cluster.servers)
        found = json_object(cluster.facts[host].files.get(JSON, "")).get("bootstrap_expect")
        return found if type(found) is int and found > 0 else len(cluster.servers)

    def formed(self, cluster: Cluster) -> bool:
        """Raft's list of peers is empty before, and kept without a leader."""
        known = (cluster.facts[name] for name in cluster.servers if name in cluster.facts)
        return any(facts.http(what).body for facts in known for what in ("peers", "leader"))

    def _program(self, facts: Facts) -> str:
        """Where Consul is on a host, or will be. What a host tells goes into units only where it is a plain path."""
        found = facts.programs.get("consul", "")
        if re.fullmatch(r"(/[A-Za-z0-9._-]+)+", found):
            return found
        return UPLOADED if self.store.binary else "/usr/bin/consul"

    def outdated(self, cluster: Cluster, host: str, service: Service) -> bool:
        unread: set[str] = _TO_FIND_THE_CLUSTER if self.formed(cluster) else {"retry_join"}
        return loaded_otherwise(cluster.facts[host].files.get(LOADED, ""), service, unread)

    def membership(self, cluster: Cluster, host: str) -> list[Drift]:
        """It answers, knows a leader, and sees every live host alive."""
        facts = cluster.facts[host]
        members = facts.http("members")
        if (
            members.code == _FORBIDDEN
            and (at := security.stage(cluster))
            and at.acls <= 1
            and facts.http("leader").body
        ):
            return []  # until all servers have ACLs, and a leader among them has set them up, nobody is known to any
        if members.code != _OK:
            return [Drift(Kind.STORE, "HTTP interface", members.error, "an answer", Action.WAIT, self.title)]
        drift = []
        if not facts.http("leader").body:
            drift.append(Drift(Kind.STORE, "leader", "none", "one", Action.WAIT, self.title))
        if cluster.inventory.the_store.security.acls and facts.http("rights").code == _FORBIDDEN:
            # Where all are refused it is the policy, which `equip` sets.
            all_ = all(cluster.facts[name].http("rights").code == _FORBIDDEN for name in cluster.live)
            error = facts.http("rights").error
            drift.append(Drift(Kind.RIGHTS, "", error, "to write", Action.WAIT, self.title, later=all_))
        alive = {member["Name"] for member in members.body or () if member.get("Status") == security.ALIVE}
        # One that is shut out by its secrets comes when it has got those of the others; until then nobody waits for it.
        if missing := [
            name
            for name in cluster.live
            if name not in alive and (name == host or not security.shut_out(cluster, name))
        ]:
            drift.append(
                Drift(Kind.STORE, "members", "without " + ", ".join(missing), "all hosts", Action.WAIT, self.title)
            )
        return drift

    def peers(self, facts: Mapping[str, Facts]) -> frozenset[IPv4Address]:
        told = (peer for of_host in facts.values() for peer in of_host.http("peers").body or ())
        return frozenset(found for peer in told if (found := literal(peer.rpartition(":")[0])))

    def remembered(self, facts: Mapping[str, Facts]) -> dict[str, IPv4Address]:
        told = (member for of_host in facts.values() for member in of_host.http("members").body or ())
        return {member["Name"]: found for member in told if (found := literal(member["Addr"]))}

    def was_server(self, facts: Facts) -> bool:
        return '"server": true' in facts.files.get(JSON, "")

    def leader(self, facts: Facts) -> str:
        return str(facts.http("leader").body or "").rpartition(":")[0]

    def led(self, facts: Facts) -> bool:
        return bool(self.leader(facts))

    def has_data(self, facts: Facts) -> bool:
        return facts.says("raft")

    def idle(self, facts: Facts) -> bool:
        return False  # the package starts none by itself

    def leaving(self, cluster: Cluster, addresses: Iterable[IPv4Address]) -> str:
        where = "where it is gone for good, `consul operator raft remove-peer -address IP:8300` on another"
        return f"take one after the other out of the store first: `consul leave` on it; {where} ({_TOKEN})"

    def setting(self, cluster: Cluster, key: str, text: str) -> str:
        return f"`{shlex.join(['consul', 'kv', 'put', key + '/', text])}` on any host"

    @property
    def asks_attached(self) -> tuple[Request, ...]:
        return (Request("endpoints", str(HTTP_PORT), f"/v1/kv/{endpoints_path(self.store)}?recurse"),)

    def attached(self, facts: Facts) -> tuple[Endpoint, ...]:
        return kv_endpoints(facts.http("endpoints").body)

    def knows(self, facts: Facts, host: str, address: IPv4Address) -> str:
        if address in self.peers({host: facts}):
            return "a server"
        told = (member for member in facts.http("members").body or () if member["Name"] == host)
        return next((_STATUS[member["Status"]] for member in told if member["Status"] in _STATUS), "")

    def leave(self, own: Connection | None, other: Connection, cluster: Cluster, host: str) -> None:
        """Itself it says farewell and ends; of one that is gone the others say it, and give up its vote."""
        import consul
        import requests

        api = manager(cluster, own or other)
        try:
            if own:
                api.agent.leave()
                return
            api.agent.force_leave(host)
            if any(peer.rpartition(":")[0] == str(cluster.leaving) for peer in _peers(api)):
                with contextlib.suppress(consul.ConsulException):  # its leader gives the vote up by itself, too
                    api.operator.raft_remove_peer(address=f"{cluster.leaving}:8300")
        except (consul.ConsulException, requests.RequestException, *UNFIT) as error:
            cure = "see what Consul says (journalctl -u consul), and run again"
            what = f"Consul does not let go of {host}"
            raise StoreError(what, host=(own or other).name, answer=shown(str(error)), cure=cure) from None

    def wait_for_server(self, connection: Reader, cluster: Cluster, address: IPv4Address) -> None:
        """A new server has no vote before it was healthy for ten seconds (autopilot)."""
        import consul
        import requests

        api = manager(cluster, connection)

        def voter(seen: list[str]) -> str:
            servers = answers.checked(shapes.ConsulRaft, api.operator.raft_config())["Servers"]
            seen += [f"{server['Node']}: {'a vote' if server['Voter'] else 'no vote yet'}" for server in servers]
            return next((str(s["Node"]) for s in servers if s["Voter"] and s["Address"] == f"{address}:8300"), "")

        cure = "see what its servers say (journalctl -u consul), and run again"
        errors = (consul.ConsulException, requests.RequestException)
        title = f"the server {address} of Consul"
        until_leader(voter, title=title, connection=connection, cure=cure, errors=errors, what="no vote")

    def findings(self, cluster: Cluster) -> Iterator[Problem]:
        """Agents of another name; engines that may not write; agents that would be shut out by a run that does not reach them.

        Under another name an agent keeps its ID, and Consul's leader takes that from the quorum for the old name's sake.
        """
        for name in cluster.live:
            if (called := _called(cluster.facts[name])) not in {"", name}:
                what = f"its Consul agent is called {called}; under a new name Consul would throw it out of the quorum again and again"
                yield Problem("renamed-host", name, what, {"called": called, "name": name})
            answer = cluster.facts[name].http("rights")
            if answer.code == _FORBIDDEN:
                what = f"Consul does not let this host's engine write under its keys: {answer.error.strip()}"
                yield Problem("acl-denied", name, what)
            if why := security.shut_out(cluster, name):
                what = f"the cluster's Consul does not let this host's agent in: {why}; it was away when they were rotated, or comes from a backup"
                yield Problem("agent-shut-out", name, what)
            if len(security.keys(cluster.facts[name])) > 1 and cluster.inventory.the_store.security.gossip:
                what = "its agent takes gossip keys beside the one that it sends with: a rotation was broken off"
                yield Problem("gossip-keys-left", name, what)
        if foreign := security.foreign_key(cluster):
            what = f"the agents of {', '.join(foreign)} send with a gossip key that {security.GOSSIP} has on no host"
            yield Problem("gossip-key-unknown", "", what, {"path": security.GOSSIP})
        if security.way(cluster) and (others := ", ".join(security.agents_missed(cluster))):
            what = f"agents of Consul that this run does not reach would be shut out of it: {others}"
            yield Problem("consul-agents-missed", "", what, {"token": _TOKEN})

    def shut_out(self, cluster: Cluster, host: str) -> str:
        rights = cluster.facts[host].http("rights")
        refused = f"Consul refuses this host's token ({rights.error.strip()})" if rights.code == _FORBIDDEN else ""
        return refused or security.shut_out(cluster, host)

    def stages(self, cluster: Cluster) -> tuple[Levels | None, ...]:
        return security.way(cluster) or (None,)

    def equip(self, cluster: Cluster, connection: Connection) -> None:
        if (security.stage(cluster) or security.wanted(self.store.security)).acls:
            acl.equip(manager(cluster, connection), cluster, connection.name)

    def renewal(self, cluster: Cluster, what: str, *, authority: bool) -> Renewal:
        return consul_rotation.renewal(cluster, what, authority=authority)

    def wait_for_leader(self, connection: Reader, *, servers: int) -> str:
        import consul
        import requests

        api = client(connection)

        def leader(seen: list[str]) -> str:
            found, peers = answers.checked(str, api.status.leader()), _peers(api)
            seen += [f"leader: {found or 'none'}", f"servers in the quorum: {', '.join(peers) or 'none'}"]
            return str(found) if len(peers) >= servers else ""

        cure = "see what its servers say (journalctl -u consul) and that 8300 and 8301 are open between the hosts"
        errors = (consul.ConsulException, requests.RequestException)
        what = f"no leader with all {servers} servers" if servers > 1 else "no leader"
        return until_leader(leader, title=self.title, connection=connection, cure=cure, errors=errors, what=what)


def _peers(api: Any) -> list[str]:
    """The servers in the quorum. Raises ValueError on an answer of another form."""
    found: list[str] | None = answers.checked(list[str] | None, api.status.peers())
    return found or []


def _called(facts: Facts) -> str:
    """What a host's agent calls itself: the running one, else the one that would be started. "" where there is none."""
    _, running = at_its_start(facts.files.get(LOADED, ""))
    return str((running or json_object(facts.files.get(JSON, ""))).get("node_name", ""))


def kv_endpoints(entries: list[dict[str, str]] | None) -> tuple[Endpoint, ...]:
    """The endpoints among Consul's keys and values."""
    texts = (
        (entry["Key"], base64.b64decode(entry.get("Value") or "").decode(errors="replace")) for entry in entries or ()
    )
    return tuple(sorted(found for key, text in texts if (found := endpoint(key, text))))
