"""Rotation of the secrets of a running Consul. The networks keep working.

gossip-key      All agents accept the new key, then send with it, then reject the old one (Consul's API, at runtime).
certificates    Each agent gets a new one and reloads it at runtime. During a change of the authority, both are trusted.
tokens          Consul gets new ones, agents load them at runtime (servers restart), then the old ones are deleted.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from provisioner.errors import StepFailed
from provisioner.stores import consul_acl as acl
from provisioner.stores import consul_security as security
from provisioner.stores.consul_client import client, manager
from provisioner.stores.rotating import Renewal
from provisioner.stores.secrets import certificate_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from provisioner.stores.protocols import Cluster
    from provisioner.stores.rotating import Turns
    from provisioner.transport import Connection

    Now = Callable[[], Cluster]

_SWITCH = {"gossip-key": "gossip", "certificates": "tls", "tokens": "acls"}  # what -> the key of store.security
ROTATES = tuple(_SWITCH)


def renewal(cluster: Cluster, what: str, *, authority: bool) -> Renewal:
    """As `Rotates.renewal`."""
    if not getattr(cluster.inventory.the_store.security, _SWITCH[what]):
        why = f"{what} can't be rotated: store.security.{_SWITCH[what]} is off"
        raise StepFailed(why, cause="nothing-to-rotate", cure="switch it on and run `provisioner up INVENTORY`")
    if not security.in_cluster(cluster) or security.transition(cluster):
        why = "Consul does not run with the security that the inventory asks for"
        raise StepFailed(why, cause="rotation-unready", cure="run `provisioner up INVENTORY` first")
    revokes = authority or what != "certificates"
    turns: Mapping[str, Turns] = {
        "gossip-key": gossip_key,
        "certificates": partial(certificates, authority=authority),
        "tokens": tokens,
    }
    holders = {*cluster.inventory.hosts, *security.unreached_agents(cluster)} if revokes else ()
    return Renewal(turns[what], frozenset(holders))


def gossip_key(now: Now, connections: Mapping[str, Connection]) -> Iterator[None]:
    """Record both keys on every host before agents change theirs, so an interrupted run can continue with either."""
    vault, new = now().vault, security.new_gossip_key(now())
    vault.keys = (new,)
    yield
    server = _server(now())
    token = security.present_management_token(now()) if now().inventory.the_store.security.acls else ""
    acl.rotate_gossip_key(client(connections[server], token), server, new)
    vault.renewed.add("gossip key")
    vault.keys = ()
    yield


def certificates(now: Now, _: Mapping[str, Connection], *, authority: bool) -> Iterator[None]:
    vault = now().vault
    renewed = {certificate_of(name) for name in now().live}
    before = security.all_trusted(now())  # more than one if an earlier rotation was interrupted
    if authority:
        vault.trusted = (*before, security.new_authority(now()).certificate)
        yield
        vault.renewed.add("authority")
    vault.trusted = before  # as long as they have signed a certificate that is in use
    vault.renewed |= renewed
    yield
    vault.trusted = ()
    yield


def tokens(now: Now, connections: Mapping[str, Connection]) -> Iterator[None]:
    server = _server(now())
    api = manager(now(), connections[server])
    now().vault.renewed |= {"token agent", "token default", "token management"}
    management = security.management_token(now())
    acl.manage(api, server, management)
    acl.equip(api, now(), server)
    yield
    server = _server(now())
    kept = {acl.AGENTS: security.token(now(), "agent"), acl.ENGINES: security.token(now(), "default")}
    acl.forget(client(connections[server], management), server, {**kept, acl.MANAGEMENT: management})


def _server(cluster: Cluster) -> str:
    """Return a live server that has a leader. Raises StepFailed."""
    able = [name for name in cluster.servers if name in cluster.live and name in security.in_cluster(cluster)]
    if not able:
        raise StepFailed(
            "no server of the store is left", cause="no-server-left", cure="bring back a host of store.servers"
        )
    return able[0]
