"""One host is taken out of a cluster that goes on without it.

    look -> a server more, where one leaves -> the host lets go -> the store and the networks let go of it -> up, for the rest

All but the last is what steps/leaving.py has; the last is the one loop over the inventory without the host, so what closes
the firewalls to it is what opened them. What is left to do is seen from the hosts: interrupted, it is run again.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import tenacity

from provisioner import stores
from provisioner.controlplane.swarm import View, address_of, is_down
from provisioner.converge import outcome
from provisioner.engine import Run, only
from provisioner.errors import ProvisionerError
from provisioner.inventory.checks import SERVER_COUNTS
from provisioner.inventory.mentions import lines_about
from provisioner.model import Finding, Severity, State
from provisioner.parallel import blamed
from provisioner.preflight import machine
from provisioner.steps import leaving_swarm
from provisioner.steps.leaving import Drain, Endpoints, Leave, LeaveEngine, Members
from provisioner.stores.base import literal
from provisioner.system import attached

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from ipaddress import IPv4Address

    from provisioner.controlplane import Site
    from provisioner.inventory import Inventory
    from provisioner.model import Outcome, Report
    from provisioner.steps.base import Step

T = TypeVar("T")
_NAMED = "still-named"  # the warning that the inventory would bring the host back
_SILENT = 40.0  # seconds in which the others notice that a host's power was cut
_LAST_OF_PROMOTION = {"kv": "store", "swarm": "swarm"}  # the last step that a new server, or manager, needs


@dataclass
class Removal(Run):
    """A run over the inventory without the host. `inventory` is given with it, where it is still named there.

    host: its name in the inventory or in the store, or its address. drain: whether its containers may be taken off the
    cluster's networks. Raises ProvisionerError where there is nothing to take it from.
    """

    host: str = ""
    drain: bool = False
    whole: Inventory = field(init=False)
    leaver: Site = field(init=False)  # all of the cluster; live is the host alone, if it answers

    def __post_init__(self) -> None:
        super().__post_init__()
        store = self.inventory.store
        self.session.requests += (attached.CONTAINERS, *(stores.of(store).asks_attached if store else ()))
        self.whole = self.inventory
        by_address = (name for name, entry in self.whole.hosts.items() if entry.address == self.host)
        self.host = next(by_address, self.host)
        self.inventory = self.whole.without(self.host)
        if not self.inventory.hosts:
            what = f"{self.host} is the only host of {self.whole.path}: there is no cluster to take it out of"
            raise ProvisionerError(what, cure="docs/hosts.md tells how to take away by hand what is on it")

    # -- what is there ---------------------------------------------------------------------------------------------

    def read(self) -> None:
        """Connects to the cluster and to the host, wherever that is known from, and reads all that a removal needs."""
        self.session.connect()
        facts = self.session.read(self.session.connections)
        staying, findings = self._resolved({n: f for n, f in facts.items() if n != self.host})
        if self.host not in self.whole.hosts and (address := self._remembered(staying)):
            self.whole = self.session.inventory = self.whole.with_host(self.host, str(address))
            self.session.connect([self.host])
            facts |= self.session.read({self.host} & set(self.session.connections))
        whole, _ = self._resolved({n: f for n, f in facts.items() if n in {*staying.live, self.host}}, self.whole)
        self.leaver = replace(whole, live=tuple({self.host} & set(whole.live)))
        self.site = replace(staying, leaving=self.leaver.advertise.get(self.host))
        self.findings = findings

    def _remembered(self, site: Site) -> IPv4Address | None:
        """The address of a host that the inventory does not name, and its name as the store has it."""
        remembered = site.plane.remembered(site.inventory, site.facts)
        address = literal(self.host)
        if address:
            self.host = next((name for name, known in remembered.items() if known == address), self.host)
        return address or remembered.get(self.host)

    @property
    def lives(self) -> bool:
        return bool(self.leaver.live)

    def look(self) -> bool:
        self.read()
        self._ask()
        self._await_silence()
        super()._check()
        self._note(self._of_everyone(Removal._findings))
        if not self.lives and self.host not in self.session.answering:
            self.session.lost.pop(self.host, None)
        return self._drop_unfit()

    def _check(self) -> None:
        super()._check()
        self._note(self._of_everyone(Removal._of_the_quorum))

    def _of_everyone(self, evaluate: Callable[[Removal], Iterable[T]]) -> tuple[T, ...]:
        """Evaluate the facts of all hosts together, the leaving one's too; a host whose facts cause a bug is lost."""

        def of(names: Collection[str]) -> Removal:
            run = copy.copy(self)
            run.site, run.leaver = only(self.site, names), only(self.leaver, names)
            return run

        names = tuple(dict.fromkeys((*self.site.facts, *self.leaver.facts)))
        tried = "looking at the host and the cluster that it leaves"
        found, bug = blamed(names, lambda names: tuple(evaluate(of(names))), tried)
        if not bug:
            return found
        self.session.lose(bug.host, bug)
        rest = set(names) - {bug.host}
        self.site, self.leaver = only(self.site, rest), only(self.leaver, rest)
        return tuple(evaluate(self))

    def _await_silence(self) -> None:
        """A host that was just switched off is heard of for some seconds more."""
        if self.lives or self.host in self.session.answering or not self._heard_by():
            return

        def again(_: object) -> None:
            for name, facts in self.session.read(self._heard_by(), ("http",), self.site.facts).items():
                self.site = self.site.known(name, facts)

        tenacity.Retrying(
            stop=tenacity.stop_after_delay(_SILENT),
            wait=tenacity.wait_fixed(1.0),
            retry=tenacity.retry_if_result(bool),
            after=again,
            retry_error_callback=lambda _: None,
        )(self._heard_by)

    def _heard_by(self) -> tuple[str, ...]:
        return self._of_everyone(Removal._hearing)

    def _hearing(self) -> list[str]:
        """The hosts whose engines know that of the host alive."""
        if self._swarm:
            alive = any(not is_down(node) for node in leaving_swarm.nodes(self.site))
            return [View(self.site).acting] if alive else []
        return [name for name in self.site.live if self.site.leaving in (self.site.facts[name].gossip or ())]

    # -- what stands in the way --------------------------------------------------------------------------------------

    def _findings(self) -> Iterator[Finding]:
        yield from machine.no_root(self.leaver)
        if self.site.leaving is None:
            what = f"{self.host} is not in the inventory, and the store knows no host of that name"
            cure = "see how it is written, or give its address instead"
            yield Finding("unknown-host", "", what, cure)
            return
        yield from self._of_the_host()
        yield from self._of_the_quorum()

    def _of_the_host(self) -> Iterator[Finding]:
        if self.lives:
            on = attached.on_shared(self.leaver.facts[self.host])
            if on and not self.drain:
                told = ", ".join(f"{name} ({', '.join(networks)})" for name, networks in on.items())
                what = f"containers of {self.host} are on the cluster's networks: {told}"
                cure = "move or remove them; or take them off the networks, on which they go on running: --drain"
                yield Finding("containers-attached", "", what, cure)
            return
        why = self.session.lost.get(self.host, "no answer").splitlines()[0].removeprefix(f"{self.host}: ")
        hearing = ", ".join(self._hearing())
        if hearing or self.host in self.session.answering:
            heard = f"its engine is heard by {hearing}" if hearing else "it answers"
            what = f"{self.host} can't be managed ({why}), but it lives: {heard}"
            cure = "fix that; or, if the host is given up, switch it off and run again after half a minute"
            yield Finding("host-lives", "", what, cure)
            return
        what = f"it can't be reached ({why}), and is taken for gone: what is on it stays as it is"
        cure = f"should it come back, run `provisioner remove` again with its address, {self.site.leaving}"
        yield Finding("host-gone", self.host, what, cure, Severity.WARNING)

    def _of_the_quorum(self) -> Iterator[Finding]:
        """A majority of the store's servers must live before, and of those that are left afterwards."""
        if self._swarm and not View(self._all).acting:
            what = "the swarm has no leader, or no manager that answers"
            yield Finding("no-quorum", "", what, "bring managers back first: none can be taken out without a leader")
            return
        servers, address, title = self._servers(), self.site.leaving, self._title
        if address not in servers:
            yield from self._even(len(servers | {self.site.advertise[name] for name in self._new_servers()}))
            return
        if not self._swarm and not self.site.backend.shrinks:
            what = f"{self.host} is a server of {title}, which can't be left by one while it runs"
            yield Finding("server-leaves", "", what, self.site.backend.leaving(self.site, [address]))
            return
        living = {self.site.advertise[name] for name in self.site.live if name in self.site.advertise}
        now = len(servers & (living | ({address} if self.lives else set())))
        new = {self.site.advertise[name] for name in self._new_servers()}
        after = servers - {address} | (new if self.lives else set())
        then = len(after & living)
        if now <= len(servers) // 2:
            what = f"{title} has no leader: {now} of its {len(servers)} {self._role}s live, and {len(servers) // 2 + 1} are needed"
            yield Finding("no-quorum", "", what, "bring them back first: none can be taken out without a leader")
        elif not after:
            what = f"{self.host} is the only {self._role} of {title}, and the networks are in its data"
            yield Finding("last-server", "", what, "take the networks away first, or keep the host")
        elif then <= len(after) // 2:
            what = f"without {self.host} {title} would have {len(after)} {self._role}s, of which {then} live; {len(after) // 2 + 1} are needed"
            yield Finding("no-quorum", "", what, "bring the others back first, and run again")
        else:
            yield from self._even(len(after | new))

    def _even(self, count: int) -> Iterator[Finding]:
        """Of two, or four, servers no more may be lost than of one less."""
        if count and count % 2 == 0:
            what = (
                f"{self._title} goes on with {count} {self._role}s, of which {(count - 1) // 2 or 'none'} may be lost"
            )
            cure = f"add a host when you can, for {count + 1} {self._role}s"
            key, _ = self.whole.key_naming(self.host)
            spare = [name for name in self.site.live if name not in self.site.servers]
            if key and spare and (self._swarm or self.site.backend.grows):
                cure = f"name another one in its place in {key} first ({', '.join(spare)}): it takes over before this one leaves"
            yield Finding("even-servers", "", what, cure, Severity.WARNING)

    def _servers(self) -> frozenset[IPv4Address]:
        """Those that the store counts on, or the swarm's managers, as any living host tells them."""
        if self._swarm:
            told = (address_of(node) for node in View(self._all).nodes.values() if node.get("ManagerStatus"))
            return frozenset(found for text in told if (found := literal(text)))
        facts = {name: self.site.facts[name] for name in self.site.live}
        return self.site.backend.peers(facts | {name: self.leaver.facts[name] for name in self.leaver.live})

    def _new_servers(self) -> list[str]:
        """The hosts that are to become servers."""
        servers = self._servers()
        known = [n for n in self.site.servers if n in self.site.live and n in self.site.advertise]
        new = [n for n in known if self.site.advertise[n] not in servers]
        return new if servers and (self._swarm or self.site.backend.grows) else []

    @property
    def _all(self) -> Site:
        """All that live: those that stay, and the host."""
        facts = {**self.leaver.facts, **self.site.facts}
        return replace(self.leaver, facts=facts, live=(*self.site.live, *self.leaver.live))

    @property
    def _swarm(self) -> bool:
        return self.site.plane.name == "swarm"

    @property
    def _title(self) -> str:
        return "the swarm" if self._swarm else self.site.backend.title

    @property
    def _role(self) -> str:
        return "manager" if self._swarm else "server"

    # -- what is done ------------------------------------------------------------------------------------------------

    def _order(self) -> tuple[tuple[bool, Step], ...]:
        """The steps in their order, each with whether it is the host's own."""
        if self._swarm:
            rest, forget = leaving_swarm.Rest(self.host), leaving_swarm.Forget(self.host)
            return (False, rest), (True, Drain()), (True, leaving_swarm.LeaveSwarm()), (False, forget), (True, Leave())
        drained = frozenset(attached.on_shared(self.leaver.facts[self.host]) if self.lives else ())
        endpoints = Endpoints(self.host, self._address, drained)
        return (True, Drain()), (True, LeaveEngine()), (False, self._members()), (True, Leave()), (False, endpoints)

    def _members(self) -> Members:
        units = self.site.backend.sought.units
        lives = self.lives and any(self.leaver.facts[self.host].unit(unit).active == "active" for unit in units)
        return Members(self.host, self._address, lives)

    @property
    def _address(self) -> IPv4Address:
        if self.site.leaving is None:
            raise AssertionError("look() has let a host pass whose address is not known")
        return self.site.leaving

    def plan(self) -> None:
        if self.site.leaving is None:
            return
        for own, step in self._decided():
            began, site = time.monotonic(), self.leaver if own else self.site
            self._end(step, [outcome(step, site, name) for name in site.live], began)
        super().plan()

    def converge(self) -> None:
        """The host first, then those that stay. Stops where the host, or one that the store needs, fails."""
        self.errors += self.session.lock((*self.site.live, *self.leaver.live), self.owner)
        self.errors += [] if self.errors else self._lock_store()
        if self.errors:
            return
        if not self._read_again() or not self._promote():
            return
        for at in range(len(self._order())):
            if not self._read_again():  # what is done already must not be done again: a new container may have the name
                return
            own, step = self._order()[at]
            if not (self._on_host(step) if own else self._on_rest(step)):
                return
        self.leaver = self.leaver.without(frozenset({self.host}))  # it is out: from here on the others alone count
        if self._read_again():
            self._on_rest(*self._steps())

    def _decided(self) -> tuple[tuple[bool, Step], ...]:
        return self._of_everyone(Removal._order)

    def _read_again(self) -> bool:
        """Another run may have ended meanwhile, and what we did shows in many places.

        False: there is no going on. A host that lived before is never taken for gone because it stops answering now.
        """
        lived = self.lives
        for name, facts in self.session.read((*self.site.live, *self.leaver.live)).items():
            if name == self.host:
                self.leaver = self.leaver.known(name, facts)
            else:
                self.site = self.site.known(name, facts)
        self._decided()
        lost = frozenset(self.session.lost)
        self.site, self.leaver = self.site.without(lost), self.leaver.without(lost)
        if lived and not self.lives:
            self._stop_for_the_host()
        return not self.errors and self._may_go_on()

    def _stop_for_the_host(self) -> None:
        self.errors.append(
            f"nothing more is done, since {self.host} has failed\n  next:  mend what is said about it, and run again"
        )

    def _on_rest(self, *steps: Step) -> bool:
        for step in steps:
            self.converge_step(step)
            if not self._may_go_on():
                return False
        return True

    def _on_host(self, *steps: Step) -> bool:
        """The host's own steps: the engine's loop on a site of which it alone is live. True where it does not live at all."""
        staying, lived = self.site, self.lives
        for step in steps if lived else ():
            self.site = self.leaver
            self.converge_step(step)
            self.leaver, self.site = self.site, staying
            if self.errors or not self.lives:
                self._stop_for_the_host()
                return False
        return True

    def _promote(self) -> bool:
        """Before a server leaves another one joins, while the leaving one is still counted on and let in."""
        new = self._new_servers() if self.lives and self.site.leaving in self._servers() else []
        if not new:
            return True
        staying, host = self.site, self.host
        servers = tuple(name for name in self.whole.hosts if name in {*staying.servers, host})
        self.site = replace(
            self.leaver, facts={**self.leaver.facts, **staying.facts}, servers=servers, live=staying.live
        )
        steps = list(self._steps())
        last = next(at for at, step in enumerate(steps) if step.name == _LAST_OF_PROMOTION[self.site.plane.name])
        done = self._on_rest(*steps[: last + 1])
        self.site = replace(staying, facts=self.site.facts, live=self.site.live)
        if not done:
            return False
        if self._swarm:
            return True
        try:
            for name in new:
                self.site.backend.wait_for_server(
                    self.session.connections[self.host], self.site, self.site.advertise[name]
                )
        except ProvisionerError as error:
            self.errors.append(str(error))
        return not self.errors

    # -- what is told ------------------------------------------------------------------------------------------------

    def report(self, command: str, *, drift_code: int = 1) -> Report:
        self.outcomes = _merged(self.outcomes)
        told = super().report(command, drift_code=drift_code)
        if not told.exit_code and _NAMED not in self.ignore and (where := lines_about(self.whole.path, self.host)):
            what = f"{self.whole.path} still names it: {', '.join(where)}"
            cure = "take that out of the file: the next `provisioner up` would add the host again"
            key, others = self.whole.key_naming(self.host)
            if key and others not in SERVER_COUNTS:
                cure += f"; of {key} all of it, since {others or 'none'} can't be named there: without it those that are {self._role}s stay so"
            told = replace(told, findings=(*told.findings, Finding(_NAMED, self.host, what, cure, Severity.WARNING)))
        return replace(told, hosts=tuple(self.whole.hosts), removed=self.host)


def _merged(outcomes: list[Outcome]) -> list[Outcome]:
    """One for each step and host: a step that ran twice tells what it did first, unless it ended otherwise."""
    merged: dict[tuple[str, str], Outcome] = {}
    for now in outcomes:
        before = merged.get((now.step, now.host))
        again = before and before.state is State.CONVERGED and now.state in {State.SETTLED, State.CONVERGED}
        merged[now.step, now.host] = replace(before, drifts=(*before.drifts, *now.drifts)) if before and again else now
    return list(merged.values())
