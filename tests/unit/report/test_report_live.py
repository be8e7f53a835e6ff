"""The live view on a real pseudo terminal, whose output is interpreted like a terminal does."""

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import threading
import time

import pytest
from report_samples import names

from provisioner.model import HostChanged, Outcome, PhaseBegan, PhaseEnded, State
from provisioner.report.board import Board
from provisioner.report.live import LiveObserver

BEGIN = """
import sys, time
from provisioner.model import *
from provisioner import report
hosts = tuple(f"node{number}" for number in range(1, %(hosts)d + 1))
with report.observer() as seen:
    seen.event(PhaseBegan("connect", "Reach every host", hosts))
    seen.event(PhaseEnded("connect", tuple(Outcome(host, "connect", State.SETTLED) for host in hosts), 0.3))
    seen.event(PhaseBegan("docker", "Install the engine", hosts))
    for host in hosts[:2]:
        seen.event(HostChanged(host, "docker", "installing [red]docker.io\\x1b[2J"))
    for host in hosts[2:]:
        seen.event(HostChanged(host, "docker", "", State.SETTLED))
    time.sleep(0.4)
    print("ready", end="", flush=True)
    sys.stdin.readline()
"""
FAIL = """
    error = "node1: no space\\n  tried: x"
    states = [Outcome("node1", "docker", State.FAILED, error=error), *(Outcome(h, "docker", State.CONVERGED) for h in hosts[1:])]
    seen.event(PhaseEnded("docker", tuple(states), 1.5))
"""
CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


class Screen:
    """The part of a terminal that the live view uses. It fails on unknown sequences, and never scrolls."""

    def __init__(self):
        self.lines = [""]
        self.row = self.column = 0
        self.cursor = True
        self.colours = False

    def feed(self, text):
        at = 0
        for match in CONTROL.finditer(text):
            assert match.start() == at, f"unknown: {text[at : at + 20]!r}"
            at = match.end()
            if match[3] == "\r":
                self.column = 0
            elif match[3] == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif match[4]:
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + match[4] + line[self.column + len(match[4]) :]
                self.column += len(match[4])
            else:
                self.control(match[1], match[2])
        return self

    def control(self, argument, letter):
        if letter == "A":
            self.row = max(self.row - int(argument or 1), 0)
        elif (argument, letter) == ("2", "K"):
            self.lines[self.row] = ""
        elif letter == "m":
            self.colours = True
        else:
            assert argument == "?25"
            assert letter in "hl"
            self.cursor = letter == "h"

    def text(self):
        return "\n".join(line.rstrip() for line in self.lines).rstrip("\n")


class Session:
    """A program with its own terminal: standard error is the terminal, standard output a pipe."""

    def __init__(self, rest, *, hosts=3, size=(24, 80), **environment):
        self.master, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        given = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "", **environment}
        kept = {
            key: value
            for key, value in os.environ.items()
            if key not in ("NO_COLOR", "COLUMNS", "LINES", "PYTHONIOENCODING")
        }
        code = textwrap.dedent(BEGIN % {"hosts": hosts}) + rest
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stderr=terminal,
            stdout=subprocess.PIPE,
            env={**kept, **given},
            start_new_session=True,
        )
        os.close(terminal)
        os.set_blocking(self.master, False)
        self.raw = b""

    def until_ready(self):
        """Read until the program is ready, and then until a whole frame has arrived (there are 6 per second)."""
        assert self.process.stdout.read(5) == b"ready"
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 0.08:
            quiet_since = time.monotonic() if self._read() else quiet_since
            time.sleep(0.01)
        return self.raw.decode()

    def to_the_end(self):
        """Let the program continue, and read until it ends."""
        end = time.monotonic() + 20
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        while self.process.poll() is None:
            self._read()
            assert time.monotonic() < end
            time.sleep(0.01)
        self._read()
        self.process.stdout.close()
        os.close(self.master)
        return self.raw.decode()

    def _read(self):
        before = len(self.raw)
        with contextlib.suppress(BlockingIOError, OSError):  # Linux reports a terminal's end as an error
            while data := os.read(self.master, 65536):
                self.raw += data
        return len(self.raw) > before


def drawn(rest, **options):
    """Return the screen in the middle of a run and at its end."""
    session = Session(rest, **options)
    return Screen().feed(session.until_ready()), Screen().feed(session.to_the_end())


def test_rows_are_shown_while_it_runs_and_gone_at_the_end():
    during, after = drawn(FAIL)
    lines = during.text().splitlines()
    assert lines[0] == "✓ connect         3 hosts    0.3 s"
    assert re.fullmatch(r"2\. docker: Install the engine  1/3  \d+\.\d s", lines[1])
    assert re.fullmatch(r"[⠁-⣿] node1  docker  installing \[red\]docker\.io {30,}\d+\.\d s", lines[2])
    assert re.fullmatch(r"✓ node3  docker  settled +\d+\.\d s", lines[4])
    assert not during.cursor
    assert after.text() == (
        "✓ connect         3 hosts    0.3 s\n"
        "✗ docker          3 hosts    1.5 s   2 changed   1 failed\n"
        "  node1: no space"
    )
    assert after.cursor
    assert after.colours


def test_nothing_is_drawn_while_a_person_is_asked():
    asks = """
    seen.event(Asking())
    print("Go on?", end=" ", file=sys.stderr, flush=True)
    time.sleep(0.5)
    print("here", end=" ", file=sys.stderr, flush=True)
    seen.event(Asking(ended=True))
    time.sleep(0.3)
"""
    text = Session(asks).to_the_end()
    _, _, after = text.partition("Go on? ")
    assert after.startswith("here "), after
    assert "node1" in after, "the rows are back"


def test_interrupting_leaves_the_terminal_clean():
    session = Session("", size=(24, 120))
    session.until_ready()
    os.killpg(session.process.pid, signal.SIGINT)
    screen = Screen().feed(session.to_the_end().split("Traceback")[0])
    assert re.fullmatch(
        r"✓ connect         3 hosts    0\.3 s\n"
        r"✗ docker   stopped after \d+\.\d s: node1 \(installing \[red\]docker\.io\), node2 \(installing \[red\]docker\.io\)",
        screen.text(),
    )
    assert screen.cursor
    assert session.process.returncode == -signal.SIGINT


@pytest.mark.parametrize(("height", "width"), [(10, 60), (24, 80), (50, 120), (5, 40)])
def test_many_hosts_never_exceed_the_terminal(height, width):
    during, _ = drawn(FAIL, hosts=60, size=(height, width))
    lines = during.text().splitlines()
    assert len(lines) - 1 < height  # the printed line above may scroll away
    assert max(map(len, lines[1:])) <= width
    assert re.match(r"\S+ node1 ", lines[2])  # busy ones first
    assert re.fullmatch(r"  … and \d+ (settled|more: 1 busy, \d+ settled)", lines[-1])


def test_no_color_means_none():
    during, after = drawn(FAIL, NO_COLOR="1")
    assert not during.colours
    assert not after.colours
    assert "node1" in during.text()


def test_a_dumb_terminal_gets_plain_lines():
    text = Session(FAIL, TERM="dumb").to_the_end()
    assert "\x1b" not in text
    assert "docker  node1  installing [red]docker.io\r\n" in text


def test_an_encoding_without_the_symbols_gets_others():
    during, after = drawn(FAIL, hosts=60, PYTHONIOENCODING="ascii")
    assert after.text().splitlines()[0] == "+ connect        60 hosts    0.3 s"
    assert "  ... and " in during.text()
    assert during.text().isascii()


def test_what_goes_to_standard_output_stays_out_of_the_view():
    session = Session("\n    print('{}')\n")
    session.until_ready()
    assert "{}" not in session.to_the_end()


def test_events_after_the_end_are_ignored():
    master, terminal = pty.openpty()
    with os.fdopen(terminal, "w", encoding="utf-8") as stream:
        observer = LiveObserver(stream)
        observer.close(stopped=False)
        observer.event(PhaseEnded("late", (Outcome("node1", "late", State.FAILED, error="x"),), 1))
        observer.close(stopped=True)
        assert b"late" not in os.read(master, 65536)
    os.close(master)


def test_a_board_keeps_several_phases_apart():
    board = Board(lambda: 7.0)
    board.take(PhaseBegan("one", "", names(2)))
    board.take(PhaseBegan("two", "", ("node2",)))
    closed = board.take(PhaseEnded("one", (Outcome("node1", "one", State.CONVERGED),), 1))
    assert closed.states == {"node1": State.CONVERGED}
    _, phases, rows = board.look()
    assert [(phase.name, phase.number) for phase in phases] == [("two", 2)]
    assert [(row.host, row.phase, row.state) for row in rows] == [
        ("node1", "one", State.CONVERGED),
        ("node2", "two", None),
    ]


def test_a_host_without_an_outcome_is_not_called_settled():
    board = Board(lambda: 7.0)
    board.take(PhaseBegan("one", "", names(2)))
    board.take(PhaseEnded("one", (Outcome("node1", "one", State.SETTLED),), 1))
    assert [row.state for row in board.look()[2]] == [State.SETTLED, State.SKIPPED]


def test_a_board_accepts_unannounced_hosts():
    board = Board(lambda: 7.0)
    board.take(HostChanged("node9", "late", "looking"))
    assert [(row.host, row.text) for row in board.look()[2]] == [("node9", "looking")]


def test_many_threads_may_send_events_at_once():
    master, terminal = pty.openpty()
    os.set_blocking(master, False)
    with os.fdopen(terminal, "w", encoding="utf-8") as stream:
        observer = LiveObserver(stream)

        def work(name):
            for number in range(20):
                observer.event(PhaseBegan(f"{name}{number}", "", (name,)))
                observer.event(HostChanged(name, f"{name}{number}", "working"))
                observer.event(PhaseEnded(f"{name}{number}", (Outcome(name, name, State.SETTLED),), 1))

        threads = [threading.Thread(target=work, args=(name,)) for name in names(8)]
        for thread in threads:
            thread.start()
        seen = b""
        while any(thread.is_alive() for thread in threads):
            seen += read_all(master)
        observer.close(stopped=False)
        seen += read_all(master)
    os.close(master)
    assert seen.decode().count("1 host") == 8 * 20


def read_all(master):
    seen = b""
    with contextlib.suppress(BlockingIOError):
        while data := os.read(master, 65536):
            seen += data
    return seen
