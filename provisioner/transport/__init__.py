"""SSH to the hosts; the only importer of paramiko."""

import sys

# paramiko uses `invoke` only for `Match exec` of an ssh_config, which ssh evaluates here, and works without it. The import of
# `invoke` would take half of the time of importing paramiko.
sys.modules.setdefault("invoke", None)  # type: ignore[arg-type] # None makes the import fail with ImportError

# ruff: noqa: E402
from provisioner.transport.connect import connect, connect_all
from provisioner.transport.connection import Connection
from provisioner.transport.deadline import Together
from provisioner.transport.forward import ForwardedSocket
from provisioner.transport.reader import Reader
from provisioner.transport.secrets import NO_SECRETS, Secrets
from provisioner.transport.ssh_config import complete
from provisioner.transport.stream import Stream

__all__ = [
    "NO_SECRETS",
    "Connection",
    "ForwardedSocket",
    "Reader",
    "Secrets",
    "Stream",
    "Together",
    "complete",
    "connect",
    "connect_all",
]
