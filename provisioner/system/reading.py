"""The one program that reads a host, in one round trip.

`script()` is POSIX sh and only reads. It prints sections, each after a line with its name and length, so that nothing in a
file or an answer can pass for a section; `facts.parse` takes them apart. What a minimal Debian has is enough for it: /proc
instead of iproute2, and perl-base (an essential package) to read files and to ask the engine and the store.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from provisioner import render
from provisioner.system import firewall, gossip, packages, swarm, version
from provisioner.system.owned import Owned, probe
from provisioner.system.request import ENGINE, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DAEMON_JSON = "/etc/docker/daemon.json"
ENGINE_DROPIN = "/etc/systemd/system/docker.service.d/provisioner.conf"
ENGINE_LOADED = "/run/provisioner-engine.loaded"  # daemon.json as the running engine has read it; where options need it
ENGINE_TLS = "/run/provisioner-engine-tls.loaded"  # the sums of the TLS files that the running engine has read
ENGINE_DNS_DROPIN = "/etc/systemd/system/docker.service.d/provisioner-dns.conf"
ENGINE_STARTED = "/run/provisioner-engine.started"  # daemon.json as it was when the running engine started; for `dns:`
ENGINE_AGAIN = "/run/provisioner-engine-again"  # a folder: the drop-in has started the engine twice since the boot
OWNED = Owned(
    files=(ENGINE_DROPIN, ENGINE_DNS_DROPIN, ENGINE_LOADED, ENGINE_TLS, ENGINE_STARTED),
    folders=("/etc/docker", "/etc/systemd/system/docker.service.d", "/etc/provisioner", ENGINE_AGAIN),
    keys=("cluster-store", "cluster-advertise", "cluster-store-opts", "dns", "dns-search", "dns-opts"),
)
ENGINE_OPTIONS = ("/etc/default/docker", "/etc/sysconfig/docker")  # DOCKER_OPTS, as its unit takes them in


@dataclass(frozen=True)
class Sought:
    """What is read of the store that the engines share, or of their swarm, beside all that is read anyway.

    driver: the store's name in the engine's program (libkv/store/NAME). scheme: that of its URL.
    user: who runs its servers. Answers on a host's own port are taken from processes of this user and of root alone.
    programs, files, units: names and paths. data: the folder on whose disk it keeps what it knows.
    config: the file of ours without which the store is not set up here.
    settled: the file of ours that is there where all is set up; until then the owners of ports are told.
    sums: files of which no more than their SHA-256 sum is read, because they are secret.
    secrets: files that are read back from where they live, and never shown.
    says: POSIX sh that prints KEY=value lines about its data.
    engine: what the engine is asked, beside all that it is asked anyway.
    through: units of ours by which the engine reaches the store.
    requests: what the store is asked. whole: more of that, asked only where all is read: no step changes the answers.
    ports: those that its servers listen on, and what for.
    shapes: NAME, up to "@", -> the form of a JSON answer that is looked into. foreign: whether others look after the store.
    """

    driver: str
    scheme: str
    user: str = ""
    programs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    through: tuple[str, ...] = ()
    data: str = "/var/lib"
    config: str = ""
    settled: str = ""
    sums: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    says: str = ""
    engine: tuple[Request, ...] = ()
    requests: tuple[Request, ...] = ()
    whole: tuple[Request, ...] = ()
    ports: Mapping[int, str] = field(default_factory=dict)
    shapes: Mapping[str, Any] = field(default_factory=dict)
    foreign: bool = False


_PROGRAMS = ("dockerd", "perl", "systemctl", *firewall.PROGRAMS, *packages.PROGRAMS)
_FILES = (
    "/etc/os-release",
    "/etc/machine-id",
    "/etc/resolv.conf",
    "/run/systemd/resolve/resolv.conf",
    "/proc/net/route",
    "/proc/net/fib_trie",
    DAEMON_JSON,
    ENGINE_DROPIN,
    ENGINE_LOADED,
    ENGINE_TLS,
    ENGINE_DNS_DROPIN,
    ENGINE_STARTED,
    *ENGINE_OPTIONS,
    *firewall.FILES,
    *gossip.FILES,
    *swarm.OURS,
    version.PATH,
)
_UNITS = ("docker.service", firewall.UNIT, gossip.UNIT, swarm.UNIT)
_UNIT_KEYS = "Id,LoadState,ActiveState,SubState,UnitFileState,MainPID,FragmentPath,ExecStart"
_PORTS = (7946, 4789)  # gossip, VXLAN

# An engine that is stopped is not asked: its socket is systemd's, which would start it.
_ENGINE = (Request("info", ENGINE, "/info"), Request("networks", ENGINE, "/networks"))
_PLUGINS = (Request("plugins", ENGINE, "/plugins"),)

# What the shell reads by itself: section -> name -> commands whose output it is. In `driver`, $w is what perl found of the engine.
_SHELL: dict[str, dict[str, str]] = {
    "system": {
        "system": render.program("read-system.sh"),
    },
    "files": {"sums": 'set -- SUMS; [ $# = 0 ] || sha256sum -- "$@"'},
    "units": {"units": "systemctl show -p UNITKEYS UNITS"},
    "http": {"engine": 'case $w in *" answers"*) ;; *) command -v dockerd >/dev/null && dockerd --version ;; esac'},
    # Looking through the engine's program takes a tenth of a second; in the other sections it would at every reading.
    "driver": {
        "driver": render.program("read-driver.sh"),
    },
    "firewall": firewall.PROBE,
    "owned": {"owned": "OWNED"},
}
# What perl reads. Before it is installed, the files that lie in folders of root's own are read without it.
_PERL = r"""
h=$(perl -e "$ASK" ARGUMENTS; echo .)
h=${h%.}; w=${h%%"$n"*}; out=$out${h#*"$n"}
"""
_WITHOUT_PERL = """command -v perl >/dev/null || { v=$(grep -as '' BASE /sys/class/net/*/mtu); f files "$v"; }
"""


ASKED = ("asked",)
ALL = ("system", "files", "units", "http", "driver", "firewall")


def script(
    store: Sought,
    only: Iterable[str] = ALL,
    requests: Iterable[Request] = (),
    kernel: Iterable[str] = (),
    plugins: Iterable[str] = (),
    *,
    everything: Owned | None = None,
) -> str:
    """The program that reads the named sections: of ALL, or only some of it; ASKED: the answers to `requests`, and nothing else.

    requests: more of them, as in Sought. kernel: what its kernel is to have, by the names of modprobe.
    plugins: the files of the engine's plugins; where there are some, it is asked for those that it manages.
    everything: what the section "owned" tells of; without it there is no such section.
    """
    only, plugins, requests = tuple(only), tuple(plugins), tuple(requests)
    arguments = _arguments(store, only, requests, plugins)
    words = {
        "PROGRAMS": shlex.join(sorted((*_PROGRAMS, *store.programs))),
        "BASE": shlex.join(_FILES),
        "PORTS": ",".join(map(str, (*_PORTS, *store.ports))),
        "UNITKEYS": _UNIT_KEYS,
        "UNITS": shlex.join((*_UNITS, *store.units, *store.through)),
        "JSON": DAEMON_JSON,
        "DRIVER": store.driver,
        "DATA": store.data,
        "OWNER": shlex.quote(store.user),
        "SUMS": shlex.join(store.sums),
        "KERNEL": shlex.join(kernel),
        "SAYS": store.says,
        "ARGUMENTS": shlex.join(arguments),
        "OWNED": probe(everything, DAEMON_JSON) if everything else ":",
    }
    shell = "".join(
        f'v=$(\n{code}\n)\nf {name} "$v"\n' for section in only for name, code in _SHELL.get(section, {}).items()
    )
    text = (_PERL if arguments else "") + (_WITHOUT_PERL if "files" in only else "") + shell
    body = render.filled(text, words)
    return (
        f"LC_ALL=C; export LC_ALL; ASK={shlex.quote(render.text('facts.pl'))}\n"
        "out= w= h= n='\n'\n"
        'f() { [ -z "$2" ] || set -- "$1" "$2$n"; out="$out$1 ${#2}$n$2$n"; }\n'
        f"facts() {{\n{body}\n}}\n"
        "facts 2>/dev/null\n"
        "printf 'provisioner-facts\\n%send %d\\n' \"$out\" ${#out}\n"
    )


def _arguments(
    store: Sought, only: tuple[str, ...], requests: tuple[Request, ...], plugins: tuple[str, ...]
) -> list[str]:
    """What facts.pl is to read for these sections, as its arguments."""
    told: list[tuple[str, Iterable[str]]] = []
    if "files" in only:
        told += [
            ("file", (*_FILES, *store.files, *plugins)),
            ("glob", ["/sys/class/net/*/mtu"]),
            ("secret", store.secrets),
        ]
    if "http" in only:
        engine = (*_ENGINE, *store.engine, *(_PLUGINS if plugins else ()))
        told += [
            ("port", map(str, (*_PORTS, *store.ports))),
            ("settled", filter(None, [store.settled])),
            ("scheme", [store.scheme]),
            ("engine", map(str, engine)),
            ("ask", map(str, (*store.requests, *(store.whole if set(ALL) <= set(only) else ())))),
        ]
    if {"http", *ASKED} & set(only):
        told += [("user", filter(None, [store.user])), ("ask", map(str, requests))]
    return [f"{kind} {value}" for kind, values in told for value in dict.fromkeys(values)]
