"""SSH to the hosts; the only importer of paramiko."""

import sys

# paramiko looks for it for `Match exec` of an ssh_config, which is not read here, and does without it where it is missing.
# It is half of what importing paramiko takes.
sys.modules.setdefault("invoke", None)  # type: ignore[arg-type] # None: import says that there is none

# ruff: noqa: E402
from provisioner.transport.connect import connect, connect_all
from provisioner.transport.connection import Connection
from provisioner.transport.forward import ForwardedSocket
from provisioner.transport.reader import Reader
from provisioner.transport.stream import Stream

__all__ = ["Connection", "ForwardedSocket", "Reader", "Stream", "connect", "connect_all"]
