"""Mistyped and misplaced words name what was meant, and command lines without an inventory find it."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from provisioner import cli, cli_words, labs
from provisioner.errors import UsageError
from provisioner.inventory.problems import closest
from provisioner.model import Report

INVENTORY = """\
cluster: lab
hosts:
  node1: {address: 192.168.56.11}
  node2: {address: 192.168.56.12}
store: {kind: consul}
networks: {demo: {subnet: 10.99.0.0/24}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder without cluster.yml, and a machine without labs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROVISIONER_LAB_DIR", str(tmp_path / "labs"))
    monkeypatch.delenv(cli.cli_names.VARIABLE, raising=False)
    (tmp_path / "nu.yml").write_text(INVENTORY)
    return tmp_path


@pytest.fixture
def default(folder):
    (folder / "cluster.yml").write_text(INVENTORY)


@pytest.fixture
def ran(monkeypatch):
    """Record what would run: the command, and the file that it would use."""
    runs: list[tuple[str, str]] = []

    def run(source, command, _workflow, _options=None, **_):
        runs.append((command, str(cli_words.inventory(source, command))))
        return Report(command=command, cluster="lab", hosts=("node1",), exit_code=0, seconds=0.0, writes=0)

    monkeypatch.setattr(cli, "_report", run)
    return runs


def typed(words: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, shlex.split(words))
    return done.exit_code, done.stderr


def through_main(words: str) -> tuple[int, str]:
    """What the whole program does; click reports some errors only there."""
    argv = [sys.executable, "-m", "provisioner", *shlex.split(words)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    return done.returncode, done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        ("remove nu.yml node2", "provisioner remove node2 nu.yml"),
        ("remove nu.yml", "provisioner remove HOST nu.yml"),
        ("rotate nu.yml tokens", "provisioner rotate tokens nu.yml"),
        ("rotate nu.yml", "provisioner rotate SECRET nu.yml"),
    ],
)
def test_the_inventory_comes_last(words, cure):
    text = f"`nu.yml` is a file, and the inventory comes last\n  next:  {cure}\n  check: usage\n"
    assert typed(words) == (64, text)


def test_the_inventory_comes_last_in_a_document_too():
    done = CliRunner().invoke(cli.app, ["remove", "nu.yml", "node2", "--plan", "--json"])
    assert (done.exit_code, json.loads(done.stdout)["command"]) == (64, "plan")


def test_a_host_that_is_also_a_file_is_removed(folder, ran):
    (folder / "node2").touch()
    assert typed("remove node2 nu.yml")[0] == 0
    assert ran == [("remove", "nu.yml")]


@pytest.mark.parametrize(
    ("word", "meant"),
    [("certs", "certificates"), ("token", "tokens"), ("gossip", "gossip-key"), ("keys", ""), ("FOO", "")],
)
def test_what_can_be_rotated(word, meant):
    hint = f"; did you mean `{meant}`?" if meant else ""
    text = f"`{word}` can't be rotated{hint}\n  next:  choose gossip-key, certificates or tokens\n  check: usage\n"
    assert typed(f"rotate {word} nu.yml") == (64, text)


@pytest.mark.parametrize(
    ("word", "meant"), [("certs", "certificates"), ("cer", "certificates"), ("ce", ""), ("co", ""), ("con", "")]
)
def test_an_abbreviation_is_understood_if_only_one_word_begins_so(word, meant):
    assert closest(word, ["certificates", "conditions", "connections"]) == meant


@pytest.mark.parametrize("words", ["down nuu.yml", "plan nuu.yml", "verify nuu.yml --list", "remove node1 nuu.yml"])
def test_a_mistyped_file_is_followed_by_the_nearest(words):
    code, err = typed(words)
    assert (code, "nuu.yml: there is no such file; did you mean `nu.yml`?" in err) == (64, True), err


@pytest.mark.parametrize(
    ("words", "cure"),
    [("down node2", "provisioner remove node2 cluster.yml"), ("verify node2", "provisioner verify cluster.yml")],
)
def test_a_host_in_the_place_of_the_inventory(default, words, cure):
    code, err = typed(words)
    assert (code, err.splitlines()[:2]) == (
        64,
        [f"node2 is a host of cluster.yml, and {words.split()[0]} needs an inventory", f"  next:  {cure}"],
    )


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        ("down demo", "provisioner lab down --name demo"),
        ("up demo", "provisioner lab inventory --name demo > demo.yml"),
    ],
)
def test_a_lab_in_the_place_of_the_inventory(folder, words, cure):
    (folder / "labs/labs/demo").mkdir(parents=True)
    code, err = typed(words)
    assert (code, err.splitlines()[1]) == (64, f"  next:  {cure}")


COMMANDS = (
    "up",
    "plan",
    "verify",
    "doctor",
    "status",
    "remove node2 --yes",
    "rotate tokens --yes",
    "down --yes",
    "down --plan",
)


@pytest.mark.parametrize("words", COMMANDS)
def test_cluster_yml_of_the_folder_is_the_default(default, ran, words):
    assert typed(words)[0] == 0
    assert {file for _, file in ran} == {"cluster.yml"}


@pytest.mark.parametrize("words", COMMANDS)
def test_the_variable_wins_over_cluster_yml_and_the_command_line_over_both(default, ran, monkeypatch, words):
    monkeypatch.setenv(cli.cli_names.VARIABLE, "other.yml")
    code, err = typed(words)
    assert code == 64 or (ran, code) == ([], 1)
    assert "PROVISIONER_INVENTORY names the inventory `other.yml`, and there is no such file" in err
    monkeypatch.setenv(cli.cli_names.VARIABLE, "nu.yml")
    typed(words)
    typed(f"{words} cluster.yml")
    assert [file for _, file in ran] == ["nu.yml", "cluster.yml"]


def test_a_tilde_that_the_shell_has_left_is_the_home_folder(ran, folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.setenv(cli.cli_names.VARIABLE, "~/cluster.yml")
    (folder / "home").mkdir()
    (folder / "home/cluster.yml").write_text(INVENTORY)
    assert typed("plan --log=~/run.log")[0] == 0
    assert typed("plan '~/cluster.yml'")[0] == 0
    assert [file for _, file in ran] == [str(folder / "home/cluster.yml")] * 2
    assert (folder / "home/run.log").exists()
    assert str(cli.cli_names.at_home(Path("~nosuchuser/x.yml"))) == "~nosuchuser/x.yml"


@pytest.mark.parametrize("words", [*COMMANDS, "verify --list", "remove node2", "rotate tokens", "down"])
def test_without_any_inventory_the_cure_makes_one(words):
    code, err = typed(words)
    assert code == 64
    assert err.startswith("no inventory is named, and this folder has no cluster.yml\n  next:  name the file, ")
    assert "`provisioner inventory init`" in err


def test_an_empty_variable_is_none(default, ran, monkeypatch):
    monkeypatch.setenv(cli.cli_names.VARIABLE, "")
    typed("plan")
    assert ran == [("plan", "cluster.yml")]


def test_inventory_check_has_the_same_default(default):
    assert CliRunner().invoke(cli.app, ["inventory", "check"]).stdout.startswith("ok: cluster lab")


def test_the_default_is_named_once(default, monkeypatch):
    monkeypatch.setattr("provisioner.runner.session.Session.connect", lambda _: None)
    done = CliRunner().invoke(cli.app, ["status"])
    assert done.stderr.count("inventory: cluster.yml\n") == 1


DESTROYING = {"remove node2": "Remove node2", "rotate tokens": "Replace the tokens"}


@pytest.mark.parametrize("words", [*DESTROYING, "down"])
def test_a_command_that_destroys_does_not_take_the_default_without_a_question(default, ran, words):
    code, err = typed(words)
    assert (code, ran) == (64, [])
    assert "there is no terminal; nothing was changed" in err
    assert "--yes" in err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("default")
@pytest.mark.parametrize("answer", ["y\n", "n\n", ""])
@pytest.mark.parametrize("words", DESTROYING)
def test_the_question_has_the_path(ran, monkeypatch, folder, words, answer):
    for name, text in (("stdin", answer), ("stdout", ""), ("stderr", "")):
        monkeypatch.setattr(f"sys.{name}", Terminal(text))
    agreed = answer == "y\n"
    assert cli.app(words.split(), standalone_mode=False) == (0 if agreed else 1)
    assert cli.sys.stderr.getvalue().startswith(f"{folder}/cluster.yml: {DESTROYING[words]}")
    assert [file for _, file in ran] == ["cluster.yml"] * agreed


@pytest.mark.parametrize("words", DESTROYING)
def test_nobody_is_asked_about_an_inventory_that_is_named(ran, words):
    assert typed(f"{words} nu.yml")[0] == 0
    assert len(ran) == 1


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("upp nu.yml", "provisioner up"),
        ("verfy", "provisioner verify"),
        ("break", "provisioner lab break"),
        ("heal", "provisioner lab heal"),
        ("check nu.yml", "provisioner inventory check"),
        ("lab verify", "provisioner verify"),
        ("lab brek", "provisioner lab break"),
        ("inventory chek", "provisioner inventory check"),
        ("inventory import anisble", "provisioner inventory import ansible"),
        ("destroy nu.yml", "provisioner down"),
        ("nu.yml", "provisioner plan nu.yml"),
        ("lab create", "provisioner lab up"),
        ("lab rm", "provisioner lab down"),
        ("rm node2", "provisioner remove"),
        ("inventory create", "provisioner inventory init"),
        ("help plan", "provisioner --help"),
        ("version", "provisioner --version"),
    ],
)
def test_a_mistyped_command_is_followed_by_the_nearest(words, meant):
    code, line = through_main(words)
    assert code == 64
    assert line.endswith(f"; did you mean `{meant}`?"), line


@pytest.mark.parametrize(
    ("words", "file"),
    [("verify --list nu.yml --only x", "nu.yml"), ("verify --list --skip '*'", "cluster.yml"),
     ("verify nu.yml --only x", "nu.yml"), ("doctor nu.yml --skip x", "nu.yml")],
)  # fmt: skip
@pytest.mark.usefixtures("default")
def test_advice_names_the_inventory(words, file):
    assert f"next:  `provisioner verify --list {file}` shows the proofs" in typed(words)[1]


def test_a_word_like_no_command():
    assert typed("xyzzy")[1].endswith("no such command: `xyzzy`\n")
    assert "\x1b" not in typed("'\x1b[2J'")[1]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("up nu.yml --jsno", "; did you mean --json?"),
        ("verify nu.yml --onyl x", "; did you mean --only?"),
        ("up nu.yml --fix", "; it is an option of `doctor`"),
        ("lab down demo", "; to name a lab, write --name before its name"),
        ("up nu.yml --xyzzy", "No such option: --xyzzy"),
        ("up nu.yml -y", "; did you mean --yes?"),
        ("plan nu.yml -y", "No such option: -y"),
        ("plan nu.yml -K", "; did you mean --ask-sudo-password?"),
        ("plan -i nu.yml", "; the inventory needs no option: python -m provisioner plan cluster.yml"),
        ("lab up --inventory x", "No such option: --inventory"),
    ],
)
def test_a_mistyped_option_is_followed_by_the_nearest(words, hint):
    code, line = through_main(words)
    assert (code, line.endswith(hint)) == (64, True), line


@pytest.mark.parametrize("name", ["host-unreachabel", "vxlan-block"])
def test_an_unknown_cause_is_followed_by_the_nearest(name):
    assert "; did you mean `" in typed(f"up nu.yml --ignore {name}")[1]


def test_the_inventory_of_a_lab_is_of_no_use_outside_of_its_network(folder, monkeypatch):
    (folder / "labs/labs/demo").mkdir(parents=True)
    key = folder / "labs/labs/demo/key"
    key.touch()
    (folder / "lab.yml").write_text(INVENTORY.replace("hosts:", f"ssh: {{key: {key}}}\nhosts:"))
    monkeypatch.setattr("sys.argv", ["/bin/provisioner", "up", "lab.yml", "--only", "a b"])
    text = (
        "the hosts are in the lab demo: their addresses exist only in its network\n"
        "  next:  provisioner lab run --name demo -- provisioner up lab.yml --only 'a b'\n  check: usage\n"
    )
    assert typed("up lab.yml") == (64, text)
    assert typed(f"doctor --manager root@192.168.56.11 --key {key}") == (64, text)
    monkeypatch.setattr(labs, "inside", lambda _: True)
    cli_words.within_reach([key, None])


def test_the_key_of_a_lab_that_is_gone_or_that_only_root_can_read(folder, monkeypatch):
    key = folder / "labs/labs/demo/key"
    (folder / "lab.yml").write_text(INVENTORY.replace("hosts:", f"ssh: {{key: {key}}}\nhosts:"))
    assert (
        "does not exist; the lab demo is gone; `provisioner lab up --name demo` makes another one"
        in typed("up lab.yml")[1]
    )
    key.parent.mkdir(parents=True)
    key.touch()
    monkeypatch.setattr("os.access", lambda path, *_, **__: str(path) != str(key))
    advice = "the hosts are in the lab demo: run this as root, after `provisioner lab run --name demo --`"
    assert f"can't be read: Permission denied; {advice}" in typed("up lab.yml")[1]
    monkeypatch.setenv("KEY", str(key))
    (folder / "lab.yml").write_text(INVENTORY.replace("hosts:", "ssh: {key: !env KEY}\nhosts:"))
    assert "demo" not in typed("plan lab.yml")[1]
    monkeypatch.setenv("PROVISIONER_LAB_DIR", "relative")
    assert "can't be read" in typed("up lab.yml")[1]


def test_a_process_is_inside_a_lab_whose_network_it_has(folder):
    (folder / "labs/labs/demo").mkdir(parents=True)
    assert not labs.inside("demo")
    (folder / "labs/labs/demo/switch").symlink_to("/proc/self/ns/net")
    assert labs.inside("demo")
    (folder / "labs/labs/demo/switch").unlink()
    (folder / "labs/labs/demo/switch").touch()
    assert not labs.inside("demo")


@pytest.mark.parametrize("value", ["relative", "/with,comma"])
def test_a_lab_folder_that_can_t_be_used_does_not_stop_other_commands(folder, monkeypatch, value, ran):
    monkeypatch.setenv("PROVISIONER_LAB_DIR", value)
    cli_words.within_reach([folder / "key", None])
    with pytest.raises(UsageError):
        cli_words.inventory(None, "up")
    assert typed("plan node9")[0] == 0  # `ran` stands for what reports the missing file
