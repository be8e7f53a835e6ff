"""A file on the host names the format of our files. It is written first, so that older versions leave the host alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner import render
from provisioner.steps.base import OfHosts, Work, differing
from provisioner.system import version

if TYPE_CHECKING:
    from provisioner.controlplane import Site
    from provisioner.model import Drift


class Version(OfHosts):
    name = "version"
    owns = version.OWNED
    title = "Format of the files"
    reads = ("files",)
    patience = 0.0
    cure = f"check {version.PATH}, then run again"

    def drift(self, site: Site, host: str) -> tuple[Drift, ...]:
        return tuple(differing(site.facts[host], {version.PATH: version.TEXT}))

    def work(self, site: Site, host: str, drift: tuple[Drift, ...]) -> Work:
        script = render.script("version.sh.j2", path=version.PATH, text=version.TEXT)
        return Work(script, "recording the format of the files", deadline=60.0)
