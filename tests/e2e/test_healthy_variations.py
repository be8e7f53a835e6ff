"""`doctor` reports nothing on healthy clusters that differ from the textbook. The table is in variations.py.

A third of the variations is tried, chosen by the seed; all of them with PROVISIONER_ALL=1; those with a name that matches the regular
expression in PROVISIONER_VARIATION.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from provisioner.errors import LabError
from tests.e2e.cluster import Cluster
from tests.e2e.test_doctor import SEED, back, containers, settle
from tests.e2e.variations import (
    EACH,
    FRESH,
    ON_OLDER_SWARMS,
    ON_OTHER_STORES,
    ON_STORE,
    ON_SWARM,
    VARIABLES,
    Fresh,
    Settled,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from provisioner.lab import Lab
    from tests.e2e.cluster import Run

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1500)]


def chosen(rows: Sequence[Any]) -> list[Any]:
    """Return a third of the rows, or all; in their order, so that a failure can be repeated."""
    if os.environ.get("PROVISIONER_ALL") == "1":
        return list(rows)
    if only := os.environ.get("PROVISIONER_VARIATION"):  # a regular expression
        return [row for row in rows if re.search(only, row.name)]
    picked = random.Random(SEED).sample(range(len(rows)), -(-len(rows) // 3))
    return [rows[at] for at in sorted(picked)]


def on(cluster: Cluster, hosts: Sequence[str], script: str, *, check: bool = True) -> None:
    for host in hosts if script else ():
        variables = f"set -a\n{VARIABLES}HOST={host} SELF={cluster.lab.address(host)} N={host.removeprefix('node')}\n"
        cluster.sh(host, variables + script, check=check, timeout=120)


def complaint(run: Run, row: Settled | Fresh) -> str:
    """Return what is wrong with the report of a healthy cluster, or ""."""
    true, places = getattr(row, "found", frozenset()), set(row.hosts)
    causes = [c for c in run.report.get("causes", ()) if c["id"] not in true or not set(c["hosts"]) <= places]
    if run.report and not causes and (run.code == 0 or true):
        return ""
    return (
        f"{row.name}: exit code {run.code}, {[(c['id'], c['hosts'], c['evidence']) for c in causes]}\n{run.err[-1500:]}"
    )


def ready(cluster: Cluster) -> None:
    """Wait until the managers of a swarm are back, and nothing differs."""
    if not cluster.store:
        back(cluster)
    settle(cluster)


def examined(cluster: Cluster, row: Settled) -> tuple[str, float]:
    """Make the variation, run `doctor`, and take the variation back. Returns what is wrong, and how long `doctor` took."""
    cluster.extra = row.inventory
    for host in row.hosts if row.lab else ():
        for method in row.lab:
            getattr(cluster.lab, method)(host)
        ready(cluster)
    try:
        on(cluster, ("node1",), row.manager)
        on(cluster, row.hosts, row.make)
        run = cluster.run("doctor")
        return complaint(run, row), run.report.get("seconds", 0.0)
    except LabError as error:
        return f"{row.name}: {error}", 0.0
    finally:
        on(cluster, row.hosts, row.undo, check=False)
        on(cluster, ("node1",), row.manager_undo, check=False)
        cluster.extra = ""


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("consul", ON_STORE),
        ("etcd", ON_OTHER_STORES),
        ("zookeeper", ON_OTHER_STORES),
        ("swarm-28", ON_SWARM),
        ("swarm-26", ON_OLDER_SWARMS),
        ("swarm", ON_OLDER_SWARMS),
    ],
    ids=["consul", "etcd", "zookeeper", "swarm-28", "swarm-26", "swarm"],
)
def test_a_settled_cluster_that_differs_is_healthy(settled, capsys, kind, rows):
    rows = chosen(rows)
    if not rows:
        pytest.skip("no variation was chosen")
    cluster, wrong = settled(kind), []
    containers(cluster)
    for row in rows:
        said, seconds = examined(cluster, row)
        ready(cluster)
        containers(cluster)
        wrong += filter(None, [said])
        with capsys.disabled():
            print(f"{row.name}: {seconds:.1f} s, {'wrong' if said else 'nothing found'}")
    assert not wrong, f"seed {SEED}:\n" + "\n".join(wrong)
    assert cluster.run("verify").code == 0


def _second_interface(lab: Lab, host: str, mtu: int) -> None:
    """Plug an interface eth1 of the host into a second switch."""
    port, pid = f"b{host.removeprefix('node')}", lab._host(host).init
    script = f"""ip link show second >/dev/null 2>&1 || ip link add second type bridge stp_state 0 forward_delay 0
ip link del {port} 2>/dev/null
ip link add {port} mtu {mtu} type veth peer name eth1 mtu {mtu} netns {pid} && ip link set {port} master second up && ip link set second up"""
    subprocess.run(["nsenter", f"--net={lab.folder / 'switch'}", "sh", "-c", script], check=True)
    lab.exec(host, "ip link set eth1 up")


def test_a_cluster_on_hosts_that_differ_is_healthy(make_lab, tmp_path: Path, capsys):
    rows, lab, wrong = chosen(FRESH), None, []
    for row in rows:
        if lab:
            lab.reset()
        lab = lab or make_lab()
        advertise = {host: f", advertise: {row.advertise.format(n=host[4:])}" for host in EACH} if row.advertise else {}
        cluster = Cluster(lab, tmp_path, hosts=row.hosts, per_host=advertise, networks=row.networks)
        for host in row.hosts if row.second else ():
            _second_interface(lab, host, row.second)
        on(cluster, row.hosts, row.make)
        up = cluster.run("up")
        run = cluster.run("doctor") if up.code == 0 else up
        said = complaint(run, row)
        wrong += filter(None, [said])
        with capsys.disabled():
            print(f"{row.name}: {run.report.get('seconds', 0):.1f} s, {'wrong' if said else 'nothing found'}")
    assert not wrong, f"seed {SEED}:\n" + "\n".join(wrong)
