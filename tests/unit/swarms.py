"""Swarms from captures of real hosts (swarm-node*: node1 is a manager, the others are workers), and variants."""

from __future__ import annotations

import json

from captured import HOSTS, capture, with_http, with_info, with_raw


def labelled(facts, label):
    """A manager whose swarm has this label; "" for none."""
    swarm = facts.engine["Swarm"]
    spec = {**swarm["Cluster"]["Spec"], "Labels": {"provisioner.cluster": label} if label else {}}
    return with_info(facts, Swarm={**swarm, "Cluster": {**swarm["Cluster"], "Spec": spec}})


FOUND = {name: capture(f"swarm-{name}") for name in HOSTS}
FOUND["node1"] = labelled(FOUND["node1"], "lab")  # the captured cluster has another name
IDS = {name: facts.engine["Swarm"]["NodeID"] for name, facts in FOUND.items()}
ADDRESSES = {name: facts.engine["Swarm"]["NodeAddr"] for name, facts in FOUND.items()}
_NONE = {
    "NodeID": "",
    "NodeAddr": "",
    "LocalNodeState": "inactive",
    "ControlAvailable": False,
    "Error": "",
    "RemoteManagers": None,
}


def put(name, **keys):
    """A host whose engine reports these other values for its swarm."""
    return with_info(FOUND[name], Swarm={**FOUND[name].engine["Swarm"], **keys})


def out(name):
    """A host in no swarm."""
    bare = with_http(with_info(with_raw(FOUND[name], ports=""), Swarm=_NONE), "nodes", "503 not a manager")
    return with_http(bare, "networks", [n for n in FOUND[name].networks.values() if n["Scope"] == "local"])


def fresh():
    return {name: out(name) for name in HOSTS}


def with_managers(*managers, down=()):
    """The three hosts with these managers. down: unreachable hosts, which have no facts."""
    remote = [{"NodeID": IDS[name], "Addr": f"{ADDRESSES[name]}:2377"} for name in managers]
    listed = json.loads(json.dumps(FOUND["node1"].http("nodes").body))
    for node in listed:
        name = next(name for name in HOSTS if IDS[name] == node["ID"])
        node["Spec"]["Role"] = "manager" if name in managers else "worker"
        node.pop("ManagerStatus", None)
        if name in managers:
            node["ManagerStatus"] = {
                "Reachability": "reachable",
                "Addr": f"{ADDRESSES[name]}:2377",
                "Leader": name == managers[0],
            }
    cluster = FOUND["node1"].engine["Swarm"]["Cluster"]
    found = {}
    for name in HOSTS:
        if name in down:
            continue
        manages = name in managers
        facts = put(name, RemoteManagers=remote, ControlAvailable=manages, Cluster=cluster if manages else None)
        found[name] = with_http(facts, "nodes", listed if manages else "503 not a manager")
    return found


def another(name):
    """A host that is the only manager of a swarm that provisioner did not make."""
    cluster = {**FOUND["node1"].engine["Swarm"]["Cluster"], "ID": "another", "Spec": {"Labels": {}}}
    remote = [{"NodeID": "theirs", "Addr": f"{ADDRESSES[name]}:2377"}]
    facts = put(name, NodeID="theirs", ControlAvailable=True, RemoteManagers=remote, Cluster=cluster)
    node = {"ID": "theirs", "Spec": {"Role": "manager"}, "Status": {"State": "ready", "Addr": ADDRESSES[name]}}
    return with_http(facts, "nodes", [node])
