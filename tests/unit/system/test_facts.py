"""The facts parser: every property, on captures of real hosts."""

from __future__ import annotations

import math
import os
import shutil
import socket
import subprocess
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest
from captured import capture, printed, with_file, with_http, with_raw, with_system, with_unit

from provisioner import render
from provisioner.controlplane.swarm import SOUGHT
from provisioner.stores.consul import JSON as CONSUL_JSON
from provisioner.stores.consul import Consul
from provisioner.system import reading
from provisioner.system.facts import Answer, Facts, Unit, parse
from provisioner.system.reading import DAEMON_JSON

SHELLS = [shell for shell in (["dash"], ["bash", "--posix"]) if shutil.which(shell[0])]


class TestBare:
    """A minimal host: no engine, no store."""

    host = capture("bare")

    def test_system(self):
        assert self.host.hostname == "node1"
        assert self.host.is_root
        assert self.host.now > 1.7e9
        assert self.host.system_name == "Debian GNU/Linux 11 (bullseye)"

    def test_programs(self):
        assert {"apt-get", "perl", "systemctl"} <= set(self.host.programs)
        assert not {"dockerd", "consul"} & set(self.host.programs)

    def test_no_engine(self):
        assert self.host.engine == {}
        assert self.host.engine_version == ""
        assert self.host.engine_id == ""
        assert not self.host.store_driver
        assert self.host.networks == {}

    def test_no_units(self):
        assert self.host.unit("docker.service") == Unit("not-found", "inactive", enabled=False)
        assert self.host.unit("consul.service").load == "not-found"

    def test_no_listeners(self):
        assert self.host.ports == ()

    def test_nobody_answers(self):
        answer = self.host.http("leader")
        assert (answer.code, answer.body) == (0, None)
        assert "refused" in answer.error

    def test_files_that_are_not_there(self):
        assert DAEMON_JSON not in self.host.files


class TestInstalled:
    """Engine and store are installed, but not set up."""

    host = capture("installed-node1")

    def test_engine(self):
        assert self.host.engine_version == "20.10.5"
        assert self.host.store_driver
        assert self.host.engine.get("ClusterStore", "") == ""
        assert set(self.host.networks) == {"bridge", "host", "none"}

    def test_units(self):
        docker = self.host.unit("docker.service")
        assert (docker.load, docker.active, docker.enabled) == ("loaded", "active", True)
        assert docker.pid > 1
        assert docker.fragment.endswith("/docker.service")
        assert "dockerd" in docker.command
        consul = self.host.unit("consul.service")
        assert (consul.load, consul.active, consul.enabled) == ("loaded", "inactive", False)


class TestSettled:
    host = capture("settled-node2")

    def test_engine(self):
        assert self.host.engine["ClusterStore"] == "consul://127.0.0.1:8500"
        assert self.host.store_driver
        assert self.host.networks["demo"]["Driver"] == "overlay"
        assert self.host.networks["demo"]["IPAM"]["Config"][0]["Subnet"] == "10.99.0.0/24"

    def test_engine_ids_differ(self):
        assert len({capture(f"settled-node{n}").engine_id for n in (1, 2, 3)}) == 3

    def test_consul(self):
        assert str(self.host.http("leader").body).endswith(":8300")
        assert len(self.host.http("peers").body) == 3
        assert {m["Name"] for m in self.host.http("members").body} == {"node1", "node2", "node3"}

    def test_listeners(self):
        listening = {(protocol, port) for protocol, port, _ in self.host.ports}
        consul = {("tcp", 8300), ("tcp", 8301), ("udp", 8301), ("tcp", 8500)}
        assert listening == {("tcp", 7946), ("udp", 7946), *consul}

    def test_files_are_as_on_the_host(self):
        assert self.host.files[DAEMON_JSON].startswith("{\n    ")
        assert self.host.files[DAEMON_JSON].endswith('"192.168.56.12:2376"\n}\n')
        assert '"node_name": "node2"' in self.host.files[CONSUL_JSON]

    def test_mtus(self):
        assert self.host.mtus["eth0"] == 1500
        assert self.host.mtus["lo"] == 65536

    def test_free_disk(self):
        assert {"/", "/var/lib/docker"} <= set(self.host.free_disk)
        assert all(free > 1_000_000 for free in self.host.free_disk.values())


class TestStates:
    def test_new_engine(self):
        assert capture("new").engine_version.startswith("26.")
        assert not capture("new").store_driver

    def test_a_stopped_engine_is_not_asked_and_so_not_started(self):
        host = capture("stopped")
        assert host.unit("docker.service").active == "inactive"
        assert "http:info" not in host.raw
        assert host.http("info").error == "not queried"
        assert host.engine_version == "20.10.5"  # from the program itself
        assert host.store_driver
        assert host.engine_id  # the key's checksum
        assert host.http("leader").code == 200

    def test_all_stopped(self):
        host = capture("all-stopped")
        assert host.unit("consul.service").active == "failed"  # its exit code after SIGTERM is 1
        assert host.http("members").code == 0

    def test_a_hanging_engine_is_given_up(self):
        host = capture("hanging")
        assert host.unit("docker.service").active == "active"
        assert host.engine == {}
        assert "timeout" in host.http("info").error
        assert host.http("leader").code == 200

    def test_odd_daemon_json_comes_whole(self):
        text = capture("odd-keys").files[DAEMON_JSON]
        assert '"labels": ["a=é\\"b"]' in text
        assert text.endswith('"overlay2"}\n')  # the host's file has no final newline
        assert capture("invalid").files[DAEMON_JSON] == '{"log-level": "warn",}\n'

    def test_strangers_on_our_ports(self):
        host = capture("taken")
        assert {(p, n) for p, n, _ in host.ports} == {("tcp", 8500), ("udp", 7946), ("tcp", 8301)}
        assert all(
            host.owner(inode).startswith("squatter (process ") or "perl" in host.owner(inode)
            for *_, inode in host.ports
        )
        assert host.owner(1) == ""


class TestNetworks:
    def test_addresses_and_routes(self):
        host = capture("settled-node1")
        assert ("eth0", IPv4Interface("192.168.56.11/24")) in host.addresses
        assert ("docker0", IPv4Network("172.17.0.0/16")) in host.routes
        assert not any(address.is_loopback for _, address in host.addresses)

    def test_several_interfaces(self):
        found = {str(a): name for name, a in capture("nat-node2").addresses}
        assert found["10.0.2.15/24"] == "eth1"
        assert found["192.168.56.12/24"] == "eth0"

    def test_several_addresses_on_one_interface(self):
        found = {str(a): name for name, a in capture("resolvers").addresses}
        assert found["192.168.56.13/24"] == found["192.168.56.100/24"] == "eth0"

    def test_a_host_address_is_not_taken_for_one_on_a_route_through_a_gateway(self):
        host = capture("resolvers")
        assert ("eth0", IPv4Network("10.0.0.0/8")) in host.routes
        assert ("", IPv4Interface("10.7.7.7/32")) in host.addresses

    def test_blackholes_are_routes(self):
        assert ("*", IPv4Network("203.0.113.0/24")) in capture("resolvers").routes

    def test_the_mtu_that_was_set(self):
        assert capture("resolvers").mtus["eth0"] == 1400

    def test_resolvers_are_the_ipv4_ones_of_both_files_without_comments(self):
        assert capture("resolvers").resolvers == tuple(map(IPv4Address, ("127.0.0.53", "10.99.0.53", "10.99.0.54")))

    def test_no_resolvers(self):
        assert capture("bare").resolvers == ()
        assert with_file(capture("bare"), "/etc/resolv.conf", "").resolvers == ()


class TestPartial:
    """Missing or odd facts count as missing; none of them ends a run with a traceback."""

    def test_nothing_at_all(self):
        host = Facts({})
        assert (host.hostname, host.now, host.programs, host.free_disk, host.files) == ("", 0.0, {}, {}, {})
        assert (host.routes, host.addresses, host.mtus, host.resolvers, host.ports) == ((), (), {}, (), ())
        assert (host.engine, host.networks, host.engine_id, host.unit("docker.service")) == ({}, {}, "", Unit())
        assert not host.is_root

    @pytest.mark.parametrize(
        ("said", "seconds"),
        [("1795476145.%N", 1795476145.0), ("1795476145.25", 1795476145.25), ("", 0.0), ("soon", 0.0)],
    )
    def test_clocks(self, said, seconds):
        assert with_system(capture("bare"), "now=", said).now == seconds

    def test_a_clock_that_can_not_be_read_is_never_skewed(self):
        unread = with_system(capture("bare"), "now=", "")
        assert parse(printed(unread.raw), between=(100.0, 101.0)).ahead == (-math.inf, math.inf)
        low, high = parse(printed(capture("bare").raw), between=(100.0, 101.0)).ahead
        assert (low, high) == (pytest.approx(capture("bare").now - 101), pytest.approx(capture("bare").now - 100))

    def test_file_systems_with_odd_names(self):
        host = with_system(capture("bare"), "disk=", "share //nas/some 264")
        assert all(isinstance(free, int) for free in host.free_disk.values())
        assert "264" not in host.free_disk

    def test_users_that_are_not_root(self):
        assert not with_system(capture("bare"), "uid=", "1000").is_root

    def test_line_separators_inside_a_file_are_no_line_ends(self):
        text = '{"labels": ["a\u2028b\x0bc"]}\n'
        assert with_file(capture("bare"), DAEMON_JSON, text).files[DAEMON_JSON] == text

    @pytest.mark.parametrize(
        ("raw", "answer"),
        [
            ('200 {"a": 1}', Answer(200, {"a": 1})),
            ("200 {", Answer(error="the answer was cut off")),
            ("500 No cluster leader", Answer(500, None, "No cluster leader")),
            ("000 Connection refused", Answer(error="Connection refused", refused=True)),
            ("000 timeout", Answer(error="timeout", late=True)),
            ("", Answer(error="no answer")),
            ("garbage", Answer(error="no answer")),
        ],
    )
    def test_answers(self, raw, answer):
        assert with_http(capture("bare"), "leader", raw).http("leader") == answer

    @pytest.mark.parametrize("state", ["enabled", "disabled", "masked", "static"])
    def test_what_starts_at_boot(self, state):
        host = with_unit(capture("settled-node1"), "docker.service", UnitFileState=state)
        assert host.unit("docker.service").enabled is (state == "enabled")

    def test_two_networks_of_one_name(self):
        host = capture("settled-node1")
        demo = host.networks["demo"]
        twins = with_http(host, "networks", [demo, {**demo, "Id": "other"}])
        assert twins.networks["demo"]["Id"] == f"{demo['Id']}+other"

    def test_versions(self):
        assert (
            with_raw(capture("stopped"), engine="Docker version 20.10.24, build 297e128\n").engine_version == "20.10.24"
        )
        assert with_raw(capture("stopped"), engine="sh: oops\n").engine_version == ""


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
@pytest.mark.parametrize("only", [reading.ALL, ("files",), ("http",), ("files", "units", "http")])
def test_the_script_is_sound_and_reads_this_machine(shell, only):
    script = reading.script(Consul.sought, only)
    subprocess.run([*shell, "-n"], input=script, text=True, check=True)
    if "firewall" in only:  # needs root
        return
    output = subprocess.run([*shell, "-s"], input=script, text=True, check=True, capture_output=True, timeout=60)
    assert output.stderr == ""
    assert set(parse(output.stdout.encode()).raw) >= set(only) - {"http"}


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
def test_listening_sockets_are_found_by_either_way_of_the_kernel(family, kind):
    """By sock_diag, and by /proc/net on a kernel without sock_diag."""
    program = render.text("facts.pl")
    without = program.replace("socket my $s, $netlink", "socket my $s, 9999")
    assert without != program
    with socket.socket(family, kind) as ours, socket.socket(family, kind) as other:
        for made in (ours, other):
            made.bind(("", 0))
            if kind == socket.SOCK_STREAM:
                made.listen()
        name = {socket.SOCK_STREAM: "tcp", socket.SOCK_DGRAM: "udp"}[kind]
        wanted = f"{name} {ours.getsockname()[1]} {os.fstat(ours.fileno()).st_ino}"
        for text in (program, without):
            argv = ["perl", "-e", text, f"port {ours.getsockname()[1]}", "settled /no/such/file"]
            output = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout
            section = output.split("\nports ")[1].split("\n\n")[0].splitlines()[1:]
            owners = [line for line in section if line.startswith("owner ")]
            assert [line for line in section if line not in owners] == [wanted]
            assert any(line.split()[1:3] == [wanted.split()[2], str(os.getpid())] for line in owners)


def test_addresses_in_the_kernels_order_with_those_of_no_connected_route():
    """As in a cloud: a /32 address on one interface, and a secondary address after the primary one on another."""
    output = "lo 127.0.0.1 255.0.0.0\nens4 10.128.0.7 255.255.255.255\neth1 10.9.2.30 255.255.255.0\neth1:vip 10.9.2.4 255.255.255.0\n"
    found = Facts({"addresses": output}).addresses
    assert [(name, str(address)) for name, address in found] == [
        ("ens4", "10.128.0.7/32"),
        ("eth1", "10.9.2.30/24"),
        ("eth1", "10.9.2.4/24"),
    ]


@pytest.mark.parametrize(
    ("sought", "program", "found"),
    [
        (Consul.sought, "libkv/store/consul", True),
        (Consul.sought, "libkv/store/etcd", False),
        (SOUGHT, "libkv/store/consul", False),
    ],
)
def test_the_store_driver_is_searched_in_the_engines_binary(tmp_path, sought, program, found):
    """In a swarm, no driver is searched, and none is found."""
    (tmp_path / "dockerd").write_text(f"#!/bin/sh\n# {program}\n")
    (tmp_path / "dockerd").chmod(0o755)
    script = reading.script(sought, ("driver",))
    done = subprocess.run(
        ["sh", "-c", script], check=True, capture_output=True, text=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}
    )
    assert parse(done.stdout.encode()).store_driver is found
