"""The security of Consul: encrypted gossip, TLS between agents, and ACLs. Computes the desired secrets of each host.

Each feature has levels. An agent can talk to agents one level above or below its own:
    gossip  1 has the key, sends plain text, accepts both   2 sends encrypted            3 rejects plain text
    tls     1 has a certificate                             2 verifies servers           3 rejects peers without one
    acls    1 on, everything is allowed                     2 agents have their tokens   3 denied by default
A new cluster starts on the last level. A running cluster goes from level to level, one agent after the other.

Sources: HashiCorp's "Enable gossip encryption", "Secure existing agents with TLS", "Troubleshoot and manage ACLs". The
configuration uses the keys of Consul 1.8, which later versions accept too.
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
from provisioner.stores.started import split_copy
from provisioner.stores.values import File
from provisioner.system import certificates
from provisioner.system.certificates import Pair
from provisioner.system.strict import inside, json_object, value

if TYPE_CHECKING:
    from collections.abc import Callable

    from provisioner.inventory.store_models import Security
    from provisioner.stores.protocols import Cluster
    from provisioner.system.facts import Facts

LOADED = "/run/provisioner-consul.loaded"  # unit and configuration that the running agent was started with
KEYRING = "/var/lib/consul/serf/local.keyring"  # Consul rewrites it when a key is rotated
GOSSIP = "/etc/provisioner/consul-gossip.json"  # the keys that agents may send with; Consul does not read it
TOKENS = "/etc/consul.d/provisioner-tokens.json"
MANAGEMENT = "/etc/consul.d/provisioner-management.json"
AUTHORITY = "/etc/consul.d/provisioner-tls/authority.pem"  # the current one first, then others that are still trusted
AUTHORITY_KEY = "/etc/consul.d/provisioner-tls/authority-key.pem"
CERTIFICATE = "/etc/consul.d/provisioner-tls/agent.pem"
KEY = "/etc/consul.d/provisioner-tls/agent-key.pem"
# Files in these folders count for other hosts too, so only root may write there.
FOLDERS = ("/etc/consul.d", "/etc/consul.d/provisioner-tls")
FILES = (KEYRING, GOSSIP, TOKENS, MANAGEMENT, AUTHORITY, AUTHORITY_KEY, CERTIFICATE, KEY)

_READ: dict[str, str] = {"mode": "0640", "owner": "root:consul"}  # the agent reads it, but can't change it
_FULL = 3
ALIVE = 1  # Serf's status of a member


class Levels(NamedTuple):
    """The level of each feature; 0 is off."""

    gossip: int = 0
    tls: int = 0
    acls: int = 0


def wanted(security: Security) -> Levels:
    return Levels(*(_FULL * on for on in (security.gossip, security.tls, security.acls)))


def in_cluster(cluster: Cluster) -> list[str]:
    """Return the hosts whose agents are in a cluster with a leader: the running cluster."""
    return [name for name, facts in cluster.facts.items() if facts.http("leader").body]


def unreached_agents(cluster: Cluster) -> list[str]:
    """Return the agents that Consul considers alive and that this run does not reach."""
    members = [cluster.facts[name].http("members").body or () for name in in_cluster(cluster)]
    alive = {member["Name"] for of_host in members for member in of_host if member.get("Status") == ALIVE}
    return sorted(alive - {*cluster.live})


def found(facts: Facts) -> Levels:
    """Return the levels of a host's running agent."""
    _, config = split_copy(facts.files.get(LOADED, ""))
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


def transition(cluster: Cluster) -> tuple[Levels, ...]:
    """Return the levels from those of the running cluster to the target. () if it is there, or no cluster runs."""
    target = wanted(cluster.inventory.the_store.security)
    there = [found(cluster.facts[name]) for name in in_cluster(cluster) if LOADED in cluster.facts[name].files]
    if not there:
        return ()
    now = Levels(*(min(one) if goal else max(one) for one, goal in zip(zip(*there, strict=True), target, strict=True)))
    levels = [now]
    while levels[-1] != target:
        steps = zip(levels[-1], target, strict=True)
        levels.append(Levels(*(at + (goal > at) - (goal < at) for at, goal in steps)))
    return tuple(levels) if len(levels) > 1 else ()


def stage(cluster: Cluster) -> Levels | None:
    """Return the levels that the cluster converges to in this stage. None means the target."""
    return cluster.stage if isinstance(cluster.stage, Levels) else None


def levels(cluster: Cluster, host: str) -> Levels:
    """Return the levels that are wanted on a host in this stage. A host that is ahead stays there."""
    target = wanted(cluster.inventory.the_store.security)
    if (now := stage(cluster)) is None:
        return target
    facts = cluster.facts[host]
    if host not in in_cluster(cluster) and LOADED not in facts.files:
        return now  # a host that joins
    own = found(facts)
    three = zip(now, own, target, strict=True)
    return Levels(*(max(to, at) if goal else min(to, at) for to, at, goal in three))


def settings(at: Levels) -> dict[str, Any]:
    """Return the keys for these levels in the agent's configuration."""
    config: dict[str, Any] = {}
    if at.gossip:
        config |= {"encrypt_verify_outgoing": at.gossip >= 2, "encrypt_verify_incoming": at.gossip >= _FULL}  # noqa: PLR2004
    if at.tls:
        config |= {"ca_file": AUTHORITY, "cert_file": CERTIFICATE, "key_file": KEY}
        verify = dict.fromkeys(("verify_outgoing", "verify_server_hostname"), at.tls >= 2)  # noqa: PLR2004
        config |= verify | {"verify_incoming": at.tls >= _FULL}
    if at.acls:
        # token_ttl: how long a client agent caches a token's rights, or that there is no such token.
        policy = "deny" if at.acls >= _FULL else "allow"
        config["acl"] = {"enabled": True, "default_policy": policy, "down_policy": "extend-cache", "token_ttl": "1s"}
    return config


def files(cluster: Cluster, host: str) -> tuple[File, ...]:
    """Return the secret files of a host. Raises StepFailed if it needs a certificate that no host can sign."""
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
        tokens = {"agent": token(cluster, "agent"), "default": token(cluster, "default")}
        made.append(File(TOKENS, _tokens(tokens), **_READ, takes=Action.RELOAD))
    return tuple(made)


def gone(cluster: Cluster, host: str) -> tuple[str, ...]:
    """Return the secret files to remove from a host: those of features that are switched off.

    If TLS is wanted, its files stay even before agents use them: they may include the only copy of the authority's key.
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
    """Return the value that the hosts of the running cluster agree on; without a cluster, all hosts count."""
    return agreed(cluster, of, path, in_cluster(cluster), earlier=True) or ""


# -- the gossip key ---------------------------------------------------------------------------------------------------


def keys(facts: Facts) -> list[str]:
    """Return the gossip keys that a host's agent accepts. It sends with the first one."""
    return _keys(facts.secrets.get(KEYRING, ""))


def _keys(text: str) -> list[str]:
    try:
        parsed = value(text or "[]")
    except ValueError:
        return []
    return [str(key) for key in parsed] if isinstance(parsed, list) else []


def _sent(facts: Facts) -> str:
    return next(iter(keys(facts)), "")


def _recorded(facts: Facts) -> list[str]:
    return _keys(facts.secrets.get(GOSSIP, "")) if GOSSIP in facts.guarded else []


def recorded_keys(cluster: Cluster) -> set[str]:
    """Return the recorded gossip keys: of the running cluster's hosts, or else of any host.

    The record belongs to root. It is empty after a setup by an earlier release.
    """
    of_members = {key for name in in_cluster(cluster) for key in _recorded(cluster.facts[name])}
    return of_members or {key for facts in cluster.facts.values() for key in _recorded(facts)}


def gossip_key(cluster: Cluster) -> str:
    """Return the key that all agents are to send with.

    Consul's user can change a keyring, so a keyring only selects among the keys that root has recorded.
    """
    known = recorded_keys(cluster)
    if known:
        sent = Counter(_sent(cluster.facts[name]) for name in in_cluster(cluster) or cluster.facts)
        there = next((key for key, _ in sent.most_common() if key in known), "")
        there = there or _agreed(cluster, lambda facts: next(iter(_recorded(facts)), ""), GOSSIP)
    else:
        there = _agreed(cluster, _sent, KEYRING)
    return cluster.vault.value("gossip key", there, _gossip_key)


def new_gossip_key(cluster: Cluster) -> str:
    """Return the key that `gossip_key` returns once it is marked as renewed."""
    return cluster.vault.made("gossip key", _gossip_key)


def _gossip_key() -> str:
    return base64.b64encode(random.token_bytes(32)).decode()


def senders_of_unknown_key(cluster: Cluster) -> tuple[str, ...]:
    """Return the hosts whose agents send with an unrecorded key, if they are a majority of the running cluster."""
    known, there = recorded_keys(cluster), in_cluster(cluster)
    others = tuple(name for name in there if (key := _sent(cluster.facts[name])) and key not in known)
    return others if known and 2 * len(others) > len(there) else ()


def _keyring(cluster: Cluster, host: str) -> str:
    """Return the keyring: the existing one if its first key is right. A member's other keys are kept behind it."""
    key, has = gossip_key(cluster), keys(cluster.facts[host])
    if has[:1] == [key]:
        return cluster.facts[host].secrets[KEYRING]
    others = [other for other in has if other != key] if host in in_cluster(cluster) else []
    return json.dumps([key, *others], indent=2) + "\n"


# -- certificates -----------------------------------------------------------------------------------------------------


def authority(cluster: Cluster) -> Pair:
    """Return the authority that signs. Only servers have its key; it is "" if no reachable server has it.

    A run that was interrupted before it reached a server leaves hosts with a certificate whose key nobody has. Such an
    authority is replaced.
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
    """Whether a Consul cluster exists. A server that is not reached may belong to one, so it counts."""
    data = any(facts.says("raft") for facts in cluster.facts.values())
    return data or bool(in_cluster(cluster)) or not set(cluster.servers) <= set(cluster.live)


def new_authority(cluster: Cluster) -> Pair:
    """Return the authority that `authority` returns once it is marked as renewed."""
    return cluster.vault.made("authority", lambda: _authority(cluster))


def _authority(cluster: Cluster) -> Pair:
    return certificates.authority(f"{cluster.inventory.cluster}: authority of Consul's agents")


def all_trusted(cluster: Cluster) -> tuple[str, ...]:
    """Return the certificates of all trusted authorities, according to the files that only root can write.

    After a setup by an earlier release, an authority counts if a majority of the hosts trust it. If a cluster is
    running, only its hosts count: a host that was away may return with a revoked authority.
    """
    counted = [cluster.facts[name] for name in in_cluster(cluster)] or list(cluster.facts.values())
    guarded = [
        set(certificates.each(facts.secrets.get(AUTHORITY, ""))) for facts in counted if AUTHORITY in facts.guarded
    ]
    if guarded:
        return tuple(sorted(set().union(*guarded)))
    every = [set(certificates.each(text)) for facts in counted if (text := facts.secrets.get(AUTHORITY))]
    times = Counter(pem for of_host in every for pem in of_host)
    return tuple(sorted(pem for pem, count in times.items() if 2 * count > len(every)))


def _trusted(cluster: Cluster) -> str:
    """Return the current authority, the other trusted ones that have signed a certificate in use, and the vault's."""
    first = authority(cluster).certificate
    others = set(all_trusted(cluster)) - {first}
    shown = [facts.secrets.get(CERTIFICATE, "") for facts in cluster.facts.values()]
    used = {pem for pem in others if any(certificates.signed_by(own, (pem,)) for own in shown if own)}
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
                "it needs a certificate, but no reachable server has the key of the authority that signs it",
                cause="authority-key-lost",
                host=host,
                cure="bring back a server of the store, or make a new authority: provisioner rotate certificates --ca INVENTORY",
            )
        return certificates.issue(signer, host, names=names, addresses=addresses)

    return cluster.vault.value(certificate_of(host), has if fits else None, issued)


def shut_out(cluster: Cluster, host: str) -> str:
    """Return why the running cluster's agents reject this host's agent, judged by its secrets; "" without a reason.

    This happens to a host that missed a rotation, or that was restored from a backup.
    """
    facts, there = cluster.facts[host], in_cluster(cluster)
    if host in there or not there:
        return ""
    if keys(facts) and gossip_key(cluster) not in keys(facts):
        return "its gossip key differs from that of the other agents"
    own, trusted = facts.secrets.get(CERTIFICATE, ""), all_trusted(cluster)
    if own and trusted and not certificates.signed_by(own, trusted):
        return "its certificate is signed by an authority that the other agents do not trust"
    return ""


# -- tokens -----------------------------------------------------------------------------------------------------------


def _token(text: str, name: str) -> str:
    return str(inside(json_object(text), "acl", "tokens").get(name, ""))


def token(cluster: Cluster, name: str) -> str:
    """Return a token. agent: agents register their hosts with it. default: applies to engines, which send no token."""
    there = _agreed(cluster, lambda facts: _token(facts.secrets.get(TOKENS, ""), name), TOKENS)
    return cluster.vault.value(f"token {name}", there, lambda: str(uuid.uuid4()))


def present_management_token(cluster: Cluster) -> str:
    """Return the management token that the servers have now."""
    return _agreed(cluster, lambda facts: _token(facts.secrets.get(MANAGEMENT, ""), "master"), MANAGEMENT)


def management_token(cluster: Cluster) -> str:
    """Return the token with all rights. Only Consul's servers have it, in their configuration."""
    return cluster.vault.value("token management", present_management_token(cluster), lambda: str(uuid.uuid4()))


def _tokens(tokens: dict[str, str]) -> str:
    return json.dumps({"acl": {"tokens": tokens}}, indent=4) + "\n"
