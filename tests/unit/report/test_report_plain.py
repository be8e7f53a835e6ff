import io
import re
import sys
import threading

import pytest
from report_samples import HOSTILE, names

from provisioner import report as reports
from provisioner.model import CommandBegan, CommandEnded, HostChanged, Notice, Outcome, PhaseBegan, PhaseEnded, State
from provisioner.report.plain import PlainObserver
from provisioner.report.stream import SafeStream


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Run:
    """A plain observer, with its clock and its output."""

    def __init__(self, *, verbose=False):
        self.out = io.StringIO()
        self.clock = Clock()
        self.observer = PlainObserver(SafeStream(self.out), verbose=verbose, clock=self.clock)

    def feed(self, *events):
        for event in events:
            self.observer.event(event)
        return self.out.getvalue()


COMMANDS = (
    CommandBegan("node1", "reading"),
    CommandEnded("node1", "reading", 0.21, 0),
    CommandEnded("node2", "writing\x1b[2J\nx", 9.5, None, "did not end\x1b]0;title\x07"),
)


@pytest.mark.parametrize("verbose", [0, 1, 2, 3])
def test_commands_are_shown_from_the_second_v_on(verbose):
    ended = "command  node1  exit 0  0.21 s  reading\ncommand  node2  did not end  9.50 s  writing x\n"
    begun = "command  node1  begins  reading\n"
    assert Run(verbose=verbose).feed(*COMMANDS) == (begun if verbose > 2 else "") + (ended if verbose > 1 else "")


FIREWALL = PhaseBegan("firewall", "Open the ports", names(3))


def test_a_change_of_state_is_a_line():
    run = Run()
    run.feed(FIREWALL)
    run.clock.now = 0.42
    assert run.feed(HostChanged("node1", "firewall", "", State.CONVERGED)) == "firewall  node1  converged  0.42 s\n"


def test_a_state_is_printed_once_although_the_phase_end_repeats_it():
    run = Run()
    run.feed(FIREWALL, HostChanged("node1", "firewall", "", State.CONVERGED))
    text = run.feed(PhaseEnded("firewall", (Outcome("node1", "firewall", State.CONVERGED, seconds=0.4),), 0.5))
    assert text.count("converged") == 1


def test_progress_is_printed_when_its_text_changes():
    run = Run()
    text = run.feed(
        PhaseBegan("docker", "Install", ("node1", "node10")),
        HostChanged("node1", "docker", "installing docker.io"),
        HostChanged("node1", "docker", "installing docker.io"),
        HostChanged("node10", "docker", "installing docker.io"),
        HostChanged("node1", "docker", "starting"),
    )
    assert text.splitlines() == [
        "docker  node1   installing docker.io",
        "docker  node10  installing docker.io",
        "docker  node1   starting",
    ]


def test_settled_hosts_share_a_line():
    outcomes = tuple(Outcome(host, "firewall", State.SETTLED, seconds=0.1) for host in names(3))
    changed = [HostChanged(host, "firewall", "", State.SETTLED) for host in names(3)]
    assert Run().feed(FIREWALL, *changed, PhaseEnded("firewall", outcomes, 0.2)) == (
        "firewall  node1, node2, node3  settled  0.20 s\n"
    )
    fifty = tuple(Outcome(host, "firewall", State.SETTLED) for host in names(50))
    text = Run().feed(PhaseBegan("firewall", "", names(50)), PhaseEnded("firewall", fifty, 0.2))
    assert text == "firewall  all 50 hosts  settled  0.20 s\n"


def test_verbose_prints_every_host_and_the_beginning():
    outcomes = tuple(Outcome(host, "firewall", State.SETTLED, seconds=0.1) for host in names(3))
    assert Run(verbose=True).feed(FIREWALL, PhaseEnded("firewall", outcomes, 0.2)).splitlines() == [
        "firewall  begins  Open the ports  (3 hosts)",
        *(f"firewall  {host}  settled    0.10 s" for host in names(3)),
    ]


def test_failed_and_skipped_hosts_say_why():
    failed = Outcome("node1", "firewall", State.FAILED, error="node1: no nft\n  next: install it", seconds=1)
    skipped = Outcome("node2", "firewall", State.SKIPPED, reason="the store has no leader")
    assert Run().feed(FIREWALL, PhaseEnded("firewall", (failed, skipped), 1)).splitlines() == [
        "firewall  node1  failed     1.00 s  no nft",
        "firewall  node2  skipped    0.00 s  the store has no leader",
    ]


def test_why_a_host_drops_out_is_printed_once():
    gone = Outcome("node1", "connect", State.FAILED, error="node1: no answer\n  next: x", seconds=2)
    text = Run().feed(
        PhaseBegan("connect", "Connect", ("node1", "node2")),
        HostChanged("node1", "connect", "no answer; trying again"),
        HostChanged("node1", "connect", "no answer"),
        HostChanged("node1", "", "no answer", State.FAILED),
        PhaseEnded("connect", (gone,), 2),
        HostChanged("node2", "", "the connection broke", State.FAILED),
    )
    assert text.splitlines() == [
        "connect  node1  no answer; trying again",
        "connect  node1  no answer",
        "connect  node1  failed     2.00 s",
        "  node2  failed     0.00 s  the connection broke",
    ]


def test_an_end_without_a_beginning_is_printed_too():
    text = Run().feed(PhaseEnded("late", (Outcome("node1", "late", State.FAILED, error="x"),), 1))
    assert text == "late  node1  failed     0.00 s  x\n"


def test_no_control_character_comes_out():
    run = Run(verbose=True)
    text = run.feed(
        PhaseBegan(HOSTILE, HOSTILE, (HOSTILE,)),
        HostChanged(HOSTILE, HOSTILE, HOSTILE),
        Notice(HOSTILE),
        PhaseEnded(HOSTILE, (Outcome(HOSTILE, HOSTILE, State.FAILED, error=HOSTILE),), 1),
    )
    assert all(char.isprintable() or char == "\n" for char in text)
    assert len(text.splitlines()) == 4


def test_a_run_that_is_stopped_says_where():
    out = io.StringIO()

    def interrupted():
        with reports.observer(stream=out) as observer:
            observer.event(FIREWALL)
            observer.event(HostChanged("node1", "firewall", "", State.CONVERGED))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert re.fullmatch(r"firewall  stopped after \d\.\d\d s  busy: node2, node3", out.getvalue().splitlines()[-1])


def test_many_threads_never_mix_their_lines():
    run = Run()
    hosts = names(30)
    run.feed(PhaseBegan("docker", "", hosts))

    def work(host):
        for number in range(50):
            run.observer.event(HostChanged(host, "docker", f"text {number}"))

    threads = [threading.Thread(target=work, args=(host,)) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = run.out.getvalue().splitlines()
    assert len(lines) == 30 * 50
    assert all(line.startswith("docker  node") and " text " in line for line in lines)


def test_a_closed_reader_does_not_end_the_run():
    out = io.StringIO()
    with reports.observer(stream=out) as observer:
        observer.event(Notice("one"))
        out.close()
        observer.event(Notice("two"))


def test_what_the_encoding_lacks_is_replaced():
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    with reports.observer(stream=out) as observer:
        observer.event(Notice("größer"))
    assert raw.getvalue() == b"gr??er\n"


def test_the_document_keeps_standard_output_to_itself(capsys):
    with reports.observer(json=True, stream=sys.stdout) as observer:
        observer.event(Notice("hello"))
    assert capsys.readouterr() == ("", "hello\n")
