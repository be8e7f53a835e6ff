"""The overlay's and the store's ports are open to the cluster's other hosts and closed to everyone else.

The step compares the rules in force, so it notices if another program has flushed them. One script on the host applies the
rules. This step runs it; a unit runs it at boot, and after other programs have loaded their rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner import render
from provisioner.errors import StepFailed
from provisioner.model import Action, Drift, Kind
from provisioner.steps.base import OfHosts, Work
from provisioner.system import firewall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provisioner.controlplane import Site
    from provisioner.system.packages.base import PackageManager


class Firewall(OfHosts):
    name = "firewall"
    owns = firewall.OWNED
    title = "Firewall"
    reads = ("firewall", "files", "units")
    patience = 0.0
    cure = "check the unit (systemctl status provisioner-firewall), and which other programs set rules there"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        port = site.inventory.target(host).port
        if port in site.ports.tcp:
            raise StepFailed(
                f"SSH uses port {port}, which belongs to the cluster and would be closed to you",
                cause="ssh-port-taken",
                host=host,
                tried="planning the firewall",
                cure="let sshd listen on another port and set `port` of this host",
            )
        facts = site.facts[host]
        plan = _plan(site, host)
        drift = [
            Drift(Kind.RULES, rules.name, rules.found, rules.wanted, is_file=True)
            for rules in plan.rules
            if rules.found != rules.wanted
        ]
        users = _missing(site, host)
        drift = [*(Drift(Kind.USER, name, "absent", "present", Action.CREATE) for name in users), *drift]
        for path, text in _files(plan).items():
            found = facts.files.get(path, "")
            if found != text:  # a diff of the script would only repeat the diff of the rules
                changed = "for other rules" if found else "absent"
                short = Drift(Kind.FILE, path, changed, "for these rules")
                drift.append(short if drift else Drift(Kind.FILE, path, found, text, is_file=True))
        unit = facts.unit(firewall.UNIT)
        if not unit.enabled:
            drift.append(Drift(Kind.BOOT, firewall.UNIT, "off", "on", Action.ENABLE))
        if not unit.up:  # at boot it may still be waiting for firewalld
            drift.append(Drift(Kind.UNIT, firewall.UNIT, unit.active, "active", Action.START))
        return tuple(drift)

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        plan = _plan(site, host)
        files = _files(plan)
        script = render.script(
            "firewall-step.sh.j2",
            closed=site.ports.tcp,
            users=_missing(site, host),
            programs=plan.programs,
            install=_install(site.facts[host].package_manager, plan.programs),
            script_path=firewall.SCRIPT,
            script=files[firewall.SCRIPT],
            unit=firewall.UNIT,
            unit_path=firewall.UNIT_FILE,
            unit_text=files[firewall.UNIT_FILE],
        )
        return Work(script, "setting the firewall's rules", deadline=120.0)


def _install(manager: PackageManager | None, programs: Sequence[str]) -> str:
    """Return the cure for a host that lacks the programs of its packet filter."""
    if not manager:
        return f"install the packet filter's programs by hand ({', '.join(programs)}), then run again"
    names = dict.fromkeys(manager.package(program) for program in programs)
    return f"install the package {' and '.join(names)} ({manager.command(programs)}), then run again"


def _plan(site: Site, host: str) -> firewall.Plan:
    return firewall.plan(site.facts[host], site.peers(host), site.ports, site.advertise.get(host))


def _missing(site: Site, host: str) -> tuple[str, ...]:
    """Return the store's user if it does not exist on a host that runs the store's server or agent.

    The rules name this user, and they are applied before the store is installed.
    """
    store = site.managed
    if not store or not store.runs_on(site, host) or "passwd" not in site.facts[host].raw:
        return ()
    there = firewall.uids(site.facts[host])
    return tuple(user for user in store.ports.users if not user[0].isdecimal() and user not in there)


def _files(plan: firewall.Plan) -> dict[str, str]:
    """Return the files (path -> text) that apply the rules at boot."""
    return {
        firewall.SCRIPT: render.script("firewall.sh.j2", plan=plan),
        firewall.UNIT_FILE: render.text(
            "firewall.service.j2", loaders=firewall.LOADERS, used=plan.loaders, script=firewall.SCRIPT
        ),
    }
