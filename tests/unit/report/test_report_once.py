"""Each problem is told once, with all hosts that have it. What follows from another one gives no advice of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_samples import daemon, names, plan, shown, up

from provisioner.errors import error_text
from provisioner.model import Call, Diagnosis, Failure, Outcome, Problem, State

NEXT = "is the host up, and is the address in the inventory right?"


def unreachable(*hosts):
    texts = {host: f"{host}: no answer from 192.168.56.1{host[-1]}:22 in 10 seconds" for host in hosts}
    return {
        host: Failure(f"{text}\n  tried: connecting with SSH\n  next:  {NEXT}", "host-unreachable")
        for host, text in texts.items()
    }


def host_lost(**of):
    return tuple(
        Problem("host-lost", host, why.text.partition("\n")[0][7:], {"cure": NEXT, "check": why.check}, "told")
        for host, why in of.items()
    )


def told(report, **options):
    return shown(report, **options).partition("\nnext\n")[0]


def test_a_dead_host_is_told_once():
    lost = unreachable("node3")
    report = up(lost=lost, exit_code=1, causes=(Diagnosis(host_lost(**lost)),))
    for command in ("up", "verify"):
        text = told(replace(report, command=command))
        assert (text.count("no answer"), text.count(NEXT)) == (1, 1)
        assert "\ncauses\n" not in text
    text = told(replace(report, command="doctor"))
    assert (text.count("no answer"), text.count(NEXT), "errors\n" in text) == (1, 1, False)


def test_equal_errors_of_hosts_share_an_entry_with_their_addresses():
    text = told(plan(lost=unreachable("node1", "node2", "node3"), exit_code=1))
    assert (
        text.partition("\n\n")[0]
        == f"""\
errors
  ✗ node1, node2, node3: dropped out
    no answer from 192.168.56.11:22, 192.168.56.12:22, 192.168.56.13:22 in 10 seconds
      tried: connecting with SSH
      next:  {NEXT}
      check: host-unreachable"""
    )


def test_new_hosts_share_an_entry_with_their_fingerprints_and_one_command():
    """The usual error of a first run."""
    lost = {}
    for number, host in enumerate(("node1", "node2"), 1):
        key = f"its key is not in known_hosts: ssh-ed25519 SHA256:{str(number) * 43}"
        cure = f"compare it, then record it: ssh-keyscan -p 22 {host}.example.net 192.0.2.{number} >> known_hosts"
        text = error_text(f"{host}: {key}", tried="checking the host's key", cure=cure)
        lost[host] = Failure(text, "host-key-unknown")
    text = told(plan(lost=lost, exit_code=1))
    assert f"its key is not in known_hosts: ssh-ed25519 SHA256:{'1' * 43}, SHA256:{'2' * 43}\n" in text
    assert text.count("next:") == 1
    assert (
        "record it: ssh-keyscan -p 22 node1.example.net node2.example.net 192.0.2.1 192.0.2.2 >> known_hosts\n" in text
    )


def test_the_doctor_has_one_cause_for_equal_errors():
    lost = unreachable("node1", "node2")
    text = told(up(command="doctor", lost=lost, proofs=(), causes=(Diagnosis(host_lost(**lost)),)))
    assert "seen     no answer from 192.168.56.11:22, 192.168.56.12:22 in 10 seconds" in text
    assert text.count("cure ") == 1


def test_different_errors_do_not_share_an_entry():
    lost = {**unreachable("node1"), "node2": Failure("node2: the login as root is refused", "login-refused")}
    assert told(plan(lost=lost, exit_code=1)).count("✗") == 2


def test_a_step_that_failed_is_told_once():
    """The host dropped out with the first line of the error."""
    failed = Outcome("node2", "packages", State.FAILED, error="node2: it broke\n  | why", check="packages-failed")
    lost = {"node2": Failure("node2: it broke", "packages-failed")}
    text = told(up(outcomes=(failed,), lost=lost, exit_code=1, proofs=()))
    assert (text.count("✗ node2"), text.count("it broke")) == (1, 1)


def test_a_finding_of_a_host_is_no_error_as_well():
    finding = Problem("no-root", "node2", "ops is not root", {"user": "ops"})
    text = told(plan(findings=(finding,), lost={"node2": Failure(finding.evidence, "no-root")}, exit_code=1))
    assert (text.count("ops is not root"), "errors" in text) == (1, False)


def test_a_finding_that_is_a_cause_or_follows_from_one_is_no_finding_as_well():
    cause = Problem("clock-skew", "node2", "its clock is 7 s ahead", warns=True)
    finding, follows = Problem("no-root", "node2", "ops is not root", {"user": "ops"}), replace(cause, host="node1")
    found = Diagnosis((finding,), explained=(follows,))
    text = told(up(findings=(finding, follows), causes=(found,), exit_code=1))
    assert (text.count("ops is not root"), "findings" in text, "its clock" in text) == (1, False, False)


def test_a_warning_stays_a_finding_which_says_how_to_hide_it():
    warning = Problem("gossip-overload", "", "many hosts in kv mode")
    text = told(up(findings=(warning,), causes=(Diagnosis((warning,)),), exit_code=1))
    assert (text.count("many hosts"), "--ignore gossip-overload" in text, "causes" in text) == (1, True, False)


def test_the_same_finding_with_other_evidence_shares_the_advice():
    found = tuple(Problem("other-firewall", f"node{at}", f"ufw has {at} rules", {"ports": "1/udp"}) for at in (1, 2))
    lines = told(plan(findings=found)).splitlines()
    assert lines[1:3] == ["  warning  node1: ufw has 1 rules", "           node2: ufw has 2 rules"]
    assert sum("check:" in line for line in lines) == 1


def blocked(**fields):
    """A failed proof, whose error lists its pairs, and the cause of it."""
    report = up(fails=lambda s, t: "address" if "node2" in (s, t) else "", command="verify")
    error, follows = "the network demo is not proven", Problem("overlay-blocked", "node2", "no answer", {"port": 4789})
    proof = replace(report.proofs[0], error=error, problems=(follows,))
    cause = Problem("ip-forward", "node2", "it is 0", {"host": "node2"})
    return replace(report, proofs=(proof,), causes=(Diagnosis((cause,), (follows,), pairs=4),), **fields)


def test_a_failed_proof_whose_cause_is_known_is_no_error_as_well():
    text = told(blocked())
    assert ("is not proven" in text, "node1 -> node2" in text, text.count("it is 0")) == (False, False, 1)
    assert "node2 -> every other host" in told(blocked(), verbose=True)
    assert "the network demo is not proven" in told(replace(blocked(), causes=()))


def test_drift_is_told_before_what_proofs_guess_and_says_what_repairs_it():
    drift = Problem("drift", "node2", "node2: daemon: /etc/docker/daemon.json", {"kind": "", "target": ""})
    guess = Problem("overlay-blocked", "node2", "no answer", {"port": 4789})
    report = replace(blocked(outcomes=(daemon("node2", "x"),)), causes=(Diagnosis((drift,)), Diagnosis((guess,))))
    text = told(report)
    repaired = text.index("this differs from the inventory; `provisioner up` repairs it")
    assert repaired < text.index("4789/udp")
    assert text.count("/etc/docker/daemon.json") == 2, "the two lines of its diff"


@pytest.mark.parametrize("host", ["node2", ""])
def test_only_a_finding_without_a_host_stops_the_run(host):
    stops = Problem("subnet-overlap", host, "10.0.0.0/8 overlaps")
    lost = {host: Failure("10.0.0.0/8 overlaps", "subnet-overlap")} if host else {}
    text = told(up(findings=(stops,), lost=lost, exit_code=1))
    wanted = "not proven: 1 host dropped out (node2); 1 finding to fix" if host else "stopped: 1 finding to fix first"
    assert text.splitlines()[-1] == wanted


def test_a_plan_continues_without_a_host_that_a_finding_stops():
    stops = Problem("no-root", "node3", "ops is not root", {"user": "ops"})
    outcomes = [daemon(host, "x") for host in names(2)]
    lost = {"node3": Failure("ops is not root", "no-root")}
    call = Call("cluster.yml", makes="up")
    text = shown(plan(*outcomes, findings=(stops,), lost=lost, exit_code=1, call=call))
    assert "\n3 hosts: 2 would change (2 things), 1 failed\n" in text
    assert "  provisioner up cluster.yml" in text
