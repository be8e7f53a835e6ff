"""Host keys on record, in OpenSSH's known_hosts format (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""

from __future__ import annotations

import base64
import binascii
import fcntl
import fnmatch
import hashlib
import hmac
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_REVOKED = "@revoked"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: which hosts, their key, and where it stands."""

    patterns: tuple[str, ...]
    kind: str
    key: bytes
    line: int
    revoked: bool = False

    def matches(self, name: str) -> bool:
        """Tell whether the line is about a host, by its name as `host_name` writes it."""
        wanted = [pattern for pattern in self.patterns if not pattern.startswith("!")]
        barred = [pattern[1:] for pattern in self.patterns if pattern.startswith("!")]
        return any(_match(p, name) for p in wanted) and not any(_match(p, name) for p in barred)


def host_name(address: str, port: int) -> str:
    """Write a host as known_hosts does: the port only where it is not 22."""
    return address.lower() if port == 22 else f"[{address.lower()}]:{port}"  # noqa: PLR2004


def fingerprint(key: bytes) -> str:
    """Give the fingerprint of a public key as ssh-keygen -l shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def parse(text: str) -> tuple[Entry, ...]:
    """Read a known_hosts file. Lines that can't be read are skipped, as OpenSSH does; so are @cert-authority lines."""
    entries = (_entry(line, number) for number, line in enumerate(text.splitlines(), 1))
    return tuple(entry for entry in entries if entry)


class KnownHosts:
    """One known_hosts file, read once and appended to. Safe among threads, and among processes that append."""

    def __init__(self, path: Path) -> None:
        """Read the file; one that does not exist holds nothing. Raises OSError if it can't be read."""
        self.path = path
        self._lock = threading.Lock()
        self._entries = self._load()

    def lookup(self, name: str) -> tuple[Entry, ...]:
        return tuple(entry for entry in self._entries if entry.matches(name))

    def kinds(self, name: str) -> tuple[str, ...]:
        """Give the types of the keys on record for a host, without repeats, in the order of the file."""
        return tuple(dict.fromkeys(entry.kind for entry in self.lookup(name) if not entry.revoked))

    def add(self, name: str, kind: str, key: bytes) -> tuple[Entry, ...]:
        """Record a key unless something is on record by now. Gives what was on record before. Raises OSError."""
        line = f"{name} {kind} {base64.b64encode(key).decode()}\n"
        with self._lock:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # released with the file
                before = file.read()
                self._entries = parse(before.decode("utf-8", "replace"))
                found = self.lookup(name)
                if not found:
                    gap = b"\n" if before and not before.endswith(b"\n") else b""
                    file.write(gap + line.encode())
                    file.flush()
                    self._entries += parse(line)
        return found

    def _load(self) -> tuple[Entry, ...]:
        try:
            return parse(self.path.read_text("utf-8", "replace"))
        except FileNotFoundError:
            return ()


def _entry(line: str, number: int) -> Entry | None:
    fields = line.split()
    if not fields or fields[0].startswith("#"):
        return None
    marker = fields.pop(0) if fields[0].startswith("@") else ""
    if marker not in {"", _REVOKED} or len(fields) < 3:  # noqa: PLR2004  hosts, type, key
        return None
    try:
        key = base64.b64decode(fields[2], validate=True)
    except (binascii.Error, ValueError):
        return None
    return Entry(tuple(fields[0].split(",")), fields[1], key, number, marker == _REVOKED)


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
