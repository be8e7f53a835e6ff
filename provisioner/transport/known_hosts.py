"""Recorded host keys, in OpenSSH's known_hosts format (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""

from __future__ import annotations

import base64
import binascii
import fcntl
import fnmatch
import hashlib
import hmac
import os
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_REVOKED = "@revoked"
_AUTHORITY = "@cert-authority"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: patterns of host names, their key, and the line's number. authority: the key signs hosts' certificates."""

    patterns: tuple[str, ...]
    kind: str
    key: bytes
    line: int
    revoked: bool = False
    authority: bool = False
    path: Path | None = None

    def matches(self, name: str) -> bool:
        """Whether the line matches a host's name in the form of `host_name`."""
        wanted = [pattern for pattern in self.patterns if not pattern.startswith("!")]
        barred = [pattern[1:] for pattern in self.patterns if pattern.startswith("!")]
        return any(_match(p, name) for p in wanted) and not any(_match(p, name) for p in barred)


def host_name(address: str, port: int) -> str:
    """A host's name in known_hosts: with its port if that is not 22."""
    return address.lower() if port == 22 else f"[{address.lower()}]:{port}"  # noqa: PLR2004


def fingerprint(key: bytes) -> str:
    """The fingerprint of a public key in the form of ssh-keygen -l."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def parse(text: str) -> tuple[Entry, ...]:
    """Parse a known_hosts file. Invalid lines are skipped, as by OpenSSH."""
    entries = (_entry(line, number) for number, line in enumerate(text.splitlines(), 1))
    return tuple(entry for entry in entries if entry)


def _read(path: Path) -> tuple[Entry, ...]:
    try:
        return tuple(replace(entry, path=path) for entry in parse(path.read_text("utf-8", "replace")))
    except FileNotFoundError:
        return ()


class KnownHosts:
    """A known_hosts file, read once and appended to, and others that are only read. Safe for threads and appending processes."""

    def __init__(self, path: Path, others: tuple[Path, ...] = ()) -> None:
        """Read the files. A missing file counts as empty. Raises OSError if a file can't be read."""
        self.path = path
        self._lock = threading.Lock()
        self._entries = _read(path)
        self._others = tuple(entry for other in others for entry in _read(other))

    def _matching(self, name: str) -> tuple[Entry, ...]:
        return tuple(entry for entry in (*self._entries, *self._others) if entry.matches(name))

    def lookup(self, name: str) -> tuple[Entry, ...]:
        """The recorded keys of a host, and those that are revoked."""
        return tuple(entry for entry in self._matching(name) if not entry.authority)

    def authorities(self, name: str) -> frozenset[bytes]:
        """The keys that may sign the host's certificate, without revoked ones."""
        found = self._matching(name)
        revoked = {entry.key for entry in found if entry.revoked}
        return frozenset(entry.key for entry in found if entry.authority) - revoked

    def kinds(self, name: str) -> tuple[str, ...]:
        """The types of a host's recorded keys, without duplicates, in the order of the files."""
        return tuple(dict.fromkeys(entry.kind for entry in self.lookup(name) if not entry.revoked))

    def add(self, name: str, kind: str, key: bytes) -> tuple[Entry, ...]:
        """Record a key, unless the host has a recorded key by now. Returns the keys that were recorded before. Raises OSError."""
        line = f"{name} {kind} {base64.b64encode(key).decode()}\n"
        with self._lock:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # released with the file
                before = file.read()
                self._entries = tuple(replace(e, path=self.path) for e in parse(before.decode("utf-8", "replace")))
                found = self.lookup(name)
                if not found:
                    gap = b"\n" if before and not before.endswith(b"\n") else b""
                    file.write(gap + line.encode())
                    file.flush()
                    self._entries += parse(line)
        return found


def _entry(line: str, number: int) -> Entry | None:
    fields = line.split()
    if not fields or fields[0].startswith("#"):
        return None
    marker = fields.pop(0) if fields[0].startswith("@") else ""
    if marker not in {"", _REVOKED, _AUTHORITY} or len(fields) < 3:  # noqa: PLR2004  hosts, type, key
        return None
    try:
        key = base64.b64decode(fields[2], validate=True)
    except (binascii.Error, ValueError):
        return None
    return Entry(tuple(fields[0].split(",")), fields[1], key, number, marker == _REVOKED, marker == _AUTHORITY)


def _match(pattern: str, name: str) -> bool:
    if pattern.startswith("|1|"):
        return _hashed(pattern, name)
    # Brackets are part of a name here ([host]:port), not a set of characters.
    return fnmatch.fnmatchcase(name, pattern.lower().replace("[", "[[]"))


def _hashed(pattern: str, name: str) -> bool:
    try:
        _, _, salt, digest = pattern.split("|")
        expected = base64.b64decode(digest)
        return hmac.compare_digest(hmac.digest(base64.b64decode(salt), name.encode(), "sha1"), expected)
    except (ValueError, binascii.Error):
        return False
