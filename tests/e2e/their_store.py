"""A store that others look after, on a host of the lab: over TLS, by certificates of an authority of theirs."""

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


def theirs(cluster: Cluster, host: str, files: Path) -> None:
    """Starts etcd there, for those who have certificates."""
    certified(cluster, host, files)
    cluster.sh(host, START.format(*SERVER, address=cluster.lab.address(host)), timeout=60)


def certified(cluster: Cluster, host: str, files: Path) -> str:
    """The server's files are on the host, those of its guests in the folder `files`; gives them as an inventory names them."""
    address = cluster.lab.address(host)
    ca = certificates.authority("their authority")
    server = certificates.issue(ca, "theirs", names=["theirs"], addresses=[address])
    put(cluster, host, SERVER, (ca.certificate, server.certificate, server.key))
    guests = [
        cluster.lab.address(name) for name in cluster.lab.hosts
    ]  # etcd compares them with where a guest comes from
    guest = certificates.issue(ca, "engines", names=[], addresses=guests)
    files.mkdir(exist_ok=True)
    for name, text in (("ca", ca.certificate), ("cert", guest.certificate), ("key", guest.key)):
        (files / f"{name}.pem").write_text(text)
    return "{" + ", ".join(f"{name}: {files}/{name}.pem" for name in ("ca", "cert", "key")) + "}"


def put(cluster: Cluster, host: str, paths: tuple[str, ...], texts: tuple[str, ...]) -> None:
    for path, text in zip(paths, texts, strict=True):
        cluster.sh(host, f"mkdir -p {path.rpartition('/')[0]} && cat >{path} <<'END'\n{text}END\n")
