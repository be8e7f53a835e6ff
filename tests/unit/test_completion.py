"""Shell completion knows commands, options and names. It connects to nothing and evaluates nothing of an inventory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer.main

from provisioner import cli, cli_names, observe, proofs
from provisioner.inventory import load
from provisioner.lab import FAULTS

INVENTORIES = Path(__file__).parents[2] / "inventories"
PROVISIONER = Path(sys.executable).with_name("provisioner")
# What bash does when the user presses Tab, with the function that `provisioner --show-completion` prints. CURSOR: the word's number.
COMPLETE = """
eval "$(_PROVISIONER_COMPLETE=source_bash provisioner)"
COMP_WORDS=("$@") COMP_CWORD=${CURSOR:-$(($# - 1))}
"$(complete -p provisioner | sed 's/.* -F \\([^ ]*\\).*/\\1/')" provisioner  # the function's first argument is the command, as bash has it
printf '%s\\n' "${COMPREPLY[@]}"
"""
INVENTORY = """\
cluster: lab
ssh: {user: root, key: !file secrets/key}
hosts:
  alpha: {address: 192.168.56.11}
  node-2.example: {address: !env NOT_SET}
store: {kind: consul}
networks:
  demo: {subnet: 10.99.0.0/24}
  back: {subnet: 10.98.0.0/24}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with two inventories, and a machine with two labs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROVISIONER_LAB_DIR", str(tmp_path / "labs"))
    monkeypatch.delenv(cli_names.VARIABLE, raising=False)
    (tmp_path / "cluster.yml").write_text(INVENTORY)
    (tmp_path / "other.yml").write_text(INVENTORY.replace("alpha", "other").replace("demo", "more"))
    for host in ("demo/hosts/node1", "demo/hosts/node2", "test/hosts/node1"):
        (tmp_path / "labs/labs" / host).mkdir(parents=True)
    return tmp_path


def completed(*words: str, **variables: str) -> list[str]:
    environment = {
        "PATH": f"{PROVISIONER.parent}:/usr/bin:/bin",
        "HOME": "/nonexistent",
        "PROVISIONER_LAB_DIR": os.environ["PROVISIONER_LAB_DIR"],
    }
    said = subprocess.run(
        ["bash", "-c", COMPLETE, "bash", "provisioner", *words],
        check=True, capture_output=True, text=True, env=environment | variables,
    )  # fmt: skip
    assert said.stderr == ""
    return sorted(said.stdout.split())


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["re"], ["remove"]),
        (["lab", "st"], ["start", "stop"]),
        (["verify", "--al"], ["--all"]),
        (["remove", ""], ["alpha", "node-2.example"]),
        (["up", "other.yml", "--recreate", ""], ["back", "more"]),
        (["plan", "--limit", ""], ["alpha", "node-2.example"]),
        (["verify", "other.yml", "--limit", "other,"], ["other,node-2.example"]),
        (["rotate", "c"], ["certificates"]),
        (["causes", "vxlan-bl"], ["vxlan-blocked"]),
        (["up", "--ignore", "vxlan-bl"], []),  # it stops a run
        (["verify", "other.yml", "--only", "overlay/"], ["overlay/back", "overlay/more"]),
        (["verify", "--skip", "builtin/"], ["builtin/bridge", "builtin/host", "builtin/none"]),
        (["verify", "--only", "vxlan-bl"], ["vxlan-blocked"]),
        (["doctor", "--only", "isolation/"], ["isolation/back", "isolation/demo"]),
        (["doctor", "--only", "kernel"], ["kernel", "kernel-without"]),
        (["doctor", "--skip", "vxlan-bl"], ["vxlan-blocked"]),
        (["lab", "heal", "--name", ""], ["demo", "test"]),
        (["lab", "ssh", "--name", "demo", ""], ["node1", "node2"]),
        (["lab", "stop", "no"], []),  # which lab?
        (["lab", "break", "vxlan-blocked-"], ["vxlan-blocked-from", "vxlan-blocked-nft", "vxlan-blocked-out"]),
        (["lab", "break", "vxlan-blocked", "--name", "demo", "--to", ""], ["node1", "node2"]),
    ],
    ids=" ".join,
)
def test_bash_completes(words, wanted):
    assert completed(*words) == wanted


def test_bash_completes_hosts_of_the_inventory_behind_the_cursor():
    assert completed("remove", "o", "other.yml", CURSOR="2") == ["other"]


def test_the_variable_wins_over_cluster_yml():
    assert completed("remove", "", PROVISIONER_INVENTORY="other.yml") == ["node-2.example", "other"]


def offered(text: str | bytes, part: str = "hosts") -> list[str]:
    path = Path("tried.yml")
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return cli_names.keys(path, part)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("hosts: {a: {b: {c: 1}}, d: [e, f], g: 7}", ["a", "d", "g"]),
        ("x: {hosts: {a: 1}}\nhosts: {b: 1}", ["b"]),
        ("x-base: &base {a: 1}\nhosts: {b: *base, *base : 2, c: 3}", ["b", "c"]),
        ("hosts:\n  a: 1\n  b: [", ["a", "b"]),
        ("hosts: {a: !!python/object/apply:os.system ['touch made'], b: !file made}", ["a", "b"]),
        ("hosts: {'$(touch made)': 1, '`id`': 1, \"x\\ny\": 1, '*': 1, '-x': 1, '\"': 1, 'a b': 1, '': 1, ok: 1}", ["ok"]),
        ("hosts: alpha", []),
        ("hosts:", []),
        ("- hosts", []),
        ("", []),
        (b"\xff\xfe\x00", []),
        (b"\x00", []),
        ("[" * 100_000, []),
        ("a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [{'*a, ' * 9}*a]\n" for n in range(50)) + "hosts: {ok: 1}", ["ok"]),
    ],
)  # fmt: skip
def test_only_keys_of_an_inventory_are_read(folder, text, names):
    assert offered(text) == names
    assert not (folder / "made").exists()


def test_what_is_no_ordinary_file_is_not_read(folder):
    os.mkfifo(folder / "pipe")  # reading it would wait forever
    assert [cli_names.keys(folder / name, "hosts") for name in ("pipe", ".", "none", "\0")] == [[], [], [], []]


def test_the_keys_are_those_of_the_inventory_itself():
    names = [cli_names.keys(Path("cluster.yml"), part) for part in ("hosts", "networks")]
    assert names == [["alpha", "node-2.example"], ["demo", "back"]]


@pytest.mark.parametrize("words", ["remove ''", "up --recreate ''", "lab ssh ''", "lab heal --name ''"])
def test_names_are_found_without_what_runs_and_connects(words):
    """This is also what makes completion fast."""
    line = f"provisioner {words}".replace("''", "")
    code = "import sys, atexit; heavy = {'paramiko', 'jinja2', 'provisioner.inventory', 'provisioner.lab', 'provisioner.transport'}; atexit.register(lambda: print(*heavy & set(sys.modules), file=sys.stderr)); from provisioner.cli import app; app(prog_name='provisioner')"  # fmt: skip
    environment = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split())), "_PROVISIONER_COMPLETE": "complete_bash"}
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, env=os.environ | environment)  # fmt: skip
    assert done.stderr == "\n"


def test_a_lab_folder_that_can_t_be_used_gives_no_names(monkeypatch):
    monkeypatch.setenv("PROVISIONER_LAB_DIR", "relative")
    assert cli_names.complete_labs() == []


def test_what_can_be_named_can_be_completed():
    """Each parameter for a name has completion. Files are left to the shell."""
    names = {
        "host",
        "hosts",
        "name",
        "fault",
        "to",
        "cause",
        "ignore",
        "recreate",
        "limit",
        "image",
        "topology",
        "what",
        "only",
        "skip",
    }
    without = {
        f"{path} {param.name}"
        for path, command in cli.cli_words._below(typer.main.get_command(cli.app))
        for param in command.params
        if param.name in names and param._custom_shell_complete is None
    }
    new = {"lab up name", "lab up hosts"}  # a new name, and a number
    of_others = {f"inventory import {tool} only" for tool in ("ansible", "docker-machine", "ssh-config", "vagrant")}
    assert without == new | of_others


@pytest.mark.parametrize("path", sorted(INVENTORIES.glob("*.yml")), ids=lambda path: path.name)
def test_the_proofs_of_each_example_are_offered(path):
    units = proofs.units(load(path, check_files=False))
    offered = cli_names.complete_proofs(SimpleNamespace(params={"inventory": path}))
    assert sorted(offered) == sorted({unit.name for unit in units})


def test_the_observations_of_doctor_are_offered():
    assert cli_names.OBSERVATIONS == observe.NAMES


def test_all_faults_are_offered():
    assert cli_names.complete_faults() == list(FAULTS)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_accept_the_script(shell):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    script = subprocess.run(
        [PROVISIONER], check=True, capture_output=True, text=True, env=os.environ | {"_PROVISIONER_COMPLETE": f"source_{shell}"}
    ).stdout  # fmt: skip
    subprocess.run([shell, "-n"], check=True, input=script, text=True)
