"""What a seed means: the commands of a round, when each is killed, and what else happens. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.chaos.clock import Moment

RECREATED = "other"  # the network that is made anew, no container is on it
LEAVER = "node3"
HOSTS = ("node1", "node2", "node3")


@dataclass(frozen=True)
class Kind:
    """One control plane as it is tried.

    image: of the lab's hosts. rotations: what `rotate` can make anew. leaves: whether `remove` is tried; returns: whether the
    host can come back with an `up`, to a store that stands.
    """

    name: str
    image: str
    store: str
    rotations: tuple[str, ...] = ()
    leaves: bool = True
    returns: bool = True


_OF_CONSUL = ("gossip-key", "certificates", "certificates --ca", "tokens")
KINDS = {
    kind.name: kind
    for kind in (
        Kind("consul", "engine-20.10", "{kind: consul}", _OF_CONSUL),
        Kind("etcd", "engine-20.10.24", "{kind: etcd}", ("certificates",), returns=False),
        Kind("zookeeper", "engine-20.10", "{kind: zookeeper}", leaves=False),
        Kind("swarm", "engine-26", ""),
    )
}

# What is done to one host before a command, so that it has something to do there. STORE: the unit of the store.
DRIFTS = {
    "nothing": ":",
    "engine stopped": "systemctl stop docker.socket docker",
    "firewall gone": "systemctl stop provisioner-firewall; rm -f /etc/provisioner/firewall.sh",
    "store restarted with another configuration": "sed -i '$a # drift' /etc/systemd/system/STORE.service && systemctl daemon-reload && systemctl restart STORE",
    "store stopped": "systemctl stop STORE",
    "engine with another configuration": "sed -i s/:2376/:2399/ /etc/docker/daemon.json; systemctl restart docker",
}
_OF_STORES = ("store restarted with another configuration", "store stopped", "engine with another configuration")

# How many exchanges with hosts a command had, run to its end: on fresh hosts, and on settled ones.
_LENGTH = {"fresh": 40, "up": 24, "remove": 44, "rotate": 32, "recreate": 28}


@dataclass(frozen=True)
class Loss:
    """Hosts that lose power, or a cable, for some seconds."""

    what: str  # "power" | "cable"
    hosts: tuple[str, ...]
    when: Moment
    seconds: float

    def __str__(self) -> str:
        return f"{', '.join(self.hosts)} without {self.what} for {self.seconds:.1f} s from {self.when}"


@dataclass(frozen=True)
class Act:
    """One command, and what befalls it. drift: host -> key of DRIFTS. beside: when a second controller begins an `up`."""

    command: str
    killed: Moment | None = None
    drift: tuple[tuple[str, str], ...] = ()
    beside: Moment | None = None
    loss: Loss | None = None

    def __str__(self) -> str:
        told = [self.command]
        told += [f"({host}: {what})" for host, what in self.drift]
        told += [f"killed at {self.killed}"] if self.killed else ["not killed"]
        told += [f"beside another `up` from {self.beside}"] if self.beside else []
        told += [str(self.loss)] if self.loss else []
        return ", ".join(told).replace(", (", " (")


@dataclass(frozen=True)
class Round:
    """start: "fresh" hosts, or a "settled" cluster. healing: the commands that must end well, the last of them an `up`."""

    kind: str
    seed: int
    start: str
    acts: tuple[Act, ...]
    healing: tuple[str, ...]

    @property
    def removes(self) -> bool:
        return any(act.command.startswith("remove") for act in self.acts)


def draw(kind: Kind, seed: int) -> Round:
    """The round of a seed; the same for ever, as long as nothing above changes."""
    dice = random.Random(f"{kind.name} {seed}")
    start = dice.choices(("fresh", "settled"), (1, 2))[0]
    count = dice.choices((1, 2, 3), (6, 3, 1))[0]
    first = "up" if start == "fresh" else _command(kind, dice)
    commands = [first]
    while len(commands) < count:
        # What was begun is begun again, or something else is; of a store that lets nobody back in the leaver stays out.
        stuck = first.startswith("remove") and not kind.returns
        commands.append(
            first if stuck or dice.random() < 0.5 else _command(kind, dice, removes=first.startswith("remove"))
        )
    acts = tuple(_act(kind, dice, command, start if at == 0 else "settled") for at, command in enumerate(commands))
    return Round(kind.name, seed, start, acts, _healing(kind, dice, commands))


def _command(kind: Kind, dice: random.Random, *, removes: bool = True) -> str:
    words = ["up", "up"]
    words += [f"rotate {dice.choice(kind.rotations)}"] if kind.rotations else []
    words += [f"remove {LEAVER} --drain"] if kind.leaves and removes else []
    words += [f"up --recreate {RECREATED}"]
    return dice.choice(words)


def _act(kind: Kind, dice: random.Random, command: str, start: str) -> Act:
    length = _LENGTH[
        "fresh" if start == "fresh" else "recreate" if "recreate" in command else command.split(maxsplit=1)[0]
    ]

    def moment() -> Moment:
        return Moment(dice.randint(1, length), round(3 * dice.random() ** 4, 2))

    killed = moment() if dice.random() < 0.85 else None
    beside = moment() if dice.random() < 0.2 else None
    loss = None
    if killed is None or dice.random() < 0.25:
        hosts = HOSTS if dice.random() < 0.2 else (dice.choice(HOSTS),)
        loss = Loss(dice.choice(("power", "power", "cable")), hosts, moment(), round(4 * dice.random(), 1))
    drift: tuple[tuple[str, str], ...] = ()
    if start != "fresh" and command == "up":
        known = [what for what in DRIFTS if kind.store or what not in _OF_STORES]
        drift = tuple((host, dice.choice(known)) for host in HOSTS)
    return Act(command, killed, drift, beside, loss)


def _healing(kind: Kind, dice: random.Random, commands: list[str]) -> tuple[str, ...]:
    """What was begun last is run again, or is not; `up` brings all to an end."""
    last, again = commands[-1], dice.random() < 0.5
    removal = next((command for command in commands if command.startswith("remove")), "")
    anew = next((command for command in commands if "--recreate" in command), "up")
    if removal and (again or not kind.returns):
        return (removal, anew) if kind.returns else (removal,)
    return (last, anew) if again and last.startswith("rotate") else (anew,)
