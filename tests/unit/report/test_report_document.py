"""The JSON document. `WRITE_DOCS=1 pytest` on this file updates the example in docs/json.md."""

import io
import json
import os
import re
from dataclasses import fields, replace
from pathlib import Path

from report_samples import everything, pair, shown, up

from provisioner import report as reports
from provisioner.causes import CAUSES
from provisioner.model import (
    Action,
    Call,
    Check,
    Diagnosis,
    Drift,
    Failure,
    HostSummary,
    Kind,
    Outcome,
    PathSeen,
    PortSeen,
    Problem,
    ProofResult,
    Report,
    State,
)

PAGE = Path(__file__).parents[3] / "docs" / "json.md"
EXAMPLE = re.compile(r"(?<=```json\n).*?(?=\n```)", re.DOTALL)


def example():
    return Report(
        "up",
        "demo",
        ("node1", "node2"),
        1,
        4.2,
        writes=3,
        findings=(
            Problem(
                "engine-open",
                "node1",
                "its engine listens on tcp://0.0.0.0:2375",
                {"path": "/etc/docker/daemon.json"},
                warns=True,
            ),
        ),
        outcomes=(
            Outcome(
                "node1",
                "daemon",
                State.CONVERGED,
                (Drift(Kind.FILE, "/etc/docker/daemon.json", "", '{"debug": true}\n', Action.RELOAD, is_file=True),),
                seconds=0.42,
            ),
        ),
        proofs=(
            ProofResult(
                "reach",
                "demo",
                State.FAILED,
                (
                    pair(
                        "node1",
                        "node2",
                        seconds=0.42,
                        rtt=0.0003121,
                        transfer="passed",
                        throughput=941.23,
                        longest_gap=0.15149,
                    ),
                    pair("node2", "node1", seconds=0.42, lost="full"),
                ),
                mtu=1450,
                seconds=1.2,
            ),
            ProofResult(
                "dns",
                "demo",
                State.FAILED,
                error="not proven",
                seconds=0.02,
                checks=(
                    Check("node1", "external names", 0.02, "www.example.net: 192.0.2.80"),
                    Check("node2", "external names", None, "www.example.net: no answer"),
                ),
            ),
        ),
        summaries=(HostSummary("node1", "192.168.56.11", reached=True, engine="20.10.5", networks=("demo",)),),
        lost={"node2": Failure("no answer", "host-unreachable")},
        call=Call("cluster.yml"),
        paths=(
            PathSeen(
                "node1",
                "node2",
                1500,
                (
                    PortSeen(4789, "udp", 20, 20, 20, 0, lost=100, at="node2"),
                    PortSeen(7946, "tcp", 1, 1, 1, 1, seconds=0.0005124),
                ),
            ),
        ),
    )


def test_the_page_shows_what_is_written_today():
    page = PAGE.read_text(encoding="utf-8")
    today = EXAMPLE.sub(lambda _: reports.to_json(example()), page)
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(today, encoding="utf-8")
    assert today == page, "docs/json.md is stale: run this test with WRITE_DOCS=1"


def test_every_field_of_the_model_is_in_the_document():
    document = json.loads(reports.to_json(example()))
    assert set(document) == {field.name for field in fields(Report)} | {
        "version",
        "proven",
        "verdict",
        "failures",
        "next",
    }
    for name, kind, extra in (
        ("outcomes", Outcome, set()),
        ("proofs", ProofResult, {"name", "pairs_with_data"}),
        ("summaries", HostSummary, set()),
        ("paths", PathSeen, set()),
    ):
        assert set(document[name][0]) == {field.name for field in fields(kind)} | extra
    assert set(document["findings"][0]) == {
        "check",
        "host",
        "what",
        "cure",
        "severity",
        "title",
        "why",
        "kind",
        "fixable",
        "target",
        "network",
    }
    assert set(document["failures"][0]) == {"check", "host", "step", "what", "title", "why", "cure", "kind"}
    assert set(document["proofs"][1]["checks"][0]) == {"host", "what", "seconds", "detail", "target", "proven"}
    assert [check["proven"] for check in document["proofs"][1]["checks"]] == [True, False]
    assert set(document["outcomes"][0]["drifts"][0]) == {field.name for field in fields(Drift)} | {"what", "note"}
    assert set(document["proofs"][0]["pairs"][0]) == {
        "source",
        "target",
        "name",
        "address",
        "by_name",
        "full",
        "alias",
        "rtt",
        "transfer",
        "throughput",
        "longest_gap",
        "detail",
        "proven",
    }


def test_each_error_is_there_once_with_its_id():
    report = replace(
        example(),
        outcomes=(
            Outcome("node1", "plugins", State.FAILED, error="node1: differs", check="change-held"),
            Outcome("node1", "networks", State.FAILED, error="node1: differs, too", check="change-held"),
            Outcome("node2", "daemon", State.FAILED, error="node2: it broke\n  | all of it", check="engine-failed"),
        ),
        lost={"node2": Failure("node2: it broke", "engine-failed"), "node3": Failure("no answer", "host-unreachable")},
        errors=(Failure("too many are gone", "quorum-lost"),),
    )
    document = json.loads(reports.to_json(report))
    assert [(f["host"], f["step"], f["check"]) for f in document["failures"]] == [
        ("node1", "plugins", "change-held"),
        ("node1", "networks", "change-held"),
        ("node2", "daemon", "engine-failed"),
        ("node3", "", "host-unreachable"),
        ("", "", "quorum-lost"),
    ]
    assert [outcome["check"] for outcome in document["outcomes"]] == ["change-held", "change-held", "engine-failed"]
    assert document["failures"][2]["what"] == "node2: it broke\n  | all of it"
    assert document["failures"][3]["title"] == CAUSES["host-unreachable"].title


def test_values_are_plain():
    document = json.loads(reports.to_json(example()))
    assert document["version"] == 1
    assert document["findings"][0]["severity"] == "warning"
    assert document["outcomes"][0]["state"] == "converged"
    assert document["proofs"][0]["pairs"][1]["full"] is None
    assert document["lost"] == {"node2": "no answer"}
    assert [each["rtt"] for each in document["proofs"][0]["pairs"]] == [0.000312, None]
    assert [each["throughput"] for each in document["proofs"][0]["pairs"]] == [941.2, None]
    assert [each["longest_gap"] for each in document["proofs"][0]["pairs"]] == [0.151, None]
    assert [port["seconds"] for port in document["paths"][0]["ports"]] == [None, 0.000512]


def test_a_cause_says_what_to_do_in_words_and_in_commands():
    problems = [Problem("ip-forward", name, "it is 0", {"host": name}) for name in ("node1", "node2")]
    found = Diagnosis(tuple(problems), (Problem("overlay-blocked", "node1", "no answer"),) * 2)
    (cause,) = json.loads(reports.to_json(replace(example(), causes=(found,))))["causes"]
    assert cause["cure"] == cause["commands"]
    assert [command.split()[-1] for command in cause["commands"]] == ["node1", "node2"]
    assert cause["advice"]
    assert cause["consequences"] == ["overlay-blocked"]
    found = Diagnosis((Problem("overlay-blocked", "node1", "no answer"),))
    (cause,) = json.loads(reports.to_json(replace(example(), causes=(found,))))["causes"]
    assert (cause["commands"], cause["cure"]) == ([], cause["advice"])


def test_proven_and_verdict_are_those_that_people_see():
    document = json.loads(reports.to_json(up()))
    assert document["proven"] is True
    assert document["verdict"] == shown(up()).splitlines()[-1]
    assert json.loads(reports.to_json(example()))["proven"] is False


def test_keys_are_sorted_and_the_same_report_is_the_same_text():
    text = reports.to_json(example())
    assert json.dumps(json.loads(text), sort_keys=True, indent=2) == text
    assert text == reports.to_json(example())


def test_secrets_are_left_out_and_what_hosts_said_is_harmless():
    text = reports.to_json(everything())
    assert "-secret" not in text

    def texts(value):
        if isinstance(value, dict):
            return [each for item in value.items() for part in item for each in texts(part)]
        if isinstance(value, list):
            return [each for item in value for each in texts(item)]
        return [value] if isinstance(value, str) else []

    assert all(char.isprintable() or char in "\n\t" for each in texts(json.loads(text)) for char in each)


def test_one_document_on_standard_output():
    out = io.StringIO()
    reports.show(example(), json=True, out=out, err=io.StringIO())
    assert json.loads(out.getvalue())["cluster"] == "demo"
