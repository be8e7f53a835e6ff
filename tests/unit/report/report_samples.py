"""Sample reports: each test states only what is special about its own."""

import io
from dataclasses import replace

from provisioner import report as reports
from provisioner.model import (
    Action,
    Check,
    Diagnosis,
    Drift,
    Failure,
    Fix,
    HostSummary,
    Kind,
    NetworkSummary,
    Outcome,
    Pair,
    PathSeen,
    PortSeen,
    Problem,
    ProofResult,
    Report,
    State,
)

HOSTILE = "[red]\x1b[2J\x1b]0;title\x07\x9b31m\u202enode[/red]\x07\r\x00"
HARMLESS = "[red]node[/red]"


def names(number):
    return tuple(f"node{at}" for at in range(1, number + 1))


def pair(source, target, *, seconds=1.2, rtt=0.42, lost="", **fields):
    times = {"name": seconds, "address": seconds, "by_name": seconds, "full": seconds, "alias": seconds}
    return Pair(source, target, **{**times, **dict.fromkeys(lost.split())}, rtt=None if lost else rtt, **fields)


def pairs(hosts, fails=lambda _source, _target: ""):
    return tuple(pair(s, t, lost=fails(s, t)) for s in hosts for t in hosts if s != t)


def up(number=3, fails=lambda _source, _target: "", **fields):
    hosts = names(number)
    seen = pairs(hosts, fails)
    good = all(each.proven for each in seen)
    proof = ProofResult("reach", "demo", State.SETTLED if good else State.FAILED, seen, mtu=1450, seconds=1.23)
    given = Report(
        "up", "demo", hosts, 0 if good else 1, 12.3, writes=2, outcomes=tuple(settled(hosts)), proofs=(proof,)
    )
    return replace(given, **fields)


def settled(hosts, *steps):
    return [Outcome(host, step, State.SETTLED, seconds=0.1) for step in steps or ("packages",) for host in hosts]


def plan(*outcomes, number=3, **fields):
    given = Report("plan", "demo", names(number), 0, 1.0, outcomes=outcomes)
    return replace(given, **fields)


def daemon(host, address, *, before='{\n  "debug": true\n}\n'):
    after = f'{{\n  "cluster-advertise": "{address}:2376",\n  "debug": true\n}}\n'
    drift = Drift(Kind.FILE, "/etc/docker/daemon.json", before, after, Action.RELOAD, is_file=True)
    return Outcome(host, "daemon", State.DRIFTED, (drift,))


def status(number=3):
    hosts = names(number)
    reached = [
        HostSummary(
            host,
            f"192.168.56.{10 + at}",
            reached=True,
            system="Debian 11",
            engine="20.10.5",
            advertise=f"192.168.56.{10 + at}:2376",
            store="consul",
            store_role="server",
            leader="192.168.56.10:8300",
            networks=("demo", "web"),
            containers=at,
        )
        for at, host in enumerate(hosts[:-1])
    ]
    missed = HostSummary(hosts[-1], "192.168.56.99", reached=False, error=f"{hosts[-1]}: no answer\n  next:  look")
    return Report("status", "demo", hosts, 0, 0.5, summaries=(*reached, missed))


def everything():
    """Return a report with a hostile text in every field that can hold a text from a host."""
    drift = Drift(Kind.NETWORK, HOSTILE, f"{HOSTILE}\n", "x\n", Action.RECREATE, is_file=True)
    line = Drift(Kind.CONFIDENTIAL, HOSTILE, HOSTILE, "x", Action.RESTART, HOSTILE)
    secret = Drift(Kind.FILE, "/etc/token", "old-secret", "new-secret", is_file=True, secret=True)
    proof = ProofResult(
        HOSTILE,
        HOSTILE,
        State.FAILED,
        (replace(pair(HOSTILE, "b", lost="full"), detail=HOSTILE),),
        HOSTILE,
        HOSTILE,
        1450,
        checks=(Check(HOSTILE, HOSTILE, None, HOSTILE),),
    )
    return Report(
        "up",
        HOSTILE,
        (HOSTILE, "b"),
        1,
        1.0,
        findings=(Problem("other-firewall", HOSTILE, HOSTILE, {"ports": HOSTILE}),),
        outcomes=(
            Outcome(HOSTILE, HOSTILE, State.DRIFTED, (drift, line, secret)),
            Outcome(HOSTILE, "two", State.CONVERGED, (drift, line, secret)),
            Outcome(HOSTILE, "three", State.FAILED, error=f"{HOSTILE}\n  | {HOSTILE}", check=HOSTILE),
            Outcome(HOSTILE, "four", State.SKIPPED, reason=HOSTILE),
            Outcome("b", "five", State.PENDING, reason=HOSTILE),
        ),
        proofs=(proof,),
        summaries=(HostSummary(HOSTILE, HOSTILE, True, HOSTILE, *[HOSTILE] * 6, (HOSTILE,)),),  # noqa: FBT003
        errors=(Failure(HOSTILE, "internal-error"),),
        causes=(Diagnosis((Problem("ip-forward", HOSTILE, HOSTILE, {"host": HOSTILE}, where=HOSTILE),)),),
        fixes=tuple(
            Fix("ip-forward", HOSTILE, (HOSTILE,), state=state, error=f"{HOSTILE}\n{HOSTILE}", reason=HOSTILE)
            for state in (State.CONVERGED, State.FAILED, State.SKIPPED)
        ),
        lost={HOSTILE: Failure(HOSTILE, "host-unreachable")},
    )


def shown(report, **options):
    out, err = io.StringIO(), io.StringIO()
    reports.show(report, out=out, err=err, **options)
    assert options.get("json") or not err.getvalue()
    return out.getvalue()


def examined(number=3, *, blocked=""):
    """Return a report of `doctor`. blocked: the host whose firewall drops the data port."""
    hosts = names(number)
    seen = tuple(
        pair(s, t, lost="address by_name full" if blocked in (s, t) else "", rtt=0.0003 + 0.0004 * (at % 7))
        for at, (s, t) in enumerate((s, t) for s in hosts for t in hosts if s != t)
    )
    overlay = ProofResult("overlay", "demo", State.FAILED if blocked else State.SETTLED, seen, mtu=1450, seconds=4.2)
    dns = ProofResult("dns", "demo", State.SETTLED, checks=tuple(Check(h, "external names", 0.1) for h in hosts))
    evidence = (
        f"node1 > {blocked}: 4789/udp packets lost: 20 sent, 20 left node1, 20 arrived at {blocked}, 0 passed its rules"
    )
    rule = "-A INPUT -p udp -m udp --dport 4789 -j DROP"
    values = {
        "protocols": "4789/udp",
        "at": blocked,
        "host": blocked,
        "source": "node1",
        "to": blocked,
        "rule": rule[3:],
    }
    cause = Diagnosis(
        (Problem("vxlan-blocked", blocked, evidence, values, "here", where=f"{blocked}: `{rule}`"),),
        (Problem("overlay-blocked", blocked, "no answer"),),
        pairs=2 * (number - 1),
    )
    return Report(
        "doctor",
        "demo",
        hosts,
        int(bool(blocked)),
        8.4,
        outcomes=tuple(settled(hosts, "packages", "store", "daemon")),
        proofs=(overlay, dns),
        summaries=tuple(_described(host, at) for at, host in enumerate(hosts, start=1)),
        causes=(cause,) if blocked else (),
        looked_at=(
            "paths between hosts: 7946/tcp 6 of 6, packets of up to 1500 bytes",
            "engines: version 20.10.5, responding",
        ),
        paths=tuple(_path(s, t, blocked) for s in hosts for t in hosts if s != t),
        control_plane="kv",
    )


def _described(host, at):
    networks = (
        NetworkSummary("bridge", "bridge", "local", ("172.17.0.0/16",)),
        NetworkSummary("demo", "overlay", "global"),
    )
    return HostSummary(
        host, f"192.168.56.{10 + at}", reached=True, system="Debian 11", engine="20.10.5", advertise=f"192.168.56.{10 + at}:2376",
        store="consul", store_role="server" if at <= 3 else "client", leader="node1", containers=at, all_networks=networks,
        engine_state="running", networks=("demo",),
    )  # fmt: skip


def _path(source, target, blocked):
    lost = target == blocked
    data = PortSeen(4789, "udp", 20, 20, 20, 0 if lost else 20, 100 if lost else 0, target if lost else "")
    gossip = PortSeen(7946, "tcp", 1, 1, 1, 1, seconds=0.0005)
    return PathSeen(source, target, 1500, (data, gossip))
