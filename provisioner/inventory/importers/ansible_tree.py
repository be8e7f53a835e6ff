"""Ansible's groups and hosts before variables are merged. Ranges of host names are expanded here."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, field
from itertools import product

from provisioner.inventory.problems import shown

MOST_HOSTS = 2000  # of one source; a range like [0:999999999] is a mistake or an attack
_RANGE = re.compile(r"\[([0-9]+|[A-Za-z])?:([0-9]+|[A-Za-z])(?::([0-9]+))?\]")
_WITH_PORT = re.compile(r"((?:[^:\[\]]|\[[^\]]*\])+?)(?::([0-9]+))?")

Variables = dict[str, str]
"""Strings by name; lists and mappings are not needed."""


class Vaulted(str):
    """A value that is encrypted with ansible-vault."""

    __slots__ = ()


@dataclass(slots=True)
class Group:
    """A group as written in its files."""

    hosts: dict[str, None] = field(default_factory=dict)
    children: dict[str, None] = field(default_factory=dict)
    variables: Variables = field(default_factory=dict)


@dataclass(slots=True)
class Tree:
    """All groups and hosts of the sources. hosts: the variables on each host's own line."""

    groups: dict[str, Group] = field(default_factory=lambda: {"all": Group(), "ungrouped": Group()})
    hosts: dict[str, Variables] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def group(self, name: str) -> Group:
        return self.groups.setdefault(name, Group())

    def add_hosts(self, group: str, pattern: str, variables: Variables) -> None:
        """Add the hosts of a pattern to a group. Raises ValueError if the pattern is invalid."""
        names, port = expanded(pattern)
        if len(self.hosts) + len(names) > MOST_HOSTS:
            raise ValueError(f"there are more than {MOST_HOSTS} hosts")
        for name in names:
            own = self.hosts.setdefault(name, {})
            if port:
                own.setdefault("ansible_port", port)
            own |= variables
            self.group(group).hosts[name] = None


def expanded(pattern: str) -> tuple[list[str], str]:
    """The hosts of `web[01:03].example.com:2222`, and the port or "". Raises ValueError."""
    found = _WITH_PORT.fullmatch(pattern)  # an IPv6 address without brackets does not match, and has no port
    base, port = (found[1], found[2] or "") if found else (pattern, "")
    if re.fullmatch(r"\[[0-9A-Fa-f:.]+\]", base) and not _RANGE.fullmatch(base):
        return [base[1:-1]], port  # [2001:db8::1]
    parts = _RANGE.split(base)
    choices = [_range(*parts[at + 1 : at + 4]) for at in range(0, len(parts) - 1, 4)]
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > MOST_HOSTS:
        raise ValueError(f"{shown(pattern)} stands for more than {MOST_HOSTS} hosts")
    texts = parts[0::4]
    names = ["".join(a + b for a, b in zip(texts, (*chosen, ""), strict=True)) for chosen in product(*choices)]
    return names, port


def _range(first: str | None, last: str, step: str | None) -> list[str]:
    """The members of a range, both ends included. Leading zeros give all numbers the same width."""
    first, stride = first or "0", int((step or "1")[:6])
    if stride == 0 or first.isdigit() != last.isdigit():
        raise ValueError(f"[{first}:{last}] is not a range")
    if not first.isdigit():
        letters = string.ascii_letters
        members = list(letters[letters.index(first) : letters.index(last) + 1 : stride])
    else:
        if max(len(first), len(last)) > 9:  # noqa: PLR2004  more digits than hosts
            raise ValueError(f"[{first}:{last}] is too long a range")
        if len(first) > 1 and first[0] == "0" and len(first) != len(last):
            raise ValueError(f"[{first}:{last}] must have ends of the same width")
        width = len(first) if first[0] == "0" else 0
        numbers = range(int(first), int(last) + 1, stride)
        members = [str(number).zfill(width) for number in numbers[: MOST_HOSTS + 1]]
    if not members:
        raise ValueError(f"[{first}:{last}] ends before it begins")
    return members
