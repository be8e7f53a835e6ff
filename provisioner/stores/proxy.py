"""The proxy between an engine and ZooKeeper, on the engine's host. It works around bugs of engines with ZooKeeper.

templates/zookeeper-proxy.pl and docs/decisions/zookeeper.md describe them.
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
    """Return the waiting of an engine that uses the proxy to these servers.

    The proxy tries `own` first. Without it, hosts start with different servers, to spread the load.
    """
    first = servers.index(own) if own in servers else zlib.crc32(host.encode()) % max(len(servers), 1)
    ordered = (*servers[first:], *servers[:first])
    unit = render.text("zookeeper-proxy.service.j2", program=PROGRAM, port=PORT, servers=ordered, after=waiting.unit)
    files = {**waiting.files, PROGRAM: render.text("zookeeper-proxy.pl"), UNIT_FILE: unit}
    return replace(waiting, files=files, unit=UNIT, through={UNIT: FILES})


def behind(url: str, unit_file: str) -> str:
    """Replace the proxy in a `cluster-store` by the servers that the proxy's unit file names."""
    found = re.search(rf"^ExecStart=\S+ {re.escape(PROGRAM)} {PORT} (.+)$", unit_file, re.MULTILINE)
    return url.replace(f"//{ADDRESS}", f"//{','.join(sorted(found[1].split()))}", 1) if found else url
