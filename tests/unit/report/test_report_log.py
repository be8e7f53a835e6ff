"""The log has every line of the progress, each command and the report, with times, and no secret."""

from __future__ import annotations

import base64
import errno
import os
import re

import pytest

from provisioner.model import (
    CommandBegan,
    CommandEnded,
    Failure,
    HostChanged,
    Notice,
    Outcome,
    PhaseBegan,
    PhaseEnded,
    Report,
    SecretsKnown,
    State,
)
from provisioner.outfile import LogFile
from provisioner.report.log import Log

PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIplantedPlanted1\nplanted2\n-----END EC PRIVATE KEY-----"
TYPED, OF_HOST, TOKEN = "correct horse battery", "hosts-own-secret", "0d7a1b9c-1111-4222-8333-444455556666"
PLANTED = {
    "a typed password": TYPED,
    "a host's secret": OF_HOST,
    "a store's token": TOKEN,
    "a gossip key": "pUqJrVyVRj5jsiYEkMyyXIdQDOdL9mAEYkb5rPSYbpU=",
    "a join token": "SWMTKN-1-3pu6hszjas19xyp7ghgosyx9k8atbfcr8p2is99znpy26u2lkl-1awxwuwd3z9j1z3puu7rcgdbx",
    "a private key": PEM,
    "in base64": base64.b64encode(f"x{TOKEN}".encode()).decode(),
    "a URL": "http://admin:planted-url@proxy.example/",
    "a setting": "password=planted-setting",
}
NEVER = [TYPED, OF_HOST, TOKEN, *PLANTED.values(), "planted", "3pu6hszjas"]
KNOWN = SecretsKnown(frozenset({TYPED}), frozenset({f"{OF_HOST}\n", f'{{"tokens": {{"agent": "{TOKEN}"}}}}'}))
ENDED = Report("up", "c", ("a",), 1, 1.0, errors=(Failure("the run stops\n  | line 2", "no-host-left"),))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.log"


@pytest.fixture
def log(path):
    made = Log(LogFile(path, "--log"), "up", clock=lambda: 1796000000.123)
    yield made
    made.close()


def written(path):
    """The lines without the time, which each line must have."""
    lines = path.read_text().splitlines()
    assert [line for line in lines if not line.startswith("2026-11-30T00:53:20.123Z ")] == []
    return [line.partition(" ")[2] for line in lines]


def test_each_event_is_in_the_file_at_once(log, path):
    log.event(PhaseBegan("docker", "Configure", ("a", "b")))
    log.event(CommandBegan("a", "reading"))
    assert written(path)[1:] == ["docker  begins  Configure  (2 hosts)", "command  a  begins  reading"]
    log.event(CommandEnded("a", "reading", 0.5, 0))
    log.event(CommandEnded("b", "reading", 30, None, "connection lost after 30.0 seconds"))
    log.event(HostChanged("a", "docker", "installing"))
    log.event(Notice("a note"))
    log.event(PhaseEnded("docker", (Outcome("a", "docker", State.SETTLED), Outcome("b", "docker", State.FAILED, error="b: lost\nmore")), 2.0))  # fmt: skip
    assert written(path)[3:] == [
        "command  a  exit 0  0.50 s  reading",
        "command  b  connection lost after 30.0 seconds  30.0 s  reading",
        "docker  a  installing",
        "a note",
        "docker  a  settled    0.00 s",
        "docker  b  failed     0.00 s  lost",
    ]


def test_the_report_and_the_exit_code_are_the_end(log, path):
    log.end(ENDED)
    log.event(Notice("from a thread that outlives the run"))
    lines = written(path)
    assert re.fullmatch(r"provisioner \S+ begins: up", lines[0])
    assert "  | line 2" in "\n".join(lines)
    assert lines[-1] == "provisioner ends with exit code 1"


def test_a_log_without_an_end_says_so(log, path):
    log.close()
    assert written(path)[-1] == "provisioner stopped"


@pytest.mark.parametrize("what", PLANTED)
def test_no_event_and_no_report_brings_a_secret_into_it(log, path, what):
    text = f"before {PLANTED[what]} after"
    log.event(KNOWN)
    for event in (
        PhaseBegan("docker", text, ("a",)),
        CommandBegan("a", text),
        CommandEnded("a", text, 1.0, None, text),
        HostChanged("a", "docker", text),
        HostChanged("a", "docker", text, State.FAILED),
        Notice(text),
        PhaseEnded("docker", (Outcome("b", "docker", State.FAILED, error=text),)),
    ):
        log.event(event)
    failed = Outcome("b", "docker", State.FAILED, error=f"failed\n{text}")
    log.end(Report("up", "c", ("a", "b"), 1, 1.0, outcomes=(failed,), errors=(Failure(text, "no-host-left"),), lost={"a": Failure(text, "")}))  # fmt: skip
    assert [secret for secret in NEVER if secret in path.read_text()] == []
    assert path.read_text().count("(removed)") > 6


def test_a_full_disk_is_told_once_and_the_run_goes_on(log, path, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = path.read_text()
    monkeypatch.setattr(os, "write", full)
    for _ in range(3):
        log.event(Notice("a note"))
    monkeypatch.undo()
    log.event(Notice("a note"))
    log.end(ENDED)
    assert path.read_text() == before
    assert log.failed
    assert capsys.readouterr().err == f"--log {path}: can't be written: No space left on device; the log ends here\n"
