"""The evidence that is read of each host: the name of its file in the archive, how it is read, and what is kept of it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, NamedTuple

from provisioner.collect import allowed
from provisioner.system import firewall
from provisioner.system.request import ENGINE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.collect.allowed import Shape

_USUAL, _LONG = 1 << 20, 2 << 20  # bytes
_UNITS = ("docker.service", "docker.socket", "containerd.service", "provisioner-*")


class Piece(NamedTuple):
    """One piece. how: its kind and its argument in templates/collect.pl. shape: what is kept of a JSON answer; None: it is a text.

    units: whether the text is that of units.
    """

    name: str
    how: str
    shape: Shape | None = None
    limit: int = _USUAL
    units: bool = False

    def __str__(self) -> str:
        return f"{self.name} {self.limit} {self.how}"


def _run(name: str, command: str, limit: int = _USUAL) -> Piece:
    return Piece(name, f"run {command}", limit=limit)


def _engine(name: str, path: str, shape: Shape) -> Piece:
    return Piece(name, f"ask {ENGINE} {path}", shape, _LONG)


_SPACES = r"""for s in /var/run/docker/netns/*; do
name=${s##*/}; case $name in default | *[!a-zA-Z0-9_-]*) continue ;; esac
printf '\n== %s\n' "$name"
for c in 'ip -d -s link' 'ip address' 'ip route show table all' 'ip rule' 'ip neigh' 'bridge fdb show'; do
printf -- '-- %s\n' "$c"; nsenter --net="$s" $c; done; done; :"""
# Secret settings of the kernel: keys for stable addresses and for TCP Fast Open.
_SYSCTLS = "find /proc/sys/net -type f ! -name '*secret*' ! -name '*key*' -exec grep -Hs '' {} + | cut -c 11-"
_XFRM = "ip -s xfrm state list nokeys; ip xfrm policy; cat /proc/net/xfrm_stat 2>/dev/null || :"
_COUNTERS = "cat /proc/net/dev /proc/net/snmp /proc/net/netstat /proc/net/softnet_stat"
_COMMANDS = (
    _run(
        "system.txt",
        "uname -a; cat /etc/os-release /proc/uptime /proc/sys/kernel/random/boot_id; date -u +%FT%TZ; systemd-detect-virt || :",
    ),
    _run("kernel-log.txt", "dmesg | tail -n 5000 | tail -c 1000000"),
    *(_run(f"{rules.split()[0].removesuffix('-save')}.txt", rules) for rules in firewall.SHOWN),
    _run("links.txt", "ip -d -s link"),
    _run("addresses.txt", "ip address"),
    _run("routes.txt", "ip route show table all; ip -6 route show table all"),
    _run("rules.txt", "ip rule; ip -6 rule"),
    _run("neighbours.txt", "ip neigh"),
    _run("namespaces.txt", _SPACES, _LONG),
    _run("xfrm.txt", _XFRM),
    _run("sysctls.txt", _SYSCTLS),
    _run("counters.txt", _COUNTERS),
    _run("sockets.txt", "ss -tuanp"),
)
_ANSWERS = (
    _engine("info.json", "/info", allowed.INFO),
    _engine("version.json", "/version", allowed.VERSION),
    Piece("networks.json", f"each {ENGINE} /networks /networks/{{}}?verbose=true", allowed.NETWORK, _LONG),
    Piece("containers.json", f"each {ENGINE} /containers/json?all=1 /containers/{{}}/json", allowed.CONTAINER, _LONG),
)
_OF_MANAGERS = (
    _engine("swarm.json", "/swarm", allowed.SWARM),
    _engine("nodes.json", "/nodes", allowed.NODE),
    _engine("services.json", "/services", allowed.SERVICE),
    _engine("tasks.json", "/tasks", allowed.TASK),
)


def pieces(units: Iterable[str] = (), *, manager: bool = False) -> tuple[Piece, ...]:
    """Return the pieces of one host. units: of its store, too. manager: whether it is a manager of a swarm."""
    names = (*_UNITS, *units)
    options = " ".join(f"-u {shlex.quote(name)}" for name in names)
    journal = f"journalctl -q --no-pager -o short-iso --since=-1hour -n 5000 {options} | tail -c 2000000"
    return (
        _run("journal.txt", journal, _LONG),
        *_ANSWERS,
        *(_OF_MANAGERS if manager else ()),
        Piece("daemon.json", "run cat /etc/docker/daemon.json", allowed.DAEMON),
        Piece("units.txt", f"run systemctl cat --no-pager -- {shlex.join(names)} 2>/dev/null || :", units=True),
        *_COMMANDS,
    )
