"""Ansible inventories made from a seed: groups in groups, ranges, variables at every place that Ansible reads."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("ansible_user", "ansible_port", "ansible_host", "ansible_ssh_private_key_file")


class Made:
    """A folder with an inventory. source: what to read."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._random = Random(seed)
        self._folder = folder / "inv"
        self._folder.mkdir()
        hosts = [f"h{n}" for n in range(self._random.randint(2, 9))] + ["r[01:04].example", "2001:db8::7"]
        self._groups: dict[str, dict[str, Any]] = {}
        for n in range(self._random.randint(2, 7)):
            children = [name for name in self._groups if self._random.random() < 0.35]  # earlier ones: no circle
            some = [host for host in hosts if self._random.random() < 0.4]
            self._groups[f"g{n}"] = {
                "children": children,
                "hosts": {h: self._variables(0.3) for h in some},
                "vars": self._variables(0.5),
            }
        self._groups["all"] = {
            "vars": self._variables(0.5),
            "hosts": {h: self._variables(0.3) for h in hosts if self._random.random() < 0.5},
        }
        self._groups["ungrouped"] = {"hosts": {h: {} for h in hosts if self._random.random() < 0.2}}
        self.source = self._folder if self._random.random() < 0.5 else self._folder / "hosts"
        write = self._random.choice([self._ini, self._yaml, self._json])
        (self._folder / "hosts").write_text(write())
        self._beside("group_vars", list(self._groups))
        self._beside("host_vars", [*hosts, "r02.example"])

    def _variables(self, chance: float) -> dict[str, Any]:
        values = {
            "ansible_user": f"user{self._random.randint(0, 99)}",
            "ansible_port": self._random.randint(1, 9999),
            "ansible_host": f"10.0.0.{self._random.randint(1, 250)}",
            "ansible_ssh_private_key_file": f"/keys/{self._random.choice(['a b', 'c', 'd#e'])}",
        }
        found = {name: value for name, value in values.items() if self._random.random() < chance}
        if self._random.random() < 0.2:
            found["ansible_group_priority"] = self._random.randint(1, 9)
        return found

    def _ini(self) -> str:
        lines: list[str] = []
        for name in self._random.sample(list(self._groups), len(self._groups)):
            group = self._groups[name]
            lines += [f"[{name}]" + self._random.choice(["", "  # comment"])]
            lines += [
                f"{host} {' '.join(map(self._pair, variables.items()))}" for host, variables in group["hosts"].items()
            ]
            if group.get("children"):
                lines += [f"[{name}:children]", *group["children"]]
            if group.get("vars"):
                lines += [
                    f"[{name}:vars]",
                    *(f"{key}{self._random.choice(['=', ' = '])}{value}" for key, value in group["vars"].items()),
                ]
        return "\n".join(lines) + "\n"

    def _pair(self, pair: tuple[str, Any]) -> str:
        text = (
            f"{pair[0]}={pair[1]}" if " " not in str(pair[1]) and "#" not in str(pair[1]) else f'{pair[0]}="{pair[1]}"'
        )
        return text + self._random.choice(["", "", "  # x"]) if pair[0] == "ansible_group_priority" else text

    def _tree(self) -> dict[str, Any]:
        groups = {
            name: {key: dict.fromkeys(part) if key == "children" else part for key, part in group.items()}
            for name, group in self._groups.items()
        }
        return {"all": {**groups.pop("all"), "children": groups}}

    def _yaml(self) -> str:
        import yaml

        return yaml.safe_dump(self._tree(), default_flow_style=self._random.choice([True, False, None]))

    def _json(self) -> str:
        return json.dumps(self._tree(), indent=self._random.choice([None, 2]))

    def _beside(self, kind: str, names: list[str]) -> None:
        """Write variable files for some of the names: files and folders, also such that Ansible ignores."""
        for name in names:
            if self._random.random() > 0.4 or "[" in name:
                continue
            ending = self._random.choice(
                ["", ".yml", ".yaml", ".json", "/a", "/b.yml", "/sub/c.json", ".bak", "/d.txt", "/e~", "/.f"]
            )
            path = self._folder / kind / f"{name}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(self._variables(0.5)))
