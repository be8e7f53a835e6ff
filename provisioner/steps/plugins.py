"""The engine's network plugins. Managed ones are installed, configured and enabled; the engine gets the addresses of others.

Docker asks which privileges on the host a managed plugin gets. The inventory's `grant` is the answer: a plugin that requests
more is not installed. A plugin that networks use can't be changed. The engine then returns an error, and the plugin is left
unchanged.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from provisioner import render
from provisioner.errors import StepFailed
from provisioner.inventory.plugins import TAG, sum_of
from provisioner.model import Action, Drift, Kind
from provisioner.steps.base import OfHosts, Upload, Work, differing
from provisioner.system import plugins

if TYPE_CHECKING:
    from provisioner.controlplane import Site
    from provisioner.inventory import PluginEntry
    from provisioner.system.facts import Facts

_MAKES = frozenset({Action.INSTALL, Action.REPLACE})


class Plugins(OfHosts):
    name = "plugins"
    owns = plugins.OWNED
    title = "Network plugins"
    reads = ("files", "http")
    patience = 10.0
    cure = "check the engine's log (journalctl -u docker), then run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        return tuple(
            d for name, plugin in _wanted(site, host).items() for d in _drift(site.facts[host], host, name, plugin)
        )

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work | None:
        if all(d.pending for d in drift):
            return None
        actions: dict[str, set[Action]] = {}  # key: the plugin's name, or the path of its file
        for d in drift:
            actions.setdefault(d.target, set()).add(d.action)
        wanted = _wanted(site, host)
        files = {
            path: text
            for name, plugin in wanted.items()
            for path, text in plugins.spec(name, plugin).items()
            if path in actions
        }
        managed = {name: plugin for name, plugin in wanted.items() if name in actions and not plugin.address}
        jobs = [_job(site.facts[host], name, plugin, actions[name]) for name, plugin in managed.items()]
        uploads = tuple(
            Upload(plugin.archive, _remote(name), _sum(plugin.archive))
            for name, plugin in managed.items()
            if plugin.archive and actions[name] & _MAKES
        )
        gone = [other for name, plugin in wanted.items() if (other := plugins.other_spec(name, plugin)) in actions]
        programs = {name: render.text(f"{file}.pl") for name, file in (("request", "request"), ("installer", "plugin"))}
        script = render.script("plugins.sh.j2", files=files, gone=gone, jobs=jobs, **programs)
        return Work(script, "plugins: " + ", ".join(actions), deadline=60.0 + 600.0 * len(jobs), uploads=uploads)


_sum = cache(sum_of)  # one file is the same for all hosts


def _wanted(site: Site, host: str) -> dict[str, PluginEntry]:
    return {name: plugin for name, plugin in site.inventory.plugins.items() if plugin.on(host)}


def _drift(facts: Facts, host: str, name: str, plugin: PluginEntry) -> list[Drift]:
    if plugin.address:
        return differing(facts, plugins.spec(name, plugin)) + _duplicate_spec(facts, host, name, plugin)
    source = _source(plugin)
    installed = plugins.managed(facts)
    if installed is None:
        return [Drift(Kind.PLUGIN, name, "", source, pending=True)]
    found = installed.get(f"{name}:{TAG}")
    if found is None:
        return [Drift(Kind.PLUGIN, name, "absent", source, Action.INSTALL)]
    made_of = facts.files.get(plugins.origin(name), "").strip()
    other = Drift(Kind.PLUGIN, name, made_of or "unknown origin", source, Action.REPLACE)
    drift = [] if made_of == source else [other]
    settings = plugins.settings(found)
    if any(
        settings.get(key, "not there") != value for key, value in plugin.settings.items()
    ):  # the values may be secrets
        keys = ", ".join(plugin.settings)
        drift.append(Drift(Kind.PLUGIN, name, keys, "other values", Action.CONFIGURE, secret=True))
    if bool(found.get("Enabled")) != plugin.enabled:
        was, is_ = ("off", "on") if plugin.enabled else ("on", "off")
        drift.append(Drift(Kind.PLUGIN, name, was, is_, Action.SWITCH))
    return drift


def _duplicate_spec(facts: Facts, host: str, name: str, plugin: PluginEntry) -> list[Drift]:
    """Return the removal of the plugin's other spec file, if it holds only the same address: it is from before `tls` was set.

    Raises StepFailed for any other content, because the right one can't be guessed and one of them may disable TLS.
    """
    other = plugins.other_spec(name, plugin)
    if other not in facts.files:
        return []
    if facts.files[other].strip() == plugin.address:
        return [Drift(Kind.FILE, other, facts.files[other], action=Action.REMOVE, is_file=True)]
    raise StepFailed(
        f"the plugin {name} has another file already: {other}",
        cause="plugin-failed",
        host=host,
        cure=f"remove {other}, or give the plugin its settings in the inventory",
    )


def _source(plugin: PluginEntry) -> str:
    return f"archive {_sum(plugin.archive)}" if plugin.archive else f"image {plugin.image}"


def _remote(name: str) -> str:
    return f"/var/lib/provisioner-plugin-{name}.tar"


def _job(facts: Facts, name: str, plugin: PluginEntry, actions: set[Action]) -> dict[str, object]:
    there = (plugins.managed(facts) or {}).get(f"{name}:{TAG}")
    makes = bool(actions & _MAKES)
    return {
        "name": name,
        "remove": "yes" if there and makes else "",
        "off": "yes" if there and there.get("Enabled") else "",
        "archive": _remote(name) if makes and plugin.archive else "",
        "image": plugin.image or "" if makes else "",
        "origin": plugins.origin(name),
        "source": _source(plugin) + "\n",
        "grant": list(plugin.grant),
        "path": f"/plugins/{name}:{TAG}/set",
        "settings": [f"{key}={value}" for key, value in plugin.settings.items()]
        if makes or Action.CONFIGURE in actions
        else [],
        "on": "yes" if plugin.enabled else "",
    }
