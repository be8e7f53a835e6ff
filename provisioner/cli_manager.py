"""What commands share that start from a manager of a swarm, and not from an inventory: its options, and the survey."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from provisioner.cli_access import on_terminal

if TYPE_CHECKING:
    from provisioner.cli_access import Access
    from provisioner.inventory import Inventory
    from provisioner.inventory.importers.swarm import Swarm
    from provisioner.model import Observer

Key = Annotated[
    Path | None,
    typer.Option(
        "--key",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="With a manager: the private key file. Default: the agent's keys and the usual files in ~/.ssh.",
    ),
]
Jump = Annotated[
    str,
    typer.Option("--jump", metavar="[USER@]HOST[:PORT]", help="With a manager: the jump hosts, as in an inventory."),
]
KnownHosts = Annotated[
    Path | None,
    typer.Option("--known-hosts", metavar="FILE", help="With a manager: the hosts' keys. Default: ~/.ssh/known_hosts."),
]

_NAME = "manager"  # of the manager, until it says its own


class Login(NamedTuple):
    """How a manager is reached, as the command line says it. The other nodes are reached in the same way."""

    manager: str
    key: Path | None = None
    jump: str = ""
    known_hosts: Path | None = None

    @property
    def address(self) -> str:
        return self._hop[1]

    @property
    def ssh(self) -> dict[str, Any]:
        """The part `ssh` of an inventory."""
        user, _, port = self._hop
        key, known = (str(path.absolute()) if path else "" for path in (self.key, self.known_hosts))
        found = {"user": user, "port": port, "key": key, "jump": self.jump, "known_hosts": known}
        return {name: value for name, value in found.items() if value}

    @property
    def words(self) -> str:
        """The same, as a shell reads it."""
        options = (("--key", self.key), ("--jump", self.jump), ("--known-hosts", self.known_hosts))
        return shlex.join([self.manager, *(str(word) for option in options if option[1] for word in option)])

    @property
    def _hop(self) -> tuple[str, str, int]:
        from provisioner.errors import UsageError
        from provisioner.inventory import values
        from provisioner.inventory.problems import shown

        try:
            (hop,) = values.jump(self.manager)
        except ValueError:
            what = f"{shown(self.manager)} is no manager: write its address, as [USER@]HOST[:PORT]"
            raise UsageError(what, cure="for example root@192.168.56.11") from None
        return hop.user, hop.address, hop.port


class Surveyed(NamedTuple):
    """A swarm as its manager describes it, and how it is reached."""

    login: Login
    swarm: Swarm

    @property
    def others(self) -> tuple[tuple[str, str], ...]:
        """(name, address) of the nodes other than the manager."""
        return tuple((node.name, node.address) for node in self.swarm.nodes if node.name != self.swarm.me)

    def document(self, *, reach: bool) -> dict[str, Any]:
        """The values of an inventory with the manager, and with `reach` all other nodes."""
        names = [name for name, _ in self.others] if reach else []
        return self.swarm.document(self.login.ssh, self.login.address, names)

    def inventory(self, *, reach: bool) -> Inventory:
        return _inventory(self.document(reach=reach))


def survey(
    login: Login, access: Access, *, json: bool = False, verbose: int = 0, log: Observer | None = None
) -> Surveyed:
    """Query the manager alone. Raises ProvisionerError."""
    from provisioner import report
    from provisioner.inventory.importers import swarm
    from provisioner.runner import survey as surveying

    document = {"cluster": "swarm", "ssh": login.ssh, "control_plane": "swarm", "networks": {}}
    inventory = _inventory(document | {"hosts": {_NAME: {"address": login.address}}})
    inventory, notes = access.reached(inventory)
    with report.observer(json=json, verbose=verbose, log=log) as observer:
        found = surveying.read(inventory, observer, notes, access.secrets)
    return Surveyed(login, swarm.understood(surveying.understood(inventory, found)))


def _inventory(document: dict[str, Any]) -> Inventory:
    from pydantic import ValidationError

    from provisioner.errors import UsageError
    from provisioner.inventory import of_values

    try:
        return of_values(document, Path("swarm"))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        why = first.get("ctx", {}).get("text", first["msg"])
        raise UsageError(f"{'.'.join(map(str, first['loc']))}: {why}") from None


def agreed(surveyed: Surveyed) -> bool:
    """Ask a person on a terminal whether to log in to the nodes that the manager named. Without a terminal: no."""
    if not surveyed.others or not on_terminal():
        return False
    for name, address in surveyed.others:
        print(f"  {name}  {address}", file=sys.stderr)
    question = f"The manager says that these are the other nodes. Log in to them too, as {surveyed.login.ssh.get('user', 'root')}? [y/N] "
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
