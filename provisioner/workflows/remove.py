"""`remove`: takes one host out of a cluster that keeps running.

Its last steps are those of `up`, for the inventory without the host. These also close the firewalls to it. The
remaining work is derived from the hosts, so an interrupted run can be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from provisioner import causes, stores
from provisioner.controlplane.departure import Departure
from provisioner.errors import ProvisionerError
from provisioner.inventory.checks import SERVER_COUNTS
from provisioner.inventory.mentions import lines_about
from provisioner.model import Failure, Problem
from provisioner.parallel import blamed
from provisioner.preflight import departure
from provisioner.runner import look
from provisioner.runner.prove import prove
from provisioner.runner.reach import reached
from provisioner.runner.run import CLUSTER, HOST
from provisioner.steps import OWNED, STEPS, ending, leaving_swarm
from provisioner.steps.ending import EndNetworks
from provisioner.steps.leaving import Drain, Endpoints, Leave, LeaveEngine, Members
from provisioner.system import attached
from provisioner.system.strict import literal
from provisioner.transport import Reader
from provisioner.workflows import anyway, compare, converge, go, lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from ipaddress import IPv4Address

    from provisioner.controlplane.site import Site
    from provisioner.inventory import Inventory
    from provisioner.runner.run import Run
    from provisioner.steps.base import Step
    from provisioner.system.facts import Facts
    from provisioner.workflows import Phase


def _members(leaving: Departure) -> Members:
    units, facts = leaving.staying.backend.sought.units, leaving.leaver.facts
    runs = leaving.lives and any(facts[leaving.host].unit(unit).active == "active" for unit in units)
    return Members(leaving.host, leaving.address, runs)


def _local(leaving: Departure) -> frozenset[str]:
    """The leaving host's local networks that runs created."""
    return frozenset(ending.removable(leaving.leaver, leaving.host, unrecorded=True) if leaving.lives else ())


def _endpoints(leaving: Departure) -> Endpoints:
    drained = attached.on_shared(leaving.leaver.facts[leaving.host]) if leaving.lives else ()
    return Endpoints(leaving.host, leaving.address, frozenset(drained))


# The steps of a removal, in order. HOST: runs on the leaving host; CLUSTER: runs on the remaining hosts.
KV: tuple[tuple[str, Callable[[Departure], Step]], ...] = (
    (HOST, lambda leaving: Drain(_local(leaving))),  # disconnects its containers from the networks
    (HOST, lambda _: EndNetworks(shared=False, unrecorded=True)),  # removes its local networks
    (HOST, lambda _: LeaveEngine()),  # takes its engine off the store
    (CLUSTER, _members),  # removes it from the store's members
    (HOST, lambda _: Leave()),  # removes everything else that runs installed
    (CLUSTER, _endpoints),  # releases names and addresses of its containers
)
SWARM: tuple[tuple[str, Callable[[Departure], Step]], ...] = (
    (CLUSTER, lambda leaving: leaving_swarm.Rest(leaving.host)),  # moves services away from it, and demotes it
    (HOST, lambda leaving: Drain(_local(leaving))),
    (HOST, lambda _: EndNetworks(shared=False, unrecorded=True)),
    (HOST, lambda _: leaving_swarm.LeaveSwarm()),
    (HOST, lambda _: LeaveEngine()),  # restores its daemon.json
    (CLUSTER, lambda leaving: leaving_swarm.Forget(leaving.host)),  # removes its node from the swarm
    (HOST, lambda _: Leave()),
)
ORDER = {"kv": KV, "swarm": SWARM}
T = TypeVar("T")
JOINT = "joint"  # the scope of the remaining hosts while the leaving host is still a member
_SILENT = 40.0  # seconds until the other hosts notice that a host has lost power
_LAST_OF_PROMOTION = {"kv": "store", "swarm": "swarm"}  # the last step that a new server or manager needs


def phases(removal: Removal) -> tuple[Phase, ...]:
    """The phases of `remove`."""
    return (
        removal.look,
        lock,
        removal.promote,  # adds a server before one leaves
        removal.part,
        converge(STEPS),
        prove,
        look.judge_again,
        removal.still_named,
    )


def plan(removal: Removal) -> tuple[Phase, ...]:
    """The phases of `remove --plan`, which change nothing."""
    return anyway(removal.look), removal.compare, compare(STEPS), removal.still_named


@dataclass
class Removal:
    """The removal of one host. host: its name in the inventory or in the store, or its address.

    drain: whether its containers may be disconnected from the cluster's networks.
    Raises ProvisionerError if the cluster has no other host.
    """

    whole: Inventory
    host: str
    drain: bool = False
    inventory: Inventory = field(init=False)  # without the host
    lived: bool = False  # whether the host answered at the beginning

    def __post_init__(self) -> None:
        by_address = (name for name, entry in self.whole.hosts.items() if entry.address == self.host)
        self.host = next(by_address, self.host)
        self.inventory = self.whole.without(self.host)
        if not self.inventory.hosts:
            what = f"{self.host} is the only host of {self.whole.path}: there is no cluster to remove it from"
            raise ProvisionerError(
                what, cause="last-host", cure="to clean up this host, run `provisioner down INVENTORY`"
            )

    def departure(self, run: Run) -> Departure:
        """The leaving host and the remaining cluster, as last read."""
        return Departure(self.host, self.whole, run.site, run.sites[HOST])

    # -- reading -------------------------------------------------------------------------------------------------------

    def look(self, run: Run) -> bool:
        """Connects, reads and checks. Returns False if the run can't continue."""
        self._read(run)
        look.query_store(run)
        self._await_silence(run)
        look.check(run)
        look.note(run, self._of_everyone(run, partial(departure.findings, **self._of_the_host(run))))
        run.findings = causes.unexplained(run.findings)
        run.checks.append(lambda run: self._of_everyone(run, departure.of_the_quorum))
        if not self.lived and self.host not in run.session.answering:
            run.session.lost.pop(self.host, None)
        return run.drop_unfit() and (not self.lived or run.may_go_on(HOST))

    def _read(self, run: Run) -> None:
        """Connects to the cluster and to the leaving host, and reads all that a removal needs.

        The host's address comes from the inventory, or from the store or swarm if the inventory does not name the host.
        """
        store = self.inventory.store
        run.session.everything = OWNED
        run.session.requests += (attached.CONTAINERS, *(stores.of(store).asks_attached if store else ()))
        run.session.connect()
        facts = run.session.read(run.session.connections)
        staying, run.findings = look.resolved(run, self.inventory, {n: f for n, f in facts.items() if n != self.host})
        if self.host not in self.whole.hosts and (address := self._remembered(staying)):
            self.whole, notes = reached(self.whole.with_host(self.host, str(address)))
            run.session.inventory = self.whole
            run.session.notice(*notes)
            run.session.connect([self.host])
            facts |= run.session.read({self.host} & set(run.session.connections))
        self._place(run, staying, facts)

    def _place(self, run: Run, staying: Site, facts: Mapping[str, Facts]) -> None:
        whole, _ = look.resolved(run, self.whole, {n: f for n, f in facts.items() if n in {*staying.live, self.host}})
        run.sites[HOST] = replace(whole, live=tuple({self.host} & set(whole.live)))
        run.site = replace(staying, leaving=whole.advertise.get(self.host))
        run.removed, self.lived = self.host, bool(run.sites[HOST].live)

    def _remembered(self, site: Site) -> IPv4Address | None:
        """The address of a host that is not in the inventory. Sets `host` to the name in the store or swarm."""
        remembered = site.plane.remembered(site.inventory, site.facts)
        address = literal(self.host)
        if address:
            self.host = next((name for name, known in remembered.items() if known == address), self.host)
        return address or remembered.get(self.host)

    def _of_everyone(self, run: Run, evaluate: Callable[[Departure], Iterable[T]]) -> tuple[T, ...]:
        """Evaluates the facts of all hosts, including the leaving one. A host whose facts trigger a bug is dropped."""
        leaving = self.departure(run)
        names = tuple(dict.fromkeys((*leaving.staying.facts, *leaving.leaver.facts)))
        tried = "evaluating the host and the cluster that it leaves"
        found, bug = blamed(names, lambda names: tuple(evaluate(leaving.only(names))), tried)
        if not bug:
            return found
        run.session.lose(bug.host, bug)
        rest = leaving.only(set(names) - {bug.host})
        run.site, run.sites[HOST] = rest.staying, rest.leaver
        return tuple(evaluate(rest))

    def _await_silence(self, run: Run) -> None:
        """Waits until the others know that the host is down: for some seconds they list a dead host as alive."""
        if self.lived or self.host in run.session.answering:
            return

        def hearing() -> tuple[str, ...]:
            return self._of_everyone(run, lambda leaving: leaving.hearing)

        def again() -> None:
            for name, facts in run.session.read(hearing(), ("http",), run.site.facts).items():
                run.site = run.site.known(name, facts)

        look.await_end(hearing, again, _SILENT)

    def _of_the_host(self, run: Run) -> dict[str, Any]:
        """What the run knows about the leaving host besides its facts."""
        why = str(run.session.lost.get(self.host, "no answer")).splitlines()[0].removeprefix(f"{self.host}: ")
        local = _local(self.departure(run))
        return {"drain": self.drain, "why": why, "answers": self.host in run.session.answering, "local": local}

    # -- changing ------------------------------------------------------------------------------------------------------

    def promote(self, run: Run) -> bool:
        """Lets another server join before a server leaves, while the leaving one is still a member."""
        leaving = self.departure(run)
        if not (new := leaving.replaced):
            return True
        run.sites[JOINT] = leaving.joint
        steps = list(run.due(STEPS, JOINT))
        last = next(at for at, step in enumerate(steps) if step.name == _LAST_OF_PROMOTION[run.site.control])
        done = go(run, [converge(steps[: last + 1], JOINT)])
        joint = run.sites.pop(JOINT)
        run.site = replace(run.site, facts=joint.facts, live=tuple(name for name in joint.live if name != self.host))
        if not done or not joint.managed:
            return done
        try:
            for name in new:
                reader = Reader(run.session.connections[self.host])
                joint.managed.wait_for_server(reader, joint, joint.advertise[name])
        except ProvisionerError as error:
            run.errors.append(Failure.of(error))
        return not run.errors

    def part(self, run: Run) -> bool:
        """Separates the host from the cluster. Stops if the host fails, or if the cluster loses its quorum."""
        for at, (scope, _) in enumerate(ORDER[run.site.control]):
            # Completed work must not be repeated: a new container may have the same name by now.
            if not self._read_again(run):
                return False
            if scope == CLUSTER or self.lived:
                step = self._steps(run)[at]
                if not go(run, [converge([step], scope)]):
                    return False
        run.sites[HOST] = run.sites[HOST].without(
            frozenset({self.host})
        )  # the host has left: from here on only the others matter
        run.read_again()
        return run.may_go_on()

    def _read_again(self, run: Run) -> bool:
        """Reads all hosts again. Returns False if the run can't continue.

        A host that answered at the beginning and stops answering now is a failure; it is not treated as gone.
        """
        run.read_again()
        self._steps(run)
        run.drop_lost()
        return run.may_go_on() and (not self.lived or run.may_go_on(HOST))

    def _steps(self, run: Run) -> tuple[Step, ...]:
        return self._of_everyone(run, lambda leaving: [make(leaving) for _, make in ORDER[leaving.staying.control]])

    def compare(self, run: Run) -> bool:
        """Compares the steps of the removal on the host and on the remaining cluster."""
        scopes = [scope for scope, _ in ORDER[run.site.control]]
        for scope, step in zip(scopes, self._steps(run), strict=True) if run.site.leaving else ():
            run.compare(step, scope)
        return True

    def still_named(self, run: Run) -> bool:
        """Warns if the inventory still names the host, since `up` would add it again."""
        if run.exit_code() or "still-named" in run.ignore or not (where := lines_about(self.whole.path, self.host)):
            return True
        what = f"{self.whole.path} still names it: {', '.join(where)}"
        key, others = self.whole.key_naming(self.host)
        variant = "servers" if key and others not in SERVER_COUNTS else ""
        values = {"key": key, "others": others or "none", "role": self.departure(run).role}
        run.findings.append(Problem("still-named", self.host, what, values, variant))
        return True
