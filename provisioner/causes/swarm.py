"""Swarm mode."""

from provisioner.causes.base import Cause, Family
from provisioner.model import Severity

FAMILY = Family(
    "swarm",
    "Swarm mode",
    (
        Cause(
            "store-in-use",
            "the engine uses an external store",
            Severity.STOP,
            "An external store and swarm mode exclude each other: the engine can't join a swarm (moby v20.10).",
            "take {keys} out of {path} and restart docker; or keep to it: control_plane: kv",
            variants={
                "networks": "remove its networks (docker network rm {networks}), take {keys} out of {path} and restart docker;"
                " or keep to it: control_plane: kv"
            },
        ),
        Cause(
            "other-swarm",
            "the engine is in another swarm",
            Severity.STOP,
            "An engine is in one swarm at a time. Services may run in the other swarm, so the engine is not taken out of it.",
            "if nothing needs that swarm: docker swarm leave --force, on this host",
            variants={
                "unreached": "let {unknown} be reached first, and run again; if this is not the cluster's swarm and nothing"
                " needs that swarm: docker swarm leave --force, on this host",
                "same-label": "keep the swarm of {hosts}: move what is needed there; then, on each of those nodes:"
                " docker swarm leave --force; and run again",
            },
        ),
        Cause(
            "second-swarm",
            "a host is alone in a second swarm of the cluster",
            Severity.WARNING,
            "Two swarms were created for one cluster, for example by two runs at the same time. The host shares no network with"
            " the others.",
            "run `provisioner up`: if nothing is in that swarm, the host leaves it and joins the others",
            fixable=True,
            explains=("engines-apart",),
        ),
        Cause(
            "swarm-locked",
            "the engine is locked",
            Severity.STOP,
            "In a swarm with autolock, an engine that was restarted waits for the swarm's key. Until then it takes part in"
            " nothing.",
            "docker swarm unlock, on this host, with the key; docker swarm unlock-key on {manager} shows it",
            variants={
                "no-leader": "docker swarm unlock, on this host, with the key; at the same time unlock enough managers for a"
                " majority"
            },
            explains=("probe-failed",),
        ),
        Cause(
            "swarm-error",
            "the engine can't join its swarm",
            Severity.STOP,
            "The engine belongs to a swarm and fails to take part in it. It starts no task, and its containers lose the swarm's"
            " networks.",
            "fix that; or, if no container needs it: docker swarm leave, on this host, and run again",
        ),
        Cause(
            "swarm-leaderless",
            "the swarm has no leader",
            Severity.WARNING,
            "A majority of the managers does not take part. Running containers go on, but nothing in the swarm can change, and"
            " no container can join its networks.",
            "have their hosts and engines run; only if a majority is gone for good: {anew}; then run again, without those hosts"
            " or with new ones",
            variants={
                "start": "have the swarm's managers run first: provisioner up INVENTORY starts their engines, and tells who does"
                " not take part"
            },
            explains=("probe-failed",),
        ),
        Cause(
            "node-resting",
            "a node is drained or paused",
            Severity.WARNING,
            "Somebody took the node out of scheduling. A container that starts there can't join the swarm's networks. A run"
            " leaves this decision alone.",
            "when it is to take part again: docker node update --availability active {node}, on a manager",
            explains=("probe-failed",),
        ),
        Cause(
            "engines-apart",
            "engines do not know each other from gossip",
            Severity.WARNING,
            "Engines exchange over gossip where containers are. Two engines that do not know each other answer no name and"
            " forward no packet of the other's containers.",
            "{reunion}",
            explains=(
                "overlay-blocked",
                "names-unresolved",
            ),
        ),
        Cause(
            "swarm-certificate",
            "a node's certificate has expired",
            Severity.STOP,
            "Managers refuse a node whose certificate has expired, for example a node that was off for months. A node that fails"
            " to renew its certificate in time will be refused soon (moby#42660).",
            "docker swarm leave --force, on this host, and run again; if it is the only manager, set its clock back first",
            variants={"soon": "check that it reaches a manager on 2377/tcp, and that the swarm has a leader"},
            warns="the certificate is still valid",
        ),
        Cause(
            "address-changed",
            "the swarm knows a node by another address",
            Severity.STOP,
            "A node can't change the address that it advertises while it is in the swarm (moby#41043). The others send to the"
            " old address, and reach nobody.",
            "set `advertise` of this host to {known}; or let it join anew: {leave}, and run again",
        ),
        Cause(
            "swarm-fixed",
            "the swarm was created with other settings",
            Severity.STOP,
            "The port for VXLAN and the address pools are fixed when a swarm is created. With another port in the inventory, the"
            " hosts' firewalls would block the data path.",
            "write what it was made with: `{key}: {value}` under `swarm`; or make it anew: docker swarm leave --force on"
            " every host",
            variants={
                "store": "write what it was made with: `{key}: {value}` under `swarm`, in place of `store`; or make it anew:"
                " docker swarm leave --force on every host"
            },
        ),
        Cause(
            "node-left-out",
            "nodes of the swarm are missing from the inventory",
            Severity.STOP,
            "The hosts' firewalls shut out nodes that the inventory does not name. If a majority of the managers were among them,"
            " the swarm would lose its leader.",
            "add them to the inventory; or take them out of the swarm: docker node demote and docker node rm, on a manager",
            warns="a majority of the managers stays",
        ),
    ),
)
