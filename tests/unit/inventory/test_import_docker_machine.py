from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from importing import sound, targets
from test_hostile import HOSTILE

from provisioner.errors import InventoryError
from provisioner.inventory.importers import only
from provisioner.inventory.importers.docker_machine import default_store, machine, machines


def config(name: str, kind: str = "generic", flags: list[str] | None = None, **driver: Any) -> dict[str, Any]:
    """A config.json like that of docker-machine 0.16, without its TLS settings."""
    usual = {
        "IPAddress": "203.0.113.11",
        "MachineName": name,
        "SSHUser": "root",
        "SSHPort": 22,
        "SSHKeyPath": "",
        "StorePath": "/home/me/.docker/machine",
        "SwarmMaster": False,
        "SwarmHost": "",
        "SwarmDiscovery": "",
        "EnginePort": 2376,
    }
    return {
        "ConfigVersion": 3,
        "Driver": usual | driver,
        "DriverName": kind,
        "HostOptions": {
            "Driver": "",
            "Memory": 0,
            "EngineOptions": {"ArbitraryFlags": flags or [], "TlsVerify": True, "StorageDriver": ""},
            "SwarmOptions": {"IsSwarm": False, "Address": "", "Discovery": ""},
            "AuthOptions": {"CertDir": "/home/me/.docker/machine/certs"},
        },
        "Name": name,
    }


ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "generic": (config("web", SSHUser="deploy", SSHPort=2222), {"address": "203.0.113.11", "port": "2222", "user": "deploy"}),
    "a forwarded port of virtualbox": (
        config("v", "virtualbox", IPAddress="192.168.99.100", SSHUser="docker", SSHPort=35791, Boot2DockerURL="", Memory=1024),
        {"address": "192.168.99.100", "port": "22", "user": "docker"},
    ),
    "a cloud": (config("a", "amazonec2", IPAddress="198.51.100.7", PrivateIPAddress="10.0.0.7", SSHUser="ubuntu"), {"user": "ubuntu"}),
    "no user": (config("u", SSHUser=""), {"user": "root"}),
    "no port": (config("u", SSHPort=0), {"port": ""}),
    "advertised": (
        config("s", flags=["cluster-store=consul://10.0.0.2:8500", "cluster-advertise=eth1:2376"]),
        {"advertise": "eth1"},
    ),
    "flags with dashes": (config("s", flags=["--cluster-advertise=10.0.0.9:2376"]), {"advertise": "10.0.0.9"}),
    "the name": (config("web-1"), {"name": "web-1", "left_out": "", "notes": ()}),
}  # fmt: skip


@pytest.mark.parametrize(("found", "expected"), ROWS.values(), ids=ROWS)
def test_machines(found: dict[str, Any], expected: dict[str, Any]) -> None:
    result = machine(found, Path("/nowhere"))
    assert {key: getattr(result, key) for key in expected} == expected


def test_settings_that_are_not_imported_are_noted() -> None:
    found = config("s", Boot2DockerURL="", SSHKeyPath="/nowhere/id_rsa")
    found["HostOptions"]["SwarmOptions"]["IsSwarm"] = True
    assert machine(found, Path("/nowhere")).notes == (
        "its key '/nowhere/id_rsa' does not exist and is left out",
        "runs boot2docker, which has no systemd; provisioner needs Debian or Ubuntu",
        "was part of a standalone Swarm, which is not imported",
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            config("s", IPAddress=""),
            "has no IPAddress in the store: it is stopped, or its creation did not finish; `docker-machine start s`",
        ),
        (config("n", "none", IPAddress=""), "has no IPAddress in the store: docker-machine knows only its Docker port"),
        ({}, "has no IPAddress"),
        ([], "has no IPAddress"),
        (None, "has no IPAddress"),
        ({"Driver": "x", "HostOptions": 5, "Name": ["a"]}, "has no IPAddress"),
        ({"Driver": {"IPAddress": {"a": 1}}}, "has no IPAddress"),
        ({"Driver": {"IPAddress": True}}, "has no IPAddress"),
    ],
    ids=str,
)
def test_left_out(found: Any, expected: str) -> None:
    assert machine(found, Path("/nowhere")).left_out.startswith(expected)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for number in (1, 2):
        folder = tmp_path / "machines" / f"node{number}"
        folder.mkdir(parents=True)
        (folder / "id_rsa").touch()
        found = config(
            f"node{number}", IPAddress=f"203.0.113.1{number}", SSHKeyPath="/elsewhere/id_rsa", SSHUser="deploy"
        )
        (folder / "config.json").write_text(json.dumps(found))
    return tmp_path


def with_engines(folder: Path, *flags: str, keystore: bool = False, other: tuple[str, ...] = ()) -> Path:
    """Two machines whose engines have these flags; the second one has `other`, if given.

    keystore: adds a third machine without these flags, with two known addresses.
    """
    for number in (1, 2, *([3] if keystore else [])):
        own = [] if number == 3 else list(other if number == 2 and other else flags)
        name = "keystore" if number == 3 else f"node{number}"
        (folder / name).mkdir()
        found = config(
            name, "amazonec2", flags=own, IPAddress=f"203.0.113.1{number}", PrivateIPAddress=f"10.0.0.{number}"
        )
        (folder / name / "config.json").write_text(json.dumps(found))
    return folder


ADVERTISED = "cluster-advertise=eth0:2376"
TAKEN = {
    "one address": (["cluster-store=consul://192.0.2.9:8500"], {"kind": "consul", "endpoints": ("192.0.2.9:8500",)}),
    "several, a prefix and times": (
        ["cluster-store=etcd://a.example.net:2379,b.example.net:2379/lab/one", "cluster-store-opt=discovery.ttl=30", "cluster-store-opt=discovery.heartbeat=10"],
        {"kind": "etcd", "endpoints": ("a.example.net:2379", "b.example.net:2379"), "prefix": "lab/one"},
    ),
    "an agent on every host": (["--cluster-store=consul://127.0.0.1:8500"], {"kind": "consul", "endpoints": ("127.0.0.1:8500",)}),
    "ZooKeeper": (["cluster-store=zk://192.0.2.9:2181"], {"kind": "zookeeper", "endpoints": ("192.0.2.9:2181",)}),
}  # fmt: skip


@pytest.mark.parametrize(("flags", "expected"), TAKEN.values(), ids=TAKEN)
def test_the_store_of_the_engines_is_imported(tmp_path: Path, flags: list[str], expected: dict[str, Any]) -> None:
    inventory, notes = sound(machines(with_engines(tmp_path, ADVERTISED, *flags)), tmp_path)
    assert inventory.store
    assert {key: getattr(inventory.store, key) for key in expected} == expected
    assert (inventory.store.discovery.heartbeat, inventory.store.discovery.ttl) == (
        (10, 30) if "prefix" in expected else (None, None)
    )
    assert notes == ""


@pytest.mark.parametrize(("engines", "kind"), [("", None), ("28.5", None), ("20.10.5", "consul"), ("19.03, 24", None)])
def test_without_a_store_the_version_of_the_engines_counts(tmp_path: Path, engines: str, kind: str | None) -> None:
    inventory, notes = sound(machines(with_engines(tmp_path, ADVERTISED)), tmp_path, engines=engines)
    assert (inventory.store and inventory.store.kind, notes) == (kind, "")


AT = "cluster-store=consul://192.0.2.9:8500"
OWN = "; otherwise provisioner sets up its own Consul on the hosts"
NOT_TAKEN = {
    "over TLS": (
        ["cluster-store=etcd://192.0.2.9:2379/lab", "cluster-store-opt=kv.cacertfile=/etc/ca.pem", "cluster-store-opt=kv.certfile=/etc/cert.pem"],
        (),
        'over TLS: copy its three files from a machine to this one, and write `store: {kind: etcd, endpoints: ["192.0.2.9:2379"], prefix: lab, tls: {ca: FILE, cert: FILE, key: FILE}}` with them in place of `store: {kind: consul}`',
    ),
    "different ones": (
        [AT], ("cluster-store=etcd://192.0.2.9:2379",),
        "2 stores or sets of options, and an inventory has one: 'consul://192.0.2.9:8500' ('node1'), 'etcd://192.0.2.9:2379' ('node2'); import the machines of each store separately",
    ),
    "two addresses of Consul": (
        ["cluster-store=consul://192.0.2.9:8500,192.0.2.8:8500"], (),
        "which an inventory does not support: store.endpoints: the engine supports one endpoint of Consul: name the agent on every host, `[127.0.0.1:8500]`",
    ),
    "no store of engines": (["cluster-store=boltdb:///var/lib/x"], (), "which no engine supports: use Consul, etcd or ZooKeeper"),
    "no port": (["cluster-store=etcd://192.0.2.9"], (), "which an inventory does not support: store.endpoints: '192.0.2.9' is not an address with a port"),
}  # fmt: skip


@pytest.mark.parametrize(("flags", "other", "note"), NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_the_note_on_a_store_that_can_not_be_imported_says_what_to_write(
    tmp_path: Path, flags: list[str], other: tuple[str, ...], note: str
) -> None:
    inventory, notes = sound(machines(with_engines(tmp_path, *flags, other=other)), tmp_path)
    assert inventory.store
    assert not inventory.store.endpoints
    assert note in notes
    assert notes.endswith(OWN)


def test_a_store_on_one_of_the_machines_is_noted_and_imported_without_that_machine(tmp_path: Path) -> None:
    found = machines(with_engines(tmp_path, "cluster-store=consul://10.0.0.3:8500", keystore=True))
    inventory, notes = sound(found, tmp_path)
    assert inventory.store
    assert not inventory.store.endpoints
    assert (
        "which is on 'keystore', a host of this inventory, whose engine waits for its store before it starts: leave that out"
        in notes
    )
    assert (
        'import the store: --only node1 --only node2; or write `store: {kind: consul, endpoints: ["10.0.0.3:8500"]}` yourself'
        in notes
    )
    inventory, notes = sound(only(found, ("node1", "node2")), tmp_path)
    assert inventory.store
    assert (inventory.store.endpoints, notes) == (("10.0.0.3:8500",), "")


def test_a_store_that_was_moved(store: Path, tmp_path: Path) -> None:
    inventory, notes = sound(machines(store), tmp_path)
    assert targets(inventory) == {
        "node1": ("203.0.113.11", 22, "deploy", "id_rsa"),
        "node2": ("203.0.113.12", 22, "deploy", "id_rsa"),
    }
    assert inventory.ssh.user == "deploy"
    assert notes == ""


@pytest.mark.parametrize(
    ("part", "names"),
    [("", ["node1", "node2"]), ("machines", ["node1", "node2"]), ("machines/node2", ["node2"]), ("machines/node1/config.json", ["node1"])],
)  # fmt: skip
def test_every_level_of_a_store(store: Path, part: str, names: list[str]) -> None:
    assert [m.name for m in machines(store / part).machines] == names


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\xff", '{"a": 1', "null", "NaN"], ids=lambda t: ascii(t[:9]))
def test_a_bad_file_does_not_affect_the_others(store: Path, text: str) -> None:
    (store / "machines" / "node1" / "config.json").write_text(text, encoding="latin-1")
    one, two = machines(store).machines
    assert one.name == "node1"
    assert one.left_out
    assert not two.left_out


def test_no_store(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InventoryError, match="one problem") as caught:
            machines(path)
        assert "contains no machine: name a store" in caught.value.problems[0]


def test_the_key_of_a_moved_store_is_beside_its_config(tmp_path: Path) -> None:
    (tmp_path / "team_ed25519").touch()
    found = machine(config("a", SSHKeyPath="/gone/machines/a/team_ed25519"), tmp_path)
    assert (found.key, found.notes) == (str(tmp_path / "team_ed25519"), ())
    (tmp_path / "id_rsa").touch()
    assert machine(config("a", SSHKeyPath="/gone/other"), tmp_path).key == str(tmp_path / "id_rsa")
    assert machine(config("a"), tmp_path).key == str(tmp_path / "id_rsa")


def test_the_default_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MACHINE_STORAGE_PATH", raising=False)
    assert default_store() == tmp_path / ".docker" / "machine"
    monkeypatch.setenv("MACHINE_STORAGE_PATH", "/store")
    assert default_store() == Path("/store")


@pytest.mark.parametrize("text", [text for text in HOSTILE if text], ids=lambda text: ascii(text[:20]))
def test_hostile_values_never_reach_the_inventory(tmp_path: Path, text: str) -> None:
    flags = {"flag": "cluster-advertise={}:1", "store": "cluster-store=consul://{}", "option": "cluster-store-opt={}"}
    for place in ("IPAddress", "SSHUser", "SSHPort", "SSHKeyPath", "name", *flags):
        folder = tmp_path / "machines" / "a"
        folder.mkdir(parents=True, exist_ok=True)
        found = config(
            "a", flags=["cluster-store=consul://192.0.2.9:8500", flags[place].format(text)] if place in flags else []
        ) | ({"Name": text} if place == "name" else {})
        found["Driver"] |= {place: text} if place[0] in "IS" else {}
        (folder / "config.json").write_text(json.dumps(found))
        (tmp_path / "machines" / "b").mkdir(exist_ok=True)
        (tmp_path / "machines" / "b" / "config.json").write_text(json.dumps(config("b", IPAddress="203.0.113.99")))
        inventory, _ = sound(machines(tmp_path), tmp_path)
        assert "b" in inventory.hosts
        assert inventory.target("b").user == "root"
