"""`provisioner up` asks a person on a terminal before it changes anything. Without a terminal it never waits."""

from __future__ import annotations

import io
import json

import pytest
from typer.testing import CliRunner

from provisioner import cli
from provisioner.model import Action, Drift, Kind, Outcome, Report, State

DRIFT = Drift(Kind.FILE, "/etc/provisioner/firewall.sh", "there", "other", Action.WRITE)
PLANNED = Report("plan", "lab", ("node1",), 2, 0.0, outcomes=(Outcome("node1", "firewall", State.DRIFTED, (DRIFT,)),))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def up(monkeypatch, tmp_path):
    """Run `up`, whose phases ask once if they may. answer: typed on a terminal; None: without a terminal."""
    (tmp_path / "cluster.yml").write_text(
        "cluster: lab\nhosts: {node1: {address: 192.168.56.11}}\nstore: {kind: consul}\n"
    )
    asks = []
    monkeypatch.setattr("provisioner.workflows.up.phases", lambda ask=None: asks.append(ask) or ())

    def run(_path, command, workflow, _options, **_):
        workflow(None)
        for again in (False, True) if asks[-1] else ():
            asks[-1](PLANNED, again=again)
        return Report(command, "lab", ("node1",), 0, 0.0, writes=1)

    monkeypatch.setattr(cli, "_report", run)

    def perform(*options, answer: str | None):
        for name, text in (("stdin", answer or ""), ("stderr", "")):
            monkeypatch.setattr(cli.sys, name, io.StringIO(text) if answer is None else Terminal(text))
        out = io.StringIO()
        monkeypatch.setattr(cli.sys, "stdout", out)
        code = cli.app(["up", str(tmp_path / "cluster.yml"), *options], standalone_mode=False)
        return code, out.getvalue(), cli.sys.stderr.getvalue()

    return perform


@pytest.mark.parametrize(("options", "answer"), [((), None), (("--yes",), None), (("--yes",), "n\n")])
def test_nobody_is_asked(up, options, answer):
    code, out, err = up(*options, answer=answer)
    assert (code, "[y/N]" in err, "firewall.sh" in out) == (0, False, False)


def test_a_person_sees_the_changes_and_agrees_twice(up):
    code, out, err = up(answer="y\nyes\n")
    assert (code, out.count("firewall.sh"), err.count("Make these changes? [y/N]")) == (0, 2, 2)
    assert err.count("The hosts have changed meanwhile.") == 1


@pytest.mark.parametrize(("answer", "asked"), [("n\n", 1), ("", 1), ("\n", 1), ("y\nno\n", 2)])
def test_without_a_yes_it_ends_and_says_so(up, answer, asked):
    code, _, err = up(answer=answer)
    assert (code, err.count("[y/N]")) == (1, asked)
    assert "not confirmed; nothing was changed" in err


def test_with_json_the_changes_are_beside_the_document(up):
    code, out, err = up("--json", answer="y\ny\n")
    assert (code, json.loads(out)["command"], err.count("firewall.sh")) == (0, "up", 2)
    code, out, _ = up("--json", answer="n\n")
    assert (code, json.loads(out)["failures"][0]["check"]) == (1, "not-confirmed")


@pytest.mark.parametrize(
    ("words", "instead"),
    [(["up", "x.yml", "--dry-run"], "provisioner plan INVENTORY"), (["up", "--check"], "provisioner plan INVENTORY"),
     (["down", "x.yml", "--dry-run"], "add --plan"), (["remove", "--dry-run"], "add --plan")],
)  # fmt: skip
def test_who_looks_for_a_dry_run_is_told_where_it_is(words, instead):
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code != 0
    assert instead in " ".join(done.stderr.split())
