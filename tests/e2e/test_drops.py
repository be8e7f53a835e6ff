"""`doctor --deep` on real hosts: the kernel's reasons for lost packets, and nothing is left of the recording, however it ends."""

from __future__ import annotations

import re
import secrets
import shlex

import pytest

from provisioner import render
from provisioner.lab import FAULTS

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

# All labs share one kernel, and so its instances: those of other tests come and go.
INSTANCES = "unshare -m --propagation private sh -c 'mount -t tracefs t /sys/kernel/tracing; ls /sys/kernel/tracing/instances' | grep provisioner-"
ENDS = {
    "kill": "kill -KILL $p",
    "terminate": "kill -TERM $p",
    "hang up": "kill -HUP $p",
    "end of input": "exec 9>&-",
    "stop": "echo stop >&9",
}


def test_the_kernel_says_why_it_drops_packets(settled):
    cluster = settled("consul")
    cluster.lab.break_(FAULTS["vxlan-blocked"], "node2", "")
    run = cluster.run("doctor", "--deep", "--only", "underlay")
    (cause, *_) = run.report["causes"]
    assert (cause["id"], cause["hosts"]) == ("vxlan-blocked", ["node2"]), run.err
    reason = r"the kernel of node2 dropped packets of the test: NETFILTER_DROP in nft_do_chain \(\d\d+\)"
    assert re.search(reason, cause["evidence"][0])
    usual = cluster.run("doctor", "--only", "underlay")  # in a lab, --deep is not needed
    assert re.search(reason, usual.report["causes"][0]["evidence"][0])
    cluster.lab.heal()
    well = cluster.run("doctor", "--deep", "--only", "underlay")
    assert (well.code, well.report["causes"], "reasons for drops" in well.err) == (0, [], False), well.err
    for left in cluster.sh("node1", INSTANCES, check=False).split():
        cluster.sh(
            "node1", f"for n in $(seq 60); do {INSTANCES} | grep -q {left} || exit 0; sleep 1; done; exit 1", timeout=90
        )
    assert cluster.sh("node1", "grep -c tracefs /proc/mounts", check=False) == "0"

    for how, ends in ENDS.items():
        token = secrets.token_hex(8)
        program, ours = f"{shlex.quote(render.text('drops.pl'))} 52 none {token}", f"{INSTANCES}{token}"
        begun, left = cluster.sh(
            "node1",
            f"""cd /run; rm -f f out; mkfifo f; exec 9<>f
            unshare -m --propagation private perl -e {program} <f >out 2>&1 9>&- & p=$!
            for n in $(seq 100); do grep -qs ready out && break; sleep 0.1; done; cat out | tr '\\n' ' '
            {ours} | wc -l
            {ends}
            for n in $(seq 100); do {ours} >/dev/null || break; sleep 0.1; done; {ours} | wc -l""",
        ).split("\n")
        assert (begun, left) == ("ready 1", "0"), how
