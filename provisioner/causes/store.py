"""The store: Consul, etcd or ZooKeeper, set up by us or by somebody else."""

from provisioner.causes.base import Cause, Family
from provisioner.model import Severity

_KINDS = {"consul": "Consul", "etcd": "etcd", "zookeeper": "ZooKeeper"}  # as inventories name them -> title


def _foreign(kind: str, title: str) -> tuple[Cause, Cause]:
    """Of each kind of store: a server, and the data of one, that somebody else set up."""
    return (
        Cause(
            f"foreign-{kind}",
            f"{title} was set up by somebody else",
            Severity.STOP,
            f"{title} runs on a host without our configuration. Its data and its cluster belong to somebody else, so it is"
            " neither reconfigured nor used.",
            "stop and disable it if it is not needed: systemctl disable --now {unit}",
        ),
        Cause(
            f"foreign-{kind}-data",
            f"data of another {title} cluster",
            Severity.STOP,
            f"A {title} server that finds another cluster's members in its data waits for them, and never forms a cluster with"
            " ours.",
            "move it away if nothing needs it: mv {folder} {folder}.old",
        ),
    )


FAMILY = Family(
    "store",
    "The store",
    (
        *(cause for kind, title in _KINDS.items() for cause in _foreign(kind, title)),
        Cause(
            "other-store",
            "the engine uses another store",
            Severity.STOP,
            "An engine finds its overlay networks in its store. Pointing it to another store takes the networks away from"
            " running containers.",
            "remove them when no container needs them (docker network rm), or keep to that store",
        ),
        Cause(
            "swarm-active",
            "the engine is in swarm mode",
            Severity.STOP,
            "Swarm mode and an external store exclude each other: the engine refuses to start with both.",
            "take it out, if nothing needs it: docker swarm leave --force; or have all hosts in one: control_plane: swarm",
        ),
        Cause(
            "store-options",
            "the engine rejects the store's times",
            Severity.STOP,
            "An engine takes heartbeat and TTL from the inventory and from daemon.json together. If they contradict each other,"
            " it does not use the store.",
            "take {keys} out of cluster-store-opts in {path}, or write both into store.discovery of the inventory",
        ),
        Cause(
            "store-tls",
            "the TLS files for the store are incomplete or unusable",
            Severity.STOP,
            "With one or two of its three TLS files, an engine silently connects to the store without TLS (libnetwork v20.10)."
            " The store then refuses it, or everybody on the path can read what they exchange.",
            "name the files of the store's authority in store.tls",
            variants={
                "incomplete": "name all three files, or none",
                "unwanted": "take {keys} out of it",
                "unwanted-external": "take {keys} out of it, or name the files in store.tls",
            },
        ),
        Cause(
            "server-left-out",
            "servers of the store are missing from the inventory",
            Severity.STOP,
            "A store needs a majority of its servers. If half of them or more were dropped, it would lose its leader, and no"
            " engine could change a network.",
            "keep them in the inventory (store.servers), or {leaving}",
            variants={
                "removable": "keep them in the inventory (store.servers), or take each of them out of the cluster:"
                " provisioner remove ADDRESS INVENTORY"
            },
            warns="a majority of the servers stays",
        ),
        Cause(
            "server-added",
            "a server can't join the store by itself",
            Severity.STOP,
            "This store has its set of servers already. A server that it does not know waits for ever, or forms a second store.",
            "add it first, on a server (package etcd-client): {adding}; or leave it out of store.servers",
            variants={"fixed": "leave them out of store.servers"},
        ),
        Cause(
            "etcd-data-lost",
            "an etcd server has lost its data",
            Severity.STOP,
            "The other servers still count this one as a member. With an empty data directory it can't rejoin under its old"
            " membership.",
            "on another server (package etcd-client): {removing}, then {adding}, and run again",
        ),
        Cause(
            "store-tls-kept",
            "etcd was founded with another TLS setting",
            Severity.WARNING,
            "The servers of an etcd know one another by URLs that begin with http or https. This is fixed when etcd is founded,"
            " so the inventory's setting has no effect.",
            "set store.security.tls accordingly; or found it anew when no container needs its networks: on every server"
            " `systemctl stop etcd; rm -rf {data}`, and run again",
        ),
        Cause(
            "store-without-v2",
            "etcd does not serve its v2 API",
            Severity.STOP,
            "Engines speak etcd's v2 API only. etcd 3.4 and 3.5 disable it unless configured otherwise, and 3.6 removed it.",
            "start it with --enable-v2=true (etcd up to 3.5; 3.6 has no v2 any more)",
            variants={"package": "use etcd 3.3, 3.4 or 3.5, as Debian 11, 12 and 13 have it"},
            warns="the host can use another endpoint",
        ),
        Cause(
            "renamed-host",
            "a host's Consul agent has another name",
            Severity.STOP,
            "A Consul agent keeps its ID when it is renamed. The leader then removes the ID from the quorum because of the old"
            " name, again and again.",
            "call the host {called} in the inventory; or take it out (provisioner remove {called}) and add it as {name}",
        ),
        Cause(
            "acl-denied",
            "Consul denies the engine write access",
            Severity.WARNING,
            "An engine that may not write under its keys can neither announce itself nor create networks or endpoints.",
            "provisioner up gives its agent the token again, and the token its rights",
            fixable=True,
        ),
        Cause(
            "agent-shut-out",
            "the cluster's Consul rejects a host's agent",
            Severity.WARNING,
            "The host's gossip key, certificate or token is not the one that the others have: it was away while they were"
            " rotated, or was restored from a backup. Its engine can't reach the store.",
            "provisioner up gives it those of the others, and restarts it",
            fixable=True,
            explains=("probe-failed",),
        ),
        Cause(
            "gossip-keys-left",
            "a rotation of Consul's gossip key was interrupted",
            Severity.WARNING,
            "An agent still accepts gossip keys beside the one that it sends with. The network works, but old keys are not"
            " revoked.",
            "provisioner rotate gossip-key, which revokes all others",
        ),
        Cause(
            "gossip-key-unknown",
            "Consul's agents use an unknown gossip key",
            Severity.STOP,
            "Most agents send with a gossip key that no host has on record: somebody changed it by hand. A run that wrote the"
            " recorded key would split the agents into two groups.",
            "where you changed the key by hand, remove {path} on every host and run again; else find out who changed it",
        ),
        Cause(
            "consul-agents-missed",
            "a change of security would shut out agents",
            Severity.STOP,
            "The run changes how Consul's agents authenticate, and does not reach all agents. The others could not connect"
            " afterwards.",
            "repair these hosts, or take them out (consul force-leave NAME; {token}); or leave store.security as it was",
        ),
        Cause(
            "store-down",
            "the store does not run on a host that needs it there",
            Severity.ERROR,
            "The engine reaches the store through a service on its own host. While that service is down, no container on the"
            " host can join a network.",
            "bring the store back first: provisioner up INVENTORY",
            explains=("probe-failed",),
            fixable=True,
        ),
        Cause(
            "store-unreachable",
            "a host does not reach the external store",
            Severity.STOP,
            "An engine without its store can neither create nor look up networks, and starts no container on them.",
            "open {where} to this host, or correct store.endpoints",
            warns="the host can use another endpoint",
        ),
        Cause(
            "store-forbidden",
            "the external store denies access",
            Severity.STOP,
            "Engines announce themselves and keep networks and endpoints under their keys in the store. Without read and write"
            " access there, they share no network.",
            "{allowing}",
            warns="the host can use another endpoint",
        ),
        Cause(
            "store-no-leader",
            "the store has no leader",
            Severity.STOP,
            "A store without a leader accepts no change. No network or container can be added, and leases expire.",
            "repair that {title} first",
            variants={"managed": "bring the store back first: provisioner up INVENTORY"},
            warns="the host can use another endpoint",
            explains=("probe-failed",),
        ),
        Cause(
            "store-version",
            "an untested version of the external store",
            Severity.WARNING,
            "Nobody has tested whether engines work with this version of the store. What engines need did get an answer.",
            "use {versions}; or try it, and leave this warning out: --ignore store-version",
        ),
        Cause(
            "store-shared",
            "engines of somebody else use the same store",
            Severity.WARNING,
            "Engines that keep their keys in one place of a store share their networks. Engines outside the inventory join these"
            " networks, and their hosts are not in the firewall's rules.",
            "give this cluster a `store.prefix` of its own, or take those out of the store if they are to be gone",
        ),
        Cause(
            "gossip-overload",
            "many hosts on an external store",
            Severity.WARNING,
            "In engines on an external store, gossip among more than about 25 hosts declares members dead that are not"
            " (moby#35807). Names then disappear for a while.",
            "watch it with `provisioner verify`",
            explains=("names-unresolved",),
        ),
    ),
)
