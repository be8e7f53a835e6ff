"""The command line: arguments, wiring and exit codes. Commands import what they need when they run, so --help is quick."""

from __future__ import annotations

import contextlib
import functools
import gc
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Never

import typer

from provisioner import __version__, cli_collect, cli_manager, cli_names, cli_words, documentation
from provisioner.cli_access import on_terminal
from provisioner.cli_inventory import app as inventory_app
from provisioner.cli_lab import app as lab_app
from provisioner.cli_options import FileOptions, Options, PlanOptions, StatusOptions, expanded, typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from provisioner.inventory import Inventory
    from provisioner.model import Fix, Report
    from provisioner.proofs import Choice
    from provisioner.workflows import Phase

app = typer.Typer(
    name="provisioner",
    help="Build and prove a multi-host Docker network on the Linux hosts of an inventory.",
    epilog=f"\b\nDocuments: {documentation.folder() or 'not installed'}",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    cls=cli_words.Group,
    rich_markup_mode=None,  # importing rich takes three quarters of the time of --help
)
app.add_typer(inventory_app, name="inventory")
app.add_typer(lab_app, name="lab")

_PAUSES = (5, 10, 20)  # seconds before `doctor --fix` looks again

_Inventory = Annotated[
    Path | None,
    typer.Argument(
        metavar="INVENTORY",
        help=f"The YAML file that names the hosts. Default: the one that {cli_names.VARIABLE} names, or cluster.yml.",
        show_default=False,
    ),
]
_Unnamed = Annotated[
    bool,
    typer.Option(
        "--yes", help="Do not ask. Only a command line without an inventory asks, and needs a terminal for it."
    ),
]
_All = Annotated[bool, typer.Option("--all", help="Also prove the built-in networks bridge, none and host.")]
_Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="PATTERN",
        autocompletion=cli_names.complete_scope,
        help="Run only these proofs and observations (overlay/demo, 'dns/*', underlay, kernel), or report only these causes"
        " (vxlan-blocked); repeatable.",
    ),
]
_Skip = Annotated[
    list[str] | None,
    typer.Option(
        "--skip",
        metavar="PATTERN",
        autocompletion=cli_names.complete_scope,
        help="Leave out these proofs, observations or causes; repeatable.",
    ),
]
_Hold = Annotated[
    int | None,
    typer.Option(
        "--hold",
        metavar="SECONDS",
        min=0,
        max=86400,
        help="Hold connections between containers of an overlay for at least so long, to see interruptions.",
    ),
]
_Strict = Annotated[bool, typer.Option("--strict", help="Fail also if there are only warnings.")]
_List = Annotated[bool, typer.Option("--list", help="List the proofs without running them or connecting to a host.")]
_Recreate = Annotated[
    list[str] | None,
    typer.Option(
        "--recreate",
        metavar="NETWORK",
        autocompletion=cli_names.complete_networks,
        help="Recreate this network if it differs from the inventory and no container is connected; repeatable.",
    ),
]


def _instead(cure: str) -> typer.models.OptionInfo:
    """The option --dry-run of other programs, which is refused. cure: what does the same here."""

    def refuse(*, wanted: bool) -> None:
        if wanted:
            raise typer.BadParameter(f"there is no such option; {cure}", param_hint="--dry-run")

    found: typer.models.OptionInfo = typer.Option(
        "--dry-run", "--check", hidden=True, is_eager=True, callback=lambda value: refuse(wanted=value)
    )
    return found


_DryUp = Annotated[bool, _instead("to see what would change, and change nothing: provisioner plan INVENTORY")]
_DryRun = Annotated[bool, _instead("to see what would change, and change nothing, add --plan")]
_Limit = Annotated[
    str | None,
    typer.Option(
        "--limit",
        metavar="HOST,...",
        autocompletion=cli_names.complete_host_list,
        help="Read all hosts, but change, compare, prove and report only these, with their paths to the others.",
    ),
]
_DIFFERS, _USAGE, _INTERRUPTED = 2, 64, 130


@app.command()
@expanded
def up(
    inventory: _Inventory = None,
    *,
    recreate: _Recreate = None,
    limit: _Limit = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask. Without a terminal, nobody is asked.")] = False,
    _: _DryUp = False,
    options: FileOptions,
) -> None:
    """Build the networks on the hosts and prove them. A second run changes nothing.

    On a terminal, it shows the changes and asks first. To see them without being asked, use `plan`.

    Exit code 0: the hosts match the inventory, and the networks are proven. 1: something failed, or the answer was no.
    64: invalid inventory.
    """

    def workflow(_: Inventory) -> Iterable[Phase]:
        from provisioner.workflows.up import phases

        return phases(functools.partial(_confirm, options=options) if on_terminal() and not yes else None)

    if recreate and limit is not None:
        raise typer.BadParameter("changes a network on all hosts, so --limit can't be used", param_hint="--recreate")
    _run(inventory, "up", workflow, options, recreate=recreate, limit=limit)


@app.command()
@expanded
def plan(inventory: _Inventory = None, *, limit: _Limit = None, options: PlanOptions) -> None:
    """Show what `up` would change on each host; change nothing. With --diff, whole files and rules.

    Exit code 0: nothing to change. 2: there are changes to make. 1: a host could not be checked. 64: invalid inventory.
    """

    def workflow(_: Inventory) -> Iterable[Phase]:
        from provisioner.workflows.plan import PHASES

        return PHASES

    _run(inventory, "plan", workflow, options, limit=limit, makes="up")


@app.command()
@expanded
def verify(
    inventory: _Inventory = None,
    *,
    all_: _All = False,
    only: _Only = None,
    skip: _Skip = None,
    limit: _Limit = None,
    hold: _Hold = None,
    strict: _Strict = False,
    list_: _List = False,
    options: FileOptions,
) -> None:
    """Compare the hosts with the inventory, observe them, and prove the networks between them; repair nothing.

    Exit code 0: the hosts match, all proofs that ran succeeded, and no cause was found, or only warnings (with --strict, none either).
    1: otherwise. 64: invalid inventory or pattern.
    """
    from provisioner import proofs

    choice = proofs.Choice(tuple(only or ()), tuple(skip or ()), builtin=all_, hold=hold)
    if list_:
        if options.junit or options.html or options.log or limit is not None:
            raise typer.BadParameter("connects to no host, so there is no report", param_hint="--list")
        _list(inventory, choice, options)
        return

    def workflow(found: Inventory) -> Iterable[Phase]:
        from provisioner.workflows.verify import phases

        return phases(found, choice, strict=strict)

    _run(inventory, "verify", workflow, options, limit=limit)


@app.command()
@expanded
def doctor(
    inventory: _Inventory = None,
    *,
    manager: Annotated[
        str,
        typer.Option(
            "--manager",
            metavar="[USER@]HOST[:PORT]",
            help="Instead of an inventory: a manager of a swarm that somebody else built. User: root.",
        ),
    ] = "",
    reach_nodes: Annotated[
        bool,
        typer.Option(
            "--reach-nodes",
            help="With --manager: log in to all nodes that it names. Without this, a terminal is asked.",
        ),
    ] = False,
    key: cli_manager.Key = None,
    jump: cli_manager.Jump = "",
    known_hosts: cli_manager.KnownHosts = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Run the cures that are safe, each after a question, and look again.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --fix: do not ask; required without a terminal.")] = False,
    collect: cli_collect.Collect = None,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Also record why the kernels drop packets, with their tracing, for some seconds; and compare a swarm's gossip"
            " tables, if its engines show them.",
        ),
    ] = False,
    all_: _All = False,
    only: _Only = None,
    skip: _Skip = None,
    limit: _Limit = None,
    hold: _Hold = None,
    options: FileOptions,
) -> None:
    """Find out why the networks do not work: observe hosts and paths, prove the networks, and name the causes.

    With an inventory and --fix, it runs cures; otherwise it changes nothing.

    Exit code 0: no cause was found or is left, or only warnings. 1: a cause was found or is left. 64: invalid inventory or pattern, no
    manager, or no terminal to ask on.
    """
    from provisioner import proofs
    from provisioner.model import State

    if yes and not fix:
        raise typer.BadParameter("applies to --fix only", param_hint="--yes")
    for option, value in (("--fix", fix), ("--limit", limit is not None)):
        if value and manager:
            raise typer.BadParameter("applies to an inventory only", param_hint=option)
    choice = proofs.Choice(tuple(only or ()), tuple(skip or ()), builtin=all_, hold=hold)
    login = cli_manager.Login(manager, key, jump, known_hosts)
    if inventory and manager:
        raise typer.BadParameter("name either an inventory or --manager", param_hint="INVENTORY")
    if manager:
        _examine(login, choice, collect, options, deep=deep, reach=reach_nodes)
        return
    if reach_nodes or login[1:] != cli_manager.Login("")[1:]:
        raise typer.BadParameter(
            "applies with --manager only", param_hint="--reach-nodes, --key, --jump, --known-hosts"
        )

    from provisioner.workflows.doctor import phases

    def workflow(found: Inventory) -> Iterable[Phase]:
        return phases(found, choice, collector.begin(found), deep=deep)

    run = functools.partial(_report, inventory, "doctor", options=options, limit=limit)
    collector = cli_collect.Collector(collect)
    with _reported("doctor", options), collector:
        if fix and not yes:
            _need_terminal("doctor --fix asks before it runs a cure", "run it without --fix, or with --yes")
        result = collector.finish(run(workflow))
        # One cause can hide another one, so what a round finds is offered too, unless it was offered before.
        while fix and (fixes := _agreed_fixes(result, options, yes=yes)):
            result = replace(result, fixes=(*result.fixes, *fixes))
            if all(each.state is State.SKIPPED for each in fixes):
                _end_shown(result, options)
            result = _added(result, run(functools.partial(_repair, choice=choice, before=result)))
            result = _recovered(result, lambda: run(lambda found: phases(found, choice, deep=deep)))
        _show(result, options)


def _repair(found: Inventory, choice: Choice, before: Report) -> Iterable[Phase]:
    from provisioner.workflows.doctor import fixing

    return fixing(found, choice, before)


def _recovered(result: Report, look: Callable[[], Report]) -> Report:
    """Look again while proofs still see what may only need time: after a cure, engines learn names within half a minute."""
    from provisioner.causes.proofs import SYMPTOMS

    for pause in _PAUSES:
        if not result.causes or any(cause.id not in SYMPTOMS for cause in result.causes):
            break
        print(f"looking again in {pause} s", file=sys.stderr)
        time.sleep(pause)
        result = replace(_added(result, look()), fixes=result.fixes)
    return result


def _added(before: Report, after: Report) -> Report:
    """The later of two reports, with the time and the writes of both, and the archive of the first."""
    seconds, writes = before.seconds + after.seconds, before.writes + after.writes
    return replace(after, seconds=seconds, writes=writes, archive=before.archive)


def _end_shown(result: Report, options: Options) -> Never:
    """End with a report that was shown to people already, since they want no more cures."""
    from provisioner import report
    from provisioner.model import State

    skipped = all(fix.state is State.SKIPPED for fix in result.fixes)
    print("nothing was changed" if skipped else "no other cure was run", file=sys.stderr)
    if options.json:
        print(report.to_json(result))
    raise typer.Exit(options.files.write(result))


def _show(result: Report, options: Options) -> Never:
    from provisioner import report

    report.show(result, json=options.json, verbose=options.verbose)
    raise typer.Exit(options.files.write(result))


def _agreed_fixes(found: Report, options: Options, *, yes: bool) -> tuple[Fix, ...]:
    """Show the causes, and ask for each cure that was not offered before. Returns all of these; unwanted ones are skipped."""
    from provisioner.explain.fixes import plan
    from provisioner.model import State
    from provisioner.report.fixes import question

    offered = {fix.key for fix in found.fixes}
    fixes = [fix for fix in plan(found.causes) if fix.key not in offered]
    if fixes:
        _show_beside(found, options)
    for number, fix in enumerate(fixes):
        if found.limit and fix.host not in found.limit:
            fixes[number] = replace(fix, state=State.SKIPPED, reason="--limit does not name this host")
        elif not yes and not _agreed(question(fix)):
            fixes[number] = replace(fix, state=State.SKIPPED, reason="not confirmed")
    return tuple(fixes)


def _need_terminal(what: str, cure: str) -> None:
    from provisioner.errors import UsageError

    if not on_terminal():
        raise UsageError(f"{what}, but there is no terminal; nothing was changed", cure=cure)


def _examine(
    login: cli_manager.Login,
    choice: Choice,
    collect: Path | None,
    options: Options,
    *,
    deep: bool,
    reach: bool,
) -> None:
    """Examine the swarm of a manager. The user must agree before anything logs in to the nodes that it names."""
    with _reported("doctor", options):
        _ignorable(options.ignore or ())
        surveyed = cli_manager.survey(
            login, options.access, json=options.json, verbose=options.verbose, log=options.files.log
        )
        reach = reach or cli_manager.agreed(surveyed)
        others = [] if reach else [f"{name} ({address})" for name, address in surveyed.others]
        unusable = [f"{node.name}: {node.left_out}" for node in surveyed.swarm.unexamined]

        def workflow(found: Inventory) -> Iterable[Phase]:
            from provisioner.workflows.doctor import Unexamined, of_swarm

            unexamined = Unexamined(others, unusable, led=surveyed.swarm.led)
            return of_swarm(found, choice, unexamined, collector.begin(found), deep=deep)

        found = surveyed.inventory(reach=reach)
        with cli_collect.Collector(collect) as collector:
            report = _report(found, "doctor", workflow, options)
            report = replace(report, call=replace(report.call, manager=login.words))
            _show(collector.finish(report), options)


def _list(path: Path | None, choice: Choice, options: Options) -> None:
    from provisioner import proofs
    from provisioner.inventory import load
    from provisioner.report.listing import Listing, show_list

    with _reported("verify", options):
        file = cli_words.inventory(path, "verify")
        inventory = load(file, check_files=False)
        units = proofs.units(inventory)
        with cli_words.naming(str(file)):
            chosen = choice.of(units)
        show_list(Listing(inventory, units, chosen), json=options.json)


@app.command()
@expanded
def rotate(
    what: Annotated[
        str,
        typer.Argument(
            metavar="|".join(cli_names.SECRETS),
            autocompletion=cli_names.complete_secrets,
            help="Which secrets to replace: Consul's, or certificates of etcd.",
            show_default=False,
        ),
    ],
    inventory: _Inventory = None,
    *,
    ca: Annotated[bool, typer.Option("--ca", help="With certificates: also replace the authority.")] = False,
    yes: _Unnamed = False,
    options: Options,
) -> None:
    """Replace the store's secrets.

    Hosts follow one after the other. Run an interrupted rotation again. With Consul, the networks work throughout. With etcd,
    each engine restarts, and its containers stop meanwhile unless it has live-restore.

    Exit code 0: all hosts have the new secrets, and the networks are proven. Old gossip keys and tokens are then revoked. Old
    certificates are revoked only with --ca; without it, and with etcd, they stay valid until they expire.
    """
    if ca and what != "certificates":
        raise typer.BadParameter("applies to certificates only", param_hint="--ca")
    with _reported("rotate", options):
        cli_words.in_order("rotate", what, inventory)
        cli_words.secret(what)
        _ask_if_unnamed(inventory, "rotate", f"Replace the {what} of its cluster?", yes=yes)

    def workflow(_: Inventory) -> Iterable[Phase]:
        from provisioner.workflows.rotate import phases

        return phases(what, authority=ca)

    _run(inventory, f"rotate {what}", workflow, options)


@app.command()
@expanded
def status(inventory: _Inventory = None, *, options: StatusOptions) -> None:
    """List engines, stores and networks.

    Exit code 0: every host answered, and so did each engine and store that runs. 1: something did not answer.
    """

    def workflow(_: Inventory) -> Iterable[Phase]:
        from provisioner.workflows.status import PHASES

        return PHASES

    _run(inventory, "status", workflow, options)


@app.command()
@expanded
def remove(
    host: Annotated[
        str,
        typer.Argument(
            metavar="HOST",
            help="Its name; or its address, if the inventory no longer has it.",
            autocompletion=cli_names.complete_hosts,
        ),
    ],
    inventory: _Inventory = None,
    *,
    plan: Annotated[bool, typer.Option("--plan", help="Show the changes; make none.")] = False,
    _: _DryRun = False,
    drain: Annotated[
        bool, typer.Option("--drain", help="Disconnect its containers from the cluster's networks; they keep running.")
    ] = False,
    yes: _Unnamed = False,
    options: PlanOptions,
) -> None:
    """Remove a host from the cluster, whether it is alive or gone, and prove the rest.

    Nothing is done if the store would lose its quorum.

    Exit code 0: the host is removed, and the networks of the others are proven. 1: something failed. 64: invalid inventory.
    With --plan, 2: there are changes to make.
    """

    def workflow(whole: Inventory) -> Iterable[Phase]:
        from provisioner.workflows import remove

        removal = remove.Removal(whole, host, drain=drain)
        return remove.plan(removal) if plan else remove.phases(removal)

    command = "plan" if plan else "remove"
    with _reported(command, options):
        cli_words.in_order("remove", host, inventory)
        _ask_if_unnamed(inventory, "remove", f"Remove {host} from its cluster?", yes=yes or plan)
    _run(inventory, command, workflow, options, makes=typed("remove", host, drain=drain) if plan else "")


@app.command("causes")
def list_causes(
    cause: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="The id of one cause, as findings name it.",
            show_default=False,
            autocompletion=cli_names.complete_causes,
        ),
    ] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    """List the causes that provisioner recognises, or explain one: why networks fail because of it, and what to do.

    Exit code 0, or 64: there is no cause with this id.
    """
    from provisioner.causes import CAUSES
    from provisioner.errors import UsageError
    from provisioner.report.catalogue import show_causes

    with _reported("causes", Options()):
        if cause is not None and (unknown := _unknown_cause(cause)):
            raise UsageError(unknown, cure="provisioner causes lists all of them")
        show_causes(CAUSES[cause] if cause is not None else None, json=json)


@app.command()
@expanded
def down(
    inventory: _Inventory = None,
    *,
    plan: Annotated[bool, typer.Option("--plan", help="Show the changes; make none.")] = False,
    _: _DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; required without a terminal.")] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Disconnect containers, which keep running; leave a swarm with services, or of another cluster.",
        ),
    ] = False,
    data: Annotated[bool, typer.Option("--data", help="Also delete the store's data.")] = False,
    packages: Annotated[
        bool, typer.Option("--packages", help="Also remove the packages that a run installed.")
    ] = False,
    unrecorded: Annotated[
        bool,
        typer.Option("--unrecorded", help="Also remove what an earlier version may have created without a record."),
    ] = False,
    options: PlanOptions,
) -> None:
    """Put all hosts back as they were found, without the networks, the store or swarm, and all files and rules.

    It shows the changes and asks first.

    Exit code 0: done, or nothing to do. 1: something failed, a host was unreachable, or the answer was no. 64: invalid
    inventory, or no terminal to ask on. With --plan, 2: there are changes to make.
    """

    def workflow(_: Inventory, *, look: bool = plan, also: bool = unrecorded) -> Iterable[Phase]:
        from provisioner.workflows import down as of_down

        asked = of_down.Down(force=force, data=data, packages=packages, unrecorded=also)
        return of_down.plan(asked) if look else of_down.phases(asked)

    also = unrecorded
    if not plan and not yes:
        with _reported("down", options):
            also |= _ask(inventory, functools.partial(workflow, look=True), options)
    wanted = typed("down", force=force, data=data, packages=packages, unrecorded=unrecorded)
    final = functools.partial(workflow, also=also)
    _run(inventory, "plan" if plan else "down", final, options, makes=wanted if plan else "")


def _ask_if_unnamed(inventory: Path | None, command: str, question: str, *, yes: bool) -> None:
    """Ask before a command takes something from a cluster that the command line does not name. Raises ProvisionerError unless a person agrees."""
    if inventory is not None or yes:
        return
    path = cli_words.inventory(None, command)
    what = f"{command} asks before it changes the cluster of {path}, which the command line does not name"
    _need_terminal(what, "name the file, or add --yes")
    _need_yes(f"{path.absolute()}: {question}")


def _ask(path: Path | None, workflow: Callable[[Inventory], Iterable[Phase]], options: Options) -> bool:
    """Show the changes and ask. Raises ProvisionerError unless a person on a terminal agrees, and ends if a finding stops the run.

    A separate question covers what an earlier version may have created without a record. If there is nothing to change,
    there is no question; the run that follows reports it.

    Returns: whether to remove what has no record, too.
    """
    from provisioner.model import State
    from provisioner.report.verdict import stopped

    file = cli_words.inventory(path, "down")
    if file.exists():  # otherwise, the run reports that first
        _need_terminal(
            "down asks before it removes anything", "look at the changes with --plan, then run it with --yes"
        )
    planned = _report(path, "plan", workflow, options)
    if stopped(planned):
        _show(replace(planned, command="down", outcomes=()), options)
    candidates = [f"{found.host}: {found.evidence}\n" for found in planned.findings if found.id == "unrecorded"]
    changes = any(outcome.state is State.DRIFTED for outcome in planned.outcomes)
    if changes:
        _confirm(planned, options=options, file=file)
    elif candidates:
        _show_beside(planned, options)
    return bool(candidates) and _agreed(f"{''.join(candidates)}Remove these too?")


def _confirm(planned: Report, *, options: Options, again: bool = False, file: Path | None = None) -> None:
    """Show the changes and ask. Raises ProvisionerError unless a person agrees.

    again: what was shown before is outdated. file: the inventory, to be named in the question.
    """
    _show_beside(planned, options)
    whose = f" to the hosts of {file.absolute()}" if file else ""
    _need_yes(f"{'The hosts have changed meanwhile. ' if again else ''}Make these changes{whose}?")


def _need_yes(question: str) -> None:
    """Ask, and raise ProvisionerError unless a person agrees."""
    from provisioner.errors import ProvisionerError

    if not _agreed(question):
        raise ProvisionerError("not confirmed; nothing was changed", cause="not-confirmed")


def _show_beside(shown: Report, options: Options) -> None:
    """Show people a report that is not the command's last one. With --json, the document of the last one has stdout for itself."""
    from provisioner import report

    report.show(shown, out=sys.stderr if options.json else sys.stdout, verbose=options.verbose)


def _agreed(question: str) -> bool:
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


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
    source: Path | Inventory | None,
    command: str,
    workflow: Callable[[Inventory], Iterable[Phase]],
    options: Options,
    *,
    recreate: list[str] | None = None,
    limit: str | None = None,
    makes: str = "",
) -> None:
    with _reported(command, options):
        _show(_report(source, command, workflow, options, recreate=recreate, limit=limit, makes=makes), options)


def _report(
    source: Path | Inventory | None,
    command: str,
    workflow: Callable[[Inventory], Iterable[Phase]],
    options: Options,
    *,
    recreate: list[str] | None = None,
    limit: str | None = None,
    makes: str = "",
) -> Report:
    """Run a workflow over an inventory and return its report. Raises ProvisionerError."""
    from provisioner import report
    from provisioner.report.addressed import addressed
    from provisioner.runner.run import Run
    from provisioner.workflows import go

    access, ignore = options.access, options.ignore or ()
    _ignorable(ignore)
    inventory, file, found = _loaded(source, command)
    _known(inventory, recreate or ())
    limited = _hosts(inventory, limit)
    inventory, notes = access.reached(inventory, *found)
    with cli_words.naming(file):
        phases = workflow(inventory)
        with (
            report.observer(json=options.json, verbose=options.verbose, log=options.files.log) as observer,
            Run(inventory, observer, _owner(), ignore, recreate or (), limited, access.secrets) as run,
        ):
            run.session.notice(*notes)
            go(run, phases)
            ended = run.report(command, drift_code=_DIFFERS if command == "plan" else 1)
    return addressed(replace(ended, call=options.call(file, makes)))


def _loaded(source: Path | Inventory | None, command: str) -> tuple[Inventory, str, tuple[str, ...]]:
    """Return the inventory, the path of its file if it has one, and lines for people. Raises InventoryError, UsageError."""
    from provisioner.inventory import load

    if source is None or isinstance(source, Path):
        path = cli_words.inventory(source, command)
        return load(path), str(path), () if source else (f"inventory: {path}",)
    return source, "", ()


def _known(inventory: Inventory, networks: Iterable[str]) -> None:
    """Raise UsageError for a network that the inventory does not have."""
    from provisioner.errors import UsageError
    from provisioner.inventory.problems import code, nearest

    for name in networks:
        if name not in inventory.networks:
            raise UsageError(
                f"--recreate {code(name)}: the inventory has no network of this name{nearest(name, inventory.networks)}"
            )


def _hosts(inventory: Inventory, limit: str | None) -> tuple[str, ...]:
    """Return the hosts that --limit names, in the inventory's order. Raises UsageError for a host that the inventory does not have."""
    from provisioner.errors import UsageError
    from provisioner.inventory.problems import code, nearest

    names = [] if limit is None else [name.strip() for name in limit.split(",")]
    for name in names:
        if name not in inventory.hosts:
            what = f"--limit {code(name)}: the inventory has no host of this name{nearest(name, inventory.hosts)}"
            raise UsageError(what, cure="name hosts as in the inventory, separated by commas")
    return tuple(name for name in inventory.hosts if name in names)


def _unknown_cause(name: str) -> str:
    """Say what is wrong with the id of a cause on the command line; "" if the id is known."""
    from provisioner.causes import CAUSES
    from provisioner.inventory.problems import code, nearest

    return "" if name in CAUSES else f"there is no cause {code(name)}{nearest(name, CAUSES)}"


def _ignorable(ignore: Iterable[str]) -> None:
    """Raise UsageError for an id that is unknown or never a warning."""
    from provisioner.causes import CAUSES
    from provisioner.errors import UsageError

    for name in ignore:
        if unknown := _unknown_cause(name):
            raise UsageError(f"--ignore: {unknown}", cure="provisioner causes lists all of them")
        if not CAUSES[name].ignorable:
            what = f"--ignore {name}: this cause stops a run, and only warnings can be hidden"
            raise UsageError(what, cure=f"provisioner causes {name} explains what to do about it")


def _owner() -> str:
    """Identify the user and process of this run. Other runs that find its lock on a host show this text."""
    import getpass
    import os
    import socket

    return f"{getpass.getuser()}@{socket.gethostname()}, process {os.getpid()}"


@contextlib.contextmanager
def _reported(command: str, options: Options) -> Iterator[None]:
    """Open the files at the first time, report errors that a user can fix as text, and handle Ctrl-C. With --json: print a document in these cases, too."""
    with _failing(command, options):
        options.files.open(command)
        yield


@contextlib.contextmanager
def _failing(command: str, options: Options) -> Iterator[None]:
    from provisioner.errors import ProvisionerError
    from provisioner.model import Failure, Report

    try:
        yield
    except ProvisionerError as error:
        failure, code = Failure.of(error), error.exit_code
    except KeyboardInterrupt:
        text = "stopped; scripts that already run on hosts will finish. Run the command again to continue."
        failure, code = Failure(text, "interrupted"), _INTERRUPTED
    except EOFError as error:  # a bug; click would mistake it for the end of a terminal's input and exit silently
        raise RuntimeError("unexpected end of input in a command that reads no input") from error
    else:
        return
    print(failure.whole, file=sys.stderr)
    failed = Report(command=command, cluster="", hosts=(), exit_code=code, seconds=0.0, errors=(failure,))
    if options.json:
        from provisioner import report

        print(report.to_json(failed))
    raise typer.Exit(options.files.write(failed))


def _keep_only(words: list[str]) -> None:
    """Forget all other commands if the first word is a command or a group: typer would prepare them, which takes 10 ms."""
    commands = [of for of in app.registered_commands if (of.name or getattr(of.callback, "__name__", "")) in words]
    groups = [of for of in app.registered_groups if of.name in words]
    if commands or groups:
        app.registered_commands, app.registered_groups = commands, groups


def main() -> None:
    """The command line. A wrong command line exits with 64, as in sysexits.h."""
    from provisioner.report.standard import Standard

    standard = Standard()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # with an exception, so the terminal is restored
    everything = app.registered_commands, app.registered_groups
    _keep_only(sys.argv[1:2])
    try:
        code = app(standalone_mode=False)
    except typer.Abort:
        code = 130
    except Exception as error:
        if not hasattr(error, "show"):  # click's errors have it; their module depends on typer's version
            raise
        app.registered_commands, app.registered_groups = everything
        cli_words.sharpened(error, lambda: typer.main.get_command(app)).show()
        code = _USAGE
    gc.freeze()  # otherwise Python collects all imported objects at exit, which takes 0.1 s
    sys.exit(standard.exit_code(code or 0))
