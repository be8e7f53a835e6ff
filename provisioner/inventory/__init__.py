"""From a YAML file to frozen, validated objects, or to one list of all that is wrong with the file."""

from provisioner.inventory.loading import load, schema
from provisioner.inventory.models import Dns, Host, Inventory, Network, PluginEntry, Ssh, Store, Tls

__all__ = ["Dns", "Host", "Inventory", "Network", "PluginEntry", "Ssh", "Store", "Tls", "load", "schema"]
