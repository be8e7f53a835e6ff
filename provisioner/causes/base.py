"""The types of the catalogue: `Cause`, `Family` and `Kind`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from provisioner.model import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping


ENGINE = "docker.service"
START = "systemctl start docker"
RESTART = "systemctl restart docker"  # starts it too; containers stop meanwhile
# Starts the engine once without its store, so that it deletes its own records of containers on networks that it then does not find.
WITHOUT_STORE = (
    "(f=/etc/docker/daemon.json; systemctl stop docker.socket docker; systemctl reset-failed docker; if cp -p --remove-destination $f"
    " $f.kept; then perl -0pi -e"
    """ 's/"cluster-[a-z-]+"\\s*:\\s*("[^"]*"|\\{{[^}}]*\\}})\\s*,?//g; s/,(\\s*\\}})/$1/g' $f; systemctl start docker;"""
    " systemctl stop docker.socket docker; mv -fT $f.kept $f; fi; systemctl start docker)"
)
RULES = (
    "rules",
    "/etc/provisioner/firewall.sh",
)  # drifts: the host's filter, and the file with the rules for what is there
# What several cures change, beside the engine; see `Cause.touches`.
ADVERTISE, MEMBERSHIP, VERSION = "the advertised address", "the membership in a swarm", "the engine's version"


class Kind(StrEnum):
    """What an id stands for."""

    CAUSE = "cause"  # a known reason why a network fails
    FAILURE = "failure"  # a reason why a run could not do its work: on a host, on a store, or at all
    REFUSAL = "refusal"  # a reason why a command refuses a request, or warns about it


@dataclass(frozen=True, slots=True)
class Cause:
    """One known cause, described for people.

    id: used by `--ignore ID` and the JSON; a contract, never renamed.
    title: a few words. why: what happens, and why networks fail because of it.
    cure: what to do next; a template over the problem's values. variants: alternative cures by name; a problem selects one.
    severity: the effect of the problem on a run. warns: when it is a warning despite a higher severity; "" if never.
    explains: the ids of causes that follow from this one. drifts: the drifts on the same host that follow from it, each by
    its kind or target: "rules", "docker.service". evident: the variants whose evidence shows their own reason, so that they follow
    from no other cause. fixable: whether a step of `provisioner up` removes it. by_up: the variants that
    such a step removes, if not all.
    commands: the cure as shell commands by variant ("": the default); templates like `cure`, without comments. They run on the
    host in the value `host` of the problem. fixes: the variants whose commands `doctor --fix` may run: those that disturb nothing
    beyond what is broken, except for restarts of an engine. touches: what the cure of a variant changes on its host, as a template.
    Cures that change the same thing in different ways contradict each other, and only the first one is shown. Default: the engine if
    the commands restart it, else something of its own.
    """

    id: str
    title: str
    severity: Severity
    why: str
    cure: str
    variants: Mapping[str, str] = field(default_factory=dict)
    warns: str = ""
    explains: tuple[str, ...] = ()
    drifts: tuple[str, ...] = ()
    evident: frozenset[str] = frozenset()
    fixable: bool = False
    by_up: frozenset[str] = frozenset()
    kind: Kind = Kind.CAUSE
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fixes: frozenset[str] = frozenset()
    touches: Mapping[str, str] = field(default_factory=dict)

    @property
    def ignorable(self) -> bool:
        """Whether `--ignore` may hide it. Only warnings can be hidden."""
        return self.severity is Severity.WARNING or bool(self.warns)


def failure(name: str, title: str, why: str, cure: str) -> Cause:
    """Return the entry for an error that stops a run, where no cause of a failing network was recognised."""
    return Cause(name, title, Severity.STOP, why, cure, kind=Kind.FAILURE)


@dataclass(frozen=True, slots=True)
class Family:
    """Related causes, in the order in which they are listed."""

    name: str
    title: str
    causes: tuple[Cause, ...]
