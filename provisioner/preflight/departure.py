"""Checks before a host is removed: of the host itself, and of the majority that must survive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.controlplane.swarm import View
from provisioner.inventory.problems import nearest
from provisioner.model import Problem
from provisioner.preflight import machine
from provisioner.system import attached

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from provisioner.controlplane.departure import Departure


def findings(
    leaving: Departure,
    *,
    drain: bool = False,
    why: str = "no answer",
    answers: bool = False,
    local: Collection[str] = (),
) -> Iterator[Problem]:
    """Yield what prevents the removal, and warnings.

    drain: whether the host's containers may be disconnected from the networks. why: why the host can't be reached.
    answers: whether it is up nevertheless. local: the host's local networks that are removed with it.
    """
    yield from machine.no_root(leaving.leaver)
    yield from machine.newer_version(leaving.leaver)
    if leaving.staying.leaving is None:
        yield _unknown(leaving)
        return
    yield from _of_the_host(leaving, drain=drain, why=why, answers=answers, local=local)
    yield from of_the_quorum(leaving)


def _unknown(leaving: Departure) -> Problem:
    """Return why nothing is known about the host. An inventory that gives a name as its address is not enough."""
    if leaving.host in leaving.whole.hosts:
        what = f"{leaving.host} can't be reached, and no host that answers knows its address in the cluster"
        return Problem("unknown-host", "", what, variant="address")
    meant = nearest(leaving.host, leaving.whole.hosts)
    what = f"{leaving.host} is not in the inventory, and the store has no host of that name{meant}"
    return Problem("unknown-host", "", what)


def _of_the_host(
    leaving: Departure, *, drain: bool, why: str, answers: bool, local: Collection[str]
) -> Iterator[Problem]:
    if leaving.lives:
        on = attached.on_shared(leaving.leaver.facts[leaving.host], also=local)
        if on and not drain:
            listed = ", ".join(f"{name} ({', '.join(networks)})" for name, networks in on.items())
            what = f"containers of {leaving.host} are attached to the cluster's networks: {listed}"
            yield Problem("containers-attached", "", what)
        return
    hearing = ", ".join(leaving.hearing)
    if hearing or answers:
        evidence = f"its engine takes part in the gossip of {hearing}" if hearing else "it answers"
        what = f"{leaving.host} can't be managed ({why}), but it is alive: {evidence}"
        yield Problem("host-lives", "", what)
        return
    what = f"it can't be reached ({why}) and is assumed to be gone; nothing on it is changed"
    yield Problem("host-gone", leaving.host, what, {"address": leaving.staying.leaving})


def of_the_quorum(leaving: Departure) -> Iterator[Problem]:
    """Yield a problem if the store or swarm has no majority before the removal, or would have none afterwards."""
    if leaving.is_swarm and not View(leaving.everyone).acting:
        what = "the swarm has no leader, or no manager answers"
        yield Problem("no-quorum", "", what, {"missing": "managers"})
        return
    servers, address, title = leaving.servers, leaving.staying.leaving, leaving.title
    if address not in servers:
        yield from _even(leaving, len(servers | {leaving.staying.advertise[name] for name in leaving.new_servers}))
        return
    if (store := leaving.staying.managed) and not store.shrinks:
        what = f"{leaving.host} is a server of {title}, whose set of servers is fixed while it runs"
        yield Problem("server-leaves", "", what, {"leaving": store.leaving(leaving.staying, [address])})
        return
    living = {leaving.staying.advertise[name] for name in leaving.staying.live if name in leaving.staying.advertise}
    now = len(servers & (living | ({address} if leaving.lives else set())))
    new = {leaving.staying.advertise[name] for name in leaving.new_servers}
    after = servers - {address} | (new if leaving.lives else set())
    then = len(after & living)
    if now <= len(servers) // 2:
        what = (
            f"{title} has no leader: {now} of its {len(servers)} {leaving.role}s are alive,"
            f" and {len(servers) // 2 + 1} are needed"
        )
        yield Problem("no-quorum", "", what, {"missing": "them"})
    elif not after:
        what = f"{leaving.host} is the only {leaving.role} of {title}, and the networks exist only in its data"
        yield Problem("last-server", "", what)
    elif then <= len(after) // 2:
        what = (
            f"without {leaving.host}, {title} would have {len(after)} {leaving.role}s, {then} of them alive;"
            f" {len(after) // 2 + 1} are needed"
        )
        yield Problem("no-quorum", "", what, variant="afterwards")
    else:
        yield from _even(leaving, len(after | new))


def _even(leaving: Departure, count: int) -> Iterator[Problem]:
    """Warn about an even number of servers: it tolerates no more failures than one server less."""
    if count and count % 2 == 0:
        what = (
            f"{leaving.title} will have {count} {leaving.role}s, and tolerates the loss of {(count - 1) // 2 or 'none'}"
        )
        values, variant = {"count": count + 1, "role": leaving.role}, ""
        key, _ = leaving.whole.key_naming(leaving.host)
        spare = [name for name in leaving.staying.live if name not in leaving.staying.servers]
        if key and spare and leaving.grows:
            values, variant = {"key": key, "spare": ", ".join(spare)}, "spare"
        yield Problem("even-servers", "", what, values, variant)
