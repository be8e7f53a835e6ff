"""The job of `provisioner up` as a user of pyinfra would write it."""

from pathlib import Path

from pyinfra import host, inventory
from pyinfra.operations import files, server, systemd

TEXTS = Path(__file__).parent / "files"
NETWORK, SUBNET = "demo", "10.99.0.0/24"

everyone = [
    (each.name, each.data.address) for each in sorted(inventory.hosts.values(), key=lambda each: each.data.number)
]
values = {
    "node": host.name,
    "address": host.data.address,
    "peers": [address for name, address in everyone if name != host.name],
    "servers": [address for _, address in everyone[:3]],
}

files.directory(name="Consul's folder", path="/var/lib/consul", user="consul", group="consul", mode="750")
rules = files.template(
    name="Firewall script",
    src=str(TEXTS / "firewall.sh.j2"),
    dest="/etc/provisioner/firewall.sh",
    mode="755",
    **values,
)
rules_unit = files.put(
    name="Firewall unit",
    src=str(TEXTS / "provisioner-firewall.service"),
    dest="/etc/systemd/system/provisioner-firewall.service",
    mode="644",
)
config = files.template(
    name="Consul's configuration",
    src=str(TEXTS / "consul.json.j2"),
    dest="/etc/consul.d/provisioner.json",
    group="consul",
    mode="640",
    **values,
)
unit = files.put(
    name="Consul's unit", src=str(TEXTS / "consul.service"), dest="/etc/systemd/system/consul.service", mode="644"
)
dropin = files.put(
    name="Engine's drop-in",
    src=str(TEXTS / "docker-dropin.conf"),
    dest="/etc/systemd/system/docker.service.d/provisioner.conf",
    mode="644",
)
systemd.daemon_reload(
    name="Reload systemd", _if=lambda: rules_unit.did_change() or unit.did_change() or dropin.did_change()
)
systemd.service(name="Start the firewall", service="provisioner-firewall", running=True, enabled=True)
systemd.service(name="Restart the firewall", service="provisioner-firewall", restarted=True, _if=rules.did_change)
systemd.service(name="Start Consul", service="consul", running=True, enabled=True)
server.shell(
    name="Wait for a leader of Consul",
    commands="until curl -s 127.0.0.1:8500/v1/status/leader | grep -q :; do sleep 0.05; done",
    _timeout=60,
)
settings = files.template(
    name="daemon.json", src=str(TEXTS / "daemon.json.j2"), dest="/etc/docker/daemon.json", mode="644", **values
)
systemd.service(name="Reload the engine", service="docker", reloaded=True, _if=settings.did_change)
server.shell(
    name="Wait for the engine's gossip", commands="until ss -lnt | grep -q :7946; do sleep 0.05; done", _timeout=60
)
server.shell(
    name="Create the network",
    commands=f"docker network inspect {NETWORK} >/dev/null 2>&1 || "
    f"docker network create --driver overlay --subnet {SUBNET} {NETWORK}",
    _run_once=True,
)
server.script(name="Start a probe", src=str(TEXTS / "start-probe.sh"), args=(host.name, NETWORK))
server.script(
    name="Reach every other probe",
    src=str(TEXTS / "reach.sh"),
    args=(host.name, *(name for name, _ in everyone if name != host.name)),
)
server.shell(name="Remove the probe", commands=f"docker rm -f probe-{host.name} && docker rmi bench/probe")
