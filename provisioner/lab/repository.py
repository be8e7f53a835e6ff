"""The lab's own apt repository: packages that hosts without internet access can install."""

from __future__ import annotations

import hashlib
import shlex
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from typing import TYPE_CHECKING

from provisioner.lab.shell import run

if TYPE_CHECKING:
    from pathlib import Path

# Runs inside the new root, so that its apt decides which packages are missing. mmdebstrap passes the root as $1.
APT_GET = 'env -u TMPDIR chroot "$1" apt-get --quiet --yes --no-install-recommends'


def source_hooks(suite: str, others: list[str]) -> list[str]:
    """Options of mmdebstrap that let apt in the new root install `package/suite` from the suites `others`.

    Dependencies come from there too if `suite` has none that is new enough. All other packages stay those of `suite`.
    """
    if not others:
        return []
    more = "".join(rf"\n\1 {other} \2" for other in others)
    return [
        f"--customize-hook=sed -i -E 's/^(.*) {suite} (.*)$/&{more}/' \"$1\"/etc/apt/sources.list",
        f"--customize-hook={APT_GET} update",
        f'--aptopt=APT::Default-Release "{suite}"',
    ]


def download_hooks(packages: tuple[str, ...], folder: Path) -> list[str]:
    """Options of mmdebstrap that download `packages`, and dependencies that the new root lacks, into `folder`.

    A single request downloads all of them, so `packages` must not conflict with one another.
    """
    if not packages:
        return []
    hooks = ['--customize-hook=mkdir -p "$1/packages/partial"']
    hooks += [
        f"--customize-hook={APT_GET} --download-only -o Dir::Cache::Archives=/packages install {' '.join(packages)}"
    ]
    return [
        *hooks,
        f'--customize-hook=rm -rf "$1/packages/partial" "$1/packages/lock"; mv "$1/packages" {shlex.quote(str(folder))}',
    ]


def index(folder: Path) -> None:
    """Write the index of all packages in `folder`, for apt's `deb [trusted=yes] URL ./`. Raises LabError."""
    packages = sorted(folder.glob("*.deb"))
    with ThreadPoolExecutor(4) as pool:
        text = "\n".join(pool.map(_entry, packages))
    (folder / "Packages").write_text(text)
    data = text.encode()
    (folder / "Release").write_text(
        f"Suite: lab\nDate: {formatdate(usegmt=True)}\nSHA256:\n {hashlib.sha256(data).hexdigest()} {len(data)} Packages\n"
    )


def _entry(package: Path) -> str:
    control = run(["dpkg-deb", "--field", str(package)])
    data = package.read_bytes()
    return f"{control.rstrip()}\nFilename: ./{package.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
