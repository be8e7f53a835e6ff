"""Checks of the store on its hosts: somebody else's store is not taken over, and no majority is lost."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provisioner.controlplane.kv import merged_options
from provisioner.errors import StepFailed
from provisioner.model import Problem
from provisioner.system import firewall
from provisioner.system.reading import DAEMON_JSON
from provisioner.system.strict import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.controlplane import Site

_TIMES = ("discovery.heartbeat", "discovery.ttl")  # of cluster-store-opts


def foreign_store(site: Site) -> Iterator[Problem]:
    """A server that somebody else set up is not taken over, since its data and its cluster are not ours."""
    backend = site.managed
    if not backend:
        return
    for name in site.live:
        facts = site.facts[name]
        if not backend.runs_on(site, name) or backend.sought.config in facts.files:
            continue
        for unit in backend.sought.units:
            if facts.unit(unit).active == "active" and not backend.idle(facts):
                what = f"{backend.title} runs here and was not set up by provisioner"
                yield Problem(f"foreign-{backend.kind}", name, what, {"unit": unit.removesuffix(".service")})


def foreign_data(site: Site) -> Iterator[Problem]:
    """A server with another cluster's data would wait for that cluster's members, and never join ours."""
    backend = site.managed
    if not backend:
        return
    for name in site.live:
        facts = site.facts[name]
        if backend.has_data(facts) and backend.sought.config not in facts.files and name in site.servers:
            folder = backend.sought.data
            what = f"{folder} has the data of a {backend.title} server that was not set up by provisioner"
            yield Problem(f"foreign-{backend.kind}-data", name, what, {"folder": folder})


def server_left_out(site: Site) -> Iterator[Problem]:
    """If the inventory leaves out half of the store's servers or more, the store loses its majority."""
    backend = site.managed
    if not backend:
        return
    peers = backend.peers({name: site.facts[name] for name in site.live}) - {site.leaving}
    staying = peers & {site.advertise[name] for name in site.servers if name in site.advertise}
    for name in site.servers:  # a server that will advertise another of its addresses stays
        if name in site.live:
            staying |= peers & {address.ip for _, address in site.facts[name].addresses}
    names = {address: name for name, address in site.advertise.items()}
    left_out = sorted(peers - staying)
    if left_out:
        listed = ", ".join(names.get(address, str(address)) for address in left_out)
        what = f"the store has servers that the inventory leaves out: {listed}"
        removable = backend.shrinks and names.keys().isdisjoint(left_out)
        leaving = {} if removable else {"leaving": backend.leaving(site, left_out)}
        kept = 2 * len(staying) > len(peers)
        yield Problem("server-left-out", "", what, leaving, "removable" if removable else "", warns=kept)


def invalid_times(site: Site) -> Iterator[Problem]:
    """Options of the store that the inventory omits keep their values in a host's file. Both together must be valid."""
    store = site.inventory.the_store
    discovery = store.discovery
    ours = {key for key, value in zip(_TIMES, (discovery.heartbeat, discovery.ttl), strict=True) if value}
    for name in site.live:
        try:
            options = merged_options(site, name)
        except StepFailed:
            continue  # software.daemon_json_broken reports it
        given = {key: options[key] for key in _TIMES if key in options}
        theirs = [key for key in given if key not in ours]
        if not theirs:
            continue  # already checked with the inventory
        whole = [
            bool(re.fullmatch("[0-9]{1,9}", word)) and int(word) for word in given.values() if isinstance(word, str)
        ]
        why = "an engine expects whole seconds there, as a string"
        if len(whole) == len(given) and all(whole):
            heartbeat, ttl = (int(given[key]) if key in given else None for key in _TIMES)
            why = store.times_fault(heartbeat, ttl)
        if why:
            whose = ", ".join(
                f"{key} {shown(repr(word), 40)} of {'the inventory' if key in ours else DAEMON_JSON}"
                for key, word in given.items()
            )
            what = f"its engine would not use the store with {whose}: {why}"
            yield Problem("store-options", name, what, {"keys": ", ".join(theirs), "path": DAEMON_JSON})


def backend_findings(site: Site) -> Iterator[Problem]:
    """The backend's own checks for this kind of store."""
    yield from site.backend.findings(site)


def closing(site: Site) -> list[str]:
    """Return the hosts whose rules will change. Only there can `locked_out` find something."""
    if not site.ports.store:
        return []
    plans = {
        name: firewall.plan(site.facts[name], site.peers(name), site.ports, site.advertise.get(name))
        for name in site.live
    }
    return [name for name, plan in plans.items() if any(rules.found != rules.wanted for rules in plan.rules)]


def locked_out(site: Site) -> Iterator[Problem]:
    """Programs that use the store on their host, and that the firewall would reject: only root and the store's user may.

    This stops the run, because a warning would come too late: the same run would cut these programs off.
    """
    ports = site.ports
    for name in site.live:
        facts = site.facts[name]
        uids = firewall.uids(facts)
        admitted = {uids.get(user) for user in ports.users} | {int(user) for user in ports.users if user.isdecimal()}
        here = {*site.peers(name), *(address.ip for _, address in facts.addresses)}
        names = {number: user for user, number in uids.items()}
        for client in firewall.clients(facts):
            if (
                client.port not in ports.store
                or client.uid in admitted
                or not (client.address.is_loopback or client.address in here)
            ):
                continue
            user = names.get(client.uid, str(client.uid))
            what = (
                f"{client.program or 'a program'} of the user {user} uses the store at {client.address}:{client.port};"
                " the firewall would reject it, since only root and the store's user may connect"
            )
            yield Problem("store-users", name, what, {"user": user})
