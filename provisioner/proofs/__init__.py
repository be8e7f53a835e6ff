"""What is proven, one file per proof, in this order: behaviour that a host's configuration can't show.

local: containers on a network that each host has by itself reach one another, come out, and are reached where they publish.
builtin: a container on `none` has only loopback, one on `host` the host's addresses.
overlay: every host reaches every other one over an overlay network, by name and by address, at full packet size.
dns: names outside are forwarded to the resolvers of the inventory.
internal: from a container on a network that is to have no way out no other host is reached.
isolation: a container on one network finds none of another, neither by name nor by address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.proofs.builtin import Builtin
from provisioner.proofs.local import Local
from provisioner.proofs.overlay import Overlay
from provisioner.proofs.running import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from provisioner.controlplane import Site
    from provisioner.model import Observer, ProofResult
    from provisioner.proofs.base import Again, Connections, Proof

PROOFS: tuple[Proof, ...] = (Overlay(), Local())
BUILTIN: tuple[Proof, ...] = (Builtin(),)


def prove(
    site: Callable[[], Site], connections: Connections, observer: Observer, *, again: Again, builtin: bool = False
) -> tuple[ProofResult, ...]:
    """Run the proofs on the live hosts.

    site: the cluster as last read. again: reads it once more. builtin: prove also the networks that every engine has.
    """
    return run([*PROOFS, *(BUILTIN if builtin else ())], site, connections, observer, again=again)
