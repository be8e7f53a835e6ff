"""`--junit` and `--html` of `doctor`, `verify` and `up`: the files are opened before the run, and written whatever its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from provisioner import cli
from provisioner.model import Report
from provisioner.outfile import LogFile
from provisioner.runner.session import Session

SOUND = "cluster: c\nssh: {host_keys: accept-new}\nhosts: {a: {address: 192.0.2.1}}\nstore: {kind: consul}\nnetworks: {demo: {subnet: 10.99.0.0/24}}\n"
ENDED = Report("verify", "c", ("a",), 0, 1.0, looked_at=("routes: fine",))
PROVISIONER = Path(sys.executable).with_name("provisioner")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def inventory(tmp_path):
    (tmp_path / "c.yml").write_text(SOUND)
    return str(tmp_path / "c.yml")


@pytest.fixture
def ran(monkeypatch):
    """The commands that ran. Nothing is contacted, and `ENDED` is their report."""
    runs = []

    def run(_, command, *_more, **_options):
        runs.append(command)
        return replace(ENDED, command=command)

    monkeypatch.setattr(cli, "_report", run)
    return runs


@pytest.mark.parametrize("command", ["verify", "doctor", "up"])
def test_both_files_come_from_the_document(tmp_path, inventory, ran, command):
    junit, html = tmp_path / "r.xml", tmp_path / "r.html"
    done = CliRunner().invoke(cli.app, [command, inventory, "--junit", str(junit), "--html", str(html), "--json"])
    assert (done.exit_code, ran) == (0, [command])
    document = json.loads(done.stdout)
    assert ET.fromstring(junit.read_text()).get("name") == f"provisioner {command}"
    assert document["verdict"] in html.read_text()
    assert names(tmp_path) == ["c.yml", "r.html", "r.xml"]


@pytest.mark.parametrize("command", ["verify", "doctor", "up"])
def test_nothing_runs_if_a_file_can_t_be_written(tmp_path, inventory, ran, command):
    done = CliRunner().invoke(cli.app, [command, inventory, "--html", str(tmp_path / "none" / "r.html"), "--json"])
    assert (done.exit_code, ran) == (64, [])
    assert "none/r.html: can't be written: No such file or directory" in done.stderr
    assert json.loads(done.stdout)["failures"][0]["check"] == "usage"


def test_one_file_for_both_is_refused(tmp_path, inventory, ran):
    (tmp_path / "d").mkdir()
    words = ["--junit", str(tmp_path / "r"), "--html", str(tmp_path / "d" / ".." / "r")]
    done = CliRunner().invoke(cli.app, ["verify", inventory, *words])
    assert (done.exit_code, ran) == (64, [])
    assert "another option names the same file" in done.stderr


def test_a_run_that_could_not_begin_has_a_report_too(tmp_path):
    junit = tmp_path / "r.xml"
    done = CliRunner().invoke(cli.app, ["verify", str(tmp_path / "none.yml"), "--junit", str(junit)])
    root = ET.fromstring(junit.read_text())
    assert (done.exit_code, root.get("failures"), root.get("errors")) == (64, "1", "1")
    assert "there is no such file" in root.find(".//error").text


def test_so_has_one_that_was_stopped(tmp_path, inventory, monkeypatch):
    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "connect", stop)
    html = tmp_path / "r.html"
    assert CliRunner().invoke(cli.app, ["doctor", inventory, "--html", str(html)]).exit_code == 130
    assert "interrupted: run it again to continue" in html.read_text()


def test_a_file_that_can_t_be_finished_makes_exit_code_1(tmp_path, inventory, ran, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = CliRunner().invoke(cli.app, ["verify", inventory, "--html", str(tmp_path / "r.html")])
    assert (done.exit_code, ran) == (1, ["verify"])
    assert "r.html: can't be written: No space left on device; the file is left as it was" in done.stderr
    assert names(tmp_path) == ["c.yml"]


@pytest.mark.parametrize("option", ["--html", "--log"])
def test_a_list_of_proofs_is_no_report(tmp_path, inventory, option):
    done = CliRunner().invoke(cli.app, ["verify", inventory, "--list", option, str(tmp_path / "r.html")])
    assert done.exit_code
    assert names(tmp_path) == ["c.yml"]


def test_a_real_limit_is_found_before_the_run(tmp_path, inventory):
    """With room for 64 kB only, no host is tried: that would take seconds."""
    command = f"ulimit -f 64; exec '{PROVISIONER}' doctor '{inventory}' --html '{tmp_path}/r.html'"
    ended = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (64, "")
    assert "r.html: can't be written: File too large" in ended.stderr
    assert names(tmp_path) == ["c.yml"]


LOGGING = [
    ["up"], ["plan"], ["verify"], ["doctor"], ["status"], ["remove", "a"], ["down", "--yes"], ["rotate", "tokens"],
]  # fmt: skip


@pytest.mark.parametrize("words", LOGGING, ids=" ".join)
def test_every_command_writes_a_log_and_continues_it(tmp_path, inventory, ran, words):
    path = tmp_path / "run.log"
    for _ in range(2):
        assert CliRunner().invoke(cli.app, [*words, inventory, "--log", str(path), "-vv"]).exit_code == 0
    lines = [line.partition(" ")[2] for line in path.read_text().splitlines()]
    assert [line.rpartition(": ")[2].split()[0] for line in lines if " begins: " in line] == [words[0]] * 2
    assert ran
    assert lines.count("provisioner ends with exit code 0") == 2
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_log_of_a_run_that_did_not_begin_or_was_stopped(tmp_path, inventory, monkeypatch):
    def stop(_):
        raise KeyboardInterrupt

    path = tmp_path / "run.log"
    done = CliRunner().invoke(cli.app, ["up", str(tmp_path / "none.yml"), "--log", str(path)])
    assert (done.exit_code, "there is no such file" in path.read_text()) == (64, True)
    monkeypatch.setattr(Session, "connect", stop)
    done = CliRunner().invoke(cli.app, ["up", inventory, "--log", str(path)])
    assert (done.exit_code, "stopped; scripts that already run" in path.read_text()) == (130, True)
    assert path.read_text().endswith("Z provisioner ends with exit code 130\n")


def test_a_log_that_can_t_be_written_any_more_is_no_success(tmp_path, inventory):
    """The limit is reached by the first lines. No host is there, so the run fails itself; `status` of no host would not."""
    path = tmp_path / "run.log"
    command = f"ulimit -f 0; exec '{PROVISIONER}' verify '{inventory}' --log '{path}'"
    ended = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, path.read_text()) == (1, "")
    assert ended.stderr.count("run.log: can't be written: File too large; the log ends here") == 1
    assert "connect" in ended.stderr


def test_a_full_disk_changes_the_exit_code_of_a_success(tmp_path, inventory, ran, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LogFile, "write", full)
    done = CliRunner().invoke(cli.app, ["verify", inventory, "--log", str(tmp_path / "run.log")])
    assert (done.exit_code, ran) == (1, ["verify"])
    assert done.stderr.count("run.log: can't be written: No space left on device") == 1


def test_a_log_is_refused_before_the_run(tmp_path, inventory, ran):
    for path in (inventory, str(tmp_path / "c.yml" / "x")):
        done = CliRunner().invoke(cli.app, ["verify", inventory, "--log", path])
        assert (done.exit_code, ran, "--log" in done.stderr) == (64, [], True)
    done = CliRunner().invoke(cli.app, ["verify", inventory, "--log", f"{tmp_path}/x", "--html", f"{tmp_path}/x"])
    assert (done.exit_code, ran, "another option names the same file" in done.stderr) == (64, [], True)
    assert (tmp_path / "c.yml").read_text() == SOUND
