"""Every engine is in the cluster's swarm, with the role that is wanted of it.

The founder makes the swarm (see founding.py), and the others join it. Its token goes from a manager's answer to the joining host's
standard input: it is in no argument, file, log or report. Managers are promoted first and demoted afterwards, one at a
time, and the swarm itself refuses what would lose its majority.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from provisioner import render
from provisioner.controlplane.founding import Founding
from provisioner.controlplane.swarm import LABEL, Member, View, address_of, cluster, state, told
from provisioner.errors import StepFailed
from provisioner.model import Action, Drift, Kind
from provisioner.steps.base import OfHosts, Told, Work
from provisioner.system.owned import NOTHING
from provisioner.system.strict import inside
from provisioner.system.swarm import FOUNDER, MANAGERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.controlplane import Site

_ROLES = {True: "manager", False: "worker"}
_OF_MANAGER = frozenset({Action.PROMOTE, Action.DEMOTE, Action.FORGET, Action.NAME})  # what a manager does to others
_AT_ONCE = 8  # hosts that join side by side: each has its certificate signed, and a manager changes the members of raft


class Swarm(OfHosts):
    name = "swarm"
    owns = NOTHING
    title = "Swarm"
    reads = ("http", "files")
    patience = (
        120.0  # an election takes 10 to 20 s, and until there is a leader a node has no new role and /info no answer
    )
    cure = "look at its log (journalctl -u docker), see that 2377/tcp and 7946 pass between the hosts, and run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        facts, view = site.facts[host], View(site)
        role = _ROLES[host in site.servers]
        if not facts.engine:
            return (Drift(Kind.SWARM, "", f"the engine says nothing ({facts.http('info').error})", role, pending=True),)
        member = view.member(host)
        if member is Member.OTHER:
            raise StepFailed(
                "its engine is in another swarm",
                host=host,
                tried="looking whose swarm it is in; nothing was done to it",
                cure="if nothing needs that swarm: docker swarm leave --force, on this host",
            )
        if member is Member.NONE:
            action = Action.FOUND if host == Founding(site).initiator else Action.JOIN
            return (Drift(Kind.SWARM, "", "none", role, action),)
        if member is Member.SECOND:
            return (Drift(Kind.SWARM, "", str(member), role, Action.REJOIN),)
        if member is Member.UNKNOWN:
            return (Drift(Kind.SWARM, "", f"{state(facts)}, without a leader", role, Action.WAIT),)
        if state(facts) != "active":
            return (Drift(Kind.SWARM, "", str(told(facts).get("Error") or state(facts)), role, Action.WAIT),)
        own = _ROLES[bool(told(facts).get("ControlAvailable"))]
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
                Drift(Kind.STALE_NODE, name, "in the swarm, down", "gone", Action.FORGET)
                for name in site.live
                for _ in view.stale(name)
            ]
        return tuple(drift)

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work | None:
        view, actions = View(site), {d.action for d in drift}
        if Action.FOUND in actions:
            return _founding(site, host)
        if actions & {Action.JOIN, Action.REJOIN}:  # without a manager: it is being made
            return _joining(site, view, host, second=Action.REJOIN in actions) if view.acting else None
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
        texts += ["taking out what is gone"] * bool(stale) + ["labelling the swarm"] * (Action.NAME in actions)
        return Work(script, ", ".join(texts), deadline=60.0 + 60.0 * (len(changes) + len(stale)))


def of_nodes(**lists: list[str]) -> str:
    """What a manager does to nodes, by ID, in this order: drain, rest (waited for), promote, demote, remove; itself is demoted last."""
    none: dict[str, list[str]] = {name: [] for name in ("drain", "rest", "promote", "demote", "remove", "itself")}
    return render.script("swarm-nodes.sh.j2", **none | lists)


def _change(role: str) -> Action:
    return Action.PROMOTE if role == _ROLES[True] else Action.DEMOTE


def _changes(site: Site, view: View) -> dict[str, str]:
    """Host of the inventory -> the role that its node is to get; the acting manager itself comes last.

    A host that is down is not promoted: a manager that does not answer only makes a majority harder to reach.
    """
    found: dict[str, str] = {}
    for name in sorted(site.inventory.hosts, key=lambda name: name == view.acting):
        node, wanted = view.node(name), _ROLES[name in site.servers]
        if node and node["Spec"]["Role"] != wanted and (name in site.live or wanted == "worker"):
            found[name] = wanted
    return found


def _id(view: View, host: str) -> str:
    return str(view.node(host)["ID"])


def _asking(action: str, body: Mapping[str, Any], what: str = "", founder: str = "") -> str:
    """Has the engine do something with its swarm; afterwards the host is in it, and has no founder on record.

    what: the same for people. founder: the record with which alone it may be done.
    """
    program = render.text("swarm.pl")
    values = {"program": program, "action": action, "what": what or action, "body": json.dumps(body)}
    return render.script("swarm.sh.j2", **values, path=FOUNDER, founder=founder)


def _founding(site: Site, host: str) -> Work | None:
    founding = Founding(site)
    if not founding.agreed:
        return None
    # Alone: where it is not known how it ended, nothing else is done.
    script = _asking("init", _init(site, host), founder=founding.record())
    return Work(script, "making the swarm", deadline=90.0, alone=True)


def _joining(site: Site, view: View, host: str, *, second: bool) -> Work:
    role = _ROLES[host in site.servers]
    leave = _leaving(site, host) if second else ""
    script, token = leave + _asking("join", _join(site, view, host)), _token(view.acting, role)
    text = f"{'leaving a second swarm, and ' if second else ''}joining the swarm as {role}"
    return Work(script, text, deadline=90.0 + 60.0 * second, at_once=_AT_ONCE, told=token)


def _leaving(site: Site, host: str) -> str:
    """Has a host leave a swarm in which it is alone, if the swarm is this cluster's and nothing is in it."""
    networks = [name for name, network in site.inventory.networks.items() if network.is_global]
    identity = f"{cluster(site.facts[host])['ID']} {site.inventory.cluster} 1"
    return render.script("swarm-second.sh.j2", identity=identity, label=LABEL, networks=["ingress", *networks])


def _labelling(site: Site, host: str) -> str:
    """Also of a swarm whose founder lost its power between making and labelling it."""
    found = cluster(site.facts[host])
    spec = inside(found, "Spec")
    labels = {**inside(spec, "Labels"), LABEL: site.inventory.cluster}
    return _asking(f"update?version={inside(found, 'Version').get('Index', 0)}", {**spec, "Labels": labels}, "label")


def _token(manager: str, role: str) -> Told:
    script = render.script("swarm-token.sh.j2", program=render.text("swarm.pl"), role=role.capitalize())
    return Told({manager: f"# reading how to join the swarm\n{script}"})


def _init(site: Site, host: str) -> dict[str, Any]:
    """The request's body. Port and pools can be chosen here and never again."""
    asked = site.inventory.swarm
    body: dict[str, Any] = _own(site, host) | {"Spec": {"Labels": {LABEL: site.inventory.cluster}}}
    if asked and asked.data_path_port:
        body["DataPathPort"] = asked.data_path_port
    if asked and asked.default_addr_pool:
        body["DefaultAddrPool"] = [str(pool) for pool in asked.default_addr_pool.pools]
        body["SubnetSize"] = asked.default_addr_pool.size
    return body


def _join(site: Site, view: View, host: str) -> dict[str, Any]:
    """The request's body, but for the token."""
    managers = [address_of(node) for node in view.nodes.values() if node.get("ManagerStatus")]
    return {**_own(site, host), "RemoteAddrs": [f"{address}:{MANAGERS}" for address in sorted(managers)]}


def _own(site: Site, host: str) -> dict[str, str]:
    """With several addresses on a host neither is found out well by the engine (moby#30972)."""
    address = str(site.advertise[host])
    return {"ListenAddr": f"0.0.0.0:{MANAGERS}", "AdvertiseAddr": address, "DataPathAddr": address}
