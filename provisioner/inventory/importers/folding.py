"""Fold many notes of one kind into one line, so that none hides the others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provisioner.inventory.problems import code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_FEW = 5  # notes of one kind that are shown one by one
_NAMED = 3
_VALUES = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`|\d+|(?<= )\S*/\S*")


def folded(notes: Iterable[tuple[str, str]], noun: str, show: Callable[[str], str] = code) -> list[str]:
    """Return `subject: text` for each note. Notes that differ only in values are one kind. noun: what the subjects are; show: how each is written.

    Of a kind with many notes, the first text is shown: `a`, `b`, `c` ... and 37 more hosts: text.
    """
    kinds: dict[str, dict[tuple[str, str], None]] = {}
    for note in notes:
        kinds.setdefault(_VALUES.sub("", note[1]), {})[note] = None
    return [line for kind in kinds.values() for line in _lines(list(kind), noun, show)]


def _lines(kind: list[tuple[str, str]], noun: str, show: Callable[[str], str]) -> list[str]:
    subjects = list(dict.fromkeys(subject for subject, _ in kind))
    if len(subjects) <= _FEW:
        return [f"{show(subject)}: {text}" for subject, text in kind]
    text = kind[0][1]
    example = (
        ""
        if len({text for _, text in kind}) == 1
        else f"; the others likewise, with their own values ({show(subjects[0])} is shown)"
    )
    return [f"{', '.join(map(show, subjects[:_NAMED]))} ... and {len(subjects) - _NAMED} more {noun}: {text}{example}"]
