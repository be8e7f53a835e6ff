from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from provisioner.proofs.evidence import Evidence


def told(*lines: str) -> Evidence:
    evidence = Evidence()
    for line in lines:
        evidence.take(line)
    return evidence


def test_every_line_of_a_probe():
    evidence = told(
        "ready 10.99.0.254 1450",
        "see 2 name 0.0021",
        "see 2 address 0.3001",
        "see 2 by_name 0.3002",
        "lack 2 full too large for the path",
        "largest 2 1350",
        "nameless 3.1",
        "met 0 name 0.1",
        "tried 0 4",
        "outside 127.0.0.11 0.02 no address",
        "silent 192.0.2.53 connection refused",
        "conf search a.test b.test",
        "bulk 2 1048576 0.0123",
        "changed 3 2 65536",
        "changed 4 1 message",
        "stalled 5 131072 5.1",
        "gap 2 0.150 0.4",
        "gap 2 3.250 1.5",
        "quiet 2 3.1 1.5",
        "cut 3 2 1.25 connection reset by peer",
        "checksums container 3",
        "checksums host 4",
        "heard 2 3",
        "done 4.5 0.03",
    )
    assert (evidence.address, evidence.mtu) == (IPv4Address("10.99.0.254"), 1450)
    assert evidence.seen == {(2, "name"): 0.0021, (2, "address"): 0.3001, (2, "by_name"): 0.3002}
    assert evidence.lacks == {(2, "full"): "too large for the path"}
    assert evidence.largest == {2: 1350}
    assert evidence.heard == {2, 3}
    assert evidence.nameless
    assert (evidence.met, evidence.tried) == ({(0, "name"): 0.1}, {0: 4})
    assert evidence.outside == {"127.0.0.11": (0.02, "no address")}
    assert evidence.silent == {"192.0.2.53": "connection refused"}
    assert evidence.conf == {"search": ("a.test", "b.test")}
    assert evidence.bulk == {2: (1048576, 0.0123)}
    assert evidence.changed == {3: (2, "65536"), 4: (1, "message")}
    assert evidence.stalled == {5: (131072, 5.1)}
    assert (evidence.gaps, evidence.quiet) == ({2: (3.25, 1.5)}, {2: (3.1, 1.5)})
    assert evidence.cuts == {3: (2, 1.25, "connection reset by peer")}
    assert evidence.checksums == {"container": 3, "host": 4}
    assert (evidence.seconds, evidence.cpu, evidence.error) == (4.5, 0.03, "")
    assert not evidence.proven(2)


def test_nobody_heard_is_not_the_same_as_not_told():
    assert told("heard").heard == frozenset()
    assert Evidence().heard is None


def test_a_fact_counts_from_the_start_of_the_first_container():
    evidence = Evidence(offset=3.0)
    evidence.take("see 2 name 0.5")
    evidence.take("done 1.0 0.1")
    assert evidence.seen == {(2, "name"): 3.5}
    assert evidence.seconds == 4.0


def test_its_own_error():
    assert told("error no way to 127.0.0.11: permission denied").error == "no way to 127.0.0.11: permission denied"


@pytest.mark.parametrize(
    "line",
    [
        "", "ready", "ready here 1450", "ready 10.99.0.2 big", "see 2 colour 0.1", "see two name 0.1", "see 2 name",
        "lack 2 colour none", "lack 2 name", "done nan 0.1", "done inf 0.1", "see 2 name 1e400", "see \u00b2 name 0.1", "tried \u0661 1",
        "ready 10.99.0.2 \u0661\u0664", f"largest 2 {'9' * 5000}", "see -1 name 0.1", "largest 2", "done 1", "done soon 1", "error", "hello", "heard you",
        "bulk 2 1048576", "bulk 2 -1 0.1", "bulk 2 1 nan", "changed 2 1 here", "changed 2 x 1", "stalled 2 1", "gap 2 1", "gap 2 inf 1",
        "quiet 2 1 -1", "cut 2 1 0.5", "cut 2 x 0.5 why", "checksums 1 2", "checksums host -1", "checksums switch 1",
        "met 0 colour 1", "met 0 name", "tried 0", "outside 127.0.0.11 0.1", "silent x", "conf nameserver x", "conf",
    ],
)  # fmt: skip
def test_what_no_probe_says(line):
    with pytest.raises(ValueError):  # noqa: PT011 - also of int() and float()
        told(line)
