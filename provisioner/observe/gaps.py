"""What could not be read of a host's kernel: programs that the host lacks, and programs that failed.

Detectors conclude nothing from it. The report names it with the reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provisioner.system import firewall, packages
from provisioner.system.strict import malformed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from provisioner.system.facts import Facts

_SPACES = "network namespaces of overlays and containers"
RULES = ("iptables-legacy-save", "iptables-nft-save")
_SERVICES = ("docker",)
# Programs, one of which a host needs -> what they read.
_TOOLS: Mapping[tuple[str, ...], str] = {
    ("systemctl",): "stopped services, the engine's log and its proxy settings",
    ("journalctl",): "the engine's log",
    ("dmesg",): "the kernel's log",
    _SERVICES: "services of the swarm",
    RULES: "rules of iptables",
    ("ip",): f"interfaces, routes and {_SPACES}",
    ("nsenter",): _SPACES,
    ("bridge",): "forwarding entries of overlays",
}
# What a program reads that failed, on the host and in a network namespace -> what was then not read.
_OF_HOST: Mapping[str, str] = {
    "links": _TOOLS["ip",],
    "routes": "routes",
    "neighbours": "permanent neighbour entries",
    **{tool: f"rules of {tool.removesuffix('-save')}" for tool in RULES},
}
_OF_SPACE: Mapping[str, str] = {
    "links": "interfaces",
    "addresses": "addresses",
    "routes": "routes",
    "neighbours": "neighbour entries",
    "forwarding": "forwarding entries",
}
_LINE = re.compile(r"(?:space:([\w-]{1,64}):)?([a-z-]{1,30}) (.*)", re.ASCII)
_LONGEST = 200  # characters of a program's error
_SHOWN = 3  # namespaces that a text names


@dataclass(frozen=True)
class Failed:
    """A program that failed. kind: what it reads. space: in which network namespace, "" for the host's own. why: its error."""

    kind: str
    space: str
    why: str

    @property
    def what(self) -> str:
        return _OF_SPACE[self.kind] if self.space else _OF_HOST[self.kind]


def sought(facts: Facts, *, manages: bool) -> list[str]:
    """Return the programs that the observation of a host needs. manages: whether it lists the services of its swarm."""
    unused: set[tuple[str, ...]] = {RULES} if firewall.in_own_tables(facts.engine) else set()
    unused |= set() if manages else {_SERVICES}
    return [program for programs in _TOOLS if programs not in unused for program in programs]


def failed(text: str) -> dict[str, Failed]:
    """Parse the section "failed": section -> the program that would have printed it. Raises Malformed."""
    found = {}
    for line in filter(None, text.split("\n")):
        match = _LINE.fullmatch(line)
        space, kind, why = match.groups("") if match else ("", "", "")
        if kind not in (_OF_SPACE if space else _OF_HOST):
            raise malformed("the list of programs that failed", "it has an unknown line", line)
        found[line.partition(" ")[0]] = Failed(kind, space, why.strip()[:_LONGEST] or "its program gave no reason")
    return found


def text(lacks: Collection[str], failures: Collection[Failed]) -> str:
    """Return what was not read, and why; "" if everything was. lacks: the programs that the host does not have."""
    return "; ".join((*_missing(lacks), *_errors(failures)))


def _missing(lacks: Collection[str]) -> Iterator[str]:
    """Yield one text for each package."""
    by_package: dict[str, list[tuple[str, ...]]] = {}
    for programs in _TOOLS:
        if set(programs) <= set(lacks):
            by_package.setdefault(packages.names(programs[0])[0], []).append(programs)
    for package, those in by_package.items():
        names = [name for programs in those for name in programs]
        what = ", ".join(dict.fromkeys(_TOOLS[programs] for programs in those))
        yield f"{what} not read: {' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing (Debian package {package})"


def _errors(failures: Collection[Failed]) -> Iterator[str]:
    """Yield one text for each kind of section."""
    alike: dict[tuple[str, bool], list[Failed]] = {}
    for each in failures:
        alike.setdefault((each.what, bool(each.space)), []).append(each)
    for (what, inside), those in alike.items():
        more = f" and {len(those) - _SHOWN} more" if len(those) > _SHOWN else ""
        where = f" in {', '.join(each.space for each in those[:_SHOWN])}{more}" if inside else ""
        yield f"{what}{where} not read: {those[0].why}"
