"""Faults of an engine's settings, of ports that it needs or opens, and of what it keeps in its store."""

from provisioner.lab.faults.base import Fault

_STORES = ("consul", "etcd", "zookeeper")
_FILE, _OLD = "/etc/docker/daemon.json", "/run/fault-daemon.json"
_RESTORE = f"[ -e {_OLD} ] || exit 0; if [ -s {_OLD} ]; then cat {_OLD} >{_FILE}; else rm -f {_FILE}; fi; rm {_OLD}"
_KEYS = "/run/fault-store.json"
_LISTEN = "perl -MIO::Socket::INET -e 'my $port = IO::Socket::INET->new(LocalPort => 7946, Listen => 9, ReuseAddr => 1) or die; sleep'"
# systemd refuses a fourth start of the engine within a minute.
_START = "systemctl reset-failed docker 2>/dev/null; systemctl start docker.socket docker"


def _setting(name: str, title: str, setting: str, *, restart: bool, stores: tuple[str, ...]) -> Fault:
    """A fault of one more key in daemon.json. restart: the engine is restarted with it, and does not start."""
    made = f"""[ -e {_OLD} ] || {{ cat {_FILE} >{_OLD} 2>/dev/null
if [ -s {_OLD} ]; then sed -i '1s|{{|{{{setting},|' {_FILE}; else echo '{{{setting}}}' >{_FILE}; fi; }}"""
    healed = _RESTORE
    if restart:
        made += f"\nsystemctl stop docker; {_START} 2>/dev/null || :"
        healed += f"; systemctl stop docker; {_START}"
    return Fault(name, name, title, made, healed, stores=stores)


def _edited(name: str, cause: str, title: str, edit: str, *, before: str = ":", after: str = ":") -> Fault:
    """A fault of the store's keys in daemon.json. edit: for sed. before, after: commands that prepare it and tidy up."""
    made = f"""[ -e {_OLD} ] || {{ {before}; cat {_FILE} >{_OLD}; sed -i {edit} {_FILE}; }}
systemctl stop docker; {_START}"""
    return Fault(name, cause, title, made, f"{_RESTORE}; {after}; systemctl stop docker; {_START}", stores=_STORES)


def _advertised(address: str) -> str:
    return f"""'s|"cluster-advertise": "[^":]*|"cluster-advertise": "'"{address}"'|'"""


_BOX = "fault-box"
_NETWORK = "docker network ls --filter driver=overlay --format '{{.Name}}' | grep -vx ingress | head -n 1"
_RUN_BOX = f"""network=$({_NETWORK})
docker image inspect {_BOX} >/dev/null 2>&1 || tar -c -T /dev/null | docker import - {_BOX} >/dev/null
docker container inspect {_BOX} >/dev/null 2>&1 || docker run -d --name {_BOX} --network "$network" -v /usr:/usr:ro -v /bin:/bin:ro \\
    -v /lib:/lib:ro -v /lib64:/lib64:ro {_BOX} sleep infinity >/dev/null"""
_DROP_IN = "/run/systemd/system/docker.service.d/fault.conf"
_SECOND = "${SELF%.*}.2${SELF##*.}"

FAULTS = (
    Fault(
        "network-detached",
        "network-detached",
        "a container that was created on a network of the cluster has lost it",
        f"""{_RUN_BOX}
[ "$(docker container inspect -f '{{{{len .NetworkSettings.Networks}}}}' {_BOX})" = 0 ] || docker network disconnect "$network" {_BOX}""",
        f"docker rm -f {_BOX} >/dev/null 2>&1; docker rmi {_BOX} >/dev/null 2>&1 || :",
    ),
    _setting(
        "flag-conflict",
        "daemon.json sets an option that the engine's command line sets, too; the engine does not start",
        '"hosts": ["unix:///run/docker.sock"]',
        restart=True,
        stores=_STORES,
    ),
    _setting(
        "live-restore",
        "daemon.json enables live-restore, with which an engine in a swarm does not start again",
        '"live-restore": true',
        restart=False,
        stores=("swarm",),
    ),
    _edited(
        "loopback-advertise",
        "loopback-advertise",
        "the engine advertises 127.0.0.1",
        _advertised("127.0.0.1"),
    ),
    _edited(
        "secondary-advertise",
        "secondary-advertise",
        "the engine advertises a second address of its host",
        _advertised(_SECOND),
        before=f'ip address add "{_SECOND}/24" dev eth0',
        after=f'ip address del "{_SECOND}/24" dev eth0 2>/dev/null || :',
    ),
    _edited(
        "wrong-interface",
        "wrong-interface",
        "the engine advertises an address that its host does not have",
        _advertised("192.0.2.15"),
    ),
    _edited(
        "advertise-missing",
        "advertise",
        "the engine advertises no address",
        """'/"cluster-advertise"/d; s|\\("cluster-store": "[^"]*"\\),|\\1|'""",
    ),
    _edited(
        "store-unset",
        "drift",
        "the engine has no store",
        """'/"cluster-store":/d; /"cluster-advertise"/d'""",
    ),
    Fault(
        "engine-open",
        "engine-open",
        "the engine listens on port 2375 without TLS",
        f"""mkdir -p {_DROP_IN.rpartition("/")[0]}
printf '[Service]\\nEnvironmentFile=\\nEnvironment=DOCKER_OPTS=-Htcp://0.0.0.0:2375\\n' >{_DROP_IN}
systemctl daemon-reload; systemctl stop docker; {_START}""",
        f"[ -e {_DROP_IN} ] || exit 0; rm {_DROP_IN}; systemctl daemon-reload; systemctl stop docker; {_START}",
    ),
    Fault(
        "daemon-json-broken",
        "daemon-json-broken",
        "daemon.json is not valid JSON",
        f"[ -e {_OLD} ] || {{ cat {_FILE} >{_OLD} 2>/dev/null; echo '{{' >{_FILE}; }}",
        _RESTORE,
    ),
    Fault(
        "port-taken",
        "port-taken",
        "another program listens on the engines' gossip port; the engine starts without gossip",
        f"""systemctl stop docker.socket docker; systemd-run -q --collect --unit=fault-port {_LISTEN} 2>/dev/null || :
for n in $(seq 100); do ss -Hlnt 'sport = :7946' | grep -q . && break; sleep 0.1; done
{_START}""",
        f"systemctl is-active -q fault-port || exit 0; systemctl stop fault-port docker; {_START}",
        stores=_STORES,
    ),
    Fault(
        "store-wiped",
        "store-wiped",
        "the engines' networks are deleted from the store",
        f"[ -s {_KEYS} ] || (umask 077; consul kv export docker/network >{_KEYS}); consul kv delete -recurse docker/network >/dev/null",
        f"[ ! -s {_KEYS} ] || {{ consul kv import @{_KEYS} >/dev/null && rm {_KEYS}; }}",
        stores=("consul",),
    ),
)
