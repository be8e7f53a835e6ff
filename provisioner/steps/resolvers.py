"""The resolvers that the engine forwards its containers' questions to (`dns:`), whichever control plane there is.

Source: moby v20.10 daemon/reload.go: an engine reads them at its start only. It tells nobody what it has read, so a copy of
the file as it was then does (docs/decisions/loaded-copy.md); where there is none, the engine was started before all this.
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


def settings(asked: Dns) -> dict[str, list[str]]:
    """The keys of daemon.json. Those that the inventory leaves out keep what they have."""
    found = {"dns": list(map(str, asked.servers)), "dns-search": list(asked.search), "dns-opts": list(asked.options)}
    return {key: words for key, words in found.items() if words}


def files(asked: Dns) -> dict[str, str]:
    """Path -> text of what keeps that copy."""
    return {ENGINE_DNS_DROPIN: render.text("docker-dns.conf.j2", started=ENGINE_STARTED)} if settings(asked) else {}


def running(asked: Dns, facts: Facts) -> list[Drift]:
    """What an engine that runs has not read yet."""
    wanted, started = settings(asked), json_object(facts.files.get(ENGINE_STARTED, ""))
    if all(started.get(key) == words for key, words in wanted.items()):
        return []
    found = {key: started[key] for key in wanted if isinstance(started.get(key), list)}
    told = [", ".join(f"{key} {' '.join(map(str, words))}" for key, words in of.items()) for of in (found, wanted)]
    return [Drift(Kind.ENGINE_USES, "DNS", told[0] or "not these", told[1], Action.RESTART)]
