"""Jump hosts. The same server, under two names, is the jump host and the host behind it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from provisioner.errors import HostKeyRefused, Refused, Unreachable
from provisioner.transport import Connection, connect, connect_all
from tests.ports import free_port

if TYPE_CHECKING:
    from provisioner.model import SshTarget


@pytest.fixture
def behind(sshd) -> SshTarget:
    return sshd.target(jump=sshd.target(name="bastion"))


def test_scripts_uploads_and_forwarded_ports_work_behind_one(behind, sshd, tmp_path):
    with_jump = connect(behind)
    try:
        assert with_jump.read("echo $((6 * 7))").stdout == "42\n"
        large = with_jump.read("head -c 3000000 /dev/zero | tr '\\0' x").stdout
        assert len(large) == 3_000_000
        with with_jump.socket(sshd.port) as greeting:
            assert greeting.recv(4) == b"SSH-"
    finally:
        with_jump.close()


def test_two_hops(behind):
    connection = connect(replace(behind, jump=replace(behind.jump, name="inner", jump=behind.jump)))
    assert connection.read("echo here").stdout == "here\n"
    connection.close()


def test_hosts_behind_one_share_its_connection_and_the_last_one_closes_it(behind, sshd, wait_for):
    found = connect_all([replace(behind, name=f"node{n}") for n in (1, 2, 3)])
    assert all(isinstance(each, Connection) for each in found.values()), found
    assert sshd.log().count("Accepted publickey") == 4
    for connection in found.values():
        assert connection.read("echo yes").stdout == "yes\n"
        connection.close()
    wait_for(lambda: sum(sshd.log().count(end) for end in ("Disconnected from user", "Connection closed by")) >= 4)


def test_a_jump_host_that_is_down_is_reported_for_every_host_behind_it(behind):
    gone = replace(behind.jump, port=free_port())
    found = connect_all([replace(behind, name=name, jump=gone) for name in ("node1", "node2")])
    for name, error in found.items():
        assert isinstance(error, Unreachable)
        assert error.host == name
        assert error.what.startswith("its jump host bastion can't be used: nothing listens on 127.0.0.1:")


def test_one_that_refuses_the_user(behind):
    with pytest.raises(Refused, match="jump host bastion can't be used: the login as no-such-user is refused"):
        connect(replace(behind, jump=replace(behind.jump, user="no-such-user")))


def test_one_whose_key_is_unknown(behind, tmp_path):
    strict = replace(behind.jump, host_keys="strict", known_hosts=tmp_path / "none")
    with pytest.raises(HostKeyRefused, match="jump host bastion can't be used: its key is not in"):
        connect(replace(behind, jump=strict))


def test_one_that_forbids_forwarding(behind, sshd):
    sshd.start("AllowTcpForwarding no")
    with pytest.raises(Refused, match="its jump host bastion forbids forwarding") as caught:
        connect(behind)
    assert "AllowTcpForwarding" in caught.value.cure


def test_a_host_that_its_jump_host_does_not_reach(behind):
    port = free_port()
    with pytest.raises(Unreachable, match=f"its jump host bastion gets no answer from 127.0.0.1:{port}"):
        connect(replace(behind, port=port))


def test_the_key_of_the_host_behind_is_checked_too(behind, tmp_path, sshd):
    connect(replace(behind, jump=None)).close()  # its key is in known_hosts now
    known = tmp_path / "known_hosts"
    other = known.read_text().split()
    other[-1] = other[-1][:-6] + "AAAAAA"
    (tmp_path / "changed").write_text(" ".join(other) + "\n")
    with pytest.raises(HostKeyRefused):
        connect(replace(behind, known_hosts=tmp_path / "changed"))
