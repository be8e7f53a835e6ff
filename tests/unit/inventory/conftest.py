from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provisioner.errors import InventoryError
from provisioner.inventory import Inventory, load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SOUND = {
    "cluster": "cluster: lab",
    "ssh": "ssh: {user: root}",
    "hosts": "hosts:\n  node1: {address: 192.168.56.11}\n  node2: {address: 192.168.56.12}\n  node3: {address: 192.168.56.13}",
    "store": "store: {kind: consul}",
    "networks": "networks:\n  demo: {subnet: 10.99.0.0/24}",
}
"""A valid inventory. Line numbers of its parts: cluster 1, ssh 2, hosts 3-6, store 7, networks 8-9."""


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[..., Inventory]:
    """Load a text, or the valid inventory with some of its parts replaced (`more` is added at its end)."""

    def run(text: str = "", *, check_files: bool = True, **parts: str) -> Inventory:
        file = tmp_path / "lab.yml"
        file.write_text(text or "\n".join((SOUND | parts).values()) + "\n", encoding="utf-8", newline="")
        return load(file, check_files=check_files)

    return run


@pytest.fixture
def problems(tmp_path: Path, loaded: Callable[..., Inventory]) -> Callable[..., list[str]]:
    """The problems of an invalid inventory, as `line:column: text`. Arguments are those of `loaded`."""

    def run(text: str = "", **parts: str) -> list[str]:
        with pytest.raises(InventoryError) as caught:
            loaded(text, **parts)
        assert caught.value.exit_code == 64
        prefix = f"{tmp_path / 'lab.yml'}:"
        assert all(line.startswith(prefix) for line in caught.value.problems)
        return [line.removeprefix(prefix) for line in caught.value.problems]

    return run
