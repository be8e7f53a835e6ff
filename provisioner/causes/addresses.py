"""The addresses that hosts advertise to one another, and the routes that overlap with a network."""

from provisioner.causes.base import Cause, Family
from provisioner.model import Severity

FAMILY = Family(
    "addresses",
    "Addresses and routes",
    (
        Cause(
            "advertise",
            "no address to advertise",
            Severity.STOP,
            "Each engine tells the others at which address its packets arrive. The inventory gives no address for this host"
            " that the host really has, and there is no network that all hosts share.",
            "give it an address there, or set `advertise` of this host to an interface or an address that it has",
        ),
        Cause(
            "wrong-interface",
            "the advertised address does not belong to the host alone",
            Severity.STOP,
            "An engine accepts an address that its host does not have, and only logs a warning. The other engines send to that"
            " address, and their packets reach nobody. The same happens when several hosts advertise one address, often that of"
            " a virtual machine's NAT interface.",
            "set `advertise` to one of these addresses, or to an interface",
            variants={"shared": "set `advertise` to the interface of the network that these hosts share"},
            explains=(
                "engines-apart",
                "overlay-blocked",
            ),
        ),
        Cause(
            "secondary-advertise",
            "the advertised address is a secondary one",
            Severity.STOP,
            "The kernel sends VXLAN packets from the primary address of a network. The other hosts know the engine by the"
            " secondary address, and drop packets from any other (Linux, vxlan_snoop()). Gossip works, and no container is"
            " reached.",
            "set `advertise` of this host to {primary}",
            explains=("overlay-blocked",),
        ),
        Cause(
            "loopback-advertise",
            "the advertised address is a loopback address",
            Severity.STOP,
            "An engine accepts a loopback address without a word. No other host can reach it there.",
            "set `advertise` to the host's address on the shared network",
            explains=(
                "engines-apart",
                "overlay-blocked",
            ),
        ),
        Cause(
            "subnet-overlap",
            "a subnet overlaps with what the host reaches",
            Severity.STOP,
            "A network's subnet takes precedence over the host's own routes, resolvers and networks inside it. Containers, or"
            " the host itself, then no longer reach these (moby#26912). A new swarm takes the first subnet of its address pool"
            " for its network ingress, whatever the hosts reach there (moby#33626).",
            "choose another subnet for the network; `ip route` on the hosts shows what is taken",
            variants={
                "ingress": "choose another subnet for the network; or set {setting}",
                "ingress-route": "set, to a range that no host reaches, {setting}",
            },
        ),
    ),
)
