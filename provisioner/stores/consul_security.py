"""How Consul is secured: gossip encrypted, agents known by certificates, requests allowed by ACLs. What is wanted on a host.

Each of the three is brought in by levels, because agents that are on one level understand those one above and below:
    gossip  1 has the key, sends and takes plain text   2 sends encrypted   3 takes nothing else
    tls     1 has a certificate                         2 asks servers for theirs   3 takes nobody without one
    acls    1 on, and all is allowed                    2 agents have their tokens  3 what is not allowed is refused
A new cluster starts with the last level, one that stands goes from level to level, all agents one after the other
(HashiCorp: "Enable gossip encryption", "Secure existing agents with TLS", "Troubleshoot and manage ACLs"). The words of
the configuration are those of Consul 1.8, which later versions take as well.
"""

from __future__ import annotations

import base64
import json
import secrets as random
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from provisioner.errors import StepFailed
from provisioner.model import Action
from provisioner.stores.secrets import agreed, certificate_of
from provisioner.stores.started import at_its_start
from provisioner.stores.values import File
from provisioner.system import certificates
from provisioner.system.certificates import Pair
from provisioner.system.strict import inside, json_object, value

if TYPE_CHECKING:
    from collections.abc import Callable

    from provisioner.inventory.store_models import Security
    from provisioner.stores.protocols import Cluster
    from provisioner.system.facts import Facts

LOADED = "/run/provisioner-consul.loaded"  # unit and configuration as the running agent found them at its start
KEYRING = "/var/lib/consul/serf/local.keyring"  # Consul's own: it changes the file when a key is rotated
GOSSIP = "/etc/provisioner/consul-gossip.json"  # the keys that agents may send with; Consul does not read it
TOKENS = "/etc/consul.d/provisioner-tokens.json"
MANAGEMENT = "/etc/consul.d/provisioner-management.json"
AUTHORITY = "/etc/consul.d/provisioner-tls/authority.pem"  # the present one first, then others that are still trusted
AUTHORITY_KEY = "/etc/consul.d/provisioner-tls/authority-key.pem"
CERTIFICATE = "/etc/consul.d/provisioner-tls/agent.pem"
KEY = "/etc/consul.d/provisioner-tls/agent-key.pem"
FOLDERS = ("/etc/consul.d", "/etc/consul.d/provisioner-tls")  # with what hosts agree on: root alone may write there
FILES = (KEYRING, GOSSIP, TOKENS, MANAGEMENT, AUTHORITY, AUTHORITY_KEY, CERTIFICATE, KEY)

_READ: dict[str, str] = {"mode": "0640", "owner": "root:consul"}  # by the agent, which may not change it
_FULL = 3
ALIVE = 1  # serf's status of a member


class Levels(NamedTuple):
    """How far each of the three is."""

    gossip: int = 0
    tls: int = 0
    acls: int = 0


def wanted(security: Security) -> Levels:
    return Levels(*(_FULL * on for on in (security.gossip, security.tls, security.acls)))


def standing(cluster: Cluster) -> list[str]:
    """The hosts whose agents are in a cluster that has a leader."""
    return [name for name, facts in cluster.facts.items() if facts.http("leader").body]


def agents_missed(cluster: Cluster) -> list[str]:
    """The agents that Consul holds for alive and that this run does not reach."""
    told = [cluster.facts[name].http("members").body or () for name in standing(cluster)]
    alive = {member["Name"] for of_host in told for member in of_host if member.get("Status") == ALIVE}
    return sorted(alive - {*cluster.live})


def found(facts: Facts) -> Levels:
    """How far the running agent of a host is."""
    _, config = at_its_start(facts.files.get(LOADED, ""))
    return Levels(
        _level(config, "encrypt_verify_outgoing", "encrypt_verify_outgoing", "encrypt_verify_incoming"),
        _level(config, "ca_file", "verify_outgoing", "verify_incoming"),
        _acls(inside(config, "acl"), facts),
    )


def _level(config: dict[str, Any], there: str, *verified: str) -> int:
    return (1 + sum(bool(config.get(key)) for key in verified)) if there in config else 0


def _acls(config: dict[str, Any], facts: Facts) -> int:
    if not config.get("enabled"):
        return 0
    return _FULL if config.get("default_policy") == "deny" else 2 if TOKENS in facts.secrets else 1


def way(cluster: Cluster) -> tuple[Levels, ...]:
    """The levels to go through, from those of the cluster that stands; nothing where it is there, or none stands."""
    target = wanted(cluster.inventory.the_store.security)
    there = [found(cluster.facts[name]) for name in standing(cluster) if LOADED in cluster.facts[name].files]
    if not there:
        return ()
    now = Levels(*(min(one) if goal else max(one) for one, goal in zip(zip(*there, strict=True), target, strict=True)))
    levels = [now]
    while levels[-1] != target:
        steps = zip(levels[-1], target, strict=True)
        levels.append(Levels(*(at + (goal > at) - (goal < at) for at, goal in steps)))
    return tuple(levels) if len(levels) > 1 else ()


def stage(cluster: Cluster) -> Levels | None:
    """The levels that the cluster is brought to now; None: all the way."""
    return cluster.stage if isinstance(cluster.stage, Levels) else None


def levels(cluster: Cluster, host: str) -> Levels:
    """Those that are wanted on a host now: on the way nobody goes back."""
    target = wanted(cluster.inventory.the_store.security)
    if (now := stage(cluster)) is None:
        return target
    facts = cluster.facts[host]
    if host not in standing(cluster) and LOADED not in facts.files:
        return now  # a host that joins
    own = found(facts)
    three = zip(now, own, target, strict=True)
    return Levels(*(max(to, at) if goal else min(to, at) for to, at, goal in three))


def settings(at: Levels) -> dict[str, Any]:
    """What the agent's configuration says of it."""
    told: dict[str, Any] = {}
    if at.gossip:
        told |= {"encrypt_verify_outgoing": at.gossip >= 2, "encrypt_verify_incoming": at.gossip >= _FULL}  # noqa: PLR2004
    if at.tls:
        told |= {"ca_file": AUTHORITY, "cert_file": CERTIFICATE, "key_file": KEY}
        verify = dict.fromkeys(("verify_outgoing", "verify_server_hostname"), at.tls >= 2)  # noqa: PLR2004
        told |= verify | {"verify_incoming": at.tls >= _FULL}
    if at.acls:
        # An agent that is no server remembers what a token may do, and that there is none, for so long.
        policy = "deny" if at.acls >= _FULL else "allow"
        told["acl"] = {"enabled": True, "default_policy": policy, "down_policy": "extend-cache", "token_ttl": "1s"}
    return told


def files(cluster: Cluster, host: str) -> tuple[File, ...]:
    """The secret files of a host. Raises StepFailed where a certificate is needed and nobody can sign it."""
    at, server = levels(cluster, host), host in cluster.servers
    made: list[File] = []
    if at.gossip:
        made.append(File(KEYRING, _keyring(cluster, host), "0600", "consul:consul", takes=Action.RESTART))
        made.append(File(GOSSIP, json.dumps([gossip_key(cluster), *cluster.vault.keys]) + "\n", "0600"))
    if at.tls:
        pair = _certificate(cluster, host)
        made.append(File(AUTHORITY, _trusted(cluster), **_READ, takes=Action.RELOAD))
        made.append(File(CERTIFICATE, pair.certificate, **_READ, takes=Action.RELOAD))
        made.append(File(KEY, pair.key, **_READ, takes=Action.RELOAD))
        if server and (key := authority(cluster).key):
            made.append(File(AUTHORITY_KEY, key, "0600"))
    if at.acls and server:
        made.append(File(MANAGEMENT, _tokens({"master": management_token(cluster)}), **_READ, takes=Action.RESTART))
    if at.acls >= 2:  # noqa: PLR2004
        told = {"agent": token(cluster, "agent"), "default": token(cluster, "default")}
        made.append(File(TOKENS, _tokens(told), **_READ, takes=Action.RELOAD))
    return tuple(made)


def gone(cluster: Cluster, host: str) -> tuple[str, ...]:
    """The secret files that a host has and is not to have: what is switched off.

    On the way to TLS its files stay where no agent has read them yet: the authority's key may be nowhere else.
    """
    at, there = levels(cluster, host), cluster.facts[host].secrets
    tls = (
        ()
        if at.tls or wanted(cluster.inventory.the_store.security).tls
        else (AUTHORITY, AUTHORITY_KEY, CERTIFICATE, KEY)
    )
    off = (*(() if at.gossip else (KEYRING, GOSSIP)), *tls, *(() if at.acls else (MANAGEMENT,)))
    return tuple(path for path in (*off, *(() if at.acls >= 2 else (TOKENS,))) if path in there)  # noqa: PLR2004


def _agreed(cluster: Cluster, of: Callable[[Facts], str], path: str) -> str:
    """What the hosts of the cluster that stands agree on, or without one all hosts."""
    return agreed(cluster, of, path, standing(cluster), earlier=True) or ""


# -- the key of the gossip --------------------------------------------------------------------------------------------


def keys(facts: Facts) -> list[str]:
    """The keys that a host's agent takes; the first is the one that it sends with."""
    return _keys(facts.secrets.get(KEYRING, ""))


def _keys(text: str) -> list[str]:
    try:
        told = value(text or "[]")
    except ValueError:
        return []
    return [str(key) for key in told] if isinstance(told, list) else []


def _sent(facts: Facts) -> str:
    return next(iter(keys(facts)), "")


def _recorded(facts: Facts) -> list[str]:
    return _keys(facts.secrets.get(GOSSIP, "")) if GOSSIP in facts.guarded else []


def recorded_keys(cluster: Cluster) -> set[str]:
    """The keys that root has on any host of the cluster that stands, or without one on any host; none: it is of an earlier release."""
    of_standing = {key for name in standing(cluster) for key in _recorded(cluster.facts[name])}
    return of_standing or {key for facts in cluster.facts.values() for key in _recorded(facts)}


def gossip_key(cluster: Cluster) -> str:
    """The one that all are to send with. An agent's own user can change its keyring, so that chooses among root's keys only."""
    known = recorded_keys(cluster)
    if known:
        sent = Counter(_sent(cluster.facts[name]) for name in standing(cluster) or cluster.facts)
        there = next((key for key, _ in sent.most_common() if key in known), "")
        there = there or _agreed(cluster, lambda facts: next(iter(_recorded(facts)), ""), GOSSIP)
    else:
        there = _agreed(cluster, _sent, KEYRING)
    return cluster.vault.value("gossip key", there, _gossip_key)


def new_gossip_key(cluster: Cluster) -> str:
    """The one that `gossip_key` gives once it is to be renewed."""
    return cluster.vault.made("gossip key", _gossip_key)


def _gossip_key() -> str:
    return base64.b64encode(random.token_bytes(32)).decode()


def foreign_key(cluster: Cluster) -> tuple[str, ...]:
    """The hosts whose agents send with a key that root has on no host, where they are more than half of those that stand."""
    known, there = recorded_keys(cluster), standing(cluster)
    others = tuple(name for name in there if (key := _sent(cluster.facts[name])) and key not in known)
    return others if known and 2 * len(others) > len(there) else ()


def _keyring(cluster: Cluster, host: str) -> str:
    """What is there stays where it sends with the right key; others that a member still takes stay behind it."""
    key, has = gossip_key(cluster), keys(cluster.facts[host])
    if has[:1] == [key]:
        return cluster.facts[host].secrets[KEYRING]
    others = [other for other in has if other != key] if host in standing(cluster) else []
    return json.dumps([key, *others], indent=2) + "\n"


# -- certificates -----------------------------------------------------------------------------------------------------


def authority(cluster: Cluster) -> Pair:
    """The one that signs. Its key is on servers only, and may be on none that was reached: "" then.

    Of a run that was broken off before it came to a server, other hosts may have the certificate, and nobody has the key.
    """

    def own(facts: Facts) -> Pair:
        return Pair(
            next(iter(certificates.each(facts.secrets.get(AUTHORITY, ""))), ""), facts.secrets.get(AUTHORITY_KEY, "")
        )

    founded = _founded(cluster)
    there = _agreed(cluster, lambda facts: own(facts).certificate if founded or _signs(own(facts)) else "", AUTHORITY)
    held = (facts.secrets.get(AUTHORITY_KEY, "") for facts in cluster.facts.values())
    key = next((key for key in held if _signs(Pair(there, key))), "")
    return cluster.vault.value("authority", Pair(there, key) if there else None, lambda: _authority(cluster))


def _signs(pair: Pair) -> bool:
    return bool(pair.certificate and pair.key) and certificates.belongs(pair.certificate, pair.key)


def _founded(cluster: Cluster) -> bool:
    """Whether there is a Consul already, or may be, on a server that is not reached."""
    data = any(facts.says("raft") for facts in cluster.facts.values())
    return data or bool(standing(cluster)) or not set(cluster.servers) <= set(cluster.live)


def new_authority(cluster: Cluster) -> Pair:
    """The one that `authority` gives once it is to be renewed."""
    return cluster.vault.made("authority", lambda: _authority(cluster))


def _authority(cluster: Cluster) -> Pair:
    return certificates.authority(f"{cluster.inventory.cluster}: authority of Consul's agents")


def all_trusted(cluster: Cluster) -> tuple[str, ...]:
    """The certificates of all authorities that root has any host trust; where an earlier release set all up, more than half of them.

    Where a cluster stands, its hosts alone count: one that was away may come back with an authority that was revoked.
    """
    counted = [cluster.facts[name] for name in standing(cluster)] or list(cluster.facts.values())
    told = [set(certificates.each(facts.secrets.get(AUTHORITY, ""))) for facts in counted if AUTHORITY in facts.guarded]
    if told:
        return tuple(sorted(set().union(*told)))
    every = [set(certificates.each(text)) for facts in counted if (text := facts.secrets.get(AUTHORITY))]
    times = Counter(pem for of_host in every for pem in of_host)
    return tuple(sorted(pem for pem, count in times.items() if 2 * count > len(every)))


def _trusted(cluster: Cluster) -> str:
    """The present authority, and those of the others that some agent's certificate is still signed by."""
    first = authority(cluster).certificate
    told = set(all_trusted(cluster)) - {first}
    shown = [facts.secrets.get(CERTIFICATE, "") for facts in cluster.facts.values()]
    used = {pem for pem in told if any(certificates.signed_by(own, (pem,)) for own in shown if own)}
    return first + "".join(sorted((used | set(cluster.vault.trusted)) - {first}))


def _certificate(cluster: Cluster, host: str) -> Pair:
    facts = cluster.facts[host]
    names = {host, "localhost"} | ({"server.dc1.consul"} if host in cluster.servers else set())
    addresses = ["127.0.0.1", str(cluster.advertise[host])]
    has = Pair(facts.secrets.get(CERTIFICATE, ""), facts.secrets.get(KEY, ""))
    trusted = tuple(certificates.each(_trusted(cluster)))
    fits = not certificates.fault(has, trusted, now=facts.now, names=names, addresses=addresses)
    signer = authority(cluster)

    def issued() -> Pair:
        if not signer.key:
            raise StepFailed(
                "it needs a certificate, and no server that was reached has the key of the authority that signs it",
                host=host,
                cure="bring a server of the store back, or make a new authority: provisioner rotate certificates --ca",
            )
        return certificates.issue(signer, host, names=names, addresses=addresses)

    return cluster.vault.value(certificate_of(host), has if fits else None, issued)


def shut_out(cluster: Cluster, host: str) -> str:
    """Why the agents of the cluster that stands do not let this host's in, by its secrets; "" if they give no reason.

    So it is with a host that was away while its secrets were rotated, or that was restored from a backup.
    """
    facts, there = cluster.facts[host], standing(cluster)
    if host in there or not there:
        return ""
    if keys(facts) and gossip_key(cluster) not in keys(facts):
        return "its gossip key is not that of the other agents"
    own, trusted = facts.secrets.get(CERTIFICATE, ""), all_trusted(cluster)
    if own and trusted and not certificates.signed_by(own, trusted):
        return "its certificate is signed by an authority that the other agents do not trust"
    return ""


# -- tokens -----------------------------------------------------------------------------------------------------------


def _token(text: str, name: str) -> str:
    return str(inside(json_object(text), "acl", "tokens").get(name, ""))


def token(cluster: Cluster, name: str) -> str:
    """agent: with which agents register their hosts. default: what the engines may do, who have none of their own."""
    there = _agreed(cluster, lambda facts: _token(facts.secrets.get(TOKENS, ""), name), TOKENS)
    return cluster.vault.value(f"token {name}", there, lambda: str(uuid.uuid4()))


def present_management_token(cluster: Cluster) -> str:
    """The one that servers have now."""
    return _agreed(cluster, lambda facts: _token(facts.secrets.get(MANAGEMENT, ""), "master"), MANAGEMENT)


def management_token(cluster: Cluster) -> str:
    """May do everything; Consul's servers are told it at their start, and nobody else has it."""
    return cluster.vault.value("token management", present_management_token(cluster), lambda: str(uuid.uuid4()))


def _tokens(told: dict[str, str]) -> str:
    return json.dumps({"acl": {"tokens": told}}, indent=4) + "\n"
