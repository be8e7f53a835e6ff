"""The host's packet filter: our ports are open to the cluster's other hosts and closed to everyone else.

VXLAN has no authentication and gossip is plaintext here: whoever reaches 4789/udp is inside the overlay.
What is not about our ports is never judged, so SSH can't be cut. Rules of others stay as they are.

Filters (`FILTERS`): iptables where its INPUT is in use or nothing is; nftables where native chains judge input or its service
is enabled; both, each for its own, where both are in use. A filter that has our rules keeps them up to date for good:
rules left behind would shut out the hosts that come later. `_chosen` decides that; nobody else asks which filter a host has.
A host that filters its OUTPUT must let our ports out itself.
What is forwarded to the peers' ports is dropped: see `Policy`.

IPv6: the hosts' own network is IPv4 for now, so over IPv6 nobody is a peer and our ports are simply closed, except on lo:
nftables' table is of family inet, and ip6tables gets two rules, because a socket bound to all addresses (swarm's gossip)
listens on IPv6 as well.

A peer is every address that a host of the inventory has on the network of its advertised one.

ufw and firewalld: our rules stand in front of theirs. Restarts of both and reloads of ufw keep or renew ours; after
`firewall-cmd --reload` the peers are shut out until the next run, since firewalld makes its table anew (tried).
See `others.MANAGERS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provisioner import render
from provisioner.system.firewall import others
from provisioner.system.firewall.base import Rules, says
from provisioner.system.firewall.iptables import Iptables
from provisioner.system.firewall.nftables import Nftables
from provisioner.system.firewall.others import LOADERS
from provisioner.system.firewall.policy import Policy, underlay
from provisioner.system.firewall.ports import Ports, of_swarm, with_store
from provisioner.system.firewall.users import DYNAMIC, READS, Client, clients, uids
from provisioner.system.owned import Owned

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Address

    from provisioner.system.facts import Facts
    from provisioner.system.firewall.base import Filter, Found, Part

__all__ = [
    "DYNAMIC",
    "FILES",
    "FILTERS",
    "LOADERS",
    "OF_ENGINE",
    "OWNED",
    "PROBE",
    "PROGRAMS",
    "REMOVALS",
    "SCRIPT",
    "UNIT",
    "UNIT_FILE",
    "Client",
    "Plan",
    "Policy",
    "Ports",
    "Rules",
    "clients",
    "of_swarm",
    "other_managers",
    "ours",
    "plan",
    "uids",
    "understood",
    "with_store",
]

# The first is for hosts that use none of them: the engine's package brings it along.
FILTERS: tuple[Filter, ...] = (Iptables(), Nftables())
PROGRAMS = tuple(each.programs[0] for each in FILTERS)
REMOVALS = tuple(each.removal for each in FILTERS)

OF_ENGINE = "iptables"  # with this program the engine sets rules of its own, whatever filter its host uses
UNIT = "provisioner-firewall.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
SCRIPT = "/etc/provisioner/firewall.sh"
FILES: tuple[str, ...] = (SCRIPT, UNIT_FILE)
OWNED = Owned(
    files=(SCRIPT,),
    units=(UNIT,),
    chains=tuple(chain for each in FILTERS for chain in each.chains),
    tables=tuple(table for each in FILTERS for table in each.tables),
)

# Section -> commands.
PROBE = {
    "firewall": render.filled(
        render.program("read-firewall.sh"),
        {"FILTERS": " ".join(program for each in FILTERS for program in each.programs), "LOADERS": " ".join(LOADERS)},
    ),
    **{section: command for each in FILTERS for section, command in each.reads.items()},
    **READS,
}


@dataclass(frozen=True)
class Plan:
    """What one host's firewall needs: of each filter its part of the script that sets the rules.

    loaders: the units after whose restart our rules must be renewed. users: the names that stand in the parts behind "@".
    """

    parts: tuple[Part, ...]
    loaders: tuple[str, ...] = ()
    users: tuple[str, ...] = ()

    @property
    def rules(self) -> tuple[Rules, ...]:
        return tuple(rules for part in self.parts for rules in part.rules)

    @property
    def programs(self) -> tuple[str, ...]:
        """Those that the script runs."""
        return tuple(program for part in self.parts for program in part.programs)


def understood(facts: Facts) -> Facts:
    """The same. Raises Malformed if a filter can't parse what the host says of it."""
    for each in FILTERS:
        each.understood(facts.raw)
    return facts


def _found(facts: Facts, ports: Ports) -> tuple[Found, ...]:
    return tuple(each.found(facts.raw, ports) for each in FILTERS)


def _chosen(found: Sequence[Found]) -> tuple[Found, ...]:
    """All that are in use; else the first whose program is there; else the first."""
    used = tuple(each for each in found if each.used)
    return used or (next((each for each in found if each.there), found[0]),)


def plan(facts: Facts, peers: Sequence[IPv4Address], ports: Ports, own: IPv4Address | None = None) -> Plan:
    """What this host needs so that the peers, and nobody else, reach our ports. own: the address that the peers know it by."""
    policy = Policy(ports, tuple(peers), underlay(facts.addresses, peers, own), uids(facts))
    users = tuple(user[1:] for user in policy.owners if user.startswith("@"))
    parts = tuple(each.part(policy) for each in _chosen(_found(facts, ports)))
    return Plan(parts, others.loaders(says(facts.raw)), users)


def ours(facts: Facts, ports: Ports) -> tuple[str, ...]:
    """The names of the rules on this host that have some of ours."""
    return tuple(name for each in _found(facts, ports) for name in each.ours)


def other_managers(facts: Facts, ports: Ports) -> tuple[str, ...]:
    """Who else manages this host's rules: a change through them may drop ours for a while."""
    return others.managers(says(facts.raw), _found(facts, ports))
