"""The engine and the store are installed, from the host's package sources. Consul can be a file of the controller instead.

If the engines decide the control plane, they are installed first. The store follows when their versions are known: package
sources with a later engine often have no Consul.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner import stores
from provisioner.errors import StepFailed
from provisioner.model import Action, Drift, Kind
from provisioner.steps.base import OfHosts, Upload, Work
from provisioner.system import firewall, packages, reading
from provisioner.system.owned import Owned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provisioner.controlplane import Site
    from provisioner.stores.values import Uploaded

_ENGINE = "dockerd"


class Packages(OfHosts):
    name = "packages"
    # The stores' packages are in stores.OWNED.
    owns = Owned(packages=packages.names(_ENGINE, "docker", firewall.OF_ENGINE))
    title = "Engine and store installed"
    reads = reading.ALL  # the installation of an engine changes rules, units and routes
    patience = 0.0
    cure = "check these packages with the host's package manager, then run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        return tuple(_absent(site, host, program) for program in self._missing(site, host))

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        uploaded = _uploaded(site)
        missing = self._missing(site, host)
        from_packages = [program for program in missing if program not in uploaded]
        uploads = tuple(_upload(uploaded[program]) for program in missing if program in uploaded)
        labels = [_package(site, host, program) for program in from_packages]
        labels += [f"{program} (uploaded)" for program in missing if program in uploaded]
        script = _script(site, host, from_packages) if from_packages else ""
        return Work(script, f"installing {', '.join(labels)}", deadline=900.0, uploads=uploads)

    def _missing(self, site: Site, host: str) -> list[str]:
        """Return the programs that this step installs. The engine is excluded if the step `engines` installs it."""
        wanted = [program for program in site.needs(host) if program != _ENGINE or not site.undecided]
        return [program for program in wanted if program not in site.facts[host].programs]


class Engines(Packages):
    name = "engines"
    title = "Engine installed"

    def _missing(self, site: Site, host: str) -> list[str]:
        return [_ENGINE] if site.undecided and _ENGINE not in site.facts[host].programs else []


def _uploaded(site: Site) -> dict[str, Uploaded]:
    """Return the programs that are uploaded: program -> the controller's file that replaces its package."""
    store = site.managed
    return {store.program: store.uploaded} if store and store.uploaded else {}


def _absent(site: Site, host: str, program: str) -> Drift:
    upload = _uploaded(site).get(program)
    kind, target, of = (
        (Kind.UPLOAD, upload.remote, upload.source.name)
        if upload
        else (Kind.PACKAGE, _package(site, host, program), "")
    )
    return Drift(kind, target, "absent", "installed", Action.INSTALL, of)


def _package(site: Site, host: str, program: str) -> str:
    manager = site.facts[host].package_manager
    return manager.package(program) if manager else program


def _upload(uploaded: Uploaded) -> Upload:
    local, digest = uploaded.program()
    return Upload(local, uploaded.remote, digest, mode=0o755)


def _script(site: Site, host: str, programs: Sequence[str]) -> str:
    manager, units = site.facts[host].package_manager, site.plane.sought(site.inventory).units
    if not manager:
        raise StepFailed(
            f"the host has no supported package manager to install {', '.join(programs)}",
            cause="no-packages",
            host=host,
            tried="installing programs",
            cure="install them by hand, then run again",
        )
    return manager.script(programs, units, stores.OWNED.users)
