"""The lab's parsers and checks of the machine, without root."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner import labs
from provisioner.errors import LabError
from provisioner.inventory import load
from provisioner.lab import IMAGES, Lab, cgroups, image, machine, recipes, repository
from provisioner.lab.host import BOOT_SCRIPT

V2 = """\
22 27 0:21 / /proc rw,relatime shared:12 - proc proc rw
30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
"""
# A machine with version 2 on which somebody has also mounted a hierarchy of version 1.
V2_AND_ONE = V2 + "99 30 0:40 / /sys/fs/cgroup/net_cls rw,relatime - cgroup cgroup rw,net_cls\n"
HYBRID = """\
31 23 0:28 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:8 - tmpfs tmpfs ro,mode=755
32 31 0:29 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
33 31 0:30 / /sys/fs/cgroup/systemd rw,nosuid shared:10 - cgroup cgroup rw,xattr,name=systemd
34 31 0:31 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:11 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/cpuset rw shared:12 - cgroup cgroup rw,cpuset,clone_children
36 31 0:33 / /sys/fs/cgroup/old rw shared:12 - cgroup cgroup rw,pids,release_agent=/lib/systemd/agent
"""


@pytest.mark.parametrize(
    ("program", "command"),
    [("/srv/my env/bin/provisioner", "sudo '/srv/my env/bin/provisioner' lab up"),
     ("/srv/provisioner/__main__.py", f"sudo {sys.executable} -m provisioner lab up")],
)  # fmt: skip
def test_without_root_the_cure_is_the_whole_command(monkeypatch, program, command):
    """sudo does not find a program that only a virtual environment has."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", [program, "lab", "up"])
    with pytest.raises(LabError) as refused:
        machine.require_root()
    assert refused.value.cure == command


@pytest.mark.parametrize("table", [V2, V2_AND_ONE])
def test_version_2_is_one_hierarchy(table):
    found = cgroups.parse(table)
    assert found.unified
    assert found.spec == "v2"


def test_a_hybrid_is_mounted_like_on_the_machine():
    found = cgroups.parse(HYBRID)
    assert not found.unified
    assert found.spec == ("unified:cgroup2 systemd:name=systemd cpu,cpuacct:cpu,cpuacct cpuset:cpuset old:pids")


def test_without_a_hierarchy_for_systemd_the_error_has_the_cure():
    with pytest.raises(LabError) as caught:
        cgroups.parse(HYBRID.replace("name=systemd", "name=elogind"))
    assert "mount -t cgroup -o none,name=systemd" in caught.value.cure


def test_a_new_cgroup_of_version_1_gets_the_cpus_of_its_parent(tmp_path):
    (tmp_path / "cpuset.cpus").write_text("0-1\n")
    made = tmp_path / "provisioner-lab"
    made.mkdir()
    (made / "cpuset.cpus").write_text("\n")
    cgroups._pass_on(cgroups.Hierarchy(tmp_path, "cpuset"), tmp_path, made)
    assert (made / "cpuset.cpus").read_text() == "0-1\n"


def test_version_2_passes_controllers_on_within_the_labs_own_tree_only(tmp_path):
    top = tmp_path / "provisioner-lab"
    for folder in (tmp_path, top):
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.controllers").write_text("cpu\n")
    hierarchy = cgroups.Hierarchy(tmp_path, "cgroup2")
    cgroups._pass_on(hierarchy, tmp_path, top)
    assert not (tmp_path / "cgroup.subtree_control").exists()
    cgroups._pass_on(hierarchy, top, top / "lab")
    assert (top / "cgroup.subtree_control").read_text() == "+cpu"


@pytest.mark.parametrize("folder", ["relative/path", "/with,comma", "/with:colon", "/with space", "/with\nnewline"])
def test_folders_that_mount_options_can_not_hold_are_refused(monkeypatch, folder):
    monkeypatch.setenv("PROVISIONER_LAB_DIR", folder)
    with pytest.raises(LabError, match="can't be the lab's folder"):
        labs.lab_dir()


@pytest.mark.parametrize("name", ["", "-x", "A", "a/b", "..", "a b", "a" * 32, "lab\n"])
def test_names_that_are_not_valid_as_a_folder_are_refused(name):
    with pytest.raises(LabError, match="can't be the name of a lab"):
        Lab(name)


def test_missing_commands_have_one_command_as_their_cure(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LabError) as caught:
        machine.check()
    assert caught.value.cure.startswith("apt-get install --yes ")
    assert {"mmdebstrap", "iproute2"} <= set(caught.value.cure.split())


def test_only_root_has_labs(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="root"):
        machine.check()


def test_a_lab_over_the_kernel_s_limits_is_refused_with_the_cure():
    with pytest.raises(LabError) as caught:
        machine.check_room(100_000)
    assert caught.value.cure.startswith("sysctl -w fs.inotify.max_user_instances=")


def test_every_change_of_a_recipe_changes_its_digest(monkeypatch):
    recipe = recipes.recipe("bare")
    digests = {recipe.digest, replace(recipe, packages=("systemd",)).digest, replace(recipe, offered=()).digest}
    derived = recipes.recipe("engine-20.10")
    digests.add(derived.digest)
    monkeypatch.setitem(recipes.RECIPES, "bare", replace(recipe, packages=("systemd",)))
    digests.add(derived.digest)
    monkeypatch.setattr(recipes, "FILES", {"etc/hostname": "other\n"})
    digests.add(recipe.digest)
    assert len(digests) == 6
    names = {"engine-20.10", "engine-20.10.24", "bare", "bare-13", "bare-28", "engine-26", "engine-28", "etcd-3.5"}
    assert set(IMAGES) == names


def test_packages_of_another_suite_bring_that_suite_into_the_build_only():
    later = recipes.recipe("engine-28")
    assert later.other_suites == ["forky"]
    assert "APT::Default-Release" in " ".join(repository.source_hooks(later.suite, later.other_suites))
    assert recipes.recipe("engine-26").other_suites == []
    assert repository.source_hooks("trixie", []) == []
    assert "forky" not in str(recipes.sources(recipes.recipe("bare-28")))


def test_the_engine_of_an_image_is_told_by_its_package(tmp_path):
    (tmp_path / "root/var/lib/dpkg").mkdir(parents=True)
    status = tmp_path / "root/var/lib/dpkg/status"
    status.write_text("Package: docker\nVersion: 1.5-2\n\nPackage: dockerx\nVersion: 2\n")
    assert image.engine(tmp_path) == ""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages/docker.io_28.5.2+dfsg4-5_amd64.deb").touch()
    assert image.engine(tmp_path) == "28.5.2+dfsg4-5"
    status.write_text(
        "Package: docker.io\nStatus: install ok installed\nConffiles:\n /etc/x\nVersion: 26.1.5\n\nPackage: z\nVersion: 3\n"
    )
    assert image.engine(tmp_path) == "26.1.5"


@pytest.mark.parametrize(
    ("engines", "has_store"),
    [
        (("20.10.5+dfsg1-1",), True),
        (("28.5.2+dfsg4-5",), False),
        (("20.10.5", "26.1.5"), False),
        (("20.10.5", ""), True),
    ],
)
def test_only_a_lab_of_old_engines_has_a_store_in_its_inventory(monkeypatch, tmp_path, engines, *, has_store):
    monkeypatch.setenv("PROVISIONER_LAB_DIR", str(tmp_path))
    for number, version in enumerate(engines, start=1):
        disk, host = tmp_path / f"images/image{number}", tmp_path / f"labs/lab/hosts/node{number}"
        (disk / "root/var/lib/dpkg").mkdir(parents=True)
        (disk / "root/var/lib/dpkg/status").write_text(f"Package: docker.io\nVersion: {version}\n" if version else "")
        host.mkdir(parents=True)
        (host / "image").write_text(f"{disk}\n")
    (tmp_path / "lab.yml").write_text(Lab("lab").inventory())
    found = load(tmp_path / "lab.yml", check_files=False)
    assert (len(found.hosts), bool(found.store)) == (len(engines), has_store)


def test_an_outdated_image_is_removed_and_one_with_a_similar_name_is_not(monkeypatch, tmp_path):
    monkeypatch.setenv("PROVISIONER_LAB_DIR", str(tmp_path))
    current, outdated = image.path_of(recipes.recipe("bare")), tmp_path / "images/bare-0123456789ab"
    other = image.path_of(recipes.recipe("bare-13"))
    for folder in (current, outdated, other):
        folder.mkdir(parents=True)
    image._remove_outdated(recipes.recipe("bare"))
    assert [folder.exists() for folder in (current, outdated, other)] == [True, False, True]


@pytest.mark.parametrize(
    ("listing", "mirror"),
    [
        (
            "Debian|Debian-Security|http://m.example/debian-security/\nDebian|Debian|http://m.example/debian/\n",
            "http://m.example/debian",
        ),
        ("Ubuntu|Ubuntu|http://u.example/ubuntu/\n", ""),
        ("Debian|Debian|file:/srv/debian/\n", ""),
        ("", ""),
    ],
)
def test_the_mirror_is_the_one_that_the_machine_uses(monkeypatch, listing, mirror):
    monkeypatch.setattr(image, "run", lambda _: listing)
    assert image.find_mirror() == mirror


def test_the_repository_has_an_index_that_apt_can_check(tmp_path):
    control = tmp_path / "build" / "DEBIAN" / "control"
    control.parent.mkdir(parents=True)
    control.write_text("Package: hello\nVersion: 1\nArchitecture: all\nMaintainer: t <t@t>\nDescription: x\n y\n")
    folder = tmp_path / "packages"
    folder.mkdir()
    subprocess.run(
        ["dpkg-deb", "--build", tmp_path / "build", folder / "hello_1_all.deb"], check=True, capture_output=True
    )
    repository.index(folder)
    text = (folder / "Packages").read_text()
    assert "Package: hello\n" in text
    assert "Filename: ./hello_1_all.deb\n" in text
    assert f"Size: {(folder / 'hello_1_all.deb').stat().st_size}\n" in text
    assert f"{len(text)} Packages" in (folder / "Release").read_text()


def test_the_boot_script_is_posix_sh_and_part_of_the_package():
    assert BOOT_SCRIPT.parent == Path(image.__file__).parent
    assert stat.S_ISREG(BOOT_SCRIPT.stat().st_mode)
    subprocess.run(["sh", "-n", BOOT_SCRIPT], check=True)
