"""Reasons why a command refuses a request or warns about it. None of them makes a network fail."""

from provisioner.causes.base import Cause, Family, Kind
from provisioner.model import Severity

FAMILY = Family(
    "commands",
    "Refusals of a command",
    (
        Cause(
            "network-in-use",
            "the network to recreate has containers",
            Severity.STOP,
            "A running container would lose the network when it is recreated, and a stopped one could not start again.",
            "remove these containers (docker rm), or run without --recreate, which leaves the network unchanged",
            variants={
                "left": "remove these containers (docker rm), or run without --recreate, which leaves the network unchanged;"
                " this removes an endpoint of a host that is gone: docker network disconnect -f {network} CONTAINER",
                "probes": "another run is proving the network: run again when it has ended",
            },
            kind=Kind.REFUSAL,
        ),
        Cause(
            "unknown-host",
            "the host to remove is not known",
            Severity.STOP,
            "Neither the inventory nor the store has a host of this name, so there is nothing to remove. A host that can't be"
            " reached is known by its address, which the store or swarm has.",
            "check the spelling, or give the host's address instead",
            variants={
                "address": "bring a majority of the other hosts back first; if the host was never part of the cluster, delete it"
                " from the inventory instead"
            },
            kind=Kind.REFUSAL,
        ),
        Cause(
            "containers-attached",
            "containers use networks that would be removed",
            Severity.STOP,
            "Without these networks, the containers would be cut off from the others.",
            "move or remove them; or disconnect them from the networks with --drain: they keep running",
            variants={
                "down": "move or remove them; or disconnect them from the networks with --force: they keep running",
                "late": "wait until `docker ps` answers there, and run this again; or, without knowing what uses the"
                " networks: --force",
            },
            kind=Kind.REFUSAL,
        ),
        Cause(
            "swarm-not-ours",
            "the swarm was not created for this cluster",
            Severity.STOP,
            "A swarm that provisioner creates has a label with the cluster's name. A swarm without this label may belong to"
            " somebody else.",
            "check which swarm it is: docker info, docker node ls; to leave it anyway: --force",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "swarm-services",
            "the swarm has services",
            Severity.STOP,
            "The services end when the hosts leave the swarm.",
            "remove the services (docker service rm), or end them with the swarm: --force",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "containers-run",
            "containers run on an engine whose package would be removed",
            Severity.STOP,
            "Containers stop when their engine's package is removed.",
            "stop them, or run without --packages; or remove the engine anyway with --force",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "unrecorded",
            "networks, packages or users that an earlier version may have added",
            Severity.WARNING,
            "Earlier versions kept no record of what they installed. Without a record, it is unknown what was there before.",
            "if provisioner added them, remove them in the same run with --unrecorded; otherwise they stay, and later they"
            " can only be removed by hand",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "nodes-unexamined",
            "nodes of the swarm were not examined",
            Severity.WARNING,
            "A manager's list of nodes is data, and a login goes to no address on it without consent. What is wrong on these"
            " nodes, and on the paths to them, was not seen.",
            "to examine them too, run again with --reach-nodes; known_hosts must have their keys",
            variants={
                "address": "let them join the swarm with an address that others can reach, and run again",
                "leader": "bring back a majority of the managers, and run again",
            },
            kind=Kind.REFUSAL,
        ),
        Cause(
            "host-lives",
            "the host to remove is alive but can't be managed",
            Severity.STOP,
            "The host can't be managed, but its engine still takes part. If only the other hosts removed it, it would keep its"
            " containers and its part of the store. The two halves would contradict each other.",
            "fix the access to the host; or, if you give it up, switch it off and run again after half a minute",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "host-gone",
            "the host to remove can't be reached and is assumed to be gone",
            Severity.WARNING,
            "What provisioner wrote on the host stays there, since a run can't log in to remove it.",
            "if the host comes back, remove it then: provisioner remove {address} INVENTORY",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "no-quorum",
            "no majority of servers or managers",
            Severity.STOP,
            "Removing a member requires a leader before and after. Without a majority there is no leader, and nothing can"
            " change.",
            "bring {missing} back first: without a leader, no member can be removed",
            variants={"afterwards": "bring the others back first, and run again"},
            kind=Kind.REFUSAL,
        ),
        Cause(
            "server-leaves",
            "this store's servers can't be removed one by one",
            Severity.STOP,
            "The host is a server of a store whose set of servers is fixed while it runs.",
            "{leaving}",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "last-server",
            "the host is the only server or manager",
            Severity.STOP,
            "The networks exist only in the data of this host. If it left, they would be lost.",
            "remove the networks first, or keep the host",
            explains=("other-store",),
            kind=Kind.REFUSAL,
        ),
        Cause(
            "even-servers",
            "an even number of servers or managers remains",
            Severity.WARNING,
            "An even number of servers tolerates no more failures than one server less, since a majority must remain.",
            "add a host when you can, to have {count} {role}s",
            variants={
                "spare": "first name another host in its place in {key} ({spare}): it takes over before this one leaves"
            },
            kind=Kind.REFUSAL,
        ),
        Cause(
            "still-named",
            "the inventory still names the removed host",
            Severity.WARNING,
            "The next `provisioner up` would add the host again.",
            "remove the host from the file there: otherwise the next `provisioner up INVENTORY` adds it again",
            variants={
                "servers": "remove the host from the file there: otherwise the next `provisioner up INVENTORY` adds it again; remove {key}"
                " completely, since it does not allow the number of names left ({others}); the present {role}s stay then"
            },
            kind=Kind.REFUSAL,
        ),
        Cause(
            "usage",
            "an argument does not fit the inventory",
            Severity.STOP,
            "An option or an argument names something that does not exist or can't be used: a network, a proof, a cause, a"
            " host or a file. Nothing was changed.",
            "correct the argument; `--help` describes all of them",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "inventory-invalid",
            "the inventory is not valid",
            Severity.STOP,
            "The inventory can't be read, or has values that do not fit. All problems are listed at once, and no host was"
            " contacted.",
            "correct the lines that the error names; docs/inventory.md describes every key",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "not-confirmed",
            "the changes were not confirmed",
            Severity.STOP,
            "`down`, and `up` on a terminal, show their changes and ask for confirmation. The answer was not yes, so nothing"
            " was changed.",
            "run it again and answer `y`, or use --yes",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "beyond-limit",
            "the change concerns hosts that --limit does not name",
            Severity.STOP,
            "With --limit, `up` changes some hosts only. Members of the store or swarm, their security and the shared networks"
            " concern all hosts. A host that joined alone would not be reached by the others, whose firewalls do not know it.",
            "run it without --limit; `provisioner plan INVENTORY` shows the changes of all hosts",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "last-host",
            "the host to remove is the only one",
            Severity.STOP,
            "`remove` needs other hosts that continue the cluster.",
            "use `provisioner down INVENTORY`, which puts all hosts back",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "nothing-to-rotate",
            "the store has no such secrets to rotate",
            Severity.STOP,
            "Consul and etcd have secrets only if provisioner sets them up with security. etcd can't change its certificate"
            " authority while it runs.",
            "enable it in store.security and run `provisioner up INVENTORY`; or see the documentation of your store",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "rotation-unready",
            "the store differs from the inventory",
            Severity.STOP,
            "A rotation replaces secrets only if the store matches the inventory.",
            "run `provisioner up INVENTORY` first",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "rotation-misses",
            "a host that has the old secrets is unreachable",
            Severity.STOP,
            "The rotation would revoke the old secrets. The unreachable host would be shut out when it returns.",
            "bring the host back, or remove it from the cluster: provisioner remove HOST INVENTORY",
            kind=Kind.REFUSAL,
        ),
    ),
)
