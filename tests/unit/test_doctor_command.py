"""`provisioner doctor --fix` asks a person on a terminal for each cure; without an answer nothing is changed."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from provisioner import cli
from provisioner.model import Diagnosis, Fix, Problem, Report, State
from provisioner.workflows import doctor as of_doctor

PROBLEMS = [Problem("ip-forward", name, "it is 0", {"host": name}) for name in ("node1", "node2")]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "cluster.yml"
    file.write_text(
        "cluster: lab\nhosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 192.168.56.12}\nstore: {kind: consul}\n"
    )
    return str(file)


@pytest.fixture
def ran(monkeypatch):
    """The states of the fixes of each run, instead of running it, and the causes that each run finds, which a test can change."""
    runs: list[list[State]] = []
    found = [[Diagnosis((problem,)) for problem in PROBLEMS]]
    fixes: list[tuple[Fix, ...]] = [()]

    def fixing(_inventory, _choice, before):
        runs[-1] = [fix.state for fix in before.fixes]
        done = (replace(fix, state=State.CONVERGED) if fix.state is State.PENDING else fix for fix in before.fixes)
        fixes.append(tuple(done))
        return ()

    def run(_path, command, workflow, **_):
        runs.append([])
        workflow(None)
        causes = tuple(found[len(runs) - 1]) if len(runs) <= len(found) else ()
        code = int(bool(causes))
        return Report(command, "lab", ("node1", "node2"), code, 1.0, writes=1, causes=causes, fixes=fixes[-1])

    monkeypatch.setattr(of_doctor, "fixing", fixing)
    monkeypatch.setattr(of_doctor, "phases", lambda *_, **__: ())
    monkeypatch.setattr(cli, "_report", run)
    return runs, found


def doctor(monkeypatch, path, *options, answers: str | None):
    """As typed on a terminal; with None there is no terminal."""
    for name, text in (("stdin", answers or ""), ("stderr", "")):
        monkeypatch.setattr(cli.sys, name, io.StringIO(text) if answers is None else Terminal(text))
    out = io.StringIO()
    monkeypatch.setattr(cli.sys, "stdout", out)
    code = cli.app(["doctor", path, *options], standalone_mode=False)
    return code, out.getvalue(), cli.sys.stderr.getvalue()


def test_without_a_terminal_it_refuses_and_says_what_to_add(path, ran):
    done = CliRunner().invoke(cli.app, ["doctor", path, "--fix"])
    assert done.exit_code == 64
    assert "--yes" in done.stderr
    assert "no terminal" in done.stderr
    assert ran[0] == []


def test_without_a_terminal_it_owes_a_document_with_json(path, ran):
    done = CliRunner().invoke(cli.app, ["doctor", path, "--fix", "--json"])
    assert json.loads(done.stdout)["exit_code"] == 64
    assert ran[0] == []


def test_yes_needs_fix(path, ran):
    assert CliRunner().invoke(cli.app, ["doctor", path, "--yes"]).exit_code != 0
    assert ran[0] == []


def test_nobody_is_asked_without_fix_or_with_yes(path, ran):
    assert CliRunner().invoke(cli.app, ["doctor", path]).exit_code == 1
    assert ran[0] == [[]]
    ran[0].clear()
    assert CliRunner().invoke(cli.app, ["doctor", path, "--fix", "--yes"]).exit_code == 0
    assert ran[0] == [[], [State.PENDING, State.PENDING]]


@pytest.mark.parametrize(
    ("answers", "states"),
    [
        ("y\nyes\n", [State.PENDING, State.PENDING]),
        ("n\ny\n", [State.SKIPPED, State.PENDING]),
        ("Y\n", [State.PENDING, State.SKIPPED]),  # the input ends
    ],
)
def test_each_cure_is_asked_for(monkeypatch, path, ran, answers, states):
    code, out, err = doctor(monkeypatch, path, "--fix", answers=answers)
    assert (code, ran[0]) == (0, [[], states])
    assert "the host does not forward packets" in out
    assert err.count("[y/N]") == 2
    assert "sysctl -w net.ipv4.ip_forward=1\nRun this on node1?" in err


@pytest.mark.parametrize("answers", ["n\nn\n", "", "maybe\n\n"])
def test_where_no_cure_is_wanted_nothing_runs(monkeypatch, path, ran, answers):
    code, out, err = doctor(monkeypatch, path, "--fix", answers=answers)
    assert (code, ran[0]) == (1, [[]])
    assert out.count("2 causes found") == 1
    assert err.endswith("[y/N] nothing was changed\n")


def test_where_no_cure_is_wanted_the_document_says_so(monkeypatch, path, ran):
    code, out, _ = doctor(monkeypatch, path, "--fix", "--json", answers="n\nn\n")
    assert [fix["reason"] for fix in json.loads(out)["fixes"]] == ["not confirmed"] * 2
    assert code == 1


@pytest.mark.parametrize(
    ("left", "looks"),
    [
        ([["names-unresolved"], []], 1),
        ([["names-unresolved", "overlay-blocked"], ["names-unresolved"], []], 2),
        ([["names-unresolved"]] * 9, 3),
        ([["names-unresolved", "packet-loss"], []], 0),
    ],
)
def test_what_may_only_need_time_is_looked_at_again_after_a_cure(monkeypatch, path, ran, left, looks):
    slept = []
    monkeypatch.setattr(cli.time, "sleep", slept.append)
    ran[1][1:] = [[Diagnosis((Problem(name, "node1", "seen", network="demo"),)) for name in names] for names in left]
    done = CliRunner().invoke(cli.app, ["doctor", path, "--fix", "--yes", "--json"])
    assert len(slept) == looks
    assert [cause["id"] for cause in json.loads(done.stdout)["causes"]] == left[looks]
    assert {fix["state"] for fix in json.loads(done.stdout)["fixes"]} == {"converged"}


def test_nobody_is_asked_where_there_is_no_cure(monkeypatch, path, ran):
    ran[1][0].clear()
    _, out, err = doctor(monkeypatch, path, "--fix", answers="y\n")
    assert ran[0] == [[]]
    assert "[y/N]" not in err
    assert out.count("no cause found") == 1


def test_with_json_the_causes_are_shown_beside_the_document(monkeypatch, path, ran):
    _, out, err = doctor(monkeypatch, path, "--fix", "--json", answers="y\ny\n")
    assert json.loads(out)["exit_code"] == 0
    assert "the host does not forward packets" in err


def test_a_cause_that_another_one_hid_is_offered_afterwards(monkeypatch, path, ran):
    ran[1][:] = [[Diagnosis((PROBLEMS[0],))], [Diagnosis((PROBLEMS[1],))]]
    _, out, err = doctor(monkeypatch, path, "--fix", "--json", answers="y\ny\n")
    assert ran[0] == [[], [State.PENDING], [State.CONVERGED, State.PENDING]]
    assert "Run this on node2?" in err
    assert (json.loads(out)["writes"], json.loads(out)["seconds"]) == (3, 3.0)


def test_a_cure_is_offered_once(monkeypatch, path, ran):
    ran[1][:] = [[Diagnosis((PROBLEMS[0],))]] * 3  # it does not help
    code, _, err = doctor(monkeypatch, path, "--fix", answers="y\ny\n")
    assert (code, ran[0]) == (1, [[], [State.PENDING]])
    assert err.count("[y/N]") == 1
