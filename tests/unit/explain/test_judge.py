"""When waiting probes are given up: what is observed meanwhile, and what is kept of earlier rounds."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from scenes import SCENES, failed, healthy
from test_reach import cut_off, seen_with

from provisioner.explain import problems, senders
from provisioner.model import Missing, Problem
from provisioner.runner import diagnose

PAIR = ("node1", "node2")
WAITS = Missing(*PAIR, "demo")
ENOUGH = 60.0  # seconds after which it looks


@pytest.fixture
def run(site, monkeypatch):
    """A run whose observations show nothing. done: what the judge did."""
    seen, done = healthy(site), []

    def observe(run):
        done.append("observe")
        run.observed = seen.observed

    monkeypatch.setattr(diagnose, "observe", observe)
    monkeypatch.setattr(
        diagnose, "follow", lambda _, hosts, *senders: done.append(("follow", *sorted(hosts), *senders))
    )
    found = SimpleNamespace(
        site=seen.site, session=SimpleNamespace(lost={}), observed=seen.observed, earlier=None, seen=None, kept=()
    )
    found.proofs, found.outcomes, found.findings, found.done = [], [], [], done
    return found


def test_pairs_are_looked_at_although_a_probe_that_did_not_start_was_too(run):
    judge = diagnose.Hopeless(run)
    assert not judge(frozenset({Missing("node3", "", "demo")}), ENOUGH)
    assert run.done == ["observe"], "there are no packets to follow yet"
    assert not judge(frozenset({Missing("node3", "", "demo")}), ENOUGH)
    assert not judge(frozenset({WAITS}), 0.0)
    assert run.done == ["observe"]
    assert not judge(frozenset({WAITS, Missing(*PAIR[::-1], "demo")}), ENOUGH)
    assert not judge(frozenset({WAITS}), ENOUGH), "these pairs were looked at"
    assert run.done == ["observe", "observe", ("follow", "node1", "node2")]
    assert not judge(frozenset({WAITS}), ENOUGH + 30.0)
    assert run.done[3:] == ["observe", ("follow", "node1", "node2")], "once more after a while"


@pytest.mark.parametrize("has_failed", [True, False])
def test_what_was_seen_of_a_network_is_kept_if_its_proof_has_failed(site, run, has_failed):
    stale, _ = SCENES["fdb-stale"][:2]
    seen = stale(healthy(site))
    run.observed = seen.observed
    run.proofs += failed(seen, PAIR).proofs if has_failed else healthy(site).proofs
    diagnose.Hopeless(run)(frozenset({Missing("node3", "", "demo")}), ENOUGH)
    assert run.done[0] == "observe"
    assert ("fdb-stale" in {problem.id for problem in problems(diagnose.seen(run))}) == has_failed


@pytest.mark.parametrize("other", [None, "vxlan-blocked"])
def test_containers_that_are_apart_are_followed_unless_it_is_known_why(site, run, other):
    seen = replace(seen_with(site, **cut_off("node2")), proofs=())
    run.site, run.observed = seen.site, seen.observed
    if other:
        run.findings.append(Problem(other, "node2", "a rule"))
    run.is_reported = lambda _: True
    diagnose.explain(run)
    asking = {name: set(to) for name, to in senders(seen).items()}
    assert [({*hosts}, {name: set(to) for name, to in of.items()}) for _, *hosts, of in run.done] == (
        [] if other else [({*seen.site.live}, asking)]
    )
