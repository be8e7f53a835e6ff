"""Swarm mode on one host, read from its files: the settings from when it joined, and the validity of its certificate.

Sources: moby's daemon/cluster (docker-state.json, which has no token) and swarmkit's certificates. Tested with 20.10.5 and
26.1.5.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from provisioner.system.owned import Owned

if TYPE_CHECKING:
    from collections.abc import Iterable

MANAGERS = 2377  # tcp
STATE = "/var/lib/docker/swarm/docker-state.json"
CERTIFICATE = "/var/lib/docker/swarm/certificates/swarm-node.crt"
FILES = (STATE, CERTIFICATE)
UNIT = "provisioner-containers.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
PROGRAM = "/etc/provisioner/containers.sh"
FOUNDER = (
    "/etc/provisioner/swarm-founder"  # names the host that creates the swarm; on every host that has not joined it
)
OURS = (PROGRAM, UNIT_FILE, FOUNDER)
OWNED = Owned(files=(PROGRAM, FOUNDER), units=(UNIT,))

_RECORD = re.compile(r"(\S+) (\S+) ([0-9.]+)\n")
_ELSEWHERE = re.compile(r'"(?:data-root|graph)"\s*:\s*"(?!/var/lib/docker/?")')
_OPTION = re.compile(r"--(?:data-root|graph)\b|(?:^|[\s\"'=])-g[\s=]", re.MULTILINE)
_VALIDITY = re.compile(rb"\x30\x1e\x17\x0d(\d{12})Z\x17\x0d(\d{12})Z")  # X.509: SEQUENCE of two UTCTime


def record(cluster: str, host: str, address: str) -> str:
    """Return the text of FOUNDER: the cluster, and the name (in the inventory) and address of the host that creates its swarm."""
    return f"{cluster} {host} {address}\n"


def recorded(text: str, cluster: str) -> tuple[str, str] | None:
    """Return the founder's name and address; None if none is recorded for that cluster."""
    found = _RECORD.fullmatch(text)
    return (found[2], found[3]) if found and found[1] == cluster else None


def is_elsewhere(daemon_json: str, options: Iterable[str]) -> bool:
    """Whether the engine may keep its data outside /var/lib/docker. options: command lines, or files that contain them."""
    return bool(_ELSEWHERE.search(daemon_json)) or any(map(_OPTION.search, options))


def validity(certificate: str) -> tuple[float, float] | None:
    """Return the start and end of the first PEM certificate's validity, in seconds since 1970; None if unreadable."""
    body = re.search(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", certificate, re.DOTALL)
    try:
        found = _VALIDITY.search(base64.b64decode(body[1] if body else ""))
        times = found.groups() if found else ()
        moments = [datetime.strptime(text.decode(), "%y%m%d%H%M%S").replace(tzinfo=UTC).timestamp() for text in times]
    except ValueError:
        return None
    return (moments[0], moments[1]) if moments else None
