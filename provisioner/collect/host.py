"""Reads the evidence of one host in one round trip, and returns its files without secrets."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

from provisioner import render
from provisioner.collect import scrub
from provisioner.collect.allowed import kept
from provisioner.errors import Malformed
from provisioner.system.strict import value
from provisioner.transport.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from provisioner.collect.pieces import Piece
    from provisioner.collect.scrub import Scrubber
    from provisioner.transport import Connection

_DEADLINE = 75.0  # seconds; the program itself stops reading after 45
_HEAD = re.compile(rb"([a-z0-9.-]{1,40}) (whole|cut|late|none|skipped|(?:refused|failed):[a-z0-9]{1,5}) ([0-9]{1,8})\n")
_STATES = {
    "cut": "only its beginning: it is too long",
    "late": "it did not end within 5 seconds",
    "none": "the host has no such program, or nothing answers",
    "skipped": "not read: what was read before took too long, or was too long",
}


class Read(NamedTuple):
    """One piece as the host sent it."""

    piece: Piece
    state: str
    raw: bytes


def read(connection: Connection, pieces: Sequence[Piece]) -> list[Read]:
    """Read all pieces. Raises ProvisionerError."""
    words = shlex.join([render.text("collect.pl"), *map(str, pieces)])
    result = connection.read(f"# collecting evidence\nexec perl -e {words}", deadline=_DEADLINE)
    return parsed(connection.name, pieces, result.raw)


def parsed(host: str, pieces: Iterable[Piece], raw: bytes) -> list[Read]:
    """Take the host's answer apart. Raises Malformed."""
    found, at = [], 0
    for piece in pieces:
        head = _HEAD.match(raw, at)
        end = head.end() + int(head[3]) if head else 0
        if not head or head[1].decode() != piece.name or raw[end : end + 1] != b"\n":
            raise Malformed(f"its evidence can't be parsed at {piece.name}", host=host)
        found.append(Read(piece, head[2].decode(), raw[head.end() : end]))
        at = end + 1
    return found


def files(found: Iterable[Read], clear: Scrubber) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of the files of one host, without secrets. The last one, notes.txt, says what is incomplete."""
    found = list(found)
    clear = clear.with_more(_set_on_host(found))
    notes = []
    for piece, state, raw in found:
        text, note = _text(piece, state, clean(raw), clear)
        note = note or _STATES.get(state, "") or (f"it ended with {state.replace(':', ' ')}" if ":" in state else "")
        notes += [f"{piece.name}: {note}\n"] if note else []
        if text:
            yield piece.name, text
    yield "notes.txt", clear("".join(notes) or "everything was read\n")


def _text(piece: Piece, state: str, text: str, clear: Scrubber) -> tuple[str, str]:
    """Return the text to write, and a note. What can't be reduced to fields without secrets is left out."""
    if piece.shape is None or not text:
        return clear(scrub.of_units(text) if piece.units else text), ""
    try:
        return json.dumps(clear.json(kept(value(text), piece.shape)), indent=1) + "\n", ""
    except ValueError:
        return "", "" if state != "whole" else "left out, because it is not valid JSON"


def _set_on_host(found: Iterable[Read]) -> Iterator[str]:
    """Yield the secret values that environments of containers and units have: logs may repeat them."""
    for piece, _, raw in found:
        if piece.units:
            yield from scrub.of_environment(re.findall(r"[\w.-]{1,100}=[^\s\"']{8,400}", clean(raw)))
        elif piece.name == "containers.json":
            yield from scrub.of_environment(re.findall(r'"([\w.-]{1,100}=(?:[^"\\]|\\.){8,400})"', clean(raw)))
