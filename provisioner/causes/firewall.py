"""Ports and packet filters."""

from provisioner.causes.base import Cause, Family
from provisioner.model import Severity

FAMILY = Family(
    "firewall",
    "Ports and firewalls",
    (
        Cause(
            "port-taken",
            "another program holds a port of the cluster",
            Severity.STOP,
            "The engine or the store can't listen on a port that another program holds. It fails to start, or starts without"
            " gossip or VXLAN, and the other hosts do not reach it.",
            "stop that program or give it another port; this shows it: ss -lnp 'sport = :{port}'",
            explains=(
                "engines-apart",
                "overlay-blocked",
                "names-unresolved",
                "gossip-blocked",
                "gossip-udp",
                "manager-blocked",
                "swarm-error",
                "engine-down",
            ),
        ),
        Cause(
            "other-firewall",
            "another program manages the firewall",
            Severity.WARNING,
            "A firewall manager such as ufw or firewalld may drop the cluster's rules when it reloads. The cluster's ports are"
            " then closed until the next run puts the rules back.",
            "open {ports} between the hosts in that firewall too, or run `provisioner up INVENTORY` after each of its reloads",
        ),
        Cause(
            "store-users",
            "the firewall would shut out a local user of the store",
            Severity.STOP,
            "Only root and the store's own user may reach the store on its host. The rules would block a program of another"
            " user that uses the store.",
            "set local_users: [{user}] under `store` in the inventory if the program may continue; otherwise stop it",
        ),
    ),
)
