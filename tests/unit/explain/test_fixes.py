"""The cures that `doctor --fix` offers. A cure that no longer applies, or contradicts an earlier one, does not run."""

from __future__ import annotations

import itertools
import shlex
from collections import defaultdict
from dataclasses import replace

import pytest
from scenes import DATA, DROPPED, GOSSIP, SCENES, blocked, failed, healthy, into, with_kernel, with_ways

from provisioner import causes
from provisioner.causes.base import RESTART, START
from provisioner.explain import explain, problems
from provisioner.explain.fixes import apart, judged, left_to_up, obstacle, plan
from provisioner.model import Diagnosis, Fix, Problem, State
from provisioner.report.document import of_diagnosis
from provisioner.system.firewall import Rule

RULE = "-A INPUT -p udp -m udp --dport 4789 -j DROP"


class Same(dict):
    """Values of a problem: each name has the same value in all problems."""

    def items(self):
        names = ("device", "space", "mac", "unit", "tool", "rule", "table", "to", "route", "name", "network")
        return dict.fromkeys(names, "x").items()


def touching():
    """Return, for each thing, one problem for each cure of the catalogue that changes it, if all are on one host."""
    found = defaultdict(list)
    for cause in causes.CAUSES.values():
        for variant in {**cause.touches, **cause.commands}:
            problem = Problem(cause.id, "node2", f"{cause.id} was seen", Same(), variant)
            found[causes.touches(problem)].append(problem)
    found.pop("", None)
    return found


PAIRS = [pair for alike in touching().values() for pair in itertools.permutations(alike, 2)]


def does(problem):
    found = {*(causes.shell_commands(problem) or [causes.cure(problem)])}
    return found | {START} if RESTART in found else found


def lossy(site, comment: str):
    """A host with a rule that drops data packets and has this comment, as iptables-save prints it."""
    text = f"-A INPUT -p udp -m udp --dport 4789 -m comment --comment {comment} -j DROP"
    rules = {"node2": (Rule("iptables-nft-save", "filter", 40, text),)}
    return with_ways(healthy(site), into("node2", udp={DATA: DROPPED}), rules=rules)


@pytest.mark.parametrize("name", SCENES)
def test_only_what_the_catalogue_allows_is_offered(site, name):
    found = explain(SCENES[name][0](healthy(site)))
    fixes = plan(found)
    allowed = [p for d in found for p in d.problems if p.variant in causes.of(p).fixes]
    assert bool(fixes) == bool(allowed)
    assert all(fix.host and fix.commands and fix.state is State.PENDING for fix in fixes)


def test_it_runs_where_the_rule_is_and_not_where_the_loss_was_seen(site):
    rules = {"node2": (Rule("iptables-nft-save", "filter", 40, RULE),)}
    seen = with_ways(healthy(site), into("node2", source="node1", udp={DATA: DROPPED}), rules=rules)
    (found,) = explain(seen)
    assert found.path == ("node1", "node2")
    assert [fix.host for fix in plan([found])] == ["node2"]


@pytest.mark.parametrize("comment", [r'"it\'s"', r'"$(touch /x)"', r'"`id`; reboot"', r'"a \" b"', r'"--modprobe=/x"'])
def test_what_a_comment_contains_stays_one_word(site, comment):
    (fix,) = plan(explain(lossy(site, comment)))
    (command,) = fix.commands
    words = shlex.split(command)
    assert words[:4] == ["iptables-nft", "-t", "filter", "-D"]
    assert words[words.index("--comment") + 2 :] == ["-j", "DROP"]


@pytest.mark.parametrize("comment", ['"two\nlines"', '"\u202egpj.exe"', '"\x00"', '"a\tb"', '"open'])
def test_what_can_not_be_shown_exactly_is_not_run(site, comment):
    assert plan(explain(lossy(site, comment))) == ()


def test_a_consequence_is_not_fixed(site):
    proof = Problem("overlay-blocked", "node2", "4 pairs failed", {"port": DATA}, network="demo")
    seen = failed(blocked(healthy(site)), ("node1", "node2"), problem=proof)
    assert [fix.cause for fix in plan(explain(seen))] == ["vxlan-blocked"]


def test_one_command_that_cures_two_causes_runs_once(site):
    seen = SCENES["gwbridge"][0](SCENES["firewall-reload"][0](healthy(site)))
    assert {found.id for found in explain(seen)} == {"firewall-reload", "gwbridge"}
    (fix,) = plan(explain(seen))
    assert (fix.host, fix.commands, fix.restarts) == ("node2", ("systemctl restart docker",), True)


def the_fix(seen) -> Fix:
    (fix,) = plan(explain(seen))
    return fix


def test_a_cause_that_still_holds_is_fixed_whatever_its_counters_say(site):
    seen = blocked(healthy(site))
    other = {"node2": (Rule("iptables-nft-save", "filter", 7, RULE),)}
    again = with_ways(healthy(site), into("node2", source="node3", udp={DATA: DROPPED}), rules=other)
    assert obstacle(the_fix(seen), problems(again), ()) == ""


def test_a_cause_that_is_gone_is_not_fixed(site):
    assert obstacle(the_fix(blocked(healthy(site))), problems(healthy(site)), ()) == "it is gone"
    elsewhere = with_ways(healthy(site), into("node3", udp={DATA: DROPPED}))
    assert obstacle(the_fix(blocked(healthy(site))), problems(elsewhere), ()) == "it is gone"


def test_a_rule_that_was_changed_meanwhile_is_left_alone(site):
    now = problems(lossy(site, '"another rule"'))
    assert "has changed" in obstacle(the_fix(blocked(healthy(site))), now, ())


@pytest.mark.parametrize(
    ("one", "other"), PAIRS, ids=lambda problem: f"{problem.id}{problem.variant and '.'}{problem.variant}"
)
def test_of_cures_that_contradict_each_other_only_the_first_is_shown_and_run(one, other):
    shown = apart([Diagnosis((one,)), Diagnosis((other,))])
    assert [each.evidence for each in shown] == [(one.evidence,), (other.evidence,)]
    agree = does(one) <= does(other) or does(other) <= does(one)
    second = of_diagnosis(shown[1])
    if agree:
        assert shown == (Diagnosis((one,)), Diagnosis((other,)))
        assert second == of_diagnosis(Diagnosis((other,)))
    else:
        (cure,) = second["cure"]
        assert cure.startswith(f"run the cure of {one.id} on node2 first, then look again: ")
        assert (second["commands"], second["advice"]) == ([], [cure])
        assert not second["fixable"]
    assert {fix.cause for fix in plan(shown)} <= ({one.id, other.id} if agree else {one.id})


def test_cures_that_change_different_things_or_different_hosts_are_all_shown():
    each = [found[0] for found in touching().values()]
    each += [replace(problem, host="node1") for problem in itertools.chain(*touching().values())][:1]
    shown = apart([Diagnosis((problem,)) for problem in each])
    assert [problem.after for found in shown for problem in found.problems] == [""] * len(each)


def test_contradictions_are_found_within_one_cause_too():
    stale = Problem(
        "fdb-stale", "node2", "wrong", {"host": "node2", "space": "1-a", "mac": "m", "device": "v", "right": "A"}
    )
    other = replace(stale, values={**stale.values, "right": "B"})
    (found,) = apart([Diagnosis((stale, other))])
    (fix,) = plan([found])
    assert "dst A " in fix.commands[0]
    assert causes.cure(found.problems[1]).startswith("run the cure of fdb-stale on node2 first")


def test_a_cause_that_has_to_wait_for_another_one_is_not_taken_for_cured():
    down = Problem("link-down", "node2", "down", {"host": "node2", "space": "1-a", "device": "v"})
    orphan = Problem("vxlan-exists", "node2", "left", down.values, "space")
    (fix,) = plan([Diagnosis((down,))])
    ran = replace(fix, state=State.CONVERGED)
    assert judged(ran, apart([Diagnosis((orphan,)), Diagnosis((down,))])).state is State.FAILED


def test_the_causes_of_a_run_have_no_cures_that_contradict_each_other(site):
    changed = Problem("address-changed", "node2", "it is known by 10.0.0.9", {"known": "10.0.0.9", "leave": "leave"})
    secondary = Problem("secondary-advertise", "node2", "it is secondary", {"primary": "10.0.0.2"})
    elsewhere = replace(secondary, host="node1", values={"primary": "10.0.0.1"})
    seen = replace(healthy(site), findings=(changed, secondary, elsewhere))
    cures = [(each.id, text) for each in explain(seen) for text in of_diagnosis(each)["cure"]]
    shown = [text for name, text in cures if name == "secondary-advertise"]
    assert sorted(shown) == sorted(map(causes.cure, (secondary, elsewhere)))
    (waits,) = (text for name, text in cures if name == "address-changed")
    assert waits.startswith("run the cure of secondary-advertise on node2 first, then look again")
    assert "10.0.0.9" not in waits


def test_after_a_failed_restart_no_other_engine_is_restarted(site):
    seen = SCENES["firewall-reload"][0](healthy(site))
    fix = the_fix(seen)
    before = replace(fix, host="node1", state=State.FAILED)
    assert "has failed" in obstacle(fix, problems(seen), [before])
    assert obstacle(fix, problems(seen), [replace(before, restarts=False)]) == ""


def test_a_fix_worked_only_if_its_cause_is_gone(site):
    seen = blocked(healthy(site))
    ran = replace(the_fix(seen), state=State.CONVERGED)
    assert judged(ran, explain(healthy(site))) == ran
    assert judged(ran, explain(seen)).state is State.FAILED
    skipped = replace(ran, state=State.SKIPPED)
    assert judged(skipped, explain(seen)) == skipped


def test_what_up_repairs_is_left_to_it(site):
    found = explain(SCENES["drift"][0](healthy(site)))
    assert plan(found) == ()
    assert [(fix.cause, fix.host, fix.state, fix.reason) for fix in left_to_up(found)] == [
        ("drift", "node2", State.SKIPPED, "`provisioner up` repairs it")
    ]


def test_fixes_come_in_the_order_of_the_causes(site):
    both = with_ways(healthy(site), into("node3", udp={GOSSIP: DROPPED}), into("node2", udp={DATA: DROPPED}))
    rules = {"node3": (Rule("iptables-nft-save", "filter", 9, "-A INPUT -p udp -m udp --dport 7946 -j DROP"),)}
    both = with_ways(
        both,
        into("node3", udp={GOSSIP: DROPPED}),
        into("node2", udp={DATA: DROPPED}),
        rules={"node2": (Rule("iptables-nft-save", "filter", 9, RULE),), **rules},
    )
    both = with_kernel(both, "node1", "sysctl", lambda text: text.replace("ip_forward=1", "ip_forward=0"))
    found = explain(both)
    assert [fix.cause for fix in plan(found)] == [each.id for each in found]


@pytest.mark.parametrize(
    "text",
    [
        "-A INPUT -j REJECT --reject-with icmp-host-prohibited",
        "-A INPUT -p udp -j DROP",
        "-A PROVISIONER -p udp -m udp --dport 4789 -j DROP",
    ],
)
def test_a_rule_that_protects_the_host_is_never_deleted(site, text):
    rules = {"node2": (Rule("iptables-nft-save", "filter", 40, text),)}
    (found,) = explain(with_ways(healthy(site), into("node2", udp={DATA: DROPPED}), rules=rules))
    assert (found.id, found.problems[0].variant) == ("vxlan-blocked", "wide")
    assert text in found.where
    assert plan([found]) == ()
    assert causes.to_run(found.problems[0]) == ()


def test_a_rule_that_two_tools_list_is_named_by_the_one_that_set_it(site):
    """Their counters are read one after the other, so either may have risen more."""
    for more, less in ((41, 40), (40, 41)):
        iptables = Rule("iptables-nft-save", "filter", more, RULE)
        nft = Rule("nft", "ip,filter,INPUT", less, "udp dport 4789 counter drop # handle 7")
        seen = with_ways(healthy(site), into("node2", udp={DATA: DROPPED}), rules={"node2": (iptables, nft)})
        assert the_fix(seen).commands[0].startswith("iptables-nft ")
    seen = with_ways(healthy(site), into("node2", udp={DATA: DROPPED}), rules={"node2": (nft,)})
    assert the_fix(seen).commands == ("nft delete rule ip filter INPUT handle 7",)
