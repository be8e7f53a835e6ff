"""`down`: which networks, swarms and packages are removed, and what stops it before it changes anything."""

from __future__ import annotations

from captured import capture, container, with_http, with_info, with_raw
from swarms import FOUND, another, labelled, out

from provisioner.controlplane import resolve
from provisioner.steps.ending import EndNetworks, EndPackages, EndSwarm
from provisioner.steps.unrecorded import Adopt
from provisioner.workflows import obstacles as checks

FRESH, EARLIER = "note\tbegun\t-\tfresh\n", "note\tbegun\t-\tearlier\n"
BRIDGE = {"Name": "own", "Id": "b1", "Driver": "bridge", "Scope": "local"}


def targets(step, site, host="node1"):
    return [d.target for d in step.drift(site, host)]


def found(site, *, force=False, packages=False):
    return [problem.id for problem in checks.findings(site, force=force, packages=packages)]


class TestNetworks:
    def site(self, site, inventory, record="", more=""):
        networks = [*capture("settled-node1").networks.values(), BRIDGE]
        facts = with_raw(with_http(capture("settled-node1"), "networks", networks), owned=record)
        return site(found=inventory(more=f"  own: {{driver: bridge}}\n{more}"), node1=facts)

    def test_one_host_removes_shared_networks_and_each_host_its_local_ones(self, site, inventory):
        here = self.site(site, inventory, f"{FRESH}note\tnetwork\town\t\n")
        assert [targets(EndNetworks(), here, name) for name in ("node1", "node2")] == [["demo", "own"], []]

    def test_networks_from_before_the_first_run_stay(self, site, inventory):
        assert targets(EndNetworks(), self.site(site, inventory, FRESH)) == ["demo"]
        assert targets(EndNetworks(), self.site(site, inventory, f"{FRESH}note\tnetwork\town\t\n")) == ["demo", "own"]

    def test_networks_without_a_record_only_if_somebody_says_that_they_are_ours(self, site, inventory):
        here = self.site(site, inventory, EARLIER)
        assert targets(EndNetworks(), here) == ["demo"]
        assert targets(EndNetworks(unrecorded=True), here) == ["demo", "own"]
        assert targets(EndNetworks(), Adopt().done(here)) == ["demo", "own"]
        (problem,) = checks.findings(here, force=False, packages=False)
        assert (problem.id, "network own" in problem.evidence) == ("unrecorded", True)

    def test_shared_networks_of_a_store_of_others_without_a_record(self, site, inventory):
        """That store and its networks stay, unless somebody says that an earlier version created them."""
        external = inventory(store=", endpoints: [192.168.56.11:8500]")
        facts = {f"node{n}": with_raw(capture(f"settled-node{n}"), owned=EARLIER) for n in (1, 2, 3)}
        here = site(found=external, **facts)
        assert [targets(EndNetworks(), here, name) for name in facts] == [[], [], []]
        assert [targets(EndNetworks(), Adopt().done(here), name) for name in facts] == [["demo"], [], []]

    def test_networks_stay_on_a_host_without_our_files(self, inventory):
        networks = [*capture("installed-node1").networks.values(), BRIDGE]
        facts = {"node1": with_http(capture("installed-node1"), "networks", networks)}
        here = resolve(inventory(1, more="  own: {driver: bridge}\n"), facts)[0]
        assert targets(EndNetworks(), here) == []

    def test_networks_of_a_swarm_with_services_end_with_it(self, site):
        assert targets(EndNetworks(shared=False), site()) == []


class TestStops:
    def test_no_obstacle(self, site):
        assert found(site()) == []

    def test_containers_on_networks_to_be_removed(self, site):
        here = site(
            node2=with_http(
                capture("settled-node2"), "containers", [container("web", "demo"), container("x", "bridge")]
            )
        )
        (problem,) = checks.findings(here, force=False, packages=False)
        assert (problem.id, "web (demo)" in problem.evidence, "x" in problem.evidence.split()) == (
            "containers-attached",
            True,
            False,
        )
        assert found(here, force=True) == []

    def test_a_swarm_of_others(self, inventory):
        site = lambda facts: resolve(inventory(kind=""), facts)[0]  # noqa: E731
        assert found(site(FOUND)) == []
        assert found(site({**FOUND, "node1": labelled(FOUND["node1"], "")}))[:1] == ["swarm-not-ours"]
        assert found(site({**FOUND, "node3": another("node3")})) == ["swarm-not-ours"]
        assert found(site({**FOUND, "node3": another("node3")}), force=True) == []
        assert found(site({name: out(name) for name in FOUND})) == []

    def test_services(self, inventory):
        with_service = with_http(FOUND["node1"], "services", [{"Spec": {"Name": "shop"}}, "odd"])
        here = resolve(inventory(kind=""), {**FOUND, "node1": with_service})[0]
        assert found(here) == ["swarm-services"]
        assert checks.services(here) == ("shop",)

    def test_a_store_without_a_leader_removes_no_network(self, site):
        assert not checks.leaderless(site())
        silent = {name: with_http(capture(f"settled-{name}"), "leader", "") for name in ("node1", "node2", "node3")}
        assert checks.leaderless(site(**silent))
        late = with_http(capture("settled-node2"), "networks", "000 timeout")
        assert checks.leaderless(site(node2=late)), "a server of etcd still names its last leader"

    def test_containers_of_an_engine_that_lists_no_networks(self, site):
        """Without a leader of its store it answers too late."""
        silent = with_http(with_http(capture("settled-node2"), "networks", "000 timeout"), "info", "000 timeout")
        here = site(node2=with_http(silent, "containers", [container("web", "demo"), container("x", "bridge")]))
        (problem,) = checks.findings(here, force=False, packages=False)
        assert (problem.id, problem.evidence.endswith(": web (demo)")) == ("containers-attached", True)

    def test_an_engine_that_does_not_list_its_containers(self, site):
        here = site(node2=with_http(capture("settled-node2"), "containers", "000 timeout"))
        (problem,) = checks.findings(here, force=False, packages=False)
        assert (problem.id, problem.variant) == ("containers-attached", "late")
        assert found(here, force=True) == []

    def test_only_networks_that_would_be_removed(self, site, inventory):
        here = TestNetworks().site(site, inventory, FRESH)
        assert checks.networks(here) == {"demo"}
        assert checks.networks(TestNetworks().site(site, inventory, f"{FRESH}note\tnetwork\town\t\n")) == {
            "demo",
            "own",
        }

    def test_containers_on_an_engine_to_be_removed(self, site):
        record = f"{FRESH}note\tpackage\tdocker.io\t\n"
        here = site(node1=with_raw(with_info(capture("settled-node1"), ContainersRunning=1), owned=record))
        assert found(here, packages=True) == ["containers-run"]
        assert found(here) == found(here, packages=True, force=True) == []

    def test_users_and_packages_without_a_record_are_listed(self, site):
        present = "user\tconsul\ninstalled\tdocker.io\n"
        here = site(
            node1=with_raw(capture("settled-node1"), owned=present + EARLIER),
            node2=with_raw(capture("settled-node2"), owned=present + FRESH),
        )
        problems = list(checks.findings(here, force=False, packages=True))
        assert [(p.id, p.host) for p in problems] == [("unrecorded", "node1")]
        assert "user consul" in problems[0].evidence
        assert "package docker.io" in problems[0].evidence
        assert found(Adopt(packages=True).done(here), packages=True) == []


class TestSwarm:
    def test_every_engine_leaves_and_managers_leave_one_at_a_time(self, inventory):
        site = resolve(inventory(kind=""), FOUND)[0]
        works = {name: EndSwarm().work(site, name, EndSwarm().drift(site, name)) for name in FOUND}
        assert {name: work.alone for name, work in works.items()} == {"node1": True, "node2": False, "node3": False}
        assert all("docker swarm leave --force" in work.script for work in works.values())
        assert EndSwarm().drift(resolve(inventory(kind=""), {"node1": out("node1")})[0], "node1") == ()


class TestPackages:
    TEXT = "installed\tconsul\ninstalled\tdocker.io\ninstalled\tperl-base\nuser\tconsul\ngroup\tdocker\n"

    def site(self, site, record):
        return site(node1=with_raw(capture("settled-node1"), owned=record + self.TEXT))

    def drift(self, site, record):
        return targets(EndPackages(), self.site(site, record))

    def test_only_recorded_packages(self, site):
        record = f"{FRESH}note\tpackage\tconsul\t\nnote\tpackage-user\tconsul\t\n"
        assert self.drift(site, record) == ["consul", "consul", "/var/lib/provisioner/record"]
        assert self.drift(site, FRESH) == []

    def test_unrecorded_packages_only_on_hosts_of_an_earlier_version_and_on_request(self, site):
        assert self.drift(site, EARLIER) == []
        ours = ["consul", "docker.io", "consul", "docker", "/var/lib/provisioner/record"]
        assert targets(EndPackages(), Adopt(packages=True).done(self.site(site, EARLIER))) == ours
        assert targets(EndPackages(), Adopt(packages=True).done(self.site(site, FRESH))) == []

    def test_the_record_gets_them_before_anything_is_removed(self, site):
        """Afterwards nothing tells any more that an earlier version has been there."""
        here, step = self.site(site, EARLIER), Adopt(packages=True)
        script = step.work(here, "node1", step.drift(here, "node1")).script
        for note in ("package docker.io", "package-group docker", "package-user consul", "package-folder /etc/cni"):
            assert f'"$@" {note} ' in script
        assert step.drift(step.done(here), "node1") == ()

    def test_what_they_alone_need_is_removed_with_packages_of_no_record(self, site):
        here = Adopt(packages=True).done(self.site(site, EARLIER))
        assert "--auto-remove" in EndPackages().work(here, "node1", ()).script
        recorded = self.site(site, f"{FRESH}note\tpackage\tconsul\t\n")
        assert "--auto-remove" not in EndPackages().work(recorded, "node1", ()).script

    def test_kept_data_of_a_removed_user_are_root_s(self, site):
        kept = f"{FRESH}note\tpackage-user\tconsul\t\nkept\t/var/lib/consul.20260101T000000Z.bak\n"
        script = EndPackages().work(self.site(site, kept), "node1", ()).script
        assert script.index("chown -h root:root /var/lib/consul.20260101T000000Z.bak") < script.index("userdel consul")
