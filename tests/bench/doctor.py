"""Measures `doctor`: each fault of the lab on three settled hosts, and twenty hosts that are healthy, or have one fault or three."""

from __future__ import annotations

import contextlib
import statistics
import time
from typing import TYPE_CHECKING

from provisioner.errors import LabError
from provisioner.lab import FAULTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench import Figures

    from provisioner.lab import Lab

HEALTHY, HANGING = "healthy", "engine-hangs"
# On twenty hosts: what is broken -> (fault, host). Also a dead host, an engine that hangs and a blocked port at the same time.
MANY = {
    HEALTHY: (),
    "vxlan-blocked": (("vxlan-blocked", "node2"),),
    "three faults": (("link-cut", "node5"), (HANGING, "node9"), ("vxlan-blocked", "node14")),
}
_CONTAINER = (
    "docker image inspect bench/box >/dev/null 2>&1 || tar c -T /dev/null | docker import - bench/box >/dev/null;"
    " docker start box-$(hostname) >/dev/null 2>&1 || docker run -d --name box-$(hostname) --restart always --network demo -v /usr:/usr:ro -v /bin:/bin:ro"
    " -v /lib:/lib:ro -v /lib64:/lib64:ro bench/box sleep 7200 >/dev/null"
)
_SETTLED = 60  # seconds for a cluster to settle after a fault


def faults() -> list[str]:
    """Return the faults that a cluster on Consul can have."""
    return [fault.id for fault in FAULTS.values() if not fault.stores or "consul" in fault.stores]


def run_containers(lab: Lab) -> None:
    """Start a container on the network of each host; forwarding entries are only made when containers send packets."""
    for host in lab.hosts:
        lab.exec(host, f"{_CONTAINER}; docker exec box-{host} true", timeout=120)
    for host in lab.hosts:
        others = [
            lab.exec(other, f"docker exec box-{other} hostname -I").stdout.split()[0]
            for other in lab.hosts[:3]
            if other != host
        ]
        for address in others:
            lab.exec(host, f"docker exec box-{host} ping -qc 1 -W 5 {address}", check=False)


@contextlib.contextmanager
def broken(lab: Lab, *made: tuple[str, str]) -> Iterator[None]:
    """Make faults on hosts, and heal them after the block."""
    try:
        for name, host in made:
            to = next(other for other in lab.hosts if other != host) if FAULTS[name].place.pair else ""
            lab.break_(FAULTS[name], host, to)
        yield
    finally:
        lab.heal()


def measure(
    lab: Lab, settled: Callable[[], bool], timed: Callable[[str, int], object], failed: Callable[[str], object]
) -> None:
    """Measure all cases of this lab.

    settled: whether `plan` finds nothing. timed: runs `doctor`, which must end with this exit code, and records it under a name. failed: records that a fault can't be made.
    """
    few = len(lab.hosts) < 20
    if few:  # with a container on each of 20 hosts, the machine's neighbour table would overflow
        run_containers(lab)
    cases = {HEALTHY: (), **{name: ((name, lab.hosts[1]),) for name in faults()}} if few else MANY
    for name, made in cases.items():
        try:
            with broken(lab, *made):
                timed(name, 1 if made else 0)
        except LabError as error:
            failed(f"{name}: {error}")
        until = time.monotonic() + _SETTLED
        while made and not settled() and time.monotonic() < until:
            time.sleep(1)
        if made and few:
            run_containers(lab)


def figures(hosts: int, seconds: dict[str, list[float]]) -> list[tuple[str, float | None, float, str]]:
    """Return the targets: text, found, limit, unit. seconds: by case."""
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    if hosts >= 20:
        limits = {name: 30.0 + 15.0 * any(fault == "link-cut" for fault, _ in made) for name, made in MANY.items()}
        return [(f"doctor on {hosts} hosts, {name}", found, limits[name], "s") for name, found in medians.items()]
    one = [found for name, found in medians.items() if name != HEALTHY]
    hangs = medians[HANGING] - medians[HEALTHY] if {HANGING, HEALTHY} <= medians.keys() else None
    return [
        ("doctor, one fault: median of all faults", statistics.median(one) if one else None, 12.0, "s"),
        ("doctor, a hanging engine takes longer by", hangs, 15.0, "s"),
    ]


def table(hosts: int, found: Figures) -> list[str]:
    """A Markdown table with a row for each case: the median, and the mean seconds of each phase."""
    jobs = [job for _, job in found.seconds]
    names = list(dict.fromkeys(name for runs in found.phases.values() for run in runs for name in run))
    lines = ["| " + " | ".join([f"{hosts} hosts", "s", *names]) + " |", "|---" * (len(names) + 2) + "|"]
    for job in jobs:
        runs = found.phases.get(("ours", job), [])
        means = [statistics.mean(run.get(name, 0.0) for run in runs) if runs else 0.0 for name in names]
        cells = [f"{mean:.1f}" if mean else "" for mean in means]
        lines.append("| " + " | ".join([job.partition(", ")[2], f"{found.median('ours', job):.1f}", *cells]) + " |")
    return lines
