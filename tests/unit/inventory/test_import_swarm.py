"""A swarm, as its manager describes it, becomes hosts, networks and settings of an inventory; what is no such value is left out."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from captured import capture, with_raw, with_system
from swarms import FOUND, out, put, with_managers

from provisioner.errors import InventoryError, ProvisionerError, UsageError
from provisioner.inventory import load, of_values
from provisioner.inventory.importers import swarm_text
from provisioner.inventory.importers.swarm import Answers, understood
from provisioner.runner import survey

ANSWERS = survey.answers(FOUND["node1"])
KNOWN = {"ID": "a" * 25, "Spec": {"Role": "worker"}}


def changed(**parts):
    """The captured swarm with other nodes, networks or settings."""
    info = copy.deepcopy(dict(ANSWERS.info))
    info["Swarm"]["Cluster"] |= parts.pop("cluster", {})
    return Answers(info, parts.pop("nodes", ANSWERS.nodes), parts.pop("networks", ANSWERS.networks))


def node(name, address, **more):
    return {
        **KNOWN,
        "ID": name,
        "Description": {"Hostname": name},
        "Status": {"Addr": address, "State": "ready"},
        **more,
    }


def network(name, subnet="10.7.0.0/24", **more):
    config = [{"Subnet": subnet, "Gateway": subnet.replace("0/24", "1")}]
    found = {
        "Name": name,
        "Id": name,
        "Driver": "overlay",
        "Scope": "swarm",
        "Attachable": True,
        "IPAM": {"Config": config},
    }
    return {**found, **more}


def with_nodes(*nodes):
    return understood(changed(nodes=[*ANSWERS.nodes, *nodes]))


def of_network(**more):
    """The entry of a network, and the notes on it."""
    swarm = understood(changed(networks=[network("web", **more)]))
    return swarm.networks.get("web"), swarm.notes


def test_the_captured_swarm():
    swarm = understood(ANSWERS)
    assert (swarm.cluster, swarm.me, swarm.managers) == ("lab", "node1", ("node1",))
    assert [(each.name, each.address) for each in swarm.nodes] == [(f"node{n}", f"192.168.56.1{n}") for n in (1, 2, 3)]
    assert swarm.notes == ()
    document = swarm.document({"user": "ops", "port": 2222}, "bastion.example", [])
    assert document["hosts"] == {"node1": {"address": "bastion.example", "advertise": "192.168.56.11"}}
    inventory = of_values(swarm.document({"user": "ops"}, "192.168.56.11", ["node2", "node3"]), Path("swarm"))
    assert inventory.control_plane == "swarm"
    assert inventory.servers == ("node1",)
    assert [inventory.target(name).user for name in inventory.hosts] == ["ops"] * 3
    assert all(inventory.target(name).host_keys == "strict" for name in inventory.hosts)


def test_settings_that_differ_from_the_engines_own():
    plain = understood(changed(cluster={"DataPathPort": 0, "DefaultAddrPool": None, "SubnetSize": 24}))
    assert plain.settings == {}
    others = {"DataPathPort": 5789, "DefaultAddrPool": ["10.77.0.0/16"], "SubnetSize": 25}
    found = understood(changed(cluster=others))
    assert found.settings == {"data_path_port": 5789, "default_addr_pool": {"pools": ["10.77.0.0/16"], "size": 25}}
    inventory = of_values(found.document({}, "192.168.56.11", []), Path("swarm"))
    assert (inventory.data_path_port, inventory.address_pool.size) == (5789, 25)


@pytest.mark.parametrize(
    "address", ["", "0.0.0.0", "127.0.0.1", "169.254.169.254", "224.0.0.1", "255.255.255.255", "fe80::1", "-oProxyCommand=x", "a.example"]
)  # fmt: skip
def test_an_address_where_no_node_can_be_is_not_reached(address):
    swarm = with_nodes(node("evil", address))
    assert [each.name for each in swarm.nodes] == ["node1", "node2", "node3"]
    assert [each.name for each in swarm.unexamined] == ["evil"]
    assert "evil" in swarm.notes[0]


def test_names_become_labels():
    swarm = with_nodes(node("Web_1.example.net", "192.168.56.20"), node("\x1b[31m; rm -rf /", "192.168.56.21"))
    names = [each.name for each in swarm.nodes]
    assert set(names) == {"node1", "node2", "node3", "31m-rm-rf", "web-1"}
    of_values(swarm.document({}, "192.168.56.11", names), Path("swarm"))


def test_an_old_node_of_a_host_that_joined_again_is_no_second_host():
    down = node("node2", "192.168.56.12", Status={"Addr": "192.168.56.12", "State": "down"})
    assert [each.name for each in with_nodes(down).nodes] == ["node1", "node2", "node3"]
    assert not with_nodes(down).unexamined
    assert [each.name for each in with_nodes(node("twin", "192.168.56.12")).unexamined] == ["twin"]


def test_networks():
    assert of_network() == ({"subnet": "10.7.0.0/24"}, ())
    assert of_network(Attachable=False)[0] == {"subnet": "10.7.0.0/24", "attachable": False}
    options = {
        "encrypted": "",
        "com.docker.network.driver.mtu": "1400",
        "com.docker.network.driver.overlay.vxlanid_list": "4097",
    }
    assert of_network(Options=options, Internal=True, Labels={"a": "b"})[0] == {
        "subnet": "10.7.0.0/24", "mtu": 1400, "internal": True, "encrypted": True, "labels": {"a": "b"},
    }  # fmt: skip
    config = [{"Subnet": "10.7.0.0/24", "Gateway": "10.7.0.254", "IPRange": "10.7.0.128/25"}]
    assert of_network(IPAM={"Config": config})[0] == {
        "subnet": "10.7.0.0/24", "gateway": "10.7.0.254", "ip_range": "10.7.0.128/25",
    }  # fmt: skip


def test_networks_that_are_not_the_users():
    assert of_network(Ingress=True)[0] is None
    assert of_network(Driver="bridge", Scope="local")[0] is None
    assert of_network(Driver="")[0] is None  # still being created


def test_what_an_inventory_can_not_express_is_noted():
    entry, notes = of_network(Labels={"x": "\x1b[31m"})
    assert entry == {"subnet": "10.7.0.0/24"}
    assert notes[0].startswith("network `web`: labels is left out: ")
    entry, notes = of_network(
        IPAM={"Config": [{"Subnet": "10.7.0.0/24"}, {"Subnet": "10.8.0.0/24"}, {"Subnet": "fd00::/64"}]}
    )
    assert entry == {"subnet": "10.7.0.0/24"}
    assert len(notes) == 2
    entry, notes = of_network(IPAM={"Config": [{"Subnet": "fd00::/64"}]})
    assert entry is None
    assert "no IPv4 subnet" in notes[0]


def test_a_manager_without_a_leader_names_the_managers_that_it_knows():
    facts = with_managers("node1", "node2", "node3")["node1"]
    silent = survey.answers(FOUND["node1"].__class__({**facts.raw, "http:nodes": "503 no leader"}))
    swarm = understood(silent)
    assert [each.address for each in swarm.nodes] == ["192.168.56.11", "192.168.56.12", "192.168.56.13"]
    assert len(swarm.managers) == 3
    assert swarm.nodes[0].name == swarm.me


def refusal(facts):
    inventory = of_values({"cluster": "x", "hosts": {"manager": {"address": "192.0.2.1"}}, "networks": {}}, Path("x"))
    with pytest.raises(ProvisionerError) as caught:
        survey.refuse(inventory, "manager", facts)
    return caught.value


def test_a_worker_is_refused_and_names_its_managers():
    error = refusal(FOUND["node2"])
    assert (type(error), error.exit_code) == (UsageError, 64)
    assert "it is a worker" in str(error)
    assert "192.168.56.11" in error.cure


@pytest.mark.parametrize(
    ("facts", "code", "words"),
    [
        (out("node1"), 64, "in no swarm"),
        (put("node1", LocalNodeState="locked"), 1, "it is locked"),
        (with_system(FOUND["node1"], "uid=", "1000"), 1, "is not root"),
        (with_raw(FOUND["node1"], perl="Socket"), 1, "Perl lacks Socket"),
        (capture("stopped"), 1, "its engine does not run"),
        (capture("bare"), 1, "it has no Docker engine"),
    ],
)
def test_a_host_that_is_no_manager_is_refused(facts, code, words):
    error = refusal(facts)
    assert words in str(error)
    assert (error.exit_code, bool(error.cure)) == (code, True)


def made(tmp_path, answers, **how):
    """The inventory that is written, and the notes."""
    text, notes = swarm_text.written(understood(answers), {"user": "ops"}, "192.168.56.11", **how)
    file = tmp_path / "swarm.yml"
    file.write_text(text)
    return load(file), "\n".join(notes)


def test_the_inventory_of_a_swarm_that_provisioner_created(tmp_path):
    found, notes = made(tmp_path, ANSWERS)
    assert notes == ""
    assert (found.cluster, found.control_plane, found.servers) == ("lab", "swarm", ("node1",))
    assert {name: found.target(name).address for name in found.hosts} == {
        f"node{n}": f"192.168.56.1{n}" for n in (1, 2, 3)
    }
    assert found.networks.keys() == understood(ANSWERS).networks.keys() != set()


def test_the_inventory_of_a_swarm_with_settings_of_its_own(tmp_path):
    cluster = {"Spec": {"Labels": {}}, "DataPathPort": 5789, "DefaultAddrPool": ["10.77.0.0/16"], "SubnetSize": 25}
    networks = [
        network("web", "10.77.1.0/24", Attachable=False, Labels={"true": "null", "com.docker.stack.namespace": "a: b"})
    ]
    found, notes = made(tmp_path, changed(cluster=cluster, networks=networks))
    assert (found.cluster, found.data_path_port, found.address_pool.size) == ("swarm", 5789, 25)
    assert found.networks["web"].labels == {"true": "null", "com.docker.stack.namespace": "a: b"}
    assert not found.networks["web"].attachable
    assert "provisioner did not create this swarm" in notes


def test_what_would_make_the_inventory_invalid_is_left_out(tmp_path):
    networks = [network("good"), network("bad", "192.168.56.0/24"), network("second", "10.7.0.0/24")]
    second = {**node("node4", "192.168.56.14"), "Spec": {"Role": "manager"}}
    with pytest.raises(InventoryError, match="overlaps"):
        made(tmp_path, changed(networks=networks))
    found, notes = made(tmp_path, changed(networks=networks[:2], nodes=[*ANSWERS.nodes, second]))
    assert list(found.networks) == ["good"]
    assert "network `bad` is left out" in notes
    assert found.swarm is None
    assert "the swarm has 2 managers" in notes


def test_a_swarm_without_networks_gets_an_example(tmp_path):
    down = node("node4", "192.168.56.14", Status={"Addr": "192.168.56.14", "State": "down"})
    found, notes = made(tmp_path, changed(networks=[], nodes=[*ANSWERS.nodes, down]), cluster="shop")
    assert (list(found.networks), found.cluster) == (["demo"], "shop")
    assert "`demo` is an example" in notes
    assert "node `node4` is down" in notes
