"""`down`: which networks, swarms and packages are removed, and what stops it before it changes anything."""

from __future__ import annotations

from captured import capture, container, with_http, with_info, with_raw
from swarms import FOUND, another, labelled, out

from provisioner.controlplane import resolve
from provisioner.steps.ending import EndNetworks, EndPackages, EndSwarm
from provisioner.workflows import obstacles as checks

FRESH, EARLIER = "note\tbegun\t-\tfresh\n", "note\tbegun\t-\tearlier\n"
BRIDGE = {"Name": "own", "Id": "b1", "Driver": "bridge", "Scope": "local"}


def targets(step, site, host="node1"):
    return [d.target for d in step.drift(site, host)]


def found(site, *, force=False, packages=False, unrecorded=False):
    return [problem.id for problem in checks.findings(site, force=force, packages=packages, unrecorded=unrecorded)]


class TestNetworks:
    def site(self, site, inventory, record="", more=""):
        networks = [*capture("settled-node1").networks.values(), BRIDGE]
        facts = with_raw(with_http(capture("settled-node1"), "networks", networks), owned=record)
        return site(found=inventory(more=f"  own: {{driver: bridge}}\n{more}"), node1=facts)

    def test_one_host_removes_shared_networks_and_each_host_its_local_ones(self, site, inventory):
        here = self.site(site, inventory)
        assert [targets(EndNetworks(), here, name) for name in ("node1", "node2")] == [["demo", "own"], []]

    def test_networks_from_before_the_first_run_stay(self, site, inventory):
        assert targets(EndNetworks(), self.site(site, inventory, FRESH)) == ["demo"]
        assert targets(EndNetworks(), self.site(site, inventory, f"{FRESH}note\tnetwork\town\t\n")) == ["demo", "own"]
        assert targets(EndNetworks(), self.site(site, inventory, EARLIER)) == ["demo", "own"]

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
        (problem,) = checks.findings(here, force=False, packages=False, unrecorded=False)
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
        assert not checks.networks_end_by_themselves(site())
        silent = {name: with_http(capture(f"settled-{name}"), "leader", "") for name in ("node1", "node2", "node3")}
        assert checks.networks_end_by_themselves(site(**silent))

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
        problems = list(checks.findings(here, force=False, packages=True, unrecorded=False))
        assert [(p.id, p.host) for p in problems] == [("unrecorded", "node1")]
        assert "user consul" in problems[0].evidence
        assert "package docker.io" in problems[0].evidence
        assert found(here, packages=True, unrecorded=True) == []


class TestSwarm:
    def test_every_engine_leaves_and_managers_leave_one_at_a_time(self, inventory):
        site = resolve(inventory(kind=""), FOUND)[0]
        works = {name: EndSwarm().work(site, name, EndSwarm().drift(site, name)) for name in FOUND}
        assert {name: work.alone for name, work in works.items()} == {"node1": True, "node2": False, "node3": False}
        assert all("docker swarm leave --force" in work.script for work in works.values())
        assert EndSwarm().drift(resolve(inventory(kind=""), {"node1": out("node1")})[0], "node1") == ()


class TestPackages:
    def drift(self, site, record, **words):
        text = f"{record}installed\tconsul\ninstalled\tdocker.io\ninstalled\tperl-base\nuser\tconsul\n"
        return targets(EndPackages(**words), site(node1=with_raw(capture("settled-node1"), owned=text)))

    def test_only_recorded_packages(self, site):
        record = f"{FRESH}note\tpackage\tconsul\t\nnote\tpackage-user\tconsul\t\n"
        assert self.drift(site, record) == ["consul", "consul", "/var/lib/provisioner/record"]
        assert self.drift(site, FRESH) == []

    def test_unrecorded_packages_only_on_hosts_of_an_earlier_version_and_on_request(self, site):
        assert self.drift(site, EARLIER) == []
        assert self.drift(site, EARLIER, unrecorded=True) == ["consul", "docker.io"]
        assert self.drift(site, FRESH, unrecorded=True) == []
