"""The report as JUnit XML."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hostile import HOSTILE, each_replaced, replaced
from report_samples import everything, examined, status, up

from provisioner.model import Check, Failure, Fix, Outcome, Problem, ProofResult, State
from provisioner.report.document import document
from provisioner.report.junit import to_junit

VALID = re.compile("[\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]*")
KINDS = ("failure", "error", "skipped")


def plain(report):
    """Return the document as programs read it."""
    return json.loads(json.dumps(document(report)))


def parsed(report):
    return checked(to_junit(plain(report)))


def checked(text):
    """Return the parsed XML, after checks against the usual form."""
    assert VALID.fullmatch(text)
    text.encode()
    root = ET.fromstring(text)
    assert root.tag == "testsuites"
    for suite in root:
        assert suite.tag == "testsuite"
        for case in suite:
            assert (case.tag, set(case.attrib)) == ("testcase", {"classname", "name", "time"})
            assert [child.tag for child in case] in ([], ["system-out"], *([kind] for kind in KINDS))
        counted(suite, suite)
    counted(root, [case for suite in root for case in suite])
    return root


def counted(element, cases):
    assert int(element.get("tests")) == len(list(cases))
    for kind, name in zip(KINDS, ("failures", "errors", "skipped"), strict=True):
        assert int(element.get(name)) == sum(case.find(kind) is not None for case in cases)
    assert float(element.get("time")) >= 0


def cases(root, suite):
    """Return (name, kind) of the test cases of one suite."""
    found = [each for each in root if each.get("name") == suite]
    return [(case.get("name"), next((child.tag for child in case), "")) for each in found for case in each]


def test_a_healthy_run_has_no_failure():
    root = parsed(examined(3))
    assert (root.get("failures"), root.get("errors"), root.get("skipped")) == ("0", "0", "0")
    assert root.get("name") == "provisioner doctor"
    assert cases(root, "run") == [("doctor", "system-out")]
    assert ("node1 > node2", "") in cases(root, "proof overlay/demo")
    assert len(cases(root, "proof overlay/demo")) == 6
    # A CI follows a test case by its name, so the name has no measurement.
    assert cases(root, "checks") == [("paths between hosts", "system-out"), ("engines", "system-out")]


def test_a_cause_is_a_failure_with_evidence_and_cure():
    root = parsed(examined(3, blocked="node2"))
    assert cases(root, "run") == [("doctor", "failure")]
    assert cases(root, "causes") == [("vxlan-blocked: node2", "failure")]
    (failure,) = root.findall(".//testcase[@name='vxlan-blocked: node2']/failure")
    assert failure.get("type") == "vxlan-blocked"
    assert failure.get("message") == "the overlay's data port is blocked: node2"
    for word in (
        "seen: node1 > node2: 4789/udp packets lost",
        "where: node2",
        "why: Overlay",
        "cure: find what drops 4789/udp on node2",
    ):
        assert word in failure.text
    (pair,) = root.findall(".//testcase[@name='node2 > node3']/failure")
    assert pair.get("message") == "address not reached, no packet of full size"
    assert cases(root, "proof overlay/demo").count(("node1 > node3", "")) == 1


def test_a_pair_that_failed_for_another_reason_is_never_a_success():
    whole = plain(examined(2))
    first, second = whole["proofs"][0]["pairs"]
    first |= {"transfer": "corrupt", "proven": False}
    second |= {"transfer": "passed", "proven": False}
    root = checked(to_junit(whole))
    assert [failure.get("message") for failure in root.iter("failure")] == ["data changed on the way", "not proven"]


def test_a_warning_passes_and_is_there_as_output():
    warning = Problem(
        "engine-open", "node1", "it listens on tcp://0.0.0.0:2375", {"path": "/etc/docker/daemon.json"}, warns=True
    )
    root = parsed(replace(examined(3), findings=(warning,)))
    assert cases(root, "checks")[0] == ("engine-open: node1", "system-out")
    assert "0.0.0.0:2375" in root.find(".//testcase[@name='engine-open: node1']/system-out").text
    assert root.get("failures") == "0"


def test_what_was_left_out_is_skipped_with_the_reason():
    left = ProofResult("isolation", "demo", State.SKIPPED, reason="not chosen", chosen=False)
    root = parsed(
        replace(
            examined(3),
            proofs=(left,),
            fixes=(Fix("mtu", "node1", ("ip link",), state=State.SKIPPED, reason="not confirmed"),),
        )
    )
    assert [case.get("message") for case in root.iter("skipped")] == ["not confirmed", "not chosen"]


def test_a_proof_that_fails_as_a_whole_is_a_failure():
    problem = Problem("probe-failed", "node1", "it did not start", {"host": "node1"})
    failed = ProofResult(
        "dns",
        "demo",
        State.FAILED,
        error="no probe ran\n  next: look",
        problems=(problem,),
        checks=(Check("node1", "names", 0.1),),
    )
    root = parsed(replace(examined(3), proofs=(failed,), exit_code=1))
    assert cases(root, "proof dns/demo") == [("dns/demo", "failure"), ("names: node1", "")]
    assert root.find(".//testcase[@name='dns/demo']/failure").get("message") == "no probe ran"
    check = ProofResult("dns", "demo", State.FAILED, checks=(Check("node1", "names", None, "no answer", "node2"),))
    root = parsed(replace(examined(3), proofs=(check,), exit_code=1))
    assert cases(root, "proof dns/demo") == [("names: node1 > node2", "failure")]


def test_hosts_that_dropped_out_and_errors_of_the_run():
    report = replace(
        examined(3),
        exit_code=1,
        lost={"node2": Failure("no answer", "host-unreachable")},
        errors=(Failure("the run stops", "quorum-lost"),),
        outcomes=(
            Outcome("node1", "daemon", State.FAILED, error="it broke\n  | all", check="engine-failed"),
            Outcome("node2", "daemon", State.DRIFTED),
        ),
    )
    root = parsed(report)
    assert cases(root, "run") == [("doctor", "failure"), ("node2", "error"), ("whole run", "error")]
    assert cases(root, "steps") == [("node1", "failure"), ("node2", "failure")]


@pytest.mark.parametrize("report", [examined(2), examined(3), status(3), up(3)], ids=["two", "three", "status", "up"])
def test_exit_code_0_and_no_failure_are_the_same(report):
    root = parsed(report)
    assert not report.exit_code
    assert not list(root.iter("failure"))
    assert not list(root.iter("error"))
    assert list(parsed(replace(report, exit_code=1)).iter("failure"))


def test_every_string_of_a_report_from_hosts_is_harmless():
    parsed(everything())


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_strings_anywhere_give_valid_xml(text):
    for whole in (plain(everything()), plain(examined(3, blocked="node2"))):
        checked(to_junit(replaced(whole, text)))


def test_a_hostile_string_at_any_single_place_gives_valid_xml():
    for each in each_replaced(
        plain(everything()), "".join(HOSTILE[name] for name in ("ends", "controls", "surrogates"))
    ):
        checked(to_junit(each))


def test_a_text_survives_the_xml():
    whole = plain(examined(3, blocked="node2"))
    whole["causes"][0]["where"] = "<a href=\"x\">&amp;</a> ]]> 'q'"
    root = checked(to_junit(whole))
    assert any(f"where: {whole['causes'][0]['where']}\n" in failure.text for failure in root.iter("failure"))
