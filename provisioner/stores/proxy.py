"""The way of an engine to ZooKeeper: a program on its own host that mends what engines get wrong there.

What that is, and how it is mended: templates/zookeeper-proxy.pl, docs/decisions/zookeeper.md.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

from provisioner import render
from provisioner.system.owned import Owned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provisioner.stores.values import Waiting

PORT = 2182  # on loopback
ADDRESS = f"127.0.0.1:{PORT}"
PROGRAM = "/etc/provisioner/zookeeper-proxy.pl"
UNIT = "provisioner-zookeeper.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
FILES = (PROGRAM, UNIT_FILE)
OWNED = Owned(files=(PROGRAM,), units=(UNIT,))


def through(waiting: Waiting, host: str, servers: Sequence[str], *, own: str = "") -> Waiting:
    """The same waiting, of an engine that comes to these servers through the proxy. It tries `own` first, others spread."""
    first = servers.index(own) if own in servers else zlib.crc32(host.encode()) % max(len(servers), 1)
    ordered = (*servers[first:], *servers[:first])
    unit = render.text("zookeeper-proxy.service.j2", program=PROGRAM, port=PORT, servers=ordered, after=waiting.unit)
    files = {**waiting.files, PROGRAM: render.text("zookeeper-proxy.pl"), UNIT_FILE: unit}
    return replace(waiting, files=files, unit=UNIT, through={UNIT: FILES})


def behind(url: str, unit_file: str) -> str:
    """A cluster-store with the servers themselves in it, where it leads to a proxy with such a unit file."""
    found = re.search(rf"^ExecStart=\S+ {re.escape(PROGRAM)} {PORT} (.+)$", unit_file, re.MULTILINE)
    return url.replace(f"//{ADDRESS}", f"//{','.join(sorted(found[1].split()))}", 1) if found else url
