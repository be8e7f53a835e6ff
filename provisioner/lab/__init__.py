"""Real hosts on this machine: namespaces, systemd, sshd, engines. See docs/lab.md."""

from provisioner.errors import LabError
from provisioner.lab.faults import FAULTS, Fault
from provisioner.lab.lab import Lab, LabHost, LabStatus, enter_switch
from provisioner.lab.recipes import RECIPES
from provisioner.lab.topology import Topology

IMAGES = tuple(RECIPES)

__all__ = ["FAULTS", "IMAGES", "Fault", "Lab", "LabError", "LabHost", "LabStatus", "Topology", "enter_switch"]
