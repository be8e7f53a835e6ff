from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

from provisioner.cli_inventory import app
from provisioner.inventory import schema

INVENTORIES = Path(__file__).parents[3] / "inventories"
LAB = str(INVENTORIES / "lab.yml")


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, words)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


STORE = "for Docker up to 20.10"
SWARM = "    swarm mode, for Docker of any version (required from 23.0 on); managers: node1, node2, node3"
PLANES = {
    "nothing": ("", SWARM),
    "swarm": ("control_plane: swarm", SWARM),
    "a manager": ("swarm: {managers: [node2]}", SWARM.replace("managers: node1, node2, node3", "manager: node2")),
    "store": (
        "store: {kind: zookeeper}",
        f"    ZooKeeper on node1, node2, node3 as the store, {STORE}; swarm mode if a host has a later version",
    ),
    "only a store": (
        "control_plane: kv\nstore: {kind: etcd, endpoints: ['192.0.2.8:2379', '192.0.2.9:2379']}",
        f"    etcd at 192.0.2.8:2379, 192.0.2.9:2379 as the store, {STORE}",
    ),
}


@pytest.mark.parametrize(("plane", "expected"), PLANES.values(), ids=PLANES)
def test_sound(tmp_path: Path, plane: str, expected: str) -> None:
    file = tmp_path / "cluster.yml"
    hosts = ", ".join(f"node{n}: {{address: 192.0.2.{n}}}" for n in (1, 2, 3))
    file.write_text(f"cluster: lab\nhosts: {{{hosts}}}\n{plane}\nnetworks: {{demo: {{subnet: 10.99.0.0/24}}}}\n")
    assert run("check", str(file)) == (0, f"ok: cluster lab, 3 hosts, network demo 10.99.0.0/24\n{expected}\n")


def test_the_documentation_shows_what_check_prints(tmp_path: Path) -> None:
    page = (INVENTORIES.parent / "docs/inventory.md").read_text()
    small = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert small
    for number, text in enumerate((small[1], f"{small[1]}store: {{kind: consul}}\n")):
        (tmp_path / f"{number}.yml").write_text(text)
        code, output = run("check", "--no-files", str(tmp_path / f"{number}.yml"))
        assert (code, textwrap.indent(output, "    ") in page) == (0, True)


def test_sound_as_json() -> None:
    code, output = run("check", "--no-files", "--json", LAB)
    assert code == 0
    assert json.loads(output) == {
        "ok": True,
        "file": LAB,
        "control_plane": "auto",
        "cluster": "lab",
        "hosts": ["node1", "node2", "node3"],
        "store": "consul",
        "servers": ["node1", "node2", "node3"],
        "networks": {"demo": "10.99.0.0/24"},
        "problems": [],
        "places": [],
    }


@pytest.fixture
def wrong(tmp_path: Path) -> str:
    file = tmp_path / "wrong.yml"
    file.write_text("cluster: Lab\nhosts: x\nstore: {kind: consul}\nnetworks: {demo: {subnet: 10.99.0.1/24}}\n")
    return str(file)


def test_each_problem_is_on_a_separate_line(wrong: str) -> None:
    code, output = run("check", wrong)
    assert code == 64
    assert [line.split(": ")[0] for line in output.splitlines()] == [f"{wrong}:1:10", f"{wrong}:2:8", f"{wrong}:4:27"]


def test_problems_as_json(wrong: str) -> None:
    code, output = run("check", "--json", wrong)
    assert code == 64
    found = json.loads(output)
    assert found["ok"] is False
    assert len(found["problems"]) == 3
    assert [(place["line"], place["column"]) for place in found["places"]] == [(1, 10), (2, 8), (4, 27)]
    assert [f"{wrong}:{p['line']}:{p['column']}: {p['text']}" for p in found["places"]] == found["problems"]


def test_a_problem_of_the_whole_file_has_no_line(tmp_path: Path) -> None:
    _, output = run("check", "--json", str(tmp_path))
    assert json.loads(output)["places"] == [
        {"line": None, "column": None, "text": "this is a folder; name the YAML file in it"}
    ]


def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = Path(LAB).read_text()
    done = CliRunner().invoke(app, ["check", "--no-files", "-"], input=text)
    assert (done.exit_code, done.output[:16]) == (0, "ok: cluster lab,")
    done = CliRunner().invoke(app, ["check", "-"], input=text.replace("cluster: lab", "cluster: Lab"))
    assert (done.exit_code, done.output.split(": ")[0]) == (64, "standard input:6:10")
    (tmp_path / "key").touch()  # a relative path starts at the current folder
    done = CliRunner().invoke(app, ["check", "-"], input=text.replace("~/.ssh/id_ed25519", "key"))
    assert done.output[:3] == "ok:", done.output
    done = CliRunner().invoke(app, ["check", "-"], input=b"\xff")
    assert done.output == "standard input:1:1: byte 0xff is not UTF-8; save the file as UTF-8\n"


def test_no_such_file(tmp_path: Path) -> None:
    assert run("check", str(tmp_path / "lab.yml")) == (64, f"{tmp_path}/lab.yml: there is no such file\n")


def test_schema() -> None:
    code, output = run("schema")
    assert code == 0
    assert json.loads(output) == schema()


def test_importing_the_commands_imports_nothing_heavy() -> None:
    text = "import sys, provisioner.cli_inventory; print([m for m in ('pydantic', 'yaml') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_loading_is_quick() -> None:
    """Compare with importing the two libraries that loading uses, because a busy machine slows down both."""

    def seconds(text: str) -> float:
        timed = f"import time; began = time.process_time()\n{text}\nprint(time.process_time() - began)"
        return float(subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True).stdout)

    ours = f"from pathlib import Path; from provisioner.inventory import load; load(Path({LAB!r}), check_files=False)"
    libraries = "import pydantic, pydantic.fields, pydantic.main, yaml"
    pairs: list[tuple[float, float]] = []
    while len(pairs) < 5:
        pairs.append((seconds(ours), seconds(libraries)))
        if min(one for one, _ in pairs) < 2 * min(other for _, other in pairs):
            return
    pytest.fail(f"import and load take twice as long as the libraries: {pairs}")
