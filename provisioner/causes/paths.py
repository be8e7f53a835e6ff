"""The paths between hosts, as observed on the underlay: blocked ports, lost packets, packet sizes and addresses."""

from types import MappingProxyType

from provisioner.causes.base import RULES, Cause, Family
from provisioner.model import Severity

_DROPS = "The evidence says where the packets were lost."
_CURE = "let {protocols} pass between the hosts in both directions"
# By the place where packets are lost. rule, nft-rule, wide, policy: it counted packets. likely: a rule that has no counter. wide: a
# rule that must not be deleted, because it also drops other packets or is ours; outside: likewise, where `up` sets no rules. elsewhere: the sender or the
# receiver drops them, but none of its rules. here: likewise, and why is unknown. between: neither host drops them.
_VARIANTS = MappingProxyType(
    {
        "rule": "delete the rule on {at}, or let {protocols} pass before it",
        "nft-rule": "delete the rule on {at}, or let {protocols} pass before it",
        "likely": "check whether the rule on {at}, which has no counter, drops {protocols}; then delete it",
        "wide": "accept {protocols} before the rule on {at}, which also drops other packets: `provisioner up INVENTORY` opens the cluster's ports",
        "outside": "accept {protocols} before the rule on {at}, in the same chain, or delete the rule; it can also drop other packets, and"
        " `provisioner up INVENTORY` sets no rules before it",
        "policy": "let {protocols} pass on {at}: `provisioner up INVENTORY` sets the rules; find out what removed them",
        "elsewhere": "find what drops {protocols} on {at} in {what}: {look}",
        "here": "find what drops {protocols} on {at}: `provisioner doctor --deep INVENTORY` asks its kernel; iptables-save -c; nft list"
        " ruleset; tc filter show; ip -d link (XDP)",
        "between": "find what filters between {source} and {to}: a switch, a cloud's security groups, a router's access list",
    }
)
_COMMANDS = MappingProxyType(
    {
        "rule": ("{tool} -t {table} -D {rule}",),
        "nft-rule": ("nft delete rule {family} {table} {chain} handle {handle}",),
        "likely": ("nft delete rule {family} {table} {chain} handle {handle}",),
    }
)
_TOUCHES = MappingProxyType(
    {
        "rule": "rule {rule} of {table}",
        "nft-rule": "rule {handle} of {family} {table} {chain}",
        "likely": "rule {handle} of {family} {table} {chain}",
    }
)
_FIXES = frozenset({"rule", "nft-rule"})


def _blocked(name: str, title: str, why: str, explains: tuple[str, ...]) -> Cause:
    return Cause(
        name,
        title,
        Severity.ERROR,
        f"{why} {_DROPS}",
        _CURE,
        variants=_VARIANTS,
        explains=explains,
        drifts=RULES,
        commands=_COMMANDS,
        fixes=_FIXES,
        touches=_TOUCHES,
    )


_OVERLAY = ("overlay-blocked", "names-unresolved", "name-stale", "engines-apart")
_UNSTABLE = ("transfer-stalled", "connection-dropped")
_BLOCKED = (
    "vxlan-blocked",
    "gossip-blocked",
    "gossip-udp",
    "store-blocked",
    "manager-blocked",
    "store-no-leader",
    "store-hangs",
    "engine-hangs",
    "mtu",
    "probe-failed",
    "published-unanswered",
)
FAMILY = Family(
    "paths",
    "Paths between hosts",
    (
        _blocked(
            "underlay-blocked",
            "no packet of the cluster passes between two hosts",
            "No packet from one host to the cluster's ports of another arrives. The hosts are on different networks, a cable or a"
            " route is missing, or a firewall drops everything.",
            (*_OVERLAY, *_BLOCKED),
        ),
        _blocked(
            "vxlan-blocked",
            "the overlay's data port is blocked",
            "Overlay networks carry all data in UDP datagrams to this port. Names resolve, since gossip uses another port, but no"
            " container answers. If one direction is blocked, connections fail in both.",
            ("overlay-blocked", "mtu", "published-unanswered"),
        ),
        _blocked(
            "gossip-blocked",
            "the engines' gossip port is blocked",
            "Engines announce their containers on a network over this port. Without it, new containers get no forwarding"
            " entries on other hosts, and in a swarm no names there, while old connections continue.",
            _OVERLAY,
        ),
        _blocked(
            "gossip-udp",
            "the engines' gossip is blocked for UDP only",
            "Gossip is mostly UDP; over TCP, engines only exchange their full state every half minute. All proofs may still pass."
            " New containers become reachable late, and engines sometimes declare each other dead.",
            _OVERLAY,
        ),
        _blocked(
            "store-blocked",
            "a port of the store is blocked between hosts",
            "The store's servers and agents communicate over this port. If too many of them can't, the store has no leader, and no"
            " network or container can be added.",
            ("store-no-leader", "store-down", "consul-agents-missed", "probe-failed", "names-unresolved"),
        ),
        _blocked(
            "manager-blocked",
            "the port of the swarm's managers is blocked",
            "Nodes get their networks and tasks from a manager over this port, and managers elect their leader over it.",
            ("join-unanswered", "swarm-leaderless", "swarm-error", "engine-hangs", "leaked-address", "probe-failed"),
        ),
        Cause(
            "no-route",
            "a host has no route to another host",
            Severity.ERROR,
            "No packet for the other host leaves where it should: no route leads there, a route discards packets (blackhole, unreachable,"
            " prohibit), or it leads to another interface.",
            "add a route to {address}, or remove the one that discards: ip route get {address}; ip route show table all; ip rule",
            variants={
                "elsewhere": "remove the route, or let it lead to the network of {to}: ip route get {address}; ip rule"
            },
            explains=("underlay-blocked", *_BLOCKED, *_OVERLAY),
        ),
        Cause(
            "neighbour-wrong",
            "a host sends packets for another host to a wrong MAC address",
            Severity.ERROR,
            "A permanent entry in the neighbour (ARP) table of the host has a MAC address that the other host does not have. A"
            " network card was replaced, a virtual machine was created again, or the entry was a mistake.",
            "delete the entry, also from the network configuration; the kernel then asks for the address",
            commands={"": ("ip neigh del {address} dev {device}",)},
            fixes=frozenset({""}),
            touches={"": "neighbour {address} on {device}"},
            explains=("underlay-blocked", *_BLOCKED, *_OVERLAY),
        ),
        Cause(
            "packet-loss",
            "a path loses some packets",
            Severity.ERROR,
            "Some of the small test datagrams were lost. Connections are slow and unstable, and names sometimes do not resolve."
            f" {_DROPS}",
            "check the cables, the load and the error counters of the interfaces between {source} and {to} (ip -s link), and look"
            " for a rule with a limit or a probability",
            variants={name: _VARIANTS[name] for name in sorted(_FIXES)}
            | {"shaped": "find out who limits the interface of {host}, and remove or raise the limit: {look}"},
            explains=(*_OVERLAY, *_UNSTABLE, "path-mtu", "probe-failed"),
            touches={name: _TOUCHES[name] for name in sorted(_FIXES)},
            drifts=RULES,
            commands={name: _COMMANDS[name] for name in sorted(_FIXES)},
            fixes=_FIXES,
        ),
        Cause(
            "mtu",
            "the path between hosts has a smaller MTU than the network needs",
            Severity.ERROR,
            "The overlay adds 50 bytes to each packet of a container, so packets of the network's full size do not fit through the"
            " path. If nothing reports this to the sender, they vanish: connections open, then hang as soon as data flows. If a"
            " router reports it, hosts split packets and connections send smaller ones, which costs speed.",
            "raise the MTU of the path to {needed} bytes, or set `mtu: {size}` for the network in the inventory and run"
            " `provisioner up --recreate {network} INVENTORY`",
            variants={
                "assumed": "remove the MTU from the route of {host} to {address}; if the route has none, a router reported it, and the"
                " kernel forgets it after `ip route flush cache`: ip route get {address}",
                "device": "give the interface the MTU of the network",
            },
            commands={"device": ("nsenter --net=/var/run/docker/netns/{space} ip link set {device} mtu {wanted}",)},
            fixes=frozenset({"device"}),
            explains=("path-mtu", "transfer-stalled"),
        ),
        Cause(
            "source-mismatch",
            "a host sends from a different address than it advertises",
            Severity.ERROR,
            "Other engines know a host by its advertised address. The kernel drops VXLAN packets from any other source"
            " (vxlan_snoop), and gossip answers are lost. A second address, a policy route or NAT on the host changes the source.",
            "make {host} send from {advertised}: set this source on its route to the other hosts, or remove the NAT rule",
            variants={
                "route": "set the advertised address as the source of the route",
                "via": "set the advertised address as the source of the route",
                "nat": "remove the rule on {host} that translates {advertised}: iptables -t nat -S POSTROUTING; nft list ruleset",
            },
            commands={
                "route": ("ip route replace {to} dev {device} table {table} src {advertised}",),
                "via": ("ip route replace {to} via {gateway} dev {device} table {table} src {advertised}",),
            },
            touches={"route": "route {to}", "via": "route {to}"},
            explains=(*_OVERLAY, "underlay-blocked"),
        ),
        Cause(
            "nat-between",
            "NAT between two hosts changes the source address of packets",
            Severity.ERROR,
            "The packets leave their host with the address that it advertises, and arrive with another one. The kernel drops VXLAN"
            " packets from an address that the engine did not announce (vxlan_snoop). Firewalls that admit only the cluster's"
            " hosts drop the rest.",
            "route packets between {host} and {others} without NAT: exempt {advertised} from the rule of the router that replaces"
            " it by {actual}; or connect the hosts by a tunnel, and advertise their addresses in the tunnel",
            explains=(
                *_OVERLAY,
                "esp-nat",
                "underlay-blocked",
                "vxlan-blocked",
                "gossip-blocked",
                "gossip-udp",
                "store-blocked",
                "manager-blocked",
                "packet-loss",
            ),
        ),
        Cause(
            "esp-nat",
            "NAT is between the hosts of an encrypted network",
            Severity.ERROR,
            "Encrypted networks send ESP, which has no ports, and whose keys belong to the hosts' own addresses. Behind NAT, their"
            " packets pass in one direction only, or not at all (moby#30727).",
            "route packets between {host} and {others} without NAT, also those of IP protocol 50; the network {network} can't work"
            " through NAT",
            explains=_OVERLAY,
        ),
        Cause(
            "address-conflict",
            "two machines have the same address",
            Severity.ERROR,
            "Two different MAC addresses answer for one IPv4 address on this segment. Packets reach either of the two machines.",
            "find the machine with the MAC address {other} (the switch's table, DHCP leases), and give it another address",
            variants={
                "held": "remove the address of {owner} from {host}, also from its network configuration",
                "answers": "find out why {other} answers for the address of {owner}, and end it: ip route show table local match"
                " {wanted}; sysctl -a | grep proxy_arp",
            },
            commands={"held": ("ip address del {address} dev {device}",)},
            touches={"held": "address {address} on {device}"},
            explains=(
                "host-lost",
                *_OVERLAY,
                *_UNSTABLE,
                "packet-loss",
                "vxlan-blocked",
                "gossip-blocked",
                "gossip-udp",
                "underlay-blocked",
            ),
        ),
    ),
)
