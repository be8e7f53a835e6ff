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
    ),
)
