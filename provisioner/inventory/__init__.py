"""From a YAML file to frozen, validated objects, or to one list of all that is wrong with the file."""

from provisioner.inventory.loading import load, schema
from provisioner.inventory.models import Host, Inventory, Network, Ssh, Store, Tls

__all__ = ["Host", "Inventory", "Network", "Ssh", "Store", "Tls", "load", "schema"]
