"""The engine and the store are installed: from the host's package sources, or Consul from a file of the controller's.

Where the engines that are installed may decide for another control plane, they come first, and the store only when they are
known: the sources that have a later engine often have no Consul.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner import render
from provisioner.model import Drift
from provisioner.steps.base import Upload, Work
from provisioner.system import reading
from provisioner.system.owned import Owned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.controlplane import Site
    from provisioner.stores.base import Uploaded
    from provisioner.transport import Connection

_APT_PATIENCE = 60  # seconds that another program may hold apt's lock
_ENGINE = "dockerd"


class Packages:
    name = "packages"
    owns = Owned(packages=("docker.io", "docker-cli", "iptables", "perl-base"))  # those of stores: stores.OWNED
    title = "Engine and store installed"
    reads = reading.ALL  # an engine that was just installed has changed rules, units and routes
    patience = 0.0
    cure = "look at what apt says of these packages on the host, and run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        programs, upload = site.facts[host].programs, _upload(site)
        wanted = {name: f"package {package}" for name, package in site.needs(host).items()}
        if upload:
            wanted[site.backend.program] = f"{upload.remote}, from {upload.source.name}"
        if site.undecided:  # they come before
            del wanted[_ENGINE]
        return tuple(Drift(what, "absent", "installed") for name, what in wanted.items() if name not in programs)

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        upload = _upload(site)
        packages = [d.what.removeprefix("package ") for d in drift if d.what.startswith("package ")]
        uploads: tuple[Upload, ...] = ()
        if len(packages) < len(drift) and upload:
            local, digest = upload.program()
            uploads = (Upload(local, upload.remote, digest, mode=0o755),)
        text = "installing " + ", ".join([*packages, *([f"{site.backend.program} (uploaded)"] if uploads else [])])
        words = {
            "packages": packages,
            "engine": site.needs(host)[_ENGINE],
            "patience": _APT_PATIENCE,
            "units": site.plane.sought(site.inventory).units,
        }
        script = render.script("packages.sh.j2", **words) if packages else ""
        return Work(script, text, deadline=900.0, uploads=uploads)

    def barrier(self, site: Site, connections: Mapping[str, Connection]) -> None:
        pass


class Engines(Packages):
    name = "engines"
    title = "Engine installed"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        if not site.undecided or _ENGINE in site.facts[host].programs:
            return ()
        return (Drift(f"package {site.needs(host)[_ENGINE]}", "absent", "installed"),)


def _upload(site: Site) -> Uploaded | None:
    """What comes from the controller: of kv's store."""
    return site.backend.uploaded if site.control == "kv" else None
