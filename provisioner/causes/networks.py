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
            "A host that died or was reinstalled leaves its containers' endpoints in the store. No container can start under"
            " such a name on the network, and names may resolve to addresses that no container has.",
            "remove the endpoints: {commands}",
            variants={
                "gone": "if that host is gone for good, remove its endpoints: provisioner remove {address} INVENTORY"
            },
            explains=("name-stale",),
        ),
        Cause(
            "endpoint-lost",
            "the store has lost the endpoints of running containers",
            Severity.ERROR,
            "Engines read the names and addresses of containers on other hosts from the store. Somebody deleted its keys, or restored it from an"
            " old copy. Engines that read it again, such as after a restart, no longer know these containers.",
            "restart these containers, which writes their endpoints again",
            commands={"": ("docker restart {names}",)},
            explains=("names-unresolved", "name-stale"),
        ),
        Cause(
            "resolver-replaced",
            "a container does not ask the engine's DNS server",
            Severity.WARNING,
            "Only the engine's DNS server, 127.0.0.11, knows the names of containers. Somebody, or a program in the container, has written"
            " another server to its /etc/resolv.conf. This may be on purpose, but names of other containers then do not resolve there.",
            "if it should find containers by name, restart it, which writes the file again: {restart}",
        ),
        Cause(
            "leaked-address",
            "an address is in use, but no container has it",
            Severity.ERROR,
            "The network's address pool marks the address as taken, and no container on any host has it. An engine crashed between"
            " two changes, or lost its store for a moment (moby#27398, moby#32634). Containers that get this address do not start.",
            "restart the engine on {host}, which frees what only it remembers; otherwise recreate the network when no container needs"
            " it: provisioner up --recreate {network} INVENTORY. Never delete keys of the store by hand",
            explains=("probe-failed",),
        ),
        Cause(
            "process-gone",
            "a container has ended, and its engine lists it as running",
            Severity.ERROR,
            "The container's namespace still answers echo requests, but no program is left in it. The program that watches the container"
            " (containerd-shim) was killed, for example for lack of memory, so the engine did not notice the end.",
            "restart these containers",
            commands={"": ("docker restart {names}",)},
        ),
        Cause(
            "network-detached",
            "a container runs without its network",
            Severity.WARNING,
            "The container was created on a network of the cluster, and is on no network now. An engine that starts before its"
            " swarm is ready may start a container without it. Somebody may also have disconnected it on purpose.",
            "if it should be on its network, connect it on {host}, since a restart is not enough: {commands}",
        ),
        Cause(
            "parent-missing",
            "the parent interface does not exist",
            Severity.STOP,
            "A macvlan or ipvlan network sits on an interface of the host. The only interfaces that the engine creates itself"
            " are VLANs of an existing one.",
            "set `parent` of the network to an interface of this host: {interfaces}",
        ),
        Cause(
            "kernel-without",
            "the kernel lacks what a network needs",
            Severity.STOP,
            "An engine creates such a network even if its kernel can't carry it. Then no container starts on it, or no packet"
            " passes.",
            "use another kernel or another driver, or exclude the host with `hosts` of the network",
            variants={
                "encrypted": "use another kernel, or remove `encrypted` from the network",
                "vxlan": "install the kernel's package with the module vxlan (Raspberry Pi: linux-modules-extra-raspi), or use"
                " another kernel",
            },
            explains=(
                "probe-failed",
                "overlay-blocked",
                "packets-readable",
            ),
        ),
        Cause(
            "swarm-network",
            "only a swarm supports this option",
            Severity.STOP,
            "On an external store any container may join a network, and engines exchange no keys for encryption. An engine"
            " creates an encrypted network anyway, but no container can join it.",
            "remove `{option}` from the network, or set control_plane: swarm",
        ),
    ),
)
