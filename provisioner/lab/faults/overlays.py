"""Faults in the namespaces of overlays and of their containers: devices, forwarding entries and addresses."""

from provisioner.lab.faults.base import Fault

# Finds the namespace of an overlay with a local container, and its forwarding entry for a container on another host: the one with the lowest
# address of those that answer a local container, or of all. Entries may outlive their containers. The last addresses are those of probes.
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
    + """answers() {
    for box in /var/run/docker/netns/*; do
        case ${box##*/} in *-* | default | lb_* | ingress_sbox) continue ;; esac
        timeout 0.5 nsenter --net="$box" ping -qc 1 "$1" >/dev/null 2>&1 && return
    done
    return 1
}
entry='' entries=$(inside ip -o -4 neigh show dev "$device" | sort -t . -k 1,1n -k 2,2n -k 3,3n -k 4,4n |
    sed -n 's/^\\([0-9.]*\\) .*lladdr \\([0-9a-f:]*\\).*/\\1 \\2/p' | while read -r address mac; do
    inside bridge fdb show dev "$device" | sed -n "s/^\\($mac .*dst .*\\)/$address \\1/p" | head -n 1; done)
while read -r address mac rest; do
    ! answers "$address" || { entry="$mac $rest"; break; }
done <<EOF
$entries
EOF
[ -n "$entry" ] || entry=$(echo "$entries" | sed -n '1s/^[^ ]* //p')
[ -n "$entry" ] || { echo "$HOST has no forwarding entry for a container on another host: ping one first" >&2; exit 1; }
mac=${entry%% *} to=${entry#* dst } to=${to%% *}
"""
)
# Lists the engine's entries for containers on other hosts: address, MAC address and host. Restores them.
_PEERS = (
    _SPACE
    + """[ -f /run/fault-peers ] || inside ip -o -4 neigh show dev "$device" nud permanent | while read -r address _ mac _; do
    to=$(inside bridge fdb show dev "$device" | sed -n "s/^$mac .*dst \\([0-9.]*\\) .*/\\1/p" | head -n 1)
    [ -z "$to" ] || echo "$space $device $address $mac $to"; done >/run/fault-peers
[ -s /run/fault-peers ] || { rm /run/fault-peers; echo "$HOST has no entry for a container on another host: ping one first" >&2; exit 1; }
"""
)
_PEERS_BACK = """[ ! -f /run/fault-peers ] || { while read -r space device address mac to; do
    inside() { nsenter --net="/var/run/docker/netns/$space" "$@"; }
    inside ip neigh replace "$address" lladdr "$mac" dev "$device" nud permanent
    inside bridge fdb replace "$mac" dev "$device" dst "$to" self permanent
done </run/fault-peers; rm /run/fault-peers; }"""
# Finds a container's two ends on an overlay: port in the overlay's namespace, link in box. Not those of a swarm's load balancer.
_PORT = (
    _SPACE
    + """link=''
for port in $(inside ip -o link show type veth | sed 's/^[0-9]*: \\([^@]*\\)@.*/\\1/'); do
    other=$(inside ip -o link show dev "$port" | sed 's/^\\([0-9]*\\): [^@]*@if\\([0-9]*\\): .*/\\2: \\\\([^@]*\\\\)@if\\1:/')
    for box in /var/run/docker/netns/*; do
        case ${box##*/} in *-* | default | lb_* | ingress_sbox) continue ;; esac
        link=$(nsenter --net="$box" ip -o link show type veth | sed -n "s/^$other.*/\\1/p")
        [ -z "$link" ] || break 2
    done
done
[ -n "$link" ] || { echo "no container on $HOST is connected to an overlay: start one first" >&2; exit 1; }
"""
)
_RESTORED = (
    "[ ! -f /run/fault-entry ] || { read -r space device mac to </run/fault-entry;"
    ' nsenter --net="/var/run/docker/netns/$space" bridge fdb replace "$mac" dev "$device" dst "$to" self permanent;'
    " rm /run/fault-entry; }"
)
_BOX = """[ ! -f /run/fault-address ] || exit 0
for box in /var/run/docker/netns/*; do
    case ${box##*/} in *-* | default | lb_* | ingress_sbox) continue ;; esac
    link=$(nsenter --net="$box" ip -o -4 route get "$address" 2>/dev/null | sed -n "s/^$address dev \\([^ ]*\\).*/\\1/p")
    [ -n "$link" ] || continue
    address=$address/$(nsenter --net="$box" ip -o -4 address show dev "$link" | sed -n '1s|.* inet [0-9.]*/\\([0-9]*\\) .*|\\1|p')
    echo "$box $link $address" >/run/fault-address
    nsenter --net="$box" ip address add "$address" dev "$link"
    exit
done
echo "no container on $HOST has an interface for $address" >&2; exit 1"""
_UNBOXED = (
    "[ ! -f /run/fault-address ] || { read -r box link address </run/fault-address;"
    ' nsenter --net="$box" ip address del "$address" dev "$link" 2>/dev/null; rm /run/fault-address; }'
)


def _address(name: str, title: str, found: str) -> Fault:
    """A fault of one more address in a container on the host. found: sets the variable `address`."""
    return Fault(name, name, title, f"{found}\n{_BOX}", _UNBOXED)


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
        "overlay-dropped",
        "lost-in-overlay",
        "the queue of an overlay's VXLAN device drops all packets",
        f'{_SPACE}inside tc qdisc replace dev "$device" root pfifo limit 0',
        f'{_SPACE}inside tc qdisc del dev "$device" root 2>/dev/null || :',
    ),
    Fault(
        "bridge-port-disabled",
        "link-down",
        "the bridge of an overlay forwards nothing to and from its VXLAN device",
        f'{_SPACE}inside bridge link set dev "$device" state disabled',
        f'{_SPACE}inside bridge link set dev "$device" state forwarding',
    ),
    Fault(
        "peer-mac",
        "fdb-stale",
        "the neighbour table of an overlay has wrong MAC addresses for containers on other hosts",
        f"""{_PEERS}while read -r space device address mac to; do
    inside ip neigh replace "$address" lladdr "02:de:${{mac#*:*:}}" dev "$device" nud permanent
done </run/fault-peers""",
        _PEERS_BACK,
    ),
    Fault(
        "peers-lost",
        "fdb-lost",
        "all entries of an overlay for containers on other hosts are deleted",
        f"""{_PEERS}while read -r space device address mac to; do
    inside ip neigh del "$address" dev "$device"; inside bridge fdb del "$mac" dev "$device" dst "$to" self
done </run/fault-peers""",
        _PEERS_BACK,
        stores=("swarm",),  # engines with a store restore the entries at once
    ),
    Fault(
        "port-apart",
        "link-down",
        "the interface of a container is taken from the bridge of its overlay",
        f'{_PORT}echo "$space $port" >/run/fault-port; inside ip link set "$port" nomaster',
        "[ ! -f /run/fault-port ] || { read -r space port </run/fault-port;"
        ' nsenter --net="/var/run/docker/netns/$space" ip link set "$port" master br0; rm /run/fault-port; }',
    ),
    Fault(
        "address-lost",
        "address-lost",
        "the address of a container on an overlay is deleted in the container",
        f"""{_PORT}address=$(nsenter --net="$box" ip -o -4 address show dev "$link" | sed -n 's/.* inet \\([0-9./]*\\) .*/\\1/p' | head -n 1)
[ -z "$address" ] || {{ echo "$box $link $address" >/run/fault-gone; nsenter --net="$box" ip address del "$address" dev "$link"; }}""",
        "[ ! -f /run/fault-gone ] || { read -r box link address </run/fault-gone;"
        ' nsenter --net="$box" ip address add "$address" dev "$link" 2>/dev/null; rm /run/fault-gone; }',
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
        # Not the number of an overlay: the kernel refuses a number that a device has that was created here and then moved.
        "ip link add vx-fffffe-old type vxlan id 16777214 dstport $DATA",
        "ip link del vx-fffffe-old 2>/dev/null || :",
    ),
    Fault(
        "link-down",
        "link-down",
        "the bridge of an overlay is down",
        f"{_SPACE}inside ip link set br0 down",
        f"{_SPACE}inside ip link set br0 up",
    ),
    _address(
        "duplicate-ip",
        "a container also has the address of a container on another host",
        _ENTRY
        + """address=$(inside ip -o -4 neigh show dev "$device" | sed -n "s/^\\([0-9.]*\\) .*$mac .*/\\1/p" | head -n 1)""",
    ),
    _address(
        "gateway-given",
        "a container also has the address of its network's gateway",
        _SPACE + """address=$(inside ip -o -4 address show br0 | sed -n '1s/.* inet \\([0-9.]*\\).*/\\1/p')""",
    ),
    Fault(
        "sandbox-lost",
        "sandbox-lost",
        "the namespace of an overlay is gone, and the engine does not know it",
        f'{_SPACE}umount -l "/var/run/docker/netns/$space" && rm "/var/run/docker/netns/$space"',
        "systemctl restart docker",
    ),
)
