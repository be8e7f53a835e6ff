"""The Docker engine and its configuration."""

from provisioner.causes.base import VERSION, Cause, Family
from provisioner.model import Severity

FAMILY = Family(
    "engine",
    "The engine",
    (
        Cause(
            "no-engine-unit",
            "the engine has no usable systemd unit",
            Severity.STOP,
            "The engine is installed, but systemd can't start it, so a run can neither restart it nor have it start at boot.",
            "install the engine as a package with a systemd unit",
            variants={"masked": "systemctl unmask docker"},
        ),
        Cause(
            "cloned-engine-id",
            "two engines with one ID",
            Severity.STOP,
            "Machines cloned from one image share /etc/docker/key.json, and with it the engine's ID. Discovery treats such"
            " engines as one (classicswarm#362).",
            "on all but one: systemctl stop docker; rm /etc/docker/key.json; systemctl start docker",
            explains=("engines-apart",),
        ),
        Cause(
            "engine-too-new",
            "the engine no longer supports external stores",
            Severity.STOP,
            "Docker 23.0 removed external stores. A newer engine does not start with the configuration that a store needs.",
            "use an engine up to 20.10, such as Debian 11's docker.io; or put all hosts into a swarm: control_plane: swarm",
            touches={"": VERSION},
        ),
        Cause(
            "driver-not-built",
            "the engine was built without this store driver",
            Severity.STOP,
            "Some distributions build the engine without the driver of one store; Debian 12's docker.io has none for Consul. A"
            " reload reports nothing, and the next start of the engine fails.",
            "use Debian 11's docker.io 20.10.5 or Docker's own 20.10",
            touches={"": VERSION},
        ),
        Cause(
            "daemon-json-broken",
            "daemon.json is not valid",
            Severity.STOP,
            "The engine ignores a reload when it can't read daemon.json, and does not start the next time. The file is left"
            " unchanged, since its author's intent is unknown.",
            "fix the file by hand; `python3 -m json.tool {path}` shows where it is invalid. The run did not change it",
            explains=("engine-down",),
        ),
        Cause(
            "daemon-json-refused",
            "the engine rejects daemon.json",
            Severity.STOP,
            "daemon.json has a key or a value that this version of the engine does not accept. The engine ignores a reload, and"
            " does not start the next time.",
            "correct or remove the key that the engine names",
            explains=("engine-down",),
        ),
        Cause(
            "flag-conflict",
            "an option is set in daemon.json and on the command line",
            Severity.STOP,
            "An engine does not start when one option is set both in daemon.json and on its command line (moby#25471).",
            "remove these flags from {place}",
            explains=("engine-down",),
        ),
        Cause(
            "store-keys-left",
            "daemon.json still has the keys of an external store",
            Severity.STOP,
            "From Docker 23.0 on, an engine that finds keys of an external store in daemon.json does not start. This happens"
            " after an upgrade.",
            "remove these keys from {path}, then: systemctl restart docker",
            explains=("engine-down",),
        ),
        Cause(
            "live-restore",
            "live-restore is enabled in a swarm",
            Severity.STOP,
            "Live-restore and swarm mode exclude each other: the engine refuses to join, or does not start.",
            "remove live-restore from {path}, then: systemctl reload docker",
            explains=("engine-down",),
        ),
        Cause(
            "engine-open",
            "the engine listens on the network",
            Severity.ERROR,
            "Whoever reaches a plain TCP port of an engine is root on its host. It is safe only with tlsverify.",
            "remove this address from `hosts` in {path}, or set tlsverify",
            warns="it was only read in daemon.json, and not tried",
            variants={
                "answers": "let the engine no longer listen on {socket}: see `hosts` in /etc/docker/daemon.json, and -H in systemctl cat docker; or set tlsverify"
            },
        ),
    ),
)
