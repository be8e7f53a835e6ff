"""The committed results of the lab's faults name known faults and causes, and the table shows what was not run."""

from __future__ import annotations

import json
from pathlib import Path

from provisioner.causes import CAUSES
from provisioner.lab import FAULTS
from provisioner.report import results as page
from tests import results

REAL = [Path(__file__).parents[2] / name for name in ("e2e", "vagrant")]


def test_the_committed_results_name_all_faults_and_known_causes():
    known = {fault.id: fault.cause for fault in FAULTS.values()}
    found = {name: entry["cause"] for name, entry in page.load().items()}
    assert found == known, (
        "`python -m tests.results` adds what is new to docs/results.json, and leaves out what is gone"
    )
    assert set(found.values()) <= CAUSES.keys()


def test_new_results_replace_those_of_the_same_fault_only(tmp_path, monkeypatch):
    path = tmp_path / "results"
    monkeypatch.setenv("PROVISIONER_RESULTS", str(path))
    monkeypatch.setattr("os.getloadavg", lambda: (4.0, 9.0, 9.0))
    for seconds in (7.04, 9.0, 8.0):
        named = {"commands": [], "fixable": seconds > 7.5}
        results.record("mtu", "consul", "found", worked=seconds < 9, seconds=seconds, cause=named)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    kept = {"consul": {"runs": 1, "worked": 1, "seconds": 3.0, "load": 1.0}}
    old = {"mtu": {"cause": "mtu", "found": kept, "fixed": {}}, "between": {"cause": "x", "found": kept, "fixed": {}}}
    old["between"]["words"] = True
    new = results.merged({**old, "gone": old["mtu"]}, lines)
    assert new["mtu"]["found"] == {"consul": {"runs": 3, "worked": 2, "seconds": 8.0, "load": 4.0}}
    assert new["between"] == {"cause": "vxlan-blocked", "words": True, "found": kept, "fixed": {}}
    assert not new["mtu"]["words"]
    assert new.keys() == FAULTS.keys()


def test_the_table_says_what_was_made_found_and_fixed():
    run = {
        "consul": {"runs": 2, "worked": 1, "seconds": 7.0, "load": 1.2},
        "swarm-28": {"runs": 1, "worked": 0, "seconds": 9.0, "load": 6.1},
    }
    rows = page.table({
        "mtu": {"cause": "mtu", "words": True, "found": run, "fixed": {}},
        "ip-forward": {"cause": "ip-forward", "words": False, "found": {}, "fixed": {}},
        "route-shadow": {"cause": "route-shadow", "words": False, "found": {}, "fixed": run},
    }).splitlines()  # fmt: skip
    assert any(row.endswith("with a load average of 1 to 6.") for row in rows)
    assert "| [mtu](#mtu) | `mtu` | 7.0 s, 1 of 2 runs; no (swarm-28), 0 of 1 runs | by hand |" in rows
    assert "| [ip-forward](#ip-forward) | `ip-forward` | not run | not run |" in rows
    assert any(
        "`route-shadow` | not run | 7.0 s, 1 of 2 runs; no (swarm-28), 0 of 1 runs, commands |" in row for row in rows
    )
    assert "| [vxlan-lost](#vxlan-lost) | constructed |  | not run |" in rows
    assert "| [offload](#offload) | by tests |  | by hand |" in rows


def test_causes_that_tests_are_said_to_make_have_no_fault_and_are_named_by_a_test_in_the_lab():
    text = "".join(path.read_text() for folder in REAL for path in folder.rglob("*.py"))
    named = {name for name in CAUSES if f'"{name}"' in text}
    assert named >= page.MADE_BY_TESTS
    assert not {fault.cause for fault in FAULTS.values()} & page.MADE_BY_TESTS
