"""The store: Consul, etcd or ZooKeeper, whether `provisioner` manages it or not."""

from provisioner.causes.base import Cause, Family
from provisioner.model import Severity

_KINDS = {"consul": "Consul", "etcd": "etcd", "zookeeper": "ZooKeeper"}  # as inventories name them -> title


def _foreign(kind: str, title: str) -> tuple[Cause, Cause]:
    """Return the two causes about a store of this kind that somebody else set up: its server, and its data."""
    return (
        Cause(
            f"foreign-{kind}",
            f"{title} was set up by somebody else",
            Severity.STOP,
            f"{title} runs on a host with a configuration that provisioner did not write. Its data and its cluster belong to"
            " somebody else, so it is neither reconfigured nor used.",
            "stop and disable it if it is not needed: systemctl disable --now {unit}",
        ),
        Cause(
            f"foreign-{kind}-data",
            f"data of another {title} cluster",
            Severity.STOP,
            f"{title} waits for the members of another cluster that it finds in its data. It never forms a cluster with the"
            " hosts of the inventory.",
            "move the data away if nothing needs it: mv {folder} {folder}.old",
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
            "remove these networks when no container needs them (docker network rm), or set that store in the inventory",
        ),
        Cause(
            "swarm-active",
            "the engine is in swarm mode",
            Severity.STOP,
            "Swarm mode and an external store exclude each other: the engine refuses to start with both.",
            "if nothing needs that swarm: docker swarm leave --force; or put all hosts into one swarm: control_plane: swarm",
        ),
        Cause(
            "store-options",
            "the engine rejects the heartbeat and TTL for the store",
            Severity.STOP,
            "If the inventory omits the heartbeat or the TTL, the value in daemon.json remains in effect. An engine does not"
            " use the store if a value is invalid, or if the two contradict each other.",
            "remove {keys} from cluster-store-opts in {path}, or set both in store.discovery of the inventory",
        ),
        Cause(
            "store-tls",
            "the TLS files for the store are incomplete or unusable",
            Severity.STOP,
            "With one or two of its three TLS files, an engine silently connects to the store without TLS (libnetwork v20.10)."
            " The store then refuses it, or everybody on the path can read what they exchange.",
            "set store.tls to files that the store's certificate authority issued",
            variants={
                "incomplete": "set all three files, or none",
                "unwanted": "remove {keys} from cluster-store-opts",
                "unwanted-external": "remove {keys} from cluster-store-opts, or set the files in store.tls",
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
                "removable": "keep them in the inventory (store.servers), or remove each of them from the cluster:"
                " provisioner remove ADDRESS INVENTORY"
            },
            warns="a majority of the servers stays",
        ),
        Cause(
            "server-added",
            "a server can't join the store by itself",
            Severity.STOP,
            "The running store has a fixed set of servers. A server outside that set waits forever, or forms a second store.",
            "first add it on one of the servers (package etcd-client): {adding}; or remove it from store.servers",
            variants={
                "fixed": "remove them from store.servers",
                "removed": "on {host}, move the old data away: `systemctl stop etcd; mv -T {data} {data}.removed`; then add {host} as a"
                " new member on one of the servers (package etcd-client): {adding}, and run again",
                "again": "on {host}, move the old data away: `systemctl stop etcd; mv -T {data} {data}.removed`, and run again",
            },
            explains=("store-down",),
        ),
        Cause(
            "etcd-data-lost",
            "an etcd server has lost its data",
            Severity.STOP,
            "The other servers still count this one as a member. With an empty data directory it can't rejoin under its old"
            " membership.",
            "on another server (package etcd-client): {removing}, then {adding}, and run again",
            variants={
                "tries": "on {host}, `systemctl stop etcd`; on another server (package etcd-client), {removing}, then {adding}, and run"
                " again"
            },
            explains=("store-down",),
        ),
        Cause(
            "store-tls-kept",
            "etcd was created with another TLS setting",
            Severity.WARNING,
            "The servers of an etcd cluster know each other by URLs that begin with http or https. This is fixed when the"
            " cluster is created, so the inventory's setting has no effect.",
            "set store.security.tls to match; or, when no container needs the networks, create the cluster again: on every"
            " server `systemctl stop etcd; rm -rf {data}`, then run again",
        ),
        Cause(
            "store-without-v2",
            "etcd does not serve its v2 API",
            Severity.STOP,
            "Engines speak only the v2 API of etcd. etcd 3.4 and 3.5 disable it by default, and 3.6 removed it.",
            "start etcd with --enable-v2=true (etcd up to 3.5; 3.6 has no v2 API)",
            variants={"package": "use etcd 3.3, 3.4 or 3.5, as packaged in Debian 11, 12 and 13"},
            warns="the host can use another endpoint",
        ),
        Cause(
            "renamed-host",
            "a host's Consul agent has another name",
            Severity.STOP,
            "A Consul agent keeps its ID when it is renamed. The leader then removes the ID from the quorum because of the old"
            " name, again and again.",
            "call the host {called} in the inventory; or remove it (provisioner remove {called} INVENTORY) and add it as {name}",
        ),
        Cause(
            "acl-denied",
            "Consul denies the engine write access",
            Severity.WARNING,
            "An engine that may not write under its keys can neither announce itself nor create networks or endpoints.",
            "run `provisioner up INVENTORY`, which restores the agent's token and the token's rights",
            fixable=True,
        ),
        Cause(
            "agent-shut-out",
            "the cluster's Consul rejects a host's agent",
            Severity.WARNING,
            "The host's gossip key, certificate or token differs from the others': the host was unreachable during a rotation,"
            " or was restored from a backup. Its engine can't reach the store.",
            "run `provisioner up INVENTORY`, which gives the agent the present key, certificate and token, and restarts it",
            fixable=True,
            explains=("probe-failed",),
        ),
        Cause(
            "gossip-keys-left",
            "a rotation of Consul's gossip key was interrupted",
            Severity.WARNING,
            "An agent still accepts gossip keys other than the one that it sends with. The network works, but old keys are not"
            " revoked.",
            "run `provisioner rotate gossip-key INVENTORY`, which revokes all other keys",
        ),
        Cause(
            "gossip-key-unknown",
            "Consul's agents use an unknown gossip key",
            Severity.STOP,
            "Most agents send with a gossip key that no host has on record: somebody changed it by hand. A run that wrote the"
            " recorded key would split the agents into two groups.",
            "if you changed the key by hand, remove {path} on every host and run again; otherwise find out who changed it",
        ),
        Cause(
            "consul-agents-missed",
            "a change of security settings would shut out agents",
            Severity.STOP,
            "The run changes how Consul's agents authenticate, but does not reach all agents. Those agents could not connect"
            " afterwards.",
            "repair these hosts, or remove them (consul force-leave NAME; {token}); or keep store.security as it was",
        ),
        Cause(
            "store-down",
            "the store's service is down on a host",
            Severity.ERROR,
            "The store has a service on this host, which does not run. An engine that reaches the store through it starts no"
            " container on a network. If more servers stop, the store has no leader, and no engine can use it.",
            "bring the store back first: provisioner up INVENTORY",
            variants={
                "fails": "correct what its log complains about (journalctl -u {unit}), then run provisioner up INVENTORY"
            },
            drifts=("server", "store", "network", "consul.service", "etcd.service", "zookeeper.service"),
            explains=("probe-failed", "store-no-leader"),
            by_up=frozenset({""}),
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
            "repair {title} first",
            variants={"managed": "bring the store back first: provisioner up INVENTORY"},
            warns="the host can use another endpoint",
            drifts=("store", "network"),
            explains=("probe-failed", "engine-hangs", "names-unresolved"),
        ),
        Cause(
            "store-wiped",
            "the store has lost networks that containers use",
            Severity.ERROR,
            "Engines keep their overlay networks in the store. The store answers, but does not have the networks of running"
            " containers: its data was deleted, or it kept them in memory only (moby#18841). These containers reach nobody"
            " new, and no other container can join them.",
            "restore the store's data from a backup; without one, create the network again (provisioner up INVENTORY), and recreate its"
            " containers: {containers}",
            explains=("names-unresolved", "overlay-blocked", "probe-failed", "vxlan-exists", "endpoint-lost"),
            drifts=("network",),
        ),
        Cause(
            "store-in-container",
            "the store runs in a container of an engine that needs it",
            Severity.WARNING,
            "When the engine starts, it looks for its store, and the store starts only after the engine (moby#18091). After a reboot,"
            " the engine waits in vain, and its containers on overlay networks stay down.",
            "run the store as a service of the host, or on another host",
            explains=("store-unreachable",),
        ),
        Cause(
            "store-version",
            "an untested version of the external store",
            Severity.WARNING,
            "Engines have not been tested with this version of the store. The store did answer the requests that engines make.",
            "use {versions}; or try this version, and hide the warning with --ignore store-version",
        ),
        Cause(
            "store-shared",
            "engines outside the inventory use the same store",
            Severity.WARNING,
            "Engines that keep their keys in one place of a store share their networks. Engines outside the inventory join these"
            " networks, and their hosts are not in the firewall's rules.",
            "give this cluster its own `store.prefix`; or, if those engines should be gone, remove them from the store",
        ),
        Cause(
            "gossip-overload",
            "many hosts on an external store",
            Severity.WARNING,
            "With an external store and more than about 25 hosts, the engines' gossip declares live members dead (moby#35807)."
            " Names then disappear for a while.",
            "check the network regularly with `provisioner verify INVENTORY`",
            explains=("names-unresolved",),
        ),
    ),
)
