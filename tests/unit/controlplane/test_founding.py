"""Which host creates the cluster's swarm, and which hosts prevent it: unreachable, silent, dropped out, in a second swarm."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from captured import HOSTS, with_file, with_http, with_raw, with_unit
from swarms import FOUND, another, fresh, labelled, out, put

from provisioner import causes, wording
from provisioner.controlplane import resolve
from provisioner.controlplane.founding import Founding, hindrance
from provisioner.controlplane.swarm import Member, View
from provisioner.errors import StepFailed
from provisioner.model import Severity
from provisioner.preflight import swarm as checks
from provisioner.steps.founding import Founding as Step
from provisioner.steps.swarm import Swarm
from provisioner.system import swarm as on_host
from provisioner.system.reading import DAEMON_JSON
from provisioner.system.swarm import FOUNDER

STEP, SWARM = Step(), Swarm()
FIRST = "lab node1 192.168.56.11\n"
SECOND = "lab node2 192.168.56.12\n"


@pytest.fixture
def site(inventory):
    def make(facts, live=None, more="", **words):
        made = resolve(inventory(3, kind="", more=more, **words), facts)[0]
        return replace(made, live=tuple(live)) if live else made

    return make


def recorded(facts, **records):
    """Return hosts with records of these founders. By default, all have recorded node1."""
    return {name: with_file(of, FOUNDER, records.get(name, "" if records else FIRST)) for name, of in facts.items()}


def silent(facts, *, state=False):
    """Return a host whose engine does not answer. state: whether its disk has the state of a swarm."""
    quiet = with_http(facts, "info", "000 timeout")
    return with_file(quiet, on_host.STATE, '{"AdvertiseAddr":"192.168.56.11"}\n' if state else "")


def drifts(whole):
    return {name: [(d.found, d.wanted) for d in STEP.drift(whole, name)] for name in whole.live}


class TestRecord:
    def test_every_host_gets_it_before_the_swarm_is_created(self, site):
        whole = site(fresh())
        assert drifts(whole) == {key: [("", FIRST)] for key in HOSTS}
        assert not Founding(whole).agreed
        (drift,) = STEP.drift(whole, "node3")
        script = STEP.work(whole, "node3", (drift,)).script
        assert f"put {FOUNDER} 0600 root:root " in script

    def test_with_it_nothing_is_left_to_do(self, site):
        whole = site(recorded(fresh()))
        assert drifts(whole) == {key: [] for key in HOSTS}
        assert Founding(whole).agreed

    @pytest.mark.parametrize(
        ("have", "agreed"), [(("node1",), False), (("node2", "node3"), True), (("node1", "node3"), True)]
    )
    def test_a_majority_of_the_managers_is_enough(self, site, have, agreed):
        whole = site(recorded(fresh(), **dict.fromkeys(have, FIRST)))
        assert Founding(whole).initiator == "node1"
        assert Founding(whole).agreed == agreed
        (init,) = [d for d in SWARM.drift(whole, "node1") if wording.note(d) == "init"]
        assert bool(SWARM.work(whole, "node1", (init,))) == agreed

    def test_hosts_in_the_swarm_need_none(self, site):
        assert drifts(site(FOUND)) == {key: [] for key in HOSTS}
        whole = site(recorded(FOUND))
        assert drifts(whole) == {key: [(FIRST, "")] for key in HOSTS}
        assert STEP.work(whole, "node2", ()).script.startswith(f"rm -f {FOUNDER} ||")

    def test_a_host_that_is_still_to_join_keeps_it(self, site):
        facts = {"node1": FOUND["node1"], "node2": out("node2"), "node3": out("node3")}
        assert drifts(site(recorded(facts)))["node2"] == []

    @pytest.mark.parametrize(
        "text", ["", "lab\n", "other node2 192.168.56.12\n", "lab node2 192.168.56.12 more\n", "lab node2 $(id)\n"]
    )
    def test_an_invalid_record_or_one_of_another_cluster_is_ignored(self, site, text):
        whole = site(recorded(fresh(), node2=text, node3=text))
        assert Founding(whole).records == {}
        assert Founding(whole).initiator == "node1"

    def test_the_recorded_founder_creates_it_although_it_is_not_the_first_manager(self, site):
        assert Founding(site(recorded(fresh(), node2=SECOND, node3=SECOND))).initiator == "node2"

    def test_with_two_recorded_founders_the_more_frequent_one_counts(self, site):
        """The other one was recorded by a run that reached no majority, so it has created no swarm."""
        whole = site(recorded(fresh(), node1=FIRST, node2=SECOND, node3=SECOND))
        assert Founding(whole).initiator == "node2"
        assert drifts(whole)["node1"] == [(FIRST, SECOND)]

    def test_an_engine_that_does_not_answer_is_not_chosen(self, site):
        """All later runs would wait for it. If no engine answers, they have not been started yet."""
        assert Founding(site({**fresh(), "node1": silent(out("node1"))})).initiator == "node2"
        assert Founding(site({name: silent(of) for name, of in fresh().items()})).initiator == "node1"

    def test_a_renamed_founder_is_known_by_its_address(self, site):
        whole = site(recorded(fresh(), node3="lab old 192.168.56.12\n"))
        assert Founding(whole).records == {"node3": "node2"}

    def test_a_founder_that_is_no_longer_in_the_inventory_is_ignored(self, site):
        whole = site(recorded(fresh(), **dict.fromkeys(HOSTS, "lab node9 192.168.56.19\n")))
        assert Founding(whole).records == {}
        assert Founding(whole).initiator == "node1"


class TestHindrances:
    """No live host is in a swarm. Whether one may be created depends on a host that does not answer now."""

    @pytest.mark.parametrize(
        ("node1", "live", "why"),
        [
            (None, HOSTS[1:], "it was chosen to create the swarm, and can't be reached"),
            (out("node1"), HOSTS[1:], "it was chosen to create the swarm, and has dropped out"),
            (silent(out("node1")), HOSTS[1:], "it was chosen to create the swarm, and its engine does not answer"),
            (silent(out("node1")), HOSTS, "it was chosen to create the swarm, and its engine does not answer"),
        ],
    )
    def test_the_recorded_founder_is_waited_for(self, site, node1, live, why):
        facts = recorded({name: of for name, of in {**fresh(), "node1": node1}.items() if of})
        whole = site(facts, live)
        assert Founding(whole).hindrances == {"node1": why}
        assert Founding(whole).initiator == ""
        assert [wording.note(d) for name in live if name != "node1" for d in SWARM.drift(whole, name)] == [
            "join",
            "join",
        ]
        assert drifts(whole) == {key: [] for key in live}, "it is not replaced"
        assert bool(hindrance(whole)) == ("node1" not in live)

    @pytest.mark.parametrize(
        ("node1", "why"),
        [
            (FOUND["node1"], "its engine is in a swarm, and the host has dropped out"),
            (
                put("node1", LocalNodeState="pending", Cluster=None, RemoteManagers=None),
                "its engine is in a swarm, and the host has dropped out",
            ),
            (silent(out("node1"), state=True), f"its engine does not answer, and is in a swarm ({on_host.STATE})"),
        ],
    )
    def test_a_host_that_dropped_out_with_a_swarm(self, site, node1, why):
        """It may be the cluster's only swarm; the host dropped out for another reason."""
        whole = site({**fresh(), "node1": node1}, HOSTS[1:])
        assert Founding(whole).hindrances == {"node1": why}
        assert Founding(whole).initiator == ""
        message = hindrance(whole).text
        assert f"\n  node1: {why}\n" in message
        assert "run again" in message

    def test_a_silent_engine_that_is_in_no_swarm_is_not_waited_for(self, site):
        whole = site({**fresh(), "node1": silent(out("node1"))}, HOSTS[1:])
        assert Founding(whole).initiator == "node2"
        assert hindrance(whole) is None

    @pytest.mark.parametrize(
        "elsewhere",
        [
            lambda facts: with_file(facts, DAEMON_JSON, '{"data-root": "/srv/docker"}\n'),
            lambda facts: with_file(facts, "/etc/default/docker", 'DOCKER_OPTS="-g /srv/docker"\n'),
            lambda facts: with_unit(facts, "docker.service", ExecStart="{ argv[]=/usr/sbin/dockerd --data-root /srv }"),
        ],
    )
    def test_an_engine_with_its_data_elsewhere_may_be_in_a_swarm(self, site, elsewhere):
        whole = site({**fresh(), "node1": elsewhere(silent(out("node1")))}, HOSTS[1:])
        assert "its data are not in /var/lib/docker" in hindrance(whole).text

    @pytest.mark.parametrize("text", ['{"data-root": "/var/lib/docker"}\n', '{"log-level": "warn"}\n'])
    def test_an_engine_with_its_data_in_the_usual_place_is_in_no_swarm(self, site, text):
        whole = site({**fresh(), "node1": with_file(silent(out("node1")), DAEMON_JSON, text)}, HOSTS[1:])
        assert hindrance(whole) is None

    @pytest.mark.parametrize("node1", [another("node1"), labelled(FOUND["node1"], "other")])
    def test_another_cluster_s_swarm_prevents_nothing(self, site, node1):
        whole = site({**fresh(), "node1": node1}, HOSTS[1:])
        assert Founding(whole).initiator == "node2"
        assert hindrance(whole) is None

    def test_a_host_that_was_never_reached_and_never_chosen(self, site):
        whole = site({name: of for name, of in fresh().items() if name != "node1"})
        assert Founding(whole).initiator == "node2"
        assert hindrance(whole) is None

    def test_an_existing_swarm_needs_no_founder(self, site):
        whole = site(
            recorded({name: of for name, of in FOUND.items() if name != "node3"}, node2="lab node3 192.168.56.13\n")
        )
        assert Founding(whole).hindrances == {}
        assert hindrance(whole) is None

    def test_a_store_knows_no_founder(self, site):
        whole = replace(site(recorded(fresh()), HOSTS[1:]), control="kv")
        assert hindrance(whole) is None


class TestUnlabelled:
    """The founder has created the swarm, and was cut off before it could label it."""

    def test_it_is_the_cluster_s_swarm_and_gets_the_label(self, site):
        facts = {**fresh(), "node1": labelled(_alone("node1", FOUND["node1"]), "")}
        assert View(site(facts)).member("node1") is Member.OTHER, "without a record it may be a foreign swarm"
        whole = site(recorded(facts))
        assert View(whole).hosts == ("node1",)
        assert drifts(whole)["node1"] == [], "the record stays until the swarm has its label"
        drift = SWARM.drift(whole, "node1")
        assert [(wording.what(d), d.wanted, wording.note(d)) for d in drift] == [
            ("the label of the swarm", "lab", "label")
        ]
        work = SWARM.work(whole, "node1", drift)
        assert (
            f"POST '/swarm/update?version={facts['node1'].engine['Swarm']['Cluster']['Version']['Index']}'"
            in work.script
        )
        body = json.loads(work.script.split("update?version=")[1].split("'")[2])
        assert body["Labels"] == {"provisioner.cluster": "lab"}
        assert body["Raft"] == facts["node1"].engine["Swarm"]["Cluster"]["Spec"]["Raft"], "all other settings stay"
        assert {name: SWARM.work(whole, name, SWARM.drift(whole, name)) is not None for name in HOSTS[1:]} == {
            "node2": True,
            "node3": True,
        }

    def test_nodes_whose_engines_are_down_count_as_members(self, site):
        """Their manager lists them. Before, such a swarm was taken for another one."""
        silent = {
            name: with_raw(FOUND[name], **{"http:info": "000 no answer", "http:networks": "000 no answer"})
            for name in HOSTS[1:]
        }
        manager = labelled(FOUND["node1"], "")
        assert View(site({"node1": manager, **silent})).member("node1") is Member.OURS
        elsewhere = [{**node, "Status": {"Addr": "192.0.2.9"}} for node in manager.http("nodes").body]
        strangers = with_http(manager, "nodes", elsewhere)
        assert View(site({"node1": strangers, **silent})).member("node1") is Member.OTHER

    def test_the_record_of_another_host_is_no_proof(self, site):
        facts = {**fresh(), "node1": labelled(_alone("node1", FOUND["node1"]), "")}
        assert View(site(recorded(facts, node1=SECOND, node2=SECOND))).member("node1") is Member.OTHER


def _alone(name, facts, ident="second"):
    """Return a host that is the only node of a swarm with the cluster's label."""
    swarm = facts.engine["Swarm"]
    node = next(
        node for node in FOUND["node1"].swarm_nodes if node["Status"]["Addr"] == FOUND[name].engine["Swarm"]["NodeAddr"]
    )
    node = {**node, "ID": f"of-{name}", "Spec": {**node["Spec"], "Role": "manager"}}
    cluster = {**FOUND["node1"].engine["Swarm"]["Cluster"], "ID": ident}
    remote = [{"NodeID": f"of-{name}", "Addr": f"{swarm['NodeAddr']}:2377"}]
    keys = {**swarm, "NodeID": f"of-{name}", "ControlAvailable": True, "Cluster": cluster, "RemoteManagers": remote}
    return with_http(with_http(facts, "info", {**facts.engine, "Swarm": keys}), "nodes", [node])


class TestSecondSwarm:
    def _site(self, site, **more):
        return site({**FOUND, "node3": _alone("node3", FOUND["node3"]), **more})

    def test_the_host_leaves_the_smaller_swarm_if_that_is_unused(self, site):
        whole = self._site(site)
        assert [View(whole).member(name) for name in HOSTS] == [Member.OURS, Member.OURS, Member.SECOND]
        (drift,) = SWARM.drift(whole, "node3")
        assert (drift.found, wording.note(drift)) == ("in a second swarm of this cluster", "leave and join")
        work = SWARM.work(whole, "node3", (drift,))
        assert work.script.index("docker swarm leave --force >/dev/null") < work.script.index("/swarm/join")
        assert "' ingress demo '" in work.script, "networks of the engine and of the inventory may exist"
        assert work.stdin is not None
        (finding,) = checks.second_swarm(whole)
        assert (finding.id, finding.host, causes.severity(finding)) == ("second-swarm", "node3", Severity.WARNING)
        assert list(checks.other_swarm(whole)) == []

    def test_a_swarm_with_more_nodes_is_reported_and_not_changed(self, site):
        two = json.loads(FOUND["node1"].raw["http:nodes"].partition(" ")[2])
        third = _alone("node3", FOUND["node3"])
        node = {**third.swarm_nodes[0], "ID": "gone", "Status": {"State": "down", "Addr": "192.168.56.19"}}
        whole = self._site(site, node3=with_http(third, "nodes", [third.swarm_nodes[0], node]))
        assert len(two) == 3
        assert View(whole).member("node3") is Member.OTHER
        with pytest.raises(StepFailed, match="in another swarm"):
            SWARM.drift(whole, "node3")
        (finding,) = checks.other_swarm(whole)
        assert "created for this cluster too" in finding.evidence
        assert "keep the swarm of node1, node2" in causes.cure(finding)

    def test_of_two_swarms_with_one_node_the_one_with_networks_is_kept(self, site):
        bare = with_http(_alone("node1", FOUND["node1"], "first"), "networks", [])
        kept = with_http(_alone("node3", FOUND["node3"]), "networks", list(FOUND["node1"].networks.values()))
        whole = site({"node1": bare, "node2": out("node2"), "node3": kept})
        assert [View(whole).member(name) for name in HOSTS] == [Member.SECOND, Member.NONE, Member.OURS]

    def test_no_host_leaves_while_the_other_swarm_has_no_leader(self, site):
        lost = with_raw(put("node1", Cluster=None), **{"http:nodes": "500 no leader"})
        whole = site({"node1": lost, "node2": FOUND["node2"], "node3": _alone("node3", FOUND["node3"])})
        assert View(whole).member("node3") is not Member.SECOND
