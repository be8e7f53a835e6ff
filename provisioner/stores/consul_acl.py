"""What Consul itself is told, over the connection to a server: its policies, its tokens, its keyring.

The token that allows it travels in a header, in a channel of the SSH connection. Answers that hold secrets go nowhere.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from provisioner.errors import StoreError, TimedOut, Unreachable
from provisioner.stores import consul_security as security
from provisioner.stores import shapes
from provisioner.system import answers
from provisioner.system.reading import DAEMON_JSON
from provisioner.system.strict import UNFIT, json_object

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provisioner.stores.protocols import Cluster

ENGINES, AGENTS = "provisioner-engines", "provisioner-agents"
_PATIENCE = 30.0  # seconds; a server takes its ACLs up a moment after it has become the leader
MANAGEMENT = "global-management"  # Consul's own policy


def rules(cluster: Cluster) -> dict[str, Any]:
    """The least that engines need: keys under Docker's prefixes, sessions, and to see which hosts there are.

    With store.prefix all of theirs lies under it; kv.path moves what shows that they are there (libkv, moby's daemon/discovery):
    they write below it, and the key itself, as a folder.
    """
    store = cluster.inventory.the_store
    front = f"{store.prefix}/" if store.prefix else ""
    moved = [f"{front}{path}" for path in _moved(cluster) if not f"{path}/".startswith("docker/")]
    write, read = {"policy": "write"}, {"policy": "read"}
    keys = {"key": dict.fromkeys(moved, write)} if moved else {}
    prefixes = dict.fromkeys([f"{front}docker/", *(f"{path}/" for path in moved)], write)
    return {**keys, "key_prefix": prefixes, "session_prefix": {"": write}, "node_prefix": {"": read}}


def _moved(cluster: Cluster) -> list[str]:
    """kv.path of the engines; where the inventory has none, theirs stays as it is in their files."""
    if path := cluster.inventory.the_store.discovery.path:
        return [path]
    found = (
        json_object(facts.files.get(DAEMON_JSON, "")).get("cluster-store-opts") for facts in cluster.facts.values()
    )
    paths = (str(options.get("kv.path", "")).strip("/") for options in found if isinstance(options, dict))
    return sorted(set(filter(None, paths)))


def equip(api: Any, cluster: Cluster, host: str) -> None:
    """Both policies and both tokens are there. The engines' comes last: that it is there tells that all is.

    What fails is tried again for some time: a leader makes the management token a moment after its election, and a server
    that is lost takes the request that it was to answer with it.
    """
    _ask(host, lambda: _patiently(lambda: _equip(api, cluster)))


def _equip(api: Any, cluster: Cluster) -> None:
    agents = {"node_prefix": {"": {"policy": "write"}}, "service_prefix": {"": {"policy": "read"}}}
    policies = answers.checked(list[shapes.ConsulPolicy], api.acl.policy.list())
    there = {policy["Name"]: policy["ID"] for policy in policies}
    for name, wanted in ((AGENTS, agents), (ENGINES, rules(cluster))):
        if name not in there:
            api.acl.policy.create(name, rules=wanted, description="made by provisioner")
        elif answers.checked(shapes.ConsulRules, api.acl.policy.read(there[name])).get("Rules") != json.dumps(wanted):
            api.acl.policy.update(there[name], name, rules=wanted, description="made by provisioner")
    for name, policy in (("agent", AGENTS), ("default", ENGINES)):
        add(api, security.token(cluster, name), policy)


def add(api: Any, secret: str, policy: str) -> None:
    """A token of this policy, unless it is there."""
    if not accessor(api, secret):
        api.acl.token.create(secret_id=secret, policies_name=[policy], description="made by provisioner")


def accessor(api: Any, secret: str) -> str:
    """The name by which Consul knows a token; "" where there is none."""
    import consul

    try:
        return str(answers.checked(shapes.ConsulAccessor, api.acl.token.read_self(token=secret))["AccessorID"])
    except consul.ACLPermissionDenied:
        return ""


def forget(api: Any, host: str, kept: Mapping[str, str]) -> None:
    """Every other token of these policies goes. kept: policy -> the secret of the one that stays; ours alone are looked at."""

    def forgot() -> None:
        stays = {accessor(api, secret) for secret in kept.values()}
        for told in answers.checked(list[shapes.ConsulAccessor], api.acl.token.list()):
            policies = {link["Name"] for link in told.get("Policies") or ()}
            made = told.get("Description") in {"made by provisioner", "Master Token", "Initial Management Token"}
            if made and policies & set(kept) and told["AccessorID"] not in stays:
                api.acl.token.delete(told["AccessorID"])

    _ask(host, forgot)


def manage(api: Any, host: str, secret: str) -> None:
    """Another token that may do everything."""
    _ask(host, lambda: add(api, secret, MANAGEMENT))


def _patiently(question: Callable[[], None]) -> None:
    """Asks until Consul has answered well; after a while what it said last is raised."""
    import tenacity

    waits = tenacity.Retrying(
        stop=tenacity.stop_after_delay(_PATIENCE),
        wait=tenacity.wait_exponential(multiplier=0.05, max=0.2),
        retry=tenacity.retry_if_exception_type(_failures()),
        reraise=True,
    )
    waits(question)


def _failures() -> tuple[type[Exception], ...]:
    """What a request may raise whose answer is none, or bad."""
    import consul
    import requests

    return (consul.ConsulException, requests.RequestException, Unreachable, TimedOut, OSError, *UNFIT)


def rotate_gossip_key(api: Any, host: str, key: str) -> None:
    """Every agent takes the new key, then sends with it, then takes no other; each has to confirm before the next step."""

    def rotated() -> None:
        api.operator.keyring_install(key)
        api.operator.keyring_use(key)
        rings = answers.checked(list[shapes.ConsulRing], api.operator.keyring_list())
        told = [ring for ring in rings if not ring.get("WAN")]
        for old in {old for ring in told for old in ring["Keys"]} - {key}:
            api.operator.keyring_remove(old)

    _ask(host, rotated)


def _ask(host: str, question: Callable[[], None]) -> None:
    """Raises StoreError, with Consul's own words: none of our requests has a secret in what it would repeat."""
    try:
        question()
    except _failures() as error:
        cure = "see what its servers say (journalctl -u consul), and run again"
        raise StoreError(
            "Consul does not take up its keys and tokens", host=host, answer=_said(error), cure=cure
        ) from None


def _said(error: Exception) -> str:
    """Its kind and Consul's answer, without anything that looks like a key or a token."""
    import re

    text = re.sub(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[A-Za-z0-9+/]{40,}={0,2}", "...", str(error))
    return f"{type(error).__name__}: {text}"
