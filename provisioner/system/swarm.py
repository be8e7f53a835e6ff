"""Swarm mode on one host, as its files tell it: what was said when it joined, and until when its certificate holds.

Sources: moby's daemon/cluster (docker-state.json, without any token), swarmkit's certificates; tried with 20.10.5 and 26.1.5.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime

MANAGERS = 2377  # tcp
STATE = "/var/lib/docker/swarm/docker-state.json"
CERTIFICATE = "/var/lib/docker/swarm/certificates/swarm-node.crt"
FILES = (STATE, CERTIFICATE)
UNIT = "provisioner-containers.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
PROGRAM = "/etc/provisioner/containers.sh"
OURS = (PROGRAM, UNIT_FILE)

_VALIDITY = re.compile(rb"\x30\x1e\x17\x0d(\d{12})Z\x17\x0d(\d{12})Z")  # X.509: SEQUENCE of two UTCTime


def validity(certificate: str) -> tuple[float, float] | None:
    """From and until when a certificate (PEM, the first of the file) holds, in seconds since 1970; None: not to be read."""
    body = re.search(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", certificate, re.DOTALL)
    try:
        der = base64.b64decode(body[1] if body else "")
    except binascii.Error:
        return None
    found = _VALIDITY.search(der)
    if not found:
        return None
    begin, end = (datetime.strptime(text.decode(), "%y%m%d%H%M%S").replace(tzinfo=UTC).timestamp() for text in found.groups())
    return begin, end
