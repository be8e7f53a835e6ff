"""`provisioner causes`, docs/causes.md, and the ids that `--ignore` accepts."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from provisioner.causes import CAUSES, FAMILIES
from provisioner.cli import app
from provisioner.report import catalogue
from provisioner.runner.session import Session

PAGE = Path(__file__).parents[3] / "docs" / "causes.md"
INVENTORY = "cluster: demo\nhosts: {node1: 192.0.2.1}\nnetworks: {demo: {subnet: 10.99.0.0/24}}\n"


def run(*words):
    ended = CliRunner().invoke(app, words)
    return ended.exit_code, ended.stdout, ended.stderr


def test_the_page_is_that_of_the_catalogue():
    assert PAGE.read_text(encoding="utf-8") == catalogue.page(), (
        "docs/causes.md is stale: python -m provisioner.report.catalogue >docs/causes.md"
    )


def test_each_is_listed_on_one_line_in_its_family():
    code, out, _ = run("causes")
    assert code == 0
    listed = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    assert listed == [cause.id for family in FAMILIES for cause in family.causes]
    assert [line for line in out.splitlines() if line in {family.title for family in FAMILIES}] == [
        family.title for family in FAMILIES
    ]


@pytest.mark.parametrize("name", CAUSES)
def test_each_is_explained(name):
    code, out, _ = run("causes", name)
    assert code == 0
    said = " ".join(out.split())
    assert said.startswith(f"{name}: {CAUSES[name].title} ")
    assert CAUSES[name].why in said
    assert "{" not in said


def test_no_cure_is_told_twice():
    for section in catalogue.page().split("\n### "):
        cures = [line for line in section.splitlines() if line.startswith("- ")]
        assert len(cures) == len(set(cures)), section


def test_as_a_document():
    code, out, _ = run("causes", "--json")
    document = json.loads(out)
    assert (code, document["version"]) == (0, 1)
    assert [entry["id"] for entry in document["causes"]] == list(CAUSES)
    (one,) = json.loads(run("causes", "no-root", "--json")[1])["causes"]
    assert set(one) == {
        "id", "family", "title", "kind", "severity", "warns", "why", "cure", "variants", "explains", "fixable",
    }  # fmt: skip
    assert (one["id"], one["family"], one["severity"]) == ("no-root", "system", "stop")
    assert "USER ALL=(ALL)" in one["cure"]


def test_an_unknown_id_is_answered_with_the_nearest():
    code, out, err = run("causes", "disk-ful")
    assert (code, out) == (64, "")
    assert "did you mean `disk-full`?" in err
    assert "\x1b" not in run("causes", "\x1b[31m")[2]


@pytest.mark.parametrize(
    "command", [("up",), ("plan",), ("verify",), ("rotate", "tokens"), ("remove", "node1"), ("down", "--yes")]
)
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("engine-opne", "did you mean `engine-open`?"),
        ("nothing like it at all", "there is no cause"),
        ("disk-full", "only warnings can be hidden"),
        ("host-lives", "only warnings can be hidden"),
    ],
)
def test_what_can_not_be_ignored_is_refused_before_a_host_is_connected_to(command, name, told, tmp_path, monkeypatch):
    monkeypatch.setattr(Session, "connect", lambda *_: pytest.fail("a host was connected to"))
    file = tmp_path / "cluster.yml"
    file.write_text(INVENTORY)
    code, out, err = run(*command, str(file), "--ignore", "other-firewall", "--ignore", name)
    assert (code, out) == (64, "")
    assert told in err


def test_a_refused_id_is_told_in_the_document_too(tmp_path):
    file = tmp_path / "cluster.yml"
    file.write_text(INVENTORY)
    code, out, _ = run("up", str(file), "--json", "--ignore", "disk-full")
    assert code == 64
    assert "only warnings can be hidden" in json.loads(out)["errors"][0]


@pytest.mark.parametrize("name", [name for name, cause in CAUSES.items() if cause.ignorable])
def test_every_warning_may_be_ignored_also_one_that_stops_elsewhere(name, tmp_path):
    code, _, err = run("up", str(tmp_path / "none.yml"), "--ignore", name)
    assert code == 64
    assert "--ignore" not in err  # the inventory is what is missing
