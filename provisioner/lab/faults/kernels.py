"""Faults of a host's kernel: settings, routes, links, forwarding entries."""

from provisioner.lab.faults.base import Fault, Place

FAULTS = (
    Fault(
        "ip-forward",
        "ip-forward",
        "the host forwards no packets",
        "sysctl -qw net.ipv4.ip_forward=0",
        "sysctl -qw net.ipv4.ip_forward=1",
    ),
    Fault(
        "route-shadow",
        "route-shadow",
        "a route of the host covers the subnet of the network demo",
        "ip link add tun-fault type veth peer name tun-fault-peer 2>/dev/null; ip link set tun-fault up; ip link set tun-fault-peer up;"
        " ip route replace 10.99.0.0/16 dev tun-fault",
        "ip link del tun-fault 2>/dev/null || :",
    ),
    Fault(
        "gwbridge-down",
        "gwbridge",
        "the bridge docker_gwbridge is down",
        "ip link set docker_gwbridge down",
        "ip link set docker_gwbridge up",
    ),
    Fault(
        "mtu",
        "mtu",
        "the MTU of the host's interface is 1400 bytes",
        "ip link set eth0 mtu 1400",
        "ip link set eth0 mtu 1500",
    ),
    Fault(
        "source-mismatch",
        "source-mismatch",
        "the host sends from a second address",
        'ip address add "${SELF%.*}.2${SELF##*.}/24" dev eth0 2>/dev/null;'
        ' ip route replace "${SELF%.*}.0/24" dev eth0 src "${SELF%.*}.2${SELF##*.}"',
        'ip route replace "${SELF%.*}.0/24" dev eth0 src "$SELF"; ip address del "${SELF%.*}.2${SELF##*.}/24" dev eth0 2>/dev/null || :',
    ),
    Fault(
        "engine-down",
        "engine-down",
        "the engine is stopped",
        "systemctl stop docker.socket docker",
        "systemctl start docker.socket docker",
    ),
    Fault(
        "engine-hangs",
        "engine-hangs",
        "the engine's process is frozen",
        "kill -STOP $(systemctl show -p MainPID --value docker)",
        "kill -CONT $(systemctl show -p MainPID --value docker)",
    ),
    Fault(
        "store-hangs",
        "store-hangs",
        "the process of the store's server is frozen",
        "kill -STOP $(systemctl show -p MainPID --value $(ls /etc/systemd/system | grep -xE '(consul|etcd|zookeeper)[.]service'))",
        "kill -CONT $(systemctl show -p MainPID --value $(ls /etc/systemd/system | grep -xE '(consul|etcd|zookeeper)[.]service'))",
        stores=("consul", "etcd", "zookeeper"),
    ),
    Fault(
        "host-frozen",
        "host-lost",
        "all processes of the host are frozen; its kernel still takes connections",
        "kill -STOP -1",
        "kill -CONT -1",
    ),
    Fault(
        "sshd-frozen",
        "host-lost",
        "the host's SSH server is frozen, with all its sessions",
        "kill -STOP $(pidof sshd)",
        "kill -CONT $(pidof sshd)",
    ),
    Fault(
        "link-cut",
        "host-lost",
        "the host is cut off from the switch",
        "ip link set $HOST down",
        "ip link set $HOST up",
        Place.SWITCH,
    ),
    Fault(
        "between",
        "vxlan-blocked",
        "the switch drops overlay packets to the host",
        "nft delete table bridge fault-$HOST 2>/dev/null;"
        ' nft "table bridge fault-$HOST { chain c { type filter hook forward priority 0; oifname $HOST udp dport 4789 drop; }; }"',
        "nft delete table bridge fault-$HOST 2>/dev/null || :",
        Place.SWITCH,
    ),
)
