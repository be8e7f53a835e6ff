"""The host's packet filter: our ports are open to the cluster's other hosts and closed to everyone else.

VXLAN has no authentication and gossip is plaintext here: whoever reaches 4789/udp is inside the overlay.
What is not about our ports is never judged, so SSH can't be cut. Rules of others stay as they are.

Backends: iptables where its INPUT is in use or nothing is; nftables where native chains judge input or its service is
enabled; both, each for its own, where both are in use. A backend that has our rules keeps them up to date for good:
rules left behind would shut out the hosts that come later.
A host that filters its OUTPUT must let our ports out itself.
What is forwarded to the peers' ports is dropped: see `Policy`.

IPv6: the hosts' own network is IPv4 for now, so over IPv6 nobody is a peer and our ports are simply closed, except on lo:
nftables' table is of family inet, and ip6tables gets two rules, because a socket bound to all addresses (swarm's gossip)
listens on IPv6 as well.

A peer is every address that a host of the inventory has on the network of its advertised one.

ufw and firewalld: our rules stand in front of theirs. Restarts of both and reloads of ufw keep or renew ours; after
`firewall-cmd --reload` the peers are shut out until the next run, since firewalld makes its table anew (tried).
See `other_managers`.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from provisioner.system import strict
from provisioner.system.firewall import iptables, nftables
from provisioner.system.firewall.policy import Policy, underlay
from provisioner.system.firewall.ports import Ports, of_swarm, with_store
from provisioner.system.owned import Owned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provisioner.system.facts import Facts
    from provisioner.system.firewall.iptables import Part

__all__ = [
    "DYNAMIC",
    "FILES",
    "LOADERS",
    "OWNED",
    "PROBE",
    "SCRIPT",
    "UNIT",
    "UNIT_FILE",
    "Client",
    "Plan",
    "Policy",
    "Ports",
    "Rules",
    "clients",
    "iptables",
    "of_swarm",
    "other_managers",
    "ours",
    "plan",
    "uids",
    "understood",
    "with_store",
]

DYNAMIC = "61184-65519"  # the users that systemd makes up for units (DynamicUser=, systemd.exec(5))
UNIT = "provisioner-firewall.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
SCRIPT = "/etc/provisioner/firewall.sh"
FILES: tuple[str, ...] = (SCRIPT, UNIT_FILE)
OWNED = Owned(files=(SCRIPT,), units=(UNIT,), chains=(iptables.CHAIN,), tables=(f"inet {nftables.TABLE}",))

# Units that load rules when they start. Ours comes after them, and again whenever they are restarted or reloaded.
_NATIVE = ("nftables.service", "iptables.service", "ip6tables.service")
_FIREWALLD = "firewalld.service"
LOADERS = (*_NATIVE, "netfilter-persistent.service", "ufw.service", _FIREWALLD)

_CLIENT = re.compile(r"(\d{1,10}) ([0-9A-F]{8}) (\d{1,5}) ([\w.-]{0,15})", re.ASCII)

# Section -> commands. Three short processes. iptables-save without -t because -t would load the table it asks for; -t of nft leaves out the
# elements of named sets, which may be many. An active unit has a link in /run/systemd/units.
PROBE = {
    "firewall": r"""
for p in iptables ip6tables nft; do command -v "$p" >/dev/null && echo "program=$p"; done
[ -e /proc/net/if_inet6 ] && echo ipv6=yes
for u in LOADERS; do
  [ -L "/run/systemd/units/invocation:$u" ] && echo "active=$u"
  for w in /etc/systemd/system/*.wants/"$u"; do [ -L "$w" ] && echo "enabled=$u"; done
done
""".replace("LOADERS", " ".join(LOADERS)),
    "iptables": "iptables-save",
    "ip6tables": "[ -e /proc/net/if_inet6 ] && ip6tables-save",
    "nftables": "nft -t list ruleset",
    "passwd": "cut -d: -f1,3 /etc/passwd",
    # Connections that are neither root's nor the store's own; the programs are looked for only where there are some.
    "clients": r"""
awk -v ports=PORTS -v user=OWNER '
BEGIN { n = split(ports, list, ","); while (n) { port[sprintf("%04X", list[n])] = list[n]; n-- } }
FILENAME == "/etc/passwd" { split($0, f, ":"); if (f[1] == user) own[f[3]] = 1; next }
$4 == "01" && $8 != 0 && !($8 in own) && !($8 >= 61184 && $8 <= 65519) {
  split($3, to, ":"); key = $8 " " substr(to[1], length(to[1]) - 7) " " port[to[2]]
  if (to[2] in port && !seen[key]++ && ++count <= 8) print key, $10
}' /etc/passwd /proc/net/tcp /proc/net/tcp6 | while read -r u a p i; do
  f=$(find /proc/[0-9]*/fd -lname "socket:\[$i\]" 2>/dev/null | head -n 1)
  echo "$u $a $p $(tr -cd 'A-Za-z0-9._-' <"${f%/fd/*}/comm")"
done
""",
}


@dataclass(frozen=True)
class Rules:
    """One backend's rules on one host, found and wanted, in one form; equal texts are equal rules."""

    backend: str  # "iptables" | "ip6tables" | "nftables"
    found: str
    wanted: str


@dataclass(frozen=True)
class Plan:
    """What one host's firewall needs. The texts are what the script on the host applies; "" where not used.

    gates: "family table chain" of each foreign nftables chain that is to let our peers in.
    loaders: the units after whose restart our rules must be renewed. users: the names that stand in the texts behind "@".
    """

    rules: tuple[Rules, ...]
    iptables: tuple[Part, ...] = ()
    ip6tables: tuple[Part, ...] = ()
    nft_own: str = ""
    nft_gate: str = ""
    gates: tuple[str, ...] = ()
    loaders: tuple[str, ...] = ()
    users: tuple[str, ...] = ()


@dataclass(frozen=True)
class Client:
    """A program that has a connection to one of our ports, and is neither root's nor the store's own."""

    uid: int
    address: IPv4Address
    port: int
    program: str


def understood(facts: Facts) -> Facts:
    """The same. Raises Malformed on a rule that can't be split into words, as `iptables` does with each."""
    for program in ("iptables", "ip6tables"):
        for rule in facts.raw.get(program, "").splitlines():
            if rule.startswith("-A ") and (re.search(r"[\"'\\]", rule) or not rule[3:].strip()):  # all others can be
                with strict.understood(f"a rule that {program}-save prints", rule):
                    _, _chain, *_ = shlex.split(rule)
    return facts


@dataclass(frozen=True)
class _Found:
    """The firewall's sections of the facts, understood."""

    says: frozenset[str]
    v4: iptables.Table
    v6: iptables.Table
    nft: nftables.Ruleset


def _found(facts: Facts, ports: Ports) -> _Found:
    raw = facts.raw
    v4 = iptables.parse(raw.get("iptables", ""), ports)
    managed = nftables.IPTABLES - ({"filter"} if v4.native else set())
    return _Found(
        frozenset(raw.get("firewall", "").split()),
        v4,
        iptables.parse(raw.get("ip6tables", ""), ports),
        nftables.parse(raw.get("nftables", ""), ports, managed),
    )


def _backends(found: _Found) -> tuple[bool, bool]:
    """(iptables, nftables). A bare host gets iptables: Docker's package brings it along."""
    # Both load their rules at boot, firewalld some time after it counts as started.
    natives = {"enabled=nftables.service", f"enabled={_FIREWALLD}"}
    nft = found.nft.ours or bool(found.nft.gates) or ("program=nft" in found.says and bool(natives & found.says))
    if found.v4.ours or found.v4.in_use:
        return True, nft
    if nft or ("program=nft" in found.says and "program=iptables" not in found.says):
        return False, True
    return True, False


def plan(facts: Facts, peers: Sequence[IPv4Address], ports: Ports, own: IPv4Address | None = None) -> Plan:
    """What this host needs so that the peers, and nobody else, reach our ports. own: the address that the peers know it by."""
    found = _found(facts, ports)
    with_iptables, with_nft = _backends(found)
    policy = Policy(ports, tuple(peers), underlay(facts.addresses, peers, own), uids(facts))
    rules: list[Rules] = []
    v4: tuple[Part, ...] = ()
    v6: tuple[Part, ...] = ()
    own_table = gate = ""
    gates: tuple[nftables.Chain, ...] = ()
    if with_iptables:
        v4 = iptables.parts(policy)
        rules.append(Rules("iptables", found.v4.found(), iptables.wanted(policy, v4)))
        # One package has both programs. Where neither is there yet, both come with Docker before this is applied.
        if "ipv6=yes" in found.says and ("program=ip6tables" in found.says or "program=iptables" not in found.says):
            v6 = iptables.parts6(policy)
            rules.append(Rules("ip6tables", found.v6.found(), iptables.wanted(policy, v6)))
    if with_nft:
        gates = found.nft.gates
        own_table, gate = nftables.own(policy), nftables.gate(policy)
        rules.append(Rules("nftables", found.nft.found(), nftables.wanted(policy, gates)))
    users = tuple(user[1:] for user in policy.owners if user.startswith("@"))
    return Plan(tuple(rules), v4, v6, own_table, gate, tuple(each.label for each in gates), _loaders(found.says), users)


def uids(facts: Facts) -> dict[str, int]:
    """The users of /etc/passwd. Those that only a directory has (LDAP) are not among them."""
    found = (line.rpartition(":")[::2] for line in facts.raw.get("passwd", "").splitlines())
    return {name: int(number) for name, number in found if number.isdecimal() and number.isascii()}


def clients(facts: Facts) -> tuple[Client, ...]:
    """What the host told of programs at our ports; a line that is not understood is passed over."""
    told = (_CLIENT.fullmatch(line) for line in facts.raw.get("clients", "").splitlines())
    return tuple(
        Client(int(one[1]), IPv4Address(int.from_bytes(bytes.fromhex(one[2]), "little")), int(one[3]), one[4])
        for one in told
        if one
    )


def ours(facts: Facts, ports: Ports) -> tuple[str, ...]:
    """The backends that have rules of ours on this host."""
    found = _found(facts, ports)
    nft = found.nft.ours or any(nftables.JUMP in gate.rules for gate in found.nft.gates)
    there = {"iptables": found.v4.ours, "ip6tables": found.v6.ours, "nftables": nft}
    return tuple(name for name, is_there in there.items() if is_there)


def _loaders(says: frozenset[str]) -> tuple[str, ...]:
    """The loaders that this host uses, never two that exclude each other.

    firewalld's start stops the native units. Were ours part of both, a restart of firewalld would have to stop and to
    restart ours in one go, and systemd would refuse it (tried).
    """
    used = [unit for unit in LOADERS if {f"active={unit}", f"enabled={unit}"} & says]
    if _FIREWALLD in used and f"active={_FIREWALLD}" in says:
        return tuple(unit for unit in used if unit not in _NATIVE)
    if set(used) & set(_NATIVE):
        used = [unit for unit in used if unit != _FIREWALLD]
    return tuple(used)


def other_managers(facts: Facts, ports: Ports) -> tuple[str, ...]:
    """Which of "ufw" and "firewalld" look after this host's rules: a change through them may drop ours for a while."""
    found = _found(facts, ports)
    ufw = found.v4.uses("ufw-")
    firewalld = "active=firewalld.service" in found.says or found.nft.uses("firewalld") or found.v4.uses("INPUT_direct")
    return tuple(name for name, there in (("ufw", ufw), ("firewalld", firewalld)) if there)
