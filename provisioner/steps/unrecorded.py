"""What an earlier version, which kept no record, may have added to a host. A person says whether it did.

If so, it goes onto the record first. From then on all steps treat it like what this version added.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from provisioner import render, stores
from provisioner.model import Action, Drift, Kind
from provisioner.steps import OWNED, ending, remains
from provisioner.steps.base import OfHosts, Work
from provisioner.system.owned import RECORD
from provisioner.system.packages import ENGINE
from provisioner.system.packages.base import ENGINE_FOLDERS

if TYPE_CHECKING:
    from provisioner.controlplane.site import Site
    from provisioner.system.facts import Facts

Note = tuple[str, str]  # kind and name, as in the record


def candidates(site: Site, host: str, *, packages: bool) -> list[Note]:
    """Return what may have been added without a record, with the kinds of the record.

    packages: include packages. Users of installed packages are excluded: they are removed with their package.
    """
    there = remains.found(site.facts[host])
    if not there.incomplete:
        return []
    of_packages = {user for user, package in stores.PACKAGE_OF.items() if package in there.of("installed")}
    known = ending.removable(site, host, shared=True)
    networks = {*ending.removable(site, host, shared=True, unrecorded=True)} - {*known}
    found = {
        "network": networks,
        "user": there.of("user") - of_packages,
        "program": there.of("program"),
        "package": there.of("installed") & set(OWNED.packages) if packages else set(),
    }
    return [(kind, name) for kind, names in found.items() for name in sorted(names - there.noted(kind).keys())]


def _notes(site: Site, host: str, *, packages: bool) -> list[Note]:
    """Return what goes onto the record: the candidates, and what the packages among them have made."""
    there, noted = remains.found(site.facts[host]), candidates(site, host, packages=packages)
    added = {name for kind, name in noted if kind == "package"}
    users = {user for user, package in stores.PACKAGE_OF.items() if package in added}
    noted += [("package-user", name) for name in sorted(users & there.of("user"))]
    groups = users | ({"docker"} if added & ENGINE else set())
    noted += [("package-group", name) for name in sorted(groups & there.of("group"))]
    folders = {*OWNED.folders, *ENGINE_FOLDERS} if added else set()
    return [*noted, *(("package-folder", path) for path in sorted(folders))]


@dataclass(frozen=True)
class Adopt(OfHosts):
    """Put onto the record what an earlier version may have added. packages: packages too."""

    packages: bool = False
    name = "record"
    title = "Record completed"
    reads = ("owned",)
    patience = 0.0
    cure = f"check {RECORD}, then run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        found = ", ".join(name for _, name in candidates(site, host, packages=self.packages))
        return (Drift(Kind.RECORD, RECORD, "incomplete", found, Action.WRITE),) if found else ()

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        notes = _notes(site, host, packages=self.packages)
        return Work(render.script("adopt.sh.j2", notes=notes), "completing the record")

    def done(self, site: Site) -> Site:
        """Return the site as it will be afterwards: what a plan is made from."""
        return replace(site, facts={**site.facts, **{name: self._adopted(site, name) for name in site.live}})

    def _adopted(self, site: Site, host: str) -> Facts:
        facts = site.facts[host]
        lines = "".join(f"note\t{kind}\t{name}\t\n" for kind, name in _notes(site, host, packages=self.packages))
        return replace(facts, raw={**facts.raw, "owned": facts.raw.get("owned", "") + lines})
