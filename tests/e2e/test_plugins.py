"""Network plugins: the example inventory with a real remote driver on every host.

The driver runs once as a separate process and once as a managed plugin of the engine. Another driver is reached over TLS, and
its network is shared by all hosts.
"""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import tarfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from provisioner.lab.recipes import SWITCH_ADDRESS
from provisioner.system import certificates
from tests.e2e.execs import execs
from tests.e2e.test_inventories import EXAMPLES, Example
from tests.e2e.their_store import put

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.lab

SECRET = "a-setting-that-is-a-secret"
NODES = ("node1", "node2", "node3")
REGISTRY = Path(__file__).with_name("registry.py")
TLS_FRONT = Path(__file__).with_name("tls_front.py")
PORT, LOGIN = 5000, "someone:pa:ß'\""
DRIVER = Path(__file__).with_name("remote_driver.pl").read_text()
SOCKET = "/run/overnet/overnet.sock"
PLAIN, SECURE = 6001, 6002  # the driver's port on loopback, and the port of the TLS proxy in front of it
# The ACCEPT rule is needed because the engine's rules drop packets that other bridges forward.
RUNS = f"""mkdir -p {SOCKET.rpartition("/")[0]}; printf %s {base64.b64encode(DRIVER.encode()).decode()} | base64 -d >/root/driver.pl
iptables -I FORWARD -i rd-+ -o rd-+ -j ACCEPT
systemd-run -q --unit overnet perl /root/driver.pl """
CONFIG = {
    "Description": "a bridge for each network", "Documentation": "", "Entrypoint": ["/usr/bin/perl", "/driver.pl", "/run/docker/plugins/house.sock"],
    "WorkDir": "/", "User": {}, "Interface": {"Types": ["docker.networkdriver/1.0"], "Socket": "house.sock"}, "Network": {"Type": "host"},
    "Linux": {"Capabilities": ["CAP_NET_ADMIN"], "AllowAllDevices": False, "Devices": None}, "Mounts": None, "PropagatedMount": "",
    "Env": [{"Name": "LEVEL", "Description": "", "Settable": ["value"], "Value": "none"}],
    "Args": {"Name": "", "Description": "", "Settable": None, "Value": None}, "IpcHost": False, "PidHost": False,
}  # fmt: skip
# A root file system from the host's programs: perl with the driver's modules, ip, and their libraries.
ARCHIVE = f"""set -e
cd "$(mktemp -d)"; mkdir -p rootfs/run/docker/plugins rootfs/proc rootfs/sys rootfs/dev rootfs/etc rootfs/tmp
take() {{ while read -r file; do mkdir -p "rootfs${{file%/*}}"; cp -L "$file" "rootfs$file"; done; }}
{{ for program in /usr/bin/perl /sbin/ip; do echo $program; ldd $program | grep -o '/[^ ]*'; done
perl -e 'use Socket; use strict; use warnings; print "$_\\n" for values %INC'; find /usr/lib -path '*/auto/Socket/Socket.so'; }} | sort -u | take
cp /root/driver.pl rootfs/driver.pl
printf %s {base64.b64encode(json.dumps(CONFIG).encode()).decode()} | base64 -d >config.json
tar -c config.json rootfs | base64 -w0"""


@contextmanager
def serving(net: object, *argv: object) -> Iterator[None]:
    """Run a Python program in a network namespace, and wait until it prints "serving"."""
    command = ["nsenter", f"--net={net}", sys.executable, *map(str, argv)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "serving\n"
            yield
        finally:
            process.kill()


def listed(cluster: Example, node: str) -> str:
    return cluster.sh(node, "docker plugin ls --format '{{.Name}} {{.Enabled}}'")


def variant(archive: Path, name: str, **config: object) -> Path:
    """Write an archive of the plugin with a changed configuration."""
    made = archive.with_name(name)
    with tarfile.open(archive) as old, tarfile.open(made, "w") as new:
        for member in old:
            data = old.extractfile(member) if member.isfile() else None
            if member.name == "config.json":
                text = json.dumps(json.load(data) | config).encode()
                member.size, data = len(text), io.BytesIO(text)
            new.addfile(member, data)
    return made


def level(cluster: Example, node: str) -> str:
    return cluster.sh(node, "docker plugin inspect -f '{{.Settings.Env}}' housenet")


def test_networks_of_plugins(make_lab, tmp_path):
    cluster = Example(make_lab(hosts=3), tmp_path)
    cluster.adapt((EXAMPLES / "plugins.yml").read_text())
    plugins, networks = cluster.given["plugins"], cluster.given["networks"]
    del plugins["widenet"], networks["wide"]  # for the next test
    branchnet, branch = plugins.pop("branchnet"), networks.pop("branch")  # added below
    for node in NODES:
        cluster.sh(node, RUNS + SOCKET)
    insecure = f'{{"insecure-registries": ["{SWITCH_ADDRESS}:{PORT}"]}}'
    cluster.sh("node1", f"echo '{insecure}' >/etc/docker/daemon.json; systemctl reload docker")
    (tmp_path / "files").mkdir()
    (tmp_path / "files/housenet.tar").write_bytes(base64.b64decode(cluster.sh("node1", ARCHIVE)))

    run = cluster.up()
    assert {run.state("plugins", node) for node in NODES} == {"converged"}
    assert [listed(cluster, node) for node in NODES] == ["housenet:latest true"] * 3
    assert {cluster.file(node, "/etc/docker/plugins/overnet.spec") for node in NODES} == {f"unix://{SOCKET}"}
    assert {level(cluster, node) for node in NODES} == {"[LEVEL=info]"}
    assert {cluster.sh(node, "ls /var/lib/provisioner-plugin* 2>/dev/null; true") for node in NODES} == {""}
    assert cluster.run("plan").code == 0

    for node, network in (("node1", "over"), ("node2", "house"), ("node3", "over"), ("node3", "house")):
        cluster.box(node, f"one-{network}", network)
        cluster.box(node, f"two-{network}", network)
        cluster.sh(node, f"docker exec two-{network} ping -c 1 -W 5 one-{network}")
    assert "NetworkDriver.Join" in cluster.sh("node1", "journalctl -u overnet -o cat")
    for node, network in (("node2", "house"), ("node3", "house")):
        cluster.sh(node, f"docker rm -f one-{network} two-{network}")

    # Drift: a changed spec file, and a setting that can't be changed while networks use the plugin.
    del networks["over"]  # it is proven; keeping it would only repeat its proof
    cluster.sh("node1", "echo unix:///elsewhere >/etc/docker/plugins/overnet.spec")
    plugins["housenet"]["settings"] = {"LEVEL": SECRET}
    drifts = {d["what"]: d for d in cluster.run("plan").outcome("plugins", "node1")["drifts"]}
    assert drifts.keys() == {"/etc/docker/plugins/overnet.spec", "plugin housenet"}
    assert (drifts["plugin housenet"]["note"], drifts["plugin housenet"]["wanted"]) == (
        "new settings",
        "",
    )  # values may be secrets
    run = cluster.run("up")
    assert run.code == 1
    assert "can't disable the plugin housenet: its networks are in use" in run.outcome("plugins", "node2")["error"]
    assert {level(cluster, node) for node in NODES} == {"[LEVEL=info]"}
    for node in NODES:
        cluster.sh(node, "docker network rm house")
    with execs() as started:
        cluster.up()
    assert started.holding({SECRET}) == []
    assert {level(cluster, node) for node in NODES} == {f"[LEVEL={SECRET}]"}
    assert cluster.file("node1", "/etc/docker/plugins/overnet.spec") == f"unix://{SOCKET}"
    cluster.sh("node3", "docker exec two-over ping -c 1 -W 5 one-over")  # the other plugin was not touched
    assert cluster.run("plan").code == 0

    # From a registry: a plugin that requests a privilege that is not granted is not installed.
    branchnet["image"] = branchnet["image"].replace("registry.example.net", f"{SWITCH_ADDRESS}:{PORT}")
    plugins["branchnet"], networks["branch"] = branchnet, branch
    del networks["house"]
    house = tmp_path / "files/housenet.tar"
    refused_by_registry(cluster, house)
    with serving(cluster.lab.folder / "switch", REGISTRY, SWITCH_ADDRESS, PORT, LOGIN, house):
        cluster.up()
    assert set(listed(cluster, "node1").splitlines()) == {"housenet:latest true", "branchnet:latest true"}
    assert listed(cluster, "node2") == "housenet:latest true"
    assert cluster.run("plan").code == 0


def refused_by_registry(cluster: Example, house: Path) -> None:
    """The registry requires a login. A plugin is refused for a privilege with a line break, a moved tag, or a missing grant."""
    login = base64.b64encode(LOGIN.encode()).decode()
    kept = json.dumps({"auths": {f"{SWITCH_ADDRESS}:{PORT}": {"auth": login}}})
    cluster.sh("node1", f"mkdir -p /root/.docker; echo '{kept}' >/root/.docker/config.json")
    odd = variant(
        house, "odd.tar", Mounts=[{"Source": "/\nx", "Destination": "/x", "Type": "bind", "Options": ["rbind"]}]
    )
    later = variant(house, "later.tar", Description="another")
    for archives, error in {
        (odd,): "the plugin branchnet requests more than it is granted: mount /\\x0ax",
        # The tag moves after the engine has reported the plugin's privileges.
        (
            house,
            house,
            later,
        ): "is no longer the plugin whose privileges were checked, sha256:",
    }.items():
        with serving(cluster.lab.folder / "switch", REGISTRY, SWITCH_ADDRESS, PORT, LOGIN, *archives):
            assert error in cluster.run("up").outcome("plugins", "node1")["error"]
        assert "branchnet" not in listed(cluster, "node1")
    branchnet, grant = cluster.given["plugins"]["branchnet"], cluster.given["plugins"]["branchnet"]["grant"]
    with serving(cluster.lab.folder / "switch", REGISTRY, SWITCH_ADDRESS, PORT, LOGIN, house):
        branchnet["grant"] = grant[:1]
        error = cluster.run("up").outcome("plugins", "node1")["error"]
    assert "the plugin branchnet requests more than it is granted: capabilities CAP_NET_ADMIN" in error
    assert "branchnet" not in listed(cluster, "node1")
    branchnet["grant"] = grant


def test_a_network_of_a_plugin_that_all_hosts_share(make_lab, tmp_path):
    """The network is created once and proven across hosts, like an overlay. The driver accepts only engines with a certificate."""
    cluster = Example(make_lab(hosts=3), tmp_path)
    cluster.adapt((EXAMPLES / "plugins.yml").read_text())
    widenet = cluster.given["plugins"]["widenet"]
    cluster.given |= {
        "plugins": {"widenet": {"address": widenet["address"]}},
        "networks": {"wide": cluster.given["networks"]["wide"]},
    }
    authority = certificates.authority("plugins")
    server, engine = (
        certificates.issue(authority, name, names=[], addresses=["127.0.0.1"]) for name in ("driver", "engines")
    )
    for name, text in (("ca", authority.certificate), ("cert", server.certificate), ("key", server.key)):
        (tmp_path / name).write_text(text)
    files = {"ca": authority.certificate, "cert": engine.certificate, "key": engine.key}
    addresses = {node: str(cluster.lab.address(node)) for node in NODES}
    with ExitStack() as fronts:
        for node in NODES:
            cluster.sh(
                node, RUNS + " ".join([str(PLAIN), addresses[node], *(addresses[n] for n in NODES if n != node)])
            )
            put(cluster, node, tuple(widenet["tls"][name] for name in files), tuple(files.values()))
            loopback = f"/proc/{cluster.lab._host(node).init}/ns/net"
            fronts.enter_context(
                serving(loopback, TLS_FRONT, SECURE, PLAIN, *(tmp_path / name for name in ("ca", "cert", "key")))
            )
        run = cluster.run("up")
        assert run.code == 1
        assert 'legacy plugin: Post "http://127.0.0.1' in run.err
        assert "and after a restart: systemctl restart docker" in run.err
        for node in NODES:
            cluster.sh(node, "systemctl restart docker")
        cluster.given["plugins"]["widenet"] = widenet
        run = cluster.up()
        (proof,) = run.overlays
        assert (proof["network"], len(proof["pairs"]), proof["mtu"]) == ("wide", 6, 1450)
        assert (
            len({cluster.sh(node, "docker network inspect -f '{{.Id}} {{.Driver}} {{.Scope}}' wide") for node in NODES})
            == 1
        )
        assert cluster.up().report["writes"] == 0
        assert "NetworkDriver.Join" in cluster.sh("node2", "journalctl -u overnet -o cat")
