"""`provisioner down` asks for confirmation, on a terminal only. Without a yes, it changes nothing."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from provisioner import cli
from provisioner.model import Action, Drift, Kind, Outcome, Problem, Report, State

if TYPE_CHECKING:
    from provisioner.workflows.down import Down

DRIFT = Drift(Kind.FILE, "/etc/provisioner/firewall.sh", "there", "gone", Action.REMOVE)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "cluster.yml"
    file.write_text("cluster: lab\nhosts:\n  node1: {address: 192.168.56.11}\nstore: {kind: consul}\n")
    return str(file)


@pytest.fixture
def ran(monkeypatch):
    """Record commands instead of running them. Return the commands, and a list whose only item is the host's state."""
    commands: list[str] = []
    states = [State.DRIFTED]

    def run(_path, command, _workflow, _access, **_):
        commands.append(command)
        state = states[0] if command == "plan" else State.CONVERGED
        drifts = (DRIFT,) if state is not State.SETTLED else ()
        outcomes = (Outcome("node1", "leave", state, drifts),)
        return Report(
            command=command, cluster="lab", hosts=("node1",), exit_code=0, seconds=0.0, writes=1, outcomes=outcomes
        )

    monkeypatch.setattr(cli, "_report", run)
    return commands, states


@pytest.fixture
def candidates(monkeypatch):
    """Simulate a host of an earlier version, which left no record. Return the `Down` of each run."""
    asked: list[Down] = []

    def run(_path, command, workflow, _access, **_):
        workflow(None)
        left = Problem("unrecorded", "node1", "an earlier version may have created the package consul")
        findings = () if asked[-1].unrecorded else (left,)
        outcomes = (Outcome("node1", "leave", State.DRIFTED, (DRIFT,)),)
        return Report(command=command, cluster="lab", hosts=("node1",), exit_code=0, seconds=0.0, outcomes=outcomes, findings=findings)  # fmt: skip

    monkeypatch.setattr(cli, "_report", run)
    for name in ("plan", "phases"):
        monkeypatch.setattr(f"provisioner.workflows.down.{name}", asked.append)
    return asked


def down(monkeypatch, path, *options, answer: str | None):
    """Run `down` with this answer on a terminal. None: without a terminal."""
    for name, text in (("stdin", answer or ""), ("stderr", "")):
        monkeypatch.setattr(cli.sys, name, io.StringIO(text) if answer is None else Terminal(text))
    out = io.StringIO()
    monkeypatch.setattr(cli.sys, "stdout", out)
    code = cli.app(["down", path, *options], standalone_mode=False)
    return code, out.getvalue(), cli.sys.stderr.getvalue()


def test_without_a_terminal_it_refuses_and_says_what_to_add(path, ran):
    done = CliRunner().invoke(cli.app, ["down", path])
    assert done.exit_code == 64
    assert "--yes" in done.stderr
    assert ran[0] == []


def test_without_a_terminal_it_owes_a_document_with_json(path, ran):
    done = CliRunner().invoke(cli.app, ["down", path, "--json"])
    assert json.loads(done.stdout)["exit_code"] == 64
    assert ran[0] == []


@pytest.mark.parametrize("options", [["--yes"], ["--plan"]])
def test_nobody_is_asked(path, ran, options):
    CliRunner().invoke(cli.app, ["down", path, *options])
    assert ran[0] == ["plan" if options == ["--plan"] else "down"]


@pytest.mark.parametrize("answer", ["y\n", "YES\n"])
def test_a_person_agrees(monkeypatch, path, ran, answer):
    code, out, err = down(monkeypatch, path, answer=answer)
    assert (code, ran[0]) == (0, ["plan", "down"])
    assert "firewall.sh" in out
    assert "[y/N]" in err


def test_nobody_is_asked_about_what_a_finding_prevents(monkeypatch, path, ran):
    plan, found = cli._report, Problem("containers-attached", "", "containers of node1 are on demo", variant="down")
    monkeypatch.setattr(
        cli, "_report", lambda *of, **more: replace(plan(*of, **more), findings=(found,), exit_code=1, writes=0)
    )
    code, out, err = down(monkeypatch, path, answer="y\n")
    assert (code, ran[0], "[y/N]" in err) == (1, ["plan"], False)
    assert "containers of node1 are on demo" in out
    assert "stopped: 1 finding to fix first; nothing was changed" in out


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "maybe\n"])
def test_a_person_does_not_agree(monkeypatch, path, ran, answer):
    code, _, err = down(monkeypatch, path, answer=answer)
    assert (code, ran[0]) == (1, ["plan"])
    assert "nothing was changed" in err


def test_nobody_is_asked_where_nothing_is_left_to_do(monkeypatch, path, ran):
    ran[1][0] = State.SETTLED
    _, _, err = down(monkeypatch, path, answer="n\n")
    assert ran[0] == ["plan", "down"]
    assert "[y/N]" not in err


def test_with_json_the_plan_is_shown_beside_the_document(monkeypatch, path, ran):
    _, out, err = down(monkeypatch, path, "--json", answer="y\n")
    assert json.loads(out)["command"] == "down"
    assert "firewall.sh" in err


@pytest.mark.parametrize(
    ("typed", "ends"),
    [("y\ny\n", (2, True)), ("y\nn\n", (2, False)), ("y\n", (2, False)), ("--unrecorded y\n", (1, True)),
     ("--yes ", (0, False)), ("--yes --unrecorded ", (0, True))],
)  # fmt: skip
def test_what_no_record_tells_of_is_asked_for_separately(monkeypatch, path, candidates, typed, ends):
    """ends: the number of questions, and whether what has no record is removed."""
    *options, answer = typed.split(" ")
    code, _, err = down(monkeypatch, path, *options, answer=answer)
    assert (code, (err.count("[y/N]"), candidates[-1].unrecorded)) == (0, ends)
    assert ("node1: an earlier version may have created the package consul" in err) == (ends[0] > 1)


def test_who_does_not_agree_is_not_asked_for_more(monkeypatch, path, candidates):
    code, _, err = down(monkeypatch, path, answer="n\ny\n")
    assert (code, err.count("[y/N]"), len(candidates)) == (1, 1, 1)
