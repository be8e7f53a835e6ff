"""What stands in the way of taking a host out: of the host itself, and of the majority that must live on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.controlplane.swarm import View
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
    """What stands in the way, and what is worth a warning.

    drain: whether its containers may be taken off the networks. why: of a host that is not reached, what came back.
    answers: whether it is up all the same. local: networks of the host alone that go with it.
    """
    yield from machine.no_root(leaving.leaver)
    yield from machine.newer_version(leaving.leaver)
    if leaving.staying.leaving is None:
        what = f"{leaving.host} is not in the inventory, and the store knows no host of that name"
        yield Problem("unknown-host", "", what)
        return
    yield from _of_the_host(leaving, drain=drain, why=why, answers=answers, local=local)
    yield from of_the_quorum(leaving)


def _of_the_host(
    leaving: Departure, *, drain: bool, why: str, answers: bool, local: Collection[str]
) -> Iterator[Problem]:
    if leaving.lives:
        on = attached.on_shared(leaving.leaver.facts[leaving.host], also=local)
        if on and not drain:
            told = ", ".join(f"{name} ({', '.join(networks)})" for name, networks in on.items())
            what = f"containers of {leaving.host} are on the cluster's networks: {told}"
            yield Problem("containers-attached", "", what)
        return
    hearing = ", ".join(leaving.hearing)
    if hearing or answers:
        heard = f"its engine is heard by {hearing}" if hearing else "it answers"
        what = f"{leaving.host} can't be managed ({why}), but it lives: {heard}"
        yield Problem("host-lives", "", what)
        return
    what = f"it can't be reached ({why}), and is taken for gone: what is on it stays as it is"
    yield Problem("host-gone", leaving.host, what, {"address": leaving.staying.leaving})


def of_the_quorum(leaving: Departure) -> Iterator[Problem]:
    """A majority of the store's servers must live before, and of those that are left afterwards."""
    if leaving.is_swarm and not View(leaving.everyone).acting:
        what = "the swarm has no leader, or no manager that answers"
        yield Problem("no-quorum", "", what, {"missing": "managers"})
        return
    servers, address, title = leaving.servers, leaving.staying.leaving, leaving.title
    if address not in servers:
        yield from _even(leaving, len(servers | {leaving.staying.advertise[name] for name in leaving.new_servers}))
        return
    if (store := leaving.staying.managed) and not store.shrinks:
        what = f"{leaving.host} is a server of {title}, which can't be left by one while it runs"
        yield Problem("server-leaves", "", what, {"leaving": store.leaving(leaving.staying, [address])})
        return
    living = {leaving.staying.advertise[name] for name in leaving.staying.live if name in leaving.staying.advertise}
    now = len(servers & (living | ({address} if leaving.lives else set())))
    new = {leaving.staying.advertise[name] for name in leaving.new_servers}
    after = servers - {address} | (new if leaving.lives else set())
    then = len(after & living)
    if now <= len(servers) // 2:
        what = f"{title} has no leader: {now} of its {len(servers)} {leaving.role}s live, and {len(servers) // 2 + 1} are needed"
        yield Problem("no-quorum", "", what, {"missing": "them"})
    elif not after:
        what = f"{leaving.host} is the only {leaving.role} of {title}, and the networks are in its data"
        yield Problem("last-server", "", what)
    elif then <= len(after) // 2:
        what = f"without {leaving.host} {title} would have {len(after)} {leaving.role}s, of which {then} live; {len(after) // 2 + 1} are needed"
        yield Problem("no-quorum", "", what, variant="afterwards")
    else:
        yield from _even(leaving, len(after | new))


def _even(leaving: Departure, count: int) -> Iterator[Problem]:
    """Of two, or four, servers no more may be lost than of one less."""
    if count and count % 2 == 0:
        what = (
            f"{leaving.title} goes on with {count} {leaving.role}s, of which {(count - 1) // 2 or 'none'} may be lost"
        )
        values, variant = {"count": count + 1, "role": leaving.role}, ""
        key, _ = leaving.whole.key_naming(leaving.host)
        spare = [name for name in leaving.staying.live if name not in leaving.staying.servers]
        if key and spare and leaving.grows:
            values, variant = {"key": key, "spare": ", ".join(spare)}, "spare"
        yield Problem("even-servers", "", what, values, variant)
