"""ZooKeeper: servers on 1, 3 or 5 hosts. Every engine uses a proxy on its own host (proxy.py).

Each server has a number from 1 to 255. It must never change, because session IDs contain it. The number is stored in a
file next to the data, and an existing one is kept. Version 3.4 can't change its servers at runtime, so the set of
servers is fixed. There is no TLS: neither ZooKeeper 3.4 nor the engine's client supports it. The four-letter words
need no session.
"""

from __future__ import annotations

import itertools
import json
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provisioner import render
from provisioner.errors import StoreError
from provisioner.model import Action, Drift, Kind, Problem
from provisioner.stores import proxy, shapes
from provisioner.stores.asking import HttpClient
from provisioner.stores.base import WAITER, Managed, Unstaged, endpoints, url, waiting_for
from provisioner.stores.engine_keys import endpoint, endpoints_path
from provisioner.stores.started import effective
from provisioner.stores.values import File, Service, Uploaded, Waiting
from provisioner.stores.waiting import until_leader
from provisioner.stores.zookeeper_keys import ZooKeeperKeys
from provisioner.system import firewall, packages
from provisioner.system.owned import Data, Owned
from provisioner.system.reading import Sought
from provisioner.system.request import Request
from provisioner.system.strict import literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from ipaddress import IPv4Address

    from provisioner.inventory import Store
    from provisioner.stores.engine_keys import Endpoint
    from provisioner.stores.protocols import Cluster
    from provisioner.system.facts import Facts
    from provisioner.transport import Connection, Reader

PORT, LEADER_PORT, ELECTION_PORT = 2181, 2888, 3888
UNIT = "zookeeper.service"
CFG = "/etc/zookeeper/provisioner.cfg"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
LOADED = "/run/provisioner-zookeeper.loaded"  # unit, configuration and number that the running server was started with
DATA = "/var/lib/zookeeper/provisioner"
MYID = f"{DATA}/myid"
_PROGRAM = "/usr/share/zookeeper/bin/zkServer.sh"
OWNED = Owned(
    files=(CFG, LOADED),
    folders=("/etc/zookeeper", "/var/lib/zookeeper"),
    units=(UNIT,),
    users=("zookeeper",),
    packages=packages.names(_PROGRAM),
    data=(Data(DATA, CFG),),
)
_SERVER = re.compile(r"^server\.([0-9]{1,3})=([0-9.]+):", re.MULTILINE)


@dataclass(frozen=True)
class ZooKeeper(Unstaged, Managed):
    """The backend. Ports: ZooKeeper's documentation (2181 clients, 2888 leader, 3888 election)."""

    store: Store
    kind = "zookeeper"
    title = "ZooKeeper"
    program = _PROGRAM
    grows = shrinks = False
    ports = firewall.with_store(
        tcp=(PORT, LEADER_PORT, ELECTION_PORT), local=(proxy.PORT,), users=("zookeeper", firewall.DYNAMIC)
    )
    sought = Sought(
        driver="zookeeper",
        scheme="zk",
        user="zookeeper",
        programs=(program,),
        files=(CFG, MYID, UNIT_FILE, LOADED, WAITER, *proxy.FILES),
        units=(UNIT,),
        through=(proxy.UNIT,),
        data=DATA,
        config=CFG,
        settled=WAITER,
        says=f"[ ! -d {DATA}/version-2 ] || echo zookeeper-data=yes",
        requests=(Request("srvr", str(PORT), "srvr"),),
        ports=dict.fromkeys((PORT, LEADER_PORT, ELECTION_PORT, proxy.PORT), "ZooKeeper"),
        shapes={"endpoints": shapes.Texts},
    )
    uploaded: Uploaded | None = None

    def url(self, cluster: Cluster) -> str:
        return url("zk", (proxy.ADDRESS,), self.store)

    def credentials(self, cluster: Cluster, host: str) -> tuple[File, ...]:
        return ()

    def runs_on(self, cluster: Cluster, host: str) -> bool:
        return host in cluster.servers

    def waiting(self, cluster: Cluster, host: str) -> Waiting:
        """On a server, the proxy tries the host's own server first."""
        servers, own = endpoints(cluster, PORT), f"{cluster.advertise[host]}:{PORT}"
        found = waiting_for(self.kind, servers, UNIT if self.runs_on(cluster, host) else "")
        return proxy.through(found, host, servers, own=own)

    def service(self, cluster: Cluster, host: str) -> Service:
        numbers = _numbers(cluster)
        servers = sorted((n, cluster.advertise[name]) for name, n in numbers.items() if name in cluster.advertise)
        paths = {"unit_path": UNIT_FILE, "cfg_path": CFG, "id_path": MYID, "loaded_path": LOADED}
        files = (
            File(CFG, render.text("zookeeper.cfg.j2", data=DATA, servers=servers)),
            File(MYID, f"{numbers[host]}\n"),
            File(UNIT_FILE, render.text("zookeeper.service.j2", **paths)),
        )
        return Service(UNIT, "zookeeper", "/var/lib/zookeeper", files, {"/var/lib/zookeeper": "0750", DATA: "0750"})

    def formed(self, cluster: Cluster) -> bool:
        return any(_mode(cluster.facts[name]) for name in cluster.servers if name in cluster.facts)

    def outdated(self, cluster: Cluster, host: str, service: Service) -> bool:
        config, number, unit = (file.text for file in service.files)
        return effective(cluster.facts[host].files.get(LOADED, "")) != effective(unit + config + number)

    def membership(self, cluster: Cluster, host: str) -> list[Drift]:
        """Return differences unless the server answers, and belongs to a quorum with a leader."""
        facts = cluster.facts[host]
        if not facts.said("srvr"):
            return [Drift(Kind.STORE, "answer", facts.http("srvr").error, "one", Action.WAIT, self.title)]
        return [] if _mode(facts) else [Drift(Kind.STORE, "leader", "none", "one", Action.WAIT, self.title)]

    def peers(self, facts: Mapping[str, Facts]) -> frozenset[IPv4Address]:
        """Return the servers in the configuration that the running servers were started with. It never changes.

        If none runs, the configuration files decide: a run that was killed may have written them on some of the hosts only.
        """
        running = [of_host.files[LOADED] for of_host in facts.values() if _mode(of_host)]
        texts = running or [of_host.files.get(CFG, "") for of_host in facts.values()]
        addresses = (address for text in texts for _, address in _SERVER.findall(text))
        return frozenset(found for address in addresses if (found := literal(address)))

    def remembered(self, facts: Mapping[str, Facts]) -> dict[str, IPv4Address]:
        return {}  # ZooKeeper knows its servers by number only

    def was_server(self, facts: Facts) -> bool:
        return CFG in facts.files

    def leader(self, facts: Facts) -> str:
        """Only the leader itself reports who it is."""
        number = facts.files.get(MYID, "").strip()
        own = dict(_SERVER.findall(facts.files.get(LOADED, "")))
        return own.get(number, "") if _mode(facts) == "leader" else ""

    def led(self, facts: Facts) -> bool:
        return bool(_mode(facts))

    def has_data(self, facts: Facts) -> bool:
        return facts.says("zookeeper-data")

    def idle(self, facts: Facts) -> bool:
        return False  # the package does not start ZooKeeper

    def leaving(self, cluster: Cluster, addresses: Iterable[IPv4Address]) -> str:
        return "rebuild the store with other servers once no container needs its networks"

    def setting(self, cluster: Cluster, key: str, text: str) -> str:
        command = ["/usr/share/zookeeper/bin/zkCli.sh", "-server", f"127.0.0.1:{PORT}", "set", f"/{key}", text]
        return f"`{shlex.join(command)}` on a server"

    @property
    def asks_attached(self) -> tuple[Request, ...]:
        return list_endpoints(self.store)

    def ask(self, connection: Reader, requests: Iterable[Request] = ()) -> dict[str, str]:
        return ask(connection, requests)

    def attached(self, facts: Facts) -> tuple[Endpoint, ...]:
        return attached(facts)

    def knows(self, facts: Facts, host: str, address: IPv4Address) -> str:
        return ""  # the set of servers never changes

    def leave(self, own: Connection | None, other: Connection, cluster: Cluster, host: str) -> None:
        pass

    def wait_for_server(self, connection: Reader, cluster: Cluster, address: IPv4Address) -> None:
        pass

    def findings(self, cluster: Cluster) -> Iterator[Problem]:
        live = {name: cluster.facts[name] for name in cluster.live}
        peers, alone = self.peers(live), any(_mode(facts) == "standalone" for facts in live.values())
        added = [
            name
            for name in cluster.servers
            if (peers and name in cluster.advertise and cluster.advertise[name] not in peers)
            or (alone and name in live and _mode(live[name]) != "standalone")
        ]
        if added:
            what = f"{', '.join(added)} would be added to a running ZooKeeper cluster, whose servers can't change"
            yield Problem("server-added", "", what, variant="fixed")

    def wait_for_leader(self, connection: Reader, *, servers: int) -> str:
        """Return the server's mode. `membership` checks each server."""

        def leader(seen: list[str]) -> str:
            found = mode(word(connection, "srvr"))
            seen.append(f"mode: {found or 'not serving requests'}")
            return found

        cure = (
            "check the servers' log (journalctl -u zookeeper), and that ports 2888 and 3888 are open between the hosts"
        )
        return until_leader(leader, title=self.title, connection=connection, cure=cure)


def list_endpoints(store: Store) -> tuple[Request, ...]:
    """Return the request for all endpoints. The controller sends it to the proxy, through the host's connection.

    No four-letter word lists them, and Perl has no client for ZooKeeper.
    """
    return (Request("endpoints", proxy.ADDRESS, endpoints_path(store), through=True),)


def ask(connection: Reader, requests: Iterable[Request]) -> dict[str, str]:
    """Return the keys below a folder, by full path, in the form of a host's own reading."""
    answers = {}
    for request in requests:
        keys = ZooKeeperKeys((HttpClient(connection, request.where),))
        try:
            answers[request.name] = f"200 {json.dumps(keys.under(request.what))}"
        except StoreError as error:
            answers[request.name] = f"000 {error.what}: {error.answer}"
        finally:
            keys.close()
    return answers


def rights(servers: Sequence[HttpClient], folders: Iterable[str]) -> str:
    """Return, in the form of an HTTP answer, whether all these folders are writable."""
    keys = ZooKeeperKeys(servers)
    try:
        lacking = [folder for folder in folders if not keys.may_make(folder)]
    except StoreError as error:
        return f"000 {error.what}: {error.answer}"
    finally:
        keys.close()
    return f"403 {', '.join(lacking)}" if lacking else "200 {}"


def attached(facts: Facts) -> tuple[Endpoint, ...]:
    """Return the endpoints in the answer to `list_endpoints`."""
    keys = facts.http("endpoints").body or {}
    return tuple(found for key, text in keys.items() if (found := endpoint(key, text)))


def word(connection: Reader, name: str) -> str:
    """Return the answer to a four-letter word. Raises Unreachable, TimedOut, OSError."""
    with connection.socket(PORT) as sock:
        sock.sendall(name.encode())
        answer = b""
        while part := sock.recv(65536):
            answer += part
    return answer.decode(errors="replace")


def mode(srvr: str) -> str:
    """Return leader, follower or standalone, from the answer to `srvr`; "" while there is no leader."""
    found = re.search(r"^Mode: (leader|follower|standalone)$", srvr, re.MULTILINE)
    return found[1] if found else ""


def _mode(facts: Facts) -> str:
    """Return the mode of a server that was started with our configuration."""
    return mode(facts.said("srvr")) if LOADED in facts.files else ""


def _numbers(cluster: Cluster) -> dict[str, int]:
    """Return server -> number: the one it has, the one in the others' configuration, or the lowest free one."""
    by_address = {
        address: int(number)
        for facts in cluster.facts.values()
        for number, address in _SERVER.findall(facts.files.get(CFG, ""))
    }
    numbers: dict[str, int] = {}
    for name in cluster.servers:
        own = cluster.facts[name].files.get(MYID, "").strip() if name in cluster.facts else ""
        known = int(own) if re.fullmatch("[0-9]{1,3}", own) else by_address.get(str(cluster.advertise.get(name)))
        if known is not None and known not in numbers.values():
            numbers[name] = known
    taken = {*numbers.values(), *by_address.values()}
    free = (number for number in itertools.count(1) if number not in taken)
    return {name: numbers[name] if name in numbers else next(free) for name in cluster.servers}
