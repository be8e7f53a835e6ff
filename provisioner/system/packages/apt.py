"""apt, with the package names of Debian and Ubuntu."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from provisioner import render
from provisioner.system.packages.base import ENGINE_FOLDERS

if TYPE_CHECKING:
    from collections.abc import Sequence

_PATIENCE = 60  # seconds to wait while another program holds apt's lock
_ENGINE = "dockerd"
# Program -> package, where the names differ.
_PACKAGES = {
    _ENGINE: "docker.io",
    "bridge": "iproute2",
    "dmesg": "util-linux",
    "docker": "docker-cli",  # a separate package since Debian 13
    "etcd": "etcd-server",
    "ip": "iproute2",
    "ip6tables": "iptables",
    "iptables-legacy-save": "iptables",
    "journalctl": "systemd",
    "nft": "nftables",
    "nsenter": "util-linux",
    "perl": "perl-base",
    "systemctl": "systemd",
    "/usr/share/zookeeper/bin/zkServer.sh": "zookeeper",
}


class Apt:
    name = "apt"
    program = "apt-get"
    lists = r"""dpkg-query -W -f '${db:Status-Status}\t${Package}\n' "$@" 2>/dev/null | grep '^installed'"""

    def package(self, program: str) -> str:
        return _PACKAGES.get(program, program)

    def command(self, programs: Sequence[str]) -> str:
        # --reinstall: a program may be missing although its package is marked as installed.
        return shlex.join(["apt-get", "install", "--reinstall", *dict.fromkeys(map(self.package, programs))])

    def script(self, programs: Sequence[str], units: Sequence[str], users: Sequence[str]) -> str:
        return render.script(
            "packages-apt.sh.j2",
            packages=[self.package(program) for program in programs],
            client=self.package("docker") if _ENGINE in programs else "",
            patience=_PATIENCE,
            units=units,
            users=users,
            folders=ENGINE_FOLDERS,
        )

    def removal(self, packages: Sequence[str], *, dependencies: bool) -> str:
        return render.script("packages-apt-end.sh.j2", packages=packages, dependencies=dependencies)
