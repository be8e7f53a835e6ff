"""Import the external store of the machines' engines as `store.endpoints`, or say why it can't be imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.inventory.importers import writing
from provisioner.inventory.loading import problems
from provisioner.inventory.problems import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provisioner.inventory.importers.found import EngineStore, Machine

KINDS = {"consul": "consul", "etcd": "etcd", "zk": "zookeeper"}  # the engine's scheme -> the inventory's kind
_OPTIONS = {"discovery.heartbeat": "heartbeat", "discovery.ttl": "ttl", "kv.path": "path"}
_FILES = {"kv.cacertfile": "ca", "kv.certfile": "cert", "kv.keyfile": "key"}
_FEW = 3  # machines that a note lists
_OWN = "otherwise provisioner sets up its own Consul on the hosts"
_HOST = writing.Entry("host", {"address": "host.invalid"})


@dataclass(frozen=True, slots=True)
class Taken:
    """The text after `store:`, and notes on what is missing. "": no engine is known to use a store."""

    text: str = writing.OWN_STORE
    notes: tuple[str, ...] = ()


def taken(machines: Sequence[Machine]) -> Taken:
    """Return the common store of these machines' engines, unless it runs on one of them or is unclear."""
    engines: dict[EngineStore, list[str]] = {}
    for machine in machines:
        if machine.store:
            engines.setdefault(machine.store, []).append(machine.name)
    if not engines:
        return Taken("")
    if len(engines) > 1:
        listing = ", ".join(f"{shown(store.url)} ({_some(names)})" for store, names in engines.items())
        return Taken(
            notes=(
                f"the engines have {len(engines)} stores or sets of options, and an inventory has one: {listing}; import the machines of each store separately (--only); {_OWN}",
            )
        )
    ((store, names),) = engines.items()
    whose = f"the engines of {_some(names)} have the store {shown(store.url)}"
    value = _value(store)
    if value is None:
        return Taken(notes=(f"{whose}, which no engine supports: use Consul, etcd or ZooKeeper; {_OWN}",))
    text = writing.flow(value)
    if fault := _fault(text):
        return Taken(notes=(f"{whose}, which an inventory does not support: {fault}; {_OWN}",))
    if any(key in _FILES for key, _ in store.options):
        text = writing.flow(value | {"tls": dict.fromkeys(_FILES.values(), "FILE")})
        how = f"copy its three files from a machine to this one, and write `store: {text}` with them in place of `store: {writing.OWN_STORE}`"
        return Taken(notes=(f"{whose}, over TLS: {how}; {_OWN}",))
    if on := _on(machines, value["endpoints"]):
        patterns = " ".join(f"--only {machine.name}" for machine in machines if machine.name not in on) or "--only NAME"
        how = f"leave that out to import the store: {patterns}; or write `store: {text}` yourself, if it does not run in a container of that engine"
        return Taken(
            notes=(
                f"{whose}, which is on {_some(on)}, a host of this inventory, whose engine waits for its store before it starts: {how}; {_OWN}",
            )
        )
    return Taken(text)


def _value(store: EngineStore) -> dict[str, Any] | None:
    """The value of `store` for an engine's store; None if engines do not support such a URL."""
    scheme, _, rest = store.url.partition("://")
    servers, _, prefix = rest.partition("/")
    if scheme not in KINDS or not servers:
        return None
    value: dict[str, Any] = {"kind": KINDS[scheme], "endpoints": [word.strip() for word in servers.split(",")]}
    if prefix.strip("/"):
        value["prefix"] = prefix.strip("/")
    times = {
        _OPTIONS[key]: int(word) if word.isdecimal() else word
        for key, word in store.options
        if key in _OPTIONS and word
    }
    return value | ({"discovery": times} if times else {})


def _fault(text: str) -> str:
    """Return why an inventory with this store would be invalid, or ""."""
    draft = writing.Draft("import", (_HOST,), writing.free_subnet((), 1), store=text)
    return next((fault.text for fault in problems(writing.text(draft), Path("inventory.yml"), check_files=False)), "")


def _on(machines: Sequence[Machine], endpoints: list[str]) -> list[str]:
    """The machines that run one of the endpoints. A loopback address means an agent on every machine, so it does not count."""
    servers = {endpoint.rpartition(":")[0].lower() for endpoint in endpoints}
    return [
        m.name for m in machines if servers & {word.lower() for word in (m.name, m.address, m.advertise, *m.addresses)}
    ]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(map(shown, names[:_FEW])) + more
