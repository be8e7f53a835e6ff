"""Every step, in the order in which they run. This is the table of contents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.steps.daemon import Daemon
from provisioner.steps.firewall import Firewall
from provisioner.steps.founding import Founding
from provisioner.steps.gossip import Gossip
from provisioner.steps.networks import Networks
from provisioner.steps.packages import Engines, Packages
from provisioner.steps.plugins import Plugins
from provisioner.steps.recreate import Recreate
from provisioner.steps.store import Store
from provisioner.steps.swarm import Swarm
from provisioner.steps.version import Version
from provisioner.system.owned import together

if TYPE_CHECKING:
    from provisioner.steps.base import Built

STEPS: tuple[Built, ...] = (
    Engines(),  # only where they are to decide for a control plane: the engines are installed
    Packages(),  # the engine and the store's program are installed
    Version(),  # the host says which format our files have
    Firewall(),  # the cluster's ports are open to its hosts, and to them only
    Store(),  # the store runs where it belongs, and has a leader
    Daemon(),  # daemon.json names the store, and the running engine has joined it
    Gossip(),  # the engines know one another
    Plugins(),  # the engine knows its plugins, or has them installed and on
    Recreate(),  # networks that a person asked to have made anew are gone
    Founding(),  # every host has on record which one makes the swarm
    Swarm(),  # the engines are in one swarm, each in its role
    Networks(),  # one network of each name, the same on every host
)

OWNED = together(step.owns for step in STEPS)
