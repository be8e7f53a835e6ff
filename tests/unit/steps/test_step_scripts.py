"""The scripts of steps are valid, and each value of an inventory or a host stays one word that the shell does not run.

A script runs in a shell whose PATH contains only recorders of calls. Any other command is an error.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from captured import HOSTS, capture, with_file, with_http, with_info, with_system, with_unit

from provisioner import render, wording
from provisioner.controlplane import Site, resolve
from provisioner.steps import STEPS
from provisioner.steps.daemon import Daemon
from provisioner.steps.networks import Networks
from provisioner.steps.packages import Packages
from provisioner.steps.recreate import Recreate
from provisioner.steps.store import Store
from provisioner.stores.consul import JSON as CONSUL_JSON
from provisioner.stores.consul import LOADED as CONSUL_LOADED
from provisioner.stores.consul import UNIT_FILE as CONSUL_UNIT
from provisioner.stores.consul import Consul
from provisioner.system import reading
from provisioner.system.reading import DAEMON_JSON, ENGINE_DROPIN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from provisioner.inventory import Inventory

END = "-- end of a call --"
SHELLS = [shell for shell in (["dash"], ["bash", "--posix"]) if shutil.which(shell[0])]

_RECORD = """#!/bin/sh
printf '%s\\0' "${0##*/}" "$@" "$END" >>"$RECORD"
"""
# What a recorder does after it has recorded the call. A program that is missing here is "not found", and the test fails.
_ACTS = {
    "mktemp": 'n=$(/bin/cat "$RECORD.n" 2>/dev/null || echo 0); echo $((n + 1)) >"$RECORD.n"; : >"$RECORD.new$n"; echo "$RECORD.new$n"',
    # templates/files.pl: records the text of each file that is written
    "perl": '[ "$3" != put ] || { t=$(/bin/cat); printf %s "${t%.}" | /usr/bin/base64 -d >"$RECORD.to.${4##*/}"; }',
    "timeout": 'shift; exec "$@"',
    "id": "exit 1",
    "grep": "exit 1",
    "stat": "echo 600",
    "apt-get": "exit 0",
} | dict.fromkeys(
    [
        "cp",
        "docker",
        "journalctl",
        "ls",
        "mv",
        "rm",
        "sleep",
        "systemctl",
        "useradd",
    ],
    "",
)


@dataclass(frozen=True)
class Ran:
    code: int
    stderr: str
    calls: list[list[str]]
    files: dict[str, str]

    def of(self, program: str) -> list[list[str]]:
        return [call[1:] for call in self.calls if call[0] == program]


@pytest.fixture
def run(tmp_path) -> Callable[[str], Ran]:
    programs, record = tmp_path / "programs", tmp_path / "record"
    programs.mkdir()
    for name, act in _ACTS.items():
        (programs / name).write_text(_RECORD + act + "\n")
        (programs / name).chmod(0o755)

    def call(script: str, stdin: str = "") -> Ran:
        record.unlink(missing_ok=True)
        environment = {"PATH": str(programs), "RECORD": str(record), "END": END, "LC_ALL": "C.UTF-8"}
        whole = f"(\n:\n{render.library()}{script}\n)"
        done = subprocess.run(
            ["/bin/sh", "-c", whole],
            input=stdin.encode(),
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            check=False,
            timeout=30,
        )
        told = record.read_bytes().decode().split(f"\0{END}\0")[:-1] if record.exists() else []
        files = {path.name.removeprefix("record.to."): path.read_text() for path in tmp_path.glob("record.to.*")}
        return Ran(done.returncode, done.stderr.decode(), [each.split("\0") for each in told], files)

    return call


# `:>canary` needs no program: if the shell ever evaluates one of these values, it creates the file.
HOSTILE = {
    "substitutions": "$(:>canary)`:>canary`${HOME}$((canary))<(:>canary)",
    "quotes": "a';:>canary;'b\";:>canary;\"",
    "lines": "a\n:>canary\n",
    "an option": "-it",
    "operators": "a b|:>canary&& :>canary;#",
    "signs": "\\ * ~ é\u2028 %s %n %% {{ 7 * 7 }}",
}


def hostile(function):
    return pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)(function)


def harmless(ran: Ran, tmp_path: Path) -> None:
    assert not (tmp_path / "canary").exists()
    assert "not found" not in ran.stderr
    assert (ran.code, ran.stderr) == (0, "")


def test_the_harness_detects_what_it_should(run, tmp_path):
    ran = run("docker one 'two three'; systemctl; unknown-program; :>canary")
    assert ran.calls == [["docker", "one", "two three"], ["systemctl"]]
    assert "unknown-program" in ran.stderr
    with pytest.raises(AssertionError):
        harmless(ran, tmp_path)
    assert run("fail some-id oops").code == 70


def renamed(inventory: Inventory, **network: object) -> Inventory:
    """Return an inventory with values that validation would refuse."""
    demo = inventory.networks["demo"].model_copy(update=network)
    return inventory.model_copy(update={"networks": {demo.name: demo}})


@hostile
def test_network_names(run, site, inventory, tmp_path, value):
    whole = site(found=renamed(inventory(), name=value))
    ran = run(Networks().work(whole, "node1", ()).script)
    harmless(ran, tmp_path)
    assert ran.of("docker")[-1] == ["network", "create", "--driver", "overlay", "--subnet", "10.99.0.0/24", value]
    assert ran.of("grep")[-1] == ["-qxF", "-e", value]


@hostile
def test_network_labels(run, site, inventory, tmp_path, value):
    whole = site(found=renamed(inventory(), name="new", labels={value: value}))
    ran = run(Networks().work(whole, "node1", ()).script)
    harmless(ran, tmp_path)
    assert ran.of("docker")[-1][-3:] == ["--label", f"{value}={value}", "new"]


@pytest.mark.parametrize(
    ("paths", "mtu"),
    [("1500\n1420\n1500\n", "1420"), ("1500\n9000\n", ""), ("", ""), ("1450\nnothing\n$(id)\n", "1450")],
)
def test_the_engine_gets_the_smallest_mtu_between_the_hosts(run, site, inventory, paths, mtu):
    whole = site(found=renamed(inventory(), name="new"))
    ran = run(Networks().work(whole, "node1", ()).script, paths)
    assert ran.code == 0
    option = ["--opt", f"com.docker.network.driver.mtu={mtu}"] if mtu else []
    assert ran.of("docker")[-1][-len(option) - 1 :] == [*option, "new"]
    assert any("mtu" in word for word in ran.of("docker")[-1]) is bool(mtu)


@hostile
def test_host_names(run, inventory, tmp_path, value):
    found = inventory(1, each=", advertise: 192.168.56.11")
    found = found.model_copy(update={"hosts": {value: found.hosts["node1"]}})
    whole = resolve(found, {value: capture("installed-node1")})[0]
    ran = run(Store().work(whole, value, Store().drift(whole, value)).script)
    harmless(ran, tmp_path)
    assert json.loads(ran.files["provisioner.json"])["node_name"] == value
    assert ran.files["consul.service"] == next(
        d.wanted for d in Store().drift(whole, value) if wording.what(d) == CONSUL_UNIT
    )


@hostile
def test_store_prefixes(run, site, inventory, tmp_path, value):
    found = inventory()
    found = found.model_copy(update={"store": found.store.model_copy(update={"prefix": value})})
    whole = site("installed", found=found)
    ran = run(Daemon().work(whole, "node2", Daemon().drift(whole, "node2")).script)
    harmless(ran, tmp_path)
    assert json.loads(ran.files["daemon.json"])["cluster-store"] == f"consul://127.0.0.1:8500/{value}"
    assert ran.of("systemctl")[-1] == ["reload", "docker.service"]


@hostile
def test_keys_that_a_host_has_in_its_daemon_json(run, site, tmp_path, value):
    text = json.dumps({value: value, "labels": [value]}, ensure_ascii=False) + "\n"
    whole = site("installed", node2=with_file(capture("installed-node2"), DAEMON_JSON, text))
    ran = run(Daemon().work(whole, "node2", Daemon().drift(whole, "node2")).script)
    harmless(ran, tmp_path)
    written = json.loads(ran.files["daemon.json"])
    assert written == {
        value: value,
        "labels": [value],
        **{k: written[k] for k in ("cluster-store", "cluster-advertise")},
    }


@hostile
def test_where_a_host_says_that_consul_is(run, site, tmp_path, value):
    path = "/usr/bin/" + value.replace("\n", " ")
    whole = site("installed", node2=with_system(capture("installed-node2"), "program=consul ", path))
    for step, file in ((Store(), "consul.service"), (Daemon(), "provisioner.conf")):
        ran = run(step.work(whole, "node2", step.drift(whole, "node2")).script)
        harmless(ran, tmp_path)
        assert value == "-it" or path not in ran.files[file]
        assert "/usr/bin/consul " in ran.files[file] or "/usr/bin/-it " in ran.files[file]


def test_a_plain_path_of_consul_is_taken(site):
    whole = site(
        "installed", node2=with_system(capture("installed-node2"), "program=consul ", "/opt/consul-1.8/bin/consul")
    )
    (unit,) = (d.wanted for d in Store().drift(whole, "node2") if wording.what(d) == CONSUL_UNIT)
    (dropin,) = (d.wanted for d in Daemon().drift(whole, "node2") if wording.what(d) == ENGINE_DROPIN)
    assert "ExecStart=/opt/consul-1.8/bin/consul agent" in unit
    assert "until /opt/consul-1.8/bin/consul catalog" in dropin


class TestOrder:
    """Which programs a script calls, and in which order."""

    def calls(self, ran: Ran) -> list[str]:
        return [" ".join(call) for call in ran.calls if call[0] in ("systemctl", "journalctl", "docker", "apt-get")]

    def test_the_engine_reloads_once(self, run, site):
        whole = site("installed")
        ran = run(Daemon().work(whole, "node2", Daemon().drift(whole, "node2")).script)
        assert self.calls(ran) == [
            "systemctl enable -q provisioner-gossip.service",
            "systemctl reload docker.service",
        ]

    def test_writing_alone_touches_no_engine(self, run, site):
        whole = site(node2=with_file(capture("settled-node2"), DAEMON_JSON, ""))
        ran = run(Daemon().work(whole, "node2", Daemon().drift(whole, "node2")).script)
        assert self.calls(ran) == ["systemctl daemon-reload"]
        assert "daemon.json" in ran.files

    def test_enabling_alone_writes_no_daemon_json(self, run, site):
        whole = site(node2=with_unit(capture("settled-node2"), "docker.service", UnitFileState="disabled"))
        ran = run(Daemon().work(whole, "node2", Daemon().drift(whole, "node2")).script)
        before = ["systemctl is-enabled docker.service", "systemctl is-active docker.service"]
        assert self.calls(ran) == [*before, "systemctl enable -q docker.service"]
        assert "daemon.json" not in ran.files

    def test_consul_is_written_before_it_is_started(self, run, site):
        whole = site("installed")
        ran = run(Store().work(whole, "node2", Store().drift(whole, "node2")).script)
        assert [what for *_, what, _, _, _ in ran.of("perl") if what == "put"] == ["put", "put"]
        assert list(ran.files) == ["provisioner.json", "consul.service"]
        assert self.calls(ran) == [
            "systemctl is-enabled consul.service",
            "systemctl is-active consul.service",
            "systemctl enable -q consul.service",
            "systemctl reset-failed consul.service",
            "systemctl restart consul.service",
            "systemctl -q is-active consul.service",
        ]

    def test_packages_are_installed_without_questions(self, run, inventory):
        whole = resolve(inventory(1, more="control_plane: kv"), {"node1": capture("bare")})[0]
        ran = run(Packages().work(whole, "node1", Packages().drift(whole, "node1")).script)
        simulated, call = ran.of("apt-get")
        assert "-s" in simulated
        order = [words[0] for words in ran.calls if words[0] in ("perl", "apt-get")]
        assert order == ["apt-get", "perl", "apt-get"], (
            "users of packages are recorded before their packages are installed"
        )
        (note,) = ran.of("perl")
        assert note[2:5] == ["note", "/var/lib/provisioner/record", "package-user"]
        assert call[call.index("install") + 1 :][:2] == ["docker.io", "consul"]
        assert "-y" in call


class TestFailures:
    """The recorder of one program fails: which message appears, and what is restored."""

    @pytest.fixture
    def failing(self, run, tmp_path):
        def call(script: str, program: str, when: str) -> Ran:
            file = tmp_path / "programs" / program
            file.write_text(f'{_RECORD}case "$*" in {when}) exit 1 ;; esac\n')
            return run(script)

        return call

    def daemon(self, site, action):
        node2 = with_file(capture("settled-node2"), DAEMON_JSON, '{"debug": true}\n')
        whole = {
            "reload": site("installed"),
            "restart": site(node2=with_info(node2, ClusterAdvertise="10.0.2.15:2376")),
            "start": site(
                node2=with_unit(with_http(node2, "info", "000 not queried"), "docker.service", ActiveState="failed")
            ),
        }[action]
        return Daemon().work(whole, "node2", Daemon().drift(whole, "node2")).script

    @pytest.mark.parametrize("action", ["reload", "restart", "start"])
    def test_an_engine_that_starts_with_the_old_file_only_stops_the_run(self, failing, site, action):
        ran = failing(self.daemon(site, action), "systemctl", f"'{action} docker.service'")
        if action == "restart":  # the recorder fails the restart with the old file, too
            assert (ran.code, "neither" in ran.stderr) == (71, True)
        else:
            assert (ran.code, "the engine runs with it\t" in ran.stderr) == (71, True)
        assert ran.of("systemctl")[-1] == ["restart", "docker.service"]

    def test_an_engine_that_was_broken_before_stops_only_its_host(self, failing, site):
        ran = failing(self.daemon(site, "start"), "systemctl", "start\\ *|restart\\ *")
        assert ran.code == 70
        assert "neither with the new" in ran.stderr

    def test_an_engine_that_does_not_start_with_its_unchanged_file(self, failing, site):
        node2 = with_http(capture("settled-node2"), "info", "000 not queried")
        whole = site(node2=with_unit(node2, "docker.service", ActiveState="failed"))
        ran = failing(Daemon().work(whole, "node2", Daemon().drift(whole, "node2")).script, "systemctl", "start\\ *")
        assert ran.code == 70
        assert "the engine does not start\t" in ran.stderr
        assert "daemon.json" not in ran.files

    def test_an_engine_that_ran_and_runs_no_more_stops_the_run(self, failing, site):
        ran = failing(self.daemon(site, "reload"), "systemctl", "reload\\ *|restart\\ *")
        assert ran.code == 71
        assert "neither with the new" in ran.stderr

    def test_a_unit_that_can_not_be_enabled(self, failing, site):
        node2 = with_unit(capture("installed-node2"), "docker.service", UnitFileState="disabled")
        whole = site("installed", node2=node2)
        ran = failing(Daemon().work(whole, "node2", Daemon().drift(whole, "node2")).script, "systemctl", "enable*")
        assert ran.code == 70
        assert "daemon.json" not in ran.files
        assert "can't enable the engine at boot" in ran.stderr

    @pytest.mark.parametrize(("formed", "code"), [(True, 71), (False, 70)])
    def test_consul_that_does_not_start(self, failing, site, formed, code):
        node2 = with_file(capture("settled-node2"), CONSUL_LOADED, "")
        whole = site(node2=node2) if formed else site("installed")
        script = Store().work(whole, "node2", Store().drift(whole, "node2")).script
        ran = failing(script, "systemctl", "*is-active*")
        assert ran.code == code
        assert ("Consul starts neither with its new" if formed else "Consul does not start\t") in ran.stderr

    @pytest.mark.parametrize(
        ("said", "code"),
        [
            ("Error: No such network: demo", 0),
            ("Error response from daemon: network demo not found", 0),  # another swarm manager has removed it
            ("Error response from daemon: network other not found", 70),
            ("Error response from daemon: network demo is in use by task 1", 70),
        ],
    )
    def test_a_network_that_is_removed_already_is_no_failure(self, run, tmp_path, site, said, code):
        whole = differing(site)
        script = Recreate().work(whole, "node1", Recreate().drift(whole, "node1")).script
        (tmp_path / "programs/docker").write_text(f"{_RECORD}echo '{said}' >&2; exit 1\n")
        ran = run(script)
        assert (ran.code, "can't remove the network demo" in ran.stderr) == (code, code != 0)
        assert ran.of("docker") == [["network", "rm", "demo"]]

    def test_a_network_that_the_engine_refuses(self, failing, site, inventory):
        whole = site(found=renamed(inventory(), name="new"))
        ran = failing(Networks().work(whole, "node1", ()).script, "docker", "*create*")
        assert ran.code == 70
        assert "can't create the network new\t" in ran.stderr


def differing(made: Callable[..., Site]) -> Site:
    """Return a site whose network has another subnet and no containers, and is to be recreated."""
    hosts = {}
    for name in HOSTS:
        facts = capture(f"settled-{name}")
        other = {**facts.networks["demo"], "IPAM": {"Config": [{"Subnet": "10.98.0.0/24"}]}}
        facts = with_http(facts, "networks", [n for n in facts.networks.values() if n["Name"] != "demo"] + [other])
        hosts[name] = with_http(with_http(facts, "containers:demo", []), "endpoints:demo", other)
    return replace(made(**hosts), recreate=frozenset({"demo"}))


PLUGINS = "plugins: {a: {image: 'x/a:1', grant: [network host], settings: {A: $(id)}}, b: {address: 'unix:///b'}, c: {image: 'x/c:1', grant: all, enabled: false}}"


def works(made: Callable[..., Site], one: Site, plugged: Inventory):
    """Yield the script of every step, for every state in which it has work."""
    node2 = capture("settled-node2")
    old = [{"Name": f"{name}:latest", "Enabled": True, "Settings": {"Env": []}} for name in "ac"]
    sites = [
        (made(found=plugged, node2=with_http(node2, "plugins", [])), "node2"),
        (made(found=plugged, node2=with_http(node2, "plugins", old)), "node2"),
        (made("installed"), "node2"),
        (one, "node1"),
        (made(node2=with_info(node2, ClusterAdvertise="10.0.2.15:2376")), "node2"),
        (made(node2=with_file(node2, CONSUL_JSON, "")), "node2"),
        (made(node2=capture("all-stopped")), "node2"),
        (made(**{name: with_http(capture(f"settled-{name}"), "networks", []) for name in HOSTS}), "node1"),
        (differing(made), "node1"),
    ]
    for whole, host in sites:
        for step in [step for step in STEPS if step.name not in whole.plane.unused]:
            if (drift := step.drift(whole, host)) and (work := step.work(whole, host, drift)):
                yield step, work.script


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_every_script_is_sound(shell, site, inventory):
    one = resolve(inventory(1), {"node1": capture("bare")})[0]
    seen = set()
    for step, script in works(site, one, inventory(more=PLUGINS)):
        seen.add(step.name)
        whole = f"(\n:\n{render.library()}{script}\n{reading.script(Consul.sought, step.reads)}\n)"
        done = subprocess.run([*shell, "-n"], input=whole, text=True, capture_output=True, check=False, env=os.environ)
        assert (done.returncode, done.stderr) == (0, ""), script
        assert "{{" not in script.replace("{{.Name}}", "").replace("{{.Enabled}}", "")
    assert seen == {step.name for step in STEPS} - one.plane.unused
