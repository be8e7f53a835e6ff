"""Removes secrets from texts: the values that the run knows, and whatever looks like a secret. Pure.

This is the second line of defence. The first one is that answers with known forms are reduced to fields without secrets
(`allowed.py`), and that files with secrets are never read.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from provisioner.system.strict import json_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from provisioner.model import SecretsKnown

REMOVED = "(removed)"
_SHORTEST = 8  # characters; a shorter value would also remove parts of harmless words
_WORD = r"(?!(?:true|false|null|none)\b)(?:\"(?:[^\"\\\n]|\\.){0,4000}\"|'[^'\n]{0,4000}'|\\\"[^\"\\\n]{0,4000}\\\"|[^\s,;&\"'}]{1,4000})"
_SUSPECT = (
    r"(?:passw(?:or)?d|passphrase|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|auth[-_]?key|unlock[-_]?key"
    r"|encryption[-_]?key|fastopen_key|credential|\bencrypt|\bpwd)"
)
_NAMED = re.compile(_SUSPECT, re.IGNORECASE)
# Each expression is linear in the length of the text: a host chooses the text.
_PATTERNS = tuple(
    (re.compile(pattern, flags), text)
    for pattern, flags, text in (
        (r"(-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----).*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL, rf"\1{REMOVED}"),
        (r"\bSWM(TKN|KEY)-[0-9]-[A-Za-z0-9+/=-]+", 0, rf"SWM\1-{REMOVED}"),
        (r"(?<=://)[^\s/\"'<>]{1,1000}@", 0, f"{REMOVED}@"),
        (r"(authorization[\"'\\]{0,3}\s{0,4}[=:]\s{0,4}[\"'\\]{0,3})[^\n\"']{1,4000}", re.IGNORECASE, rf"\1{REMOVED}"),
        (r"\b(bearer|basic)\s{1,4}[A-Za-z0-9+/._~=-]{8,}", re.IGNORECASE, rf"\1 {REMOVED}"),
        (r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*", 0, REMOVED),
        (rf"({_SUSPECT}[\w.-]{{0,40}}[\"'\\]{{0,3}}\s{{0,4}}[=:]\s{{0,4}}){_WORD}", re.IGNORECASE, rf"\1{REMOVED}"),
        (rf"(?<![\w-])(--?[a-z-]{{0,20}}{_SUSPECT}[a-z-]{{0,40}}\s{{1,4}}){_WORD}", re.IGNORECASE, rf"\1{REMOVED}"),
        (r"(--label[= ]\s{0,4}[\"']?[\w./-]{1,200}=)" + _WORD, 0, rf"\1{REMOVED}"),
        (r"\b0x[0-9a-fA-F]{20,}", 0, f"0x{REMOVED}"),  # `ip xfrm state`
        # Keys of 16 bytes and more in base64. Identifiers of engines have no upper case, paths rarely have digits as well.
        (r"(?<![A-Za-z0-9+/])(?=[a-z0-9+/]*[A-Z])(?=[A-Z0-9+/]*[a-z])(?=[A-Za-z+/]*[0-9])[A-Za-z0-9+/]{40,}={0,2}", 0, REMOVED),
        (r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{22}==", 0, REMOVED),
    )
)  # fmt: skip
_RANDOM = re.compile(
    r"[0-9a-fA-F-]{32,}|(?=[a-z0-9+/_=-]*[A-Z])(?=[A-Z0-9+/_=-]*[a-z])(?=[A-Za-z+/_=-]*[0-9])[A-Za-z0-9+/_=-]{16,}"
)
_SET_BY_UNITS = re.compile(r"^(\s*(?:Environment|SetCredential\w*)\s*=)(.*)$", re.MULTILINE)
# Settings of services that are shown. Of all others, only the names are.
_PUBLIC = {name for word in ("http", "https", "no", "all") for name in (f"{word}_proxy", f"{word}_proxy".upper())} | {"GOGC", "LC_ALL", "PATH"}  # fmt: skip


class Scrubber:
    """Removes secrets from a text. known: secret values; those of less than 8 characters are ignored."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        forms = {form for value in known if len(value) >= _SHORTEST for form in _forms(value)}
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, REMOVED)
        for pattern, shown in _PATTERNS:
            text = pattern.sub(shown, text)
        return text

    def json(self, found: Any) -> Any:
        """Return a value of JSON without secrets. A text under a name that suggests a secret is removed."""
        if isinstance(found, str):
            return self(found)
        if isinstance(found, list):
            return [self.json(item) for item in found]
        if isinstance(found, dict):
            return {
                self(key): REMOVED if item and isinstance(item, str) and _NAMED.search(key) else self.json(item)
                for key, item in found.items()
            }
        return found

    def with_more(self, known: Iterable[str]) -> Scrubber:
        """Return a scrubber that knows these values too."""
        more = Scrubber(known)
        more._forms = sorted({*self._forms, *more._forms}, key=len, reverse=True)
        return more


def _forms(value: str) -> Iterator[str]:
    """Yield the forms in which a value may be written: as it is, escaped, in hexadecimal, and inside of base64."""
    raw = value.encode(errors="replace")
    yield from (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], quote(value, safe=""))
    yield raw.hex()
    for offset in range(3):
        first, last = (0, 2, 3)[offset], (offset + len(raw)) * 8 // 6
        core = base64.b64encode(b"\0" * offset + raw).decode()[first:last]
        yield from (core, core.replace("+", "-").replace("/", "_"))


def values(text: str) -> set[str]:
    """Return the secret values in a secret file: all strings of a JSON file, or the values of NAME=VALUE lines, or the lines."""
    found = json_object(text)
    if found or text.strip().startswith("["):
        return set(re.findall(r'"((?:[^"\\]|\\.){8,})"(?!\s*:)', text))
    if "-----BEGIN" in text:
        return set()  # recognised without being known
    lines = [line.strip() for line in text.splitlines()]
    return {line.partition("=")[2].strip("\"'") if re.match(r"\w+=", line) else line for line in lines}


def of_run(known: SecretsKnown) -> set[str]:
    """Return the secret values that a run knows."""
    return set(known.values).union(*map(values, known.texts))


def of_units(text: str) -> str:
    """Return the text of units without the values of environment variables and credentials."""
    return _SET_BY_UNITS.sub(lambda found: found[1] + _names(found[2]), re.sub(r"\\\n", " ", text))


def _names(settings: str) -> str:
    try:
        words = [word.partition("=") for word in shlex.split(settings)]
    except ValueError:
        return REMOVED
    return " ".join(
        f"{name}={value}" if name in _PUBLIC else f"{name}={REMOVED}" if sign else REMOVED
        for name, sign, value in words
    )


def of_environment(entries: Iterable[str]) -> Iterator[str]:
    """Yield the values of NAME=VALUE entries that are probably secrets: by their name, or since they look random."""
    for entry in entries:
        name, _, text = entry.partition("=")
        if re.search(rf"{_SUSPECT}|key$", name, re.IGNORECASE) or _RANDOM.fullmatch(text):
            yield text
