"""Swarm mode on one host, as its files tell it: what was said when it joined, and until when its certificate holds.

Sources: moby's daemon/cluster (docker-state.json, without any token), swarmkit's certificates; tried with 20.10.5 and 26.1.5.
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
FOUNDER = "/etc/provisioner/swarm-founder"  # who makes the cluster's swarm, on every host that is not in it yet
OURS = (PROGRAM, UNIT_FILE, FOUNDER)
OWNED = Owned(files=(PROGRAM, FOUNDER), units=(UNIT,))

_RECORD = re.compile(r"(\S+) (\S+) ([0-9.]+)\n")
_ELSEWHERE = re.compile(r'"(?:data-root|graph)"\s*:\s*"(?!/var/lib/docker/?")')
_OPTION = re.compile(r"--(?:data-root|graph)\b|(?:^|[\s\"'=])-g[\s=]", re.MULTILINE)
_VALIDITY = re.compile(rb"\x30\x1e\x17\x0d(\d{12})Z\x17\x0d(\d{12})Z")  # X.509: SEQUENCE of two UTCTime


def record(cluster: str, host: str, address: str) -> str:
    """The text of FOUNDER: the host, by its name in the inventory and by its address, makes the swarm of that cluster."""
    return f"{cluster} {host} {address}\n"


def recorded(text: str, cluster: str) -> tuple[str, str] | None:
    """The founder's name and address; None where nothing is recorded for that cluster."""
    found = _RECORD.fullmatch(text)
    return (found[2], found[3]) if found and found[1] == cluster else None


def is_elsewhere(daemon_json: str, options: Iterable[str]) -> bool:
    """Whether the engine may keep its data elsewhere than in /var/lib/docker. options: command lines, or files with such."""
    return bool(_ELSEWHERE.search(daemon_json)) or any(map(_OPTION.search, options))


def validity(certificate: str) -> tuple[float, float] | None:
    """From and until when a certificate (PEM, the first of the file) holds, in seconds since 1970; None: not to be read."""
    body = re.search(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", certificate, re.DOTALL)
    try:
        found = _VALIDITY.search(base64.b64decode(body[1] if body else ""))
        times = found.groups() if found else ()
        moments = [datetime.strptime(text.decode(), "%y%m%d%H%M%S").replace(tzinfo=UTC).timestamp() for text in times]
    except ValueError:
        return None
    return (moments[0], moments[1]) if moments else None
