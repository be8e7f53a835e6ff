"""What the words of a command line mean: the inventory that it does not name, and what a mistyped or misplaced word stands for."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.core import TyperGroup

from provisioner.cli_names import SECRETS, VARIABLE, default, keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from provisioner.errors import UsageError

# Words of other tools -> commands that may be meant. A group takes the first one that it has.
_OF_OTHER_TOOLS = {
    "apply": ("up",),
    "create": ("up", "init"),
    "delete": ("remove", "down"),
    "deploy": ("up",),
    "destroy": ("down",),
    "diagnose": ("doctor",),
    "diff": ("plan",),
    "fix": ("doctor",),
    "help": ("--help",),
    "info": ("status", "list"),
    "install": ("up",),
    "ps": ("status", "list"),
    "rm": ("remove", "down"),
    "test": ("verify",),
    "uninstall": ("down",),
    "validate": ("inventory check",),
    "version": ("--version",),
}
_OPTIONS_OF_OTHER_TOOLS = {
    "-K": "--ask-sudo-password",
    "-V": "--version",
    "-k": "--ask-password",
    "-l": "--limit",
    "-y": "--yes",
    "--ask-become-pass": "--ask-sudo-password",
    "--ask-pass": "--ask-password",
}
_NAMES_THE_INVENTORY = frozenset({"-i", "--inventory", "-f", "--file", "-c", "--config"})


def inventory(path: Path | None, command: str) -> Path:
    """Return the path of a command's inventory. Raises UsageError if it can't be one, and says what was meant."""
    if path is None:
        path = default()
        if not path.exists():
            raise _no_default(path)
    elif not path.exists() and path.name == str(path) and (meant := _meant(path.name, command)):
        raise meant
    return path


def in_order(command: str, first: str, path: Path | None) -> None:
    """Raise UsageError if the inventory is where the first word of `provisioner COMMAND FIRST [INVENTORY]` belongs."""
    from provisioner.errors import UsageError
    from provisioner.inventory.problems import code

    if not Path(first).is_file() or (path is not None and path.exists()):
        return
    word = str(path) if path is not None else "HOST" if command == "remove" else "SECRET"
    what = f"{code(first)} is a file, and the inventory comes last"
    raise UsageError(
        what, cure=f"provisioner {command} {word if path is None else shlex.quote(word)} {shlex.quote(first)}"
    )


def secret(word: str) -> None:
    """Raise UsageError unless `rotate` can replace what the word names."""
    from provisioner.errors import UsageError
    from provisioner.inventory.problems import code, nearest

    if word not in SECRETS:
        what = f"{code(word)} can't be rotated{nearest(word, SECRETS)}"
        raise UsageError(what, cure=f"choose {', '.join(SECRETS[:-1])} or {SECRETS[-1]}")


def _no_default(path: Path) -> UsageError:
    from provisioner.errors import UsageError
    from provisioner.inventory.problems import code

    if os.environ.get(VARIABLE):
        what = f"{VARIABLE} names the inventory {code(str(path))}, and there is no such file"
        return UsageError(what, cure="correct the variable, or name the file on the command line")
    return UsageError(
        f"no inventory is named, and this folder has no {path}",
        cure=f"name the file, set {VARIABLE}, or create {path} with `provisioner inventory init`",
    )


def _meant(word: str, command: str) -> UsageError | None:
    """The error for a host or a lab in the place of the inventory, if it is one."""
    from provisioner import labs
    from provisioner.errors import LabError, UsageError

    down, path = command == "down", default()
    if word in keys(path, "hosts"):
        cure = f"provisioner remove {word} {path}" if down else f"provisioner {command} {path}"
        return UsageError(f"{word} is a host of {path}, and {command} needs an inventory", cure=cure)
    try:
        is_lab = word in labs.names()
    except LabError:  # its folder can't be one
        return None
    if not is_lab:
        return None
    making = f"provisioner lab inventory --name {word} > {word}.yml"
    cure = f"provisioner lab down --name {word}" if down else making
    return UsageError(f"{word} is a lab, and {command} needs an inventory", cure=cure)


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Name the inventory in what an error advises. path: as the user wrote it; "" if there is no file."""
    from provisioner.errors import ProvisionerError, with_inventory

    try:
        yield
    except ProvisionerError as error:
        error.cure = with_inventory(error.cure, path)
        raise


def within_reach(keys: Iterable[Path | None]) -> None:
    """Raise UsageError if one of these keys belongs to a lab whose network this process is not in: no host would answer."""
    from provisioner import labs
    from provisioner.errors import UsageError

    for lab in sorted({labs.owner(key) for key in keys if key} - {""}):
        if not labs.inside(lab):
            what = f"the hosts are in the lab {lab}: their addresses exist only in its network"
            raise UsageError(
                what, cure=f"provisioner lab run --name {lab} -- {shlex.join(['provisioner', *sys.argv[1:]])}"
            )


class Group(TyperGroup):
    """A group of commands whose error for an unknown word has this word, for `sharpened`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if not ctx.resilient_parsing and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            try:
                ctx.fail(f"no such command: {_shown(args[0])}")
            except Exception as error:
                vars(error)["unknown"] = args[0]
                raise
        return super().resolve_command(ctx, args)


def _shown(word: str) -> str:
    from provisioner.inventory.problems import code

    return code(word)


def _meant_command(word: str, ctx: Any, group: Any, root: Any) -> str:
    """What a word stands for which is no command of a group, as words after `provisioner`; "" if nothing is similar."""
    from provisioner.inventory.problems import closest

    everywhere = {path.rpartition(" ")[2]: path for path, _ in _below(root)}
    others = _OF_OTHER_TOOLS.get(word, ())
    own = next((name for name in others if name in group.commands), "")
    own = own or ("" if others or word in everywhere else closest(word, group.commands))
    meant = f"{_path(ctx)}{own}" if own else everywhere.get(word) or next(iter(others), "")
    meant = meant or everywhere.get(closest(word, everywhere), "")
    return f"plan {shlex.quote(word)}" if not meant and Path(word).is_file() else meant


def _path(ctx: Any) -> str:
    """The words that lead to a group, each followed by a space."""
    return f"{_path(ctx.parent)}{ctx.info_name} " if ctx.parent else ""


def _below(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """All groups and commands below a group, with the words that lead to them. Its own ones are last."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _below(command, f"{above}{name} ")
    yield from ((f"{above}{name}", command) for name, command in group.commands.items())


def sharpened(error: Any, root: Callable[[], Any]) -> Any:
    """Add to click's error what was meant: a command, the nearest option, the commands that have it, or the option --name.

    root: makes the group of all commands.
    """
    command = getattr(getattr(error, "ctx", None), "command", None)
    if command is None:
        return error
    if unknown := vars(error).get("unknown"):
        meant = _meant_command(unknown, error.ctx, command, root())
        error.message += f"; did you mean `provisioner {meant}`?" if meant else ""
    elif "possibilities" in vars(error):
        error.possibilities = ()
        error.message += _meant_option(error.option_name, error.ctx, command, root)
    elif "unexpected extra argument" in error.message and "--name" in _options(command):
        error.message += "; to name a lab, write --name before its name"
    return error


def _meant_option(name: str, ctx: Any, command: Any, root: Callable[[], Any]) -> str:
    from provisioner.inventory.problems import closest

    own = _options(command)
    if name in _NAMES_THE_INVENTORY and any(param.name == "inventory" for param in command.params):
        return f"; the inventory needs no option: {ctx.command_path} cluster.yml"
    found = _OPTIONS_OF_OTHER_TOOLS.get(name, "")
    found = found if found in own else closest(name, own)
    having = [path for path, each in _below(root()) if name in _options(each)]
    return f"; did you mean {found}?" if found else f"; it is an option of {_listed(having)}" if having else ""


def _options(command: Any) -> list[str]:
    return [name for param in command.params for name in param.opts if name.startswith("--")]


def _listed(commands: Sequence[str]) -> str:
    shown = [f"`{command}`" for command in commands[:3]]
    return ", ".join(shown) + (" and others" if len(commands) > len(shown) else "")
