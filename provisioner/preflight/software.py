"""Checks of the engine's version and configuration."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provisioner.errors import StepFailed
from provisioner.inventory.engine_versions import has_no_store
from provisioner.model import Problem
from provisioner.stores import proxy
from provisioner.stores.base import TLS, TLS_OPTIONS
from provisioner.system import daemon_json
from provisioner.system.reading import DAEMON_JSON, ENGINE_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.controlplane import Site
    from provisioner.system.facts import Facts

_TLS_FILES = set(TLS_OPTIONS)
_STORE = "cluster-store"
_MAY_BE_TWICE = frozenset({"runtimes"})  # moby, daemon/config: findConfigurationConflicts


def engine_too_new(site: Site) -> Iterator[Problem]:
    for name in site.live:
        version = site.facts[name].engine_version
        if has_no_store(version):
            what = f"its engine {version} no longer supports external stores (removed in 23.0) and would not start with one"
            yield Problem("engine-too-new", name, what)


def no_engine_unit(site: Site) -> Iterator[Problem]:
    for name in site.live:
        facts = site.facts[name]
        load = facts.unit("docker.service").load
        if "dockerd" in facts.programs and load != "loaded":
            what = f"it has an engine, but the unit docker.service is {load}"
            yield Problem("no-engine-unit", name, what, variant="masked" if load == "masked" else "")


def other_store(site: Site) -> Iterator[Problem]:
    """An engine that moves to another store loses its overlay networks, also while containers use them."""
    for name in site.live:
        facts = site.facts[name]
        store, way = (
            facts.engine.get("ClusterStore", ""),
            site.backend.waiting(site, name).files.get(proxy.UNIT_FILE, ""),
        )
        found, wanted = (
            proxy.behind(store, facts.files.get(proxy.UNIT_FILE, "")),
            proxy.behind(site.backend.url(site), way),
        )
        overlays = [n for n, network in facts.networks.items() if network["Driver"] == "overlay"]
        if found and not _same(found, wanted) and overlays:
            what = f"its engine has the networks {', '.join(overlays)} in another store, {found}; they would be lost"
            yield Problem("other-store", name, what)


def _same(found: str, wanted: str) -> bool:
    """Whether two URLs mean one store: they share a server, and have the same prefix for keys."""
    (scheme, _, rest), (scheme2, _, rest2) = found.partition("://"), wanted.partition("://")
    (servers, _, prefix), (servers2, _, prefix2) = rest.partition("/"), rest2.partition("/")
    return (scheme, prefix) == (scheme2, prefix2) and not set(servers.split(",")).isdisjoint(servers2.split(","))


def driver_not_built(site: Site) -> Iterator[Problem]:
    """Debian 12's docker.io is built without Consul: a reload reports nothing, and the next start fails."""
    for name in site.live:
        facts = site.facts[name]
        if "dockerd" in facts.programs and not facts.store_driver and not has_no_store(facts.engine_version):
            what = f"its engine {facts.engine_version} was built without the store driver for {site.backend.title}"
            yield Problem("driver-not-built", name, what)


def swarm_active(site: Site) -> Iterator[Problem]:
    for name in site.live:
        if (site.facts[name].engine.get("Swarm") or {}).get("LocalNodeState", "inactive") != "inactive":
            what = "its engine is in swarm mode, which excludes an external store"
            yield Problem("swarm-active", name, what)


def swarm_network(site: Site) -> Iterator[Problem]:
    """Some options work in a swarm only. On an external store, the engine creates an encrypted network that nobody can join."""
    for network in site.inventory.networks.values():
        if network.is_global and not network.attachable:
            what = (
                f"the inventory says that the network {network.name} is not attachable, but on an external store any"
                " container may join"
            )
            yield Problem("swarm-network", "", what, {"option": "attachable"})
        if network.encrypted:
            what = (
                f"the inventory says that the network {network.name} is encrypted, but engines on an external store"
                " distribute no keys"
            )
            yield Problem("swarm-network", "", what, {"option": "encrypted"})


def daemon_json_broken(site: Site) -> Iterator[Problem]:
    """With invalid JSON, or a key or value that the engine rejects, a reload does nothing and the next start fails."""
    for name in site.live:
        facts = site.facts[name]
        try:
            daemon_json.parse(name, facts.files.get(DAEMON_JSON, ""))
        except StepFailed as error:
            yield Problem("daemon-json-broken", name, error.what, {"path": DAEMON_JSON})
            continue
        if (why := facts.refuses) and _STORE not in why:  # store_keys_left reports a store's keys
            what = f"its engine rejects {DAEMON_JSON} and would not start with it again: {why}"
            yield Problem("daemon-json-refused", name, what)


def store_tls(site: Site) -> Iterator[Problem]:
    """With only one or two of the three files, the engine silently does not use TLS (libnetwork v20.10, config)."""
    for name in site.live:
        try:
            found = daemon_json.parse(name, site.facts[name].files.get(DAEMON_JSON, "")).get("cluster-store-opts", {})
        except StepFailed:
            continue
        managed = (
            {key for key, path in found.items() if str(path).startswith(f"{TLS}/")}
            if isinstance(found, dict)
            else set()
        )
        present = sorted(_TLS_FILES & set(found if isinstance(found, dict) else ()) - managed)
        if not present:
            continue
        if missing := sorted(_TLS_FILES - set(present)):
            what = f"cluster-store-opts in {DAEMON_JSON} has {', '.join(present)} without {', '.join(missing)}"
            yield Problem("store-tls", name, f"{what}: the engine would silently not use TLS", variant="incomplete")
        elif not site.backend.credentials(site, name):
            what = f"cluster-store-opts in {DAEMON_JSON} enables TLS, which the inventory's store does not use"
            variant = "unwanted-external" if site.backend.takes_tls else "unwanted"
            yield Problem("store-tls", name, what, {"keys": ", ".join(present)}, variant)


def flag_conflict(site: Site) -> Iterator[Problem]:
    """The engine does not start with one option both in daemon.json and on its command line (moby#25471)."""
    ours = r"--cluster-(?:store|advertise)(?:-opt)?"
    dns = site.inventory.dns
    for flag, wanted in (("dns", dns.servers), ("dns-search", dns.search), ("dns-opt", dns.options)):
        ours += rf"|--{flag}(?![\w-])" if wanted else ""
    for name in site.live:
        for place, text in _command_lines(site.facts[name]):
            if flags := sorted(set(re.findall(ours, text))):
                what = (
                    f"docker.service starts the engine with {', '.join(flags)}; with the same option in daemon.json too,"
                    " it would not start"
                )
                yield Problem("flag-conflict", name, what, {"place": place})


def set_twice(site: Site) -> Iterator[Problem]:
    """Options that are in daemon.json and on the engine's command line already, for example `hosts` and -H."""
    for name in site.live:
        facts = site.facts[name]
        try:
            keys = daemon_json.parse(name, facts.files.get(DAEMON_JSON, "")).keys() - _MAY_BE_TWICE
        except StepFailed:
            continue  # daemon_json_broken reports it
        for place, text in _command_lines(facts):
            given = set(re.findall(r"(?<![\w-])(--[a-z0-9-]+|-H)(?=[=\s]|$)", text))
            if twice := {key: flags[0] for key in sorted(keys) if (flags := sorted(given & _flags(key)))}:
                listed = ", ".join(f"{key} ({flag})" for key, flag in twice.items())
                what = f"{DAEMON_JSON} and the engine's command line both set {listed}; the engine does not start with both"
                yield Problem("flag-conflict", name, what, {"place": f"{place}, or the keys from {DAEMON_JSON}"})


def _flags(key: str) -> set[str]:
    """Return the flags that a key of daemon.json stands for. The key of a flag that can be repeated is its plural."""
    names = {key, key.removesuffix("s"), re.sub("ies$", "y", key)}
    return {f"--{name}" for name in names} | ({"-H"} if key == "hosts" else set())


def _command_lines(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield the places from which the engine gets flags, each with its text without comments."""
    unit = facts.unit("docker.service")
    yield f"{unit.fragment} or its drop-ins (systemctl edit --full docker)", unit.command
    for path in ENGINE_OPTIONS:
        yield path, re.sub(r"^\s*#.*$", "", facts.files.get(path, ""), flags=re.MULTILINE)


def engine_open(site: Site) -> Iterator[Problem]:
    """Whoever reaches an engine's TCP port without TLS is root on its host."""
    for name in site.live:
        try:
            hosts = daemon_json.parse(name, site.facts[name].files.get(DAEMON_JSON, "")).get("hosts", [])
        except StepFailed:
            continue
        for host in hosts if isinstance(hosts, list) else []:
            if str(host).startswith("tcp://") and not re.match(r"tcp://(127\.|localhost|\[::1\])", str(host)):
                what = f"its engine listens on {host}: unless tlsverify is set, whoever reaches that port is root on the host"
                yield Problem("engine-open", name, what, {"path": DAEMON_JSON}, warns=True)
