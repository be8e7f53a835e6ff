"""Faults between the hosts: on the switch and, in a lab with two segments, on the router."""

from provisioner.lab.faults.base import Fault, Place

_FROM_PEER = "ip saddr $PEER ip daddr $SELF"


def _rule(name: str, cause: str, title: str, rule: str, place: Place) -> Fault:
    """A fault of one nftables rule for forwarded packets, in a table of its own."""
    table = f"{'ip' if place is Place.ROUTER else 'bridge'} fault-{name}-$HOST-$TO"
    heal = f"nft delete table {table} 2>/dev/null || :"
    made = f'nft "table {table} {{ chain c {{ type filter hook forward priority 0; {rule}; }}; }}"'
    return Fault(name, cause, title, f"{heal}; {made}", heal, place)


FAULTS = (
    Fault(
        "link-cut",
        "host-lost",
        "the host is cut off from the switch",
        "ip link set $HOST down",
        "ip link set $HOST up",
        Place.SWITCH,
    ),
    _rule(
        "between",
        "vxlan-blocked",
        "the switch drops overlay packets to the host",
        "oifname $HOST udp dport $DATA drop",
        Place.SWITCH,
    ),
    _rule(
        "between-from",
        "vxlan-blocked",
        "the switch drops overlay packets to the host from one other host",
        f"oifname $HOST {_FROM_PEER} udp dport $DATA drop",
        Place.WIRE,
    ),
    _rule(
        "gossip-between",
        "gossip-blocked",
        "the switch drops gossip to the host over TCP and UDP",
        "oifname $HOST meta l4proto { tcp, udp } th dport 7946 drop",
        Place.SWITCH,
    ),
    _rule(
        "router-drops",
        "vxlan-blocked",
        "the router drops overlay packets to the host from one other host",
        f"{_FROM_PEER} udp dport $DATA drop",
        Place.ROUTER,
    ),
    _rule(
        "router-mtu-silent",
        "mtu",
        "the router drops packets of more than 1400 bytes to the host from one other host, and reports nothing",
        f"{_FROM_PEER} ip length > 1400 drop",
        Place.ROUTER,
    ),
    Fault(
        "router-mtu",
        "mtu",
        "the route from the router to the host has an MTU of 1400 bytes: the router splits packets, or reports them as too big",
        'ip route replace "$SELF" dev "$(ip -o route get "$SELF" | sed \'s/.* dev \\([^ ]*\\).*/\\1/\')" mtu lock 1400',
        'ip route del "$SELF" 2>/dev/null || :',
        Place.ROUTER,
    ),
    Fault(
        "router-nat",
        "nat-between",
        "the router replaces the source address of packets to the host from one other host",
        'nft delete table ip fault-nat-$HOST-$TO 2>/dev/null; nft "table ip fault-nat-$HOST-$TO {'
        f' chain c {{ type nat hook postrouting priority 100; {_FROM_PEER} masquerade; }}; }}"',
        "nft delete table ip fault-nat-$HOST-$TO 2>/dev/null || :",
        Place.ROUTER,
    ),
)
