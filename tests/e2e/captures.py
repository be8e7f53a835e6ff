"""Whether hosts of today answer as the committed captures do, so that captures that have become stale are noticed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.stores.consul import Consul
from provisioner.system import facts, reading
from tests.unit.captured import capture
from tests.unit.shapes import differences

if TYPE_CHECKING:
    from provisioner.system.reading import Sought
    from tests.e2e.cluster import Cluster


def look_as_today(cluster: Cluster, host: str, name: str, store: Sought = Consul.sought) -> None:
    """Compare the sections that a host answers with those of a capture: what they are made of, not their values."""
    answer = cluster.lab.exec(host, reading.script(store)).stdout.encode()
    told = differences(capture(name).raw, facts.parse(answer).raw)
    assert not told, f"{name}: take it again (python -m tests.unit.system.capture): {told}"
