"""Faults of a host's kernel (settings, routes, links, forwarding entries) and of its processes."""

from provisioner.lab.faults.base import Fault, Place

# Finds the namespace of an overlay with a local container, and one of its forwarding entries for a container on another host.
_SPACE = """mesh=$(docker network inspect -f '{{.Id}}' ingress 2>/dev/null | cut -c1-10)
space=$(cd /var/run/docker/netns && for each in *-*; do
    [ "${each#*-}" != "${mesh:-none}" ] || continue
    nsenter --net="$PWD/$each" ip -o link show type veth 2>/dev/null | grep -q . && echo "$each" && break; done)
[ -n "$space" ] || { echo "no container on $HOST is connected to an overlay: start one first" >&2; exit 1; }
inside() { nsenter --net="/var/run/docker/netns/$space" "$@"; }
device=$(inside ip -o link show type vxlan | sed -n '1s/^[0-9]*: \\([^:@]*\\).*/\\1/p')
"""
_ENTRY = (
    _SPACE
    + """entry=$(inside bridge fdb show dev "$device" | grep ' dst ' | grep -v '^00:' | head -n 1)
[ -n "$entry" ] || { echo "$HOST has no forwarding entry for a container on another host: ping one first" >&2; exit 1; }
mac=${entry%% *} to=${entry#* dst } to=${to%% *}
"""
)
_RESTORED = (
    "[ ! -f /run/fault-entry ] || { read -r space device mac to </run/fault-entry;"
    ' nsenter --net="/var/run/docker/netns/$space" bridge fdb replace "$mac" dev "$device" dst "$to" self permanent;'
    " rm /run/fault-entry; }"
)

FAULTS = (
    Fault(
        "fdb-stale",
        "fdb-stale",
        "a forwarding entry of an overlay points to an address that no host has",
        f"""{_ENTRY}echo "$space $device $mac $to" >/run/fault-entry
inside bridge fdb replace "$mac" dev "$device" dst "${{SELF%.*}}.99" self permanent""",
        _RESTORED,
    ),
    Fault(
        "fdb-lost",
        "fdb-lost",
        "a forwarding entry of an overlay is deleted",
        f"""{_ENTRY}echo "$space $device $mac $to" >/run/fault-entry
inside bridge fdb del "$mac" dev "$device" dst "$to" self""",
        _RESTORED,
        stores=("swarm",),  # engines with a store restore the entry at once
    ),
    Fault(
        "vxlan-lost",
        "vxlan-lost",
        "the VXLAN device of an overlay is down",
        f'{_SPACE}inside ip link set "$device" down',
        f'{_SPACE}inside ip link set "$device" up',
    ),
    Fault(
        "vni-mismatch",
        "vni-mismatch",
        "the VXLAN device of an overlay is replaced by one with another number",
        f"""{_SPACE}mkdir -p /var/run/netns && ln -sf "/var/run/docker/netns/$space" /var/run/netns/fault
inside ip link del "$device"
ip link add vx-fault type vxlan id 999 dstport $DATA && ip link set vx-fault netns fault
inside ip link set vx-fault name "$device" && inside ip link set "$device" master br0 up; rm /var/run/netns/fault""",
        "systemctl restart docker",
    ),
    Fault(
        "vxlan-exists",
        "vxlan-exists",
        "an orphaned VXLAN device is in the host's own namespace",
        "ip link add vx-000101-old type vxlan id 257 dstport $DATA",
        "ip link del vx-000101-old 2>/dev/null || :",
    ),
    Fault(
        "address-conflict",
        "address-conflict",
        "the host also has the address of another host, and answers for it",
        'ip address add "$PEER/32" dev eth0',
        'ip address del "$PEER/32" dev eth0 2>/dev/null || :',
        Place.PATH,
    ),
    Fault(
        "iptables-split",
        "iptables-split",
        "the unused backend of iptables also has a rule",
        "iptables-legacy -w -I INPUT -s 192.0.2.1 -j DROP",
        "while iptables-legacy -w -D INPUT -s 192.0.2.1 -j DROP 2>/dev/null; do :; done",
    ),
    Fault(
        "duplicate-hostname",
        "duplicate-hostname",
        "the host has the name of another host",
        'hostname "$TO"',
        'hostname "$HOST"',
        Place.PATH,
    ),
    Fault(
        "ip-forward",
        "ip-forward",
        "the host does not forward packets",
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
        "for unit in consul etcd zookeeper; do pid=$(systemctl show -p MainPID --value $unit);"
        ' [ "$pid" = 0 ] || kill -STOP "$pid"; done',
        "for unit in consul etcd zookeeper; do pid=$(systemctl show -p MainPID --value $unit);"
        ' [ "$pid" = 0 ] || kill -CONT "$pid"; done',
        stores=("consul", "etcd", "zookeeper"),
    ),
    Fault(
        "host-frozen",
        "host-lost",
        "all processes of the host are frozen; its kernel still accepts connections",
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
)
