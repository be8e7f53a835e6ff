"""Which labs this machine has. Cheap to import: shell completion and every command with a lab's key need it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from provisioner.errors import LabError

DEFAULT_DIR = "/var/lib/provisioner-lab"
DEFAULT_NAME = "lab"

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
_NODE = re.compile(r"node[1-9][0-9]*")


def lab_dir() -> Path:
    """The folder of all images and labs: $PROVISIONER_LAB_DIR, else /var/lib/provisioner-lab. Raises LabError."""
    folder = os.environ.get("PROVISIONER_LAB_DIR") or DEFAULT_DIR
    # The path becomes part of mount options, where a comma or a colon would end the value.
    if not re.fullmatch(r"/[A-Za-z0-9._/+@-]+", folder):
        raise LabError(
            f"{folder!r} can't be the lab's folder",
            cure="set PROVISIONER_LAB_DIR to an absolute path of letters, digits and . _ + @ - /",
        )
    return Path(os.path.realpath(folder))


def folder(name: str) -> Path:
    """The folder of a lab, which need not exist. Raises LabError for a name that no lab can have."""
    if not _NAME.fullmatch(name):
        raise LabError(
            f"{name!r} can't be the name of a lab", cure="use up to 31 letters a-z, digits and hyphens, e.g. demo-2"
        )
    return lab_dir() / "labs" / name


def names() -> list[str]:
    """The labs of this machine, sorted by name. A lab whose creation was killed is one of them. Raises LabError."""
    return [name for name in _entries(lab_dir() / "labs") if _NAME.fullmatch(name)]


def hosts(name: str) -> list[str]:
    """The names of a lab's hosts, in order; none if there is no such lab. Raises LabError."""
    found = [host for host in _entries(folder(name) / "hosts") if _NODE.fullmatch(host)]
    return sorted(found, key=lambda host: int(host.removeprefix("node")))


def owner(key: Path) -> str:
    """The lab whose hosts accept this private key, or "": the key lies in the lab's folder. Raises LabError."""
    real = Path(os.path.realpath(key))
    if real.name != "key" or real.parent.parent.name != "labs":  # a wrong variable must not stop commands without a lab
        return ""
    return real.parent.name if real.parent.parent == lab_dir() / "labs" else ""


def inside(name: str) -> bool:
    """Whether the calling thread is in the network of a lab. Hosts are reachable only from there."""
    try:
        ours, labs = Path("/proc/thread-self/ns/net").stat(), (folder(name) / "switch").stat()
    except OSError:  # the lab is incomplete
        return False
    return (ours.st_dev, ours.st_ino) == (labs.st_dev, labs.st_ino)


def _entries(path: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in path.iterdir())
    except OSError:  # there are no labs, or their folder may not be read
        return []
