"""How commands reach hosts: options for passwords, OpenSSH's configuration, and what a person types."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from provisioner import cli_words

if TYPE_CHECKING:
    from provisioner.inventory import Inventory
    from provisioner.transport import Secrets

LAB = "PROVISIONER_LAB"  # `lab run` sets this variable to the lab's name

AskPassword = Annotated[
    bool, typer.Option("--ask-password", help="Ask for the login password of the hosts; keys are tried first.")
]
AskSudo = Annotated[
    bool, typer.Option("--ask-sudo-password", help="Ask for the password that sudo requires on the hosts.")
]


@dataclass
class Access:
    """What one command has asked for and said. A command that runs twice over the same hosts asks only once."""

    password: bool = False
    sudo: bool = False
    _secrets: Secrets | None = field(default=None, repr=False)
    _said: set[str] = field(default_factory=set)

    @property
    def options(self) -> tuple[str, ...]:
        """The options as typed, which the next command on these hosts needs, too."""
        asked = {"--ask-password": self.password, "--ask-sudo-password": self.sudo}
        return tuple(option for option, is_asked in asked.items() if is_asked)

    @property
    def secrets(self) -> Secrets:
        """The passwords and passphrases so far. The first call asks for the passwords. Raises UsageError."""
        from provisioner.transport import asking

        if self._secrets is None:
            if self.password or self.sudo:
                _need_terminal()
            self._secrets = asking.passwords(_ask, login=self.password, sudo=self.sudo)
        return self._secrets

    def reached(self, inventory: Inventory, *notes: str) -> tuple[Inventory, tuple[str, ...]]:
        """Return the inventory with the targets of all hosts, and those lines for people that are new: `notes` and others.

        Asks for what these targets need. Raises UsageError if no host can answer.
        """
        from provisioner.runner.reach import reached
        from provisioner.transport import asking

        cli_words.within_reach([inventory.ssh.key, *(host.key for host in inventory.hosts.values())])
        inventory, others = reached(inventory)
        new = tuple(note for note in (*notes, *others) if note not in self._said)
        self._said.update(new)
        secrets = self.secrets
        if on_terminal():
            secrets = asking.passphrases([inventory.target(name) for name in inventory.hosts], secrets, _ask)
        self._secrets = secrets
        return inventory, new


def on_terminal() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _need_terminal() -> None:
    from provisioner.errors import UsageError

    if not on_terminal():
        what = "a password is asked for on a terminal, but there is none; no host was contacted"
        raise UsageError(what, cure="use a key that ssh-agent holds, and passwordless sudo")


def _ask(prompt: str) -> str:
    from getpass import getpass

    return getpass(prompt, stream=sys.stderr)
