"""Convert YAML 1.2 to plain values with positions. There are no objects, no tags except !env and !file, and few aliases.

The nodes come from `composing`; this module evaluates their tags and texts.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from yaml.nodes import MappingNode, ScalarNode, SequenceNode

from provisioner.inventory import foreign, outside
from provisioner.inventory.composing import MOST_VALUES, TAG, Stop, at, compose
from provisioner.inventory.problems import Location, Problem, closest, code, dotted, escaped, nearest, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LARGEST_FILE = 1024 * 1024  # bytes
DEEPEST = 16  # levels; an inventory has four

_KNOWN_TAGS = frozenset(TAG + t for t in ("str", "int", "float", "bool", "null", "timestamp", "map", "seq", "merge"))
_INT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_MERGE = "<<"


@dataclass(frozen=True, slots=True)
class Place:
    """The position of a value and of its key (or its list's dash): line and column, both from 1."""

    key: tuple[int, int]
    value: tuple[int, int]


@dataclass(slots=True)
class Document:
    """The values of one file, their positions, and the errors so far."""

    value: Any = None
    places: dict[Location, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    spoilt: set[Location] = field(default_factory=set)  # already reported: no second problem for these
    secrets: dict[Location, str] = field(default_factory=dict)  # values from outside, and where each comes from

    def place(self, location: Location) -> Place:
        """Return the position of a value, or of the nearest enclosing value in the file."""
        while location and location not in self.places:
            location = location[:-1]
        return self.places.get(location, Place((1, 1), (1, 1)))

    def refuse(self, location: Location, text: str, *, at_key: bool = False) -> None:
        """Add a problem at a value, or at its key."""
        place = self.place(location)
        self.problems.append(Problem(*(place.key if at_key else place.value), text))

    def masked(self, location: Location, word: object) -> str:
        """Return a value for messages: `word`, or its source if it must not be shown."""
        return f"the value of {self.secrets[location]}" if location in self.secrets else str(word)

    @property
    def hidden(self) -> tuple[str, ...]:
        """The values from outside of the file, except for addresses: they may be secrets."""
        found = (self._at(location) for location in self.secrets)
        return tuple(value for value in found if isinstance(value, str) and not _is_address(value))

    def _at(self, location: Location) -> Any:
        """Return the value at a location; None if there is none."""
        found = self.value
        for key in location:
            try:
                found = found[key]
            except (LookupError, TypeError):
                return None
        return found

    def blinded(self) -> Any:
        """Return the values, with a placeholder for each that must not be shown."""
        return self._blinded(self.value, ())

    def _blinded(self, value: Any, location: Location) -> Any:
        if isinstance(value, dict):
            return {key: self._blinded(inner, (*location, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._blinded(inner, (*location, index)) for index, inner in enumerate(value)]
        return outside.Outside(outside.STAND_IN) if location in self.secrets else value


def _is_address(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def read(path: Path) -> Document:
    """Read a file into a document. An error that prevents reading becomes a problem, with a line if there is one."""
    document = Document()
    text = text_of(path, document)
    return document if text is None else parse(text, path.absolute().parent, document)


def parse(text: str, folder: Path, document: Document | None = None) -> Document:
    """Parse a text into a document. folder: where relative paths of `!file` start."""
    document = document or Document()
    try:
        root = compose(text, DEEPEST)
        if root is None:
            document.problems.append(
                Problem(1, 1, "the file is empty; `provisioner inventory schema` describes the format")
            )
        else:
            _Builder(document, folder).build(root)
    except Stop as stop:
        document.problems.append(stop.args[0])
    return document


def parse_bytes(data: bytes, folder: Path) -> Document:
    """Parse the content of a file into a document. folder: where relative paths of `!file` start."""
    document = Document()
    text = decoded(data, document)
    return document if text is None else parse(text, folder, document)


def decoded(data: bytes, document: Document) -> str | None:
    """Return the text of a file's content, or None after adding a problem to the document."""
    if len(data) > LARGEST_FILE:
        document.problems.append(Problem(0, 0, "the file is larger than 1 MiB, the limit for an inventory"))
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        document.problems.append(
            Problem(line, column, f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8")
        )
        return None
    if seen := foreign.secret(text):
        what = f"the file looks like {seen.what}; its content is neither read nor shown"
        document.problems.append(Problem(seen.line, 1, what))
        return None
    return text


def text_of(path: Path, document: Document) -> str | None:
    """Return a file's text, or None after adding a problem to the document."""
    try:
        with path.open("rb") as file:
            return decoded(file.read(LARGEST_FILE + 1), document)
    except FileNotFoundError:
        document.problems.append(Problem(0, 0, f"there is no such file{nearest(path.name, _beside(path))}"))
    except IsADirectoryError:
        document.problems.append(Problem(0, 0, "this is a folder; name the YAML file in it"))
    except (OSError, ValueError) as error:
        document.problems.append(
            Problem(0, 0, f"can't be read: {escaped(getattr(error, 'strerror', None) or str(error))}")
        )
    return None


def _beside(path: Path) -> list[str]:
    """The YAML files in the folder of a path."""
    try:
        return sorted(each.name for each in path.parent.iterdir() if each.suffix in {".yml", ".yaml"})
    except (OSError, ValueError):
        return []


def _at(node: Any) -> tuple[int, int]:
    return at(node.start_mark)


class _Builder:
    """Walks the nodes once and fills the document."""

    def __init__(self, document: Document, folder: Path) -> None:
        self._document = document
        self._folder = folder
        self._values = 0

    def build(self, root: Any) -> None:
        self._document.places[()] = Place(_at(root), _at(root))
        if not isinstance(root, MappingNode):
            raise Stop(
                Problem(*_at(root), "the file must be a mapping: `cluster: NAME`, `hosts:` and so on, one on each line")
            )
        self._document.value = self._value(root, ())

    def _value(self, node: Any, location: Location) -> Any:
        self._count(node, location)
        tag = str(node.tag)
        if tag in outside.TAGS:
            return self._outside(tag, node, location)
        if tag not in _KNOWN_TAGS:
            meant = closest(tag.replace(TAG, "!!"), outside.TAGS)
            hint = f": {shown(tag)}; did you mean `{meant}`?" if meant else ""
            raise Stop(Problem(*_at(node), f"tags are not supported here{hint}"))
        if isinstance(node, ScalarNode):
            return _scalar(node)
        if isinstance(node, SequenceNode):
            return [self._item(child, (*location, index)) for index, child in enumerate(node.value)]
        return self._mapping(node, location)

    def _outside(self, tag: str, node: Any, location: Location) -> str | None:
        """Return the value of `!env NAME` or `!file PATH`, or None after adding the only problem reported for it."""
        word = _written(node) if isinstance(node, ScalarNode) else ""
        where = outside.source(tag, word)
        try:
            value = outside.fetch(tag, word, self._folder, os.environ)
        except outside.NoValue as error:
            self._document.problems.append(Problem(*_at(node), f"{dotted(location)}: {where}: {error}"))
            inside_list = isinstance(location[-1], int)
            self._document.spoilt |= {location, location[:-1]} if inside_list else {location}
            return None
        self._document.secrets[location] = where
        return value

    def _count(self, node: Any, location: Location) -> None:
        """Limit number and depth of the nodes that aliases repeat: an alias can contain itself."""
        self._values += 1
        if self._values > MOST_VALUES:
            raise Stop(Problem(*_at(node), f"with its aliases, the file has more than {MOST_VALUES} values"))
        if len(location) > DEEPEST:
            raise Stop(Problem(*_at(node), f"nested deeper than {DEEPEST} levels, or an alias contains itself"))

    def _item(self, node: Any, location: Location) -> Any:
        self._document.places[location] = Place(_at(node), _at(node))
        return self._value(node, location)

    def _mapping(self, node: Any, location: Location) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: list[Any] = []
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, location)
            if key is None:
                continue
            if key == _MERGE and not key_node.style:
                merged.append(value_node)
            elif key in first:
                text = f"{code(key)} is a duplicate; the first is on line {first[key]}"
                self._document.problems.append(Problem(*_at(key_node), text))
            else:
                first[key] = _at(key_node)[0]
                self._set(result, (*location, key), key_node, value_node)
        for value_node in merged:
            self._merge(result, value_node, location)
        return result

    def _key(self, node: Any, location: Location) -> str | None:
        if isinstance(node, ScalarNode) and node.value and str(node.tag) not in outside.TAGS:
            return _written(node)
        text = "a key must be a word; quote the text if it begins with { or ["
        if str(node.tag) in outside.TAGS:
            text = f"a key can't come from `{node.tag}`; values can"
        self._document.problems.append(Problem(*_at(node), text))
        if location:
            self._document.spoilt.add(location)
        return None

    def _set(self, result: dict[str, Any], location: Location, key_node: Any, value_node: Any) -> None:
        if _for_others(location):
            return
        self._document.places[location] = Place(_at(key_node), _at(value_node))
        value = self._value(value_node, location)
        if value is None and location in self._document.spoilt:
            return
        if value is None:
            text = f"{dotted(location)}: has no value; write one or remove the line"
            self._document.problems.append(Problem(*_at(key_node), text))
            self._document.spoilt.add(location)
        else:
            result[str(location[-1])] = value

    def _merge(self, result: dict[str, Any], node: Any, location: Location) -> None:
        """Merge `<<: *alias` or `<<: [*a, *b]`: the mapping's own keys win, then the earlier alias."""
        self._count(node, location)
        for source in node.value if isinstance(node, SequenceNode) else [node]:
            if not isinstance(source, MappingNode):
                raise Stop(Problem(*_at(source), "`<<` merges mappings only: `<<: *name`"))
            for key_node, value_node in self._flat(source, location):
                if (key := self._key(key_node, location)) is not None and key not in result:
                    self._set(result, (*location, key), key_node, value_node)

    def _flat(self, node: Any, location: Location, depth: int = 0) -> Iterator[tuple[Any, Any]]:
        """Return the pairs of a merged mapping, including those that it merges itself."""
        if depth > DEEPEST:
            raise Stop(Problem(*_at(node), f"merged deeper than {DEEPEST} levels, or an alias contains itself"))
        inner: list[Any] = []
        for key_node, value_node in node.value:
            self._count(key_node, location)
            if isinstance(key_node, ScalarNode) and key_node.value == _MERGE and not key_node.style:
                inner += value_node.value if isinstance(value_node, SequenceNode) else [value_node]
            else:
                yield key_node, value_node
        for source in inner:
            if not isinstance(source, MappingNode):
                raise Stop(Problem(*_at(source), "`<<` merges mappings only: `<<: *name`"))
            yield from self._flat(source, location, depth + 1)


def _for_others(location: Location) -> bool:
    """Whether a key belongs to other tools: `x-...` at the top or in a host. Names of hosts, networks and labels may look so, too."""
    of_host = len(location) == len(("hosts", "NAME", "KEY")) and location[0] == "hosts"
    return str(location[-1]).startswith("x-") and (len(location) == 1 or of_host)


def _written(node: Any) -> str:
    """Return the text of a scalar, with JSON's surrogate pairs combined."""
    try:
        return str(node.value).encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise Stop(Problem(*_at(node), "half of a character (a lone surrogate); write the character itself")) from None


def _scalar(node: Any) -> str | int | float | bool | None:
    """Apply YAML 1.2's core schema, except that 022, 0x16 and 1_000 stay strings."""
    value, tag = _written(node), str(node.tag).removeprefix(TAG)
    if tag == "null" and value.lower() in ("", "~", "null"):
        return None
    if tag == "bool" and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if tag == "int" and _INT.fullmatch(value):
        return int(value)
    if tag == "float":
        try:
            return float(value)
        except ValueError:
            return value
    return value
