import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from report_samples import HARMLESS, daemon, everything, names, plan, settled, shown, status, up
from rich.cells import cell_len

from provisioner import report as reports
from provisioner.model import (
    Action,
    Call,
    Drift,
    Failure,
    Fix,
    HostSummary,
    Kind,
    Outcome,
    Problem,
    ProofResult,
    Report,
    State,
)
from provisioner.runner.converge import outcome as outcome_of
from provisioner.steps import STEPS


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_a_proven_run():
    assert (
        shown(up())
        == """\
nothing to change; 2 writes for locks or proofs

proofs
  ✓ reach on demo: 6 of 6 pairs, MTU 1450 bytes, converged in 1.2 s
           node1     node2     node3
    node1  ·         ✓ 420 ms  ✓ 420 ms
    node2  ✓ 420 ms  ·         ✓ 420 ms
    node3  ✓ 420 ms  ✓ 420 ms  ·
    rows: from, columns: to; ✓ reached by name, by address and at full size
    times: shortest of 5 round trips

proven: 3 hosts, 6 of 6 pairs on demo by name and address, full size 1450 bytes, converged in 1.2 s
"""
    )


@pytest.mark.parametrize(
    ("fails", "last"),
    [
        ("", "proven: 3 hosts, 24 of 24 pairs on 4 networks by name and address, full size 1400 to 1450 bytes, each converged within 1.2 s"),
        ("node2", "not proven: only 8 of 24 pairs on 4 networks"),
    ],
)  # fmt: skip
def test_many_networks_are_summed_up(fails, last):
    report = up(fails=lambda source, target: "address" if fails in (source, target) else "")
    (proof,) = report.proofs
    proofs = tuple(replace(proof, network=f"net{mtu}", mtu=mtu) for mtu in (1400, 1410, 1420, 1450))
    assert shown(replace(report, proofs=proofs)).splitlines()[-1] == last


def test_no_writes():
    report = replace(up(), writes=0, proofs=())
    assert shown(report) == ("nothing to change: no writes\n\nsettled: 3 hosts; not proven, because no proof was run\n")


def test_changes_are_short_and_shared():
    changed = [
        Outcome(
            host,
            "packages",
            State.CONVERGED,
            (Drift(Kind.PACKAGE, "docker.io", "", "20.10.5"), Drift(Kind.PACKAGE, "consul")),
        )
        for host in names(3)
    ]
    reload = replace(daemon("node2", "10.0.0.2"), state=State.CONVERGED)
    text = shown(up(outcomes=(*changed, reload)))
    assert text.startswith("""\
changed on node1, node3
  packages  package docker.io, package consul

changed on node2
  packages  package docker.io, package consul
  daemon    /etc/docker/daemon.json (reload)
""")
    assert "nothing to change" not in text


def test_a_rotation_says_what_it_replaced_on_each_host():
    secret = Drift(Kind.CONFIDENTIAL, "/etc/x/key.pem", "another", "as wanted", Action.RELOAD, "Consul")
    rotated = Drift(Kind.STORE, "certificates", action=Action.ROTATE, of="Consul", secret=True, is_file=True)
    outcomes = [
        Outcome(host, step, State.CONVERGED, drifts)
        for host in names(3)
        for step, drifts in (("store", (secret, secret)), ("rotate", (rotated,)))
    ]
    assert shown(up(command="rotate certificates", outcomes=tuple(outcomes))).startswith("""\
changed on node1, node2, node3
  store   /etc/x/key.pem (reload of Consul)
  rotate  Consul's certificates (rotation)
""")


def test_a_plan_folds_what_hosts_have_in_common():
    shared = [
        Outcome(
            host,
            "packages",
            State.DRIFTED,
            (Drift(Kind.PACKAGE, "docker.io", "", "20.10.5"), Drift(Kind.UNIT, "ip_forward", "0", "1")),
        )
        for host in ("node1", "node2")
    ]
    assert (
        shown(plan(*shared, daemon("node1", "10.0.0.1"), *settled(["node3"])))
        == """\
packages
  node1, node2:
    + package docker.io  (nothing -> 20.10.5)
    ~ ip_forward  (0 -> 1)

daemon
  node1:
    --- /etc/docker/daemon.json (node1, found)
    +++ /etc/docker/daemon.json (wanted)
    @@ -1,3 +1,4 @@
     {
    +  "cluster-advertise": "10.0.0.1:2376",
       "debug": true
     }
    (needs: reload)

3 hosts: 2 would change (5 things), 1 settled
"""
    )


def test_the_same_diff_is_shown_once():
    text = shown(plan(*(daemon(host, "eth1") for host in names(3))))
    assert text.count("+++") == 1
    assert "--- /etc/docker/daemon.json (3 hosts, found)" in text


def test_hosts_share_the_differences_that_they_have_in_common():
    same = Drift(Kind.PACKAGE, "consul")
    outcomes = [
        Outcome(host, "store", State.DRIFTED, (same, Drift(Kind.UNIT, "address", "", address)))
        for host, address in (("node1", "10.0.0.1"), ("node2", "10.0.0.2"))
    ]
    assert shown(plan(*outcomes)).splitlines()[:7] == [
        "store",
        "  node1, node2:",
        "    + package consul",
        "  node1:",
        "    + address  (nothing -> 10.0.0.1)",
        "  node2:",
        "    + address  (nothing -> 10.0.0.2)",
    ]


def test_what_is_not_known_yet_is_said():
    unknown = Outcome(
        "node1", "network", State.PENDING, (Drift(Kind.NETWORK, "demo", pending=True),), reason="no engine yet"
    )
    bare = Outcome("node2", "network", State.PENDING)
    text = shown(plan(unknown, bare))
    assert "    ? network demo: can't be known before an earlier step has run (no engine yet)\n" in text
    assert "    ? can't be known before an earlier step has run\n" in text
    assert text.endswith("3 hosts: 2 can't be known yet, 1 not checked\n")


def test_secrets_are_never_shown():
    drift = Drift(Kind.FILE, "/etc/consul.d/token", "old-secret", "new-secret", is_file=True, secret=True)
    for state in (State.DRIFTED, State.CONVERGED):
        report = plan(Outcome("node1", "store", state, (drift,)))
        for text in (shown(report), shown(replace(report, command="up")), reports.to_json(report)):
            assert "-secret" not in text
    assert "~ /etc/consul.d/token  (contents are secret)" in shown(plan(Outcome("a", "s", State.DRIFTED, (drift,))))


@pytest.mark.parametrize(
    ("found", "wanted", "rows"),
    [
        ("", "a\n", ["--- f (node1, nothing found)", "+++ f (wanted)", "@@ -0,0 +1 @@", "+a"]),
        ("a\n", "", ["--- f (node1, found)", "+++ f (not wanted)", "@@ -1 +0,0 @@", "-a"]),
        (
            "a",
            "a\n",
            [
                "--- f (node1, found)",
                "+++ f (wanted)",
                "@@ -1 +1 @@",
                "-a",
                "\\ no line end at the end of the file",
                "+a",
            ],
        ),
        ("a\r\n", "a\n", ["--- f (node1, found)", "+++ f (wanted)", "@@ -1 +1 @@", "-a^M", "+a"]),
        ("a\x0cb\n", "a\n", ["--- f (node1, found)", "+++ f (wanted)", "@@ -1 +1 @@", "-a^Lb", "+a"]),
        ("-- x\n", "++ y\n", ["--- f (node1, found)", "+++ f (wanted)", "@@ -1 +1 @@", "--- x", "+++ y"]),
        ("same\n", "same\n", ["~ f  (needs: reload)"]),
    ],
)
def test_diffs_show_exactly_what_differs(found, wanted, rows):
    action = Action.RELOAD if found == wanted else Action.WRITE
    outcome = Outcome("node1", "s", State.DRIFTED, (Drift(Kind.FILE, "f", found, wanted, action, is_file=True),))
    assert shown(plan(outcome, call=Call(diff=True))).splitlines()[2:-2] == [f"    {row}" for row in rows]


def test_without_a_wish_for_diffs_files_of_ours_are_summed_up():
    texts = {"new": ("", "a\nb\n"), "gone": ("a\n", ""), "changed": ("a\nb\nc\n", "a\nB\nc\nd\n")}
    texts["shorter"] = "a\nb\n", "a\n"
    drifts = [Drift(Kind.FILE, name, *of, Action.RELOAD, is_file=True) for name, of in texts.items()]
    outcome = Outcome("node1", "s", State.DRIFTED, tuple(drifts))
    assert shown(plan(outcome)).splitlines()[2:-2] == [
        "    + new  (needs: reload)",
        "    - gone  (needs: reload)",
        "    ~ changed  (+2 -1 lines, needs: reload)",
        "    ~ shorter  (-1 line, needs: reload)",
    ]


def test_a_first_plan_of_three_hosts_fits_two_screens(site):
    found = site("installed")
    steps = [step for step in STEPS if step.name not in found.plane.unused]
    report = plan(*(outcome_of(step, found, name) for step in steps for name in found.live))
    text = shown(report)
    assert len(text.splitlines()) <= 2 * 45
    assert text.count("+++ /etc/docker/daemon.json") == 3, "people write this file"
    assert len(shown(replace(report, call=Call(diff=True))).splitlines()) > 300


def test_diffs_are_never_broken(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    long = "x" * 200
    outcome = Outcome("node1", "s", State.DRIFTED, (Drift(Kind.FILE, "f", "", f"{long}\n", is_file=True),))
    text = shown(plan(outcome, call=Call(diff=True)))
    assert f"    +{long}\n" in text


def test_findings_that_stop_come_first_and_can_not_be_ignored():
    report = up(
        findings=(
            Problem("gossip-overload", "", "many hosts in kv mode"),
            Problem("driver-not-built", "node1", "the engine has no consul driver"),
            Problem("driver-not-built", "node2", "the engine has no consul driver"),
        ),
        outcomes=(),
        proofs=(),
        writes=0,
        exit_code=3,
    )
    assert (
        shown(report)
        == """\
findings
  STOP     node1, node2: the engine has no consul driver
           next:  use Debian 11's docker.io 20.10.5 or Docker's own 20.10
           check: driver-not-built
  warning  the whole cluster: many hosts in kv mode
           next:  check the network regularly with `provisioner verify INVENTORY`
           check: gossip-overload (to hide it: --ignore gossip-overload)

stopped: 1 finding to fix first; nothing was changed
"""
    )


def test_errors_are_shown_in_full_and_once():
    error = (
        "dpkg ended with code 100\n  tried: apt-get install docker.io\n  | E: no space\n  |   left\n  next:  free some"
    )
    report = up(
        outcomes=tuple(
            Outcome(host, "packages", State.FAILED, error=f"{host}: {error}", check="packages-failed")
            for host in ("node2", "node3")
        ),
        lost={"node2": Failure(f"node2: {error}", "packages-failed")},
        errors=(Failure("the store has no leader", "store-no-leader"),),
        proofs=(),
        exit_code=1,
    )
    assert (
        shown(report)
        == """\
errors
  ✗ node2, node3: packages
    dpkg ended with code 100
      tried: apt-get install docker.io
      | E: no space
      |   left
      next:  free some
      check: packages-failed
  ✗ the run
    the store has no leader
      check: store-no-leader

not proven: 1 host dropped out (node2); a step failed on node3; the store has no leader
"""
    )


PROSE = re.compile("rows:|round trips")
LEFT_OUT = (
    ProofResult("dns", "demo", State.SKIPPED, chosen=False),
    ProofResult("local", "none", State.SKIPPED, chosen=False),
)


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (up(1), "proven: 1 host, no pairs to prove"),
        (
            up(fails=lambda s, t: "full" if (s, t) == ("node1", "node3") else ""),
            "not proven: only 5 of 6 pairs on demo",
        ),
        (up(exit_code=1), "not proven: the run failed (exit code 1)"),
        (up(exit_code=130), "interrupted: run it again to continue"),
        (up(lost={"node3": Failure("gone", "host-unreachable")}), "not proven: 1 host dropped out (node3)"),
        (up(proofs=(ProofResult("dns", "demo", State.FAILED),)), "not proven: dns on demo failed"),
        (
            up(proofs=(ProofResult("dns", "demo", State.SKIPPED),)),
            "settled: 3 hosts; not proven, because no proof was run",
        ),
        (
            up(command="verify", proofs=(*up().proofs, *LEFT_OUT)),
            (
                "passed: 1 of 3 proofs, as chosen, on 3 hosts: 6 of 6 pairs on demo by name and address, full size 1450 bytes,"
                " converged in 1.2 s; not run: dns/demo, builtin/none"
            ),
        ),
        (
            up(command="doctor", proofs=(ProofResult("internal", "demo", State.SETTLED), *LEFT_OUT)),
            "no cause found; passed: 1 of 3 proofs, as chosen, on 3 hosts: internal/demo; not run: dns/demo, builtin/none",
        ),
        (
            up(command="verify", proofs=(ProofResult("internal", "demo", State.SETTLED), *LEFT_OUT)),
            "passed: 1 of 3 proofs, as chosen, on 3 hosts: internal/demo; not run: dns/demo, builtin/none",
        ),
        (
            up(command="verify", proofs=(ProofResult("internal", "demo", State.FAILED), *LEFT_OUT), exit_code=1),
            "not proven: internal on demo failed; 1 of 3 proofs chosen",
        ),
        (
            up(command="verify", proofs=(ProofResult("internal", "demo", State.SKIPPED), *LEFT_OUT), exit_code=1),
            "not proven: none of the chosen proofs could run; 1 of 3 proofs chosen",
        ),
        (up(command="verify", outcomes=(daemon("node1", "x"),)), "not proven: 1 host has drifted (1 thing)"),
        (plan(number=1), "1 host: 1 not checked"),
        (plan(*settled(names(3))), "3 hosts: 3 settled"),
        (plan(*settled(names(2)), lost={"node3": Failure("x", "host-unreachable")}), "3 hosts: 2 settled, 1 failed"),
        (status(), "3 hosts: 2 reached, not reached: node3"),
        (Report("other", "demo", (), 0, 1.0), "done in 1.0 s"),
    ],
)
def test_the_last_line_is_the_result_of_the_run(report, sentence):
    assert shown(report).splitlines()[-1] == sentence


def test_proofs_that_were_left_out_are_never_shown_as_proven():
    report = up(command="verify", proofs=(*up().proofs, *LEFT_OUT))
    assert "  · not run, as chosen: dns/demo, builtin/none" in shown(report).splitlines()
    assert json.loads(reports.to_json(report))["proven"] is False


def test_two_networks_have_two_matrices():
    first = up().proofs[0]
    text = shown(up(proofs=(first, replace(first, network="web", mtu=0, seconds=0.5))))
    assert text.splitlines()[-1] == (
        "proven: 3 hosts, 6 of 6 pairs on demo by name and address, full size 1450 bytes, converged in 1.2 s; "
        "6 of 6 pairs on web by name and address, converged in 0.5 s"
    )
    assert text.count("node1  ·") == 2


def test_the_status_of_a_few_hosts_is_a_table():
    assert shown(status()).splitlines()[:4] == [
        "host   reached          system     engine   advertise           store          leader              networks   containers",
        "node1  ✓ 192.168.56.10  Debian 11  20.10.5  192.168.56.10:2376  consul server  192.168.56.10:8300  demo, web  0",
        "node2  ✓ 192.168.56.11  Debian 11  20.10.5  192.168.56.11:2376  consul server  192.168.56.10:8300  demo, web  1",
        "node3  ✗ no             ?          ?        ?                   ?              ?                   ?          ?",
    ]


def test_a_narrower_status_says_once_what_is_the_same_on_all_hosts(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = shown(status(13))
    assert text.startswith("host    reached          advertise           containers\nnode1   ✓ 192.168.56.10")
    assert (
        "on all reached hosts  system Debian 11; engine 20.10.5; store consul server; leader 192.168.56.10:8300; networks"
        in text
    )


def test_a_narrow_status_is_listed_host_by_host(monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    assert shown(status()).startswith("node1  ✓ 192.168.56.10\n  system      Debian 11\n  engine      20.10.5\n")


def summary(number, **fields):
    """Return a healthy host's summary, changed by `fields`."""
    return replace(status().summaries[0], **{"host": f"node{number}", "engine_state": "running", **fields})


def glance(*summaries, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    return shown(Report("status", "demo", tuple(s.host for s in summaries), 0, 0.5, summaries=summaries))


NO_ANSWER = {
    "unknown": ("advertise", "store", "networks", "containers", "all_networks"),
    "advertise": "",
    "store": "",
    "networks": (),
}
NO_STORE = {"absent": ("store", "leader", "networks"), "store": "", "store_role": "", "leader": "", "networks": ()}
STRANGE = {
    "the engine is stopped": ({**NO_ANSWER, "engine_state": "stopped"}, "?, server", "engine stopped on node3"),
    "the engine starts": ({**NO_ANSWER, "engine_state": "starting"}, "?, server", "engine starting on node3"),
    "the engine is silent": (
        {**NO_ANSWER, "engine_state": "no answer", "silent": ("engine",)},
        "?, server",
        "no answer from the engine on node3",
    ),
    "there is no engine": ({**NO_STORE, "engine_state": "absent"}, "none", "no engine on node3"),
    "it was removed": (NO_STORE, "none", ""),
    "its engine has not joined": ({"absent": ("store",), "store": ""}, "none, server", ""),
    "the store is silent": (
        {"unknown": ("leader",), "leader": "", "silent": ("Consul",)},
        "consul server",
        "no answer from Consul on node3",
    ),
    "it lacks a network": ({"networks": ("demo",)}, "consul server", ""),
}


@pytest.mark.parametrize("width", [60, 100, 200])
@pytest.mark.parametrize("what", STRANGE)
def test_a_status_says_of_all_hosts_only_what_is_true_on_each(monkeypatch, what, width):
    """The widths select the layouts: a full table, a table without common values, and a list."""
    fields, store, verdict = STRANGE[what]
    strange = summary(3, **fields)
    text = glance(summary(1), summary(2), strange, width=width, monkeypatch=monkeypatch)
    _, _, common = text.partition("on all hosts  ")
    same = common.partition("\n\n")[0].split(" ")
    differ = {
        "store": store != "consul server",
        "leader": not strange.leader,
        "networks": strange.networks != ("demo", "web"),
    }
    assert not {name for name, differs in differ.items() if differs} & set(same)
    assert store in text
    assert ("?" in text) == bool(strange.unknown) == ("unknown: no answer on this host" in text)
    assert text.splitlines()[-1] == f"3 hosts: all reached{'; ' * bool(verdict)}{verdict}"


@pytest.mark.parametrize("fields", [{}, NO_STORE])
def test_what_all_hosts_have_or_lack_is_said_once(monkeypatch, fields):
    text = glance(
        *(summary(number, containers=number, **fields) for number in (1, 2)), width=70, monkeypatch=monkeypatch
    )
    assert (
        "store none; leader none; networks none"
        if fields
        else "store consul server; leader 192.168.56.10:8300; networks demo, web"
    ) in text


@pytest.mark.parametrize("away", [(3,), (2, 3), (1, 2, 3)])
def test_nothing_is_everywhere_while_a_host_is_away(monkeypatch, away):
    hosts = [
        HostSummary(f"node{n}", "192.168.56.9", reached=False) if n in away else summary(n, containers=n)
        for n in (1, 2, 3)
    ]
    for width in (40, 70, 200):
        text = glance(*hosts, width=width, monkeypatch=monkeypatch)
        assert "on all hosts" not in text
        assert text.splitlines()[-1].startswith(f"3 hosts: {3 - len(away)} reached, not reached: node")


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("number", [1, 3, 13, 50])
def test_tables_keep_to_the_width(monkeypatch, width, number):
    monkeypatch.setenv("COLUMNS", str(width))
    tables = [row for row in shown(up(number)).splitlines() if row.startswith("    ") and not PROSE.search(row)]
    tables += shown(status(number)).splitlines()[:number]
    assert max(map(cell_len, tables)) <= width


@pytest.mark.parametrize("command", ["up", "plan", "verify", "status", "doctor", "other"])
def test_nothing_harmful_comes_out(command):
    text = shown(replace(everything(), command=command))
    assert all(char.isprintable() or char == "\n" for char in text)
    assert HARMLESS in text


def test_colour_is_an_option():
    text = shown(plan(daemon("node1", "x")), color=True)
    assert "\x1b[32m" in text
    assert "\x1b" not in shown(plan(daemon("node1", "x")))


def test_the_document_goes_out_and_the_text_for_people_elsewhere():
    out, err = io.StringIO(), io.StringIO()
    reports.show(up(), json=True, out=out, err=err)
    assert out.getvalue() == f"{reports.to_json(up())}\n"
    assert err.getvalue() == shown(up())


def test_an_encoding_without_the_symbols_gets_others():
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    reports.show(up(), out=out)
    text = raw.getvalue().decode("ascii")
    assert "    node1  -         + 420 ms  + 420 ms\n" in text
    assert "?" not in text


def test_a_reader_that_stops_reading_changes_no_exit_code():
    code = (
        "import sys; from provisioner.model import Failure, Report; from provisioner import report as r\n"
        "r.show(Report('status', 'x' * 99, tuple(map(str, range(50000))), 0, 1.0, errors=(Failure('e' * 500000, 'lab'),)))\n"
        "sys.exit(7)"
    )
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (7, b"")


def test_importing_the_package_leaves_rich_alone():
    code = "import sys, provisioner.report as r; print(any(m.startswith('rich') for m in sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def test_a_proof_that_failed_names_its_causes():
    found = tuple(
        Problem(name, "node1", "lost", network="demo") for name in ("probe-failed", "path-mtu", "probe-failed")
    )
    proof = ProofResult("overlay", "demo", State.FAILED, error="not proven\n  next:  look", problems=found)
    assert "      next:  look\n      cause: probe-failed, path-mtu\n" in shown(up(proofs=(proof,), exit_code=1))


def test_what_a_doctor_fixed_comes_first():
    rule = ("iptables -t filter -D INPUT -j DROP",)
    fixes = (
        Fix("vxlan-blocked", "node2", rule, state=State.CONVERGED),
        Fix("ip-forward", "node3", ("sysctl -w x=1",), state=State.FAILED, error="node3: exit code 1\n  | no such key"),
        Fix("gwbridge", "node1", ("ip link set docker_gwbridge up",), state=State.SKIPPED, reason="it is gone"),
        Fix("drift", "node1", state=State.SKIPPED, reason="`provisioner up` repairs it"),
    )
    text = shown(Report("doctor", "demo", names(3), 1, 1.0, fixes=fixes))
    assert text.startswith(
        """fixes
  ✓ vxlan-blocked, node2: fixed
      ran      iptables -t filter -D INPUT -j DROP
  ✗ ip-forward, node3: failed: exit code 1
      ran      sysctl -w x=1
      | no such key
  · gwbridge, node1: not run: it is gone
      cure     ip link set docker_gwbridge up
  · drift, node1: not run: `provisioner up` repairs it
"""
    )
    assert text.splitlines()[-1].startswith("1 cure worked; ")
