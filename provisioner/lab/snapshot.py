"""Snapshots: saved hosts that `provisioner up` has set up. A lab can start from them in seconds.

snapshots/<name>/<digest>/key, key.pub   the SSH key that these hosts accept
snapshots/<name>/<digest>/hosts/<host>/  the saved parts of each host: seed, upper, docker, containerd
snapshots/<name>/building-<pid>/         an unfinished snapshot of the lab <name>-<pid>

Hosts of a lab use `upper` in place, as a read-only layer below their own disk. They get copies of the engine's data.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner import render
from provisioner.errors import LabError
from provisioner.lab import machine
from provisioner.lab.locks import held
from provisioner.lab.shell import remove_tree
from provisioner.labs import lab_dir

if TYPE_CHECKING:
    from collections.abc import Callable

BUILD_DEADLINE = 600  # seconds; up to a minute on an idle machine, longer if images must be built first
_UNUSED = 3600  # seconds without use after which a snapshot of other sources is removed
CLUSTER = "test"  # the cluster's name in the inventory that settled the hosts
# Code that only reads arguments or prints can't change a host.
_WITHOUT_INFLUENCE = ("report/", "cli")

_STORE_READY = "docker network inspect demo"  # the engine queries the store for it
_SWARM_READY = 'test "$(docker node ls --format {{.Status}} | grep -c Ready)" = 3 && docker network inspect demo'


@dataclass(frozen=True)
class Settled:
    """Three hosts that `up` has settled.

    store: the `store` of the inventory; empty for swarm mode. ready: a command that succeeds on a host as soon as the restored
    cluster works there.
    """

    image: str
    store: str
    ready: str
    hosts: int = 3


SETTLED = {
    "settled-consul": Settled("engine-20.10", "{kind: consul}", _STORE_READY),
    "settled-etcd": Settled("engine-20.10", "{kind: etcd}", _STORE_READY),
    "settled-zookeeper": Settled("engine-20.10", "{kind: zookeeper}", _STORE_READY),
    "settled-swarm": Settled("engine-20.10", "", _SWARM_READY),
    "settled-swarm-26": Settled("engine-26", "", _SWARM_READY),
    "settled-swarm-28": Settled("engine-28", "", _SWARM_READY),
}


def settled(name: str) -> Settled:
    """The recipe of the snapshot with this name. Raises LabError."""
    if name not in SETTLED:
        raise LabError(f"there is no snapshot {name!r}", cure=f"choose one of {', '.join(SETTLED)}")
    return SETTLED[name]


def digest(recipe: Settled, image: Path) -> str:
    """A digest that changes whenever the hosts could differ: with the image, the sources, and each month for the certificates.

    The image's time is included, because a rebuilt image may have newer packages.
    """
    package = Path(render.__file__).parent
    files = {
        f"{root.name}/{path.relative_to(root)}": hashlib.sha256(path.read_bytes()).hexdigest()
        for root in (package, render.folder())
        for path in root.rglob("*")
        if path.suffix in {".py", ".sh", ".pl", ".j2"}
        and not str(path.relative_to(root)).startswith(_WITHOUT_INFLUENCE)
    }
    month = time.strftime("%Y-%m", time.gmtime())
    data = [asdict(recipe), str(image), image.stat().st_mtime_ns, sorted(files.items()), month]
    return hashlib.sha256(json.dumps(data).encode()).hexdigest()[:12]


def ensure(name: str, image: Path, make: Callable[[Path, str], None]) -> Path:
    """The folder of a current snapshot on `image`. If there is none, `make(folder, lab)` fills it, using a lab of that name.

    One process builds the snapshot, and others wait for it. Raises LabError.
    """
    kept = lab_dir() / "snapshots" / name
    target = kept / digest(settled(name), image)
    if not target.exists():
        kept.mkdir(parents=True, exist_ok=True)
        with held(kept, timeout=BUILD_DEADLINE) as ours:
            if not ours:
                raise LabError(f"another process has been building {name} for {BUILD_DEADLINE} s", tried=f"lock {kept}")
            if not target.exists():
                _build(target, make)
                _remove_outdated(target)
    os.utime(target)  # the time of its last use
    return target


def clean(remove_lab: Callable[[str], None]) -> None:
    """Remove leftovers of a killed build, unless another process is building right now.

    `remove_lab` removes the lab of that name.
    """
    for folder in machine.matching(lab_dir() / "snapshots", "*/building-*"):
        with contextlib.suppress(FileNotFoundError), held(folder.parent, timeout=0) as ours:
            if ours:
                remove_lab(_lab_of(folder))
                remove_tree(folder)


def _lab_of(building: Path) -> str:
    return f"{building.parent.name}-{building.name.removeprefix('building-')}"


def _build(target: Path, make: Callable[[Path, str], None]) -> None:
    building = target.with_name(f"building-{os.getpid()}")
    building.mkdir()
    try:
        make(building, _lab_of(building))
        building.rename(target)
    except BaseException:
        remove_tree(building)
        raise


def _remove_outdated(target: Path) -> None:
    """Remove snapshots of other sources, except those that a lab uses or that were used within the last hour.

    Different checkouts share the lab's folder. The hour also protects a lab that is just being restored from a snapshot.
    """
    used = set[Path]()
    for file in machine.matching(lab_dir() / "labs", "*/hosts/*/base"):
        with contextlib.suppress(FileNotFoundError):  # that lab is being removed
            used.add(Path(file.read_text().strip()).parents[1])
    for folder in target.parent.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if folder != target and folder not in used and time.time() - folder.stat().st_mtime > _UNUSED:
                remove_tree(folder)
