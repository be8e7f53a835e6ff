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
            "stop or move it: ss -lnp 'sport = :{port}'",
            explains=(
                "engines-apart",
                "overlay-blocked",
            ),
        ),
        Cause(
            "other-firewall",
            "another program manages the firewall",
            Severity.WARNING,
            "A firewall manager such as ufw or firewalld may drop the cluster's rules when it reloads. The cluster's ports are"
            " then closed until the next run puts the rules back.",
            "open {ports} between the hosts there too, or run `provisioner up` after a reload",
        ),
        Cause(
            "store-users",
            "the firewall would shut out a local user of the store",
            Severity.STOP,
            "Only root and the store's own user may reach the store on its host. A program of another user that uses the store"
            " would be refused as soon as the rules are in place.",
            "write local_users: [{user}] into `store` of the inventory if it may go on, or stop it",
        ),
    ),
)
