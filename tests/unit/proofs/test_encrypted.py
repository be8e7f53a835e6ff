"""The encryption proof: the result from what hosts saw of a network's packets, and templates/esp.pl on a real interface."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from types import SimpleNamespace

import pytest

from provisioner import render
from provisioner.model import State
from provisioner.proofs import encrypted
from provisioner.proofs.evidence import Evidence
from provisioner.system import networks

CARRIED = encrypted.Carried(4789, 4097, {"node1": "192.0.2.1", "node2": "192.0.2.2", "node3": "192.0.2.3"})


def probe(name, *lines, **put):
    evidence = Evidence(**put)
    for line in ("ready 10.99.0.2 1424", *lines, "done 0.3 0.02"):
        evidence.take(line)
    return SimpleNamespace(name=name, evidence=evidence)


def test_all_that_leaves_is_encrypted():
    probes = [probe("node1", "esp 192.0.2.2"), probe("node2", "esp 192.0.2.1")]
    result = encrypted.result("demo", probes, CARRIED)
    assert (result.proof, result.network, result.state, result.error) == ("encrypted", "demo", State.SETTLED, "")
    assert [(check.host, check.seconds) for check in result.checks] == [("node1", 0.3), ("node2", 0.3)]


def test_what_can_be_read_what_has_not_gone_and_a_probe_that_failed():
    probes = [
        probe("node1", "esp 192.0.2.2", "clear 192.0.2.2"),
        probe("node2", "clear 192.0.2.1"),
        probe("node3", "esp 192.0.2.1"),
        probe("node4", error="no such network"),
    ]
    result = encrypted.result("demo", probes, CARRIED)
    assert result.state is State.FAILED
    assert [(check.host, check.detail) for check in result.checks if not check.proven] == [
        ("node1", "packets to 192.0.2.2 are not encrypted"),
        ("node2", "packets to 192.0.2.1 are not encrypted"),
        ("node3", "no encrypted packet was sent to 192.0.2.2"),
        ("node4", "no such network"),
    ]
    assert "4 of 4 checks failed" in result.error
    assert [(problem.id, problem.host) for problem in result.problems] == [
        ("packets-readable", name) for name in ("node1", "node2", "node3")
    ], "nothing is known about a host whose probe failed"


def test_a_network_whose_number_nobody_tells_is_not_called_proven():
    assert encrypted.result("demo", [probe("node1")], None).state is State.SKIPPED


@pytest.mark.parametrize(
    ("options", "number"),
    [
        ({networks.VNI: "4097"}, 4097),
        ({networks.VNI: "4097,4098"}, 4097),
        ({networks.VNI: ""}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_number_of_a_network(options, number):
    assert networks.vni({"Options": options}) == number


SENDS = """
socket my $udp, PF_INET, SOCK_DGRAM, 0 or die $!;
socket my $esp, PF_INET, SOCK_RAW, 50 or die $!;
sub vxlan { my ($to, $port, $vni) = @_; send $udp, pack("C x3 N x50", 8, $vni << 8), 0, sockaddr_in($port, inet_aton($to)) or die $! }
vxlan("192.0.2.2", 4789, 4097) for 1 .. 3;
vxlan("192.0.2.3", 4789, 4098);  # another network's
vxlan("192.0.2.3", 4790, 4097);  # another port
send $esp, "x" x 40, 0, sockaddr_in(0, inet_aton("192.0.2.4")) or die $! for 1 .. 3;
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and ip, for a network namespace")
def test_packets_are_told_apart_where_they_leave():
    script = """ip link add there type veth peer name here; ip link set there up; ip link set here up
ip address add 192.0.2.1/24 dev here; for n in 2 3 4; do ip neighbour add 192.0.2.$n lladdr 02:00:00:00:00:0$n dev here; done
trap "" TERM; perl -e "$0" 4789 4097 20 & sleep 0.3; perl -MSocket -e "$1"; sleep 0.3; kill $!; wait; echo ended"""
    began = time.monotonic()
    argv = ["unshare", "--net", "sh", "-ec", script, render.text("esp.pl"), SENDS]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert said.split("\n") == ["clear 192.0.2.2", "esp 192.0.2.4", "ended", ""]
    assert time.monotonic() - began < 10
