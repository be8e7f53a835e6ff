"""The table of the causes that were tried in the lab: how long `doctor` took to find and to cure each. For docs/causes.md.

docs/results.json: fault -> {"cause", "words", "found", "fixed"}; the last two: kind of cluster -> {"runs", "worked", "seconds", "load"}; the
last two are medians; load: the machine's load average. words: whether the cure is only words, without a command.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner import causes
from provisioner.causes import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provisioner.causes import Cause

# Causes without a fault that tests in the lab or on virtual machines make in another way: by an inventory, other images, or steps on several hosts.
MADE_BY_TESTS = frozenset({
    "acl-denied", "agent-shut-out", "cloned-engine-id", "connection-dropped", "daemon-json-refused", "disk-full",
    "driver-not-built", "endpoint-left", "engine-too-new", "etcd-data-lost", "foreign-etcd", "ipvs-idle", "ipvs-missing", "kernel-without",
    "name-stale", "name-unknown", "names-unresolved", "networks-joined", "newer-version", "no-perl", "no-root", "offload", "overlay-blocked",
    "path-mtu", "published-unanswered", "renamed-host", "resolver-refuses", "resolver-silent", "same-machine", "server-added", "store-forbidden",
    "store-keys-left", "store-shared", "store-unreachable", "store-without-v2", "subnet-overlap", "swarm-fixed", "swarm-leaderless", "table-differs", "vip-unanswered",
})  # fmt: skip
PATH = Path(__file__).parents[2] / "docs" / "results.json"
_HEAD = """\
## Tried in the lab

Each fault of the lab is made on three hosts. Then `doctor` runs ("found"), the cure of its report runs, and `verify` passes ("fixed", the time from
the end of `doctor`). The seconds are the medians of whole runs, controller and hosts on one machine with two cores{load}.
"commands": `doctor --fix` leaves the commands of the report to you; "`up`": `provisioner up` repairs it; "by hand": the cure is only words. Results of a swarm, and of hosts
on two segments with a router between them ("routed"), are marked. "by tests": the lab
has no fault of this cause, and tests make it there, or on virtual machines, in another way. "constructed": it is tested with constructed observations only;
[the reasons](decisions/causes.md#causes-that-the-lab-does-not-make). [How to measure again](lab.md#results-of-the-doctor).

| cause | fault in the lab | found | fixed |
|---|---|---|---|
"""


def load() -> dict[str, Any]:
    """Return the recorded results."""
    found: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return found


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the section of docs/causes.md."""
    rows = [
        row
        for cause in causes.CAUSES.values()
        if cause.kind is Kind.CAUSE
        for row in _rows(cause, {name: entry for name, entry in results.items() if entry["cause"] == cause.id})
    ]
    loads = [run["load"] for entry in results.values() for what in ("found", "fixed") for run in entry[what].values()]
    load = f", with a load average of {min(loads):.0f} to {max(loads):.0f}" if loads else ""
    return _HEAD.format(load=load) + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _rows(cause: Cause, faults: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    link = f"[{cause.id}](#{cause.id})"
    way = "`up`" if cause.fixable or cause.by_up else "" if cause.fixes else "commands" if cause.commands else "by hand"
    for name, entry in faults.items():
        cured = f"{_cell(entry['fixed'])}{', ' if way else ''}{way}" if entry["fixed"] else "not run"
        yield link, f"`{name}`", _cell(entry["found"]), "by hand" if entry["words"] else cured
    if not faults:
        how = "by tests" if cause.id in MADE_BY_TESTS else "constructed"
        yield link, how, "", way or "not run"


def _cell(by_cluster: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the seconds, by kind of cluster; and how many runs worked, unless all did."""
    texts = []
    for cluster, run in sorted(by_cluster.items()):
        where = f" ({cluster})" if cluster.startswith(("swarm", "routed")) else ""
        some = f", {run['worked']} of {run['runs']} runs" if run["worked"] < run["runs"] else ""
        texts.append(f"{run['seconds']:.1f} s{where}{some}" if run["worked"] else f"no{where}{some}")
    return "; ".join(texts) or "not run"
