"""Checks the state of the hosts at the end of a round, and keeps their logs if a check fails."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from provisioner.errors import LabError
from tests.chaos.scenario import HOSTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.cluster import Cluster, Run

_LOGS = {
    "journal": "journalctl -q --no-pager -o short-precise",
    "units": "systemctl --no-pager --failed; systemctl --no-pager status docker consul etcd zookeeper",
    "engine": "docker info; docker ps -a; docker network ls --no-trunc; docker network inspect $(docker network ls -q); docker node ls",
    "files": "cat /etc/docker/daemon.json /etc/provisioner/* /etc/consul.d/provisioner.json /etc/etcd/provisioner.json; ls -lR /run/provisioner* /etc/provisioner /etc/docker",
    "sockets": "ss -antup; ip -d address; iptables-save -c; nft list ruleset",
}


def unproven(run: Run) -> list[str]:
    """The problems of a command that should have succeeded and proven its networks."""
    if "Traceback" in run.err:
        return ["a traceback"]
    if run.code != 0:
        return [f"exit code {run.code}: {' / '.join(_errors(run))}"]
    return [] if run.proven else ["exit code 0, but not proven"]


def _errors(run: Run) -> list[str]:
    report = run.report
    errors = [*report.get("errors", ()), *report.get("lost", {}).values()]
    errors += [f["what"] for f in report.get("findings", ()) if f["severity"] == "stop"]
    errors += [proof["error"] for proof in report.get("proofs", ()) if proof["error"]]
    return [" ".join(text.split())[:300] for text in dict.fromkeys(errors)] or run.err.splitlines()[-3:]


def asks_for_another(run: Run) -> bool:
    """Whether the report says to run the same command again."""
    return bool(re.search(r"run (it |the same (command )?|`?provisioner [a-z-]+`? )?again", run.err))


def asks_for_up(run: Run) -> bool:
    """Whether a rotation refused because the store differs from the inventory."""
    return run.code == 1 and "check: rotation-unready" in run.err


def unsettled(run: Run) -> list[str]:
    """The problems of another `up` on a settled cluster, which must not write anything."""
    writes = run.report.get("writes", 0)
    did = [
        f"{o['host']} {o['step']}: {', '.join(d['what'] for d in o['drifts'])}"
        for o in run.report.get("outcomes", ())
        if o["drifts"]
    ]
    wrote = [f"the second up wrote {writes} times ({'; '.join(did)})"] if writes else []
    return [f"second up: {each}" for each in unproven(run)] + wrote


def faults(cluster: Cluster, *, swarm: bool) -> list[str]:
    """The faults on the hosts."""
    hosts = cluster.hosts or HOSTS
    found = [fault for host in hosts for fault in _of_host(cluster, host)]
    for network in ("demo", "other"):
        ids = {
            host: cluster.sh(host, f"docker network inspect -f '{{{{.Id}}}}' {network} 2>/dev/null", check=False)
            for host in hosts
        }
        if swarm:  # a worker lists only networks that it uses
            ids = {host: number for host, number in ids.items() if number}
        if len(set(ids.values())) != 1 or "" in ids.values():
            found.append(f"the hosts do not share one network {network}: {ids}")
        for host in hosts:
            names = cluster.sh(host, "docker network ls --format '{{.Name}}'").split()
            found += [f"{host} has {network} twice"] if names.count(network) > 1 else []
    return found + (list(_of_swarm(cluster, hosts)) if swarm else [])


def _of_host(cluster: Cluster, host: str) -> Iterator[str]:
    failed = cluster.sh(host, "systemctl --failed --plain --no-legend | cut -d' ' -f1", check=False).split()
    if failed:
        yield f"{host}: failed units: {', '.join(failed)}"
    if not cluster.sh(host, "docker version -f '{{.Server.Version}}' 2>/dev/null", check=False):
        yield f"{host}: its engine does not answer"
        return
    running = cluster.sh(host, "docker ps --format '{{.Names}}'").split()
    if missing := {f"app-{host}", "plain"} - set(running):
        yield f"{host}: not running: {', '.join(sorted(missing))}"
    if left := [name for name in running if name not in {f"app-{host}", "plain"}]:
        yield f"{host}: containers are left: {', '.join(left)}"
    places = "/etc/docker /etc/provisioner /etc/systemd/system /etc/consul.d /etc/etcd /etc/zookeeper /run/provisioner /usr/local/bin"
    if left := cluster.sh(
        host, f"find {places} -name '.provisioner.*' -o -path '/run/provisioner/out.*' 2>/dev/null", check=False
    ).split():
        yield f"{host}: temporary files are left: {', '.join(left)}"


def _of_swarm(cluster: Cluster, hosts: tuple[str, ...]) -> Iterator[str]:
    lines = {
        host: cluster.sh(host, "docker node ls --format '{{.Hostname}} {{.Status}}' 2>/dev/null", check=False)
        for host in hosts
    }
    clusters = {cluster.engine(host, "Swarm.Cluster.ID") for host, nodes in lines.items() if nodes}
    if len(clusters) != 1:
        yield f"{len(clusters)} swarms"
    for host, nodes in lines.items():
        if nodes and sorted(nodes.splitlines()) != [f"{name} Ready" for name in sorted(hosts)]:
            yield f"{host}: the swarm's nodes are {nodes.splitlines()}"


def keep_logs(cluster: Cluster, folder: Path) -> None:
    """Save logs of the hosts in the folder that has the output of the commands."""
    for host in HOSTS:
        for name, script in _LOGS.items():
            with suppress(LabError, OSError):
                output = cluster.sh(host, f"({script}) 2>&1", check=False, timeout=60)
                (folder / f"{host}-{name}").write_text(output)
