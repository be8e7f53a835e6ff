"""The commands of `provisioner lab`: arguments and output."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from provisioner import cli_names, cli_words, labs
from provisioner.cli_access import LAB
from provisioner.errors import ProvisionerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.lab import Lab

app = typer.Typer(
    help="Create real hosts on this machine, to learn and to test. Needs root.",
    no_args_is_help=True,
    cls=cli_words.Group,
    rich_markup_mode=None,
)

NewName = Annotated[str, typer.Option("--name", "-n", help="The lab's name; several labs can run at the same time.")]
Name = Annotated[
    str | None,
    typer.Option(
        "--name",
        "-n",
        help="The lab's name. Default: the only lab.",
        show_default=False,
        autocompletion=cli_names.complete_labs,
    ),
]
Host = Annotated[str, typer.Argument(help="node1, node2, ...", autocompletion=cli_names.complete_lab_hosts)]
Hosts = Annotated[
    list[str], typer.Argument(help="node1, node2, ...; one or more.", autocompletion=cli_names.complete_lab_hosts)
]

# Errors that come from the state of the machine, not from a bug.
_OF_THE_MACHINE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE})

# Words after `--` belong to the command, including options.
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}


@contextlib.contextmanager
def _reported(*, root: bool = True) -> Iterator[None]:
    """Print errors that a user can fix on stderr, and exit."""
    from provisioner.lab.machine import require_root

    try:
        if root:
            require_root()
        yield
    except ProvisionerError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        if error.errno not in _OF_THE_MACHINE:
            raise
        print(f"{error.filename or 'the lab'}: {error.strerror}", file=sys.stderr)
        raise typer.Exit(1) from None


def _chosen(name: str | None) -> Lab:
    """Return the lab of this name; without a name, the only lab, which is named if a person may expect another one."""
    from provisioner.lab import Lab

    if name is not None:
        return Lab(name)
    lab = Lab.only()
    if lab.name != labs.DEFAULT_NAME:
        _say(f"lab {lab.name}, the only one")
    return lab


def _open(name: str | None) -> Lab:
    from provisioner.lab import Lab

    return Lab.open(_chosen(name).name)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@app.command()
def up(
    hosts: Annotated[int, typer.Option(min=1, max=200, help="The number of hosts: node1, node2, ...")] = 3,
    image: Annotated[
        str,
        typer.Option(
            help="engine-20.10 (Docker and Consul, Debian 11), bare (sshd only), engine-26 or engine-28 (Debian 13), ...",
            autocompletion=cli_names.complete_images,
        ),
    ] = "engine-20.10",
    name: NewName = labs.DEFAULT_NAME,
    topology: Annotated[
        str,
        typer.Option(
            metavar="flat|routed|nat",
            autocompletion=cli_names.complete_topologies,
            help="One segment, two segments with a router between them, or the same with NAT on the router.",
        ),
    ] = "flat",
) -> None:
    """Create a lab and wait until its hosts have booted. The first time, building images takes one or two minutes."""
    from provisioner.lab import IMAGES, Lab, Topology

    for what, chosen, known in (("image", image, IMAGES), ("topology", topology, tuple(Topology))):
        if chosen not in known:
            raise typer.BadParameter(f"there is no {what} {chosen!r}; choose one of {', '.join(known)}")
    with _reported():
        lab = Lab.up(name, hosts, image, topology=Topology(topology), say=_say)
        shown = "" if labs.names() == [labs.DEFAULT_NAME] else f" --name {name}"
        for host in lab.status().hosts:
            print(f"{host.name}  {host.address}  {host.image}")
        print(f"next: provisioner lab ssh{shown} node1, or provisioner lab inventory{shown} > {name}.yml and")
        print(f"      provisioner lab run{shown} -- provisioner up {name}.yml")


@app.command()
def down(name: Name = None) -> None:
    """Remove a lab, and whatever a killed `up` left behind. Images stay."""
    from provisioner.inventory.problems import nearest

    with _reported():
        lab = _chosen(name)
        if not lab.down():
            _say(f"there is no lab {lab.name!r}{nearest(lab.name, labs.names())}")


@app.command("list")
def list_labs(*, json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List all labs of this machine and their hosts."""
    from provisioner.lab import Lab

    with _reported(root=False):
        found = Lab.all()
        if json:
            _print_json([lab.as_dict() for lab in found])
            return
        for lab in found:
            shape = "" if lab.topology == "flat" else f"  {lab.topology}"
            state = "" if lab.ready else f"  (incomplete: provisioner lab down --name {lab.name})"
            print(f"{lab.name}  {lab.folder}{shape}{state}")
            for host in lab.hosts:
                print(f"  {host.name}  {host.address}  {host.image}  {'running' if host.running else 'off'}")


def _print_json(value: object) -> None:
    import json

    print(json.dumps(value, indent=2))


@app.command()
def inventory(name: Name = None) -> None:
    """Print the lab as an inventory (YAML)."""
    with _reported():
        print(_open(name).inventory(), end="")


@app.command()
def reset(
    hosts: Annotated[
        list[str] | None,
        typer.Argument(help="Default: all hosts.", autocompletion=cli_names.complete_lab_hosts),
    ] = None,
    to: Annotated[
        str,
        typer.Option(
            metavar="SNAPSHOT",
            help="Replace all hosts by those of a settled cluster, such as settled-consul.",
            autocompletion=cli_names.complete_snapshots,
        ),
    ] = "",
    name: Name = None,
) -> None:
    """Reset hosts to a fresh disk and boot them. With --to, replace the lab by three hosts that `up` has set up."""
    if to and hosts:
        raise typer.BadParameter("resets all hosts; remove their names", param_hint="--to")
    with _reported():
        _open(name).reset(hosts or None, to=to, say=_say)


@app.command()
def faults(*, json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the faults that `lab break` can create, and the cause that `doctor` finds for each."""
    from provisioner.lab import FAULTS

    if json:
        _print_json(
            [
                {"id": f.id, "cause": f.cause, "title": f.title, "place": f.place.value, "stores": f.stores}
                for f in FAULTS.values()
            ]
        )
        return
    width = max(map(len, FAULTS))
    for fault in FAULTS.values():
        cause = "" if fault.cause == fault.id else f" ({fault.cause})"
        print(f"{fault.id:<{width}}  {fault.title}{cause}")


@app.command("break")
def break_(
    fault: Annotated[
        str,
        typer.Argument(help="A fault of `lab faults`.", show_default=False, autocompletion=cli_names.complete_faults),
    ],
    host: Annotated[
        str, typer.Option("--host", help="The host to break.", autocompletion=cli_names.complete_lab_hosts)
    ] = "node2",
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="The other end of the path, for faults between two hosts.",
            autocompletion=cli_names.complete_lab_hosts,
        ),
    ] = "",
    name: Name = None,
) -> None:
    """Create a fault in the lab, to see its effects and to find it with `doctor`. `lab heal` removes it."""
    from provisioner.errors import LabError
    from provisioner.inventory.problems import code, nearest
    from provisioner.lab import FAULTS

    with _reported():
        if fault not in FAULTS:
            raise LabError(
                f"there is no fault {code(fault)}{nearest(fault, FAULTS)}", cure="provisioner lab faults lists them"
            )
        _open(name).break_(FAULTS[fault], host, to)
        print(f"{FAULTS[fault].title}: {host}{f', {to}' if to else ''}")


@app.command()
def heal(name: Name = None) -> None:
    """Remove all faults that `lab break` created."""
    with _reported():
        for line in _open(name).heal() or ["nothing is broken"]:
            print(line)


@app.command()
def stop(hosts: Hosts, name: Name = None) -> None:
    """Cut the power of hosts. Disks are kept."""
    with _reported():
        _open(name).stop(*hosts)


@app.command()
def start(hosts: Hosts, name: Name = None) -> None:
    """Boot hosts that are off, with the disks that they had."""
    with _reported():
        _open(name).start(*hosts)


@app.command(context_settings=PASS_ON)
def ssh(context: typer.Context, host: Host, name: Name = None) -> None:
    """Log in to a host over SSH, or run a command on it. Put options before the host."""
    from provisioner.lab import enter_switch

    with _reported():
        lab = _open(name)
        command = lab.ssh_command(host, _words(context))
        enter_switch(lab.name)
        _become(command)


@app.command("exec", context_settings=PASS_ON)
def execute(context: typer.Context, host: Host, name: Name = None) -> None:
    """Run a command on a host without SSH, as in `lab exec node1 -- docker ps`. Put options before the host."""
    with _reported():
        _become(_open(name).enter_command(host, _words(context) or ["bash", "-l"]))


@app.command(context_settings=PASS_ON)
def run(context: typer.Context, name: Name = None) -> None:
    """Run a command of this machine in the lab's network, as in `lab run -- provisioner up lab.yml`."""
    from provisioner.lab import enter_switch

    words = _words(context)
    if not words:
        print("a command is missing, for example: provisioner lab run -- ping -c 1 192.168.56.11", file=sys.stderr)
        raise typer.Exit(64)
    with _reported():
        os.environ[LAB] = _open(name).name
        enter_switch(os.environ[LAB])
        _become(_runnable(words))


def _runnable(words: list[str]) -> list[str]:
    """Return the same command; `provisioner` is this program where PATH has none, as with sudo and a virtual environment."""
    import shutil

    if words[0] == "provisioner" and not shutil.which(words[0]):
        return [sys.executable, "-m", *words]
    return words


def _words(context: typer.Context) -> list[str]:
    return context.args[1:] if context.args[:1] == ["--"] else context.args


def _become(command: list[str]) -> NoReturn:
    """Replace this process by `command`, which then owns signals, terminal and exit code."""
    sys.stdout.flush()
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        raise typer.Exit(127) from None
