"""Draws a round from a seed: its commands, when each is killed, and what else happens. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.chaos.clock import Moment

RECREATED = "other"  # the network that is recreated; it has no containers
LEAVER = "node3"
HOSTS = ("node1", "node2", "node3")


@dataclass(frozen=True)
class Kind:
    """A control plane to test.

    image: the image of the lab's hosts. rotations: arguments of `rotate`. leaves: whether `remove` is tested. returns: whether
    `up` can add the removed host again.
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

# Scripts that change a host before a command, so that the command has work to do there. STORE: the store's unit.
DRIFTS = {
    "nothing": ":",
    "engine stopped": "systemctl stop docker.socket docker",
    "firewall gone": "systemctl stop provisioner-firewall; rm -f /etc/provisioner/firewall.sh",
    "store restarted with another configuration": "sed -i '$a # drift' /etc/systemd/system/STORE.service && systemctl daemon-reload && systemctl restart STORE",
    "store stopped": "systemctl stop STORE",
    "engine with another configuration": "sed -i s/:2376/:2399/ /etc/docker/daemon.json; systemctl restart docker",
}
_OF_STORES = ("store restarted with another configuration", "store stopped", "engine with another configuration")

# The measured number of exchanges with hosts of a complete command: of `up` on fresh hosts, and on settled hosts.
_LENGTH = {"fresh": 40, "up": 24, "remove": 44, "rotate": 32, "recreate": 28}


@dataclass(frozen=True)
class Loss:
    """Hosts that lose power or their network cable for some seconds."""

    what: str  # "power" | "cable"
    hosts: tuple[str, ...]
    when: Moment
    seconds: float

    def __str__(self) -> str:
        return f"{', '.join(self.hosts)} without {self.what} for {self.seconds:.1f} s from {self.when}"


@dataclass(frozen=True)
class Act:
    """A command and what happens to it. drift: pairs of host and key of DRIFTS. concurrent: when a second `up` starts."""

    command: str
    killed: Moment | None = None
    drift: tuple[tuple[str, str], ...] = ()
    concurrent: Moment | None = None
    loss: Loss | None = None

    def __str__(self) -> str:
        parts = [self.command]
        parts += [f"({host}: {what})" for host, what in self.drift]
        parts += [f"killed at {self.killed}"] if self.killed else ["not killed"]
        parts += [f"with another `up` from {self.concurrent}"] if self.concurrent else []
        parts += [str(self.loss)] if self.loss else []
        return ", ".join(parts).replace(", (", " (")


@dataclass(frozen=True)
class Round:
    """A round. start: "fresh" hosts or a "settled" cluster. healing: the commands that must succeed; see `_healing`."""

    kind: str
    seed: int
    start: str
    acts: tuple[Act, ...]
    healing: tuple[str, ...]

    @property
    def removes(self) -> bool:
        return any(act.command.startswith("remove") for act in self.acts)


def draw(kind: Kind, seed: int) -> Round:
    """Draw the round of a seed. A seed always gives the same round, as long as the values above do not change."""
    dice = random.Random(f"{kind.name} {seed}")
    start = dice.choices(("fresh", "settled"), (1, 2))[0]
    count = dice.choices((1, 2, 3), (6, 3, 1))[0]
    first = "up" if start == "fresh" else _command(kind, dice)
    commands = [first]
    while len(commands) < count:
        # Repeat the first command or draw another one. If the store can't add the removed host again, only repeat the removal.
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
    concurrent = moment() if dice.random() < 0.2 else None
    loss = None
    if killed is None or dice.random() < 0.25:
        hosts = HOSTS if dice.random() < 0.2 else (dice.choice(HOSTS),)
        loss = Loss(dice.choice(("power", "power", "cable")), hosts, moment(), round(4 * dice.random(), 1))
    drift: tuple[tuple[str, str], ...] = ()
    if start != "fresh" and command == "up":
        known = [what for what in DRIFTS if kind.store or what not in _OF_STORES]
        drift = tuple((host, dice.choice(known)) for host in HOSTS)
    return Act(command, killed, drift, concurrent, loss)


def _healing(kind: Kind, dice: random.Random, commands: list[str]) -> tuple[str, ...]:
    """The commands that repair: sometimes the interrupted removal or rotation again, then `up`.

    If the removed host can't be added again, the removal is repeated alone.
    """
    last, again = commands[-1], dice.random() < 0.5
    removal = next((command for command in commands if command.startswith("remove")), "")
    up = next((command for command in commands if "--recreate" in command), "up")
    if removal and (again or not kind.returns):
        return (removal, up) if kind.returns else (removal,)
    return (last, up) if again and last.startswith("rotate") else (up,)
