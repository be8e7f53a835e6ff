"""The decisions about the cluster: addresses, servers and quorum; and the summaries of hosts."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from captured import HOSTS, capture, with_file, with_http, with_raw, with_unit

from provisioner.controlplane import advertised, resolve
from provisioner.controlplane.kv import Kv
from provisioner.controlplane.summary import summaries
from provisioner.model import Failure
from provisioner.stores.consul import JSON as CONSUL_JSON
from provisioner.stores.consul import Consul

NAT = {name: capture(f"nat-{name}") for name in HOSTS}  # eth1 is 10.0.2.15 everywhere, eth0 the real network
TWO = {name: capture(f"two-{name}") for name in HOSTS}  # two networks on which every host has its own address
INSTALLED = {name: capture(f"installed-{name}") for name in HOSTS}
SETTLED = {name: capture(f"settled-{name}") for name in HOSTS}


def chosen(inventory, facts):
    found, findings = advertised(inventory, facts, Kv())
    return [str(address) for address in found.values()], [(f.id, f.host, f.evidence) for f in findings]


REAL = ["192.168.56.11", "192.168.56.12", "192.168.56.13"]
SSH_BY_NAT = "127.0.0.1, port: 222{}"
SSH_BY_NAME = "node{}.example.com"


class TestAdvertised:
    def test_the_inventory_address_where_the_host_has_it(self, inventory):
        assert chosen(inventory(), INSTALLED) == (REAL, [])
        assert chosen(inventory(), TWO) == (REAL, [])  # other networks do not matter

    def test_the_network_that_ssh_uses(self, inventory):
        found, _ = chosen(inventory(address="192.168.121.{}0"), TWO)
        assert found == ["192.168.121.10", "192.168.121.20", "192.168.121.30"]

    @pytest.mark.parametrize("address", [SSH_BY_NAT, SSH_BY_NAME])
    def test_the_one_network_that_all_share_and_not_the_nat_with_equal_addresses(self, inventory, address):
        assert chosen(inventory(address=address), NAT) == (REAL, [])

    def test_an_address_in_the_inventory_is_not_checked_on_the_host(self, inventory):
        wanted = inventory(2, each=", advertise: 10.1.1.{}")
        assert chosen(wanted, {"node1": NAT["node1"]})[0] == ["10.1.1.1", "10.1.1.2"]

    def test_an_interface_for_all_hosts(self, inventory):
        wanted = inventory(address=SSH_BY_NAT, more="advertise: eth1")
        assert chosen(wanted, TWO)[0] == ["192.168.121.10", "192.168.121.20", "192.168.121.30"]

    def test_an_interface_of_one_host_takes_precedence(self, inventory):
        wanted = inventory(each=", advertise: eth0", more="advertise: eth1")
        assert chosen(wanted, TWO) == (REAL, [])

    def test_an_interface_that_is_not_there(self, inventory):
        found, findings = chosen(inventory(more="advertise: eth7"), INSTALLED)
        assert found == []
        assert [f[:2] for f in findings] == [("advertise", name) for name in HOSTS]
        assert "no interface eth7" in findings[0][2]

    def test_with_two_shared_networks_none_is_guessed(self, inventory):
        found, findings = chosen(inventory(address=SSH_BY_NAT), TWO)
        assert found == []
        assert [f[:2] for f in findings] == [("advertise", name) for name in HOSTS]

    def test_no_shared_network(self, inventory):
        facts = {
            "node1": capture("bare"),
            "node2": with_raw(capture("installed-node2"), addresses="lo 127.0.0.1 255.0.0.0\n"),
        }
        found, findings = chosen(inventory(2, address=SSH_BY_NAME), facts)
        assert found == []
        assert [f[1] for f in findings] == ["node1", "node2"]

    def test_bridges_of_people_count_and_those_of_the_engine_do_not(self, inventory):
        def renamed(old, new):
            return {
                name: with_raw(facts, addresses=facts.raw["addresses"].replace(old, new))
                for name, facts in INSTALLED.items()
            }

        wanted = inventory(address=SSH_BY_NAME)
        assert chosen(wanted, renamed("eth0", "br-lan"))[0] == REAL
        assert chosen(wanted, renamed("eth0", "br-0123456789ab"))[0] == []
        assert chosen(wanted, renamed("eth0", "lo1"))[0] == REAL


def test_a_peer_is_known_by_all_its_addresses_on_the_shared_network(inventory):
    """The host advertises one address, and sends from its primary one."""
    addresses = "eth0 192.168.56.12 255.255.255.0\neth0 192.168.56.112 255.255.255.0\neth1 10.0.2.15 255.255.255.0\n"
    facts = {**INSTALLED, "node2": with_raw(INSTALLED["node2"], addresses=addresses)}
    site, _ = resolve(inventory(each=", advertise: 192.168.56.11{}"), facts)
    assert [str(a) for a in site.peers("node1")] == [f"192.168.56.{n}" for n in (12, 13, 112, 113)]


class TestUnreached:
    def without(self, facts, name):
        return {host: of_host for host, of_host in facts.items() if host != name}

    def test_its_inventory_address_is_the_best_guess(self, inventory):
        assert chosen(inventory(), self.without(INSTALLED, "node3")) == (REAL, [])

    @pytest.mark.parametrize("address", [SSH_BY_NAT, SSH_BY_NAME])
    def test_loopback_and_names_are_no_addresses_for_peers(self, inventory, address):
        found, findings = chosen(inventory(address=address), self.without(NAT, "node3"))
        assert (found, findings) == (REAL[:2], [])

    @pytest.mark.parametrize(
        "words",
        [{"address": SSH_BY_NAT}, {"address": SSH_BY_NAME}, {"more": "advertise: eth0"}, {"address": "203.0.113.{}"}],
    )
    def test_the_store_remembers_it_so_that_the_firewalls_do_not_shut_it_out(self, inventory, words):
        assert chosen(inventory(**words), self.without(SETTLED, "node3"))[0] == REAL

    def test_an_address_in_the_inventory_takes_precedence_over_the_store_s(self, inventory):
        wanted = inventory(each=", advertise: 10.1.1.{}")
        assert chosen(wanted, self.without(SETTLED, "node3"))[0][2] == "10.1.1.3"


def answering(state, *numbers):
    return {f"node{n}": capture(f"{state}-node{n}") for n in numbers}


def server(facts, *, is_server):
    text = facts.files[CONSUL_JSON].replace(
        f'"server": {str(not is_server).lower()}', f'"server": {str(is_server).lower()}'
    )
    return with_http(with_file(facts, CONSUL_JSON, text), "peers", "000 down")


class TestServers:
    @pytest.mark.parametrize(("hosts", "servers"), [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (9, 5)])
    def test_the_number_of_servers_on_new_hosts(self, inventory, hosts, servers):
        found, _ = resolve(inventory(hosts), {})
        assert found.servers == tuple(f"node{n}" for n in range(1, servers + 1))

    def test_servers_that_the_inventory_names(self, inventory):
        found, _ = resolve(inventory(store=", servers: [node3]"), SETTLED)
        assert found.servers == ("node3",)

    def test_without_its_third_host_the_cluster_keeps_its_other_servers(self, inventory):
        found, _ = resolve(inventory(2), answering("settled", 1, 2))
        assert found.servers == ("node1", "node2")
        assert resolve(inventory(2), answering("installed", 1, 2))[0].servers == ("node1",)

    def test_a_third_host_is_added(self, inventory):
        one = {"node1": server(SETTLED["node1"], is_server=True), "node2": server(SETTLED["node2"], is_server=False)}
        assert resolve(inventory(), {**one, "node3": INSTALLED["node3"]})[0].servers == HOSTS

    def test_existing_servers_are_known_from_their_files_while_the_store_is_down(self, inventory):
        facts = {name: server(SETTLED[name], is_server=name != "node1") for name in HOSTS}
        assert resolve(inventory(2), {name: facts[name] for name in ("node1", "node2")})[0].servers == ("node2",)

    def test_a_server_that_is_down_is_not_replaced(self, inventory):
        wanted = inventory(5)
        facts = {
            name: with_http(SETTLED[name], "peers", ["192.168.56.13:8300", "192.168.56.15:8300"]) for name in ("node3",)
        }
        facts["node3"] = with_file(facts["node3"], CONSUL_JSON, "")
        kept = resolve(wanted, facts)[0].servers
        assert {"node3", "node5"} <= set(kept)
        small = inventory(4)  # room for three
        facts["node3"] = with_http(facts["node3"], "peers", [f"192.168.56.1{n}:8300" for n in (2, 3, 4)])
        assert resolve(small, facts)[0].servers == ("node2", "node3", "node4")

    def test_peers_of_the_store(self, inventory):
        backend = Consul(inventory().store)
        assert backend.peers(SETTLED) == set(map(IPv4Address, REAL))
        assert backend.peers(INSTALLED) == set()


class TestSite:
    @pytest.mark.parametrize(
        ("hosts", "gone", "quorum"),
        [(1, (), 1), (3, (1,), 1), (3, (1, 2), 0), (5, (1, 2), 1), (5, (1, 2, 3), 0), (4, (4,), 1), (4, (2, 3), 0)],
    )
    def test_quorum(self, inventory, hosts, gone, quorum):
        facts = {f"node{n}": INSTALLED["node1"] for n in range(1, hosts + 1)}
        found, _ = resolve(inventory(hosts), facts)
        assert found.without(frozenset(f"node{n}" for n in gone)).has_quorum is bool(quorum)

    def test_live_hosts_are_those_that_answered(self, inventory):
        found, _ = resolve(inventory(), answering("installed", 1, 3))
        assert found.live == ("node1", "node3")
        assert found.without(frozenset({"node1"})).live == ("node3",)

    def test_peers_include_hosts_that_are_down(self, inventory):
        found, _ = resolve(inventory(), answering("installed", 1))
        assert [str(peer) for peer in found.peers("node1")] == REAL[1:]


class TestSummaries:
    def test_settled(self, site):
        first = summaries(site(), {})[0]
        assert (first.host, first.engine, first.advertise, first.store_role) == (
            "node1",
            "20.10.5",
            "192.168.56.11",
            "server",
        )
        assert first.leader in HOSTS
        assert first.networks == ("demo",)

    def test_stopped_and_unreached(self, inventory):
        facts = {"node1": capture("bare"), "node2": capture("all-stopped")}
        found = summaries(resolve(inventory(), facts)[0], {"node3": Failure("no answer", "host-unreachable")})
        assert [(s.engine, s.reached, s.error) for s in found] == [
            ("", True, ""), ("20.10.5 (stopped)", True, ""), ("", False, "no answer"),
        ]  # fmt: skip


def gives_no_answer(facts):
    silent = with_http(with_http(facts, "info", "000 timeout"), "networks", "000 timeout")
    return with_raw(silent, engine="Docker version 20.10.5+dfsg1, build 55c4c88")


OF_THE_ENGINE = ("advertise", "store", "networks", "containers", "all_networks")
NO_STORE = ("advertise", "store_role", "leader", "store", "networks")
STANDINGS = {  # state of a host -> a function that makes it, engine, engine_state, unknown, absent, silent
    "as it should": (lambda facts: facts, "20.10.5", "running", (), (), ()),
    "engine without answer": (gives_no_answer, "20.10.5 (no answer)", "no answer", OF_THE_ENGINE, (), ("engine",)),
    "engine that starts": (
        lambda facts: with_unit(gives_no_answer(facts), "docker.service", ActiveState="activating"),
        "20.10.5 (starting)", "starting", OF_THE_ENGINE, (), (),
    ),
    "engine that is stopped": (
        lambda facts: with_unit(gives_no_answer(facts), "docker.service", ActiveState="failed"),
        "20.10.5 (stopped)", "stopped", OF_THE_ENGINE, (), (),
    ),
    "engine that does not list its networks": (
        lambda facts: with_http(facts, "networks", "000 timeout"), "20.10.5", "running", ("networks", "all_networks"), (), (),
    ),
    "engine without store": (
        lambda facts: with_http(facts, "info", {**facts.engine, "ClusterStore": "", "ClusterAdvertise": ""}),
        "20.10.5", "running", (), ("advertise", "store"), (),
    ),
    "store without answer": (
        lambda facts: with_http(with_http(with_http(with_http(facts, "leader", "000 x"), "peers", "000 x"), "members", "000 x"), "rights", "000 x"),
        "20.10.5", "running", ("leader",), (), ("Consul",),
    ),
    "store without leader": (lambda facts: with_http(facts, "leader", ""), "20.10.5", "running", (), ("leader",), ()),
    "removed": (
        lambda facts: with_unit(
            with_http(with_http(with_http(facts, "info", {"ServerVersion": "20.10.5"}), "networks", []), "leader", "000 x"),
            "consul.service", ActiveState="inactive",
        ),
        "20.10.5", "running", (), (*NO_STORE, "all_networks"), (),
    ),
}  # fmt: skip


@pytest.mark.parametrize("standing", STANDINGS)
def test_a_summary_distinguishes_unknown_from_absent(site, standing):
    made, engine, state, unknown, absent, silent = STANDINGS[standing]
    first, other, _ = summaries(site(node1=made(SETTLED["node1"])), {})
    assert (first.engine, first.engine_state, first.silent) == (engine, state, silent)
    assert (set(first.unknown), set(first.absent)) == (set(unknown), set(absent))
    assert all(not getattr(first, field) for field in (*first.unknown, *first.absent))
    assert (other.engine, other.unknown, other.absent, other.silent) == ("20.10.5", (), (), ())


def test_nothing_is_known_of_a_host_that_is_away_or_bare(inventory):
    bare, away = summaries(
        resolve(inventory(2), {"node1": capture("bare")})[0], {"node2": Failure("no answer", "host-unreachable")}
    )
    assert (bare.engine_state, bare.unknown, set(bare.absent)) == ("absent", (), {"engine", "all_networks", *NO_STORE})
    assert (away.engine_state, away.absent, away.silent) == ("", (), ())
    assert {"system", "engine", "leader", *OF_THE_ENGINE} <= set(away.unknown)


class TestClosed:
    """Hosts on which no container can join a network, because the engine can't use the store."""

    def closed(self, site, *down, leaderless=(), silent=""):
        """Return the reason of each host. silent: the host whose engine does not answer."""
        facts = dict(SETTLED)
        facts |= {name: with_http(facts[name], "info", "000 timeout") for name in HOSTS if name == silent}
        facts |= {name: with_unit(facts[name], "consul.service", ActiveState="failed") for name in down}
        facts |= {name: with_http(facts[name], "leader", "") for name in {*down, *leaderless}}
        whole = site(**facts)
        return {name: why.what if (why := whole.plane.closed(whole, name)) else "" for name in HOSTS}

    def test_open(self, site):
        assert set(self.closed(site).values()) == {""}
        assert set(self.closed(site, leaderless=("node1", "node3")).values()) == {""}, "one knows a leader"

    def test_its_own_agent_is_down(self, site):
        assert self.closed(site, "node2") == {
            "node1": "",
            "node2": "its engine can't use the store: Consul does not run on this host",
            "node3": "",
        }

    def test_its_cause_has_an_id(self, site):
        whole = site(node2=with_unit(SETTLED["node2"], "consul.service", ActiveState="failed"))
        assert whole.plane.closed(whole, "node2").problem.id == "store-down"

    def test_there_is_no_leader(self, site):
        found = self.closed(site, "node2", "node3", leaderless=("node1",), silent="node1")
        assert found["node1"] == "Consul has no leader, so engines can't use it; it does not run on node2, node3"
        assert "Consul does not run on this host" in found["node3"]

    def test_without_a_majority_others_may_still_report_a_leader(self, site):
        assert self.closed(site, "node2", "node3")["node1"].startswith("Consul has no leader")

    def test_an_engine_that_has_not_joined_is_not_held_up(self, site):
        whole = site("installed")
        assert {whole.plane.closed(whole, name) for name in HOSTS} == {None}
