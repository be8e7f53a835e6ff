from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from captured import HOSTS, capture
from renaming import tried_with_other_texts

from provisioner.controlplane import Site, resolve
from provisioner.inventory import Inventory, load
from provisioner.steps import STEPS, ending, leaving, leaving_swarm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from provisioner.system.facts import Facts

PLAIN = "{gossip: false, tls: false, acls: false}"


@pytest.fixture(scope="session", autouse=True)
def _no_text_decides() -> Iterator[None]:
    """Each call of a step's `work` in any test is repeated with other texts in the drift, and must return the same."""
    others = [found for module in (ending, leaving, leaving_swarm) for found in vars(module).values()]
    classes = {type(step) for step in STEPS} | {found for found in others if isinstance(found, type)}
    with pytest.MonkeyPatch.context() as patch:
        for cls in {base for found in classes for base in found.__mro__ if "work" in vars(base)}:
            if not getattr(cls, "_is_protocol", False):
                patch.setattr(cls, "work", tried_with_other_texts(cls.work))
        yield


@pytest.fixture
def inventory(tmp_path: Path) -> Callable[..., Inventory]:
    """An inventory of node1 to node<hosts>. each: appended to each host's entry. more: appended to the file.

    kind: the store's kind; without it, the inventory has no store. store: appended to the store's entry.
    """

    def make(
        hosts: int = 3,
        *,
        each: str = "",
        kind: str = "consul",
        store: str = "",
        more: str = "",
        address: str = "192.168.56.1{}",
    ) -> Inventory:
        lines = [f"  node{n}: {{address: {address.format(n)}{each.format(n)}}}" for n in range(1, hosts + 1)]
        if kind == "consul" and "endpoints" not in store and "security" not in store:
            store += f", security: {PLAIN}"  # the setting of the captured hosts
        text = "\n".join(
            [
                "cluster: lab",
                "hosts:",
                *lines,
                *([f"store: {{kind: {kind}{store}}}"] if kind else []),
                "networks:\n  demo: {subnet: 10.99.0.0/24}",
                more,
            ]
        )
        file = tmp_path / "lab.yml"
        file.write_text(text + "\n", encoding="utf-8")
        return load(file, check_files=False)

    return make


@pytest.fixture
def site(inventory: Callable[..., Inventory]) -> Callable[..., Site]:
    """A site of three captured hosts. state: the captures, "settled" or "installed". hosts: other facts for some."""

    def make(state: str = "settled", found: Inventory | None = None, **hosts: Facts) -> Site:
        facts = {name: hosts.get(name) or capture(f"{state}-{name}") for name in HOSTS}
        made, findings = resolve(found or inventory(), facts)
        assert not findings
        return made

    return make
