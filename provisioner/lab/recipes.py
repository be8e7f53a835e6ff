"""The content of the images: package lists and settings. A change rebuilds the images that it affects."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from provisioner.errors import LabError

# Increase this when images are built differently and the data below does not show it.
LAYOUT = 4

SWITCH_ADDRESS = "192.168.56.1"
REPOSITORY_PORT = 80

_BASE = ("systemd", "systemd-sysv", "openssh-server")
_TOOLS = ("iptables", "nftables", "iproute2", "iputils-ping", "procps", "curl", "python3-minimal", "sudo", "less")
_NEXT_ENGINE = ("docker.io/forky", "docker-cli/forky")  # the engine of Debian's next release, on today's

# The packages that hosts can install from the lab's repository, which also has their dependencies.
OFFERED = (
    "docker.io", "consul", "etcd-server", "etcd-client", "zookeeper", "default-jre-headless",
    "iptables", "nftables", "ufw", "firewalld", "iproute2", "iputils-ping", "procps", "curl", "ca-certificates",
    "python3-minimal", "sudo", "less", "dbus", "ethtool", "tcpdump", "netcat-openbsd", "chrony",
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """One image. It starts from the image `base`, or from Debian's essential packages.

    The `offered` packages are downloaded into a repository next to the image. `name/suite` is a package of another suite.
    """

    name: str
    suite: str
    packages: tuple[str, ...]
    base: str = ""
    offered: tuple[str, ...] = ()
    uses_repository_of: str = ""

    @property
    def other_suites(self) -> list[str]:
        """The suites that its packages come from, besides its own."""
        return sorted({package.partition("/")[2] for package in self.packages + self.offered} - {""})

    @property
    def digest(self) -> str:
        """A digest that changes whenever the image would differ."""
        base = recipe(self.base).digest if self.base else ""
        data = [LAYOUT, asdict(self), base, FILES, MASKED, GENERATORS, REMOVED, sorted(sources(self).items())]
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]


# Files of every image.
# - containerd 1.4 collects garbage again after fifty times the duration of the last collection (pause_threshold in its
#   gc/scheduler/scheduler.go). With files in memory that is every few milliseconds, and takes 10 to 30 ms of each second.
# - GOGC: Go's garbage collection took a third of each start of the engine's programs. A probe starts six of them.
# - The journal ignores the machine's kernel log.
FILES = {
    "etc/containerd/lab.toml": 'version = 2\n[plugins."io.containerd.gc.v1.scheduler"]\npause_threshold = 0.0001\n',
    "etc/systemd/system/containerd.service.d/lab.conf": "[Service]\nExecStart=\nExecStart=/usr/bin/containerd --config /etc/containerd/lab.toml\n",
    "etc/systemd/system.conf.d/lab.conf": "[Manager]\nDefaultEnvironment=GOGC=400\n",
    "etc/systemd/journald.conf.d/lab.conf": "[Journal]\nReadKMsg=no\nForwardToKMsg=no\n",
    "etc/resolv.conf": "# no name server: the lab has no internet access\n",
    "etc/hostname": "fresh\n",
    "etc/machine-id": "",
}
# udev would trigger events on the machine's devices. The console needs no login, because it is a log. Each password prompt takes
# one of the few inotify instances that all hosts share.
MASKED = (
    "systemd-udevd.service", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket", "systemd-udev-trigger.service",
    "systemd-ask-password-console.path", "systemd-ask-password-wall.path", "console-getty.service", "getty@tty1.service", "getty.target", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "systemd-firstboot.service",
    "systemd-timesyncd.service", "apt-daily.timer", "apt-daily-upgrade.timer",
)  # fmt: skip
# Generators, which systemd runs at each reload, for disks, consoles and vendors' images that hosts of the lab do not have. They
# took half of the time of a reload.
GENERATORS = (
    "systemd-bless-boot-generator", "systemd-cryptsetup-generator", "systemd-debug-generator", "systemd-fstab-generator",
    "systemd-getty-generator", "systemd-gpt-auto-generator", "systemd-hibernate-resume-generator", "systemd-rc-local-generator",
    "systemd-ssh-generator", "systemd-system-update-generator", "systemd-tpm2-generator", "systemd-veritysetup-generator",
)  # fmt: skip
# Created by package scripts. They would be equal on every host.
REMOVED = ("etc/ssh/ssh_host_*_key*", "etc/docker/key.json", "var/lib/dbus/machine-id", "var/log/*.log")


def sources(recipe: Recipe) -> dict[str, str]:
    """The apt sources that the image's hosts see: the lab's repository, or nothing."""
    line = f"deb [trusted=yes] http://{SWITCH_ADDRESS}/debian ./\n" if recipe.uses_repository_of else ""
    return {"etc/apt/sources.list": line}


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("engine-20.10", "bullseye", ("docker.io", "consul", *_TOOLS), base="bare", uses_repository_of="bare"),
        Recipe("bare", "bullseye", _BASE, offered=OFFERED, uses_repository_of="bare"),
        Recipe(
            "bare-13",
            "trixie",
            (*_BASE, "libkmod2"),
            offered=("docker.io", "docker-cli", "iptables"),
            uses_repository_of="bare-13",
        ),
        Recipe("engine-20.10.24", "bookworm", (*_BASE, "docker.io", "etcd-server", *_TOOLS)),
        Recipe("etcd-3.5", "trixie", ("etcd-server", "iproute2", "iptables", "curl"), base="bare-13"),
        Recipe("engine-26", "trixie", ("docker.io", "docker-cli", *_TOOLS), base="bare-13"),
        Recipe(
            "bare-28", "trixie", (), base="bare-13", offered=(*_NEXT_ENGINE, "iptables"), uses_repository_of="bare-28"
        ),
        Recipe("engine-28", "trixie", (*_NEXT_ENGINE, *_TOOLS), base="bare-28"),
    )
}


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises LabError."""
    if name not in RECIPES:
        raise LabError(f"there is no image {name!r}", cure=f"choose one of {', '.join(RECIPES)}")
    return RECIPES[name]
