"""Hosts that an earlier version set up keep running under this version, which also removes everything the earlier one wrote."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import pytest

from provisioner.lab import enter_switch
from provisioner.steps import OWNED
from provisioner.system import version
from provisioner.system.reading import DAEMON_JSON
from tests.e2e.cluster import Cluster
from tests.e2e.test_down import OF_PACKAGES, as_found, prints
from tests.e2e.watch import watching

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

EARLIER = "f482ccd2df2cbecc313d4f275812c22a33c4ad50"
PROJECT = Path(__file__).parents[2]
STORES = {"consul": "{kind: consul}", "etcd": "{kind: etcd}", "zookeeper": "{kind: zookeeper}", "swarm": ""}
# The host that is removed is the only server or manager, except for ZooKeeper, where no other host can take its place.
LEAVERS = {"zookeeper": "node2"}
HOSTS = {"etcd": 3}  # each is a server

# Files with type, mode, owner and checksum; units; chains and tables. Without files of packages, the engine and systemd.
SEEN = r"""
known=$(mktemp); cat /var/lib/dpkg/info/*.list | sort -u >"$known"
find /etc /run/provisioner* /usr/local /var/lib -xdev \
    \( -path /var/lib/docker -o -path /var/lib/containerd -o -path /var/lib/apt -o -path /var/lib/dpkg -o -path /var/lib/systemd \) -prune -o -print |
    sort | comm -23 - "$known" | while read -r path; do
        printf 'path %s %s %s\n' "$path" "$(stat -c '%F %a %U:%G' "$path")" "$([ -f "$path" ] && ! [ -L "$path" ] && sha256sum <"$path" | cut -c1-12)"
    done
rm "$known"
systemctl list-unit-files --state=enabled --no-legend 'provisioner*' | awk '{print "enabled " $1}'
systemctl list-units --all --no-legend --plain 'provisioner*' | awk '{print "loaded " $1}'
for of in iptables ip6tables; do $of-save | grep PROVISIONER; done
nft list tables | grep provisioner
true
"""
KEPT = (  # paths that stay on a removed host, and why
    r"/var/lib/provisioner(/record)? ",  # the record of the earlier state, which `down` reads
    r"/run/provisioner(/\S+\.lock)? ",  # a lock on a removed file would lock nothing; a reboot empties /run
    r"\S+\.bak(/\S*)? ",  # the store's data, and the earlier daemon.json
    r"/etc/(passwd|group|shadow|gshadow|subuid|subgid)-? ",  # users of packages
    r"/etc/docker(/key\.json)? ",  # the engine's own folder and its ID
    r"/etc/(rc\S+|\.java|alternatives|ca-certificates|ssl|zookeeper/conf)(/\S*)? ",  # created when packages are installed
    r"/etc/(ca-certificates\.conf|fonts/\S+) |/usr/local/share/(ca-certificates|fonts) ",  # likewise
    r"/etc/default/(cacerts|etcd) |/var/lib/etcd |/var/lib/zookeeper/myid ",  # likewise
    r"/etc/etcd ",  # empty: the earlier version did not record the folders that it created
    r"/etc/(ld.so.cache|mailcap|\.pwd\.lock|\.updated|resolv.conf\S*) ",
)

# The places where the earlier version wrote. Packages that it installed also created files elsewhere.
PLACES = "path (/etc/(provisioner|systemd|docker|consul.d|etcd|zookeeper)|/run/provisioner|/usr/local/s?bin|/var/lib/(consul|etcd|zookeeper))"
ALLOWED = rf"path ({'|'.join(KEPT)})"


@pytest.fixture(scope="module")
def earlier(tmp_path_factory) -> Path:
    """The code of the earlier version."""
    git = ["git", "-C", str(PROJECT)]
    if subprocess.run([*git, "cat-file", "-e", f"{EARLIER}^{{commit}}"], capture_output=True, check=False).returncode:
        pytest.skip(f"this clone has no history: the revision {EARLIER[:7]} is missing")
    folder: Path = tmp_path_factory.mktemp("earlier")
    code = subprocess.run([*git, "archive", EARLIER, "provisioner", "templates"], capture_output=True, check=True)
    subprocess.run(["tar", "x", "-C", str(folder)], input=code.stdout, check=True)
    return folder


def run_earlier(cluster: Cluster, code: Path, command: str) -> None:
    """Run a command of the earlier version, which must succeed. It does not know the key `config` of `ssh`."""
    inventory = cluster.folder / "earlier.yml"
    inventory.write_text(cluster.inventory.read_text().replace(", config: none", ""))
    done = subprocess.run(
        [sys.executable, "-m", "provisioner", command, str(inventory)],
        cwd=code, env={**os.environ, "PYTHONPATH": str(code)}, capture_output=True, text=True, timeout=400,
        preexec_fn=partial(enter_switch, cluster.lab.name), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def seen(cluster: Cluster, host: str) -> set[str]:
    return set(cluster.sh(host, SEEN, timeout=120).splitlines())


def unknown(lines: set[str]) -> list[str]:
    """The paths that the earlier version created on a fresh host and that this version does not declare as its own."""
    ours = (*OWNED.files, *OWNED.unit_files, *OWNED.folders, *OWNED.programs, DAEMON_JSON)
    ours += tuple(f"/etc/systemd/system/*.wants/{unit}" for unit in OWNED.units)
    ours += ("/run/provisioner-*",)  # runtime directories, which systemd removes with the units
    ours += tuple(f"{data.folder}{below}" for data in OWNED.data for below in ("", "/*"))
    made = sorted(line.split()[1] for line in lines if re.match(PLACES, line) and not re.match(ALLOWED, line))
    return [
        path for path in made if not any(fnmatch(path, pattern) for pattern in ours) and not path.endswith(".wants")
    ]


def processes(cluster: Cluster) -> dict[str, str]:
    """The processes of stores, engines and containers."""
    units = "docker consul etcd zookeeper provisioner-zookeeper"
    ask = f"for u in {units}; do systemctl show -p MainPID $u; done; docker inspect -f '{{{{.State.Pid}}}}' $(docker ps -q)"
    return {host: cluster.sh(host, ask) for host in cluster.lab.hosts}


@pytest.mark.some(2)
@pytest.mark.parametrize("kind", STORES)
def test_its_hosts_keep_running_and_are_left_clean(kind, earlier, make_lab, tmp_path, record_property):
    extra = "" if STORES[kind] else "control_plane: swarm\n"
    cluster = Cluster(make_lab(hosts=HOSTS.get(kind, 2)), tmp_path, store=STORES[kind], extra=extra)
    leaver = LEAVERS.get(kind, "node1")
    before_it = {host: seen(cluster, host) for host in cluster.lab.hosts}
    fresh = before_it[leaver]
    run_earlier(cluster, earlier, "up")
    assert any("/etc/provisioner/firewall.sh" in line for line in seen(cluster, leaver) - fresh)
    assert [(host, path) for host in cluster.lab.hosts for path in unknown(seen(cluster, host) - fresh)] == []

    with watching(cluster, cluster.lab.hosts, record_property, f"up on hosts of {EARLIER[:7]}, {kind}", makers=(), attaching=False):  # fmt: skip
        before = processes(cluster)
        assert cluster.run("plan").code == 2
        cluster.up()
        assert processes(cluster) == before, "no store, engine or container was restarted"
        again = cluster.run("plan")
        assert (again.code, again.report["writes"]) == (0, 0), again.err

    refuses_a_newer_one(cluster)
    removed = cluster.run(f"remove {leaver}", "--drain")
    assert removed.code == 0, removed.err
    left = {line for line in seen(cluster, leaver) - fresh if not re.match(ALLOWED, line)}
    assert left == set(), "\n".join(sorted(left))

    down = cluster.run("down", "--yes")
    assert down.code == 0, down.err
    for host in cluster.lab.hosts:
        left = {line for line in seen(cluster, host) - before_it[host] if not re.match(ALLOWED, line)}
        assert left == set(), "\n".join(sorted(left))


@pytest.mark.parametrize("kind", ["consul", "swarm"])
def test_down_asks_for_what_it_kept_no_record_of(kind, earlier, make_lab, tmp_path):
    """On a bare host it installed everything, and created a network of this host alone."""
    extra = "" if STORES[kind] else "control_plane: swarm\n"
    networks = "{demo: {subnet: 10.99.0.0/24}, own: {driver: bridge}}"
    cluster = Cluster(make_lab(hosts=1, image="bare"), tmp_path, store=STORES[kind], networks=networks, extra=extra)
    before = prints(cluster)
    run_earlier(cluster, earlier, "up")
    planned = cluster.run("down", "--plan", "--packages")
    (finding,) = [f for f in planned.report["findings"] if f["check"] == "unrecorded"]
    assert {"network own", "package docker.io", "package iptables"} <= set(
        re.split(r", |may have added ", finding["what"])
    )
    assert planned.drifts("networks") == ["network demo"]
    assert cluster.killed(3, "answered", "--yes", "--packages", "--data", "--unrecorded", command="down").code == -9
    down = cluster.run("down", "--yes", "--packages", "--data", "--unrecorded")
    assert down.code == 0, down.err
    as_found(cluster, before, OF_PACKAGES)


def refuses_a_newer_one(cluster: Cluster) -> None:
    """On hosts that a newer version has changed, this version changes nothing and names both versions."""
    cluster.sh("node2", f"echo 'format 9, since provisioner 8.7.6' >{version.PATH}; iptables -F PROVISIONER")
    refused = cluster.run("up")
    assert (refused.code, refused.report["writes"]) == (1, 0)
    (finding,) = [f for f in refused.report["findings"] if f["check"] == "newer-version"]
    assert {"node2", "format 9", "8.7.6", f"format {version.FORMAT}"} <= {
        word for word in ("node1", "node2", "format 9", "8.7.6", f"format {version.FORMAT}") if word in json.dumps(finding)
    }  # fmt: skip
    assert "node1" not in finding["what"]
    cluster.sh("node2", f"printf '{version.TEXT}' >{version.PATH}")
    cluster.up()
