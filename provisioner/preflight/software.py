"""Checks of the engine and the store as they are installed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provisioner.controlplane.choice import has_no_store
from provisioner.errors import StepFailed
from provisioner.model import Problem
from provisioner.stores import proxy
from provisioner.stores.base import TLS, TLS_OPTIONS
from provisioner.system import daemon_json
from provisioner.system.reading import DAEMON_JSON, ENGINE_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.controlplane import Site

_TLS_FILES = set(TLS_OPTIONS)
_STORE = "cluster-store"


def engine_too_new(site: Site) -> Iterator[Problem]:
    for name in site.live:
        version = site.facts[name].engine_version
        if has_no_store(version):
            what = f"its engine {version} has no external store any more (removed in 23.0): it would not start"
            yield Problem("engine-too-new", name, what)


def no_engine_unit(site: Site) -> Iterator[Problem]:
    for name in site.live:
        facts = site.facts[name]
        load = facts.unit("docker.service").load
        if "dockerd" in facts.programs and load != "loaded":
            what = f"it has an engine, but its docker.service is {load}"
            yield Problem("no-engine-unit", name, what, variant="masked" if load == "masked" else "")


def other_store(site: Site) -> Iterator[Problem]:
    """Taking an engine to another store takes its overlay networks from under their containers."""
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
            what = f"its engine has the networks {', '.join(overlays)} on another store, {found}; they would be lost"
            yield Problem("other-store", name, what)


def _same(found: str, wanted: str) -> bool:
    """Whether two URLs lead into one store: they share a server, and keep their keys in the same place."""
    (scheme, _, rest), (scheme2, _, rest2) = found.partition("://"), wanted.partition("://")
    (servers, _, prefix), (servers2, _, prefix2) = rest.partition("/"), rest2.partition("/")
    return (scheme, prefix) == (scheme2, prefix2) and not set(servers.split(",")).isdisjoint(servers2.split(","))


def driver_not_built(site: Site) -> Iterator[Problem]:
    """Debian 12's docker.io is built without Consul: a reload says nothing, the next start fails."""
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
    """What only a swarm's networks can be. The engine makes an encrypted one all the same, and no container can join it."""
    for network in site.inventory.networks.values():
        if network.is_global and not network.attachable:
            what = f"the network {network.name} is not to be attachable: on an external store any container may join"
            yield Problem("swarm-network", "", what, {"option": "attachable"})
        if network.encrypted:
            what = (
                f"the network {network.name} is to be encrypted: engines on an external store hand out no keys for that"
            )
            yield Problem("swarm-network", "", what, {"option": "encrypted"})


def daemon_json_broken(site: Site) -> Iterator[Problem]:
    """No JSON, or a key or value that the engine does not take: a reload does nothing then, and the next start fails."""
    for name in site.live:
        facts = site.facts[name]
        try:
            daemon_json.parse(name, facts.files.get(DAEMON_JSON, ""))
        except StepFailed as error:
            yield Problem("daemon-json-broken", name, error.what, {"path": DAEMON_JSON})
            continue
        if (why := facts.refuses) and _STORE not in why:  # a store's keys are told by store_keys_left
            what = f"its engine refuses {DAEMON_JSON} as it is, and would not start with it again: {why}"
            yield Problem("daemon-json-refused", name, what)


def store_tls(site: Site) -> Iterator[Problem]:
    """With one or two of the three files the engine goes without TLS and says nothing (libnetwork v20.10, config)."""
    for name in site.live:
        try:
            found = daemon_json.parse(name, site.facts[name].files.get(DAEMON_JSON, "")).get("cluster-store-opts", {})
        except StepFailed:
            continue
        mine = (
            {key for key, path in found.items() if str(path).startswith(f"{TLS}/")}
            if isinstance(found, dict)
            else set()
        )
        there = sorted(_TLS_FILES & set(found if isinstance(found, dict) else ()) - mine)
        if not there:
            continue
        if missing := sorted(_TLS_FILES - set(there)):
            what = f"cluster-store-opts in {DAEMON_JSON} has {', '.join(there)} without {', '.join(missing)}"
            yield Problem("store-tls", name, f"{what}: the engine would silently go without TLS", variant="incomplete")
        elif not site.backend.credentials(site, name):
            what = f"cluster-store-opts in {DAEMON_JSON} asks for TLS, and the store of the inventory has none"
            variant = "unwanted-external" if site.backend.takes_tls else "unwanted"
            yield Problem("store-tls", name, what, {"keys": ", ".join(there)}, variant)


def flag_conflict(site: Site) -> Iterator[Problem]:
    """A key in the file and on the command line keeps the engine from starting (moby#25471)."""
    ours = r"--cluster-(?:store|advertise)(?:-opt)?"
    dns = site.inventory.dns
    for flag, wanted in (("dns", dns.servers), ("dns-search", dns.search), ("dns-opt", dns.options)):
        ours += rf"|--{flag}(?![\w-])" if wanted else ""
    for name in site.live:
        unit = site.facts[name].unit("docker.service")
        places = {f"{unit.fragment} or its drop-ins (systemctl edit --full docker)": unit.command}
        places |= {path: site.facts[name].files.get(path, "") for path in ENGINE_OPTIONS}
        for place, text in places.items():
            active = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
            if flags := sorted(set(re.findall(ours, active))):
                what = f"docker.service starts the engine with {', '.join(flags)}; with the same in daemon.json it would not start"
                yield Problem("flag-conflict", name, what, {"place": place})


def engine_open(site: Site) -> Iterator[Problem]:
    """Whoever reaches a plain TCP port of an engine is root on its host."""
    for name in site.live:
        try:
            hosts = daemon_json.parse(name, site.facts[name].files.get(DAEMON_JSON, "")).get("hosts", [])
        except StepFailed:
            continue
        for host in hosts if isinstance(hosts, list) else []:
            if str(host).startswith("tcp://") and not re.match(r"tcp://(127\.|localhost|\[::1\])", str(host)):
                what = f"its engine listens to {host}: unless tlsverify is set, whoever reaches that port owns the host"
                yield Problem("engine-open", name, what, {"path": DAEMON_JSON})
