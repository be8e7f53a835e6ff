"""The Protocol of a package manager, as steps and checks use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


# Folders that the engine and containerd create at their first start.
ENGINE_FOLDERS = (
    "/etc/docker",
    "/etc/cni",
    "/etc/cni/net.d",
    "/opt/containerd",
    "/opt/containerd/bin",
    "/opt/containerd/lib",
)


class PackageManager(Protocol):
    """One kind of package manager.

    name: for people. program: a host that has this program uses this package manager.
    lists: POSIX sh that prints a line "installed<tab>NAME" for each package of "$@" that is installed. It prints nothing on a
    host with another package manager.
    """

    @property
    def name(self) -> str: ...
    @property
    def program(self) -> str: ...
    @property
    def lists(self) -> str: ...

    def package(self, program: str) -> str:
        """Return the name of the package that contains a program (as facts name it)."""
        ...

    def command(self, programs: Sequence[str]) -> str:
        """Return the command to install these programs by hand."""
        ...

    def script(self, programs: Sequence[str], units: Sequence[str], users: Sequence[str]) -> str:
        """Return the script that installs these programs, without questions and without restarting other services.

        Before the installation it records on the host what the packages will add.

        units: services that a package must not start. users: users that the packages may create. The script reports errors as
        `Work.script` must.
        """
        ...

    def removal(self, packages: Sequence[str], *, dependencies: bool) -> str:
        """Return the script that removes exactly these packages, with their configuration. It fails if others need them.

        dependencies: also remove the packages that were installed for these only.
        """
        ...
