"""The certificates of a store that is set up here: an authority of the cluster's own, and one certificate for each host.

The authority is made by the first run. Its key lives on the store's servers, for root alone; a certificate and its key on
the host that they are for. All are read back from there, and kept as long as they fit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from provisioner.errors import StepFailed
from provisioner.stores.base import TLS_FILES
from provisioner.stores.base import credentials as three
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
    """The authority that most servers have, or a new one where the store is not founded yet. Raises StepFailed."""

    def held(facts: Facts) -> Pair | None:
        pair = Pair(facts.files.get(TLS_FILES[0], ""), facts.secrets.get(KEY, ""))
        return pair if KEY in facts.guarded and pair.key and certificates.belongs(pair.certificate, pair.key) else None

    if found := agreed(cluster, held, TLS_FILES[0]):
        return found
    if founded:
        what = "the key of the authority of the store's certificates is on none of the hosts that answer"
        raise StepFailed(what, cure=f"bring back a server of the store that has {KEY}, and run again")
    name = f"{cluster.inventory.cluster}: authority of the store"
    return cluster.vault.made("authority", lambda: certificates.authority(name))


def kept(cluster: Cluster, *, founded: bool) -> tuple[File, ...]:
    """What each server keeps of it beside its certificate."""
    return (File(KEY, of(cluster, founded=founded).key, "0600"),)


def credentials(cluster: Cluster, host: str, owner: str, *, founded: bool) -> tuple[File, ...]:
    """A host's certificate with its key, and the authority that it is judged by: what it has, or a new one."""
    signer, facts = of(cluster, founded=founded), cluster.facts[host]
    address = cluster.advertise[host]
    pair = Pair(facts.files.get(TLS_FILES[1], ""), facts.secrets.get(TLS_FILES[2], ""))
    asked: dict[str, Any] = {"names": [host], "addresses": [address, "127.0.0.1"]}
    fits = not certificates.fault(pair, [signer.certificate], now=facts.now, **asked)
    pair = cluster.vault.value(
        certificate_of(host), pair if fits else None, lambda: certificates.issue(signer, host, **asked)
    )
    ca, cert, key = three(signer.certificate, pair.certificate, pair.key)
    return ca, cert, key if owner == "root:root" else replace(key, mode="0640", owner=owner)
