"""tests/produced.py counts only the ids that the code produces, and a complete run must produce all of them."""

import pytest

from provisioner.causes import CAUSES
from provisioner.errors import ProvisionerError
from provisioner.model import Failure, Problem
from provisioner.system import daemon_json
from tests.produced import CONTRACT, OF_CONTRACT, OF_SCRIPTS, UNIT, missing, produced


def test_what_a_test_makes_by_itself_does_not_count():
    Problem("made-by-a-test", "", "")
    Failure("made by a test", "made-by-a-test")
    ProvisionerError("made by a test", cause="made-by-a-test")
    assert "made-by-a-test" not in produced


def test_what_the_code_makes_counts():
    produced.discard("daemon-json-broken")
    with pytest.raises(ProvisionerError):
        daemon_json.parse("node1", "{")
    assert "daemon-json-broken" in produced


def test_a_whole_run_must_have_all():
    every = set(CAUSES)
    assert missing({UNIT, CONTRACT}, every - OF_SCRIPTS) == []
    assert missing({UNIT, CONTRACT}, every - {"disk-full"}) == ["disk-full"]
    assert missing({UNIT}, every - OF_SCRIPTS - OF_CONTRACT) == []
    assert missing({UNIT, CONTRACT}, every - {"ssh-closed"}) == ["ssh-closed"]
    assert missing({CONTRACT}, ()) == []


def test_what_is_left_out_is_in_the_catalogue():
    assert CAUSES.keys() >= OF_SCRIPTS | OF_CONTRACT
