"""Faults of packet filters: ports blocked on one or both sides, for all packets or for some."""

from provisioner.lab.faults.base import Fault, Place


def rule_fault(
    name: str, cause: str, title: str, *rules: str, place: Place = Place.HOST, stores: tuple[str, ...] = ()
) -> Fault:
    """A fault of iptables rules, each inserted at the top of its chain. A rule is written as "CHAIN ARGUMENTS"."""
    made, healed = [], []
    for rule in rules:
        chain, _, words = rule.partition(" ")
        made.append(f"iptables -w -C {chain} {words} 2>/dev/null || iptables -w -I {chain} {words}")
        healed.append(f"while iptables -w -D {chain} {words} 2>/dev/null; do :; done")
    return Fault(name, cause, title, "\n".join(made), "\n".join(healed), place, stores)


def _table(name: str, cause: str, title: str, hook: str, rule: str) -> Fault:
    """A fault of one nftables rule, in its own table and chain."""
    table = f"fault-{name}"
    made = f'nft "table inet {table} {{ chain c {{ type filter hook {hook} priority -10; {rule}; }}; }}"'
    heal = f"nft delete table inet {table} 2>/dev/null || :"
    return Fault(name, cause, title, f"{heal}; {made}", heal)


FAULTS = (
    rule_fault(
        "vxlan-blocked",
        "vxlan-blocked",
        "the host drops incoming overlay packets",
        "INPUT -p udp --dport $DATA -j DROP",
    ),
    rule_fault(
        "vxlan-blocked-out",
        "vxlan-blocked",
        "the host drops outgoing overlay packets",
        "OUTPUT -p udp --dport $DATA -j DROP",
    ),
    rule_fault(
        "vxlan-blocked-from",
        "vxlan-blocked",
        "the host drops overlay packets from one other host",
        'INPUT -s "$PEER" -p udp --dport $DATA -j DROP',
        place=Place.PATH,
    ),
    _table(
        "vxlan-blocked-nft",
        "vxlan-blocked",
        "an nftables rule without a counter drops incoming overlay packets",
        "input",
        "udp dport $DATA drop",
    ),
    rule_fault(
        "vxlan-redirected",
        "vxlan-blocked",
        "the host redirects incoming overlay packets to another port",
        "PREROUTING -t nat -p udp --dport $DATA -j REDIRECT --to-ports 9",
    ),
    rule_fault(
        "gossip-redirected",
        "gossip-blocked",
        "the host redirects incoming gossip to another port",
        "PREROUTING -t nat -p tcp --dport 7946 -j REDIRECT --to-ports 9",
        "PREROUTING -t nat -p udp --dport 7946 -j REDIRECT --to-ports 9",
    ),
    rule_fault(
        "gossip-blocked",
        "gossip-blocked",
        "the host drops incoming gossip over TCP and UDP",
        "INPUT -p tcp --dport 7946 -j DROP",
        "INPUT -p udp --dport 7946 -j DROP",
    ),
    rule_fault(
        "gossip-udp", "gossip-udp", "the host drops incoming gossip over UDP", "INPUT -p udp --dport 7946 -j DROP"
    ),
    rule_fault(
        "store-blocked",
        "store-blocked",
        "the host refuses connections to its Consul server",
        "INPUT -p tcp --dport 8300 -j REJECT --reject-with tcp-reset",
        stores=("consul",),
    ),
    rule_fault(
        "packet-loss",
        "packet-loss",
        "the host drops half of the incoming overlay packets",
        "INPUT -p udp --dport $DATA -m statistic --mode random --probability 0.5 -j DROP",
    ),
    rule_fault(
        "packet-loss-some",
        "packet-loss",
        "the host drops a tenth of the incoming overlay packets",
        "PREROUTING -t raw -p udp --dport $DATA -m statistic --mode random --probability 0.1 -j DROP",
    ),
    # Offsets in bits from the outer UDP header: 39 bytes lead to the inner protocol, 32 to the inner length, 600 into the data.
    _table(
        "corrupt",
        "data-corrupt",
        "four bytes change in each large TCP packet that arrives over an overlay",
        "prerouting",
        "udp dport $DATA @th,312,8 6 @th,256,16 > 1000 @th,4800,32 set 0xdeadbeef",
    ),
    _table(
        "large-dropped",
        "transfer-stalled",
        "the host drops large TCP packets that arrive over an overlay",
        "prerouting",
        "udp dport $DATA @th,312,8 6 @th,256,16 > 1000 drop",
    ),
    rule_fault(
        "loopback-dropped", "loopback-dropped", "the host drops packets that it sends to itself", "INPUT -i lo -j DROP"
    ),
    rule_fault("forward-dropped", "forward-dropped", "the host drops all packets that it forwards", "FORWARD -j DROP"),
    rule_fault(
        "cluster-ports-open",
        "cluster-ports-open",
        "a rule lets containers of the host reach the cluster's ports of one other host",
        'FORWARD -t mangle -d "$PEER" -j ACCEPT',
        place=Place.PATH,
    ),
    rule_fault(
        "cut-off",
        "underlay-blocked",
        "the host drops all TCP and UDP from one other host, except SSH",
        'INPUT -s "$PEER" -p udp -j DROP',
        'INPUT -s "$PEER" -p tcp ! --dport 22 -j DROP',
        place=Place.PATH,
    ),
    Fault(
        "firewall-reload",
        "firewall-reload",
        "chains of the tables filter and nat are flushed, as some firewalls do when they reload",
        "iptables -w -F FORWARD; iptables -w -t nat -F PREROUTING; iptables -w -t nat -F POSTROUTING; iptables -w -t nat -F OUTPUT",
        "systemctl restart docker",
    ),
)
