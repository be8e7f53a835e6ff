"""Every package manager fulfils the Protocol's contract, and a new one needs one file and one entry only."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from captured import capture, with_system

from provisioner import causes, preflight, render, wording
from provisioner.controlplane import resolve
from provisioner.errors import StepFailed
from provisioner.steps.packages import Packages
from provisioner.stores.consul import Consul
from provisioner.stores.etcd import Etcd
from provisioner.stores.zookeeper import ZooKeeper
from provisioner.system import packages
from provisioner.system.facts import Facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provisioner.system.packages.base import PackageManager

NEEDED = ("dockerd", "docker", "iptables", "perl", Consul.program, Etcd.program, ZooKeeper.program)


class Other:
    """A package manager that only this test knows."""

    name = "other"
    program = "other-install"

    def package(self, program: str) -> str:
        return f"{program}-of-other"

    def command(self, programs: Sequence[str]) -> str:
        return f"other-install {' '.join(map(self.package, programs))}"

    def script(self, programs: Sequence[str], units: Sequence[str], users: Sequence[str]) -> str:
        return f"{self.command(programs)}\n"


@pytest.fixture(params=packages.MANAGERS, ids=lambda manager: manager.name)
def manager(request) -> PackageManager:
    return request.param


class TestContract:
    def test_a_host_with_its_program_has_it(self, manager):
        facts = Facts({"system": f"program=sh /bin/sh\nprogram={manager.program} /usr/bin/{manager.program}\n"})
        assert facts.package_manager is manager

    @pytest.mark.parametrize("program", NEEDED)
    def test_each_program_has_a_package_whose_name_is_one_word(self, manager, program):
        package = manager.package(program)
        assert package
        assert not set(package) & set(" /'\"$;\\")
        assert package in manager.command([program]).split()

    @pytest.mark.parametrize("program", NEEDED)
    def test_its_script_is_understood_by_sh_and_installs_the_package(self, manager, program):
        script = manager.script([program], ["one.service"], ["one"])
        subprocess.run(["sh", "-n"], input=render.library() + script, text=True, check=True)
        assert manager.package(program) in script.split()

    def test_values_reach_the_package_manager_as_one_word(self, manager, tmp_path):
        """The shell finds `touch`, so a value that is executed leaves a file."""
        programs = tmp_path / "programs"
        programs.mkdir()
        (programs / "touch").symlink_to(shutil.which("touch"))
        for name in ("systemctl", "ls", "docker", "id", "sed", "grep", "perl", manager.program):
            (programs / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>{tmp_path}/{name}.called\n')
            (programs / name).chmod(0o755)
        hostile = f"x'; touch {tmp_path}/ran; $(touch {tmp_path}/ran) `touch {tmp_path}/ran`"
        script = f"PATH={programs}\n{render.library()}{manager.script([hostile], [hostile], [hostile])}"
        done = subprocess.run(["/bin/sh"], input=script, text=True, check=False, capture_output=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert not (tmp_path / "ran").exists()
        assert hostile in (tmp_path / f"{manager.program}.called").read_text().split("\n")


def without_manager(facts: Facts, *others: str) -> Facts:
    lines = [line for line in facts.raw["system"].split("\n") if "apt-get" not in line]
    lines += [f"program={name} /usr/bin/{name}" for name in others]
    return Facts({**facts.raw, "system": "\n".join(lines)})


def one_host(inventory, facts):
    return resolve(inventory(1, more="control_plane: kv"), {"node1": facts})[0]


def test_one_more_is_one_entry(inventory, monkeypatch):
    monkeypatch.setattr(packages, "MANAGERS", (*packages.MANAGERS, Other()))
    site = one_host(inventory, without_manager(capture("bare"), Other.program))
    assert [f.id for f in preflight.run(site)] == []
    drift = Packages().drift(site, "node1")
    assert {wording.what(d) for d in drift} >= {"package dockerd-of-other", "package consul-of-other"}
    assert Packages().work(site, "node1", drift).script.startswith("other-install dockerd-of-other consul-of-other")


class TestUnsupported:
    def test_the_finding_names_what_is_missing_what_the_host_has_and_what_to_do(self, inventory):
        site = one_host(inventory, without_manager(capture("bare"), "dnf"))
        (finding,) = [f for f in preflight.run(site) if f.id == "no-packages"]
        assert finding.host == "node1"
        assert "dockerd, consul, iptables" in finding.evidence
        assert finding.evidence.endswith("Debian GNU/Linux 11 (bullseye) has dnf")
        assert "install dockerd, consul, iptables by hand" in causes.cure(finding)

    def test_a_host_without_a_known_package_manager(self, inventory):
        site = one_host(inventory, without_manager(capture("bare")))
        (finding,) = [f for f in preflight.run(site) if f.id == "no-packages"]
        assert finding.evidence.endswith("has no known package manager")

    def test_nothing_is_missing(self, inventory):
        site = one_host(inventory, without_manager(capture("installed-node1"), "dnf"))
        assert "no-packages" not in [f.id for f in preflight.run(site)]

    def test_where_the_finding_is_ignored_the_step_names_the_host(self, inventory):
        site = one_host(inventory, without_manager(capture("bare"), "dnf"))
        drift = Packages().drift(site, "node1")
        with pytest.raises(StepFailed, match="no supported package manager") as caught:
            Packages().work(site, "node1", drift)
        assert caught.value.host == "node1"
        assert "by hand" in caught.value.cure


def test_an_engine_without_its_command_gets_it(inventory):
    site = one_host(inventory, with_system(capture("installed-node1"), "no-docker=", "yes"))
    assert [wording.what(d) for d in Packages().drift(site, "node1")] == ["package docker-cli"]
