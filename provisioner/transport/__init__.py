"""SSH to the hosts; the only importer of paramiko."""

from provisioner.transport.connect import connect, connect_all
from provisioner.transport.connection import Connection

__all__ = ["Connection", "connect", "connect_all"]
