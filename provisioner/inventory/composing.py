"""Composes a YAML text into nodes with positions. Number and depth of the nodes are limited before anything recurses.

libyaml parses the text if PyYAML was built with it, which is many times faster. The nodes are always composed here. Plain
scalars follow YAML 1.2's core schema, which no `%YAML` directive changes: `no`, `on` and `1:30` are strings.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

from yaml.composer import Composer
from yaml.error import MarkedYAMLError
from yaml.events import AliasEvent
from yaml.nodes import ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from provisioner.inventory.problems import Problem, escaped

try:
    from yaml._yaml import CParser
except ImportError:  # PyYAML was built without libyaml
    CParser = None  # type: ignore[assignment, misc]

MOST_VALUES = 20_000  # after aliases are expanded; a hundred hosts need about a thousand
TAG = "tag:yaml.org,2002:"

_NOT_ALLOWED = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BREAKS = re.compile("[\x85\u2028\u2029]")  # ordinary characters in YAML 1.2, but line breaks to PyYAML and libyaml
_HALVES = re.compile(r"\\(?:u|U0000)[dD][89a-fA-F]")  # escapes of surrogates, as in JSON; libyaml refuses them
_TYPES = (
    (f"{TAG}null", re.compile(r"(?:~|null|Null|NULL)?")),
    (f"{TAG}bool", re.compile(r"true|True|TRUE|false|False|FALSE")),
    (f"{TAG}int", re.compile(r"[-+]?[0-9]+")),
    (
        f"{TAG}float",
        re.compile(
            r"[-+]?[0-9][0-9_]*(?:\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)|[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?"
        ),
    ),
    (f"{TAG}merge", re.compile(r"<<")),
)


class Stop(Exception):
    """The text can't be parsed further; the argument is the problem."""


def compose(text: str, deepest: int) -> Any:
    """Return the root node, or None for an empty text. Raises Stop."""
    if wrong := _NOT_ALLOWED.search(text):  # control characters, terminal escapes, NUL
        raise Stop(_character(wrong, text, "is not allowed in YAML"))
    if wrong := _BREAKS.search(text):
        raise Stop(_character(wrong, text, f'must be written "\\u{ord(wrong[0]):04x}", in double quotes'))
    nodes = (_InPython if _HALVES.search(text) else _quick)(text)
    nodes.deepest = deepest
    try:
        return nodes.get_single_node()
    except MarkedYAMLError as error:
        raise Stop(_syntax(error, text)) from None


def _character(found: re.Match[str], text: str, message: str) -> Problem:
    return Problem(*_at(found.start(), text), f"the character U+{ord(found[0]):04X} {message}")


def _at(position: int, text: str) -> tuple[int, int]:
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)


def at(mark: Any) -> tuple[int, int]:
    """Line and column, both from 1."""
    return mark.line + 1, mark.column + 1


def _syntax(error: MarkedYAMLError, text: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    message = "not YAML: " + ", ".join(part for part in (error.context, error.problem) if part)
    found = text[mark.index : mark.index + 1] if mark else ""
    message = re.sub(
        r"\b(alias|anchor|tag handle) '[^']*'", r"\1", message
    )  # do not show words of a file that may not be an inventory
    message = message.replace("found character that", f"found character {found!r} that")  # libyaml does not show it
    hint = "; indent with spaces, not tabs" if found == "\t" else ""
    if found == ":" and "node content" in message:
        hint = "; between brackets a text that begins with `:` needs quotes"
    if not mark:
        return Problem(0, 0, escaped(message))
    last = _at(len(text), text)  # libyaml puts the end of a text on a separate line, even without a final newline
    return Problem(*min(at(mark), last), escaped(message) + hint)


class _Nodes(Composer, BaseResolver):
    """PyYAML's composer with limits. An anchor may be redefined, as YAML allows."""

    deepest = 0
    _count = 0
    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[attr-defined]
        self._count += 1
        if self._count > 2 * MOST_VALUES:  # keys are nodes too
            self._stop(event, f"the file has more than {MOST_VALUES} values")
        if isinstance(event, AliasEvent):
            return super().compose_node(parent, index)
        self._depth += 1
        if self._depth > self.deepest:
            self._stop(event, f"nested deeper than {self.deepest} levels")
        self.anchors.pop(event.anchor, None)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        """Return the tag of a node without one. implicit: whether its form implies a tag."""
        if kind is not ScalarNode:
            return f"{TAG}seq" if kind is SequenceNode else f"{TAG}map"
        return next((tag for tag, form in _TYPES if implicit[0] and form.fullmatch(value)), f"{TAG}str")

    def _stop(self, event: Any, text: str) -> NoReturn:
        raise Stop(Problem(*at(event.start_mark), text))


class _InPython(_Nodes, Reader, Scanner, Parser):
    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        _Nodes.__init__(self)

    def get_single_node(self) -> Any:
        try:
            return super().get_single_node()
        except (ValueError, OverflowError):  # libyaml has its own message
            text = "not YAML: an escape without a character, or a number that is too large"
            raise Stop(Problem(*at(self.get_mark()), text)) from None


_quick: Any = _InPython
if CParser is not None:

    class _InC(_Nodes, CParser):
        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            _Nodes.__init__(self)

    _quick = _InC
