"""What a command declines to do, or does with a remark: none of this makes a network fail."""

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
            "A container on a network loses it when the network is recreated, and a stopped one could not be started again.",
            "remove these containers (docker rm), or run without --recreate, which leaves the network as it is",
            variants={
                "left": "remove these containers (docker rm), or run without --recreate, which leaves the network as it is;"
                " endpoints of a host that is gone are freed by docker network disconnect -f {network} CONTAINER",
                "probes": "a proof of another run is under way: run it again when that has ended",
            },
            kind=Kind.REFUSAL,
        ),
        Cause(
            "unknown-host",
            "the host to remove is not known",
            Severity.STOP,
            "Neither the inventory nor the store has a host of this name, so there is nothing to take out.",
            "check how it is written, or give its address instead",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "containers-attached",
            "containers are on networks that would be taken from them",
            Severity.STOP,
            "Without these networks, the containers would be cut off from the others.",
            "move or remove them; or take them off the networks, on which they go on running: --drain",
            variants={"down": "move or remove them; or take them off the networks with --force: they go on running"},
            kind=Kind.REFUSAL,
        ),
        Cause(
            "swarm-not-ours",
            "the swarm was not made for this cluster",
            Severity.STOP,
            "A swarm that provisioner makes has a label with the cluster's name. Others may need one without it.",
            "check which swarm it is: docker info, docker node ls; or leave it all the same with --force",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "swarm-services",
            "the swarm has services",
            Severity.STOP,
            "Services end when their swarm is left.",
            "remove them (docker service rm), or end them with the swarm: --force",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "containers-run",
            "containers run on an engine whose package would be removed",
            Severity.STOP,
            "Containers stop when their engine's package is removed.",
            "stop them, or leave out --packages; or remove the engine all the same with --force",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "unrecorded",
            "packages or users that an earlier version may have made",
            Severity.WARNING,
            "Earlier versions kept no record of what they installed. Without one, nobody can tell what was there before them.",
            "if they came with provisioner, remove them too: --unrecorded",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "host-lives",
            "the host to remove is alive and can't be reached",
            Severity.STOP,
            "The host can't be managed, but its engine still takes part. If it were removed from the others only, it would"
            " keep its containers and its part of the store, and two halves would contradict each other.",
            "fix that; or, if the host is given up, switch it off and run again after half a minute",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "host-gone",
            "the host to remove can't be reached and is assumed to be gone",
            Severity.WARNING,
            "What is on the host stays there, since nobody can log in to remove it.",
            "should it come back, run `provisioner remove` again with its address, {address}",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "no-quorum",
            "no majority of servers or managers",
            Severity.STOP,
            "Taking a member out needs a leader before and after. Without a majority there is none, and nothing may be changed.",
            "bring {missing} back first: none can be taken out without a leader",
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
            "take the networks away first, or keep the host",
            explains=("other-store",),
            kind=Kind.REFUSAL,
        ),
        Cause(
            "even-servers",
            "an even number of servers or managers remains",
            Severity.WARNING,
            "Of an even number of servers, no more may fail than of one server less: a majority is needed either way.",
            "add a host when you can, for {count} {role}s",
            variants={
                "spare": "name another one in its place in {key} first ({spare}): it takes over before this one leaves"
            },
            kind=Kind.REFUSAL,
        ),
        Cause(
            "still-named",
            "the inventory still names the removed host",
            Severity.WARNING,
            "The next `provisioner up` would add the host again.",
            "take that out of the file: the next `provisioner up` would add the host again",
            variants={
                "servers": "take that out of the file: the next `provisioner up` would add the host again; of {key} all of it,"
                " since {others} can't be named there: without it those that are {role}s stay so"
            },
            kind=Kind.REFUSAL,
        ),
        Cause(
            "usage",
            "an argument does not fit the inventory",
            Severity.STOP,
            "An option or an argument names something that does not exist: a network, a proof, a cause or a host. Nothing was"
            " changed.",
            "correct the argument; the command with --help describes each one",
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
            "`down` shows its changes and asks. The answer was not yes, so nothing was changed.",
            "run it again and answer `y`, or use --yes",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "last-host",
            "the host to remove is the only one",
            Severity.STOP,
            "A cluster of one host has no rest that could go on without it.",
            "use `provisioner down`, which puts all hosts back",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "nothing-to-rotate",
            "the store has no such secrets to rotate",
            Severity.STOP,
            "Consul and etcd have secrets of their own only if provisioner sets them up with security. etcd can't change its"
            " certificate authority while it runs.",
            "enable it in store.security and run `provisioner up`; or see the documentation of your store",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "rotation-unready",
            "the store differs from the inventory",
            Severity.STOP,
            "Secrets are replaced only on a store that is as the inventory wants it.",
            "run `provisioner up` first",
            kind=Kind.REFUSAL,
        ),
        Cause(
            "rotation-misses",
            "a host that has the old secrets is away",
            Severity.STOP,
            "The rotation would revoke the old secrets. A host that is away would be shut out when it returns.",
            "bring the host back, or remove it from the cluster: provisioner remove HOST INVENTORY",
            kind=Kind.REFUSAL,
        ),
    ),
)
