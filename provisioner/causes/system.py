"""The host itself: rights, programs, clock, disk, name."""

from provisioner.causes.base import Cause, Family
from provisioner.model import Severity

FAMILY = Family(
    "system",
    "The host",
    (
        Cause(
            "no-root",
            "no root access",
            Severity.STOP,
            "Reading the firewall, the sockets and the engine's files requires root. Without root, a run can't tell whether the"
            " host is sound, so it checks and changes nothing there.",
            "log in as root, run the command with --ask-sudo-password, or let {user} use sudo without a password:"
            " `{user} ALL=(ALL) NOPASSWD: ALL` in sudoers",
        ),
        Cause(
            "newer-version",
            "a newer version set the hosts up",
            Severity.STOP,
            "An older version does not know everything that a newer one writes. It would report the difference as drift, and"
            " revert it on hosts that work.",
            "update provisioner on this machine: {version}",
        ),
        Cause(
            "no-perl",
            "no Perl",
            Severity.STOP,
            "Perl programs read and probe the hosts. Without Perl, a run can't query the engine and the store, so it checks and"
            " changes nothing there. Perl is part of every Debian and Ubuntu, but not of every minimal installation of other"
            " distributions.",
            "install Perl on the host ({command}) and run again",
            explains=("advertise", "drift", "host-lost"),
        ),
        Cause(
            "no-systemd",
            "no systemd",
            Severity.STOP,
            "systemd units start the engine, the store and the firewall rules. Without systemd, none of them would return after"
            " a reboot.",
            "use a host with systemd",
        ),
        Cause(
            "no-packages",
            "missing programs can't be installed",
            Severity.STOP,
            "Programs that the cluster needs are missing, and the host has no package manager that can install them.",
            "install {programs} by hand and run again. Consul can be uploaded: store.binary in the inventory",
        ),
        Cause(
            "clock-skew",
            "clocks differ",
            Severity.STOP,
            "Certificates are rejected before they are valid and after they expire. Leases and locks in a store expire too"
            " early when clocks differ. The engines then lose each other, although each looks healthy by itself.",
            "set the clocks by NTP: timedatectl set-ntp true (or install systemd-timesyncd or chrony)",
            explains=("swarm-certificate",),
        ),
        Cause(
            "disk-full",
            "disk full",
            Severity.STOP,
            "An engine or a store that can't write stops, or starts with half of its files. An installation that runs out of"
            " space leaves packages half configured.",
            "free space on {mount}; its largest folders: du -xh {mount} | sort -h | tail",
        ),
        Cause(
            "same-machine",
            "two entries of the inventory reach one machine",
            Severity.STOP,
            "The entries have the same boot ID and the same machine ID, so they are one machine with two addresses or names."
            " Each change of one also changes the other, and the machine would join the cluster twice. What else is found may"
            " follow from this.",
            "remove one of these entries from the inventory, or correct its address: {entries}",
            explains=(
                "duplicate-hostname",
                "cloned-engine-id",
                "wrong-interface",
                "address-conflict",
                "underlay-blocked",
                "duplicate-ip",
                "port-taken",
                "drift",
            ),
        ),
        Cause(
            "duplicate-hostname",
            "two hosts with one hostname",
            Severity.STOP,
            "The engines' gossip identifies its members by hostname. Two engines with one name evict each other again and"
            " again, and each of them loses the containers of the other hosts (moby#19301).",
            "give each host its own name (hostnamectl set-hostname NAME), then restart its engine",
            explains=("engines-apart",),
        ),
        Cause(
            "host-lost",
            "a host can't be examined",
            Severity.ERROR,
            "The run could not connect to the host, or the host stopped answering. Only what other hosts see of it is known.",
            "check that the host is up and sshd runs there; if it is gone for good: provisioner remove {host} INVENTORY",
            variants={"told": "{cure}"},
            explains=(
                "engines-apart",
                "overlay-blocked",
                "names-unresolved",
                "store-no-leader",
                "swarm-leaderless",
                "probe-failed",
            ),
        ),
        Cause(
            "drift",
            "hosts differ from the inventory",
            Severity.ERROR,
            "Somebody or something changed the hosts since the last run, or the inventory was changed but not applied. Before the"
            " first `up`, everything differs.",
            "`provisioner plan INVENTORY` shows the differences, and `provisioner up INVENTORY` repairs them",
            fixable=True,
        ),
        Cause(
            "unexplained",
            "a proof failed, and no known cause explains it",
            Severity.ERROR,
            "The network does not work, but nothing that was observed is a known cause.",
            "run `provisioner verify -v INVENTORY` for all details of the proof",
        ),
    ),
)
