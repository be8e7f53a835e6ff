"""The lab itself, with real hosts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from provisioner import labs
from provisioner.errors import LabError
from provisioner.lab import FAULTS, Lab, Topology
from provisioner.lab.cgroups import Cgroups
from provisioner.lab.shell import mounts_under

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

# A container without a registry: an empty image that uses the host's programs.
RUN_CONTAINER = """
tar --create --files-from /dev/null | docker import - empty > /dev/null
docker run --rm -v /usr:/usr:ro -v /bin:/bin:ro -v /lib:/lib:ro -v /lib64:/lib64:ro empty /bin/echo from a container
"""


def ssh(lab, host, *command):
    with lab.enter():
        return subprocess.run(
            lab.ssh_command(host, command), check=True, capture_output=True, text=True, timeout=20
        ).stdout.strip()


def traces(name):
    """Everything that a lab of this name has on the machine, except images."""
    folder = labs.lab_dir() / "labs" / name
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"/labs/{name}/" in line]
    # Not "**", because cgroups of other labs may vanish during the search.
    places = [path for place in ("", "*/") for path in Path("/sys/fs/cgroup").glob(f"{place}provisioner-lab/{name}")]
    processes = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            said = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            held = (process / "mountinfo").read_text()
        except OSError:
            continue
        if f"/labs/{name}/".encode() in said or f"/labs/{name}/" in held:
            processes.append(process.name)
    return [*mounts, *map(str, places), *processes, *([str(folder)] if folder.exists() else [])]


def cli(*words, **options):
    code = "from provisioner.cli_lab import app; app()"
    return subprocess.Popen([sys.executable, "-c", code, *words], **options)


def as_typed(*words, timeout=60):
    """Run `provisioner lab` with these arguments. Returns its exit code and output."""
    argv = [sys.executable, "-m", "provisioner", "lab", *words]
    ended = subprocess.run(
        argv, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=timeout
    )
    return ended.returncode, ended.stdout


class TestEngineImage:
    @pytest.fixture(scope="class")
    @classmethod
    def lab(cls, make_lab_for_all):
        lab = make_lab_for_all(hosts=2)
        yield lab
        lab.down()

    def test_each_host_answers_over_ssh(self, lab):
        assert ssh(lab, "node1", "hostname") == "node1"
        assert as_typed("ssh", "--name", lab.name, "node2", "hostname; exit 3") == (3, "node2\n")
        assert as_typed("exec", "--name", lab.name, "node2", "--", "sh", "-c", "hostname; exit 4") == (4, "node2\n")
        assert lab.key.stat().st_mode & 0o777 == 0o600

    def test_its_inventory_is_refused_outside_of_its_network(self, lab, tmp_path, monkeypatch):
        file = tmp_path / "lab.yml"
        file.write_text(as_typed("inventory", "--name", lab.name)[1])
        status = [sys.executable, "-m", "provisioner", "status", str(file)]
        outside = subprocess.run(status, check=False, capture_output=True, text=True)
        assert outside.returncode == 64
        assert outside.stderr.startswith(f"the hosts are in the lab {lab.name}"), outside.stderr  # no host was tried
        assert f"next:  provisioner lab run --name {lab.name} -- provisioner status {file}\n" in outside.stderr
        monkeypatch.setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")  # as with sudo
        code, text = as_typed("run", "--name", lab.name, "--", "provisioner", "status", str(file))
        assert (code, "all reached" in text) == (0, True), text
        with lab.enter():  # what a thread starts is inside, too
            assert subprocess.run(status, check=False, capture_output=True).returncode == 0

    def test_hosts_differ_in_everything_that_identifies_them(self, lab):
        for command in (
            "cat /etc/machine-id",
            "cat /proc/sys/kernel/random/boot_id",
            "cat /etc/ssh/ssh_host_ed25519_key.pub",
            "cat /sys/class/net/eth0/address",
        ):
            assert lab.exec("node1", command).stdout != lab.exec("node2", command).stdout

    def test_runs_containers_and_consul(self, lab):
        assert lab.exec("node1", RUN_CONTAINER).stdout.strip() == "from a container"
        assert lab.exec("node1", ["docker", "version", "--format", "{{.Server.Version}}"]).stdout.startswith("20.10.")
        assert "v1.8.7" in lab.exec("node1", ["consul", "version"]).stdout

    def test_hosts_reach_one_another_and_nothing_else(self, lab):
        lab.exec("node1", ["ping", "-c", "1", "-W", "2", lab.address("node2")])
        assert lab.exec("node1", ["ip", "route", "show", "default"]).stdout == ""

    def test_boots_to_the_end_without_a_failed_unit(self, lab):
        assert lab.exec("node1", ["systemctl", "is-system-running"]).stdout.strip() == "running"

    def test_reset_brings_a_fresh_disk_and_network(self, lab):
        before = ssh(lab, "node1", "cat /etc/ssh/ssh_host_ed25519_key.pub")
        lab.exec("node1", "echo used > /etc/used; iptables -A INPUT -s 10.1.1.1 -j DROP; ip link add x0 type bridge")
        lab.exec("node1", "tar --create --files-from /dev/null | docker import - empty")
        began = time.monotonic()
        lab.reset(["node1"])
        assert time.monotonic() - began < 10  # usually 0.7 s; a few seconds while other labs run
        left = lab.exec(
            "node1", "ls /etc/used; iptables -S | grep 10.1.1.1; ip link show x0; docker images -q", check=False
        )
        assert left.stdout == ""
        assert ssh(lab, "node1", "cat /etc/ssh/ssh_host_ed25519_key.pub") == before

    @pytest.mark.parametrize("way", ["stop", "shutdown"])
    def test_a_disk_outlives_its_host(self, lab, way):
        boot = "cat /proc/sys/kernel/random/boot_id"
        boot_id = lab.exec("node1", boot).stdout
        assert lab.exec("node1", "test ! -e /run/boot-id; " + boot).stdout == boot_id
        lab.exec("node1", "echo kept > /root/kept; tar --create --files-from /dev/null | docker import - kept")
        if way == "stop":
            assert as_typed("stop", "--name", lab.name, "node1") == (0, "")
        else:
            lab.shutdown("node1")
        assert [host.running for host in lab.status().hosts] == [False, True]
        with pytest.raises(LabError, match="off"):
            lab.exec("node1", ["true"])
        assert as_typed("start", "--name", lab.name, "node1") == (0, "")
        assert ssh(lab, "node1", "cat", "/root/kept") == "kept"
        assert "kept" in lab.exec("node1", ["docker", "images"]).stdout
        machine_s = Path("/proc/sys/kernel/random/boot_id").read_text()
        assert len({boot_id, lab.exec("node1", boot).stdout, machine_s}) == 3, "each boot has an ID of its own"

    def test_a_cut_host_is_alone_until_the_cable_is_back(self, lab):
        ping = ["ping", "-c", "1", "-W", "1", lab.address("node2")]
        lab.cut("node2")
        assert lab.exec("node1", ping, check=False).returncode != 0
        assert lab.exec("node2", ["hostname"]).stdout == "node2\n"
        lab.uncut("node2")
        lab.exec("node1", ["ping", "-c", "1", "-w", "10", lab.address("node2")])

    def test_a_command_that_hangs_is_ended_with_its_children(self, lab):
        began = time.monotonic()
        with pytest.raises(LabError, match="did not end within 1 s"):
            lab.exec("node1", "sleep 9753 & wait", timeout=1)
        assert time.monotonic() - began < 5
        gone = "for n in $(seq 40); do pgrep -f '[s]leep 9753' >/dev/null || exit 0; sleep 0.25; done; exit 1"
        lab.exec("node1", gone)  # on a busy machine, killed processes take a moment to vanish

    def test_a_command_that_fails_says_where_and_what(self, lab):
        with pytest.raises(LabError) as caught:
            lab.exec("node2", "echo oh no >&2; exit 3")
        assert "node2: exit code 3" in str(caught.value)
        assert "oh no" in str(caught.value)

    def test_hosts_can_t_change_the_machine_s_settings(self, lab):
        setting = Path("/proc/sys/kernel/pid_max")
        before = setting.read_text()
        assert lab.exec("node1", "echo 99999 > /proc/sys/kernel/pid_max", check=False).returncode != 0
        assert setting.read_text() == before
        lab.exec("node1", "echo 0 > /proc/sys/net/ipv4/ip_forward")

    def test_a_folder_of_the_image_can_be_renamed_as_on_any_disk(self, lab):
        lab.exec(
            "node1",
            [
                "perl",
                "-e",
                "rename '/usr/share/doc', '/usr/share/was' or die $!; rename '/usr/share/was', '/usr/share/doc' or die $!",
            ],
        )

    def test_a_host_can_be_added(self, lab):
        assert lab.add(image="engine-20.10") == "node3"
        assert ssh(lab, "node3", "hostname") == "node3"


class TestOtherImages:
    def test_engine_26_runs_beside_engine_20(self, make_lab):
        lab = make_lab(hosts=2, images={"node2": "engine-26"})
        versions = [
            lab.exec(host, ["docker", "version", "--format", "{{.Server.Version}}"]).stdout[:6] for host in lab.hosts
        ]
        assert versions == ["20.10.", "26.1.5"]
        assert lab.exec("node2", RUN_CONTAINER).stdout.strip() == "from a container"


class TestSideBySide:
    def test_two_labs_do_not_see_each_other(self, make_lab):
        one, two = make_lab(hosts=1), make_lab(hosts=1)
        one.exec("node1", "touch /root/one")
        assert one.address("node1") == two.address("node1")
        assert ssh(two, "node1", "ls /root") == ""
        assert ssh(one, "node1", "ls /root") == "one"

    def test_a_name_is_taken_once(self, make_lab):
        lab = make_lab(hosts=1)
        with pytest.raises(LabError, match="already"):
            Lab.up(lab.name)
        assert ssh(lab, "node1", "hostname") == "node1"

    def test_only_the_calling_thread_enters_the_lab_and_leaves_it_again(self, make_lab):
        lab = make_lab(hosts=1)
        here = Path("/proc/thread-self/ns/net").readlink()
        with lab.enter():
            assert Path("/proc/thread-self/ns/net").readlink() != here
        assert Path("/proc/thread-self/ns/net").readlink() == here

    def test_enter_switch_moves_a_process_for_good(self, make_lab):
        lab = make_lab(hosts=1)
        code = f"""
import socket
from provisioner.lab import enter_switch
enter_switch({lab.name!r})
print(socket.create_connection(({lab.address("node1")!r}, 22), timeout=5).recv(4))
"""
        said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        assert said == "b'SSH-'\n"


class TestTwoSegments:
    @pytest.mark.parametrize("topology", [Topology.ROUTED, Topology.NAT])
    def test_hosts_reach_one_another_through_the_router(self, make_lab, topology):
        lab = make_lab(hosts=2, topology=topology)
        assert {host: lab.address(host) for host in lab.hosts} == {"node1": "192.168.56.11", "node2": "192.168.57.12"}
        assert f"{lab.name}  {lab.folder}  {topology}" in as_typed("list")[1].splitlines()
        lab.reset(["node2"])
        assert [ssh(lab, host, "hostname") for host in lab.hosts] == ["node1", "node2"], "the controller reaches both"
        lab.exec("node2", "apt-get -qq update 2>&1; apt-cache policy etcd-server | grep -q Candidate")
        seen = {}
        receive = (
            "socket(S, PF_INET, SOCK_DGRAM, 17); bind S, sockaddr_in(9, INADDR_ANY); alarm 9;"
            " print inet_ntoa((sockaddr_in(recv S, $_, 9, 0))[1])"
        )
        for host, other in (("node1", "node2"), ("node2", "node1")):
            with ThreadPoolExecutor() as pool:
                answer = pool.submit(lab.exec, other, ["perl", "-MSocket", "-e", receive])
                lab.exec(other, "for n in $(seq 50); do ss -Hlnu | grep -q ':9 ' && exit; sleep 0.1; done; exit 1")
                lab.exec(host, ["bash", "-c", f"echo hello >/dev/udp/{lab.address(other)}/9"])
                seen[host] = answer.result().stdout
        assert seen == {
            "node1": "192.168.56.11",
            "node2": "192.168.57.12" if topology is Topology.ROUTED else "192.168.56.254",
        }

    def test_faults_and_snapshots_that_do_not_fit_are_refused_with_the_reason(self, make_lab):
        lab = make_lab(hosts=3, image="bare", topology=Topology.ROUTED)
        with pytest.raises(LabError, match="on the same segment"):
            lab.break_(FAULTS["router-drops"], "node1", "node3")
        with pytest.raises(LabError, match="the hosts of a snapshot are on one segment; this lab is routed"):
            lab.reset(to="settled-consul")
        flat = make_lab(hosts=2, image="bare")
        with pytest.raises(LabError, match="needs a router, and this lab has none"):
            flat.break_(FAULTS["router-drops"], "node1", "node2")
        assert flat.broken() == lab.broken() == []


class TestCgroupVersion2:
    def test_hosts_run_on_a_machine_with_version_2_only(self):
        """A mount namespace hides version 1. On a machine with version 2 only, this is the ordinary case."""
        name = f"test-{os.getpid()}-v2"
        code = f"""
from provisioner.lab import Lab, cgroups
assert cgroups.find().unified
lab = Lab.up({name!r}, 2, images={{"node2": "engine-26"}})
try:
    for host in lab.hosts:
        print(lab.exec(host, ["docker", "info", "--format", "{{{{.CgroupVersion}}}}"]).stdout.strip())
        print(lab.exec(host, {RUN_CONTAINER!r}).stdout.strip())
finally:
    lab.down()
"""
        hide = "umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup"
        argv = ["unshare", "--mount", "sh", "-c", f'{hide} && exec "$@"', "sh", sys.executable, "-c", code]
        said = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=120)
        assert said.stdout.splitlines() == ["2", "from a container"] * 2, said.stderr
        assert traces(name) == []


class TestInterrupted:
    def test_another_reset_repairs_one_that_was_killed(self, make_lab):
        lab = make_lab(hosts=2)
        for after in (0.3, 0.45, 0.6):
            process = cli("reset", "--name", lab.name)
            time.sleep(after)
            process.send_signal(signal.SIGKILL)
            process.wait()
            lab.reset()
            assert [ssh(lab, host, "hostname") for host in lab.hosts] == ["node1", "node2"]
        disks = str(lab.folder / "hosts")  # a mount, if disks are in memory
        assert [point for point in mounts_under(lab.folder) if point != disks] == [str(lab.folder / "switch")], (
            "a namespace of a host is left"
        )


class TestNothingIsLeft:
    @pytest.mark.parametrize("memory", ["0", "1"], ids=["on disk", "in memory"])
    def test_after_down(self, monkeypatch, memory):
        monkeypatch.setenv("PROVISIONER_LAB_IN_MEMORY", memory)
        name = f"test-{os.getpid()}-down"
        before = machine_state()
        lab = Lab.up(name, hosts=1, topology=Topology.NAT)
        assert traces(name)
        assert (lab.folder / "hosts").is_mount() is (memory == "1")
        lab.exec("node1", RUN_CONTAINER)
        lab.exec("node1", "tar --create --files-from /dev/null | docker import - kept")
        lab.stop("node1")
        lab.start("node1")
        assert "kept" in lab.exec("node1", ["docker", "images"]).stdout
        lab.down()
        assert traces(name) == []
        assert machine_state() == before
        lab.down()

    def test_after_a_start_that_failed(self, monkeypatch):
        name = f"test-{os.getpid()}-bad"
        monkeypatch.setattr(Cgroups, "spec", "no-such-hierarchy:no-such-option")
        with pytest.raises(LabError) as caught:
            Lab.up(name, hosts=1)
        assert "node1: the host ended while it was starting" in str(caught.value)
        assert "no-such-hierarchy" in str(caught.value), "the error contains the console's last lines"
        assert traces(name) == []

    @pytest.mark.some(3)
    @pytest.mark.parametrize("after", [0.25, 0.35, 0.4, 0.45, 0.5, 0.6, 0.9])
    def test_after_an_up_that_was_killed(self, after):
        name = f"test-{os.getpid()}-killed"
        process = cli(
            "up",
            "--hosts",
            "2",
            "--topology",
            "nat",
            "--name",
            name,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert cli("down", "--name", name).wait(60) == 0
        assert traces(name) == []

    def test_after_an_image_build_that_was_killed(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PROVISIONER_LAB_DIR", str(tmp_path))
        process = cli("up", "--hosts", "1", stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("images/building-*/root/proc/1")) and time.monotonic() < deadline:
            time.sleep(0.2)
            assert process.poll() is None
            if list(tmp_path.glob("images/building-*/root/usr/bin")):
                break
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert cli("down").wait(60) == 0
        assert [path for path in tmp_path.rglob("*") if path != tmp_path / "images"] == []
        assert traces("lab") == []


# Without dates and counters of firewall rules. Of the machine's Docker engine only the existing files, not their content.
STATE = """
ip -br link; ip -br address; ip netns list
for tables in iptables-save ip6tables-save; do $tables | sed '/^#/d; s/ \\[[0-9:]*\\]//'; done
nft --stateless list ruleset
sysctl -a
find /etc -xdev -printf '%p %y %m %U:%G %T@ %l\\n' | sort
find /etc -xdev -type f -exec sha256sum {} + | sort
find /var/lib/docker /etc/docker /run/docker /run/docker.sock /run/docker.pid -maxdepth 1 -printf '%p %i\\n' | sort
find /var/lib/docker/containers /var/lib/docker/image -maxdepth 2 | sort
"""


def machine_state():
    """The state of the machine that a lab must not change."""
    said = subprocess.run(STATE, shell=True, check=False, capture_output=True, text=True).stdout
    moving = ("fs.dentry-state", "fs.file-nr", "fs.inode", "kernel.random", "kernel.ns_last_pid", "pty.nr", "fs.quota")
    return [line for line in said.splitlines() if not line.startswith(moving) and ".nr " not in line]
