"""A valid inventory: defaults, overrides, paths."""

from __future__ import annotations

import os
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from provisioner.inventory import Inventory, load
from provisioner.model import SshTarget

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = sorted((Path(__file__).parents[3] / "inventories").glob("*.yml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_load(path: Path) -> None:
    inventory = load(path, check_files=False)
    assert inventory.path == path
    assert len(inventory.hosts) >= 3


def test_there_are_examples() -> None:
    names = {path.stem for path in EXAMPLES}
    assert names >= {"lab", "three-hosts", "vagrant", "large", "airgapped"}


def test_defaults(loaded: Callable[..., Inventory], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    inventory = loaded(ssh="ssh: {}")
    assert inventory == loaded(ssh="# nothing")
    assert inventory.cluster == "lab"
    assert inventory.target("node2") == SshTarget(
        name="node2",
        address="192.168.56.12",
        port=22,
        user="root",
        key=None,
        host_keys="strict",
        known_hosts=Path("/home/me/.ssh/known_hosts"),
        connect_timeout=10.0,
    )
    assert inventory.advertise_for("node1") is None
    assert inventory.store.model_dump() == {
        "kind": "consul", "servers": None, "endpoints": None, "tls": None, "binary": None, "sha256": None, "prefix": None, "local_users": (),
        "discovery": {"heartbeat": None, "ttl": None, "path": None},
        "security": {"tls": True, "gossip": True, "acls": True},
    }  # fmt: skip
    network = inventory.networks["demo"]
    assert network.model_dump() == {
        "name": "demo", "driver": "overlay", "subnet": IPv4Network("10.99.0.0/24"), "gateway": None,
        "ip_range": None, "mtu": None, "internal": False, "labels": {}, "scope": None, "hosts": None, "subnet6": None,
        "gateway6": None, "ip_range6": None, "aux_addresses": {}, "parent": None, "mode": None, "options": {}, "attachable": True, "encrypted": False,
    }  # fmt: skip


def test_a_host_overrides_common_settings(
    loaded: Callable[..., Inventory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    inventory = loaded(
        check_files=False,
        ssh="ssh: {user: admin, key: ~/.ssh/id, port: 2200, host_keys: accept-new, known_hosts: hosts, connect_timeout: 2.5}",
        hosts="hosts:\n  a: {address: A.example}\n  b: {address: '::1', user: root, key: keys/b, port: 22, advertise: 10.1.1.2}",
        more="advertise: eth1",
    )
    common = {"host_keys": "accept-new", "known_hosts": tmp_path / "hosts", "connect_timeout": 2.5}
    common["named"] = frozenset({"user", "key", "port", "host_keys", "known_hosts", "connect_timeout"})
    assert inventory.target("a") == SshTarget("a", "A.example", 2200, "admin", Path("/home/me/.ssh/id"), **common)
    assert inventory.target("b") == SshTarget("b", "::1", 22, "root", tmp_path / "keys/b", **common)
    assert inventory.advertise_for("a") == "eth1"
    assert inventory.advertise_for("b") == "10.1.1.2"


def test_what_ssh_s_configuration_supplies(loaded: Callable[..., Inventory], tmp_path: Path) -> None:
    hosts = "hosts:\n  a: {address: 192.0.2.1, user: ops}\n  b: {address: web_1, jump: 'x:23,y@z'}"
    inventory = loaded(check_files=False, ssh="ssh: {config: files/ssh}", hosts=hosts)
    a, b = inventory.target("a"), inventory.target("b")
    assert (a.user, a.named, a.config) == ("ops", {"user"}, str(tmp_path / "files/ssh"))
    assert (b.user, b.named, b.jump.named, b.jump.jump.named) == ("root", {"jump"}, {"user"}, {"port"})
    done = inventory.reached({"a": replace(a, port=2222)})
    assert (done.target("a").port, done.written_target("a").port, done.target("b")) == (2222, 22, b)
    assert loaded(ssh="ssh: {config: none}").target("node1").config == "none"


def test_everything_of_a_network_and_a_store(loaded: Callable[..., Inventory], tmp_path: Path) -> None:
    (tmp_path / "consul.zip").touch()
    inventory = loaded(
        store=f"store: {{kind: consul, servers: [node3], binary: consul.zip, sha256: {'A' * 64}, prefix: a/b_c-1}}",
        networks="networks:\n  x_1.y-Z: {driver: overlay, subnet: 10.99.0.0/24, gateway: 10.99.0.254,"
        " ip_range: 10.99.0.0/25, mtu: 9000, internal: true, labels: {com.example/a: 'Grüße, $(x) \"y\"'}}",
    )
    assert inventory.servers == inventory.store.servers == ("node3",)
    assert inventory.store.binary == tmp_path / "consul.zip"
    assert inventory.store.sha256 == "a" * 64
    assert inventory.store.prefix == "a/b_c-1"
    network = inventory.networks["x_1.y-Z"]
    assert (network.name, network.gateway, network.range_on("node1")) == (
        "x_1.y-Z",
        IPv4Address("10.99.0.254"),
        IPv4Network("10.99.0.0/25"),
    )
    assert (network.mtu, network.internal, dict(network.labels)) == (9000, True, {"com.example/a": 'Grüße, $(x) "y"'})


def test_paths_start_at_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "id").touch()
    (tmp_path / "sub" / "lab.yml").write_text(
        "cluster: lab\nssh: {key: id}\nhosts: {a: {address: 192.0.2.1}}\nstore: {kind: consul}\n"
        "networks: {demo: {subnet: 10.99.0.0/24}}\n"
    )
    monkeypatch.chdir(tmp_path)
    assert load(Path("sub/lab.yml")).target("a").key == tmp_path / "sub" / "id"


@pytest.mark.parametrize(("hosts", "servers"), [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (6, 5), (40, 5)])
def test_as_many_servers_as_keep_a_majority(loaded: Callable[..., Inventory], hosts: int, servers: int) -> None:
    lines = "".join(f"\n  n{i}: {{address: 192.0.2.{i}}}" for i in range(1, hosts + 1))
    assert loaded(hosts="hosts:" + lines).servers == tuple(f"n{i}" for i in range(1, servers + 1))


def test_hosts_stay_in_the_order_of_the_file(loaded: Callable[..., Inventory]) -> None:
    inventory = loaded(hosts="hosts: {c: {address: c}, a: {address: a}, b: {address: b}}")
    assert list(inventory.hosts) == ["c", "a", "b"]


def test_one_address_with_several_ports_is_several_hosts(loaded: Callable[..., Inventory]) -> None:
    inventory = loaded(hosts="hosts: {a: {address: 192.0.2.1, port: 2201}, b: {address: 192.0.2.1, port: 2202}}")
    assert inventory.target("b").port == 2202


@pytest.mark.parametrize("name", ["my_host", "a_1.example.com", "xx.example.com", "10.1.example.xx"])
def test_names_that_are_no_mistake(loaded: Callable[..., Inventory], name: str) -> None:
    assert loaded(hosts=f"hosts: {{node1: {{address: {name}}}}}").hosts["node1"].address == name


def test_a_host_may_advertise_its_own_address(loaded: Callable[..., Inventory]) -> None:
    inventory = loaded(
        hosts="hosts: {a: {address: 192.0.2.1, advertise: 192.0.2.1}, b: {address: b, advertise: eth0.100}}"
    )
    assert (inventory.advertise_for("a"), inventory.advertise_for("b")) == ("192.0.2.1", "eth0.100")


def test_a_subnet_just_large_enough(loaded: Callable[..., Inventory]) -> None:
    hosts = "".join(f"\n  n{i}: {{address: 192.0.2.{i}}}" for i in range(1, 6))
    assert loaded(hosts="hosts:" + hosts, networks="networks: {demo: {subnet: 10.99.0.0/29}}")


def test_inventories_are_frozen(loaded: Callable[..., Inventory]) -> None:
    inventory = loaded()
    with pytest.raises(ValidationError):
        inventory.cluster = "other"
    with pytest.raises(ValidationError):
        inventory.hosts["node1"].address = "other"


def test_no_such_host(loaded: Callable[..., Inventory]) -> None:
    inventory = loaded()
    with pytest.raises(KeyError):
        inventory.target("nobody")
    with pytest.raises(KeyError):
        inventory.advertise_for("nobody")


def test_without_check_files_no_file_is_looked_for(loaded: Callable[..., Inventory]) -> None:
    assert loaded(check_files=False, ssh="ssh: {key: /nonexistent}").ssh.key == Path("/nonexistent")


def test_a_public_key_is_not_the_private_one(problems: Callable[..., list[str]], tmp_path: Path) -> None:
    (tmp_path / "id.pub").touch()
    assert problems(ssh="ssh: {key: id.pub}") == [
        f"2:12: ssh.key: {str(tmp_path / 'id.pub')!r} is the public key; name the private key"
    ]


def test_a_key_that_is_a_pipe_is_refused_without_waiting(problems: Callable[..., list[str]], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "id")
    assert problems(ssh="ssh: {key: id}") == [f"2:12: ssh.key: {str(tmp_path / 'id')!r} is not an ordinary file"]


def test_a_name_that_is_too_long_for_a_file(problems: Callable[..., list[str]]) -> None:
    (problem,) = problems(ssh=f"ssh: {{key: {'x' * 300}}}")
    assert problem.endswith("can't be read: File name too long")
