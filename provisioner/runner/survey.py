"""Queries one manager of a swarm for what belongs to it: its nodes, networks and fixed settings. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provisioner.controlplane import swarm
from provisioner.errors import ProvisionerError, UsageError
from provisioner.inventory.importers.swarm import Answers
from provisioner.model import Failure
from provisioner.runner.session import Session
from provisioner.transport import NO_SECRETS, Secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.inventory import Inventory
    from provisioner.model import Observer
    from provisioner.system.facts import Facts


def read(
    inventory: Inventory, observer: Observer, notes: tuple[str, ...] = (), secrets: Secrets = NO_SECRETS
) -> Facts | Failure:
    """Return the facts of the only host of an inventory, or why there are none. notes: lines for people, shown first."""
    (name,) = inventory.hosts
    session = Session(inventory, observer, secrets=secrets)
    session.notice(*notes)
    try:
        session.connect()
        facts = session.read(session.connections)
    finally:
        session.close()
    return facts[name] if name in facts else session.lost[name]


def understood(inventory: Inventory, facts: Facts | Failure) -> Answers:
    """Return the answers of the only host of an inventory, a manager. Raises ProvisionerError if it can't give them."""
    if isinstance(facts, Failure):
        raise ProvisionerError(facts.text, cause=facts.check)
    refuse(inventory, next(iter(inventory.hosts)), facts)
    return answers(facts)


def answers(facts: Facts) -> Answers:
    """Return a manager's answers. If the swarm has no leader, its known managers replace the list of nodes."""
    listed = swarm.nodes(facts) or tuple(map(_of_remote, swarm.remote(facts)))
    return Answers(facts.engine, listed, tuple(facts.networks.values()))


def _of_remote(manager: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "ID": manager["NodeID"],
        "Spec": {"Role": "manager"},
        "Description": {"Hostname": manager["Addr"].rpartition(":")[0]},
        "ManagerStatus": {"Addr": manager["Addr"]},
    }


def refuse(inventory: Inventory, name: str, facts: Facts) -> None:
    """Refuse a host that can't describe a swarm. Raises UsageError if it is no manager, else ProvisionerError."""
    _refuse_host(inventory, name, facts)
    _refuse_engine(name, facts)


def _refuse_host(inventory: Inventory, name: str, facts: Facts) -> None:
    """Refuse a host whose facts can't be read completely. Raises ProvisionerError."""
    if not facts.is_root:
        what = f"{inventory.target(name).user} is not root and can't use sudo without a password: the engine can't be queried"
        cure = "name another user, as USER@HOST, or allow it sudo without a password"
        raise ProvisionerError(what, cause="no-root", host=name, cure=cure)
    if "perl" not in facts.programs or facts.perl_lacks:
        what = f"its Perl lacks {', '.join(facts.perl_lacks)}" if facts.perl_lacks else "it has no Perl"
        raise ProvisionerError(what, cause="no-perl", host=name, cure="install perl on it, or name another manager")


def _refuse_engine(name: str, facts: Facts) -> None:
    """Refuse an engine that is not a manager of a swarm. Raises UsageError or ProvisionerError."""
    if not facts.engine:
        unit = facts.unit("docker.service")
        why = "does not answer" if unit.up else f"does not run (docker.service is {unit.active})"
        late = "dockerd" in facts.programs
        what = f"its engine {why}" if late else "it has no Docker engine"
        raise ProvisionerError(what, cause="engine-down", host=name, cure="name another manager of the swarm")
    state = swarm.state(facts)
    if state == "inactive":
        cure = "name a manager of the swarm; `docker info` on a host says whether it is one"
        raise UsageError("its engine is in no swarm", host=name, cure=cure)
    if state not in {"active", "pending"}:
        why = swarm.swarm_info(facts).get("Error") or "docker info gives no reason"
        what = f"its engine takes no part in its swarm: it is {state} ({why})"
        raise ProvisionerError(what, cause="swarm-error", host=name, cure="name another manager of the swarm")
    if not swarm.swarm_info(facts).get("ControlAvailable"):
        known = ", ".join(str(address) for address in swarm.managers(facts) if address)
        what = "it is a worker, and only a manager knows the nodes of a swarm"
        raise UsageError(what, host=name, cure=f"name a manager; this worker knows {known or 'none'}")
