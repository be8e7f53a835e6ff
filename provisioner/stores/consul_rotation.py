"""New secrets for a Consul that stands. The networks work throughout.

gossip-key      all agents take the new key, then send with it, then take no other (Consul's own way, at runtime)
certificates    each agent gets a new one and reads it at runtime; with a new authority both are trusted meanwhile
tokens          Consul knows new ones, agents get them at runtime (servers with a restart), then the old ones go
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
        why = f"there are no {what} to rotate: store.security.{_SWITCH[what]} is off"
        raise StepFailed(why, cure="switch it on and run `provisioner up`")
    if not security.standing(cluster) or security.way(cluster):
        why = "Consul does not stand as the inventory wants it secured"
        raise StepFailed(why, cure="run `provisioner up` first")
    revokes = authority or what != "certificates"
    turns: Mapping[str, Turns] = {
        "gossip-key": gossip_key,
        "certificates": partial(certificates, authority=authority),
        "tokens": tokens,
    }
    holders = {*cluster.inventory.hosts, *security.agents_missed(cluster)} if revokes else ()
    return Renewal(turns[what], frozenset(holders))


def gossip_key(now: Now, connections: Mapping[str, Connection]) -> Iterator[None]:
    """Root has both keys on every host before agents change theirs: so a run that is broken off goes on with either."""
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
    before = security.all_trusted(now())  # more than one where an earlier rotation was broken off
    if authority:
        vault.trusted = (*before, security.new_authority(now()).certificate)
        yield
        vault.renewed.add("authority")
    vault.trusted = before  # until nobody's certificate is signed by them
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
    """A server that stands."""
    able = [name for name in cluster.servers if name in cluster.live and name in security.standing(cluster)]
    if not able:
        raise StepFailed("no server of the store is left", cure="bring a host of store.servers back")
    return able[0]
