"""Compares the answers of real hosts with the committed captures, so that stale captures are noticed."""

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
    """Compare the sections of a host's answer with those of a capture: their shape, not their values."""
    answer = cluster.lab.exec(host, reading.script(store)).stdout.encode()
    changed = differences(capture(name).raw, facts.parse(answer).raw)
    assert not changed, f"{name}: stale, capture it again (python -m tests.unit.system.capture): {changed}"
