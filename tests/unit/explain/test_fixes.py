"""The cures that `doctor --fix` offers. A cure that no longer applies, or contradicts an earlier one, does not run."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest
from scenes import DATA, DROPPED, GOSSIP, SCENES, blocked, failed, healthy, into, with_kernel, with_ways

from provisioner import causes
from provisioner.explain import explain, problems
from provisioner.explain.fixes import judged, left_to_up, obstacle, plan
from provisioner.model import Diagnosis, Fix, Problem, State
from provisioner.system.firewall import Rule

RULE = "-A INPUT -p udp -m udp --dport 4789 -j DROP"


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


def test_of_two_cures_that_contradict_each_other_one_is_run():
    stale = Problem(
        "fdb-stale", "node2", "wrong", {"host": "node2", "space": "1-a", "mac": "m", "device": "v", "right": "A"}
    )
    other = replace(stale, values={**stale.values, "right": "B"})
    first, second = plan([Diagnosis((stale,)), Diagnosis((other,))])
    assert obstacle(second, [stale, other], ()) == ""
    assert "run doctor again" in obstacle(second, [stale, other], [replace(first, state=State.CONVERGED)])
    assert obstacle(second, [stale, other], [replace(first, state=State.SKIPPED)]) == ""


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
