"""What keeps a script from running has an id, by which programs know it; the contract tests meet the rest on real servers."""

from unittest.mock import Mock

import pytest

from provisioner.errors import HostKeyRefused, Refused
from provisioner.model import SshTarget
from provisioner.transport import connect
from provisioner.transport.process import Process
from provisioner.transport.script import Opening, Word


@pytest.mark.parametrize(
    ("word", "rest", "cause"),
    [
        (Word.TOOL, "flock", "tool-missing"),
        (Word.ROOT, "", "no-root"),
        (Word.ODD, "", "command-failed"),
        (Word.BUSY, "", "host-locked"),
    ],
)
def test_a_script_that_is_not_begun(word, rest, cause):
    process = Process(Mock(is_active=lambda: True), Mock(exit_status=3), "node1", "writing")
    process.started = Opening(word, rest, 0)
    with pytest.raises(Exception, match="node1") as caught:
        process.result()
    assert caught.value.cause == cause


def test_a_record_of_host_keys_that_can_t_be_read(tmp_path):
    target = SshTarget("node1", "192.0.2.1", 22, "root", None, "strict", tmp_path)
    with pytest.raises(HostKeyRefused) as caught:
        connect(target)
    assert caught.value.cause == "known-hosts-unusable"


def test_a_key_that_is_not_there(tmp_path):
    target = SshTarget("node1", "192.0.2.1", 22, "root", tmp_path / "none", "strict", tmp_path / "known_hosts")
    with pytest.raises(Refused) as caught:
        connect(target)
    assert caught.value.cause == "key-unusable"
