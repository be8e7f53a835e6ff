"""The step plugins: its drift and scripts for given facts. tests/e2e/test_plugins.py uses real plugins."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile

import pytest
from captured import capture, with_file, with_http

from provisioner import render, wording
from provisioner.errors import InventoryError, StepFailed
from provisioner.inventory import load
from provisioner.steps.plugins import Plugins
from provisioner.system import plugins, reading

NODE2 = capture("settled-node2")
STEP = Plugins()
CONFIG = {
    "Interface": {"Types": ["docker.networkdriver/1.0"], "Socket": "x.sock"},
    "Network": {"Type": "host"},
    "Linux": {"Capabilities": ["CAP_NET_ADMIN"], "Devices": None},
    "Mounts": None,
}
GRANT = "grant: [network host, capabilities CAP_NET_ADMIN]"


def archive(path, config=CONFIG, *names):
    with tarfile.open(path, "w") as tar:
        for name, data in {
            "config.json": json.dumps(config).encode(),
            "rootfs/x": b"",
            **dict.fromkeys(names, b""),
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def known(*found, node=NODE2, **origins):
    """Return a host with managed plugins. found: (name, enabled, settings) of each; origins: name -> its source."""
    node = with_http(node, "plugins", [{"Name": n, "Enabled": on, "Settings": {"Env": env}} for n, on, env in found])
    for name, origin in origins.items():
        node = with_file(node, plugins.origin(name), origin + "\n")
    return node


def differs(step, site):
    return [(wording.what(d), d.found, d.wanted, wording.note(d)) for d in step.drift(site, "node2")]


def script(site):
    drift = STEP.drift(site, "node2")
    return STEP.work(site, "node2", drift).script


def test_without_plugins_the_engine_is_not_queried(inventory, site):
    assert plugins.files(inventory()) == ()
    assert "/plugins" not in reading.script(reading.Sought("", ""), plugins=())
    assert STEP.drift(site(), "node2") == ()


class TestWithAnAddress:
    MORE = "plugins: {overnet: {address: 'unix:///run/overnet.sock', hosts: [node2]}, far: {address: 'tcp://127.0.0.1:8080', tls: {ca: /c, cert: /d, key: /k}}}"

    def test_absent(self, inventory, site):
        whole = site(found=inventory(more=self.MORE))
        assert [wording.what(d) for d in STEP.drift(whole, "node1")] == ["/etc/docker/plugins/far.json"]
        assert [wording.what(d) for d in STEP.drift(whole, "node2")] == [
            "/etc/docker/plugins/overnet.spec",
            "/etc/docker/plugins/far.json",
        ]
        assert json.loads(STEP.drift(whole, "node1")[0].wanted) == {
            "Name": "far",
            "Addr": "https://127.0.0.1:8080",  # with tcp://, the engine would not use TLS
            "TLSConfig": {"InsecureSkipVerify": False, "CAFile": "/c", "CertFile": "/d", "KeyFile": "/k"},
        }
        assert "put /etc/docker/plugins/overnet.spec 0644 root:root" in script(whole)
        assert "docker plugin create" not in script(whole)

    def test_settled(self, inventory, site):
        found = inventory(more=self.MORE)
        node = NODE2
        for name, plugin in found.plugins.items():
            for path, text in plugins.spec(name, plugin).items():
                node = with_file(node, path, text)
        assert STEP.drift(site(found=found, node2=node), "node2") == ()

    def test_another_file_of_it(self, inventory, site):
        node = with_file(NODE2, "/etc/docker/plugins/overnet.json", "{}\n")
        with pytest.raises(StepFailed, match=r"has another file already: /etc/docker/plugins/overnet\.json"):
            STEP.drift(site(found=inventory(more=self.MORE), node2=node), "node2")

    def test_the_file_from_before_tls_was_set_is_removed(self, inventory, site):
        before = with_file(NODE2, "/etc/docker/plugins/far.spec", "tcp://127.0.0.1:8080\n")
        whole = site(found=inventory(more=self.MORE), node2=before)
        assert ("/etc/docker/plugins/far.spec", "tcp://127.0.0.1:8080\n", "", "") in differs(STEP, whole)
        assert "rm -f /etc/docker/plugins/far.spec ||" in script(whole)

    def test_a_file_with_tls_stays_if_the_inventory_has_no_tls(self, inventory, site):
        without = inventory(more=self.MORE.replace(", tls: {ca: /c, cert: /d, key: /k}", ""))
        node = with_file(NODE2, "/etc/docker/plugins/far.json", '{"Addr": "https://127.0.0.1:8080"}')
        with pytest.raises(StepFailed, match=r"has another file already: /etc/docker/plugins/far\.json"):
            STEP.drift(site(found=without, node2=node), "node2")


class TestFromAnImage:
    MORE = "plugins: {net: {image: 'registry.example.net/net:1.2', grant: [network host, mount /run], settings: {LEVEL: '3'}}}"
    SOURCE = "image registry.example.net/net:1.2"

    def test_absent(self, inventory, site):
        whole = site(found=inventory(more=self.MORE), node2=known())
        assert differs(STEP, whole) == [("plugin net", "absent", self.SOURCE, "install")]
        done = script(whole)
        assert """ "$name" "$image" 'network host' 'mount /run' ||""" in done
        assert """printf %s '["LEVEL=3"]' | perl -e """ in done  # sent to the engine's socket, never an argument
        assert "60 POST /plugins/net:latest/set -" in done
        assert done.count("LEVEL=3") == 1
        assert 'disable "$name"' not in done

    def test_all_privileges(self, inventory, site):
        found = inventory(more=self.MORE.replace("[network host, mount /run]", "all"))
        assert ' "$name" "$image" all ||' in script(site(found=found, node2=known()))

    def test_settled(self, inventory, site):
        node = known(("net:latest", True, ["LEVEL=3", "OTHER=x"]), net=self.SOURCE)
        assert STEP.drift(site(found=inventory(more=self.MORE), node2=node), "node2") == ()

    def test_with_other_settings_and_disabled(self, inventory, site):
        whole = site(found=inventory(more=self.MORE), node2=known(("net:latest", False, ["LEVEL=2"]), net=self.SOURCE))
        assert [d[3] for d in differs(STEP, whole)] == ["new settings", "enable or disable"]
        assert STEP.drift(whole, "node2")[0].secret
        assert 'rm "$name"' not in script(whole)
        assert "/plugins/pull" not in script(whole).split("# net", 1)[1]

    def test_a_plugin_of_another_origin_is_replaced(self, inventory, site):
        whole = site(
            found=inventory(more=self.MORE), node2=known(("net:latest", True, ["LEVEL=3"]), net="image other:1")
        )
        assert differs(STEP, whole) == [("plugin net", "image other:1", self.SOURCE, "reinstall")]
        done = script(whole)
        assert done.index('disable "$name"') < done.index('rm "$name"') < done.index('"$name" "$image"')

    def test_pending_without_an_engine(self, inventory, site):
        whole = site(found=inventory(more=self.MORE))
        (drift,) = STEP.drift(whole, "node2")
        assert drift.pending
        assert STEP.work(whole, "node2", (drift,)) is None


def test_from_an_archive(inventory, site, tmp_path):
    digest = archive(tmp_path / "net.tar")
    found = inventory(more=f"plugins: {{net: {{archive: net.tar, {GRANT}, enabled: false}}}}")
    whole = site(found=found, node2=known())
    assert differs(STEP, whole) == [("plugin net", "absent", f"archive {digest}", "install")]
    work = STEP.work(whole, "node2", STEP.drift(whole, "node2"))
    assert [(u.local, u.remote, u.sha256) for u in work.uploads] == [
        (tmp_path / "net.tar", "/var/lib/provisioner-plugin-net.tar", digest)
    ]
    assert 'enable "$name"' not in work.script
    settled = known(("net:latest", False, []), net=f"archive {digest}")
    assert STEP.drift(site(found=found, node2=settled), "node2") == ()


JSON = {  # JSON as engines write it -> the texts in it, in order
    r'[{"Name":"mount","Value":["/\nx", "a\"b\\c\u003c\u00e9\ud83d\ude00"]}]': ["Name", "mount", "Value", "/\nx", 'a"b\\c<é😀'],
    "null": [],
    ' {"a" : [ true, false , null, -1.5e3 ], "b": {}} \n': ["a", "b"],
}  # fmt: skip
NO_JSON = ["", "[", '["a"', '["a" "b"]', '{"a"}', '["a"] x', '"\\q"', "[}", "nothing"]
_TEXTS = """
sub texts { my ($v) = @_; ref $v eq "ARRAY" ? map { texts($_) } @$v : ref $v eq "HASH" ? map { ($_, texts($v->{$_})) } sort keys %$v
    : defined $v && $v !~ /^(?:-?[0-9.]+)$/ ? $v : () }
local $/; print join "\\0", texts(json(<STDIN>));
"""


def _json(text):
    program = render.text("json.pl") + _TEXTS.replace("\\\\", "\\")
    return subprocess.run(["perl", "-e", program], input=text.encode(), capture_output=True, check=False, timeout=20)


@pytest.mark.parametrize("text", JSON)
def test_json_in_perl(text):
    done = _json(text)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [part for part in done.stdout.decode().split("\0") if part] == JSON[text]


@pytest.mark.parametrize("text", NO_JSON)
def test_invalid_json_is_refused(text):
    assert _json(text).returncode != 0


ARCHIVES = {
    "more than it is granted": ("grant: [network host]", CONFIG, "requires permissions that are not granted; to grant them, write `grant: [network host, capabilities CAP_NET_ADMIN]`"),
    "nothing granted": ("settings: {A: b}", {"PidHost": True, "Mounts": [{"Source": "/run"}]}, "write `grant: [host pid namespace, mount /run]`"),
    "another sum": (f"{GRANT}, sha256: {'0' * 64}", CONFIG, "which is not its `sha256`; download it again, or correct the checksum"),
    "no config.json that can be used": (GRANT, {"Linux": {"Capabilities": 7}}, "has a config.json that no engine accepts"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "config", "problem"), ARCHIVES.values(), ids=ARCHIVES)
def test_archives_that_are_refused(inventory, tmp_path, words, config, problem):
    archive(tmp_path / "net.tar", config)
    inventory(more=f"plugins: {{net: {{archive: net.tar, {words}}}}}")
    with pytest.raises(InventoryError) as caught:
        load(tmp_path / "lab.yml")
    assert [line for line in caught.value.problems if problem in line]


def test_a_file_that_is_no_archive(inventory, tmp_path):
    (tmp_path / "net.tar").write_text("hello")
    inventory(more=f"plugins: {{net: {{archive: net.tar, {GRANT}}}}}")
    with pytest.raises(InventoryError) as caught:
        load(tmp_path / "lab.yml")
    assert "is not a plugin's archive (a tar file with config.json and rootfs/)" in caught.value.problems[0]


REFUSED = {
    "no source": ("{enabled: true}", "plugins.net: names none of them"),
    "two sources": ("{image: 'a/b:1', archive: x.tar}", "plugins.net: names image and archive"),
    "a grant to one that runs by itself": ("{address: 'unix:///x', grant: all}", "plugins.net.grant: is for plugins that the engine runs"),
    "an address": ("{address: '/run/x.sock'}", "'/run/x.sock' is not a plugin's address: write `unix:///run/NAME.sock` or `tcp://127.0.0.1:8080`"),
    "a port": ("{address: 'tcp://127.0.0.1:99999'}", "is not a plugin's address"),
    "a shell's words": ("{image: 'x; reboot'}", "plugins.net.image: 'x; reboot' is not allowed: a reference is `NAME:TAG`"),
    "tls to a socket": ("{address: 'unix:///x', tls: {ca: /c, cert: /d, key: /k}}", "plugins.net.tls: requires an `address` that begins with `tcp://`"),
    "an unknown privilege": ("{image: 'a/b:1', grant: [hostnet]}", "'hostnet' is not a permission of plugins"),
    "no host": ("{image: 'a/b:1', hosts: [nodex]}", "plugins.net.hosts: 'nodex' is not one of the hosts"),
    "a lone value": ("unix:///x", "plugins.net: must be a mapping"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "problem"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(inventory, words, problem):
    with pytest.raises(InventoryError) as caught:
        inventory(more=f"plugins: {{net: {words}}}")
    assert any(problem in line for line in caught.value.problems), caught.value.problems


def test_the_name_of_a_builtin_driver(inventory):
    with pytest.raises(InventoryError) as caught:
        inventory(more="plugins: {bridge: {address: 'unix:///x'}}")
    assert [line.partition(": ")[2] for line in caught.value.problems] == [
        "plugins.bridge: the engine has a built-in driver of this name: choose another one"
    ]


MANAGED, ALONE = "image: 'a/b:1'", "address: 'unix:///x'"
UNFIT = {  # the network, the plugin `net`, and the problem with the network's driver ("": none)
    "no tag": (
        "driver: net, scope: local",
        MANAGED,
        "`net` is a plugin that the engine runs under its name and tag, `latest`: write `net:latest`",
    ),
    "the image's tag": (
        "driver: 'net:1', scope: local",
        MANAGED,
        "`net:1` is a plugin that the engine runs under its name and tag, `latest`: write",
    ),
    "its tag": ("driver: 'net:latest', scope: local", MANAGED, ""),
    "a tag to one that has none": (
        "driver: 'net:latest', scope: local",
        ALONE,
        "`net:latest` is a plugin with an `address`, so it has no tag: write `net`",
    ),
    "off": (
        "driver: 'net:latest', scope: local",
        f"{MANAGED}, enabled: false",
        "the plugin `net:latest` has `enabled: false`, so no engine can create",
    ),
    "not on all hosts": (
        "driver: net, scope: local",
        f"{ALONE}, hosts: [node3, node1]",
        "the plugin `net` is not on node2, where the network should be: add them to the plugin's `hosts`, or give the network `hosts: [node3, node1]`",
    ),
    "on other hosts": (
        "driver: net, scope: local, hosts: [node2]",
        f"{ALONE}, hosts: [node1]",
        "the plugin `net` is not on node2, where the network should be: add them to the plugin's `hosts`",
    ),
    "on one more than is needed": ("driver: net, scope: local, hosts: [node2]", f"{ALONE}, hosts: [node1, node2]", ""),
    "of all hosts": (
        "driver: net, scope: global",
        f"{ALONE}, hosts: [node1]",
        "the plugin `net` is not on node2, node3, where the network should be: add them to the plugin's `hosts`",
    ),
    "another's": ("driver: 'other/net:1', scope: local", MANAGED, ""),
}


@pytest.mark.parametrize(("network", "words", "problem"), UNFIT.values(), ids=UNFIT)
def test_a_network_of_a_plugin_that_it_can_not_have(inventory, network, words, problem):
    more = f"  over: {{{network}}}\nplugins: {{net: {{{words}}}}}"
    if not problem:
        assert inventory(more=more).networks["over"].driver
        return
    with pytest.raises(InventoryError) as caught:
        inventory(more=more)
    (line,) = caught.value.problems
    assert f"networks.over.driver: {problem}" in line
    assert line.endswith(problem) or not problem.endswith(("`", "]"))
