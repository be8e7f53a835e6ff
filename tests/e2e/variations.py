"""Healthy clusters that differ from the textbook: what to change on the hosts, and how to take it back. See test_healthy_variations.py.

The scripts are POSIX sh. Their variables: HOST and SELF (the host's name and address), N (its number), BOX and ROOT (the image of a
container that uses the host's programs, and the options for it).
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.e2e.cluster import PROBE_IMAGE

EACH = ("node1", "node2", "node3")
MOUNTS = "-v /usr:/usr:ro -v /bin:/bin:ro -v /lib:/lib:ro -v /lib64:/lib64:ro"
BINDS = " ".join(f"--mount type=bind,src={path},dst={path},ro" for path in ("/usr", "/bin", "/lib", "/lib64"))
VARIABLES = f"BOX={PROBE_IMAGE} ROOT='{MOUNTS}' BINDS='{BINDS}'\n"
DEMO = "{demo: {subnet: 10.99.0.0/24}}"
_INSTALL = "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y {} >/dev/null 2>&1"


@dataclass(frozen=True)
class Settled:
    """A change of a cluster that `up` has settled before.

    lab: methods of the lab, called first with each of `hosts`. manager: what runs on node1 alone, before `make`.
    inventory: more lines of the inventory.
    found: ids of causes that are true, and may be reported on `hosts`.
    """

    name: str
    make: str = ""
    undo: str = ""
    manager: str = ""
    manager_undo: str = ""
    hosts: tuple[str, ...] = EACH
    inventory: str = ""
    found: frozenset[str] = frozenset()
    lab: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fresh:
    """Hosts that differ before `up` runs for the first time.

    make: runs on each host. second: the MTU of another interface, eth1, on a network of its own; 0: none.
    advertise: an address or an interface for the inventory, with {n} for the host's number.
    """

    name: str
    make: str
    second: int = 0
    advertise: str = ""
    networks: str = DEMO
    hosts: tuple[str, ...] = EACH


def running(script: str) -> tuple[str, str]:
    """Return (make, undo) of a script that runs beside `doctor`."""
    start = f"setsid sh -c '{script}' >/dev/null 2>&1 & echo $! >>/run/variation"
    return start, "for p in $(cat /run/variation); do kill -9 -$p; done 2>/dev/null; rm -f /run/variation"


def _beside(name: str, script: str, undo: str = "", **more: object) -> Settled:
    make, end = running(script)
    return Settled(name, make, f"{end}; {undo or ':'}", **more)  # type: ignore[arg-type]


UFW_STYLE = """
iptables -N they-before; iptables -A they-before -i lo -m comment --comment 'allow all on loopback' -j ACCEPT
iptables -A they-before -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; iptables -A they-before -p icmp -j ACCEPT
iptables -N they-user; iptables -A they-user -p tcp --dport 22 -j ACCEPT
iptables -A INPUT -j they-before; iptables -A INPUT -j they-user; iptables -P INPUT DROP
"""
UFW_STYLE_UNDO = """
iptables -P INPUT ACCEPT
for c in they-before they-user; do iptables -D INPUT -j $c; iptables -F $c; iptables -X $c; done
"""
CONFIGURED = """
cp -a /etc/docker/daemon.json /run/daemon.json
python3 - <<'END'
import json
path = "/etc/docker/daemon.json"
found = json.load(open(path))
found |= {"log-driver": "json-file", "log-opts": {"max-size": "10m"}, "labels": ["rack=7"], "registry-mirrors": ["https://mirror.invalid"]}
json.dump(found, open(path, "w"), indent=4)
END
systemctl restart docker
"""
PROXY = """
mkdir -p /etc/systemd/system/docker.service.d
cat >/etc/systemd/system/docker.service.d/proxy.conf <<END
[Service]
Environment=HTTP_PROXY=http://192.0.2.8:3128 HTTPS_PROXY=http://192.0.2.8:3128 NO_PROXY=localhost,127.0.0.0/8,192.168.56.0/24
END
systemctl daemon-reload; systemctl restart docker
"""
KERNEL_LOG = """
cat >/usr/local/sbin/dmesg <<'END'
#!/bin/sh
read -r up _ </proc/uptime
for text in "neighbour: ndisc_cache: neighbor table overflow!" "eth0: Link is Up - 10Gbps/Full" "docker0: port 1(veth1) entered disabled state" "audit: backlog limit exceeded"; do
    echo "[${up}] $text"
done
END
chmod 755 /usr/local/sbin/dmesg
"""

# Lets the program that tests the paths run for an eighth of the time.
SLOW = (
    "while :; do for s in STOP CONT; do for p in $(grep -l SO_ATTACH[_]FILTER /proc/[0-9]*/cmdline 2>/dev/null); do p=${p#/proc/};"
    " kill -$s ${p%/*}; done; if [ $s = STOP ]; then sleep 0.4; else sleep 0.06; fi; done; done"
)

# Each of these looks like a fault: an entry and a route that another host needs, as they should be, and packets that are not dropped.
PEERS = 'for o in 11 12 13; do peer=192.168.56.$o; [ "$peer" != "$SELF" ] || continue; {}; done'
_MAC = "$(ip neigh show $peer dev eth0 | sed -n 's/.*lladdr \\([^ ]*\\).*/\\1/p')"
PINNED = PEERS.format(
    f"ping -qc 1 $peer >/dev/null; ip neigh replace $peer lladdr {_MAC} dev eth0 nud permanent; ip route replace $peer dev eth0"
)
UNPINNED = PEERS.format("ip route del $peer dev eth0; ip neigh del $peer dev eth0")
DROPS = (  # of packets that no host sends. In the table filter, these would have to stand behind the rules of `up`.
    "PREROUTING -t raw -s 192.168.56.99 -p udp --dport 4789 -j DROP",
    "PREROUTING -t raw -i eth9 -p udp -m multiport --dports 4789,7946 -j DROP",
    "OUTPUT -t raw -d 192.168.56.99 -p tcp --dport 7946 -j DROP",
    "INPUT -p udp --dport 14789 -j DROP",
)
LATER = (("INPUT", "-p udp --dport 4789"), ("INPUT", "-p tcp --dport 7946"), ("OUTPUT", "-p udp --dport 7946"))

REBOOTED = Settled("a host that was rebooted", lab=("stop", "start"), hosts=("node2",))
FLAPPED = Settled("a host whose link was down a moment ago", lab=("cut", "uncut"), hosts=("node2",))
ON_OTHER_STORES = (Settled("nothing"), REBOOTED, FLAPPED)

ON_STORE = (
    REBOOTED,
    FLAPPED,
    Settled(
        "rules that drop only what no host of the cluster sends",
        "; ".join(f"iptables -I {rule}" for rule in DROPS),
        "; ".join(f"iptables -D {rule}" for rule in DROPS),
    ),
    Settled(
        "rules that drop the cluster's packets, behind rules that accept them",
        "; ".join(f"iptables -A {chain} {what} -j {end}" for chain, what in LATER for end in ("ACCEPT", "DROP"))
        + "; iptables -A FORWARD -j DROP",
        "; ".join(f"iptables -D {chain} {what} -j {end}" for chain, what in LATER for end in ("ACCEPT", "DROP"))
        + "; iptables -D FORWARD -j DROP",
    ),
    Settled("permanent neighbour entries and routes to single hosts", PINNED, UNPINNED),
    Settled(
        "routes beside the subnet of the network, and one to it in a table that no rule uses",
        "ip link add dummy-t type veth peer name dummy-p; ip link set dummy-t up; for net in 10.99.1.0/24 10.98.0.0/16 10.99.128.0/17;"
        " do ip route add $net dev dummy-t; done; ip route add 10.99.0.0/16 dev dummy-t table 77",
        "ip link del dummy-t",
    ),
    Settled(
        "containers that were stopped, or never started",
        "docker run -d --name ended$N --network demo $ROOT $BOX true >/dev/null;"
        " docker create --name new$N --network demo $ROOT $BOX true >/dev/null",
        "docker rm -f ended$N new$N >/dev/null",
    ),
    Settled(
        "rules of others in both backends of iptables",
        "iptables-legacy -N theirs; iptables-legacy -A theirs -p tcp --dport 9100 -j ACCEPT; iptables-legacy -A INPUT -j theirs;"
        " iptables-nft -A INPUT -p tcp --dport 9200 -j ACCEPT",
        "iptables-legacy -F; iptables-legacy -X theirs; iptables-nft -D INPUT -p tcp --dport 9200 -j ACCEPT",
    ),
    Settled(
        "fail2ban",
        "iptables -N f2b-sshd; iptables -A f2b-sshd -s 192.0.2.7 -j REJECT; iptables -A f2b-sshd -j RETURN;"
        " iptables -I INPUT -p tcp -m multiport --dports 22 -j f2b-sshd",
        "iptables -D INPUT -p tcp -m multiport --dports 22 -j f2b-sshd; iptables -F f2b-sshd; iptables -X f2b-sshd",
    ),
    Settled("a policy that drops, and chains that accept loopback, as ufw has", UFW_STYLE, UFW_STYLE_UNDO),
    Settled(
        "tables of nftables that count and accept",
        "nft 'table inet monitoring { chain incoming { type filter hook input priority -5; tcp dport 22 counter accept;"
        " udp dport 4789 counter; counter accept; }; chain outgoing { type filter hook output priority -5; counter; }; }'",
        "nft delete table inet monitoring",
    ),
    Settled(
        "a bridge network with containers that publish ports",
        "docker network create shop >/dev/null; for n in 1 2; do"
        " docker run -d --name shop$n --network shop -p 808$n:80 $ROOT $BOX sleep 600 >/dev/null; done",
        "docker rm -f shop1 shop2 >/dev/null; docker network rm shop",
    ),
    Settled(
        "containers in the host's network, some without any, some paused",
        "docker run -d --name there --network host $ROOT $BOX sleep 600 >/dev/null;"
        " docker run -d --name nowhere --network none $ROOT $BOX sleep 600 >/dev/null;"
        " docker run -d --name still$N --network demo $ROOT $BOX sleep 600 >/dev/null; docker pause still$N >/dev/null",
        "docker unpause still$N >/dev/null; docker rm -f there nowhere still$N >/dev/null",
    ),
    Settled(
        "containers that went a moment ago",
        "docker run -d --name gone$N --network demo $ROOT $BOX sleep 600 >/dev/null; docker rm -f gone$N >/dev/null",
    ),
    _beside(
        "containers that come and go",
        "while :; do docker run --rm --name brief$N --network demo $ROOT $BOX true; done",
        "docker rm -f brief$N >/dev/null 2>&1",
    ),
    _beside(
        "networks that come and go",
        "while :; do docker network create -d overlay passing-$N; docker run --rm --network passing-$N $ROOT $BOX true;"
        " docker network rm passing-$N; done",
        "sleep 1; docker network rm passing-$N >/dev/null 2>&1",
    ),
    Settled(
        "a container that fails and restarts all the time",
        "docker run -d --name unsteady$N --restart always --network demo $ROOT $BOX false >/dev/null",
        "docker rm -f unsteady$N >/dev/null",
    ),
    Settled("an engine that was restarted", "systemctl restart docker", hosts=("node2",)),
    _beside(
        "an engine that restarts just now",
        "sleep 0.5; systemctl restart docker",
        hosts=("node2",),
        found=frozenset(
            {"engine-down", "engine-hangs", "probe-failed", "overlay-blocked", "names-unresolved", "drift"}
        ),
    ),
    _beside("busy hosts", "for n in 1 2; do (while :; do :; done) & done; wait"),
    _beside("a host that is slow to send", SLOW, hosts=("node2",)),
    Settled(
        "overlay networks of others with containers",
        "docker network inspect theirs >/dev/null 2>&1 || docker network create -d overlay theirs >/dev/null 2>&1 || :;"
        " docker run -d --name theirs$N --network theirs $ROOT $BOX sleep 600 >/dev/null",
        "docker rm -f theirs$N >/dev/null; sleep 0.5; docker network rm theirs >/dev/null 2>&1 || :",
    ),
    Settled("unrelated messages in the kernel's log", KERNEL_LOG, "rm -f /usr/local/sbin/dmesg"),
    Settled(
        "a proxy for the engine",
        PROXY,
        "rm /etc/systemd/system/docker.service.d/proxy.conf; systemctl daemon-reload; systemctl restart docker",
        hosts=("node2",),
    ),
    Settled(
        "settings of others in daemon.json",
        CONFIGURED,
        "cp -a /run/daemon.json /etc/docker/daemon.json; systemctl restart docker",
        hosts=("node2",),
    ),
    Settled(
        "forwarding enabled elsewhere, and strict reverse paths",
        "mkdir -p /run/sysctl.d; echo net.ipv4.ip_forward=1 >/etc/sysctl.d/10-router.conf; sysctl -qp /etc/sysctl.d/10-router.conf;"
        " sysctl -qw net.ipv4.conf.eth0.rp_filter=1 net.ipv4.conf.all.rp_filter=1",
        "rm /etc/sysctl.d/10-router.conf; sysctl -qw net.ipv4.conf.eth0.rp_filter=0 net.ipv4.conf.all.rp_filter=0",
    ),
    Settled(
        "addresses of IPv6",
        "ip -6 address add fd00:56::$N/64 dev eth0 nodad; ip -6 route add fd00:99::/64 via fd00:56::1 2>/dev/null || :",
        "ip -6 address del fd00:56::$N/64 dev eth0; ip -6 route del fd00:99::/64 2>/dev/null || :",
    ),
    Settled(
        "a tunnel with routes",
        "ip tuntap add dev tun7 mode tun; ip address add 10.8.0.$N/24 dev tun7; ip link set tun7 up; ip route add 10.200.0.0/16 dev tun7",
        "ip link del tun7",
    ),
    Settled(
        "VXLAN devices of others",
        "ip link add flannel.1 type vxlan id 1 dstport 8472 local $SELF dev eth0; ip address add 10.244.$N.0/32 dev flannel.1;"
        " ip link set flannel.1 up; ip link add vx-lab type vxlan id 256 dstport 4790 local $SELF dev eth0; ip link set vx-lab up",
        "ip link del flannel.1; ip link del vx-lab",
    ),
    Settled(
        "more addresses on the interface",
        "ip address add 192.168.56.1$N$N/32 dev eth0; ip address add 10.50.0.$N/24 dev eth0; ip address add 203.0.113.$N/32 dev lo",
        "ip address del 192.168.56.1$N$N/32 dev eth0; ip address del 10.50.0.$N/24 dev eth0; ip address del 203.0.113.$N/32 dev lo",
    ),
    Settled(
        "routing by rules",
        "ip rule add from 10.60.0.0/16 table 100; ip route add default via 192.168.56.1 table 100; ip rule add fwmark 7 table 101;"
        " ip route add 10.61.0.0/16 via 192.168.56.1 table 101",
        "ip rule del from 10.60.0.0/16 table 100; ip rule del fwmark 7 table 101; ip route flush table 100; ip route flush table 101",
    ),
)

_SERVICE = "docker service create -q --detach --no-resolve-image $BINDS"
ON_SWARM = (
    Settled(
        "services: one replicated, one on each node, one without tasks",
        manager="docker network create -d overlay backend >/dev/null;"
        f" {_SERVICE} --name one --replicas 1 --network demo $BOX sleep 600; {_SERVICE} --name all --mode global --network backend"
        f" -p 8090:80 $BOX sleep 600; {_SERVICE} --name none --replicas 0 --network backend $BOX sleep 600; sleep 3",
        manager_undo="docker service rm one all none >/dev/null; for n in $(seq 30); do docker network rm backend >/dev/null 2>&1 && break; sleep 1; done",
        found=frozenset({"ipvs-missing"}),  # true on machines whose kernel has no ip_vs
    ),
    Settled(
        "a drained node",
        manager="docker node update --availability drain node3 >/dev/null; sleep 2",
        manager_undo="docker node update --availability active node3 >/dev/null",
        hosts=("node3",),
        found=frozenset({"node-resting"}),
    ),
    Settled(
        "a paused node",
        manager="docker node update --availability pause node3 >/dev/null; sleep 1",
        manager_undo="docker node update --availability active node3 >/dev/null",
        hosts=("node3",),
        found=frozenset({"node-resting"}),
    ),
    Settled(
        "a manager that became a worker",
        manager="for n in node3 node2; do for i in $(seq 30); do docker node demote $n >/dev/null 2>&1; sleep 1;"
        " docker node inspect -f '{{.ManagerStatus}}' $n | grep -q nil && break; done; done; sleep 2",
        manager_undo="docker node promote node2 node3 >/dev/null",
        inventory="swarm: {managers: [node1]}\n",
    ),
    Settled(
        "labels",
        manager="docker node update --label-add rack=7 node2 >/dev/null; docker swarm update --task-history-limit 3 >/dev/null",
        manager_undo="docker node update --label-rm rack node2 >/dev/null; docker swarm update --task-history-limit 5 >/dev/null",
    ),
    Settled("an engine of a swarm that was restarted", "systemctl restart docker; sleep 2", hosts=("node3",)),
    REBOOTED,
    FLAPPED,
)

# Only on one swarm of older engines each.
ON_OLDER_SWARMS = (ON_SWARM[0], ON_SWARM[4])

FRESH = (
    Fresh("10.0.0.0/8, a /20 on an interface of its own", "ip address add 10.20.19.$N/20 dev eth1", 1500, "10.20.19.{n}"),
    Fresh("172.16.0.0/12, a /26 on the same interface", "ip address add 172.20.5.7$N/26 dev eth0", advertise="172.20.5.7{n}"),
    Fresh(
        "192.168.0.0/16, the interface is named, and several networks",
        "ip address add 192.168.200.13$N/26 dev eth1; ip link set eth1 name enp3s0f1; ip link set enp3s0f1 up",
        1500,
        "enp3s0f1",
        "{demo: {subnet: 10.99.0.0/24}, second: {subnet: 172.30.1.0/25}, third: {subnet: 192.168.99.0/28}}",
    ),
    Fresh("the only interface has another name", "ip link set eth0 down; ip link set eth0 name ens192; ip link set ens192 up"),
    Fresh(
        "a bridge with the address",
        "ip link add br-lan type bridge; ip link set eth0 master br-lan; ip address del $SELF/24 dev eth0;"
        " ip address add $SELF/24 dev br-lan; ip link set br-lan up",
    ),
    Fresh(
        "an MTU of 9000",
        "ip address add 10.30.0.$N/24 dev eth1",
        9000,
        "10.30.0.{n}",
        "{demo: {subnet: 10.99.0.0/24, mtu: 9000}}",
    ),
    Fresh(
        "an MTU of 1280",
        "ip address add 10.30.0.$N/24 dev eth1",
        1280,
        "10.30.0.{n}",
        "{demo: {subnet: 10.99.0.0/24, mtu: 1280}}",
    ),
    Fresh(
        "an odd MTU",
        "ip address add 10.30.0.$N/24 dev eth1",
        1391,
        "10.30.0.{n}",
        "{demo: {subnet: 10.99.0.0/24, mtu: 1391}}",
    ),
    Fresh("a single host", ":", hosts=("node1",)),
    Fresh(
        "ufw, which allows the ports",
        f"{_INSTALL.format('ufw')}; ufw allow 22/tcp; for p in 4789/udp 7946 8300/tcp 8301; do"
        " ufw allow from 192.168.56.0/24 to any port ${p%/*} $(case $p in */*) echo proto ${p#*/};; esac); done;"
        " ufw --force enable; systemctl enable -q --now ufw",
    ),
    Fresh(
        "firewalld, which allows the ports",
        f"{_INSTALL.format('firewalld')}; systemctl enable -q --now firewalld; for p in 4789/udp 7946/udp 7946/tcp 8300/tcp 8301/tcp 8301/udp; do"
        " firewall-cmd -q --add-port=$p; firewall-cmd -q --permanent --add-port=$p; done; systemctl restart docker",
    ),
    Fresh(
        "nftables with a policy that drops",
        """cat >/etc/nftables.conf <<'END'
#!/usr/sbin/nft -f
flush ruleset
table inet filter {
	chain input {
		type filter hook input priority 0; policy drop;
		ct state established,related counter accept
		iifname lo accept
		tcp dport { 22, 80 } accept
	}
	chain forward { type filter hook forward priority 0; }
}
END
systemctl enable -q --now nftables; systemctl restart docker""",
    ),
)  # fmt: skip
