from __future__ import annotations

import os
import pty
import select
import sys
from pathlib import Path

import pytest
import typer
from importing import targets
from test_hostile import HOSTILE
from typer.testing import CliRunner

from provisioner.cli_inventory import app
from provisioner.errors import InventoryError
from provisioner.inventory import load
from provisioner.inventory.importers.writing import store_for
from provisioner.inventory.questions import Terminal, interview, write

ENDS = "end of answers"


def answered(folder: Path, *answers: str) -> tuple[str, list[str]]:
    """Run the interview. Returns the text and the questions. Fails if the number of answers does not fit the questions."""
    left, said = list(answers), []

    def ask(question: str, default: str) -> str:
        said.append(f"{question} [{default}]")
        if not left:
            raise typer.Abort(ENDS)
        return left.pop(0)

    text = interview(Terminal(ask, said.append), folder / "cluster.yml")
    assert not left
    return text, said


def test_shortest(tmp_path: Path) -> None:
    folder = tmp_path / "My_Lab"
    folder.mkdir()
    text, said = answered(folder, "", "192.0.2.11", "", "", "", "", "")
    (folder / "cluster.yml").write_text(text)
    inventory = load(folder / "cluster.yml")
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    assert (inventory.cluster, targets(inventory)) == ("my-lab", {"node1": ("192.0.2.11", 22, "root", "")})
    assert "store" not in text
    assert said == [
        "Name of the cluster [my-lab]",
        "Hosts: ADDRESS or NAME=ADDRESS, separated by spaces. USER@ in front and :PORT behind are allowed.",
        "Host 1 []",
        "Host 2 (empty to finish) []",
        "User to log in as [root]",
        "Private key's file (none: the SSH agent's keys and the usual files) []",
        "Docker's version on the hosts; up to 20.10, they get a store (Consul) [23.0 or later]",
        "Subnet of the network; no host may use it already [10.99.0.0/24]",
    ]


def test_longest(tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    hosts = ("192.0.2.11 beta.example.net, gamma=ops@192.0.2.13:2222", "fd00::1 beta.example.org:23")
    text, _ = answered(tmp_path, " lab ", *hosts, "", "admin", "key", "20.10", "10.50.0.0/16")
    (tmp_path / "cluster.yml").write_text(text)
    inventory = load(tmp_path / "cluster.yml")
    assert targets(inventory) == {
        "node1": ("192.0.2.11", 22, "admin", "key"),
        "beta": ("beta.example.net", 22, "admin", "key"),
        "gamma": ("192.0.2.13", 2222, "ops", "key"),
        "node4": ("fd00::1", 22, "admin", "key"),
        "beta-example-org": ("beta.example.org", 23, "admin", "key"),
    }
    assert (str(inventory.networks["demo"].subnet), inventory.the_store.kind) == ("10.50.0.0/16", "consul")


@pytest.mark.parametrize(
    ("answer", "has_store"),
    [("", False), ("28", False), ("26.1.5+dfsg1", False), ("up to 20.10", True), ("19.03.15", True), ("20.10 and 28", False)],
)  # fmt: skip
def test_only_engines_up_to_20_10_get_a_store(tmp_path: Path, answer: str, *, has_store: bool) -> None:
    for answers, store in (((answer, ""), None), (("",), store_for(answer))):  # asked for, or given by --engines
        left = ["lab", "192.0.2.1", "", "", "", *answers]
        text = interview(Terminal(lambda *_, left=left: left.pop(0), print), tmp_path / "cluster.yml", store)
        assert (left, "store: {kind: consul}" in text) == ([], has_store)


def test_the_default_subnet_is_free(tmp_path: Path) -> None:
    _, said = answered(tmp_path, "", "10.99.0.7 10.98.0.7", "", "", "", "", "")
    assert said[-1].endswith("[10.97.0.0/24]")


@pytest.mark.parametrize(
    ("hosts", "pool"),
    [("192.0.2.1", ""), ("web.example.net", ""), ("10.0.0.7", "10.98.0.0/16"), ("10.0.1.7 10.98.0.1", "10.97.0.0/16")],
)
def test_a_swarm_gets_a_pool_without_the_hosts_addresses(tmp_path: Path, hosts: str, pool: str) -> None:
    """By default, a swarm uses 10.0.0.0/24 for its network ingress."""
    for version in ("28", "20.10"):
        text, _ = answered(tmp_path, "", hosts, "", "", "", version, "")
        (tmp_path / "cluster.yml").write_text(text)
        swarm = load(tmp_path / "cluster.yml").swarm
        pools = swarm and swarm.default_addr_pool and swarm.default_addr_pool.pools
        assert ", ".join(map(str, pools or ())) == (pool if version == "28" else "")


WRONG = {
    "cluster": (["Lab"], "  cluster: 'Lab' is not allowed: a cluster name has lower-case letters"),
    "no host": (["lab", ""], "  at least one host is needed"),
    "address": (["lab", "1.2.3.4.5"], "  hosts.node1.address: '1.2.3.4.5' is not an IPv4 address"),
    "host name": (["lab", "A=192.0.2.1"], "  hosts.A: 'A' is not allowed: a host name has"),
    "a port": (["lab", "192.0.2.1:99999"], "  hosts.node1.port: 99999 is not a valid port"),
    "no port at all": (["lab", "a:123456"], "  hosts.a.address: 'a:123456' contains more than an address"),
    "twice": (["lab", "192.0.2.1", "192.0.2.1"], "  hosts.node2.address: 192.0.2.1, port 22, is `node1` already"),
    "name twice": (["lab", "a=192.0.2.1 a=192.0.2.2"], "  `a` is a duplicate; the first is on line"),
    "user": (["lab", "192.0.2.1", "", "a b"], "  ssh.user: 'a b' is not allowed"),
    "key": (["lab", "192.0.2.1", "", "", "nowhere"], "nowhere' does not exist"),
    "a folder": (["lab", "192.0.2.1", "", "", "."], "is a folder, not a file"),
    "public key": (["lab", "192.0.2.1", "", "", "x.pub"], "x.pub' is the public key; name the private key"),
    "engines": (["lab", "192.0.2.1", "", "", "", "new"], "  Docker's version: 'new' is none; write one, such as 28.5"),
    "subnet": (
        ["lab", "192.0.2.1", "", "", "", "", "10.0.0.0"],
        "  networks.demo.subnet: '10.0.0.0' has no prefix length",
    ),
    "too small": (["lab", "192.0.2.1", "", "", "", "", "10.50.0.0/31"], "has 2 addresses, and 1 hosts need 4"),
    "holds a host": (["lab", "192.0.2.1", "", "", "", "", "192.0.2.0/24"], "contains the hosts' own addresses: node1"),
}


@pytest.mark.parametrize(("answers", "expected"), WRONG.values(), ids=WRONG)
def test_a_wrong_answer_is_reported_at_once_and_the_question_repeated(
    tmp_path: Path, answers: list[str], expected: str
) -> None:
    (tmp_path / "x.pub").touch()
    said: list[str] = []
    left = list(answers)

    def ask(question: str, _default: str) -> str:
        if not left:
            said.append(question)
            raise typer.Abort(ENDS)
        said.append(question)
        return left.pop(0)

    with pytest.raises(typer.Abort, match=ENDS):
        interview(Terminal(ask, said.append), tmp_path / "cluster.yml")
    assert expected in said[-2]
    assert said[-1] == said[-3]  # the same question
    assert "(line" not in said[-2]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_hostile_answers_are_escaped_or_harmless(tmp_path: Path, text: str) -> None:
    for before, after in ((0, 6), (1, 5), (3, 3), (4, 2), (5, 1), (6, 0)):
        said: list[str] = []
        sound = ["lab", "192.0.2.1", "", "", "", "", ""]
        left = [*sound[:before], text, *sound[before + (text.strip() == "") :], *["" for _ in range(after)]]

        def ask(question: str, _default: str, left: list[str] = left) -> str:
            if not left:
                raise typer.Abort(question)
            return left.pop(0)

        try:
            made = interview(Terminal(ask, said.append), tmp_path / "cluster.yml")
        except typer.Abort:
            made = ""
        assert all(line.isprintable() for line in said)
        if made:
            (tmp_path / "cluster.yml").write_text(made)
            load(tmp_path / "cluster.yml")


def test_a_file_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yml"
    write(file, "one\n", force=False)
    with pytest.raises(InventoryError) as caught:
        write(file, "two\n", force=False)
    assert caught.value.problems == (
        f"{file}: already exists and is left unchanged; overwrite it with `--force`, or choose another name",
    )
    assert file.read_text() == "one\n"
    write(file, "two\n", force=True)
    assert file.read_text() == "two\n"
    assert [path.name for path in tmp_path.iterdir()] == ["cluster.yml"]


def test_a_file_that_can_not_be_written(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere" / "x.yml", tmp_path / ("a" * 250), tmp_path / ("a" * 300)):
        with pytest.raises(InventoryError):
            write(path, "x", force=True)
    assert list(tmp_path.iterdir()) == []


def test_without_a_terminal(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["init", str(tmp_path / "x.yml")])
    assert done.exit_code == 64
    assert "standard input is not a terminal" in done.output
    example = Path(done.output.partition("copy ")[2].partition(" instead")[0])
    assert load(example, check_files=False).cluster == "three-hosts"


def test_engines_without_a_version_are_refused() -> None:
    for words in (["init", "--engines", "new"], ["import", "ansible", "-", "--engines", "new"]):
        done = CliRunner().invoke(app, words, input="a\n")
        assert (done.exit_code, done.output) == (
            64,
            "Docker's version: 'new' is none; write one, such as 28.5 or 20.10\n",
        )


def test_an_existing_file_is_reported_before_any_question(tmp_path: Path) -> None:
    (tmp_path / "x.yml").touch()
    done = CliRunner().invoke(app, ["init", str(tmp_path / "x.yml")])
    assert done.exit_code == 64
    assert "already exists" in done.output


def typed(folder: Path, keys: list[bytes]) -> tuple[int, str]:
    """Run `inventory init` on a pseudo-terminal. After each question the next of `keys` is typed.

    If there is no output for long, the last keys are typed again: CPython's input() loses a Ctrl-C just before it waits.
    """
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execv(sys.executable, [sys.executable, "-m", "provisioner", "inventory", "init"])
    shown, new, last, patience = b"", b"", b"", 12
    while patience:
        if not select.select([terminal], [], [], 5)[0]:
            patience -= 1
            os.write(terminal, last)
            continue
        try:
            new += os.read(terminal, 4096)
        except OSError:  # Linux: the other end is closed
            break
        if new.endswith(b": ") and keys:
            last = keys.pop(0)
            os.write(terminal, last)
            shown, new = shown + new, b""
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), (shown + new).decode()


@pytest.mark.parametrize(("keys", "code"), [([b"a\n", b"\x03"], 130), ([b"a\n", b"192.0.2.1\n", b"\x04"], 130)])
def test_a_stopped_interview_leaves_nothing(tmp_path: Path, keys: list[bytes], code: int) -> None:
    exit_code, shown = typed(tmp_path, keys)
    assert (exit_code, "stopped; nothing is written" in shown) == (code, True)
    assert "Traceback" not in shown
    assert list(tmp_path.iterdir()) == []


def test_on_a_terminal(tmp_path: Path) -> None:
    exit_code, shown = typed(tmp_path, [b"lab\n", b"192.0.2.1\n", b"\n", b"\n", b"\n", b"\n", b"\n"])
    assert (exit_code, "cluster.yml is written; next: provisioner plan cluster.yml" in shown) == (0, True)
    assert load(tmp_path / "cluster.yml").cluster == "lab"
