"""A controller for tests to kill. It proves the network `demo` of an inventory and prints a line for each event.

Arguments: the inventory, the run's id, the deadline in seconds. The last line is the result's state.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from provisioner.controlplane import Site
from provisioner.inventory import load
from provisioner.proofs import overlay
from provisioner.transport import Connection, connect_all


def main(path: str, run: str, deadline: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # CI may start this process with SIGINT ignored
    inventory = load(Path(path))
    found = connect_all([inventory.target(name) for name in inventory.hosts])
    connections = {name: each for name, each in found.items() if isinstance(each, Connection)}
    site = Site(inventory, {}, {}, (), tuple(inventory.hosts))
    (result,) = overlay.prove(
        site,
        connections,
        {"demo": run},
        deadline=float(deadline),
        observer=lambda host, text: sys.stdout.write(f"{host} {text}\n") and sys.stdout.flush(),
    )
    print(result.state, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
