"""The content of the images: package lists and settings. A change rebuilds the images that it affects."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from provisioner.errors import LabError

# Goes up with changes in how images are made that the data below does not show.
LAYOUT = 4

SWITCH_ADDRESS = "192.168.56.1"
REPOSITORY_PORT = 80

_BASE = ("systemd", "systemd-sysv", "openssh-server")
_TOOLS = ("iptables", "nftables", "iproute2", "iputils-ping", "procps", "curl", "python3-minimal", "sudo", "less")

# What a host of the lab can install from the lab's own repository; their dependencies come along.
OFFERED = (
    "docker.io", "consul", "etcd-server", "etcd-client", "zookeeper", "default-jre-headless",
    "iptables", "nftables", "ufw", "firewalld", "iproute2", "iputils-ping", "procps", "curl", "ca-certificates",
    "python3-minimal", "sudo", "less", "dbus", "ethtool", "tcpdump", "netcat-openbsd", "chrony",
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """One image. It begins with the tree of `base`, another image, or with Debian's essential packages.

    `offered` packages are downloaded into a repository that is kept beside the image.
    """

    name: str
    suite: str
    packages: tuple[str, ...]
    base: str = ""
    offered: tuple[str, ...] = ()
    uses_repository_of: str = ""

    @property
    def digest(self) -> str:
        """A digest that changes whenever the image would differ."""
        base = recipe(self.base).digest if self.base else ""
        data = [LAYOUT, asdict(self), base, FILES, MASKED, GENERATORS, REMOVED, sorted(sources(self).items())]
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]


# Files of every image. udev is silenced because it would trigger events on the machine's own devices,
# the console login because the console is a log, the password prompts because each takes one of the few
# inotify instances that all hosts share. The journal leaves the machine's kernel log alone. What Go does for memory that
# hosts of the lab need not save was a third of each start of the engine's program, of which a probe takes six. containerd 1.4
# looks for garbage again after fifty times what the last look took (pause_threshold, in its gc/scheduler/scheduler.go): where its
# files are in memory that is every few milliseconds, and 10 to 30 ms of each second.
FILES = {
    "etc/containerd/lab.toml": 'version = 2\n[plugins."io.containerd.gc.v1.scheduler"]\npause_threshold = 0.0001\n',
    "etc/systemd/system/containerd.service.d/lab.conf": "[Service]\nExecStart=\nExecStart=/usr/bin/containerd --config /etc/containerd/lab.toml\n",
    "etc/systemd/system.conf.d/lab.conf": "[Manager]\nDefaultEnvironment=GOGC=400\n",
    "etc/systemd/journald.conf.d/lab.conf": "[Journal]\nReadKMsg=no\nForwardToKMsg=no\n",
    "etc/resolv.conf": "# no name server: the lab has no internet access\n",
    "etc/hostname": "fresh\n",
    "etc/machine-id": "",
}
MASKED = (
    "systemd-udevd.service", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket", "systemd-udev-trigger.service",
    "systemd-ask-password-console.path", "systemd-ask-password-wall.path", "console-getty.service", "getty@tty1.service", "getty.target", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "systemd-firstboot.service",
    "systemd-timesyncd.service", "apt-daily.timer", "apt-daily-upgrade.timer",
)  # fmt: skip
# What systemd runs whenever its units are loaded, for disks, consoles and vendors' images that hosts of the lab have not:
# half of the work of a reload.
GENERATORS = (
    "systemd-bless-boot-generator", "systemd-cryptsetup-generator", "systemd-debug-generator", "systemd-fstab-generator",
    "systemd-getty-generator", "systemd-gpt-auto-generator", "systemd-hibernate-resume-generator", "systemd-rc-local-generator",
    "systemd-ssh-generator", "systemd-system-update-generator", "systemd-tpm2-generator", "systemd-veritysetup-generator",
)  # fmt: skip
# Made by package scripts, and equal on every host if they stayed.
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
    )
}


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises LabError."""
    if name not in RECIPES:
        raise LabError(f"there is no image {name!r}", cure=f"choose one of {', '.join(RECIPES)}")
    return RECIPES[name]
