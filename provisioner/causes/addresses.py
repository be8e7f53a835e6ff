"""The addresses that hosts advertise to each other, and subnets that overlap with a host's routes."""

from provisioner.causes.base import ADVERTISE, Cause, Family
from provisioner.model import Severity

# The variant for an engine that runs with another address than the inventory gives it, and what differs then.
_RUNNING = "running"
_UP = {_RUNNING: "provisioner up INVENTORY sets it to {wanted}, and restarts the engine"}
_DRIFTS = ("engine-uses", "/etc/docker/daemon.json", "gossip")

FAMILY = Family(
    "addresses",
    "Addresses and routes",
    (
        Cause(
            "advertise",
            "no address to advertise",
            Severity.STOP,
            "Each engine advertises the address at which it receives packets. The inventory gives no address for this host"
            " that the host really has, and the host has no address on a network that all hosts share.",
            "give the host an address on the shared network, or set its `advertise` to an interface or address that it has",
            variants=_UP,
            by_up=frozenset({_RUNNING}),
            touches=dict.fromkeys(("", _RUNNING), ADVERTISE),
            drifts=_DRIFTS,
            explains=("engines-apart", "overlay-blocked"),
        ),
        Cause(
            "wrong-interface",
            "the advertised address does not belong to the host alone",
            Severity.STOP,
            "An engine accepts an address that its host does not have, and only logs a warning. The other engines send to that"
            " address, and their packets are lost. The same happens when several hosts advertise one address, often that of"
            " a virtual machine's NAT interface.",
            "set `advertise` to one of these addresses, or to an interface",
            variants={"shared": "set `advertise` to the interface of the network that these hosts share", **_UP},
            by_up=frozenset({_RUNNING}),
            touches=dict.fromkeys(("", "shared", _RUNNING), ADVERTISE),
            drifts=_DRIFTS,
            explains=("engines-apart", "overlay-blocked", "fdb-stale"),
        ),
        Cause(
            "secondary-advertise",
            "the advertised address is a secondary one",
            Severity.STOP,
            "The kernel sends VXLAN packets from the primary address of a network. The other hosts know the engine by the"
            " secondary address, and drop packets from any other (Linux, vxlan_snoop()). Gossip works, but no container can"
            " be reached.",
            "set `advertise` of this host to {primary}",
            variants=_UP,
            by_up=frozenset({_RUNNING}),
            touches=dict.fromkeys(("", _RUNNING), ADVERTISE),
            drifts=_DRIFTS,
            explains=("overlay-blocked", "fdb-stale"),
        ),
        Cause(
            "loopback-advertise",
            "the advertised address is a loopback address",
            Severity.STOP,
            "An engine accepts a loopback address without a warning. No other host can reach it there.",
            "set `advertise` to the host's address on the shared network",
            variants=_UP,
            by_up=frozenset({_RUNNING}),
            touches=dict.fromkeys(("", _RUNNING), ADVERTISE),
            drifts=_DRIFTS,
            explains=("engines-apart", "overlay-blocked", "fdb-stale"),
        ),
        Cause(
            "subnet-overlap",
            "a subnet overlaps with addresses that the host uses",
            Severity.STOP,
            "A network's subnet takes precedence over the host's own routes, resolvers and networks inside it. Containers, or"
            " the host itself, then no longer reach these (moby#26912). A new swarm takes the first subnet of its address pool"
            " for its network ingress, even if the hosts use that subnet (moby#33626).",
            "choose another subnet for the network; `ip route` on the hosts shows which subnets are in use",
            variants={
                "network": "a network can't be renamed: if nothing needs {network} any more, remove its containers, then the network,"
                " and run again: docker network rm {network} (on {host}, for all hosts); otherwise choose another subnet",
                "local": "a network can't be renamed: if nothing needs {network} any more, remove its containers, then the network,"
                " and run again: docker network rm {network} (on the host itself); otherwise choose another subnet",
                "recreate": "the inventory moves {network} to another subnet: run again with --recreate {network}, which does so once no"
                " container is connected to it",
                "ingress": "choose another subnet for the network; or set {setting}",
                "ingress-route": "choose address pools that no host has a route to: set {setting}",
            },
            commands=dict.fromkeys(("network", "local"), ("docker network rm {network}",)),
            touches=dict.fromkeys(("network", "local"), "network {network}"),
        ),
    ),
)
