"""Consul's program from a file on the controller, for hosts without internet access."""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.errors import ProvisionerError

if TYPE_CHECKING:
    from provisioner.inventory import Store

UPLOADED = "/usr/local/bin/consul"


@cache
def program(store: Store) -> tuple[Path, str]:
    """Return the program to upload and its SHA-256 sum. A zip is unpacked first. Raises ProvisionerError."""
    source = store.binary
    if source is None:
        raise ProvisionerError("no store.binary in the inventory", cause="store-binary")
    if store.sha256 and (found := _sum(source)) != store.sha256.lower():
        raise ProvisionerError(
            f"{source} has the SHA-256 sum {found}, not {store.sha256}",
            cause="store-binary",
            cure="download it again, or correct store.sha256",
        )
    if not zipfile.is_zipfile(source):
        return source, _sum(source)
    folder = Path(tempfile.mkdtemp(prefix="provisioner-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with zipfile.ZipFile(source) as archive:
        if "consul" not in archive.namelist():
            raise ProvisionerError(
                f"{source} contains no file `consul`", cause="store-binary", cure="use the zip of a HashiCorp release"
            )
        with archive.open("consul") as packed, (folder / "consul").open("wb") as plain:
            shutil.copyfileobj(packed, plain)
    return folder / "consul", _sum(folder / "consul")


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
