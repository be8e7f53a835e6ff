"""New secrets for a store that stands: one host after the other. With Consul the networks work throughout.

    gossip-key      all agents take the new key, then send with it, then take no other (Consul's own way, at runtime)
    certificates    each agent gets a new one and reads it at runtime; with a new authority both are trusted meanwhile
    tokens          Consul knows new ones, agents get them at runtime (servers with a restart), then the old ones go

etcd has certificates alone: its servers read the new ones at runtime, and engines with a restart, one after the
other, in which containers stop unless the engine has live-restore.

What is interrupted is finished by running it again. What revokes the old secrets (all but certificates without a new
authority) needs every host: one that is away would be shut out when it is back. If one drops out on the way, the old
secrets stay valid. A host that is shut out all the same gets the present ones from `up`.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from provisioner.converge import outcome
from provisioner.errors import ProvisionerError, StepFailed
from provisioner.model import Drift, Outcome, PhaseBegan, PhaseEnded, State
from provisioner.steps.daemon import Daemon
from provisioner.steps.store import Store
from provisioner.stores import consul_acl as acl
from provisioner.stores import consul_security as security
from provisioner.stores.consul import agents_missed, client
from provisioner.stores.secrets import certificate_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from provisioner.engine import Run

_SWITCH = {"gossip-key": "gossip", "certificates": "tls", "tokens": "acls"}
WHAT = tuple(_SWITCH)


def rotate(run: Run, what: str, *, authority: bool = False) -> None:
    """Looks, checks, rotates, proves. What went wrong is in the run's report. authority: with certificates, a new one too."""
    if not run.look() or not _fit(run, what, authority=authority):
        return
    run.lock()
    began, drift = (
        time.monotonic(),
        Drift(f"{run.site.backend.title}'s {what.replace('-', ' ')}", note="rotated", secret=True, is_file=True),
    )
    run.session.tell(PhaseBegan("rotate", f"New {what}", run.site.live))
    renewed = (
        _etcd_certificates if run.inventory.the_store.kind == "etcd" else partial(_certificates, authority=authority)
    )
    doing: dict[str, Callable[[Run], None]] = {"gossip-key": _gossip_key, "certificates": renewed, "tokens": _tokens}
    try:
        if not run.errors:
            doing[what](run)
    except ProvisionerError as error:
        run.errors.append(str(error))
    state = State.FAILED if run.errors else State.CONVERGED
    why = run.errors[-1] if run.errors else ""
    outcomes = tuple(Outcome(name, "rotate", state, (drift,), error=why) for name in run.site.live)
    run.outcomes = [o for o in run.outcomes if o.state is State.FAILED] + list(outcomes)
    run.session.tell(PhaseEnded("rotate", outcomes, time.monotonic() - began))
    if run.site.live and not run.errors:
        run.prove()
        run.judge_again()


def _fit(run: Run, what: str, *, authority: bool = False) -> bool:
    store = run.inventory.store
    why = cure = ""
    if (
        store is not None
        and store.kind == "etcd"
        and what == "certificates"
        and not store.endpoints
        and run.site.control == "kv"
    ):
        why, cure = _unfit_etcd(run, authority=authority)
    elif store is None or store.kind != "consul" or store.endpoints or run.site.control != "kv":
        others = " or etcd" if what == "certificates" else ""
        why = f"there are no {what} to rotate: only a Consul{others} that is set up here has them"
        cure = "see the documentation of your store"
    elif not getattr(store.security, _SWITCH[what]):
        why, cure = (
            f"there are no {what} to rotate: store.security.{_SWITCH[what]} is off",
            "switch it on and run `provisioner up`",
        )
    elif not security.standing(run.site) or security.way(run.site):
        why, cure = "Consul does not stand as the inventory wants it secured", "run `provisioner up` first"
    elif (authority or what != "certificates") and (away := _away(run)):
        why = f"not rotated, and nothing was changed: {', '.join(away)} would keep the old {what}, and be shut out of Consul when it is back"
        cure = f"bring {away[0]} back and run it again; or take it out of the cluster: provisioner remove {away[0]} INVENTORY"
    if why:
        run.errors.append(f"{why}\n  next:  {cure}")
    return not why


def _away(run: Run) -> list[str]:
    """The hosts, and other agents of Consul that are alive, which this run does not reach."""
    return sorted({*run.inventory.hosts, *agents_missed(run.site)} - set(run.site.live))


def _unfit_etcd(run: Run, *, authority: bool) -> tuple[str, str]:
    """Why its certificates can't be made anew, and what to do; ("", "") where they can."""
    site = run.site
    if not any(site.backend.credentials(site, name) for name in site.live):
        return (
            "there are no certificates to rotate: this etcd was founded without TLS",
            "see docs/decisions/store-tls.md",
        )
    if authority:
        return (
            "etcd reads an authority at its start only: all servers and engines would have to change at once",
            "leave out --ca",
        )
    if not site.backend.formed(site) or any(outcome(Store(), site, name).drifts for name in site.live):
        return "etcd is not as the inventory wants it", "run `provisioner up` first"
    return "", ""


def _server(run: Run, token: str = "") -> tuple[Any, str]:
    """A client that asks a server that stands, and the server's name."""
    able = [name for name in run.site.servers if name in run.site.live and name in security.standing(run.site)]
    if not able:
        raise StepFailed("no server of the store is left", cure="bring a host of store.servers back")
    token = token or (security.present_management_token(run.site) if run.inventory.the_store.security.acls else "")
    return client(run.session.connections[able[0]], token), able[0]


def _brought(run: Run) -> None:
    """All hosts that took part have what is wanted now. Raises StepFailed, so that nothing is revoked that one still needs."""
    before = run.site.live
    run.read_again()
    run.converge_step(Store())
    lacking = [name for name in before if name not in run.site.live]
    if run.errors or lacking:
        told = f": {', '.join(lacking)} dropped out" if lacking else ""
        cure = "fix what is said about it and bring it back, then run `provisioner up`, and the rotation again"
        raise StepFailed(f"not all hosts were reached by the rotation{told}", cure=cure)


def _gossip_key(run: Run) -> None:
    """Root has both keys on every host before agents change theirs: so a run that is broken off goes on with either."""
    vault, new = run.site.vault, security.new_gossip_key(run.site)
    vault.keys = (new,)
    _brought(run)
    api, host = _server(run)
    acl.rotate_gossip_key(api, host, new)
    vault.renewed.add("gossip key")
    vault.keys = ()
    _brought(run)


def _certificates(run: Run, *, authority: bool) -> None:
    vault = run.site.vault
    certificates = {certificate_of(name) for name in run.site.live}
    before = security.all_trusted(run.site)  # more than one where an earlier rotation was broken off
    if authority:
        vault.trusted = (*before, security.new_authority(run.site).certificate)
        _brought(run)
        vault.renewed.add("authority")
    vault.trusted = before  # until nobody's certificate is signed by them
    vault.renewed |= certificates
    _brought(run)
    vault.trusted = ()
    _brought(run)


def _etcd_certificates(run: Run) -> None:
    run.site.vault.renewed |= {certificate_of(name) for name in run.site.live}
    _brought(run)
    run.converge_step(Daemon())
    if run.errors:
        raise StepFailed(
            "not all engines were reached by the rotation", cure="mend what is said above, and run it again"
        )


def _tokens(run: Run) -> None:
    api, host = _server(run)
    run.site.vault.renewed |= {"token agent", "token default", "token management"}
    management = security.management_token(run.site)
    acl.manage(api, host, management)
    acl.equip(api, run.site, host)
    _brought(run)
    api, host = _server(run, management)
    kept = {acl.AGENTS: security.token(run.site, "agent"), acl.ENGINES: security.token(run.site, "default")}
    acl.forget(api, host, {**kept, acl.MANAGEMENT: management})
