"""A run that could not start, or was interrupted, still writes its JSON document."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from provisioner import cli
from provisioner.runner.session import Session

SOUND = "cluster: c\nssh: {host_keys: accept-new}\nhosts: {a: {address: 192.0.2.1}}\nstore: {kind: consul}\nnetworks: {demo: {subnet: 10.99.0.0/24}}\n"


@pytest.mark.parametrize(
    "words",
    [["up"], ["plan"], ["verify"], ["status"], ["rotate", "tokens"], ["remove", "a"], ["remove", "--plan", "a"]],
)
def test_an_inventory_that_can_t_be_used(tmp_path, words):
    done = CliRunner().invoke(cli.app, [*words, str(tmp_path / "none.yml"), "--json"])
    document = json.loads(done.stdout)
    assert (done.exit_code, document["exit_code"], document["version"]) == (64, 64, 1)
    assert document["command"] == (
        "plan" if "--plan" in words else " ".join(words[:2] if words[0] == "rotate" else words[:1])
    )
    assert "none.yml: there is no such file" in document["errors"][0]
    assert "none.yml: there is no such file" in done.stderr
    assert document["verdict"].startswith("not started")
    assert not document["proven"]


def test_a_network_that_the_inventory_does_not_know(tmp_path):
    (tmp_path / "i.yml").write_text(SOUND)
    done = CliRunner().invoke(cli.app, ["up", str(tmp_path / "i.yml"), "--json", "--recreate", "demi"])
    assert (done.exit_code, json.loads(done.stdout)["exit_code"]) == (64, 64)
    assert "the inventory has no network of this name" in done.stderr
    assert "demo" in done.stderr


@pytest.mark.parametrize("json_", [True, False])
def test_stopped_with_ctrl_c(tmp_path, monkeypatch, json_):
    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "connect", stop)
    (tmp_path / "i.yml").write_text(SOUND)
    done = CliRunner().invoke(cli.app, ["up", str(tmp_path / "i.yml"), *(["--json"] if json_ else [])])
    assert done.exit_code == 130
    assert "Run the command again to continue" in done.stderr
    assert json.loads(done.stdout)["verdict"].startswith("interrupted") if json_ else done.stdout == ""


def test_a_bug_is_not_taken_for_the_end_of_a_terminal_s_input(tmp_path, monkeypatch):
    """For an EOFError, click would exit with code 130, without a document."""

    def ended(_):
        raise EOFError

    monkeypatch.setattr(Session, "connect", ended)
    (tmp_path / "i.yml").write_text(SOUND)
    done = CliRunner().invoke(cli.app, ["up", str(tmp_path / "i.yml"), "--json"])
    assert (done.exit_code, type(done.exception)) == (1, RuntimeError)
