"""What hosts say is untrusted: it is made harmless before a person, or a terminal, sees it."""

from __future__ import annotations

import re

FACTS = "provisioner-facts"  # how an answer with facts begins (system/reading.py)
_HARMFUL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor, erasing
    r"|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?"  # OSC, DCS and their like: titles, clipboard. None takes the next line along
    r"|\x1b[ -/]*[0-~]?"  # every other escape sequence
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # control characters of both sets, but not newline and tab
    r"|[\u202a-\u202e\u2066-\u2069]"  # marks that reorder the text around them
)


def clean(raw: bytes | bytearray) -> str:
    """Give the text of some output: UTF-8 with replacements, without terminal escapes and control characters."""
    return _HARMFUL.sub("", raw.decode("utf-8", "replace"))


def public(text: str) -> str:
    """What of an answer may be shown: nothing from a host's facts on, which hold its secrets."""
    return text.partition(FACTS)[0]


def tail(text: str, lines: int = 5, width: int = 200) -> str:
    """Give the last lines of a text, each cut to a width that fits a page."""
    return "\n".join(line[:width] for line in text.rstrip().splitlines()[-lines:])
