"""Recognise files that were passed by mistake, without showing their content."""

from __future__ import annotations

import re
from typing import NamedTuple

_SECRET = (  # patterns at the start of a line, where no inventory has them; such a file is not read further
    (r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY", "a private key"),
    (r"PuTTY-User-Key-File-", "a private key"),
    (r"AGE-SECRET-KEY-", "a private key"),
    (r"-----BEGIN CERTIFICATE", "a certificate"),
    (r"-----BEGIN |---- BEGIN ", "a file of keys or certificates (PEM)"),
    (r"[\w.@-]+:[^:\s]*:\d*:\d*:", "a table of users (passwd, shadow)"),
    (r"[^\s:#]+:(?:\d{2,5}|\*):[^\s:]*:[^\s:]+:\S+$", "a file of passwords (pgpass)"),
    (r"machine\s+\S+\s+(login|password)\s", "a file of passwords (netrc)"),
)
_OTHER = (
    (r"(ssh-|ecdsa-|sk-)\S+ AAAA", "a public key"),
    (r"\S+ (ssh-|ecdsa-|sk-)\S+ AAAA", "a list of host keys (known_hosts)"),
    (r"[^\n]*[\x00-\x08]", "a binary file"),
    (r"#!", "a script"),
    (r"\{", "JSON"),
    (r"<", "XML or HTML"),
    (r"---|[\w.-]+:(\s|$)", "YAML"),
)


class Seen(NamedTuple):
    """What a text looks like, and the line that reveals it."""

    line: int
    what: str


def secret(text: str) -> Seen | None:
    """Return the first kind of secret that a text looks like, if any."""
    return next((seen for form, what in _SECRET if (seen := _search(form, what, text))), None)


def looks_like(text: str) -> str:
    """Return `; the file looks like ...` based on the first non-empty line, or ""."""
    first = text.lstrip().partition("\n")[0]
    seen = next((what for form, what in (*_SECRET, *_OTHER) if re.match(form, first)), "")
    return f"; the file looks like {seen}" if seen else ""


def _search(form: str, what: str, text: str) -> Seen | None:
    found = re.search(f"^(?:{form})", text, re.MULTILINE)
    return Seen(text.count("\n", 0, found.start()) + 1, what) if found else None
