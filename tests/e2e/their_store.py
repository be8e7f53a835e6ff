"""A store that somebody else manages, on a host of the lab: etcd over TLS, with certificates of their own authority."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.system import certificates

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.cluster import Cluster

SERVER = ("/etc/theirs/ca.pem", "/etc/theirs/cert.pem", "/etc/theirs/key.pem")
START = """\
systemctl stop etcd theirs 2>/dev/null
systemd-run -q --collect --unit=theirs -p Restart=no /usr/bin/etcd --data-dir /var/lib/theirs --enable-v2=true \\
    --listen-client-urls https://{address}:2379 --advertise-client-urls https://{address}:2379 --client-cert-auth \\
    --trusted-ca-file {0} --cert-file {1} --key-file {2} --listen-metrics-urls http://127.0.0.1:2381
for n in $(seq 60); do curl -sf localhost:2381/health >/dev/null && exit 0; sleep 0.5; done
exit 1
"""


def start_etcd(cluster: Cluster, host: str, files: Path) -> None:
    """Start etcd on the host, for clients with certificates only."""
    certified(cluster, host, files)
    cluster.sh(host, START.format(*SERVER, address=cluster.lab.address(host)), timeout=60)


def certified(cluster: Cluster, host: str, files: Path) -> str:
    """Write the server's certificate on the host and the clients' in the folder `files`. Returns the inventory's `tls` value."""
    address = cluster.lab.address(host)
    ca = certificates.authority("their authority")
    server = certificates.issue(ca, "theirs", names=["theirs"], addresses=[address])
    put(cluster, host, SERVER, (ca.certificate, server.certificate, server.key))
    clients = [cluster.lab.address(name) for name in cluster.lab.hosts]  # etcd compares them with a client's address
    client = certificates.issue(ca, "engines", names=[], addresses=clients)
    files.mkdir(exist_ok=True)
    for name, text in (("ca", ca.certificate), ("cert", client.certificate), ("key", client.key)):
        (files / f"{name}.pem").write_text(text)
    return "{" + ", ".join(f"{name}: {files}/{name}.pem" for name in ("ca", "cert", "key")) + "}"


def put(cluster: Cluster, host: str, paths: tuple[str, ...], texts: tuple[str, ...]) -> None:
    for path, text in zip(paths, texts, strict=True):
        cluster.sh(host, f"mkdir -p {path.rpartition('/')[0]} && cat >{path} <<'END'\n{text}END\n")
