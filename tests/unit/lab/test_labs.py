"""Commands without --name take the only lab. With several, they list them. No lab runs here: labs are folders."""

from __future__ import annotations

import sys

import pytest
from typer.testing import CliRunner

from provisioner import cli, cli_lab, labs
from provisioner.errors import LabError, UsageError
from provisioner.lab import Lab, machine


@pytest.fixture
def made(monkeypatch, tmp_path):
    """Make the folders of labs, as if their creation had been killed."""
    monkeypatch.setenv("PROVISIONER_LAB_DIR", str(tmp_path))
    monkeypatch.setattr(machine, "require_root", lambda: None)

    def make(*names: str) -> None:
        for name in names:
            for host in ("node1", "node2", "node10"):
                (tmp_path / "labs" / name / "hosts" / host).mkdir(parents=True)

    return make


COMMANDS = (["inventory"], ["run", "--", "true"], ["ssh", "node1"], ["exec", "node1", "true"], ["stop", "node1"],
            ["start", "node1"], ["reset"], ["heal"], ["break", "vxlan-blocked"])  # fmt: skip


def lab(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, ["lab", *words])
    return done.exit_code, done.stderr


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_only_lab_is_taken_and_named(made, words):
    made("demo")
    assert lab(*words) == (
        1,
        "lab demo, the only one\nthe lab 'demo' is incomplete\n  next:  provisioner lab down --name demo\n",
    )


@pytest.mark.parametrize("words", [*COMMANDS, ["down"]], ids=" ".join)
def test_several_labs_are_listed_also_if_one_has_the_default_name(made, words):
    made("demo", "lab")
    text = "this machine has 2 labs: demo, lab\n  next:  choose one, for example with --name demo\n"
    assert lab(*words) == (64, text)


def test_the_default_name_is_not_worth_a_line(made):
    made("lab")
    assert lab("inventory")[1].splitlines()[0] == "the lab 'lab' is incomplete"


def test_without_any_lab_the_cure_makes_one(made):
    assert lab("inventory") == (1, "there is no lab 'lab'\n  next:  provisioner lab up --name lab\n")


def test_a_mistyped_name_is_followed_by_the_nearest(made):
    made("demo", "test")
    assert lab("heal", "--name", "dmeo")[1].startswith("there is no lab 'dmeo'; did you mean `demo`?\n")
    assert lab("down", "--name", "dmeo") == (0, "there is no lab 'dmeo'; did you mean `demo`?\n")


def test_a_lab_in_the_place_of_a_host(made):
    made("demo", "lab")
    with pytest.raises(LabError) as caught:
        Lab("lab").address("demo")
    assert caught.value.cure == "demo is a lab: put --name demo before the host"


def test_provisioner_is_this_program_where_the_path_has_none(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli_lab._runnable(["provisioner", "up"]) == [sys.executable, "-m", "provisioner", "up"]
    assert cli_lab._runnable(["ping", "x"]) == ["ping", "x"]
    (tmp_path / "provisioner").touch(mode=0o755)
    assert cli_lab._runnable(["provisioner", "up"]) == ["provisioner", "up"]


def test_only(made):
    assert Lab.only().name == "lab"
    made("demo")
    assert Lab.only().name == "demo"
    made("lab")
    with pytest.raises(UsageError):
        Lab.only()


def test_what_is_found_without_opening_anything(made, tmp_path):
    assert (labs.names(), labs.hosts("demo")) == ([], [])
    made("demo", "x")
    (tmp_path / "labs" / "$(id)").mkdir()
    (tmp_path / "labs/demo/hosts/.hidden").mkdir()
    assert (labs.names(), labs.hosts("demo")) == (["demo", "x"], ["node1", "node2", "node10"])


def test_a_key_has_an_owner(made, tmp_path):
    made("demo")
    assert labs.owner(tmp_path / "labs/demo/key") == "demo"
    assert labs.owner(tmp_path / "key") == ""
    (tmp_path / "link").symlink_to(tmp_path / "labs/demo/key")
    assert labs.owner(tmp_path / "link") == "demo"


def test_a_lab_whose_files_are_empty_is_listed_and_other_labs_with_it(made, tmp_path):
    """A full disk and a lost power leave such files."""
    made("demo", "lab")
    for name in ("topology", "settled", "hosts/node1/image"):
        (tmp_path / "labs" / "demo" / name).touch()
    assert [(each.name, each.ready) for each in Lab.all()] == [("demo", False), ("lab", False)]
    listed = CliRunner().invoke(cli.app, ["lab", "list"])
    assert listed.exit_code == 0
    assert "(incomplete: provisioner lab down --name demo)" in listed.stdout
    assert "(incomplete: provisioner lab down --name lab)" in listed.stdout


def test_a_fault_of_another_version_is_named_and_stays_recorded(made, tmp_path):
    made("lab")
    folder = tmp_path / "labs" / "lab" / "faults"
    folder.mkdir()
    (folder / "0000-of-the-future").write_text('{"fault": "of-the-future", "host": "node1", "to": "", "data": ""}')
    lab = Lab("lab")
    with pytest.raises(LabError, match="of-the-future on node1: this version of provisioner does not know it"):
        lab.heal()
    assert lab.broken() == [("of-the-future", "node1", "")]
