"""The engine and Consul are installed: from the host's package sources, or Consul from a file of the controller's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner import render
from provisioner.model import Drift
from provisioner.steps.base import Upload, Work
from provisioner.stores.consul import UPLOADED, program
from provisioner.system import facts as system_facts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.controlplane import Site
    from provisioner.transport import Connection

# What to install for a program that is missing; Debian's and Ubuntu's names.
_PACKAGES = {"dockerd": "docker.io", "consul": "consul", "iptables": "iptables", "perl": "perl-base"}
_APT_PATIENCE = 60  # seconds that another program may hold apt's lock


class Packages:
    name = "packages"
    title = "Engine and store installed"
    reads = system_facts.ALL  # an engine that was just installed has changed rules, units and routes
    patience = 0.0
    cure = "look at what apt says of these packages on the host, and run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        programs = site.facts[host].programs
        missing = [name for name in _PACKAGES if name not in programs]
        store = site.inventory.store
        return tuple(
            Drift(f"{UPLOADED}, from {store.binary.name}", "absent", "installed")
            if name == "consul" and store.binary
            else Drift(f"package {_PACKAGES[name]}", "absent", "installed")
            for name in missing
        )

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        packages = [d.what.removeprefix("package ") for d in drift if d.what.startswith("package ")]
        uploads: tuple[Upload, ...] = ()
        if len(packages) < len(drift):
            local, digest = program(site.inventory.store)
            uploads = (Upload(local, UPLOADED, digest, mode=0o755),)
        text = "installing " + ", ".join([*packages, *(["consul (uploaded)"] if uploads else [])])
        script = render.script("packages.sh.j2", packages=packages, patience=_APT_PATIENCE) if packages else ""
        return Work(script, text, deadline=900.0, uploads=uploads)

    def barrier(self, site: Site, connections: Mapping[str, Connection]) -> None:
        pass
