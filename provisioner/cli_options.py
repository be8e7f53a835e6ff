"""Options that commands share. A command has one parameter for all of them, and `expanded` makes each an option of its own."""

from __future__ import annotations

import functools
import inspect
import os
import shlex
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_type_hints

import typer

from provisioner import cli_names
from provisioner.cli_access import LAB, Access, AskPassword, AskSudo

if TYPE_CHECKING:
    from collections.abc import Callable

    from provisioner.model import Call
    from provisioner.report.files import Files

_Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout; text for people goes to stderr.")
]
_Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        show_default=False,
        help="Also show what already matches the inventory; -vv: also each command on a host.",
    ),
]
_Log = Annotated[
    Path | None,
    typer.Option("--log", metavar="FILE", help="Append all progress, each command and the report to FILE, with times."),
]
_Ignore = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore",
        metavar="ID",
        help="Hide the warning with this ID (see provisioner causes); repeatable.",
        autocompletion=cli_names.complete_warnings,
    ),
]
_Junit = Annotated[
    Path | None,
    typer.Option("--junit", metavar="FILE", help="Write the report to FILE as JUnit XML, which CI systems show."),
]
_Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write the report to FILE as one HTML page.")
]
_Diff = Annotated[
    bool, typer.Option("--diff", help="Show all files and rules as diffs, not only the files that people write.")
]


@dataclass(frozen=True)
class Options:
    """What the commands that run over an inventory have in common."""

    json: _Json = False
    verbose: _Verbose = 0
    log: _Log = None
    ignore: _Ignore = None
    ask_password: AskPassword = False
    ask_sudo_password: AskSudo = False
    diff: bool = field(default=False, init=False)

    @functools.cached_property
    def access(self) -> Access:
        """How the command reaches hosts. It is made once, so a command that runs twice asks once."""
        return Access(self.ask_password, self.ask_sudo_password)

    @functools.cached_property
    def files(self) -> Files:
        """The files for the report and the log; not opened yet."""
        from provisioner.report.files import Files

        return Files(self._paths, self.log)

    def call(self, inventory: str, makes: str) -> Call:
        """How the command was called, for its report. inventory, makes: see `Call`."""
        from provisioner.model import Call

        lab = os.environ.get(LAB, "")
        return Call(inventory, self.access.options, makes, diff=self.diff, lab=bool(lab), lab_name=lab)

    @property
    def _paths(self) -> dict[str, Path | None]:
        return {}


@dataclass(frozen=True)
class StatusOptions(Options):
    """The same for a command that warns of nothing."""

    ignore: list[str] | None = field(default=None, init=False)


@dataclass(frozen=True)
class PlanOptions(Options):
    """The same for a command that can show what it would change."""

    diff: _Diff = False


@dataclass(frozen=True)
class FileOptions(Options):
    """The same for a command that can also write its report to files."""

    junit: _Junit = None
    html: _Html = None

    @property
    def _paths(self) -> dict[str, Path | None]:
        return {"--junit": self.junit, "--html": self.html}


def typed(*words: str, **switches: bool) -> str:
    """Return these words of a command line, and those of the switches that are set."""
    return " ".join([shlex.join(words), *(f"--{name}" for name, is_set in switches.items() if is_set)])


@functools.cache  # several commands share a class
def _parameters(options: type) -> tuple[inspect.Parameter, ...]:
    """Return a parameter for each field of a dataclass."""
    hints = get_type_hints(options, include_extras=True)
    return tuple(
        inspect.Parameter(of.name, inspect.Parameter.KEYWORD_ONLY, default=of.default, annotation=hints[of.name])
        for of in fields(options)
        if of.init
    )


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command for typer that has an option for each field of its parameter `options`."""
    signature = inspect.signature(command, eval_str=True)
    own = [of for name, of in signature.parameters.items() if name != "options"]
    made = signature.parameters["options"].annotation
    added = _parameters(made)

    @functools.wraps(command)
    def run(**given: object) -> None:
        given = {name: cli_names.at_home(value) if isinstance(value, Path) else value for name, value in given.items()}
        options = made(**{of.name: given.pop(of.name) for of in added})
        with options.files if isinstance(options, Options) else nullcontext():
            command(**given, options=options)

    run.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    return run
