"""All steps of `up`, in the order in which they run."""

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
from provisioner.system.owned import together, unwritten
from provisioner.system.reading import DAEMON_JSON

if TYPE_CHECKING:
    from provisioner.steps.base import Built

STEPS: tuple[Built, ...] = (
    Engines(),  # the engines are installed; only if their version decides the control plane
    Packages(),  # the engine and the store's program are installed
    Version(),  # a file on the host names the format of our files
    Firewall(),  # the cluster's ports are open to its hosts only
    Store(),  # the store runs on its hosts and has a leader
    Daemon(),  # daemon.json names the store, and the running engine has joined it
    Gossip(),  # the engines know one another
    Plugins(),  # network plugins are installed and enabled, or known to the engine
    Recreate(),  # networks that `up --recreate` names are removed
    Founding(),  # every host has a record of which host creates the swarm
    Swarm(),  # the engines are in one swarm, each in its role
    Networks(),  # each network exists once and is the same on every host
)

_OWNED = together(step.owns for step in STEPS)
OWNED = together([_OWNED, unwritten(_OWNED, DAEMON_JSON)])
