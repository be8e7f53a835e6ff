"""What provisioner creates on hosts. Each step and each store declares its part as an `Owned`; steps.OWNED joins all parts.

`remove`, `down` and the table in docs/hosts.md are derived from these declarations. A path that only earlier versions wrote
stays declared.
"""

from __future__ import annotations

import base64
import re
import shlex
from contextlib import suppress
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from provisioner import render
from provisioner.system import packages

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

UNITS = "/etc/systemd/system"
MARK = "# Written by provisioner"  # the beginning of each of our unit files; a file without it is not ours


@dataclass(frozen=True, order=True)
class Data:
    """A store's data folder. It is ours only on a host that has `config`, the store's configuration that we write."""

    folder: str
    config: str


@dataclass(frozen=True)
class Owned:
    """What one step or store creates on hosts. Paths are absolute.

    Attributes:
        files: paths, or shell patterns.
        folders: removed if they are empty and we created them.
        units: systemd units, whose files are in UNITS. Such a file is ours only if it begins with MARK.
        users: system users that are created unless they exist.
        packages: packages that are installed unless their program exists.
        programs: paths of programs that are uploaded unless the program exists.
        data: the stores' data folders.
        keys: keys of daemon.json.
        chains: prefixes of iptables chains.
        tables: "FAMILY NAME" of nftables tables.
    """

    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    data: tuple[Data, ...] = ()
    keys: tuple[str, ...] = ()
    chains: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()

    @property
    def unit_files(self) -> tuple[str, ...]:
        return tuple(f"{UNITS}/{unit}" for unit in self.units)


NOTHING = Owned()


def together(parts: Iterable[Owned]) -> Owned:
    """Return the union of the parts: each entry once, sorted."""
    every = tuple(parts)
    return Owned(
        **{f.name: tuple(sorted({one for part in every for one in getattr(part, f.name)})) for f in fields(Owned)}
    )


RECORD = "/var/lib/provisioner/record"
PARTIAL = (
    ".provisioner.*"  # how files.pl names a file while it writes it; a host that loses its power meanwhile keeps it
)
_PATH = re.compile(r"(/[A-Za-z0-9._-]+)+", re.ASCII)
SAFE = re.compile(r"[A-Za-z0-9/._*@ -]*", re.ASCII)  # text that the probe contains unquoted
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+:-]*", re.ASCII)
_PATHS = ("file", "empty", "data", "kept", "program", "old")  # kinds of lines with a path
_WORDS = ("unit", "enabled", "active", "user", "installed", "group")


@dataclass(frozen=True)
class Backup:
    """A copy of a file from before its first change. owner: USER:GROUP as numbers. time: seconds since 1970."""

    path: str
    mode: str
    owner: str
    time: int
    text: str = field(repr=False)


@dataclass(frozen=True)
class Found:
    """The part of an `Owned` that exists on a host.

    Attributes:
        there: kind -> names. Kinds: "file", "empty" (empty folders), "unit" (units with a file of ours), "enabled" and "active"
            (such units), "user", "group", "data", "kept" (data folders that were moved aside), "program", "old" (files of others
            that ours replaced), "installed" (packages from the record, or declared).
        backups: copies of daemon.json, oldest first.
        notes: the record, as `files.pl note` writes it: kind -> name -> earlier state.
    """

    there: Mapping[str, frozenset[str]] = field(default_factory=dict)
    backups: tuple[Backup, ...] = ()
    notes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def of(self, kind: str) -> frozenset[str]:
        return self.there.get(kind, frozenset())

    def noted(self, kind: str) -> Mapping[str, str]:
        return self.notes.get(kind, {})

    @property
    def incomplete(self) -> bool:
        """Whether the record is incomplete: an earlier version, which kept no record, set this host up.

        Then what the record lacks may still be ours. A host without any trace of ours is complete.
        """
        written = {path for path in self.of("file") if not fnmatchcase(path, f"*/{PARTIAL}")}
        return "fresh" not in self.noted("begun").values() and bool(self.notes or written or self.of("unit"))


def unwritten(owned: Owned, *paths: str) -> Owned:
    """Return what a host has if it lost its power while one of these files, of `paths` or the record was written."""
    every = (*owned.files, *owned.unit_files, *owned.programs, *paths, RECORD)
    folders = {path.rpartition("/")[0] for path in every} - {"/run"}
    return Owned(files=tuple(f"{folder}/{PARTIAL}" for folder in folders), folders=(RECORD.rpartition("/")[0],))


def probe(owned: Owned, daemon_json: str) -> str:
    """Return the read-only POSIX sh script whose output `parse` reads."""
    words = {
        "FILES": " ".join((*owned.files, *owned.programs)),  # shell patterns, so unquoted; all values are our own
        "FOLDERS": shlex.join(owned.folders),
        "UNITS": shlex.join(owned.units),
        "USERS": "|".join(owned.users),
        "DATA": " ".join(f"{data.folder}={data.config}" for data in owned.data),
        "PACKAGES": shlex.join(owned.packages),
        "LISTS": packages.LISTS,
        "PROGRAMS": shlex.join(owned.programs),
        "MARK": MARK,
        "WHERE": UNITS,
        "RECORD": RECORD,
        "JSON": daemon_json,
    }
    return render.filled(render.program("read-owned.sh"), words)


def parse(text: str, owned: Owned) -> Found:
    """Parse the output of `probe`.

    Names that `owned` does not declare, or that no record can have, are ignored: other users can write in some of the folders.
    """
    there: dict[str, set[str]] = {}
    notes: dict[str, dict[str, str]] = {}
    backups: list[Backup] = []
    for line in text.split("\n"):
        kind, _, value = line.partition("\t")
        if kind == "note":
            thing, name, how = (*value.split("\t"), "", "")[:3]
            if _PATH.fullmatch(name) or _WORD.fullmatch(name) or thing == "begun":
                notes.setdefault(thing, {})[name] = how
        elif kind == "backup":
            backups += _backup(value)
        elif kind in _PATHS:
            if _PATH.fullmatch(value) and _declared(kind, value, owned):
                there.setdefault(kind, set()).add(value)
        elif kind in _WORDS and _WORD.fullmatch(value):
            there.setdefault(kind, set()).add(value)
    programs = there.get("file", set()) & set(owned.programs)
    there["program"], there["file"] = programs, there.get("file", set()) - programs
    found = {kind: frozenset(names) for kind, names in there.items()}
    return Found(found, tuple(sorted(backups, key=lambda backup: (backup.time, backup.path))), notes)


def _declared(kind: str, path: str, owned: Owned) -> bool:
    folders = [data.folder for data in owned.data]
    places: Iterable[str] = {
        "file": (*owned.files, *owned.programs),
        "empty": owned.folders,
        "data": folders,
        "kept": [f"{folder}.*.bak" for folder in folders],
        "old": [f"{path}.????????.bak" for path in owned.unit_files],
    }.get(kind, ())
    return any(fnmatchcase(path, place) and path.count("/") == place.count("/") for place in places)


def _backup(value: str) -> Iterator[Backup]:
    path, how, text, *_ = (*value.split("\t"), "", "")
    stated = re.fullmatch(r"([0-7]{1,4}) ([0-9]{1,10}:[0-9]{1,10}) ([0-9]{1,12})", how, re.ASCII)
    if _PATH.fullmatch(path) and stated:
        with suppress(ValueError):
            yield Backup(path, stated[1], stated[2], int(stated[3]), base64.b64decode(text, validate=True).decode())
