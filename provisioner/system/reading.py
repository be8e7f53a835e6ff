"""The program that reads everything about a host in one round trip.

`script()` returns a read-only POSIX sh script. It prints sections, each after a line with its name and length, so that no
file and no answer can imitate a section. `facts.parse` parses them. The script works on a minimal Debian: it uses /proc
instead of iproute2, and perl-base (an essential package) to read files and to query the engine and the store.
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
ENGINE_LOADED = "/run/provisioner-engine.loaded"  # daemon.json as the running engine has read it, if an option needs it
ENGINE_TLS = "/run/provisioner-engine-tls.loaded"  # checksums of the TLS files that the running engine has read
ENGINE_DNS_DROPIN = "/etc/systemd/system/docker.service.d/provisioner-dns.conf"
ENGINE_STARTED = "/run/provisioner-engine.started"  # daemon.json as it was when the running engine started; for `dns:`
ENGINE_AGAIN = (
    "/run/provisioner-engine-again"  # a folder that exists if the drop-in restarted the engine since the boot
)
BOOT_ID = "/proc/sys/kernel/random/boot_id"
OWNED = Owned(
    files=(ENGINE_DROPIN, ENGINE_DNS_DROPIN, ENGINE_LOADED, ENGINE_TLS, ENGINE_STARTED),
    folders=("/etc/docker", "/etc/systemd/system/docker.service.d", "/etc/provisioner", ENGINE_AGAIN),
    keys=("cluster-store", "cluster-advertise", "cluster-store-opts", "dns", "dns-search", "dns-opts"),
)
ENGINE_OPTIONS = ("/etc/default/docker", "/etc/sysconfig/docker")  # DOCKER_OPTS, which the engine's unit reads


@dataclass(frozen=True)
class Sought:
    """What to read about the engines' store or swarm, in addition to what is always read.

    driver: the store's name in the engine's binary (libkv/store/NAME). scheme: the scheme of its URL.
    user: the user of its servers. Only servers of this user or of root are trusted on a host's own ports.
    programs, files, units: names and paths to read. data: the store's data folder; the free space of its disk is read.
    config: our configuration file; without it, we have not set up the store on this host.
    settled: our file that exists once everything is set up. Until then, the processes that own ports are read.
    sums: secret files of which only the SHA-256 sum is read.
    secrets: secret files whose content is read; it is never shown.
    says: POSIX sh that prints KEY=value lines about the store's data.
    engine: additional requests to the engine.
    through: our units through which the engine reaches the store.
    requests: requests to the store. whole: more of them, sent only by a full reading, since no step changes the answers.
    ports: the ports on which its servers listen, and their purpose.
    shapes: name of a request (up to "@") -> shape of its JSON answer. foreign: whether somebody else manages the store.
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
    BOOT_ID,
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

# These are not sent to a stopped engine: systemd holds its socket, and would start it.
_ENGINE = (Request("info", ENGINE, "/info"), Request("networks", ENGINE, "/networks"))
_PLUGINS = (Request("plugins", ENGINE, "/plugins"),)

# Read by the shell: section -> name -> commands that print it. $w has Perl's findings about the engine.
_SHELL: dict[str, dict[str, str]] = {
    "system": {
        "system": render.program("read-system.sh"),
    },
    "files": {"sums": 'set -- SUMS; [ $# = 0 ] || sha256sum -- "$@"'},
    "units": {"units": render.program("read-units.sh")},
    "http": {"engine": 'case $w in *" answers"*) ;; *) command -v dockerd >/dev/null && dockerd --version ;; esac'},
    # A section of its own, because searching the engine's binary takes a tenth of a second.
    "driver": {
        "driver": render.program("read-driver.sh"),
    },
    "firewall": firewall.PROBE,
    "clients": firewall.CLIENTS,
    "owned": {"owned": "OWNED"},
}
# Read by Perl. On a host without Perl, the shell reads the files of _FILES, which are in folders that only root can write.
_PERL = r"""
h=$(perl -e "$ASK" ARGUMENTS; echo .)
h=${h%.}; w=${h%%"$n"*}; out=$out${h#*"$n"}
"""
_WITHOUT_PERL = """command -v perl >/dev/null || { v=$(grep -as '' BASE /sys/class/net/*/mtu); f files "$v"; }
"""


ASKED = ("asked",)
CLIENTS = ("clients",)
ALL = ("system", "files", "units", "http", "driver", "firewall")


def script(
    store: Sought,
    only: Iterable[str] = ALL,
    requests: Iterable[Request] = (),
    kernel: Iterable[str] = (),
    plugins: Iterable[str] = (),
    *,
    of_nodes: Iterable[str] = (),
    everything: Owned | None = None,
    limit: int = 0,
) -> str:
    """Return the script that reads the named sections.

    only: sections of ALL, CLIENTS, or ASKED to send nothing but `requests`. requests: additional requests, as in Sought.
    kernel, of_nodes: kernel modules to look for, by modprobe's names; the latter only on nodes of a swarm, since a search takes time.
    plugins: files about the engine's plugins to read; if there are any, the engine is queried for its managed plugins too.
    everything: what the section "owned" looks for. limit: seconds for an answer of the engine or the store; 0: the usual.
    """
    only, plugins, requests = tuple(only), tuple(plugins), tuple(requests)
    arguments = _arguments(store, only, requests, plugins)
    arguments += [f"limit {limit}"] if limit and arguments else []
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
        "OF_NODES": shlex.join(of_nodes),
        "SAYS": store.says,
        "ARGUMENTS": shlex.join(arguments),
        "OWNED": probe(everything, DAEMON_JSON) if everything else ":",
    }
    shell = "".join(
        f'v=$(\n{code}\n)\nf {name} "$v"\n' for section in only for name, code in _SHELL.get(section, {}).items()
    )
    text = (_PERL if arguments else "") + (_WITHOUT_PERL if "files" in only else "") + shell
    body = render.filled(text, words)
    name = "sending requests to the engine and the store" if only == ASKED else "reading the host's facts"
    return framed(name, body, f"ASK={shlex.quote(render.text('facts.pl'))}\n")


def framed(name: str, body: str, before: str = "") -> str:
    """A program whose `f NAME TEXT` are the sections that `facts.sections` takes apart.

    name: what it does, in a few words. before: what it begins with.
    """
    return (
        f"# {name}\n"
        f"LC_ALL=C; export LC_ALL; {before}"
        "out= w= h= n='\n'\n"
        'f() { [ -z "$2" ] || set -- "$1" "$2$n"; out="$out$1 ${#2}$n$2$n"; }\n'
        f"facts() {{\n{body}\n}}\n"
        "facts 2>/dev/null\n"
        "printf 'provisioner-facts\\n%send %d\\n' \"$out\" ${#out}\n"
    )


def _arguments(
    store: Sought, only: tuple[str, ...], requests: tuple[Request, ...], plugins: tuple[str, ...]
) -> list[str]:
    """Return the arguments that make facts.pl read these sections."""
    wanted: list[tuple[str, Iterable[str]]] = []
    if "files" in only:
        wanted += [
            ("file", (*_FILES, *store.files, *plugins)),
            ("glob", ["/sys/class/net/*/mtu"]),
            ("secret", store.secrets),
        ]
    if "http" in only:
        engine = (*_ENGINE, *store.engine, *(_PLUGINS if plugins else ()))
        wanted += [
            ("port", map(str, (*_PORTS, *store.ports))),
            ("settled", filter(None, [store.settled])),
            ("scheme", [store.scheme]),
            ("engine", map(str, engine)),
            ("ask", map(str, (*store.requests, *(store.whole if set(ALL) <= set(only) else ())))),
        ]
    if {"http", *ASKED} & set(only):
        quick = [request for request in requests if request.quick]
        others = [request for request in requests if not request.quick]
        wanted += [("user", filter(None, [store.user])), ("first", map(str, quick)), ("ask", map(str, others))]
    return [f"{kind} {value}" for kind, values in wanted for value in dict.fromkeys(values)]
