"""`--limit`: what it changes, compares, proves and reports, and what it refuses because all hosts share it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from captured import HOSTS, capture, with_file, with_http, with_info
from typer.testing import CliRunner

from provisioner import cli
from provisioner.controlplane import resolve
from provisioner.inventory import load
from provisioner.model import Check, Diagnosis, Problem, ProofResult, State
from provisioner.proofs.limited import narrowed
from provisioner.runner import look
from provisioner.runner.diagnose import _is_shown
from provisioner.runner.run import Run
from provisioner.steps import STEPS
from provisioner.stores.consul import JSON
from provisioner.system.reading import DAEMON_JSON
from provisioner.workflows import compare
from provisioner.workflows.limit import within

SOUND = "cluster: c\nssh: {host_keys: accept-new}\nhosts: {web: {address: 192.0.2.1}, data: {address: 192.0.2.2}, edge: {address: 192.0.2.3}}\nstore: {kind: consul}\nnetworks: {demo: {subnet: 10.99.0.0/24}}\n"


class Quiet:
    def event(self, event):
        pass


@pytest.fixture
def limited(inventory):
    """A run over captured hosts, after they were read. facts: those that differ from the captures."""

    def make(*limit, state="settled", found=None, **facts):
        found = found or inventory()
        run = Run(found, Quiet(), limit=limit)
        read = {name: facts.get(name) or capture(f"{state}-{name}") for name in HOSTS}
        run.site = run.asked(resolve(found, read)[0])
        return run

    return make


@pytest.fixture
def swarm(inventory, limited):
    found = inventory(kind="", more="swarm: {managers: [node1]}")
    found = found.model_copy(update={"cluster": "capture-swarm"})
    return lambda *limit, **facts: limited(*limit, state="swarm", found=found, **facts)


def without_rules(name):
    return with_file(capture(f"settled-{name}"), "/etc/provisioner/firewall.sh", "")


class TestChanges:
    def test_only_the_named_hosts_are_compared(self, limited):
        run = limited("node2", node1=without_rules("node1"), node2=without_rules("node2"))
        compare(STEPS)(run)
        assert {(o.host, o.state) for o in run.outcomes if o.step == "firewall"} == {("node2", State.DRIFTED)}
        assert {o.host for o in run.outcomes} == {"node2"}
        assert run.differs(STEPS)
        assert not limited("node3", node1=without_rules("node1")).differs(STEPS)

    def test_the_other_hosts_still_count(self, limited):
        run = limited("node2")
        assert (run.site.live, run.site.targets) == (HOSTS, ("node2",))
        assert len(run.site.peers("node2")) == 2

    def test_warnings_about_other_hosts_are_hidden_and_stops_are_not(self, limited):
        run = limited("node2")
        warnings = [
            Problem("even-servers", host, "x", {"count": 3, "role": "server"}) for host in ("", "node1", "node2")
        ]
        stop = Problem("no-root", "node1", "x")
        look.note(run, [*warnings, stop])
        assert run.findings == [warnings[0], warnings[2], stop]


class TestRefusals:
    """What a host's changes would change for all hosts."""

    def reasons(self, run):
        assert within(STEPS)(run) == (not run.errors)
        return [line.strip("| ") for error in run.errors for line in error.text.splitlines()[1:-1]]

    @pytest.mark.parametrize("limit", [(), ("node1",), HOSTS])
    def test_settled_hosts_have_none(self, limited, swarm, limit):
        assert self.reasons(limited(*limit)) == []
        assert self.reasons(swarm(*limit)) == []

    @pytest.mark.parametrize(
        ("state", "kind", "store"),
        [("etcd", "etcd", ", security: {tls: false}"), ("etcd-secured", "etcd", ""), ("zookeeper", "zookeeper", ""),
         ("secured", "consul", ", security: {}")],
    )  # fmt: skip
    def test_settled_hosts_on_other_stores_have_none(self, limited, inventory, state, kind, store):
        found = inventory(kind=kind, store=store)
        assert self.reasons(limited("node2", state=state, found=found)) == []

    def test_drift_of_the_host_itself_is_none(self, limited):
        assert self.reasons(limited("node2", node2=without_rules("node2"))) == []

    def test_without_limit_there_is_none(self, limited):
        assert self.reasons(limited(state="installed")) == []

    def test_new_hosts(self, limited):
        run = limited("node1", state="installed")
        assert self.reasons(run)[:2] == [
            "node1: its engine would join the store",
            "node1: it would become a server of Consul",
        ]
        assert run.errors[0].check == "beyond-limit"

    def test_a_server_that_would_leave(self, limited, inventory):
        found = inventory(store=", servers: [node1]")
        assert "node2: it would no longer be a server of Consul" in self.reasons(limited("node2", found=found))

    def test_a_server_without_its_files_is_a_member(self, limited):
        lost = with_file(capture("settled-node2"), JSON, "")
        assert self.reasons(limited("node2", node2=lost)) == []

    def test_an_engine_that_does_not_run_is_a_member_by_its_file(self, limited):
        stopped = with_http(capture("settled-node2"), "info", "000 refused")
        assert self.reasons(limited("node2", node2=stopped)) == []
        new = with_file(stopped, DAEMON_JSON, "{}")
        assert self.reasons(limited("node2", node2=new)) == ["node2: its engine would join the store"]

    def test_a_network_that_another_host_creates(self, limited):
        facts = {name: with_http(capture(f"settled-{name}"), "networks", []) for name in HOSTS}
        creator = limited(**facts).site.plane.creator(limited(**facts).site)
        other = next(name for name in HOSTS if name != creator)
        assert self.reasons(limited(other, **facts)) == [f"{other}: network demo"]
        assert self.reasons(limited(creator, **facts)) == []

    def test_a_host_that_has_left_the_swarm(self, swarm):
        left = {
            "LocalNodeState": "inactive",
            "NodeID": "",
            "ControlAvailable": False,
            "RemoteManagers": None,
            "Cluster": None,
        }
        run = swarm("node3", node3=with_info(capture("swarm-node3"), Swarm=left))
        assert "node3: the swarm (join)" in self.reasons(run)
        assert self.reasons(swarm("node2", node3=with_info(capture("swarm-node3"), Swarm=left))) == []


class TestProofs:
    def test_checks_of_other_hosts_are_dropped(self, limited):
        site = limited("node1").site
        bad, good = Check("node2", "x", None, "no"), Check("node1", "x", 0.1)
        result = ProofResult("isolation", "demo", State.FAILED, checks=(bad, good), error="node2: x", problems=(Problem("cluster-ports-open", "node2", "x"),))  # fmt: skip
        assert narrowed(result, site) == ProofResult("isolation", "demo", State.SETTLED, checks=(good,))
        assert narrowed(result, replace(site, limit=frozenset({"node2"}))).state is State.FAILED
        assert narrowed(result, replace(site, limit=frozenset())) is result


class TestCauses:
    def test_causes_elsewhere_are_left_out_unless_they_explain_what_is_within(self, limited):
        run = limited("node1")
        elsewhere = Problem("ip-forward", "node2", "x")
        here = Problem("overlay-blocked", "node3", "x", target="node1")
        assert [_is_shown(run, each) for each in (Diagnosis((elsewhere,)), Diagnosis((elsewhere,), (here,)), Diagnosis((Problem("x", "", ""),)))] == [False, True, True]  # fmt: skip


class TestCommands:
    @pytest.fixture
    def path(self, tmp_path):
        (tmp_path / "c.yml").write_text(SOUND)
        return tmp_path / "c.yml"

    @pytest.mark.parametrize(
        ("limit", "found"), [("data", ("data",)), ("edge, web", ("web", "edge")), ("web,web", ("web",))]
    )
    def test_names_are_separated_by_commas(self, path, limit, found):
        assert cli._hosts(load(path, check_files=False), limit) == found

    @pytest.mark.parametrize("command", ["plan", "up", "verify", "doctor"])
    @pytest.mark.parametrize(("limit", "meant"), [("web,dta", "did you mean `data`?"), ("", "''"), ("web,", "''")])
    def test_an_unknown_host(self, path, command, limit, meant):
        done = CliRunner().invoke(cli.app, [command, str(path), "--limit", limit])
        assert done.exit_code == 64
        assert "the inventory has no host of this name" in done.stderr
        assert meant in done.stderr

    @pytest.mark.parametrize(
        "words", [["up", "x", "--limit", "web", "--recreate", "demo"], ["doctor", "--manager", "m", "--limit", "web"]]
    )
    def test_it_does_not_go_with_other_options(self, words):
        assert CliRunner().invoke(cli.app, words).exit_code != 0
