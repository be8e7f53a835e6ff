"""A host's lock exists exactly as long as the connection that holds it."""

import os
import time

import pytest

from provisioner.errors import Locked

pytestmark = pytest.mark.usefixtures("root")


def test_a_held_lock_names_its_holder(sshd):
    sshd.connect().lock("ann@desk, provisioner apply")
    began = time.monotonic()
    with pytest.raises(Locked) as caught:
        sshd.connect().lock("bob")
    assert 2.5 < time.monotonic() - began < 15
    assert caught.value.what.endswith("seconds: ann@desk, provisioner apply")
    assert "kill " in caught.value.cure


def test_a_lock_does_not_hinder_its_holder_and_is_no_write(connection):
    connection.lock("ann")
    assert connection.writes == 0
    assert connection.write("echo written").stdout == "written\n"
    assert connection.read("echo read").stdout == "read\n"


def test_a_closed_connection_gives_its_lock_back(sshd):
    for name in ("ann", "bob", "eve"):
        connection = sshd.connect()
        connection.lock(name)
        connection.close()


@pytest.mark.parametrize("user", ["root", "u-bash"])
def test_a_killed_controller_leaves_no_lock(sshd, controller, user):
    process = controller("c.lock('ann'); print('held', flush=True); import time; time.sleep(60)")
    assert process.stdout.readline() == "held\n"
    process.kill()
    sshd.connect(user).lock("bob")


def test_a_write_without_the_lock_that_was_taken_is_refused(sshd, connection, wait_for):
    connection.lock("ann")
    pid = sshd.connect().read("cut -d' ' -f1 /run/provisioner/session.lock").stdout.strip()
    os.kill(int(pid), 9)
    wait_for(lambda: connection._lock.over)
    with pytest.raises(Locked, match="this run's lock on the host is lost"):
        connection.write("touch /never")
    with pytest.raises(Locked, match="this run's lock on the host is lost"), connection.changing():
        pytest.fail("a run without its lock changes the store")
    with connection.changing(lock=True):
        pass  # the run may still release its other locks
    sshd.connect().lock("bob")


def test_an_owner_can_be_any_text(sshd):
    sshd.connect().lock("o'neil $(reboot) `x` \\ \n second")
    with pytest.raises(Locked, match=r"o'neil \$\(reboot\) `x` \\ second"):
        sshd.connect().lock("bob")
