"""Cures of the lab's faults, as a reader of a report does them: by the commands that it shows, or by `up`."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from provisioner.causes import CAUSES
from provisioner.errors import LabError

if TYPE_CHECKING:
    from provisioner.lab import Fault
    from tests.e2e.cluster import Cluster

# Faults of causes that have a cure, but whose own reports have no command for it; each with the reason.
BY_HAND = {
    "cut-off": "which of several rules is at fault is not known",
    "store-fails": "what is wrong is in the log of the store's server, and others have written it",
    "mtu": "the MTU of a path is changed where it is set, which no command of ours knows",
    "overlay-dropped": "the cure of packets that are lost in a namespace says where to look",
}


def curable(fault: Fault) -> bool:
    """Return True if the fault's cause is cured by commands or by `up`."""
    cause = CAUSES[fault.cause]
    on_hosts = fault.place.value in {"host", "path"} and fault.id not in BY_HAND
    return on_hosts and bool(cause.commands or cause.fixable or cause.by_up)


def paste(cluster: Cluster, causes: list[dict[str, Any]]) -> str:
    """Run all commands of a report, each on the host that it names, then `up` if a cause says so. Returns "up", "commands", or "" for neither.

    A command that fails is run again after some seconds, as a reader would do: an engine or a store may just be starting. If it
    fails again, the next report has to say what is left to do.
    """
    commands = [command for cause in causes for command in cause["commands"]]
    for command in dict.fromkeys(commands):
        host = command.split("  # on ")[1].split(";")[0]
        try:
            cluster.sh(host, command, timeout=180)
        except LabError as error:
            print(f"{error}\nonce more, after 5 s")
            time.sleep(5)
            print(cluster.sh(host, f"{{ {command.partition('  # on ')[0]}; }} 2>&1", check=False, timeout=180))
    by_up = any(cause["fixable"] and not cause["commands"] for cause in causes)
    if by_up:
        cluster.run("up")
    return "up" if by_up else "commands" if commands else ""


def healed(cluster: Cluster) -> None:
    """Heal all faults. A fault that asks the swarm's leader can't be healed before the other one's managers are back."""
    for _ in range(30):
        with contextlib.suppress(LabError):
            cluster.lab.heal()
            return
        time.sleep(2)
    cluster.lab.heal()


def clean(cluster: Cluster, *, up: bool = True) -> None:
    """Heal what is left of the faults of the lab, and what their cures have left behind.

    up: `up` was a cure. It may have set firewall rules for an address that the fault had added.
    """
    healed(cluster)
    if up and cluster.run("plan").code == 2:
        cluster.run("up")
