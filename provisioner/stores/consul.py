"""Consul: an agent on every host, some of them servers. Each engine uses the agent on its own host.

The HTTP port is bound to loopback. The controller's requests travel in a channel of the SSH connection, so nothing
listens on the controller either. They use py-consul, the maintained fork of python-consul.

The unit copies itself and the configuration to /run at every start. So a run knows what the running agent was started
with: it detects an interrupted run, and restarts the agent only if a change requires it.
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
from provisioner.stores.base import Managed, url
from provisioner.stores.consul_client import HTTP_PORT, LEADER, client, manager
from provisioner.stores.consul_program import UPLOADED, program
from provisioner.stores.consul_security import LOADED
from provisioner.stores.engine_keys import Endpoint, endpoint, endpoints_path, nodes_path
from provisioner.stores.started import needs_restart, split_copy
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

# An agent uses these keys only to find its cluster. A member needs no restart when they change.
_JOIN_KEYS = {"retry_join", "bootstrap_expect"}
_STATUS = {1: "alive", 2: "leaving", 4: "failed"}  # of members that Consul still counts on
_OK, _FORBIDDEN = 200, 403
KEYS = list[shapes.ConsulKey] | None  # the shape of the answer to a listing of keys
_TOKEN = f"with ACLs, set CONSUL_HTTP_TOKEN to the token in {security.MANAGEMENT} on a server"


@dataclass(frozen=True)
class Consul(Managed):
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
        """Always the host's own agent. Consul recommends this for availability, and libkv takes only one endpoint."""
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
        """Return how many servers wait for each other before the first election.

        Before that election it is the number of live servers, because a server that is down must not block the others.
        Consul ignores the value afterwards, so the existing one is kept.
        """
        if not self.formed(cluster):
            return sum(name in cluster.live for name in cluster.servers)
        found = json_object(cluster.facts[host].files.get(JSON, "")).get("bootstrap_expect")
        return found if type(found) is int and found > 0 else len(cluster.servers)

    def formed(self, cluster: Cluster) -> bool:
        """Raft's list of peers is empty before the first election, and survives the loss of the leader."""
        known = (cluster.facts[name] for name in cluster.servers if name in cluster.facts)
        return any(facts.http(what).body for facts in known for what in ("peers", "leader"))

    def _program(self, facts: Facts) -> str:
        """Return the path of Consul on a host, now or once installed.

        A path that the host reports is written into a unit only if it has no special characters.
        """
        found = facts.programs.get("consul", "")
        if re.fullmatch(r"(/[A-Za-z0-9._-]+)+", found):
            return found
        return UPLOADED if self.store.binary else "/usr/bin/consul"

    def outdated(self, cluster: Cluster, host: str, service: Service) -> bool:
        unread: set[str] = _JOIN_KEYS if self.formed(cluster) else {"retry_join"}
        return needs_restart(cluster.facts[host].files.get(LOADED, ""), service, unread)

    def membership(self, cluster: Cluster, host: str) -> list[Drift]:
        """Return differences unless the agent answers, knows a leader, and sees every live host as alive."""
        facts = cluster.facts[host]
        members = facts.http("members")
        if (
            members.code == _FORBIDDEN
            and (at := security.stage(cluster))
            and at.acls <= 1
            and facts.http("leader").body
        ):
            return []  # no token is valid until all servers have ACLs and the leader has set them up
        if members.code != _OK:
            return [Drift(Kind.STORE, "HTTP interface", members.error, "an answer", Action.WAIT, self.title)]
        drift = []
        if not facts.http("leader").body:
            drift.append(Drift(Kind.STORE, "leader", "none", "one", Action.WAIT, self.title))
        if cluster.inventory.the_store.security.acls and facts.http("rights").code == _FORBIDDEN:
            # If all hosts are refused, the policy is wrong, and `equip` corrects it.
            all_ = all(cluster.facts[name].http("rights").code == _FORBIDDEN for name in cluster.live)
            error = facts.http("rights").error
            drift.append(Drift(Kind.RIGHTS, "", error, "to write", Action.WAIT, self.title, later=all_))
        alive = {member["Name"] for member in members.body or () if member.get("Status") == security.ALIVE}
        # Don't wait for a host that is shut out: it joins once it has the secrets of the others.
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
        peers = (peer for of_host in facts.values() for peer in of_host.http("peers").body or ())
        return frozenset(found for peer in peers if (found := literal(peer.rpartition(":")[0])))

    def remembered(self, facts: Mapping[str, Facts]) -> dict[str, IPv4Address]:
        members = (member for of_host in facts.values() for member in of_host.http("members").body or ())
        return {member["Name"]: found for member in members if (found := literal(member["Addr"]))}

    def was_server(self, facts: Facts) -> bool:
        return '"server": true' in facts.files.get(JSON, "")

    def leader(self, facts: Facts) -> str:
        return str(facts.http("leader").body or "").rpartition(":")[0]

    def led(self, facts: Facts) -> bool:
        return bool(self.leader(facts))

    def has_data(self, facts: Facts) -> bool:
        return facts.says("raft")

    def idle(self, facts: Facts) -> bool:
        return False  # the package does not start Consul

    def leaving(self, cluster: Cluster, addresses: Iterable[IPv4Address]) -> str:
        gone = "for a server that is gone for good, `consul operator raft remove-peer -address IP:8300` on another"
        return f"remove them from the store first, one at a time: run `consul leave` on each; {gone} ({_TOKEN})"

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
        members = (member for member in facts.http("members").body or () if member["Name"] == host)
        return next((_STATUS[member["Status"]] for member in members if member["Status"] in _STATUS), "")

    def leave(self, own: Connection | None, other: Connection, cluster: Cluster, host: str) -> None:
        """A host that runs Consul leaves by itself. For a host that is gone, the others remove it and its vote."""
        import consul
        import requests

        api = manager(cluster, own or other)
        try:
            if own:
                api.agent.leave()
                return
            api.agent.force_leave(host)
            if any(peer.rpartition(":")[0] == str(cluster.leaving) for peer in _peers(api)):
                with contextlib.suppress(consul.ConsulException):  # the leader may have removed the vote already
                    api.operator.raft_remove_peer(address=f"{cluster.leaving}:8300")
        except (consul.ConsulException, requests.RequestException, *UNFIT) as error:
            cure = "check Consul's log (journalctl -u consul), then run again"
            what = f"Consul failed to remove {host}"
            raise StoreError(
                what, cause="member-stays", host=(own or other).name, answer=shown(str(error)), cure=cure
            ) from None

    def wait_for_server(self, connection: Reader, cluster: Cluster, address: IPv4Address) -> None:
        """Autopilot gives a new server its vote once it has been healthy for ten seconds."""
        import consul
        import requests

        api = manager(cluster, connection)

        def voter(seen: list[str]) -> str:
            servers = answers.checked(shapes.ConsulRaft, api.operator.raft_config())["Servers"]
            seen += [f"{server['Node']}: {'a vote' if server['Voter'] else 'no vote yet'}" for server in servers]
            return next((str(s["Node"]) for s in servers if s["Voter"] and s["Address"] == f"{address}:8300"), "")

        cure = "check the log of Consul's servers (journalctl -u consul), then run again"
        errors = (consul.ConsulException, requests.RequestException)
        title = f"Consul's server {address}"
        until_leader(voter, title=title, connection=connection, cure=cure, errors=errors, what="no vote")

    def findings(self, cluster: Cluster) -> Iterator[Problem]:
        """Find renamed agents, engines without write access, agents that are shut out or would be, and gossip key problems.

        A renamed agent keeps its ID. Consul's leader then removes that ID from the quorum because of the old name.
        """
        for name in cluster.live:
            if (called := _agent_name(cluster.facts[name])) not in {"", name}:
                what = (
                    f"its Consul agent is called {called}; under a new name,"
                    " Consul would repeatedly remove it from the quorum"
                )
                yield Problem("renamed-host", name, what, {"called": called, "name": name})
            answer = cluster.facts[name].http("rights")
            if answer.code == _FORBIDDEN:
                what = f"Consul denies this host's engine write access to its keys: {answer.error.strip()}"
                yield Problem("acl-denied", name, what)
            if why := security.shut_out(cluster, name):
                what = (
                    f"the cluster's Consul rejects this host's agent: {why};"
                    " the host missed a rotation, or was restored from a backup"
                )
                yield Problem("agent-shut-out", name, what)
            if len(security.keys(cluster.facts[name])) > 1 and cluster.inventory.the_store.security.gossip:
                what = (
                    "its agent accepts other gossip keys besides the one that it sends with: a rotation was interrupted"
                )
                yield Problem("gossip-keys-left", name, what)
        if foreign := security.senders_of_unknown_key(cluster):
            what = f"the agents of {', '.join(foreign)} send with a gossip key that no host has in {security.GOSSIP}"
            yield Problem("gossip-key-unknown", "", what, {"path": security.GOSSIP})
        if security.transition(cluster) and (others := ", ".join(security.unreached_agents(cluster))):
            what = f"this run does not reach these agents of Consul, and would shut them out: {others}"
            yield Problem("consul-agents-missed", "", what, {"token": _TOKEN})

    def shut_out(self, cluster: Cluster, host: str) -> str:
        rights = cluster.facts[host].http("rights")
        refused = f"Consul refuses this host's token ({rights.error.strip()})" if rights.code == _FORBIDDEN else ""
        return refused or security.shut_out(cluster, host)

    def stages(self, cluster: Cluster) -> tuple[Levels | None, ...]:
        return security.transition(cluster) or (None,)

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

        cure = "check the servers' log (journalctl -u consul), and that ports 8300 and 8301 are open between the hosts"
        errors = (consul.ConsulException, requests.RequestException)
        what = f"no leader with all {servers} servers" if servers > 1 else "no leader"
        return until_leader(leader, title=self.title, connection=connection, cure=cure, errors=errors, what=what)


def _peers(api: Any) -> list[str]:
    """Return the servers in the quorum. Raises ValueError if the answer has another shape."""
    found: list[str] | None = answers.checked(list[str] | None, api.status.peers())
    return found or []


def _agent_name(facts: Facts) -> str:
    """Return the name of a host's agent: the running one, or else the configured one. "" if there is none."""
    _, running = split_copy(facts.files.get(LOADED, ""))
    return str((running or json_object(facts.files.get(JSON, ""))).get("node_name", ""))


def kv_endpoints(entries: list[dict[str, str]] | None) -> tuple[Endpoint, ...]:
    """Return the endpoints among Consul's keys and values."""
    texts = (
        (entry["Key"], base64.b64decode(entry.get("Value") or "").decode(errors="replace")) for entry in entries or ()
    )
    return tuple(sorted(found for key, text in texts if (found := endpoint(key, text))))
