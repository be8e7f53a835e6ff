"""`doctor --collect` on real hosts: the evidence of all that answer is in one archive, and none of the planted secrets is."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import re
import socket
import struct
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from provisioner.lab import FAULTS
from tests.e2e.test_doctor import containers

if TYPE_CHECKING:
    from tests.e2e.cluster import Cluster

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgplantedKeyPlanted4
hRANCAATplantedKeyPlanted4hRANCAAT
-----END PRIVATE KEY-----
"""
PLANTED = {
    "label of the engine": "planted-label-1",
    "environment of a container": "planted-environment-2",
    "password of a container": "planted-password-3",
    "command of a container": "planted-command-4",
    "label of a container": "planted-tag-5",
    "environment of a unit": "planted-unit-6",
    "URL in the journal": "planted-url-7",
    "header in the journal": "planted-header-8",
    "option of a network": "planted-option-9",
    "unlock key": "SWMKEY-1-plantedUnlockKey10",
    "join token": "SWMTKN-1-plantedjointoken11-plantedjointoken11",
    "key of an encrypted network": "706c616e746564206b65792031322121706c616e",
    "private key": "plantedKeyPlanted4hRANCAAT",
}


def plant(cluster: Cluster) -> None:
    """Put a secret wherever one may be on node1."""
    planted, password = PLANTED, PLANTED["password of a container"]
    logged = "\n".join((
        f"GET http://user:{planted['URL in the journal']}@proxy.example/",
        f"Authorization: Token {planted['header in the journal']}",
        f"unlock with {planted['unlock key']}, join with {planted['join token']}",
        f"login as {password}",
        base64.b64encode(f"as {password}".encode()).decode(),
        KEY,
    ))  # fmt: skip
    cluster.sh(
        "node1",
        f"""
        perl -0pi -e 's/\\{{/{{"labels": ["vault={planted["label of the engine"]}"],/' /etc/docker/daemon.json
        mkdir -p /etc/systemd/system/docker.service.d
        printf '[Service]\\nEnvironment="VAULT=%s"\\n' {planted["environment of a unit"]} >/etc/systemd/system/docker.service.d/planted.conf
        systemctl daemon-reload
        docker network create --label vault={planted["label of a container"]} -o vault={planted["option of a network"]} planted
        echo {base64.b64encode(logged.encode()).decode()} | base64 -d >/run/planted
        printf '[Service]\\nType=oneshot\\nExecStart=/bin/cat /run/planted\\n' >/run/systemd/system/provisioner-planted.service
        systemctl start provisioner-planted.service
        ip xfrm state add src 192.168.56.11 dst 192.168.56.12 proto esp spi 0x1234 mode transport \\
          aead 'rfc4106(gcm(aes))' 0x{planted["key of an encrypted network"]} 128 2>/dev/null || :
        """,
    )
    environment = f"-e MODE={planted['environment of a container']} -e DB_PASSWORD={password}"
    cluster.box(
        "node1", "planted", options=f"{environment} --label vault={planted['label of a container']} --hostname planted"
    )
    cluster.sh(
        "node1",
        f"docker run -d --name odd -v /usr:/usr:ro -v /bin:/bin:ro -v /lib:/lib:ro -v /lib64:/lib64:ro tests/box sh -c 'sleep 3600; echo {planted['command of a container']}'",
    )


def of_store(cluster: Cluster) -> dict[str, str]:
    """Return the secrets of Consul that the hosts have."""
    files = "/var/lib/consul/serf/local.keyring /etc/consul.d/provisioner-tokens.json /etc/consul.d/provisioner-management.json"
    text = cluster.sh("node1", f"cat {files} /etc/consul.d/provisioner-tls/agent-key.pem")
    found = re.findall(
        r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[A-Za-z0-9+/]{43}=|^[A-Za-z0-9+/=]{30,}$", text, re.MULTILINE
    )
    assert len(found) > 5
    return {f"secret {number} of the store": secret for number, secret in enumerate(found)}


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        files = {entry.name.partition("/")[2]: tar.extractfile(entry) for entry in tar}
        return {name: file.read() for name, file in files.items() if file}


def unfolded(raw: bytes, depth: int = 3) -> list[bytes]:
    """Return a content, and what is inside of it in base64 and gzip."""
    found = [raw]
    if depth:
        inner = []
        for word in set(re.findall(rb"[A-Za-z0-9+/_-]{12,}", raw)):
            plain = word.translate(bytes.maketrans(b"-_", b"+/"))
            for start in range(4):
                cut = plain[start:]
                inner.append(base64.b64decode(cut[: len(cut) // 4 * 4]))
        joined = b"\n".join(inner)
        found += [joined]
        for at in [match.start() for match in re.finditer(rb"\x1f\x8b\x08", raw)]:
            try:
                found += unfolded(gzip.GzipFile(fileobj=io.BytesIO(raw[at:])).read(), depth - 1)
            except (OSError, EOFError):
                continue
    return found


def leaked(files: dict[str, bytes], secrets: dict[str, str]) -> list[tuple[str, str]]:
    return [
        (name, what)
        for name, raw in files.items()
        for content in unfolded(raw)
        for what, secret in secrets.items()
        if secret.encode() in content
    ]


def test_the_evidence_has_no_secret_and_a_dead_host_is_noted(settled, tmp_path):
    cluster, folder = settled("consul"), tmp_path / "evidence"
    folder.mkdir()
    containers(cluster)
    plant(cluster)
    secrets = PLANTED | of_store(cluster)
    cluster.lab.break_(FAULTS["vxlan-blocked"], "node2", "")
    cluster.lab.stop("node3")
    run = cluster.run("doctor", "--collect", str(folder))
    archive = run.report["archive"]
    path = Path(archive["path"])
    assert ([each.name for each in folder.iterdir()], path.parent) == ([path.name], folder), run.err
    assert (path.stat().st_mode & 0o777, path.stat().st_size) == (0o600, archive["size"])
    assert ("node3" in archive["missing"], "Look at the files before you share" in run.err) == (True, True)

    files = members(path)
    assert leaked(files | {"the log": run.log.encode()}, secrets) == []
    assert "command  node1  exit 0" in run.log
    report = json.loads(files["report.json"])
    assert "vxlan-blocked" in [cause["id"] for cause in report["causes"]]
    assert b"node3: " in files["contents.txt"]
    for host in ("node1", "node2"):
        complaint(files, host)
    text = {name: raw.decode(errors="replace") for name, raw in files.items()}
    assert "--dport 4789 -j DROP" in text["node2/iptables-nft.txt"] + text["node2/iptables.txt"]
    assert "login as (removed)" in text["node1/journal.txt"]
    assert "GET http://(removed)@proxy.example/" in text["node1/journal.txt"]
    assert "VAULT=(removed)" in text["node1/units.txt"]
    assert '"vault=(removed)"' in text["node1/daemon.json"]
    assert "MODE=(removed)" in text["node1/containers.json"]
    assert "docker/network/v1.0/network/" in text["store-keys.txt"]
    assert "docker/nodes/192.168.56.11" in text["store-keys.txt"]


def overlays(packets: bytes) -> set[int]:
    """Return the VNIs of the VXLAN packets in a pcap file, without that of the doctor's own datagrams."""
    found, at = set(), 24
    while at < len(packets):
        (size,) = struct.unpack_from("<I", packets, at + 8)
        ip = packets[at + 32 : at + 16 + size]  # after the header of the record and that of LINUX_SLL
        udp = ip[4 * (ip[0] & 15) :]
        if ip[9] == socket.IPPROTO_UDP and udp[2:4] == struct.pack(">H", 4789) and len(udp) > 14:
            found.add(int.from_bytes(udp[12:15], "big"))
        at += 16 + size
    return found - {0xFFFFFE}


def complaint(files: dict[str, bytes], host: str) -> None:
    """Check that what was read of a host is complete, and that its packets are headers alone."""
    names = {name.partition("/")[2] for name in files if name.startswith(f"{host}/")}
    wanted = {
        "journal.txt", "info.json", "version.json", "networks.json", "containers.json", "daemon.json", "units.txt", "links.txt",
        "addresses.txt", "routes.txt", "rules.txt", "neighbours.txt", "namespaces.txt", "xfrm.txt", "sysctls.txt", "sockets.txt",
        "kernel-log.txt", "iptables-nft.txt", "nft.txt", "notes.txt", "packets.pcap", "counters.txt", "system.txt",
    }  # fmt: skip
    assert wanted <= names, (host, wanted - names, files[f"{host}/notes.txt"])
    assert b"bridge fdb" in files[f"{host}/namespaces.txt"]
    assert b"dst 192.168.56." in files[f"{host}/namespaces.txt"]
    assert b"net/ipv4/ip_forward:1" in files[f"{host}/sysctls.txt"]
    packets = files[f"{host}/packets.pcap"]
    assert packets[:4] == b"\xd4\xc3\xb2\xa1"
    assert 24 + 20 * 60 < len(packets) < 100_000
    assert overlays(packets) >= {256}, "no packet of the network demo was recorded"


@pytest.mark.parametrize("folder", ["missing", "full"])
def test_a_folder_that_can_not_be_used_is_found_first(settled, tmp_path, folder):
    cluster = settled("consul")
    if folder == "full":
        (tmp_path / folder).mkdir()
        os.system(f"mount -t tmpfs -o size=64k tmpfs {tmp_path / folder}")
    try:
        run = cluster.run("doctor", "--collect", str(tmp_path / folder))
    finally:
        os.system(f"umount {tmp_path / folder} 2>/dev/null")
    assert (run.code, "can't be written" in run.err, "connect" in run.err) == (64, True, False)
