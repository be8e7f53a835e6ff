"""The proof of the networks that every engine has. `bridge` is proven like a local network of the inventory. The two others are
no networks: a container on `none` has the loopback interface and nothing else, and one on
`host` has the host's own addresses.
"""

from __future__ import annotations

import secrets
import shlex
import time
from functools import partial
from typing import TYPE_CHECKING

from provisioner import render
from provisioner.errors import ProvisionerError
from provisioner.model import Check, ProofResult, State
from provisioner.proofs import local
from provisioner.proofs.base import Round
from provisioner.proofs.evidence import Evidence
from provisioner.proofs.probe import Crew, Probe, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.controlplane import Site
    from provisioner.proofs.base import Again, Say
    from provisioner.transport import Connection

NAMES = ("none", "host")
_CLAIMS = {
    "none": "a container has only the loopback interface",
    "host": "a container has the host's addresses",
}
_START, _ASKED = 120.0, 30.0  # seconds for a container to start, for the host to tell its own


class Builtin:
    """The networks that every engine has."""

    name = "builtin"

    def rounds(self, site: Site) -> list[Round]:
        own = [Round((name,), partial(prove, network=name, run=secrets.token_hex(3))) for name in NAMES]
        return [local.round_of([local.of_bridge(site)]), *own]


def prove(
    site: Site,
    connections: Mapping[str, Connection],
    network: str,
    *,
    run: str,
    observer: Say,
    again: Again | None = None,  # noqa: ARG001  the causes of its failures need no second reading
) -> tuple[ProofResult, ...]:
    """Prove one of NAMES on every live host; nothing is left there."""
    began = time.monotonic()
    task = Task(run, network, None, 0.0, _START, chosen=False, names=False)
    names = [name for name in site.live if name in connections]
    probes = [Probe(connections[name], number, number, task, observer) for number, name in enumerate(names, 1)]
    own: dict[str, Evidence] = {}
    if not probes:
        return (ProofResult(local.NAME, network, State.SKIPPED, reason="no host is left"),)
    with Crew(probes) as crew:
        crew.all(Probe.begin)
        if network == "host":
            crew.all(lambda probe: own.update({probe.name: _of_the_host(connections[probe.name])}))
        crew.all(Probe.end)
    seconds = time.monotonic() - began
    claims = tuple(_claim(network, probe, own.get(probe.name, Evidence()), seconds) for probe in probes)
    state = State.SETTLED if all(claim.proven for claim in claims) else State.FAILED
    return (ProofResult(local.NAME, network, state, checks=claims, error=_error(network, claims), seconds=seconds),)


def _of_the_host(connection: Connection) -> Evidence:
    """What the same program says beside the container."""
    found = Evidence()
    try:
        script = f"perl -e {shlex.quote(render.text('interfaces.pl'))} own 0 {_ASKED:.0f} </dev/null"
        found.take(connection.read(script, deadline=_ASKED).stdout.strip())
    except (ProvisionerError, ValueError) as error:
        found.error = str(getattr(error, "what", error))
    return found


def _claim(network: str, probe: Probe, own: Evidence, seconds: float) -> Check:
    inside = probe.evidence
    error, found, wanted = inside.error or own.error, inside.addresses, own.addresses
    if network == "none":
        found, wanted = inside.interfaces or (), ("lo",)
    if not error and found != wanted:
        error = f"it has {', '.join(found)}, and not {', '.join(wanted)}"
    return Check(probe.name, _CLAIMS[network], None if error else seconds, error)


def _error(network: str, claims: tuple[Check, ...]) -> str:
    failed = [claim for claim in claims if not claim.proven]
    if not failed:
        return ""
    answer = "\n".join(f"{claim.host}: {claim.detail}" for claim in failed)
    what = f"the network {network} is not proven: {len(failed)} of {len(claims)} checks failed"
    return str(ProvisionerError(what, answer=answer, cure="look at: journalctl -u docker, docker network ls"))
