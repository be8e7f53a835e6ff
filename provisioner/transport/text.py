"""Output of hosts is untrusted. It is made harmless before a person or a terminal gets it."""

from __future__ import annotations

import re

FACTS = "provisioner-facts"  # the start of an answer with facts (system/reading.py)
_HARMFUL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor, erasing
    r"|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?"  # OSC, DCS and similar: titles, clipboard. They end with the line
    r"|\x1b[ -/]*[0-~]?"  # every other escape sequence
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # control characters of both sets, but not newline and tab
    r"|[\u202a-\u202e\u2066-\u2069]"  # marks that reorder the text around them
)


def clean(raw: bytes | bytearray) -> str:
    """The text of some output: UTF-8 with replacement characters, without terminal escapes and control characters."""
    return _HARMFUL.sub("", raw.decode("utf-8", "replace"))


def public(text: str) -> str:
    """The part of an answer that may be shown: everything before the host's facts, which contain secrets."""
    return text.partition(FACTS)[0]


def tail(text: str, lines: int = 5, width: int = 200) -> str:
    """The last lines of a text, each cut to a width that fits a page."""
    return "\n".join(line[:width] for line in text.rstrip().splitlines()[-lines:])
