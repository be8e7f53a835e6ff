"""The control plane, by which engines share their networks, and the site: the cluster as one value for all layers above."""

from provisioner.controlplane.addresses import advertised
from provisioner.controlplane.planes import sought
from provisioner.controlplane.resolving import resolve
from provisioner.controlplane.site import Site

__all__ = ["Site", "advertised", "resolve", "sought"]
