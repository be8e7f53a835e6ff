"""Load a YAML file into frozen, validated objects, or report all of its errors."""

from provisioner.inventory.engine_models import Dns, PluginEntry
from provisioner.inventory.loading import load, load_bytes, of_values, schema
from provisioner.inventory.models import Host, Inventory, Ssh
from provisioner.inventory.network_models import Network
from provisioner.inventory.store_models import Store, Tls

__all__ = [
    "Dns",
    "Host",
    "Inventory",
    "Network",
    "PluginEntry",
    "Ssh",
    "Store",
    "Tls",
    "load",
    "load_bytes",
    "of_values",
    "schema",
]
