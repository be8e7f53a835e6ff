"""Fixes run one after the other through the one writer, each only if its cause still holds; an error does not stop the rest."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from captured import HOSTS

from provisioner import causes
from provisioner.errors import CommandFailed, Locked, ProvisionerError
from provisioner.model import Problem, Result, State
from provisioner.runner import fix as fixing
from provisioner.runner.run import Run


@dataclass
class Host:
    """A connection that records what is written, and raises `fails`."""

    name: str
    log: list[str]
    fails: ProvisionerError | None = None
    scripts: list[str] = field(default_factory=list)
    writes: int = 0

    def write(self, script: str, *, deadline: float) -> Result:
        assert deadline > 90  # as long as systemd waits for an engine
        self.log.append(f"write {self.name}")
        self.scripts.append(script)
        self.writes += 1
        if self.fails:
            raise self.fails
        return Result(0, "", "")

    def close(self) -> None:
        pass


class Quiet:
    def event(self, event: object) -> None:
        pass


def problem(cause: str, host: str, **values: object) -> Problem:
    return Problem(cause, host, "seen", {"host": host, **values})


@pytest.fixture
def cluster(monkeypatch, inventory, site):
    """Runs fixes of problems. now: what the hosts show from the first, second, ... observation on; the last one stays."""

    class Cluster:
        def __init__(self) -> None:
            self.log: list[str] = []
            self.hosts = {name: Host(name, self.log) for name in HOSTS}
            self.run = Run(inventory(), Quiet())
            self.run.site = site()
            self.run.session.connections = dict(self.hosts)

        def fix(self, *planned: Problem, now: tuple[tuple[Problem, ...], ...] = ()) -> list[tuple[str, State, str]]:
            shown = list(now or (planned,))
            seen: list[Problem] = []

            def observe(_: Run) -> bool:
                self.log.append("observe")
                seen[:] = shown.pop(0) if len(shown) > 1 else shown[0]
                return True

            monkeypatch.setattr(fixing, "observe", observe)
            monkeypatch.setattr(fixing, "read_all", lambda _: self.log.append("read"))
            monkeypatch.setattr(fixing.explain, "problems", lambda _: list(seen))
            self.run.fixes = [causes.fix(each) for each in planned]
            fixing.fix(self.run, ())
            return [(done.host, done.state, done.error or done.reason) for done in self.run.fixes]

    return Cluster()


FORWARD = [problem("ip-forward", name) for name in HOSTS]
RESTART = [problem("firewall-reload", name) for name in HOSTS]


def test_a_fix_is_one_counted_write_on_its_host(cluster):
    (done,) = cluster.fix(FORWARD[1])
    assert done == ("node2", State.CONVERGED, "")
    assert cluster.hosts["node2"].scripts == ["# fixing ip-forward\nset -e\nsysctl -w net.ipv4.ip_forward=1"]
    assert cluster.run.session.writes == 1
    assert cluster.log == ["observe", "write node2", "read"]


def test_a_cause_that_is_gone_is_left_alone(cluster):
    ((_, state, reason),) = cluster.fix(FORWARD[0], now=((FORWARD[1],),))
    assert (state, reason) == (State.SKIPPED, "it is gone")
    assert cluster.run.session.writes == 0


def test_a_rule_that_changed_meanwhile_is_left_alone(cluster):
    rule = {"tool": "iptables", "table": "filter", "at": "node2", "protocols": "4789/udp"}
    shown = replace(problem("vxlan-blocked", "node2", **rule, rule=("INPUT", "-j", "DROP")), variant="rule")
    ((_, state, reason),) = cluster.fix(
        shown, now=((replace(shown, values={**shown.values, "rule": ("INPUT", "-j", "REJECT")}),),)
    )
    assert state is State.SKIPPED
    assert "has changed" in reason
    assert cluster.run.session.writes == 0


@pytest.mark.parametrize(
    "error",
    [
        CommandFailed("exit code 1", Result(1, "", "no such rule"), host="node1"),
        Locked("the lock is lost", host="node1"),
    ],
)
def test_a_fix_that_fails_is_reported_and_the_rest_goes_on(cluster, error):
    cluster.hosts["node1"].fails = error
    first, second = cluster.fix(*FORWARD[:2])
    assert first == ("node1", State.FAILED, str(error))
    assert second == ("node2", State.CONVERGED, "")


def test_a_host_that_dropped_out_is_not_written_to(cluster):
    cluster.run.site = cluster.run.site.without(frozenset({"node1"}))
    first, second = cluster.fix(*FORWARD[:2])
    assert first == ("node1", State.SKIPPED, "the host dropped out")
    assert second[1] is State.CONVERGED


def test_after_a_restart_the_hosts_are_observed_again(cluster):
    first, second = cluster.fix(RESTART[0], FORWARD[0], now=((RESTART[0], FORWARD[0]), ()))
    assert (first[1], second[1:]) == (State.CONVERGED, (State.SKIPPED, "it is gone"))
    assert cluster.log[:4] == ["observe", "write node1", "read", "observe"]


def test_engines_restart_one_at_a_time_until_one_fails(cluster):
    cluster.hosts["node2"].fails = CommandFailed("exit code 1", Result(1, "", "it does not start"), host="node2")
    ended = cluster.fix(*RESTART, FORWARD[0], now=((*RESTART, FORWARD[0]),))
    assert [state for _, state, _ in ended] == [State.CONVERGED, State.FAILED, State.SKIPPED, State.CONVERGED]
    assert "has failed" in ended[2][2]


def test_what_a_person_declined_is_not_run(cluster):
    cluster.fix(FORWARD[0], now=((),))
    declined = replace(causes.fix(FORWARD[0]), state=State.SKIPPED, reason="not confirmed")
    cluster.run.fixes = [declined]
    fixing.fix(cluster.run, ())
    assert cluster.run.fixes == [declined]
    assert cluster.run.session.writes == 0
