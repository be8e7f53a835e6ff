"""The resolvers to which the engine forwards its containers' queries (`dns:`), with any control plane.

An engine reads them only at its start (source: moby v20.10 daemon/reload.go) and does not report what it has read. A copy of
the file from that moment shows it (docs/decisions/loaded-copy.md). Without a copy, the engine has not loaded the resolvers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner import render
from provisioner.model import Action, Drift, Kind
from provisioner.system.reading import ENGINE_DNS_DROPIN, ENGINE_STARTED
from provisioner.system.strict import json_object

if TYPE_CHECKING:
    from provisioner.inventory import Dns
    from provisioner.system.facts import Facts


def settings(dns: Dns) -> dict[str, list[str]]:
    """Return the keys of daemon.json that the inventory sets. The other keys keep their values."""
    found = {"dns": list(map(str, dns.servers)), "dns-search": list(dns.search), "dns-opts": list(dns.options)}
    return {key: words for key, words in found.items() if words}


def files(dns: Dns) -> dict[str, str]:
    """Return the files (path -> text) that save this copy at the engine's start."""
    return {ENGINE_DNS_DROPIN: render.text("docker-dns.conf.j2", started=ENGINE_STARTED)} if settings(dns) else {}


def running(dns: Dns, facts: Facts) -> list[Drift]:
    """Return a drift if the running engine has not loaded these resolvers."""
    wanted, started = settings(dns), json_object(facts.files.get(ENGINE_STARTED, ""))
    if all(started.get(key) == words for key, words in wanted.items()):
        return []
    found = {key: started[key] for key in wanted if isinstance(started.get(key), list)}
    was, is_ = (", ".join(f"{key} {' '.join(map(str, words))}" for key, words in of.items()) for of in (found, wanted))
    return [Drift(Kind.ENGINE_USES, "DNS", was or "others", is_, Action.RESTART)]
