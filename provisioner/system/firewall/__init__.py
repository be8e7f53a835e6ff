"""The host's packet filter: our ports are open to the cluster's other hosts and closed to everyone else.

VXLAN has no authentication, and gossip is plaintext here: whoever reaches 4789/udp is inside the overlay.
Our rules match our ports only, so SSH can't be cut off. Rules of others are left unchanged.

Which filter gets the rules (`FILTERS`): iptables if its INPUT is in use, or if no filter is; nftables if native chains filter
input, or if its service is enabled; both if both are in use. A filter that already has our rules keeps getting updates:
outdated rules would shut out hosts that are added later. Only `_chosen` decides this.
On a host that filters its OUTPUT, that filter must accept our ports.
Packets that are forwarded to the peers' ports are dropped: see `Policy`.

IPv6: the hosts' underlay is IPv4, so no peer uses IPv6, and our ports are closed there except on lo. A socket that is bound
to all addresses (swarm's gossip) listens on IPv6 too. nftables' table is of family inet, and ip6tables gets its own rules.

Peers are all addresses that the inventory's hosts have on the network of their advertised address.

ufw and firewalld: our rules come before theirs. Our rules survive restarts of both, and reloads of ufw. After
`firewall-cmd --reload` the peers are shut out until the next run, since firewalld recreates its table (tested).
See `others.MANAGERS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provisioner import render
from provisioner.system.firewall import others
from provisioner.system.firewall.base import Rules, says
from provisioner.system.firewall.counted import COUNTED, LISTED, SHOWN, Rule, in_own_tables, words
from provisioner.system.firewall.iptables import Iptables
from provisioner.system.firewall.nftables import Nftables
from provisioner.system.firewall.others import LOADERS
from provisioner.system.firewall.policy import Policy, underlay
from provisioner.system.firewall.ports import Ports, of_swarm, with_store
from provisioner.system.firewall.users import CLIENTS, DYNAMIC, READS, Client, clients, uids
from provisioner.system.owned import Owned

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Address

    from provisioner.system.facts import Facts
    from provisioner.system.firewall.base import Filter, Found, Part

__all__ = [
    "CLIENTS",
    "COUNTED",
    "DYNAMIC",
    "FILES",
    "FILTERS",
    "LISTED",
    "LOADERS",
    "OF_ENGINE",
    "OWNED",
    "PROBE",
    "PROGRAMS",
    "REMOVALS",
    "SCRIPT",
    "SHOWN",
    "UNIT",
    "UNIT_FILE",
    "Client",
    "Plan",
    "Policy",
    "Ports",
    "Rule",
    "Rules",
    "clients",
    "in_own_tables",
    "of_swarm",
    "other_managers",
    "ours",
    "plan",
    "uids",
    "understood",
    "with_store",
    "words",
]

# The first one is for hosts that use no filter: it is installed with the engine's package.
FILTERS: tuple[Filter, ...] = (Iptables(), Nftables())
PROGRAMS = tuple(each.programs[0] for each in FILTERS)
REMOVALS = tuple(each.removal for each in FILTERS)

OF_ENGINE = "iptables"  # the program with which the engine sets its own rules, whichever filter the host uses
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
    """One host's firewall: for each chosen filter, its part of the script that sets the rules.

    loaders: the units after whose restart our rules must be set again. users: the names that the parts contain as "@NAME".
    """

    parts: tuple[Part, ...]
    loaders: tuple[str, ...] = ()
    users: tuple[str, ...] = ()

    @property
    def rules(self) -> tuple[Rules, ...]:
        return tuple(rules for part in self.parts for rules in part.rules)

    @property
    def programs(self) -> tuple[str, ...]:
        """The programs that the script runs."""
        return tuple(program for part in self.parts for program in part.programs)


def understood(facts: Facts) -> Facts:
    """Return the same facts. Raises Malformed if a filter can't parse its sections."""
    for each in FILTERS:
        each.understood(facts.raw)
    return facts


def _found(facts: Facts, ports: Ports) -> tuple[Found, ...]:
    return tuple(each.found(facts.raw, ports) for each in FILTERS)


def _chosen(found: Sequence[Found]) -> tuple[Found, ...]:
    """Return all filters in use; else the first one whose program is installed; else the first one."""
    used = tuple(each for each in found if each.used)
    return used or (next((each for each in found if each.installed), found[0]),)


def plan(facts: Facts, peers: Sequence[IPv4Address], ports: Ports, own: IPv4Address | None = None) -> Plan:
    """Return the plan that lets only the peers reach our ports. own: the address that this host advertises."""
    policy = Policy(ports, tuple(peers), underlay(facts.addresses, peers, own), uids(facts))
    users = tuple(user[1:] for user in policy.owners if user.startswith("@"))
    parts = tuple(each.part(policy) for each in _chosen(_found(facts, ports)))
    return Plan(parts, others.loaders(says(facts.raw)), users)


def ours(facts: Facts, ports: Ports) -> tuple[str, ...]:
    """Return the names of the rule sets on this host that contain rules of ours."""
    return tuple(name for each in _found(facts, ports) for name in each.ours)


def other_managers(facts: Facts, ports: Ports) -> tuple[str, ...]:
    """Return the other managers of this host's rules. A change through them may drop our rules for a while."""
    return others.managers(says(facts.raw), _found(facts, ports))
