"""The networks of the inventory."""

from provisioner.causes.base import Cause, Family
from provisioner.model import Severity

FAMILY = Family(
    "networks",
    "Networks and endpoints",
    (
        Cause(
            "endpoint-left",
            "stale endpoints in the store",
            Severity.WARNING,
            "A host that died or was set up anew leaves its containers' endpoints in the store. No container can start under"
            " such a name on the network, and names may resolve to addresses that nobody has.",
            "free them: {commands}",
            variants={"gone": "if that host is gone for good, free them: provisioner remove {address} INVENTORY"},
            explains=("name-stale",),
        ),
        Cause(
            "parent-missing",
            "the parent interface does not exist",
            Severity.STOP,
            "A macvlan or ipvlan network sits on an interface of the host. The engine creates a VLAN of an existing interface,"
            " and nothing else.",
            "set `parent` of the network to one of this host's: {interfaces}",
        ),
        Cause(
            "kernel-without",
            "the kernel lacks what a network needs",
            Severity.STOP,
            "An engine creates such a network even if its kernel can't carry it. Then no container starts on it, or no packet"
            " passes.",
            "take another kernel, another driver, or leave the host out with `hosts`",
            variants={"encrypted": "take another kernel, or take `encrypted` out of it"},
            explains=(
                "probe-failed",
                "packets-readable",
            ),
        ),
        Cause(
            "swarm-network",
            "only a swarm supports this option",
            Severity.STOP,
            "On an external store any container may join a network, and engines exchange no keys for encryption. An engine"
            " creates an encrypted network all the same, and no container can join it.",
            "take `{option}` out of it, or set control_plane: swarm",
        ),
    ),
)
