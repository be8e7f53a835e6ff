"""SSH to the hosts; the only importer of paramiko."""

from provisioner.transport.connect import connect, connect_all
from provisioner.transport.connection import Connection
from provisioner.transport.forward import ForwardedSocket
from provisioner.transport.stream import Stream

__all__ = ["Connection", "ForwardedSocket", "Stream", "connect", "connect_all"]
