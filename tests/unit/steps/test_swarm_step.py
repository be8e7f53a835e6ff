"""The step swarm on captured hosts: fresh, settled (no work), half-done, with other roles, and what it refuses."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
from captured import HOSTS, with_file, with_http, with_info, with_raw
from swarms import ADDRESSES, FOUND, IDS, another, fresh, labelled, out, put, with_managers

from provisioner import preflight, render, wording
from provisioner.controlplane import resolve
from provisioner.controlplane.founding import Founding
from provisioner.controlplane.swarm import Member, View
from provisioner.errors import StepFailed
from provisioner.steps import STEPS
from provisioner.steps.daemon import Daemon
from provisioner.steps.firewall import Firewall
from provisioner.steps.networks import Networks
from provisioner.steps.swarm import Swarm, of_nodes
from provisioner.system.reading import ENGINE_DROPIN
from provisioner.system.swarm import FOUNDER, STATE

SWARM, NETWORKS = Swarm(), Networks()
ONE = "swarm: {managers: [node1]}"
MEASURED = '${mtu:+--opt com.docker.network.driver.mtu="$mtu"}'  # the measured MTU, if it is below the default


@pytest.fixture
def site(inventory):
    def make(facts, more=ONE, hosts=3, **words):
        return resolve(inventory(hosts, kind="", more=more, **words), facts)[0]

    return make


def differs(whole, step=SWARM):
    return {
        name: [(wording.what(d), d.found, d.wanted, wording.note(d)) for d in step.drift(whole, name)]
        for name in whole.live
    }


def works(whole, step=SWARM):
    drifts = {name: step.drift(whole, name) for name in whole.live}
    return {name: w for name, drift in drifts.items() if drift and (w := step.work(whole, name, drift))}


def body(work):
    return json.loads(re.search(r" POST \S+ '(.*)' 2>&1", work.script)[1])


def loops(work):
    """Return the changes of the script in order: (command, IDs of nodes)."""
    found = re.findall(r"^for id in ([a-z0-9 ]*); do.*\n    change ('rm --force'|\w+)", work.script, re.MULTILINE)
    return [(what, ids.split()) for ids, what in found if ids]


@pytest.mark.parametrize("step", [s for s in STEPS if s.name not in {"store", "gossip"}], ids=lambda step: step.name)
@pytest.mark.parametrize("host", HOSTS)
def test_settled_hosts_have_no_drift(site, step, host):
    """A worker without a container on the network does not list it; this is no drift."""
    whole = site(FOUND)
    assert "demo" not in FOUND["node3"].networks
    assert step.drift(whole, host) == ()


def test_on_fresh_hosts_the_first_manager_creates_the_swarm_and_the_others_wait(site):
    whole = site(
        fresh(), "swarm: {managers: [node2], data_path_port: 4790, default_addr_pool: {pools: [10.20.0.0/16]}}"
    )
    assert differs(whole) == {
        "node1": [("the swarm", "none", "worker", "join")],
        "node2": [("the swarm", "none", "manager", "init")],
        "node3": [("the swarm", "none", "worker", "join")],
    }
    assert works(whole) == {}, "the founder is not recorded yet"
    for name in HOSTS:
        whole = whole.known(name, with_file(whole.facts[name], FOUNDER, "lab node2 192.168.56.12\n"))
    (done,) = works(whole).items()
    assert (done[0], done[1].alone, done[1].stdin) == ("node2", True, None)
    assert body(done[1]) == {
        "ListenAddr": "0.0.0.0:2377",
        "AdvertiseAddr": "192.168.56.12",
        "DataPathAddr": "192.168.56.12",
        "Spec": {"Labels": {"provisioner.cluster": "lab"}},
        "DataPathPort": 4790,
        "DefaultAddrPool": ["10.20.0.0/16"],
        "SubnetSize": 24,
    }


def test_created_and_no_other_host_has_joined_yet(site):
    """The label identifies the swarm of an interrupted run, although only one of three hosts is in it."""
    done = works(
        site(
            {"node1": FOUND["node1"], "node2": out("node2"), "node3": out("node3")},
            "swarm: {managers: [node1, node2, node3]}",
        )
    )
    assert set(done) == {"node2", "node3"}
    for work in done.values():
        assert set(work.stdin.scripts) == {"node1"}
        assert work.stdin.scripts["node1"].rstrip().endswith("GET /swarm Manager")
        assert "SWMTKN-1" not in work.script + work.text
    assert body(done["node3"])["RemoteAddrs"] == ["192.168.56.11:2377"]


def test_a_worker_joins_with_a_worker_s_token_and_the_addresses_of_all_managers(site):
    facts = {**with_managers("node1", "node2"), "node3": out("node3")}
    done = works(
        site(facts, "swarm: {managers: [node1, node2, node3]}".replace(", node3", "").replace("node1, node2", "node1"))
    )
    assert done["node3"].stdin.scripts["node1"].rstrip().endswith("GET /swarm Worker")
    assert body(done["node3"])["RemoteAddrs"] == ["192.168.56.11:2377", "192.168.56.12:2377"]


def test_a_limited_number_of_hosts_joins_in_parallel_and_each_role_s_token_is_read_once(site):
    done = works(
        site({"node1": FOUND["node1"], "node2": out("node2"), "node3": out("node3")}, "swarm: {managers: [node1]}")
    )
    assert {name: 0 < work.at_once < 20 for name, work in done.items()} == {"node2": True, "node3": True}
    assert done["node2"].stdin == done["node3"].stdin


@pytest.mark.parametrize("state", ["pending", "error"])
def test_a_node_that_is_still_joining_is_waited_for(site, state):
    whole = site({**FOUND, "node2": put("node2", LocalNodeState=state, Error="")})
    assert differs(whole)["node2"] == [("the swarm", state, "worker", "wait")]
    assert works(whole) == {}


def test_without_a_leader_no_swarm_is_created_and_no_host_joins(site):
    """The swarm may elect a leader again: a second swarm would make the first one useless."""
    lost = with_http(put("node1", Cluster=None), "nodes", "500 no leader")
    whole = site({"node1": lost, "node2": FOUND["node2"], "node3": out("node3")})
    assert [drift[0][3] for drift in differs(whole).values()] == ["wait", "wait", "join"]
    assert Founding(whole).initiator == ""
    assert works(whole) == {}


def test_an_engine_that_does_not_run_yet_is_pending(site):
    whole = site({**FOUND, "node2": with_http(FOUND["node2"], "info", "000 refused")})
    (drift,) = SWARM.drift(whole, "node2")
    assert drift.pending
    assert drift.found == "the engine does not answer (refused)"  # the reason, if the wait is in vain


class TestRoles:
    def test_promotion_is_done_by_a_manager(self, site):
        whole = site(with_managers("node1"), "swarm: {managers: [node1, node2, node3]}")
        assert differs(whole)["node2"] == [("its role in the swarm", "worker", "manager", "promotion")]
        ((host, work),) = works(whole).items()
        assert host == "node1"
        assert loops(work) == [("promote", [IDS["node2"], IDS["node3"]])]

    def test_another_manager_is_promoted_before_the_acting_one_is_demoted(self, site):
        whole = site(with_managers("node1"), "swarm: {managers: [node3]}")
        ((host, work),) = works(whole).items()
        assert host == "node1"
        assert work.text == "node3 becomes manager, node1 becomes worker"
        assert loops(work) == [("promote", [IDS["node3"]]), ("demote", [IDS["node1"]])]

    def test_the_acting_manager_is_one_that_stays(self, site):
        whole = site(with_managers("node1", "node2", "node3"), "swarm: {managers: [node3]}")
        assert [work.text for work in works(whole).values()] == ["node1 becomes worker, node2 becomes worker"]
        assert list(works(whole)) == ["node3"]

    def test_a_host_s_stale_node_is_removed(self, site):
        nodes = json.loads(json.dumps(FOUND["node1"].swarm_nodes))
        next(n for n in nodes if n["ID"] == IDS["node3"])["Status"]["State"] = "down"
        whole = site({**FOUND, "node1": with_http(FOUND["node1"], "nodes", nodes), "node3": out("node3")})
        done = works(whole)
        assert set(done) == {"node1", "node3"}
        assert loops(done["node1"]) == [("'rm --force'", [IDS["node3"]])]
        lost = site({k: f for k, f in whole.facts.items() if k != "node3"})  # it may still be that node
        assert works(lost) == {}

    def test_a_host_that_is_down_is_demoted_and_not_promoted(self, site):
        facts = with_managers("node1", "node2", "node3", down=("node3",))
        assert [w.text for w in works(site(facts, "swarm: {managers: [node1]}")).values()] == [
            "node2 becomes worker, node3 becomes worker"
        ]
        facts = with_managers("node1", "node2", down=("node3",))
        assert works(site(facts, "swarm: {managers: [node1, node2, node3]}")) == {}

    @pytest.mark.parametrize(
        ("managers", "hosts", "wanted"),
        [
            (("node1",), 3, ("node1", "node2", "node3")),
            (("node2",), 2, ("node2",)),
            (("node1", "node2", "node3"), 2, ("node1", "node2")),
            (("node3",), 1, ("node1",)),
        ],
    )
    def test_chosen_by_the_number_of_hosts_and_those_that_are_managers_stay(self, site, managers, hosts, wanted):
        names = HOSTS[:hosts]
        facts = {name: facts for name, facts in with_managers(*managers).items() if name in names}
        assert site(facts, "", hosts=hosts).servers == wanted


class TestOtherSwarms:
    @pytest.mark.parametrize("host", ["node1", "node3"])
    def test_another_swarm_is_left_alone_and_not_joined(self, site, host):
        whole = site({**fresh(), host: another(host)})
        with pytest.raises(StepFailed, match="in another swarm"):
            SWARM.drift(whole, host)
        assert Founding(whole).initiator == ("" if host == "node1" else "node1")  # managers: [node1]
        assert View(whole).hosts == ()

    def test_a_worker_of_another_swarm(self, site):
        theirs = put("node3", NodeID="x", RemoteManagers=[{"NodeID": "theirs", "Addr": "203.0.113.1:2377"}])
        for facts in (FOUND, fresh()):
            whole = site({**facts, "node3": theirs})
            with pytest.raises(StepFailed, match="in another swarm"):
                SWARM.drift(whole, "node3")

    @pytest.mark.parametrize(
        "said",
        [
            {"LocalNodeState": "pending", "RemoteManagers": [{"NodeID": "", "Addr": f"{ADDRESSES['node1']}:2377"}]},
            {"LocalNodeState": "error", "Error": "context deadline exceeded", "RemoteManagers": None},
        ],
    )
    def test_an_engine_that_no_manager_has_let_in_asks_again(self, site, said):
        asking = with_file(
            put("node3", NodeID="", **said),
            STATE,
            json.dumps({"RemoteAddr": f"{ADDRESSES['node1']}:2377", "JoinInProgress": True}),
        )
        whole = site({**FOUND, "node3": asking})
        assert View(whole).member("node3") is Member.JOINING
        assert differs(whole)["node3"] == [("the swarm", "joining the cluster's swarm", "worker", "leave and join")]
        (work,) = works(whole).values()
        assert work.script.index("docker swarm leave >") < work.script.index("POST /swarm/join")
        (problem,) = preflight.run(whole)
        assert (problem.id, problem.host) == ("join-unanswered", "node3")
        assert f"asks {ADDRESSES['node1']}:2377 to let it" in problem.evidence

    def test_an_engine_that_asks_an_unknown_manager_is_in_another_swarm(self, site):
        managers = [{"NodeID": "", "Addr": "203.0.113.1:2377"}]
        asking = put("node3", NodeID="", LocalNodeState="pending", RemoteManagers=managers)
        with pytest.raises(StepFailed, match="in another swarm"):
            SWARM.drift(site({**FOUND, "node3": asking}), "node3")

    def test_managers_know_a_worker_that_knows_only_a_former_manager(self, site):
        before = [{"NodeID": IDS["node1"], "Addr": f"{ADDRESSES['node1']}:2377"}]
        whole = site(
            {**with_managers("node3"), "node2": put("node2", RemoteManagers=before)}, "swarm: {managers: [node3]}"
        )
        assert View(whole).member("node2") is Member.OURS
        assert SWARM.drift(whole, "node2") == ()

    @pytest.mark.parametrize(("engine", "left"), [("out of the swarm", 1), ("silent", 0), ("not installed", 1)])
    def test_a_node_that_is_down_is_left_behind_only_if_the_engine_says_so(self, site, engine, left):
        facts = out("node2") if engine == "out of the swarm" else with_http(FOUND["node2"], "info", "000 timeout")
        if engine == "not installed":
            system = facts.raw["system"].replace("program=dockerd ", "program=other ")
            facts = with_raw(facts, system=system)
        nodes = [
            {**node, "Status": {**node["Status"], "State": "down" if node["ID"] == IDS["node2"] else "ready"}}
            for node in FOUND["node1"].http("nodes").body
        ]
        whole = site({**FOUND, "node1": with_http(FOUND["node1"], "nodes", nodes), "node2": facts})
        assert len(View(whole).stale("node2")) == left

    def test_a_swarm_made_by_hand_is_taken_over_if_most_hosts_are_in_it(self, site):
        by_hand = labelled(FOUND["node1"], "")
        assert View(site({**FOUND, "node1": by_hand})).hosts == HOSTS
        assert View(site({"node1": by_hand, "node2": out("node2"), "node3": out("node3")})).hosts == ()

    def test_the_swarm_of_another_cluster_is_not_taken_over(self, site):
        whole = site({**FOUND, "node1": labelled(FOUND["node1"], "other")})
        assert View(whole).hosts == ()
        with pytest.raises(StepFailed, match="in another swarm"):
            SWARM.drift(whole, "node1")


class TestOthers:
    def test_a_network_is_made_on_a_manager_attachable(self, site):
        bare = {
            n: with_http(f, "networks", [x for x in f.networks.values() if x["Name"] != "demo"])
            for n, f in FOUND.items()
        }
        whole = site(bare, "swarm: {managers: [node1]}")
        assert {name: bool(d) for name, d in differs(whole, NETWORKS).items()} == {
            "node1": True,
            "node2": False,
            "node3": False,
        }
        ((host, work),) = works(whole, NETWORKS).items()
        assert host == "node1"
        assert f"--driver overlay --subnet 10.99.0.0/24 --attachable {MEASURED} demo" in work.script

    def test_without_a_swarm_networks_are_pending(self, site):
        assert all(d.pending for name in HOSTS for d in NETWORKS.drift(site(fresh()), name))

    def test_encrypted(self, site):
        whole = site(FOUND, "  safe: {subnet: 10.98.0.0/24, encrypted: true, attachable: false}\n" + ONE)
        ((_, work),) = works(whole, NETWORKS).items()
        assert f"--subnet 10.98.0.0/24 --opt encrypted {MEASURED} safe" in work.script
        assert whole.ports.esp
        assert "-p esp -j PROVISIONER-PEERS" in Firewall().drift(whole, "node2")[0].wanted

    def test_its_own_data_path_port(self, site):
        whole = site(FOUND, "swarm: {managers: [node1], data_path_port: 4790}")
        assert (whole.ports.tcp, whole.ports.udp) == ((2377, 7946), (4790, 7946))

    def test_files_for_an_external_store_are_removed(self, site):
        whole = site({**FOUND, "node2": with_file(FOUND["node2"], ENGINE_DROPIN, "[Unit]\nAfter=consul.service\n")})
        assert [(wording.what(d), d.wanted) for d in Daemon().drift(whole, "node2")] == [(ENGINE_DROPIN, "")]
        ((_, work),) = works(whole, Daemon()).items()
        assert f"rm -f {ENGINE_DROPIN} ||" in work.script
        assert "daemon.json" not in work.text

    def test_the_network_of_a_store_is_not_taken_for_it(self, site):
        networks = [{**FOUND["node1"].networks["demo"], "Scope": "global"}]
        whole = site({**FOUND, "node1": with_http(FOUND["node1"], "networks", networks)})
        assert ("network demo: scope", "global", "swarm") in [row[:3] for row in differs(whole, NETWORKS)["node1"]]

    def test_status(self, site):
        from provisioner.controlplane.summary import summaries

        told = {s.host: (s.store, s.store_role, s.leader, s.advertise) for s in summaries(site(FOUND), {})}
        assert told["node1"] == ("swarm", "manager", "node1", "192.168.56.11")
        assert told["node3"] == ("swarm", "worker", "node1", "192.168.56.13")
        locked = {**FOUND, "node3": put("node3", LocalNodeState="locked", NodeID="", RemoteManagers=None)}
        assert (
            next(s for s in summaries(site(locked), {}) if s.host == "node3").store_role == "locked, waits for its key"
        )
        off = {**FOUND, "node3": with_info(out("node3"), Containers=0)}
        assert next(s for s in summaries(site(off), {}) if s.host == "node3").store == ""


@pytest.mark.parametrize(("said", "calls", "code"), [("update out of sequence", 3, 0), ("not a swarm manager", 1, 70)])
def test_a_change_that_collides_with_the_swarm_s_own_is_retried(tmp_path, said, calls, code):
    docker, log = tmp_path / "docker", tmp_path / "log"
    docker.write_text(
        f'#!/bin/sh\necho "$2" >>{log}\n[ "$2" = inspect ] || [ $(wc -l <{log}) = 3 ] || '
        f"{{ echo 'Error response from daemon: {said}' >&2; exit 1; }}\n"
    )
    docker.chmod(0o755)
    done = subprocess.run(
        ["sh", "-uc", render.library() + of_nodes(demote=["a1"])],
        check=False, capture_output=True, text=True, timeout=20, env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )  # fmt: skip
    assert (done.returncode, log.read_text().split().count("demote")) == (code, calls), done.stderr
    assert ("can't demote a node of the swarm" in done.stderr) == bool(code)
