"""The logic of the runner: order, hosts that drop out, what stops the run, locks and writes.

The hosts are fakes. They support only the readings and repairs of the steps below, and fail on everything else.
"""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from captured import HOSTS, capture, endpoint, printed
from renaming import other_words, renamed

from provisioner import render
from provisioner.errors import CommandFailed, Locked, StepFailed, TimedOut, Unreachable
from provisioner.model import (
    Action,
    Asking,
    Diagnosis,
    Drift,
    Failure,
    HostChanged,
    Kind,
    Problem,
    ProofResult,
    Result,
    State,
)
from provisioner.runner import look, session
from provisioner.runner.run import Run
from provisioner.steps.base import PeerOutput, Work
from provisioner.workflows import anyway, compare, converge, go, lock_if_any_differs
from provisioner.workflows.agreement import Agreement
from provisioner.workflows.verify import accept_no_warning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from provisioner.controlplane import Site
    from provisioner.workflows.agreement import Ask


class Host:
    """A connection to a host that records which steps are done."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name, self.writes = cluster, name, 0
        self.done: set[str] = set(cluster.done)
        self.closed = False

    def _facts(self, script: str = "") -> Result:
        """The facts of a reading. After a repair, which reads no section here, only the completed steps."""
        raw = dict(capture(f"settled-{self.name}").raw)
        if self.cluster.bare and "engine" not in self.done:
            raw["system"] = re.sub(r"(?m)^program=dockerd .*\n", "", raw["system"])
        raw = (raw if script or self.cluster.bare else {}) | {
            "done": " ".join(sorted(self.done)),
            **self._answers(script),
        }
        return Result(0, "", "", printed(raw))

    def _known(self, script: str) -> None:
        if "printf 'provisioner-facts" not in script:
            raise AssertionError(f"unknown script: {script[:80]}")

    def read(self, script: str, *, deadline: float = 0.0) -> Result:
        if script == "tell the token":
            self.cluster.log(f"token {self.name}")
            self.cluster.raise_for("token", self.name)
            return Result(0, "a secret\n", "")
        self._known(script)
        self.cluster.log(f"read {self.name}")
        self.cluster.raise_for("read", self.name)
        return self._facts(script)

    def _answers(self, script: str) -> dict[str, str]:
        """The answers to the additional requests in a script."""
        asked = {"endpoints": self.cluster.endpoints, "containers": []}
        return {
            f"http:{k}": f"200 {json.dumps(v)}"
            for k, v in asked.items()
            if re.search(rf"'(?:ask|first) {k} \S+ /", script)
        }

    def write(self, script: str, *, deadline: float, stdin: bytes = b"") -> Result:
        self._known(script)
        self.cluster.given[self.name] = stdin
        name, _, rest = script.partition("\n")
        assert name.startswith("# ")  # the script's name in errors
        assert rest.startswith(render.library())
        (step,) = re.findall(r"^repair (\w+)$", script, re.MULTILINE)
        if self.cluster.read_only:
            raise AssertionError(f"{self.name} was written to")
        self.writes += 1
        self.cluster.log(f"{step} {self.name}")
        with self.cluster:
            time.sleep(self.cluster.takes)
            self.cluster.raise_for(step, self.name)
        if (step, self.name) not in self.cluster.in_vain:
            self.done.add(step)
        return self._facts()

    @contextmanager
    def changing(self) -> Iterator[None]:
        self.cluster.raise_for("changing", self.name)
        self.writes += 1
        yield

    def lock(self, owner: str) -> None:
        self.cluster.log(f"lock {self.name}")
        self.cluster.raise_for("lock", self.name)

    def close(self) -> None:
        self.closed = True


@dataclass
class Cluster:
    """Records the calls on all hosts, and raises errors. fails: (call, host) -> the error to raise."""

    done: set[str] = field(default_factory=set)
    fails: dict[tuple[str, str], Exception] = field(default_factory=dict)
    in_vain: set[tuple[str, str]] = field(default_factory=set)  # (step, host): repairs without effect
    read_only: bool = False
    bare: bool = False  # without an engine, until the step `engine` is done
    endpoints: list[dict[str, str]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    given: dict[str, bytes] = field(default_factory=dict)  # host -> standard input of its last repair
    takes: float = 0.0  # seconds for each repair
    together: int = 0
    most: int = 0
    hosts: dict[str, Host] = field(default_factory=dict)
    mutex: threading.Lock = field(default_factory=threading.Lock)

    def log(self, line: str) -> None:
        with self.mutex:
            self.calls.append(line)

    def raise_for(self, what: str, host: str) -> None:
        if error := self.fails.get((what, host)):
            raise error

    def __enter__(self) -> None:
        with self.mutex:
            self.together += 1
            self.most = max(self.most, self.together)

    def __exit__(self, *_: object) -> None:
        with self.mutex:
            self.together -= 1

    def connect(self, targets, **_: object):
        self.hosts = {target.name: Host(self, target.name) for target in targets}
        return {name: self.fails.get(("connect", name)) or host for name, host in self.hosts.items()}

    @property
    def repairs(self) -> list[str]:
        return [line for line in self.calls if line.split()[0] not in ("read", "lock")]

    @property
    def locks(self) -> list[str]:
        return [line for line in self.calls if line.startswith("lock")]


@dataclass
class Step:
    """A step that is settled on a host once its name is among the host's completed steps."""

    name: str
    cluster: Cluster
    alone: bool = False
    at_once: int = 0
    waits: bool = False
    refuses: str = ""  # the host for which `drift` raises
    held: bool = False
    action: Action = Action.RECREATE
    barrier_fails: bool = False
    barrier_repairs: bool = False
    title: str = "A step"
    reads: tuple[str, ...] = ("units",)
    patience: float = 0.0
    cure: str = "fix it"

    def drift(self, site, host):
        if host == self.refuses:
            raise StepFailed("refused", cause="not-converged", host=host)
        return (
            ()
            if self.name in site.facts[host].raw["done"].split()
            else (Drift(Kind.NETWORK, self.name, "no", "yes", self.action, held=self.held),)
        )

    def work(self, site, host, drift):
        assert drift
        return None if self.waits else Work(f"repair {self.name}", "repairing", alone=self.alone, at_once=self.at_once)

    def wait(self, site, connections):
        self.cluster.log(f"barrier {self.name}")
        if self.barrier_fails:
            raise StepFailed("no leader", cause="store-no-leader", fatal=True)

    def act(self, site, connections):
        for host in self.cluster.hosts.values() if self.barrier_repairs else ():
            host.done.add(self.name)


class Joining(Step):
    """One host begins. The others follow with input that is read from it."""

    def work(self, site, host, drift):
        if host == "node1":
            return Work(f"repair {self.name}", "beginning", alone=True)
        if self.drift(site, "node1"):
            return None
        return Work(f"repair {self.name}", "joining", stdin=PeerOutput({"node1": "tell the token"}))


@dataclass
class Late(Step):
    """A step that settles by itself, after some comparisons."""

    looks: int = 0

    def drift(self, site, host):
        self.looks += 1
        return super().drift(site, host) if self.looks < 6 else ()


@dataclass
class Gone(Step):
    """Hosts stop answering before `wait`, which fails until the hosts have dropped out."""

    gone: tuple[str, ...] = ("node2",)

    def wait(self, site, connections):
        super().wait(site, connections)
        self.cluster.fails |= {("read", name): Unreachable("the connection is lost", host=name) for name in self.gone}
        if set(self.gone) & set(site.live):
            raise StepFailed("no leader", cause="store-no-leader")


class Granting(Step):
    """A step whose `act` resolves one of the drifts on all hosts."""

    granted = False

    def drift(self, site, host):
        rights = () if self.granted else (Drift(Kind.RIGHTS, "", "none", "some", Action.WAIT, later=True),)
        return (*super().drift(site, host), *rights)

    def work(self, site, host, drift):
        return super().work(site, host, drift) if super().drift(site, host) else None

    def act(self, site, connections):
        super().act(site, connections)
        self.granted = True


@dataclass
class Acting(Step):
    """A step that changes the store through node1's connection. hasty: it already does so in `wait`."""

    hasty: bool = False

    def wait(self, site, connections):
        super().wait(site, connections)
        if self.hasty:
            self._change(connections)

    def act(self, site, connections):
        self._change(connections)

    def _change(self, connections):
        with connections["node1"].changing():
            self.cluster.log("request node1")


class Quiet:
    def __init__(self) -> None:
        self.events: list[object] = []

    def event(self, event: object) -> None:
        self.events.append(event)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def run(monkeypatch, inventory, cluster):
    """Runs `up` or `plan` without proofs. findings: what the checks return, or a function that returns it."""

    def perform(
        *steps: Step,
        findings: tuple[Problem, ...] | Callable[[Site], list[Problem]] = (),
        command: str = "up",
        ignore=(),
        servers: str = "",
        then: Callable[[Run], None] = lambda _: None,
        ask: Ask | None = None,
        limit=(),
    ) -> Run:
        monkeypatch.setattr(session, "connect_all", cluster.connect)
        monkeypatch.setattr(look.preflight, "run", findings if callable(findings) else lambda _: list(findings))
        with Run(inventory(store=servers), Quiet(), owner="me", ignore=ignore, limit=limit) as made:
            agree = (Agreement(ask, steps),) if ask else ()
            phases = {
                "up": (look.look, *agree, lock_if_any_differs(steps), *agree, converge(steps)),
                "plan": (anyway(look.look), compare(steps)),
            }
            go(made, phases[command])
            then(made)
        assert all(host.closed for name, host in cluster.hosts.items() if ("connect", name) not in cluster.fails)
        return made

    return perform


def states(made: Run, step: str) -> dict[str, str]:
    return {outcome.host: outcome.state.value for outcome in made.outcomes if outcome.step == step}


def failed(code: int, what: str = "it broke") -> CommandFailed:
    return CommandFailed(
        f"exit code {code}", Result(code, "", f"detail\nprovisioner: engine-failed\t{what}\tdo this\n"), host="x"
    )


ALL = dict.fromkeys(HOSTS, "settled")


@pytest.mark.parametrize("steps", [
    lambda c: [Step("a", c), Step("b", c)], lambda c: [Step("a", c, held=True), Step("b", c)], lambda c: [Granting("a", c, alone=True)],
    lambda c: [Step("a", c, waits=True, action=Action.WAIT, barrier_fails=True), Step("b", c)], lambda c: [Late("a", c, waits=True, patience=9.0)],
    lambda c: [Step("a", c, waits=True, action=Action.WRITE, barrier_fails=True)], lambda c: [Step("a", c, alone=True, refuses="node2")],
])  # fmt: skip
@pytest.mark.parametrize("command", ["up", "plan"])
def test_no_text_decides_how_a_run_goes(run, cluster, monkeypatch, steps, command):
    """With every text of every drift replaced, the run makes the same calls and has the same outcomes."""

    def result() -> tuple[object, ...]:
        cluster.calls, cluster.hosts = [], {}
        made = run(*steps(cluster), command=command)
        report = made.report(command)
        return (
            sorted(cluster.calls),
            states(made, "a"),
            states(made, "b"),
            len(made.errors),
            report.lost.keys(),
            report.exit_code,
        )

    before = result()
    other_words(monkeypatch)
    plain = Step.drift
    monkeypatch.setattr(Step, "drift", lambda *words: renamed(plain(*words)))
    assert result() == before


class TestSettled:
    def test_nothing_is_locked_or_written(self, run, cluster):
        cluster.done, cluster.read_only = {"a", "b"}, True
        made = run(Step("a", cluster), Step("b", cluster))
        assert sorted(cluster.calls) == [f"read {name}" for name in ("node1", *HOSTS)], (
            "one host is queried for endpoints"
        )
        assert states(made, "a") == states(made, "b") == ALL
        report = made.report("up")
        assert (report.exit_code, report.writes) == (0, 0)

    def test_if_the_store_has_endpoints_all_hosts_are_queried_for_containers(self, run, cluster):
        cluster.done, cluster.endpoints = {"a"}, [endpoint("web", "192.168.56.12")]
        made = run(Step("a", cluster))
        assert sorted(cluster.calls) == sorted(f"read {name}" for name in ("node1", *HOSTS, *HOSTS))
        assert [made.site.facts[name].http("containers").body for name in HOSTS] == [[], [], []]

    def test_the_fake_fails_on_a_write(self, run, cluster):
        cluster.read_only = True
        with pytest.raises(AssertionError, match="was written to"):
            run(Step("a", cluster))


class TestEnginesThatAreInstalled:
    def test_they_are_checked_before_more_is_changed(self, run, cluster, monkeypatch):
        unfit = Problem("engine-too-new", "node2", "its engine is too new")
        cluster.bare, checked = True, []

        def check(site):
            checked.append(["dockerd" in site.facts[name].programs for name in site.live])
            return [unfit] if all(checked[-1]) else []

        made = run(Step("engine", cluster), Step("b", cluster), findings=check)
        assert checked == [[False] * 3, [True] * 3]
        assert sorted(cluster.repairs) == [
            "b node1",
            "b node3",
            "barrier b",
            "barrier engine",
            *[f"engine {name}" for name in HOSTS],
        ]
        assert made.session.lost == {"node2": Failure("its engine is too new", "engine-too-new")}
        assert made.report("up").exit_code == 1


class TestConverging:
    def test_step_by_step_under_locks(self, run, cluster):
        made = run(Step("a", cluster), Step("b", cluster))
        assert [line.split()[0] for line in cluster.calls] == [
            *["read"] * 4, *["lock"] * 3, *["read"] * 3, *["a"] * 3, "barrier", *["b"] * 3, "barrier",
        ]  # fmt: skip
        assert set(states(made, "a").values()) == {"converged"}
        report = made.report("up")
        assert (report.exit_code, report.writes) == (0, 6)

    def test_only_what_differs(self, run, cluster):
        cluster.done = {"a"}
        run(Step("a", cluster), Step("b", cluster))
        assert sorted(cluster.repairs) == ["b node1", "b node2", "b node3", "barrier b"]

    def test_alone_is_one_after_the_other(self, run, cluster):
        run(Step("a", cluster, alone=True))
        assert cluster.repairs == ["a node1", "a node2", "a node3", "barrier a"]
        assert cluster.most == 1

    def test_what_another_host_repairs_is_awaited(self, run, cluster):
        made = run(Step("a", cluster, waits=True))
        assert cluster.repairs == ["barrier a"]
        assert set(states(made, "a").values()) == {"failed"}
        assert made.report("up").exit_code == 1

    def test_a_settled_host_is_not_waited_for(self, run, cluster, monkeypatch):
        slept: list[float] = []
        monkeypatch.setattr("time.sleep", slept.append)
        made = run(Step("a", cluster, waits=True, barrier_repairs=True, patience=60.0))
        assert (states(made, "a"), slept) == (dict.fromkeys(HOSTS, "converged"), [])

    def test_what_still_differs_afterwards_has_failed(self, run, cluster):
        cluster.in_vain = {("a", "node2")}
        made = run(Step("a", cluster), Step("b", cluster))
        assert states(made, "a") == {**dict.fromkeys(HOSTS, "converged"), "node2": "failed"}
        assert set(states(made, "b")) == {"node1", "node3"}
        (error,) = [o.error for o in made.outcomes if o.state is State.FAILED]
        assert "did not converge" in error
        assert "a: no, wanted: yes" in error

    def test_what_becomes_possible_by_another_host_s_repair_is_done_in_the_same_run(self, run, cluster):
        made = run(Joining("a", cluster))
        assert cluster.repairs[0] == "a node1"
        assert sorted(cluster.repairs[1:]) == ["a node2", "a node3", "barrier a", "token node1"]
        assert cluster.given == {"node1": b"", "node2": b"a secret\n", "node3": b"a secret\n"}
        assert set(states(made, "a").values()) == {"converged"}
        assert "a secret" not in str(made.report("up"))

    def test_a_secret_that_can_not_be_read_fails_the_hosts_that_need_it(self, run, cluster):
        cluster.fails = {("token", "node1"): failed(1)}
        made = run(Joining("a", cluster))
        assert states(made, "a") == {"node1": "converged", "node2": "failed", "node3": "failed"}

    @pytest.mark.parametrize(("at_once", "most"), [(0, 3), (1, 1), (2, 2), (9, 3)])
    def test_at_most_so_many_hosts_are_worked_on_at_once(self, run, cluster, at_once, most):
        cluster.takes = 0.1
        made = run(Step("a", cluster, at_once=at_once))
        assert cluster.most == most
        assert states(made, "a") == dict.fromkeys(HOSTS, "converged")
        waiting = [
            e.host for e in made.observer.events if isinstance(e, HostChanged) and "waiting for its turn" in e.text
        ]
        assert waiting == list(HOSTS[at_once:] if at_once else ())

    def test_a_host_that_fails_frees_its_place(self, run, cluster):
        cluster.fails = {("a", "node1"): failed(70)}
        made = run(Step("a", cluster, at_once=1))
        assert states(made, "a") == {"node1": "failed", "node2": "converged", "node3": "converged"}

    def test_where_the_first_fails_nobody_else_begins(self, run, cluster):
        cluster.fails = {("a", "node1"): TimedOut("too long", host="node1")}
        made = run(Joining("a", cluster))
        assert cluster.repairs == ["a node1"]
        assert made.errors

    def test_what_is_held_fails_at_once_and_the_host_goes_on(self, run, cluster):
        made = run(Step("a", cluster, held=True, patience=60.0), Step("b", cluster))
        assert set(states(made, "a").values()) == {"failed"}
        assert set(states(made, "b").values()) == {"converged"}
        assert "a node1" not in cluster.repairs
        assert made.report("up").exit_code == 1
        assert made.report("up").lost == {}
        assert "`provisioner up --recreate a INVENTORY`" in made.outcomes[0].error


class TestDroppingOut:
    @pytest.mark.parametrize("error", [Unreachable("no answer", host="node2"), TimedOut("too long", host="node2")])
    def test_a_host_that_is_not_reached(self, run, cluster, error):
        cluster.fails = {("connect", "node2"): error}
        made = run(Step("a", cluster))
        assert set(states(made, "a")) == {"node1", "node3"}
        assert "node2" in made.session.lost
        assert made.report("up").exit_code == 1

    def test_a_host_that_can_not_be_read(self, run, cluster):
        cluster.fails = {("read", "node2"): TimedOut("too long", host="node2")}
        assert set(states(run(Step("a", cluster)), "a")) == {"node1", "node3"}

    def test_a_repair_that_fails(self, run, cluster):
        cluster.fails = {("a", "node2"): failed(70)}
        made = run(Step("a", cluster), Step("b", cluster))
        assert states(made, "a") == {"node1": "converged", "node2": "failed", "node3": "converged"}
        assert set(states(made, "b")) == {"node1", "node3"}
        (error,) = [o.error for o in made.outcomes if o.state is State.FAILED]
        assert error.splitlines() == ["node2: it broke", "  tried: A step", "  | detail", "  next:  do this"]
        assert made.errors == []

    def test_an_error_that_the_script_did_not_report_is_unchanged(self, run, cluster):
        cluster.fails = {("a", "node2"): CommandFailed("exit code 2", Result(2, "", "sh: syntax error"), host="node2")}
        (error,) = [o.error for o in run(Step("a", cluster)).outcomes if o.state is State.FAILED]
        assert "exit code 2" in error
        assert "syntax error" in error

    def test_a_host_that_the_step_refuses_is_not_written_to(self, run, cluster):
        made = run(Step("a", cluster, refuses="node2"))
        assert "a node2" not in cluster.repairs
        assert states(made, "a") == {"node1": "converged", "node2": "failed", "node3": "converged"}

    def test_a_refused_host_among_settled_ones_writes_and_locks_nothing(self, run, cluster):
        cluster.done, cluster.read_only = {"a"}, True
        made = run(Step("a", cluster, refuses="node2"))
        assert cluster.locks == []
        assert states(made, "a") == {"node1": "settled", "node2": "failed", "node3": "settled"}
        assert made.report("up").exit_code == 1

    def test_the_quorum_is_lost(self, run, cluster):
        cluster.fails = {("a", "node1"): failed(70), ("a", "node2"): failed(70)}
        made = run(Step("a", cluster), Step("b", cluster))
        assert states(made, "b") == {}
        assert len(made.errors) == 1
        assert "missing: node1, node2 (2 of 3 servers are needed)" in made.errors[0].text
        assert made.errors[0].check == "quorum-lost"

    def test_the_quorum_is_not_there_from_the_start(self, run, cluster):
        cluster.fails = {("connect", name): Unreachable("no answer", host=name) for name in ("node1", "node2")}
        cluster.read_only = True
        made = run(Step("a", cluster))
        assert states(made, "a") == {}
        assert made.report("up").exit_code == 1

    def test_no_host_is_left_of_those_on_a_store_of_others(self, run, cluster):
        cluster.fails = {("connect", name): Unreachable("no answer", host=name) for name in HOSTS}
        made = run(Step("a", cluster), servers=", endpoints: ['192.0.2.1:8500']")
        assert [error.check for error in made.errors] == ["no-host-left"]
        assert made.session.lost == {name: Failure(f"{name}: no answer", "host-unreachable") for name in HOSTS}

    def test_hosts_that_are_no_servers_are_not_needed(self, run, cluster):
        cluster.fails = {("connect", name): Unreachable("no answer", host=name) for name in ("node2", "node3")}
        assert states(run(Step("a", cluster), servers=", servers: [node1]"), "a") == {"node1": "converged"}


class TestStopping:
    def test_a_fatal_error_changes_no_following_host(self, run, cluster):
        cluster.fails = {("a", "node1"): failed(71)}
        made = run(Step("a", cluster, alone=True), Step("b", cluster))
        assert cluster.repairs == ["a node1"]
        assert states(made, "a") == {"node1": "failed", "node2": "skipped", "node3": "skipped"}
        assert states(made, "b") == {}
        assert set(made.session.lost) == {"node1"}
        assert "the run stops here" in made.errors[0].text
        assert made.report("up").exit_code == 1

    def test_a_restart_whose_end_is_not_known_stops_too(self, run, cluster):
        cluster.fails = {("a", "node1"): TimedOut("too long", host="node1")}
        run(Step("a", cluster, alone=True))
        assert cluster.repairs == ["a node1"]

    def test_side_by_side_a_lost_host_stops_nobody(self, run, cluster):
        cluster.fails = {("a", "node1"): TimedOut("too long", host="node1")}
        made = run(Step("a", cluster))
        assert states(made, "a") == {"node1": "failed", "node2": "converged", "node3": "converged"}
        assert made.errors == []

    def test_a_restarted_host_that_does_not_come_back_stops_the_next(self, run, cluster):
        cluster.in_vain = {("a", "node1")}
        made = run(Step("a", cluster, alone=True))
        assert cluster.repairs == ["a node1"]
        assert states(made, "a") == {"node1": "failed", "node2": "skipped", "node3": "skipped"}

    def test_what_act_repairs_for_all_blocks_no_host(self, run, cluster):
        made = run(Granting("a", cluster, alone=True))
        assert cluster.repairs == ["a node1", "a node2", "a node3", "barrier a"]
        assert (states(made, "a"), made.errors) == (dict.fromkeys(HOSTS, "converged"), [])

    def test_a_restart_that_fails_on_its_own_host_only(self, run, cluster):
        cluster.fails = {("a", "node1"): failed(70)}
        made = run(Step("a", cluster, alone=True))
        assert cluster.repairs == ["a node1", "a node2", "a node3", "barrier a"]
        assert states(made, "a") == {"node1": "failed", "node2": "converged", "node3": "converged"}

    def test_an_act_is_counted_and_follows_the_wait(self, run, cluster):
        made = run(Acting("a", cluster, alone=True))
        assert cluster.repairs == ["a node1", "a node2", "a node3", "barrier a", "request node1"]
        assert (made.errors, made.report("up").writes) == ([], 4)

    def test_an_act_needs_the_lock(self, run, cluster):
        cluster.fails = {("changing", "node1"): Locked("our lock on this host is lost", host="node1")}
        made = run(Acting("a", cluster, alone=True), Step("b", cluster))
        assert "our lock on this host is lost" in made.errors[0].text
        assert cluster.repairs == ["a node1", "a node2", "a node3", "barrier a"]

    def test_an_act_is_omitted_if_the_wait_failed(self, run, cluster):
        made = run(Acting("a", cluster, barrier_fails=True))
        assert "no leader" in made.errors[0].text
        assert "request node1" not in cluster.calls

    def test_a_wait_can_only_read(self, run, cluster):
        with pytest.raises(AssertionError, match="a request that changes the store over a connection that only reads"):
            run(Acting("a", cluster, hasty=True))
        assert "request node1" not in cluster.calls

    def test_a_barrier_that_fails_ends_the_run(self, run, cluster):
        made = run(Step("a", cluster, barrier_fails=True), Step("b", cluster))
        assert "b node1" not in cluster.repairs
        assert "no leader" in made.errors[0].text

    def test_a_barrier_that_fails_blames_no_host_that_only_waits(self, run, cluster):
        made = run(Step("a", cluster, waits=True, action=Action.WAIT, barrier_fails=True))
        assert states(made, "a") == dict.fromkeys(HOSTS, "skipped")
        assert not made.session.lost
        assert len(made.errors) == 1

    def test_a_barrier_that_fails_as_a_host_is_gone_is_tried_again_without_it(self, run, cluster):
        made = run(Gone("a", cluster), Step("b", cluster))
        assert [line for line in cluster.repairs if "barrier" in line] == ["barrier a", "barrier a", "barrier b"]
        assert states(made, "a") == {"node1": "converged", "node2": "failed", "node3": "converged"}
        assert set(states(made, "b")) == {"node1", "node3"}
        assert (made.errors, set(made.session.lost)) == ([], {"node2"})
        assert made.report("up").exit_code == 1

    def test_a_host_that_leaves_is_waited_for_though_it_is_no_majority(self, run, cluster):
        """The site of its steps has no other live host."""

        def leaves(made: Run) -> None:
            made.site = replace(made.site, live=("node1",))
            made.converge(Late("late", cluster, waits=True, patience=10.0))

        assert states(run(then=leaves), "late") == {"node1": "converged"}

    def test_without_a_majority_nobody_waits_for_what_can_not_come(self, run, cluster):
        made = run(Gone("a", cluster, waits=True, action=Action.WAIT, gone=("node2", "node3"), patience=60.0))
        assert states(made, "a") == {"node1": "skipped", "node2": "failed", "node3": "failed"}
        assert "missing: node2, node3" in made.errors[0].text

    def test_without_the_first_lock_no_other_is_taken(self, run, cluster):
        cluster.fails = {("lock", "node1"): Locked("held by you", host="node1")}
        assert run(Step("a", cluster)).errors == [Failure("node1: held by you", "host-locked")]
        assert cluster.locks == ["lock node1"]

    def test_locked_by_another(self, run, cluster):
        cluster.fails = {("lock", "node3"): Locked("held by you", host="node3")}
        cluster.read_only = True
        made = run(Step("a", cluster))
        assert sorted(cluster.locks) == [f"lock {name}" for name in HOSTS]
        assert cluster.repairs == []
        assert made.errors == [Failure("node3: held by you", "host-locked")]
        assert made.report("up").exit_code == 1

    def test_bugs_are_not_swallowed(self, run, cluster):
        cluster.fails = {("a", "node2"): ZeroDivisionError()}
        with pytest.raises(ZeroDivisionError):
            run(Step("a", cluster))


class TestFindings:
    def test_of_a_host(self, run, cluster):
        made = run(Step("a", cluster), findings=(Problem("disk-full", "node2", "bad"),))
        assert set(states(made, "a")) == {"node1", "node3"}
        assert made.session.lost["node2"] == Failure("bad", "disk-full")
        assert made.report("up").exit_code == 1

    def test_of_the_whole_cluster(self, run, cluster):
        cluster.read_only = True
        made = run(Step("a", cluster), findings=(Problem("disk-full", "", "bad"),))
        assert cluster.locks == []
        assert states(made, "a") == {}
        assert made.report("up").exit_code == 1

    def test_a_warning_changes_nothing(self, run, cluster):
        made = run(Step("a", cluster), findings=(Problem("engine-open", "", "odd", warns=True),))
        assert made.report("up").exit_code == 0
        assert [f.id for f in made.findings] == ["engine-open"]

    def test_a_warning_can_be_left_out_and_a_stop_can_not(self, run, cluster):
        warning = Problem("engine-open", "", "odd", warns=True)
        stop = Problem("disk-full", "", "bad")
        made = run(Step("a", cluster), findings=(warning, stop), ignore=("engine-open", "disk-full"))
        assert [f.id for f in made.findings] == ["disk-full"]


class TestJudgedAgain:
    """The checks run again at the end, so that the report matches the last readings."""

    NOW = Problem("endpoint-left", "node1", "seen late")
    OLD = Problem("engine-open", "node2", "seen early")
    OUT = Problem("disk-full", "node3", "bad")

    def test_fixed_findings_go_new_ones_appear_and_those_of_lost_hosts_stay(self, run, cluster):
        cluster.done = {"a"}
        found = iter([[self.OLD, self.OUT], [self.NOW]])
        made = run(Step("a", cluster), findings=lambda _: next(found), then=look.judge_again)
        assert made.findings == [self.OUT, self.NOW]
        assert [line for line in cluster.calls if line.startswith("read node1")] == ["read node1"] * 4, (
            "facts and endpoints, each twice"
        )

    def test_an_ignored_warning_stays_ignored(self, run, cluster):
        cluster.done = {"a"}
        found = iter([[self.OLD], [self.OLD, self.NOW]])
        made = run(
            Step("a", cluster),
            findings=lambda _: next(found),
            ignore=("endpoint-left",),
            then=look.judge_again,
        )
        assert made.findings == [self.OLD]

    @pytest.mark.parametrize(("state", "expected"), [(State.SETTLED, []), (State.FAILED, [NOW])])
    def test_without_findings_only_a_failed_proof_makes_the_checks_run_again(self, run, cluster, state, expected):
        cluster.done = {"a"}
        found = iter([[], [self.NOW]])

        def proven(made: Run) -> None:
            made.proofs.append(ProofResult("overlay", "demo", state))
            look.judge_again(made)

        assert run(Step("a", cluster), findings=lambda _: next(found), then=proven).findings == expected


class TestPlan:
    def test_it_looks_and_never_writes(self, run, cluster):
        cluster.read_only = True
        made = run(Step("a", cluster), Step("b", cluster, refuses="node2"), command="plan")
        assert sorted(cluster.calls) == [f"read {name}" for name in ("node1", *HOSTS)]
        assert set(states(made, "a").values()) == {"drifted"}
        assert states(made, "b")["node2"] == "failed"

    def test_exit_codes(self, run, cluster):
        assert run(Step("a", cluster), command="plan").report("plan", drift_code=2).exit_code == 2
        assert run(Step("a", cluster), command="plan").report("verify").exit_code == 1
        assert run(Step("a", cluster, refuses="node1"), command="plan").report("plan", drift_code=2).exit_code == 1
        cluster.done = {"a"}
        assert run(Step("a", cluster), command="plan").report("plan", drift_code=2).exit_code == 0

    def test_a_proof_that_failed(self, run, cluster):
        cluster.done = {"a"}
        made = run(Step("a", cluster), command="plan")
        made.proofs.append(ProofResult("overlay", "demo", State.FAILED))
        assert made.report("verify").exit_code == 1
        made.proofs[:] = [ProofResult("overlay", "demo", State.SETTLED)]
        assert made.report("verify").exit_code == 0

    def test_warnings_count_if_the_user_is_strict(self, run, cluster):
        cluster.done = {"a"}
        made = run(Step("a", cluster), command="plan")
        accept_no_warning(made)
        assert made.report("verify").exit_code == 0
        made.causes = [Diagnosis((Problem("node-resting", "node2", "its node is drained", {"node": "x"}),))]
        assert made.report("verify").exit_code == 0
        accept_no_warning(made)
        report = made.report("verify")
        assert (report.exit_code, [error.text for error in report.errors]) == (
            1,
            ["--strict accepts no warning: node-resting"],
        )

    @pytest.mark.parametrize(("state", "code"), [(State.SETTLED, 0), (State.SKIPPED, 1), (State.FAILED, 1)])
    def test_it_fails_if_none_of_the_chosen_proofs_could_run(self, run, cluster, state, code):
        cluster.done = {"a"}
        made = run(Step("a", cluster), command="plan")
        made.proofs += [
            ProofResult("overlay", "demo", state),
            ProofResult("dns", "demo", State.SKIPPED, chosen=False),
        ]
        assert made.report("verify").exit_code == code


class TestALimit:
    """Only the named hosts are locked and changed. All are read."""

    def test_the_others_are_only_read(self, run, cluster):
        made = run(Step("a", cluster), limit=("node2",))
        assert cluster.repairs == ["a node2", "barrier a"]
        assert cluster.locks == ["lock node2"]
        assert {f"read {name}" for name in HOSTS} <= set(cluster.calls)
        assert states(made, "a") == {"node2": "converged"}
        assert made.report("up").limit == ("node2",)

    def test_what_all_share_is_not_changed(self, run, cluster):
        run(Acting("a", cluster), limit=("node2",))
        assert "request node1" not in cluster.calls

    def test_without_drift_on_them_nothing_is_locked(self, run, cluster):
        cluster.done = {"a"}
        run(Step("a", cluster), limit=("node2",))
        assert cluster.locks == []

    def test_a_lock_that_is_not_available_stops_it(self, run, cluster):
        cluster.fails["lock", "node2"] = Locked("held by x", cause="host-locked", host="node2")
        made = run(Step("a", cluster), limit=("node2",))
        assert (cluster.repairs, len(made.errors)) == ([], 1)

    def test_only_changes_of_the_named_hosts_are_asked_for(self, run, cluster):
        shown = []
        run(Step("a", cluster), limit=("node3",), ask=lambda planned, *, again: shown.append((again, {o.host for o in planned.outcomes})))  # fmt: skip
        assert shown == [(False, {"node3"})]


class TestAPersonIsAsked:
    """What was shown each time: whether it was shown again, and the hosts that would change."""

    @pytest.fixture
    def shown(self):
        return []

    @pytest.fixture
    def ask(self, shown):
        def agrees(planned, *, again):
            changed = [o.host for o in planned.outcomes if o.state is State.DRIFTED]
            shown.append((planned.command, again, changed))

        return agrees

    def test_once_and_nothing_more_is_read(self, run, cluster, ask, shown):
        run(Step("a", cluster))
        without, cluster.calls = sorted(cluster.calls), []
        run(Step("a", cluster), ask=ask)
        assert shown == [("plan", False, list(HOSTS))]
        assert sorted(cluster.calls) == without

    def test_before_anything_is_locked(self, run, cluster):
        def refuses(_, *, again):
            raise StepFailed(f"no {again}", cause="not-confirmed")

        with pytest.raises(StepFailed, match="no False"):
            run(Step("a", cluster), ask=refuses)
        assert (cluster.locks, cluster.repairs) == ([], [])

    @pytest.mark.parametrize("step", [
        lambda c: Step("done", c), lambda c: Step("a", c, held=True), lambda c: Step("a", c, waits=True, action=Action.WAIT),
    ])  # fmt: skip
    def test_not_if_nothing_would_be_changed(self, run, cluster, ask, shown, step):
        cluster.done = {"done"}
        run(step(cluster), ask=ask)
        assert shown == []

    def test_again_if_there_is_another_change_under_the_locks(self, run, cluster, ask, shown):
        @dataclass
        class Found(Step):
            def drift(self, site, host):
                return super().drift(site, host) if cluster.locks else ()

        run(Step("a", cluster), Found("b", cluster), ask=ask)
        assert [again for _, again, _ in shown] == [False, True]
        assert len(cluster.repairs) == 8  # with both barriers

    def test_not_again_if_less_is_left_to_change(self, run, cluster, ask, shown):
        @dataclass
        class Healed(Step):
            def drift(self, site, host):
                return () if cluster.locks else super().drift(site, host)

        run(Step("a", cluster), Healed("b", cluster), ask=ask)
        assert len(shown) == 1

    def test_nothing_is_drawn_meanwhile_and_the_answer_s_time_does_not_count(self, run, cluster):
        def slow(_, *, again):
            assert not again
            time.sleep(0.3)

        began = time.monotonic()
        made = run(Step("a", cluster), ask=slow)
        asking = [event for event in made.observer.events if isinstance(event, Asking)]
        assert asking == [Asking(), Asking(ended=True)]
        assert made.report("up").seconds <= time.monotonic() - began - 0.3


def test_events_are_in_order_and_each_phase_ends(run, cluster):
    made = run(Step("a", cluster))
    kinds = [(type(e).__name__, getattr(e, "name", "")) for e in made.observer.events]
    assert kinds[0] == ("PhaseBegan", "connect")
    began = [name for kind, name in kinds if kind == "PhaseBegan"]
    ended = [name for kind, name in kinds if kind == "PhaseEnded"]
    assert began == ended == ["connect", "a"]
