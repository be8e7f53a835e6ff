"""Where the documents are: in a checkout, or in share/doc/provisioner of the installation, under the same relative names."""

from __future__ import annotations

from pathlib import Path


def folder() -> Path | None:
    """Return the folder that contains `docs/`, or None if the package was installed without its documents."""
    package = Path(__file__).resolve().parent
    candidates = [package.parent, *(parent / "share/doc/provisioner" for parent in package.parents)]
    return next((path for path in candidates if (path / "docs/inventory.md").is_file()), None)


def path_of(name: str) -> str:
    """Return the path of a document or an example, such as `docs/lab.md`; only its name if it is not installed."""
    found = folder()
    return str(found / name) if found else name
