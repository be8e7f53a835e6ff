"""Formatting for people: removes harmful characters from hosts' texts, and formats numbers. Pure, without rich."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from provisioner.model import CommandEnded

_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, erase
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # OSC, DCS ...: titles, links, clipboard
    r"|\x1b[ -/]*[0-~]?"  # all other escapes, and a single ESC
)
_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f"
# Invisible characters that reorder, hide or break the text around them (CVE-2021-42574 and similar).
_INVISIBLE = "\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
_HARMFUL = re.compile(f"[{_CONTROLS}{_INVISIBLE}]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_PLACE = re.compile(  # an address of IPv4 or IPv6, perhaps with a port; or the fingerprint of a host's key
    r"SHA256:[A-Za-z0-9+/]{43}|\d+(?:\.\d+){3}(?::\d+)?|\[[0-9a-fA-F:]+\](?::\d+)?|(?<![\w:])(?:[0-9a-fA-F]*:){2,7}[0-9a-fA-F]*"
)
_OF_SEVERAL = "ssh-keyscan "  # a command that takes several hosts
_MANY_HOSTS = 5
_FEW_HOSTS = 3


@dataclass(frozen=True, slots=True)
class Marks:
    """The symbols that an output supports."""

    ok: str
    bad: str
    none: str
    dots: str
    spinner: str


UNICODE = Marks(ok="✓", bad="✗", none="·", dots="…", spinner="⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
ASCII = Marks(ok="+", bad="x", none="-", dots="...", spinner="|/-\\")


def block(text: str) -> str:
    """Return the text without escapes and control characters, but with its line ends and tabs."""
    return _SURROGATE.sub("\ufffd", _HARMFUL.sub("", _ESCAPE.sub("", text.replace("\r\n", "\n"))))


def line(text: str) -> str:
    """Return the text as one line, without escapes and control characters."""
    return " ".join(block(text).split())


def command(ended: CommandEnded) -> str:
    """Return a line about a command on a host: how it ended, and what it was."""
    how = first_line(ended.why) if ended.code is None else f"exit {ended.code}"
    return f"command  {line(ended.host)}  {how}  {seconds(ended.seconds)}  {line(ended.name)}"


def exact(text: str) -> str:
    """Return a line of a file with visible control characters, so that a diff shows differences in them."""
    return _SURROGATE.sub("\ufffd", _HARMFUL.sub(_caret, text))


def _caret(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"^{chr(code ^ 64)}" if code < 128 else f"\\u{code:04x}"  # noqa: PLR2004 - the end of ASCII


def count(number: int, thing: str, things: str = "") -> str:
    return f"{number} {thing if number == 1 else things or thing + 's'}"


def seconds(value: float, digits: int = 2) -> str:
    """Return "0.42 s", "12.3 s", "2 min 03 s"."""
    if value < 10:  # noqa: PLR2004 - above, hundredths do not matter
        return f"{value:.{digits}f} s"
    if value < 60:  # noqa: PLR2004 - a minute
        return f"{value:.1f} s"
    return f"{int(value) // 60} min {int(value) % 60:02d} s"


def moment(value: float) -> str:
    """Return "420 ms" below a second, "1.2 s" above."""
    return f"{value * 1000:.0f} ms" if value < 0.9995 else seconds(value, 1)  # noqa: PLR2004 - rounds to 1000 ms


def round_trip(value: float) -> str:
    """Return "0.31 ms", "4.2 ms", "120 ms"; seconds from 1 s on."""
    ms = value * 1000
    return f"{ms:.2f} ms" if ms < 0.995 else f"{ms:.1f} ms" if ms < 9.95 else moment(value)  # noqa: PLR2004 - two digits


def hosts(names: Sequence[str], everyone: Collection[str] = ()) -> str:
    """Return the names as a list, or "all 50 hosts" or "48 hosts (all but node2, node7)" if there are many."""
    if len(names) > _MANY_HOSTS and set(names) <= set(everyone):
        others = [name for name in everyone if name not in set(names)]
        if not others:
            return f"all {len(names)} hosts"
        if len(others) <= _FEW_HOSTS:
            return f"{len(names)} hosts (all but {hosts(others)})"
    return ", ".join(line(name) for name in names)


def some(texts: Sequence[str], most: int = 5) -> str:
    """Return the first texts as a list, and the number of the others."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(line(text) for text in texts[:most]) + more


def without_host(text: str, host: str) -> str:
    """Return an error's text without the host's name in front, which the heading shows."""
    return text.removeprefix(f"{host}: ")


def first_line(text: str, host: str = "") -> str:
    lines = block(without_host(text, host)).strip().splitlines()
    return line(lines[0]) if lines else ""


def without_places(text: str, host: str = "") -> str:
    """Return the text with marks for addresses and for the host's name: equal for hosts with the same error."""
    text = _PLACE.sub("ADDRESS", text)
    return re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", "HOST", text) if host else text


def listed(alike: Sequence[str]) -> str:
    """Return the first of some lines that differ only in addresses, with the addresses of all of them."""
    columns = zip(*(_PLACE.findall(line) for line in alike), strict=False)
    lists = iter([some(list(dict.fromkeys(column))) for column in columns])
    return _PLACE.sub(lambda found: next(lists, found[0]), alike[0])


def together(alike: Sequence[str]) -> str:
    """Return the first of some lines that differ only in places; a command that takes several hosts gets all of them."""
    if _OF_SEVERAL not in alike[0]:
        return alike[0]
    columns = zip(*(text.split(" ") for text in alike), strict=False)
    return " ".join(" ".join(dict.fromkeys(column)) for column in columns)


def alike(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the texts in groups, of which each has texts that differ only in addresses."""
    groups: dict[str, list[str]] = {}
    for text in texts:
        groups.setdefault(without_places(text), []).append(text)
    return [tuple(group) for group in groups.values()]
