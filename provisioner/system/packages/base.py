"""What a package manager is to the steps and checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class PackageManager(Protocol):
    """One kind of package manager.

    name: what people call it. program: a host that has this program is managed by it.
    lists: POSIX sh that prints "installed", a tab and the name for each package of "$@" that is installed; nothing elsewhere.
    """

    @property
    def name(self) -> str: ...
    @property
    def program(self) -> str: ...
    @property
    def lists(self) -> str: ...

    def package(self, program: str) -> str:
        """The name of the package that brings a program (as facts name it)."""
        ...

    def command(self, programs: Sequence[str]) -> str:
        """The command by which a person installs these programs."""
        ...

    def script(self, programs: Sequence[str], units: Sequence[str], users: Sequence[str]) -> str:
        """The script that installs these programs, without questions and without a restart of other services.

        It notes on the host's record what comes with the packages, before it installs them.

        units: the services that a package must not start. users: those that the packages may make. The script ends as `Work.script` has to.
        """
        ...

    def removal(self, packages: Sequence[str]) -> str:
        """The script that removes these packages with their configuration, and no other; it fails if others need them."""
        ...
