"""Every engine is in the cluster's swarm, with its role.

The founder creates the swarm (see founding.py), and the others join it. The join token passes from a manager's answer to the
standard input of the joining host: it is in no argument, file, log or report. Managers are first promoted, then demoted, one
at a time. The swarm itself refuses a change that would cost its majority.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from provisioner import render
from provisioner.controlplane.founding import Founding
from provisioner.controlplane.swarm import LABEL, Member, View, address_of, cluster, state, swarm_info
from provisioner.errors import StepFailed
from provisioner.model import Action, Drift, Kind
from provisioner.steps.base import OfHosts, PeerOutput, Work
from provisioner.system.owned import NOTHING
from provisioner.system.strict import inside
from provisioner.system.swarm import FOUNDER, MANAGERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.controlplane import Site

_ROLES = {True: "manager", False: "worker"}
_OF_MANAGER = frozenset({Action.PROMOTE, Action.DEMOTE, Action.FORGET, Action.NAME})  # actions of the acting manager
# Ends an unfinished join. Until a manager lets the engine in, it has no ID as a node.
_ENDING = """case $(timeout 20 docker info -f '{{.Swarm.LocalNodeState}}{{.Swarm.NodeID}}') in
pending | error) timeout 60 docker swarm leave >/dev/null ;;
esac
"""
_AT_ONCE = 8  # hosts that join in parallel: each needs a signed certificate, and a new manager changes raft's members


class Swarm(OfHosts):
    name = "swarm"
    owns = NOTHING
    title = "Swarm"
    reads = ("http", "files")
    patience = (
        120.0  # an election takes 10 to 20 s; without a leader, no node gets a new role and /info does not answer
    )
    cure = "check its log (journalctl -u docker) and that 2377/tcp and 7946 pass between the hosts, then run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        facts, view = site.facts[host], View(site)
        role = _ROLES[host in site.servers]
        if not facts.engine:
            error = facts.http("info").error
            return (Drift(Kind.SWARM, "", f"the engine does not answer ({error})", role, pending=True),)
        member = view.member(host)
        if member is Member.OTHER:
            raise StepFailed(
                "its engine is in another swarm",
                cause="other-swarm",
                host=host,
                tried="reading which swarm it is in; nothing was changed",
                cure="if nothing needs that swarm, run on this host: docker swarm leave --force",
            )
        if member is Member.NONE:
            action = Action.FOUND if host == Founding(site).initiator else Action.JOIN
            return (Drift(Kind.SWARM, "", "none", role, action),)
        if member in {Member.JOINING, Member.SECOND}:
            return (Drift(Kind.SWARM, "", str(member), role, Action.REJOIN),)
        if member is Member.UNKNOWN:
            return (Drift(Kind.SWARM, "", f"{state(facts)}, without a leader", role, Action.WAIT),)
        if state(facts) != "active":
            return (Drift(Kind.SWARM, "", str(swarm_info(facts).get("Error") or state(facts)), role, Action.WAIT),)
        own = _ROLES[bool(swarm_info(facts).get("ControlAvailable"))]
        drift = [Drift(Kind.OWN_ROLE, host, own, role, _change(role))] if own != role else []
        if host == view.acting:
            if view.lacks_label:
                drift.append(Drift(Kind.LABEL, "", "none", site.inventory.cluster, Action.NAME))
            changes = _changes(site, view).items()
            drift += [
                Drift(Kind.ROLE, name, _ROLES[wanted != "manager"], wanted, _change(wanted))
                for name, wanted in changes
                if name != host
            ]
            drift += [
                Drift(Kind.STALE_NODE, name, "in the swarm, down", "removed", Action.FORGET)
                for name in site.live
                for _ in view.stale(name)
            ]
        return tuple(drift)

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work | None:
        view, actions = View(site), {d.action for d in drift}
        if Action.FOUND in actions:
            return _founding(site, host)
        if actions & {Action.JOIN, Action.REJOIN}:  # without a manager, the swarm is being created
            return _joining(site, view, host, again=Action.REJOIN in actions) if view.acting else None
        if host != view.acting or not actions & _OF_MANAGER:
            return None
        changes = _changes(site, view)
        ids = {
            role: [_id(view, n) for n, to in changes.items() if to == role and n != host] for role in _ROLES.values()
        }
        stale = [node for name in site.live for node in view.stale(name)]
        script = (_labelling(site, host) if Action.NAME in actions else "") + of_nodes(
            promote=ids["manager"],
            demote=[*(str(node["ID"]) for node in stale if node.get("ManagerStatus")), *ids["worker"]],
            remove=[str(node["ID"]) for node in stale],
            itself=[_id(view, host)] if host in changes else [],
        )
        texts = [f"{name} becomes {wanted}" for name, wanted in changes.items()]
        texts += ["removing stale nodes"] * bool(stale) + ["labelling the swarm"] * (Action.NAME in actions)
        return Work(script, ", ".join(texts), deadline=60.0 + 60.0 * (len(changes) + len(stale)))


def of_nodes(**lists: list[str]) -> str:
    """Return the script of a manager that changes nodes, given by ID.

    The order is: drain, rest (wait until no task runs), promote, demote, remove, itself (demote the manager).
    """
    none: dict[str, list[str]] = {name: [] for name in ("drain", "rest", "promote", "demote", "remove", "itself")}
    return render.script("swarm-nodes.sh.j2", **none | lists)


def _change(role: str) -> Action:
    return Action.PROMOTE if role == _ROLES[True] else Action.DEMOTE


def _changes(site: Site, view: View) -> dict[str, str]:
    """Return the hosts whose nodes are to change their role: host -> role. The acting manager is the last.

    A host that is down is not promoted: a manager that does not answer makes a majority harder to reach.
    """
    found: dict[str, str] = {}
    for name in sorted(site.inventory.hosts, key=lambda name: name == view.acting):
        node, wanted = view.node(name), _ROLES[name in site.servers]
        if node and node["Spec"]["Role"] != wanted and (name in site.live or wanted == "worker"):
            found[name] = wanted
    return found


def _id(view: View, host: str) -> str:
    return str(view.node(host)["ID"])


def _requesting(action: str, body: Mapping[str, Any], what: str = "", founder: str = "", managers: str = "") -> str:
    """Return the script that sends a request about the swarm to the engine, and removes the founder's record.

    action: as in the API's path. what: the action in words. founder: if given, the script runs only if the host has this record.
    managers: the managers that a joining engine asks, as text.
    """
    program = render.text("swarm.pl")
    values = {"program": program, "action": action, "what": what or action, "body": json.dumps(body)}
    return render.script("swarm.sh.j2", **values, path=FOUNDER, founder=founder, managers=managers)


def _founding(site: Site, host: str) -> Work | None:
    founding = Founding(site)
    if not founding.agreed:
        return None
    # alone: if the outcome is unknown, the run stops.
    script = _requesting("init", _init(site, host), founder=founding.record())
    return Work(script, "creating the swarm", deadline=90.0, alone=True)


def _joining(site: Site, view: View, host: str, *, again: bool) -> Work:
    role, body = _ROLES[host in site.servers], _join(site, view, host)
    leave, first = "", ""
    if again:
        attempt = view.member(host) is Member.JOINING
        leave, first = (_ENDING, "an earlier attempt") if attempt else (_leaving(site, host), "a second swarm")
    script = leave + _requesting("join", body, managers=", ".join(body["RemoteAddrs"]))
    text = f"{f'leaving {first} and ' if first else ''}joining the swarm as {role}"
    return Work(script, text, deadline=120.0 + 60.0 * again, at_once=_AT_ONCE, stdin=_token(view.acting, role))


def _leaving(site: Site, host: str) -> str:
    """Return the script by which a host leaves a second, unused swarm of this cluster in which it is alone."""
    networks = [name for name, network in site.inventory.networks.items() if network.is_global]
    identity = f"{cluster(site.facts[host])['ID']} {site.inventory.cluster} 1"
    return render.script("swarm-second.sh.j2", identity=identity, label=LABEL, networks=["ingress", *networks])


def _labelling(site: Site, host: str) -> str:
    """Return the script that labels the swarm. Its founder may have lost power before it could do that."""
    found = cluster(site.facts[host])
    spec = inside(found, "Spec")
    labels = {**inside(spec, "Labels"), LABEL: site.inventory.cluster}
    return _requesting(
        f"update?version={inside(found, 'Version').get('Index', 0)}", {**spec, "Labels": labels}, "label"
    )


def _token(manager: str, role: str) -> PeerOutput:
    script = render.script("swarm-token.sh.j2", program=render.text("swarm.pl"), role=role.capitalize())
    return PeerOutput({manager: f"# reading the join token\n{script}"})


def _init(site: Site, host: str) -> dict[str, Any]:
    """Return the request's body. Port and pools can't be changed later."""
    settings = site.inventory.swarm
    body: dict[str, Any] = _addresses(site, host) | {"Spec": {"Labels": {LABEL: site.inventory.cluster}}}
    if settings and settings.data_path_port:
        body["DataPathPort"] = settings.data_path_port
    if settings and settings.default_addr_pool:
        body["DefaultAddrPool"] = [str(pool) for pool in settings.default_addr_pool.pools]
        body["SubnetSize"] = settings.default_addr_pool.size
    return body


def _join(site: Site, view: View, host: str) -> dict[str, Any]:
    """Return the request's body without the token."""
    managers = [address_of(node) for node in view.nodes.values() if node.get("ManagerStatus")]
    return {**_addresses(site, host), "RemoteAddrs": [f"{address}:{MANAGERS}" for address in sorted(managers)]}


def _addresses(site: Site, host: str) -> dict[str, str]:
    """Return the host's addresses. Without them, an engine may choose wrong ones on a host with several (moby#30972)."""
    address = str(site.advertise[host])
    return {"ListenAddr": f"0.0.0.0:{MANAGERS}", "AdvertiseAddr": address, "DataPathAddr": address}
