"""Parses OpenSSH's client configuration (ssh_config(5)) into blocks of options."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from provisioner.errors import InventoryError
from provisioner.inventory.importers.found import stopped
from provisioner.inventory.problems import escaped
from provisioner.jumps import as_jump

Include = Callable[[str], Iterable[tuple[str, "str | InventoryError"]]]
"""Converts an argument of `Include` to names of files, and their texts or why they can't be read."""

Options = dict[str, list[list[str]]]
Evaluate = Callable[[Iterable[str]], Mapping[str, Options]]
DEEPEST = 16  # levels of Include, as in ssh
MOST_FILES = 200
_LINE = re.compile(r"\s*([A-Za-z0-9]+)(?:\s*=\s*|\s+|$)(.*)", re.DOTALL)
_QUOTES = "\"'"


@dataclass(slots=True)
class Block:
    """The options under one `Host` line. conditions: lists of patterns, all of which a name must match."""

    conditions: tuple[tuple[str, ...], ...]
    options: list[tuple[str, list[str]]] = field(default_factory=list)

    def holds_for(self, name: str) -> bool:
        return all(matches(patterns, name) for patterns in self.conditions)


@dataclass(slots=True)
class Config:
    """All blocks in the order in which ssh reads them, the names in `Host` lines, and notes on unsupported lines.

    evaluate: returns the options of names, as ssh evaluates them; without it, or for a missing name, `blocks` count.
    matches: the notes that apply to `blocks` alone.
    """

    blocks: list[Block] = field(default_factory=list)
    names: dict[str, None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    files: int = 0
    matches: list[str] = field(default_factory=list)
    evaluate: Evaluate | None = None
    evaluated: dict[str, Options | None] = field(default_factory=dict)

    def options(self, name: str) -> Options:
        """Keyword -> the arguments of each line that applies to the name. ssh uses the first line, but the keys of all lines."""
        if self.evaluate and name not in self.evaluated:
            self.evaluated |= {name: None, **self.evaluate([name])}
        if found := self.evaluated.get(name):
            return found
        options: Options = {}
        for block in self.blocks:
            if block.holds_for(name):
                for keyword, arguments in block.options:
                    options.setdefault(keyword, []).append(arguments)
        command = " ".join(options.get("proxycommand", [[]])[0])
        if "proxyjump" not in options and (jump := as_jump(command)):
            options["proxyjump"] = [[jump]]
            del options["proxycommand"]
        return options


def matches(patterns: tuple[str, ...], name: str) -> bool:
    """Whether a name matches one of the patterns, and none that is negated with `!` (ssh_config(5), PATTERNS)."""
    barred = any(_match(pattern[1:], name) for pattern in patterns if pattern.startswith("!"))
    return not barred and any(_match(pattern, name) for pattern in patterns if not pattern.startswith("!"))


def _match(pattern: str, name: str) -> bool:
    form = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in re.sub(r"\*+", "*", pattern))
    return re.fullmatch(form, name, re.DOTALL) is not None


def words(text: str) -> list[str]:
    """The arguments of a line: words, with quotes around spaces, up to a word that starts with `#`.

    Raises ValueError if a quote is not closed. Its text does not contain the line.
    """
    result: list[str] = []
    rest = text.lstrip()
    while rest and not rest.startswith("#"):
        word, quote, at = "", "", 0
        while at < len(rest) and (quote or not rest[at].isspace()):
            c, following = rest[at], rest[at + 1 : at + 2]
            if c == "\\" and following and (following in _QUOTES + "\\" or (not quote and following == " ")):
                word, at = word + following, at + 1
            elif c == quote:
                quote = ""
            elif not quote and c in _QUOTES:
                quote = c
            else:
                word += c
            at += 1
        if quote:
            raise ValueError("a quote is not closed")
        result.append(word)
        rest = rest[at:].lstrip()
    return result


def option(line: str) -> tuple[str, list[str]]:
    """Split `Keyword value ...` or `Keyword=value` into the keyword in lower case and its values. Raises ValueError."""
    found = _LINE.fullmatch(line)
    arguments = words(found[2]) if found else []
    if not found or not arguments:
        raise ValueError("is not an option with a value")
    return found[1].lower(), arguments


def parse(text: str, file: str, include: Include) -> Config:
    """Parse a configuration. include: converts an argument of `Include` to names and texts of files. Raises InventoryError."""
    config = Config()
    _Reader(config, include).read(text, file, (), 0)
    return config


class _Reader:
    def __init__(self, config: Config, include: Include) -> None:
        self._config = config
        self._include = include

    def read(self, text: str, file: str, outer: tuple[tuple[str, ...], ...], depth: int) -> None:
        """Add a file's blocks. outer: the conditions around its Include. Raises InventoryError at a line that ssh also refuses."""
        here = outer
        self._open(here)
        for number, line in enumerate(text.split("\n"), 1):
            if not (bare := line.strip()) or bare.startswith("#"):
                continue
            where = f"{escaped(file)}:{number}"
            try:
                keyword, arguments = option(bare)
            except ValueError as error:
                raise stopped(file, text, number, str(error)) from None
            if keyword in ("host", "match"):
                here = (*outer, self._condition(keyword, arguments, where))
                self._open(here)
            elif keyword == "include":
                self._read_included(arguments, where, here, depth)
                self._open(here)
            else:
                self._config.blocks[-1].options.append((keyword, arguments))

    def _open(self, conditions: tuple[tuple[str, ...], ...]) -> None:
        self._config.blocks.append(Block(conditions))

    def _condition(self, keyword: str, arguments: list[str], where: str) -> tuple[str, ...]:
        """The patterns of `Host`. Only `Match all` depends on nothing but names, so any other Match applies to no host."""
        if keyword == "host":
            for pattern in arguments:
                if not re.search(r"[*?!]", pattern):
                    self._config.names[pattern] = None
            return tuple(arguments)
        if [word.lower() for word in arguments] == ["all"]:
            return ("*",)
        note = f"{where}: this Match is not supported; the lines up to the next Host are ignored"
        self._config.notes.append(note)
        self._config.matches.append(note)
        return ()

    def _read_included(self, arguments: list[str], where: str, here: tuple[tuple[str, ...], ...], depth: int) -> None:
        for argument in arguments:
            if depth >= DEEPEST or self._config.files >= MOST_FILES:
                self._config.notes.append(f"{where}: Include is nested too deep or includes itself; it is ignored")
                return
            found = list(self._include(argument))
            if not found and not re.search(r"[*?\[]", argument):  # a pattern may match nothing
                self._config.notes.append(f"{where}: Include names no file that can be read")
            for name, text in found:
                self._config.files += 1
                if isinstance(text, InventoryError):
                    self._config.notes.append(f"{where}: Include: {text.problems[0]}; not read")
                else:
                    self.read(text, name, here, depth + 1)
