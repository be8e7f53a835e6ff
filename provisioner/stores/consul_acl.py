"""Changes through Consul's API, over the connection to a server: policies, tokens, and the keyring.

The management token travels in a header, in a channel of the SSH connection. Answers with secrets are never passed on.
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
_PATIENCE = 30.0  # seconds; a new leader needs a moment to set up its ACLs
MANAGEMENT = "global-management"  # a policy that Consul provides


def rules(cluster: Cluster) -> dict[str, Any]:
    """Return the minimal rights of engines: keys under Docker's prefixes, sessions, and reading the list of nodes.

    With store.prefix, all keys are below it. kv.path moves the keys for discovery (libkv, moby's daemon/discovery):
    engines write the keys below it, and create the key itself as a folder.
    """
    store = cluster.inventory.the_store
    front = f"{store.prefix}/" if store.prefix else ""
    moved = [f"{front}{path}" for path in _moved(cluster) if not f"{path}/".startswith("docker/")]
    write, read = {"policy": "write"}, {"policy": "read"}
    keys = {"key": dict.fromkeys(moved, write)} if moved else {}
    prefixes = dict.fromkeys([f"{front}docker/", *(f"{path}/" for path in moved)], write)
    return {**keys, "key_prefix": prefixes, "session_prefix": {"": write}, "node_prefix": {"": read}}


def _moved(cluster: Cluster) -> list[str]:
    """Return kv.path: from the inventory, or else from the engines' configuration files, which keep theirs."""
    if path := cluster.inventory.the_store.discovery.path:
        return [path]
    found = (
        json_object(facts.files.get(DAEMON_JSON, "")).get("cluster-store-opts") for facts in cluster.facts.values()
    )
    paths = (str(options.get("kv.path", "")).strip("/") for options in found if isinstance(options, dict))
    return sorted(set(filter(None, paths)))


def equip(api: Any, cluster: Cluster, host: str) -> None:
    """Create or update both policies and both tokens. Raises StoreError.

    The engines' token is created last, so its existence proves that the rest exists too. Failures are retried for
    `_PATIENCE`: a new leader creates the management token only after its election, and a request is lost with the
    server that was to answer it.
    """
    _run(host, lambda: _retry(lambda: _equip(api, cluster)))


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
    """Create a token with this policy, unless it exists."""
    if not accessor(api, secret):
        api.acl.token.create(secret_id=secret, policies_name=[policy], description="made by provisioner")


def accessor(api: Any, secret: str) -> str:
    """Return the accessor ID of a token; "" if Consul does not know the token."""
    import consul

    try:
        return str(answers.checked(shapes.ConsulAccessor, api.acl.token.read_self(token=secret))["AccessorID"])
    except consul.ACLPermissionDenied:
        return ""


def forget(api: Any, host: str, kept: Mapping[str, str]) -> None:
    """Delete our other tokens with these policies. kept: policy -> the secret of the token to keep.

    Tokens that somebody else created are left alone. Raises StoreError.
    """

    def forgot() -> None:
        stays = {accessor(api, secret) for secret in kept.values()}
        for token in answers.checked(list[shapes.ConsulAccessor], api.acl.token.list()):
            policies = {link["Name"] for link in token.get("Policies") or ()}
            made = token.get("Description") in {"made by provisioner", "Master Token", "Initial Management Token"}
            if made and policies & set(kept) and token["AccessorID"] not in stays:
                api.acl.token.delete(token["AccessorID"])

    _run(host, forgot)


def manage(api: Any, host: str, secret: str) -> None:
    """Create another management token. Raises StoreError."""
    _run(host, lambda: add(api, secret, MANAGEMENT))


def _retry(request: Callable[[], None]) -> None:
    """Retry until Consul answers without an error. Raises the last error after `_PATIENCE`."""
    import tenacity

    waits = tenacity.Retrying(
        stop=tenacity.stop_after_delay(_PATIENCE),
        wait=tenacity.wait_exponential(multiplier=0.05, max=0.2),
        retry=tenacity.retry_if_exception_type(_failures()),
        reraise=True,
    )
    waits(request)


def _failures() -> tuple[type[Exception], ...]:
    """Return the exceptions of a request without a valid answer."""
    import consul
    import requests

    return (consul.ConsulException, requests.RequestException, Unreachable, TimedOut, OSError, *UNFIT)


def rotate_gossip_key(api: Any, host: str, key: str) -> None:
    """Make every agent accept the new key, then send with it, then reject all others. Raises StoreError.

    All agents confirm each step before the next one.
    """

    def rotated() -> None:
        api.operator.keyring_install(key)
        api.operator.keyring_use(key)
        rings = answers.checked(list[shapes.ConsulRing], api.operator.keyring_list())
        lan = [ring for ring in rings if not ring.get("WAN")]
        for old in {old for ring in lan for old in ring["Keys"]} - {key}:
            api.operator.keyring_remove(old)

    _run(host, rotated)


def _run(host: str, request: Callable[[], None]) -> None:
    """Run a request; raise StoreError with Consul's message, which repeats none of our secrets."""
    try:
        request()
    except _failures() as error:
        cure = "check the log of Consul's servers (journalctl -u consul), then run again"
        raise StoreError(
            "changing Consul's keys or tokens failed",
            cause="secrets-refused",
            host=host,
            answer=_redacted(error),
            cure=cure,
        ) from None


def _redacted(error: Exception) -> str:
    """Return the type of the error and Consul's answer, without anything that looks like a key or a token."""
    import re

    text = re.sub(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[A-Za-z0-9+/]{40,}={0,2}", "...", str(error))
    return f"{type(error).__name__}: {text}"
