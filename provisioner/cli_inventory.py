"""`provisioner inventory`: check a file, print the schema, and create a file from answers or other tools."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from provisioner import cli_manager, documentation
from provisioner.cli_access import Access, AskPassword, AskSudo
from provisioner.cli_names import VARIABLE, default
from provisioner.cli_options import expanded
from provisioner.cli_words import Group

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.errors import InventoryError
    from provisioner.inventory import Inventory
    from provisioner.inventory.importers import Found

app = typer.Typer(
    name="inventory",
    help="Check or create an inventory, or print its schema.",
    no_args_is_help=True,
    cls=Group,
    rich_markup_mode=None,
)
importing = typer.Typer(
    name="import",
    help="Print an inventory with the hosts of another tool. What could not be imported is reported on stderr.",
    no_args_is_help=True,
    cls=Group,
    rich_markup_mode=None,
)
app.add_typer(importing)

_File = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE",
        help=f"The inventory, a YAML file; `-` is standard input. Default: as {VARIABLE} names it, or cluster.yml.",
        show_default=False,
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
_Files = Annotated[bool, typer.Option("--files/--no-files", help="Check whether the key and binary files exist.")]
_Cluster = Annotated[
    str, typer.Option("--cluster", metavar="NAME", help="The cluster's name (default: the tool's name).")
]
_Network = Annotated[
    str,
    typer.Option(
        "--network", metavar="SUBNET", help="The network's subnet (default: 10.99.0.0/24, or the next free one)."
    ),
]
_Advertise = Annotated[
    str, typer.Option("--advertise", metavar="INTERFACE", help="The interface on which the hosts reach one another.")
]
_Engines = Annotated[
    str,
    typer.Option(
        "--engines", metavar="VERSION", help="Docker's version on the hosts; up to 20.10, the inventory gets a store."
    ),
]
_Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="PATTERN", help="Only hosts whose name matches, like 'web*'; repeatable."),
]
_Found = Annotated[
    str, typer.Argument(metavar="PATH", help="The source to read; `-` is standard input.", show_default=False)
]

_EXAMPLE = "inventories/three-hosts.yml"
_USAGE = 64
_STOPPED = 130
_STDIN, _STDIN_NAME = "-", "standard input"


@dataclass(frozen=True)
class _Wished:
    """The options that all imports but that of a swarm share."""

    cluster: _Cluster = ""
    network: _Network = ""
    advertise: _Advertise = ""
    only: _Only = None
    engines: _Engines = ""


@app.command()
def check(file: _File = None, *, json: _Json = False, files: _Files = True) -> None:
    """Report every error in FILE with its line; contact no host. Exit code 0: valid; 64: invalid."""
    from provisioner.errors import InventoryError

    try:
        inventory = _loaded(file or default(), files=files)
    except InventoryError as error:
        typer.echo(_refused_json(error) if json else "\n".join(error.problems))
        raise typer.Exit(error.exit_code) from None
    typer.echo(_sound_json(inventory) if json else _sound(inventory))


def _loaded(file: Path, *, files: bool) -> Inventory:
    from provisioner.inventory import load, load_bytes
    from provisioner.inventory.document import LARGEST_FILE

    if str(file) != _STDIN:
        return load(file, check_files=files)
    return load_bytes(sys.stdin.buffer.read(LARGEST_FILE + 1), Path(_STDIN_NAME), check_files=files)


@app.command()
def schema() -> None:
    """Print the JSON Schema (draft 2020-12) of an inventory."""
    from provisioner.inventory import schema as generated
    from provisioner.inventory.json_schema import as_text

    typer.echo(as_text(generated()), nl=False)


@app.command()
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The inventory to write.")] = Path("cluster.yml"),
    *,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    engines: _Engines = "",
) -> None:
    """Ask a few questions and write an inventory after the last answer. Ctrl-C stops without writing."""
    from provisioner.inventory import questions
    from provisioner.inventory.importers import cant, writing

    with _refusals():
        store = writing.store_for(engines) if engines else None
        questions.refuse_present(file, force=force)
        if not sys.stdin.isatty():
            raise cant(
                "inventory init",
                f"asks questions, but standard input is not a terminal; copy {documentation.path_of(_EXAMPLE)} instead",
            )
        try:
            text = questions.interview(questions.Terminal(_ask, typer.echo), file, store)
        except (typer.Abort, KeyboardInterrupt):  # at a question, or between two
            typer.echo("\nstopped; nothing is written", err=True)
            raise typer.Exit(_STOPPED) from None
        questions.write(file, text, force=force)
    typer.echo(f"{file} is written; next: provisioner plan {file}")


def _ask(question: str, default: str) -> str:
    return str(typer.prompt(question, default=default, show_default=bool(default)))


@importing.command()
@expanded
def vagrant(
    path: _Found = "",
    *,
    options: _Wished,
) -> None:
    """From the output of `vagrant ssh-config`. PATH has its output; by default, it runs in this folder."""
    from provisioner.inventory.importers import vagrant as tool

    with _refusals():
        text, name = _text(path) if path else (tool.printed(), "vagrant ssh-config")
        _print(tool.machines(text, name), "vagrant", options)


@importing.command()
@expanded
def docker_machine(
    path: _Found = "",
    *,
    options: _Wished,
) -> None:
    """From docker-machine's store: PATH, $MACHINE_STORAGE_PATH or ~/.docker/machine."""
    from provisioner.inventory.importers import docker_machine as tool

    with _refusals():
        found = tool.machines(Path(path) if path else tool.default_store())
        _print(found, "docker-machine", options)


@importing.command()
@expanded
def ansible(
    path: _Found = "",
    *,
    group: Annotated[str, typer.Option("--group", metavar="NAME", help="Only the hosts of this group.")] = "",
    trust: Annotated[
        bool,
        typer.Option("--trust", help="Let ansible-inventory read it, which executes its scripts and plugins."),
    ] = False,
    options: _Wished,
) -> None:
    """From an Ansible inventory: PATH, the one in ansible.cfg, ./hosts, ./inventory* or /etc/ansible/hosts.

    INI or YAML, a file or a folder, with group_vars and host_vars beside it; also the output of a script with --list.
    Without --trust, nothing is executed.
    """
    from provisioner.inventory.importers import ansible as tool
    from provisioner.inventory.importers import cant

    with _refusals():
        if trust and path == _STDIN:
            raise cant("ansible", "--trust needs a path: ansible-inventory reads files, not standard input")
        if trust:
            found = tool.trusted(Path(path) if path else None, group=group)
        elif path == _STDIN:
            found = tool.parsed(*_text(path), group=group)
        else:
            found = tool.machines((Path(path),) if path else tool.default_sources(), group=group)
        _print(found, "ansible", replace(options, cluster=options.cluster or group))


@importing.command()
@expanded
def ssh_config(
    path: _Found = "",
    *,
    options: _Wished,
) -> None:
    """From OpenSSH's configuration: PATH or ~/.ssh/config. Each Host without wildcards is a host; see --only."""
    from provisioner.inventory.importers import ssh_config as tool
    from provisioner.transport import ssh_config as of_ssh

    with _refusals():
        file = path or str(Path.home() / ".ssh" / "config")
        evaluate = None if path == _STDIN else partial(of_ssh.options_of, Path(file).absolute())
        found = tool.parsed(*_text(file), tool.Here.now(), evaluate)
        _print(found, "ssh-config", options)


@importing.command()
def swarm(
    manager: Annotated[
        str,
        typer.Argument(metavar="[USER@]HOST[:PORT]", help="A manager of the swarm. User: root.", show_default=False),
    ],
    *,
    key: cli_manager.Key = None,
    jump: cli_manager.Jump = "",
    known_hosts: cli_manager.KnownHosts = None,
    cluster: Annotated[
        str,
        typer.Option("--cluster", metavar="NAME", help="The cluster's name (default: the swarm's label, or swarm)."),
    ] = "",
    ask_password: AskPassword = False,
    ask_sudo_password: AskSudo = False,
) -> None:
    """From a swarm, however it was built. Only the manager is logged in to, and nothing is changed.

    Exit code 0: the inventory is printed. 1: the manager can't be queried. 64: it is no manager, or an option is invalid.
    """
    from provisioner.errors import InventoryError, ProvisionerError
    from provisioner.inventory.importers import swarm_text

    with _refusals():
        try:
            surveyed = cli_manager.survey(
                cli_manager.Login(manager, key, jump, known_hosts), Access(ask_password, ask_sudo_password)
            )
            text, notes = swarm_text.written(surveyed.swarm, surveyed.login.ssh, surveyed.login.address, cluster)
        except InventoryError:
            raise
        except ProvisionerError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(error.exit_code) from None
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(text, nl=False)


def _text(path: str) -> tuple[str, str]:
    """The text of a source and its name. Raises InventoryError."""
    from provisioner.inventory.importers.found import decoded, text_of

    if path == _STDIN:
        return decoded(sys.stdin.buffer, _STDIN_NAME), _STDIN_NAME
    return text_of(Path(path)), path


def _print(found: Found, kind: str, wished: _Wished) -> None:
    """Print the inventory on stdout and notes on stderr; no inventory if it would be invalid. Raises InventoryError."""
    from provisioner.inventory import importers

    wishes = importers.Wishes(wished.cluster or kind, wished.network, wished.advertise, wished.engines)
    done = importers.imported(importers.only(found, tuple(wished.only or ())), wishes, kind)
    for note in done.notes:
        typer.echo(f"note: {note}", err=True)
    if not done.hosts:
        raise importers.cant(kind, "no host is left; see the notes and `--only`" if found.machines else "names no host")
    importers.refuse_unsound(done.text)
    typer.echo(done.text, nl=False)


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Report errors of the source or of an option on stderr; exit code 64."""
    from provisioner.errors import InventoryError

    try:
        yield
    except InventoryError as error:
        for problem in error.problems:
            typer.echo(problem, err=True)
        raise typer.Exit(_USAGE) from None


def _sound(inventory: Inventory) -> str:
    """Two lines about a valid inventory: its hosts and networks, and what `up` makes of them."""
    hosts = f"{len(inventory.hosts)} host{'s' * (len(inventory.hosts) > 1)}"
    subnets = ", ".join(f"{name} {network.subnet or network.driver}" for name, network in inventory.networks.items())
    plural = "s" * (len(inventory.networks) > 1)
    return f"ok: cluster {inventory.cluster}, {hosts}, network{plural} {subnets}\n{_plane(inventory)}"


def _plane(inventory: Inventory) -> str:
    """One line: what connects the engines, and with which versions of Docker."""
    from provisioner import stores

    servers, store = ", ".join(inventory.servers), inventory.store
    if not store:
        manager = "managers" if len(inventory.servers) > 1 else "manager"
        return f"    swarm mode, for Docker of any version (required from 23.0 on); {manager}: {servers}"
    where = f"on {servers}" if servers else f"at {', '.join(map(str, store.endpoints or ()))}"
    other = "" if inventory.control_plane == "kv" else "; swarm mode if a host has a later version"
    return f"    {stores.of(store).title} {where} as the store, for Docker up to 20.10{other}"


def _sound_json(inventory: Inventory) -> str:
    import json

    return json.dumps(
        {
            "ok": True,
            "file": str(inventory.path),
            "cluster": inventory.cluster,
            "hosts": list(inventory.hosts),
            "control_plane": inventory.control_plane,
            "store": inventory.store.kind if inventory.store else None,
            "servers": list(inventory.servers),
            "networks": {name: str(network.subnet or "") for name, network in inventory.networks.items()},
            "problems": [],
            "places": [],
        }
    )


def _refused_json(error: InventoryError) -> str:
    import json

    places = [{"line": line or None, "column": column or None, "text": text} for line, column, text in error.places]
    return json.dumps({"ok": False, "file": error.path, "problems": list(error.problems), "places": places})
