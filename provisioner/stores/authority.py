"""The certificates of a managed store: the cluster's own certificate authority, and one certificate per host.

The first run creates the authority. Its key is stored on the store's servers, readable by root only. Each certificate
and its key are stored on the host that uses them. Later runs read them back, and keep those that are still valid.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from provisioner.errors import StepFailed
from provisioner.stores.base import TLS_FILES
from provisioner.stores.base import credentials as tls_files
from provisioner.stores.secrets import agreed, certificate_of
from provisioner.stores.values import File
from provisioner.system import certificates
from provisioner.system.certificates import Pair
from provisioner.system.owned import Owned

if TYPE_CHECKING:
    from provisioner.stores.protocols import Cluster
    from provisioner.system.facts import Facts

KEY = "/etc/provisioner/tls/ca-key.pem"
OWNED = Owned(files=(KEY,))


def of(cluster: Cluster, *, founded: bool) -> Pair:
    """Return the authority that most servers have, or a new one if the store has no data yet. Raises StepFailed."""

    def pair_of(facts: Facts) -> Pair | None:
        pair = Pair(facts.files.get(TLS_FILES[0], ""), facts.secrets.get(KEY, ""))
        return pair if KEY in facts.guarded and pair.key and certificates.belongs(pair.certificate, pair.key) else None

    if found := agreed(cluster, pair_of, TLS_FILES[0]):
        return found
    if founded:
        what = "no reachable host has the key of the authority that signs the store's certificates"
        raise StepFailed(
            what, cause="authority-key-lost", cure=f"bring back a server of the store that has {KEY}, then run again"
        )
    name = f"{cluster.inventory.cluster}: authority of the store"
    return cluster.vault.made("authority", lambda: certificates.authority(name))


def kept(cluster: Cluster, *, founded: bool) -> tuple[File, ...]:
    """Return the files of the authority that each server keeps besides its certificate."""
    return (File(KEY, of(cluster, founded=founded).key, "0600"),)


def credentials(cluster: Cluster, host: str, owner: str, *, founded: bool) -> tuple[File, ...]:
    """Return the authority's certificate, and the host's certificate and key. A valid pair on the host is kept."""
    signer, facts = of(cluster, founded=founded), cluster.facts[host]
    address = cluster.advertise[host]
    pair = Pair(facts.files.get(TLS_FILES[1], ""), facts.secrets.get(TLS_FILES[2], ""))
    subject: dict[str, Any] = {"names": [host], "addresses": [address, "127.0.0.1"]}
    fits = not certificates.fault(pair, [signer.certificate], now=facts.now, **subject)
    pair = cluster.vault.value(
        certificate_of(host), pair if fits else None, lambda: certificates.issue(signer, host, **subject)
    )
    ca, cert, key = tls_files(signer.certificate, pair.certificate, pair.key)
    return ca, cert, key if owner == "root:root" else replace(key, mode="0640", owner=owner)
