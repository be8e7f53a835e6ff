"""Commands: parse, wire, exit code; nothing else. What they need is imported when they run, so that --help is quick."""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from provisioner import __version__
from provisioner.cli_inventory import app as inventory_app
from provisioner.cli_lab import app as lab_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from provisioner.inventory import Inventory
    from provisioner.proofs import Choice
    from provisioner.workflows import Phase

app = typer.Typer(
    name="provisioner",
    help="From an inventory of Linux hosts to one proven multi-host Docker overlay network.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its import is three quarters of the time that --help takes
)
app.add_typer(inventory_app, name="inventory")
app.add_typer(lab_app, name="lab")

_Inventory = Annotated[
    Path, typer.Argument(metavar="INVENTORY", help="The YAML file that names the hosts.", show_default=False)
]
_Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; people's text goes to stderr.")]
_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show also what is as wanted.")]
_Ignore = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore", metavar="ID", help="The ID of a warning to leave out (see provisioner causes); repeatable."
    ),
]
_All = Annotated[
    bool, typer.Option("--all", help="Prove also the networks that every engine has: bridge, none and host.")
]
_Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="PATTERN",
        help="Run only the proofs whose names match, as in a shell: overlay/demo, 'dns/*', isolation; repeatable.",
    ),
]
_Skip = Annotated[
    list[str] | None,
    typer.Option("--skip", metavar="PATTERN", help="Leave out the proofs whose names match; repeatable."),
]
_List = Annotated[bool, typer.Option("--list", help="List the proofs, and run none: no host is connected to.")]
_Recreate = Annotated[
    list[str] | None,
    typer.Option(
        "--recreate",
        metavar="NETWORK",
        help="Make this network anew if it is not as wanted and no container is on it; repeatable.",
    ),
]

_DIFFERS, _USAGE, _INTERRUPTED = 2, 64, 130


@app.command()
def up(
    inventory: _Inventory,
    *,
    json: _Json = False,
    verbose: _Verbose = False,
    ignore: _Ignore = None,
    recreate: _Recreate = None,
) -> None:
    """Bring the hosts to one overlay network, and prove it. Run again, it changes nothing.

    Exit code 0: as wanted and proven. 1: something failed, and is told. 64: the inventory can't be used.
    """

    def workflow(_: Inventory) -> Iterable[Phase]:
        from provisioner.workflows.up import PHASES

        return PHASES

    _run(inventory, "up", workflow, json=json, verbose=verbose, ignore=ignore, recreate=recreate)


@app.command()
def plan(inventory: _Inventory, *, json: _Json = False, verbose: _Verbose = False, ignore: _Ignore = None) -> None:
    """Show what `up` would change on each host; change nothing. Files are shown as diffs.

    Exit code 0: nothing to change. 2: something differs. 1: a host could not be looked at. 64: the inventory.
    """

    def workflow(_: Inventory) -> Iterable[Phase]:
        from provisioner.workflows.plan import PHASES

        return PHASES

    _run(inventory, "plan", workflow, json=json, verbose=verbose, ignore=ignore)


@app.command()
def verify(
    inventory: _Inventory,
    *,
    all_: _All = False,
    only: _Only = None,
    skip: _Skip = None,
    list_: _List = False,
    json: _Json = False,
    verbose: _Verbose = False,
    ignore: _Ignore = None,
) -> None:
    """Prove the networks between all hosts; repair nothing. Every step is looked at as well.

    Exit code 0: as wanted, and what ran is proven. 1: something differs or is not proven. 64: the inventory, or a pattern.
    """
    from provisioner import proofs

    choice = proofs.Choice(tuple(only or ()), tuple(skip or ()), builtin=all_)
    if list_:
        _list(inventory, choice, json=json)
        return

    def workflow(found: Inventory) -> Iterable[Phase]:
        from provisioner.workflows.verify import phases

        choice.of(proofs.units(found))  # a pattern that matches nothing is refused before any host is connected to
        return phases(choice)

    _run(inventory, "verify", workflow, json=json, verbose=verbose, ignore=ignore)


def _list(path: Path, choice: Choice, *, json: bool) -> None:
    from provisioner import proofs
    from provisioner.inventory import load
    from provisioner.report.listing import Listing, show_list

    with _told("verify" if json else ""):
        inventory = load(path, check_files=False)
        units = proofs.units(inventory)
        show_list(Listing(inventory, units, choice.of(units)), json=json)


class _What(StrEnum):
    GOSSIP_KEY = "gossip-key"
    CERTIFICATES = "certificates"
    TOKENS = "tokens"


@app.command()
def rotate(
    what: Annotated[
        _What,
        typer.Argument(help="Which secrets of Consul to make anew; certificates also of etcd.", show_default=False),
    ],
    inventory: _Inventory,
    *,
    ca: Annotated[bool, typer.Option("--ca", help="With certificates: a new authority too.")] = False,
    json: _Json = False,
    verbose: _Verbose = False,
    ignore: _Ignore = None,
) -> None:
    """Make the store's secrets anew.

    One host after the other; what was interrupted is run again. With Consul the networks work throughout. With etcd each
    engine is restarted, and its containers stop meanwhile unless it has live-restore.

    Exit code 0: all hosts have the new ones, and the networks are proven. Old gossip keys and tokens are good for nothing then,
    old certificates after --ca only; without it, and with etcd, they hold until they end.
    """
    if ca and what is not _What.CERTIFICATES:
        raise typer.BadParameter("is of certificates only", param_hint="--ca")

    def workflow(_: Inventory) -> Iterable[Phase]:
        from provisioner.workflows.rotate import phases

        return phases(what.value, authority=ca)

    _run(inventory, f"rotate {what.value}", workflow, json=json, verbose=verbose, ignore=ignore)


@app.command()
def status(inventory: _Inventory, *, json: _Json = False) -> None:
    """Show engines, stores and networks at a glance.

    Exit code 0: every host answered, and so did its engine and store where they run. 1: something gave no answer.
    """

    def workflow(_: Inventory) -> Iterable[Phase]:
        from provisioner.workflows.status import PHASES

        return PHASES

    _run(inventory, "status", workflow, json=json, verbose=False, ignore=None)


@app.command()
def remove(
    host: Annotated[str, typer.Argument(metavar="HOST", help="Its name, in the inventory or no more; or its address.")],
    inventory: _Inventory,
    *,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be done, and do nothing.")] = False,
    drain: Annotated[
        bool, typer.Option("--drain", help="Take its containers off the cluster's networks; they go on running.")
    ] = False,
    json: _Json = False,
    verbose: _Verbose = False,
    ignore: _Ignore = None,
) -> None:
    """Take a host, alive or gone, out of the cluster. The rest is proven; the store keeps its quorum, or nothing is done.

    Exit code 0: it is out, and the others are as wanted and proven. 1: something failed. 64: the inventory.
    With --plan 2: something would be done.
    """

    def workflow(whole: Inventory) -> Iterable[Phase]:
        from provisioner.workflows import remove

        removal = remove.Removal(whole, host, drain=drain)
        return remove.plan(removal) if plan else remove.phases(removal)

    _run(inventory, "plan" if plan else "remove", workflow, json=json, verbose=verbose, ignore=ignore)


@app.command("causes")
def list_causes(
    cause: Annotated[
        str | None, typer.Argument(metavar="ID", help="The id of one cause, as findings name it.", show_default=False)
    ] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    """List the causes that provisioner recognises, or explain one: why networks fail from it, and what to do.

    Exit code 0, or 64: there is no cause with this id.
    """
    from provisioner.causes import CAUSES
    from provisioner.errors import UsageError
    from provisioner.report.catalogue import show_causes

    with _told(""):
        if cause is not None and (unknown := _unknown_cause(cause)):
            raise UsageError(unknown, cure="provisioner causes lists all of them")
        show_causes(CAUSES[cause] if cause is not None else None, json=json)


def _version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"provisioner {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    *,
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=lambda value: _version(wanted=value), is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    pass


def _run(
    path: Path,
    command: str,
    workflow: Callable[[Inventory], Iterable[Phase]],
    *,
    json: bool,
    verbose: bool,
    ignore: list[str] | None,
    recreate: list[str] | None = None,
) -> None:
    from provisioner import report
    from provisioner.inventory import load
    from provisioner.runner.run import Run
    from provisioner.workflows import go

    with _told(command if json else ""):
        _ignorable(ignore or ())
        inventory = load(path)
        _known(inventory, recreate or ())
        phases = workflow(inventory)
        with (
            report.observer(json=json, verbose=verbose) as observer,
            Run(inventory, observer, owner=_owner(), ignore=ignore or (), recreate=recreate or ()) as run,
        ):
            go(run, phases)
            result = run.report(command, drift_code=_DIFFERS if command == "plan" else 1)
        report.show(result, json=json, verbose=verbose)
        raise typer.Exit(result.exit_code)


def _known(inventory: Inventory, networks: Iterable[str]) -> None:
    """Names on the command line are those of the inventory."""
    from provisioner.errors import UsageError
    from provisioner.inventory.problems import code, nearest

    for name in networks:
        if name not in inventory.networks:
            raise UsageError(
                f"--recreate {code(name)}: the inventory has no network of this name{nearest(name, inventory.networks)}"
            )


def _unknown_cause(name: str) -> str:
    """What is wrong with the id of a cause on the command line; "" if there is one."""
    from provisioner.causes import CAUSES
    from provisioner.inventory.problems import code, nearest

    return "" if name in CAUSES else f"there is no cause {code(name)}{nearest(name, CAUSES)}"


def _ignorable(ignore: Iterable[str]) -> None:
    """Only warnings that there are can be left out."""
    from provisioner.causes import CAUSES
    from provisioner.errors import UsageError

    for name in ignore:
        if unknown := _unknown_cause(name):
            raise UsageError(f"--ignore: {unknown}", cure="provisioner causes lists all of them")
        if not CAUSES[name].ignorable:
            what = f"--ignore {name}: this cause stops a run, and only warnings can be left out"
            raise UsageError(what, cure=f"provisioner causes {name} says what to do about it")


def _owner() -> str:
    """Who runs this, for whoever meets its locks on a host."""
    import getpass
    import os
    import socket

    return f"{getpass.getuser()}@{socket.gethostname()}, process {os.getpid()}"


@contextlib.contextmanager
def _told(command: str) -> Iterator[None]:
    """Errors that a user can mend, in words; Ctrl-C as it is meant. command: of a run that owes a document (--json), or ""."""
    from provisioner.errors import ProvisionerError

    try:
        yield
    except ProvisionerError as error:
        text, code = str(error), error.exit_code
    except KeyboardInterrupt:
        text, code = "stopped; what had begun on a host is finished there. Run it again to go on.", _INTERRUPTED
    except EOFError as error:  # a bug, which click would take for the end of a terminal's input, and end without a word
        raise RuntimeError("the input of a command that reads none has ended") from error
    else:
        return
    print(text, file=sys.stderr)
    if command:
        from provisioner import report
        from provisioner.model import Report

        print(
            report.to_json(Report(command=command, cluster="", hosts=(), exit_code=code, seconds=0.0, errors=(text,)))
        )
    raise typer.Exit(code)


def main() -> None:
    """The command line; wrong words exit with 64, as sysexits.h has it."""
    from provisioner.report.standard import Standard

    standard = Standard()
    gc.set_threshold(50_000)  # a run is short: looking for garbage among the imports costs more than it finds
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of an exception: the terminal is left clean
    try:
        code = app(standalone_mode=False)
    except typer.Abort:
        code = 130
    except Exception as error:
        show = getattr(error, "show", None)  # click's errors; which module they are of depends on typer's version
        if show is None:
            raise
        show()
        code = _USAGE
    gc.freeze()  # else Python looks for garbage among all that was imported before it ends, which takes 0.1 s
    sys.exit(standard.exit_code(code or 0))
