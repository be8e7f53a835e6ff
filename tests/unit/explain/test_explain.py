"""Each cause is found in its scene, at the right place, and never in a healthy scene. Consequences are hidden."""

from __future__ import annotations

import json
import string
from dataclasses import replace

import pytest
from captured import HOSTS, with_file, with_http, with_raw, with_system
from scenes import (
    DATA,
    DROPPED,
    GOSSIP,
    SCENES,
    SERVER,
    SPACE,
    behind_nat,
    blocked,
    facts,
    failed,
    healthy,
    into,
    kernel,
    running,
    with_containers,
    with_kernel,
    with_ways,
)

from provisioner import causes
from provisioner.explain import explain, explained, of_paths, paths, problems, suspected, well
from provisioner.model import Action, Drift, Failure, Kind, Missing, Outcome, Pair, Problem, ProofResult, State
from provisioner.observe import Observed, Wanted
from provisioner.observe.drops import Drop, Drops
from provisioner.observe.kernel import Kernel
from provisioner.observe.underlay import Attempt
from provisioner.report.document import of_diagnosis
from provisioner.system.firewall import Rule
from provisioner.system.swarm import STATE


def named(template):
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def test_a_healthy_cluster_has_no_problem(site):
    seen = healthy(site)
    assert not problems(seen)
    lines = well(seen, frozenset())
    assert any("4789/udp 6 of 6" in line and "1500 bytes" in line for line in lines)
    assert any("3 overlay namespaces" in line for line in lines)


@pytest.mark.parametrize("name", SCENES)
def test_each_cause_is_found_alone_and_at_its_place(site, name):
    scene, hosts = SCENES[name]
    found = explain(scene(healthy(site)))
    assert [(each.id, each.hosts) for each in found] == [(name, hosts)]


@pytest.mark.parametrize(
    ("other", "variant", "cause"),
    [
        ("engine-hangs", "frozen", Problem("no-route", "node2", "", target="node1")),
        ("store-hangs", "frozen", Problem("source-mismatch", "node2", "")),
        ("engine-hangs", "frozen", Problem("store-hangs", "node2", "", variant="frozen")),
        ("vxlan-exists", "", Problem("store-wiped", "", "", network="demo")),
    ],
)
def test_what_shows_its_own_reason_follows_from_nothing_else(site, other, variant, cause):
    seen = replace(healthy(site), findings=(cause, Problem(other, "node2", "", {"host": "node2"}, variant)))
    assert {each.id for each in explain(seen)} == {cause.id, other}


def test_a_route_covers_a_network_that_the_hosts_engine_does_not_list(site):
    seen = SCENES["route-shadow"][0](healthy(site))
    silent = replace(seen, site=seen.site.known("node2", with_http(facts("node2"), "networks", "000 timeout")))
    assert ("route-shadow", ("node2",)) in [(each.id, each.hosts) for each in explain(silent)]


@pytest.mark.parametrize(
    ("name", "host"), [("fdb-stale", "node1"), ("duplicate-ip", "node1"), ("gateway-given", "node2")]
)
def test_containers_of_a_host_whose_engine_lists_no_networks_are_known(site, name, host):
    seen = SCENES[name][0](healthy(site))
    silent = replace(seen, site=seen.site.known(host, with_http(facts(host), "networks", "000 timeout")))
    assert name in [each.id for each in explain(silent)]


def test_the_size_of_packets_is_known_without_a_proof(site):
    seen = replace(SCENES["mtu"][0](healthy(site)), proofs=())
    assert [(each.id, each.hosts) for each in explain(seen)] == [("mtu", ("node2",))]


def test_the_file_of_the_rules_differs_if_the_rules_do(site):
    drifts = (Drift(Kind.RULES, "nftables"), Drift(Kind.FILE, "/etc/provisioner/firewall.sh"))
    outcomes = (Outcome("node2", "firewall", State.DRIFTED, drifts),)
    assert [each.id for each in explain(replace(blocked(healthy(site)), outcomes=outcomes))] == ["vxlan-blocked"]


def test_a_cause_on_one_path_explains_no_loss_on_another_one(site):
    wrong = Problem("neighbour-wrong", "node2", "", target="node3")
    for ends, expected in (
        (("node3", "node1"), {"neighbour-wrong", "underlay-blocked"}),
        (("node3", "node2"), {"neighbour-wrong"}),
    ):
        seen = replace(
            healthy(site),
            findings=(wrong, Problem("underlay-blocked", ends[0], "", {"protocols": "x"}, target=ends[1])),
        )
        assert {each.id for each in explain(seen)} == expected


def test_an_engine_that_hangs_for_no_known_reason_follows_from_its_store(site):
    seen = replace(
        healthy(site), findings=tuple(Problem(name, "node2", "") for name in ("store-hangs", "engine-hangs"))
    )
    assert [each.id for each in explain(seen)] == ["store-hangs"]


@pytest.mark.parametrize("name", SCENES)
def test_a_problem_has_all_values_of_its_cure(site, name):
    for problem in problems(SCENES[name][0](healthy(site))):
        cause = causes.of(problem)
        text = cause.variants[problem.variant] if problem.variant else cause.cure
        wanted = named(text).union(*map(named, cause.commands.get(problem.variant, ())))
        assert wanted <= problem.values.keys()
        assert problem.evidence[-1] != "."


def test_a_quoted_word_of_a_rule_stays_one_word_in_the_command(site):
    rules = {
        "node2": (
            Rule(
                "iptables-save", "filter", 40, '-A INPUT -p udp --dport 4789 -m comment --comment "a; rm -rf /" -j DROP'
            ),
        )
    }
    seen = with_ways(healthy(site), into("node2", udp={DATA: DROPPED}), rules=rules)
    (found,) = explain(seen)
    (command,) = causes.to_run(found.problems[0])
    assert command == (
        "iptables -t filter -D INPUT -p udp --dport 4789 -m comment --comment 'a; rm -rf /' -j DROP  # on node2"
    )


FILTER = "inet,mine,in"


@pytest.mark.parametrize(
    ("text", "variant"),
    [
        ("udp dport 4789 ip saddr 192.168.56.11 drop # handle 7", "likely"),
        ("ip saddr 192.168.56.11 drop # handle 7", "outside"),
        ("udp dport vmap { 4789 : drop, 4790 : accept } # handle 7", "outside"),
        ("type filter hook input priority -5; policy drop;", "policy"),
        ("type filter hook output priority 0; policy drop;", "here"),
        ("tcp dport 9999 drop # handle 7", "here"),
        ("ip saddr 10.1.2.3 drop # handle 7", "here"),
    ],
)
def test_a_rule_of_nftables_without_a_counter_is_named_if_it_can_match(site, text, variant):
    rules = {"node2": (Rule("nft", FILTER, 0, text),)}
    (found,) = explain(with_ways(healthy(site), into("node2", source="node1", udp={DATA: DROPPED}), rules=rules))
    (problem,) = found.problems
    assert (found.id, problem.variant) == ("vxlan-blocked", variant)
    assert ("can match these packets" in problem.evidence) == (variant != "here")
    if variant == "likely":
        assert causes.to_run(problem) == ("nft delete rule inet mine in handle 7  # on node2",)
        assert not causes.fix(problem)


def test_a_rule_that_sends_the_packets_elsewhere_is_named(site):
    redirect = Rule(
        "iptables-nft-save", "nat", 3, "-A PREROUTING -p udp -m udp --dport 4789 -j REDIRECT --to-ports 4790"
    )
    published = Rule(
        "iptables-nft-save", "nat", 9, "-A DOCKER -p tcp --dport 80 -j DNAT --to-destination 172.17.0.2:80"
    )
    rules = {"node2": (published, redirect)}
    (found,) = explain(with_ways(healthy(site), into("node2", udp={DATA: DROPPED}), rules=rules))
    assert causes.to_run(found.problems[0])[0].startswith(
        "iptables-nft -t nat -D PREROUTING -p udp -m udp --dport 4789"
    )


def test_a_route_that_leads_elsewhere_is_named_if_nothing_arrives(site):
    route = [{"dst": "192.168.56.11", "dev": "docker0", "prefsrc": "172.17.0.1"}]
    kernels = healthy(site).observed.kernels
    changed = Kernel({**kernels["node2"].raw, "gets": json.dumps(route)})
    elsewhere = replace(healthy(site), observed=replace(healthy(site).observed, kernels={**kernels, "node2": changed}))
    assert not [each.id for each in explain(elsewhere)]
    for left in (0, 40):  # 40 left on the other interface, such as lo
        none = {"left": left, "arrived": 0, "passed": 0}
        lost = with_ways(elsewhere, into("node1", source="node2", udp={DATA: none, GOSSIP: none}))
        (found,) = explain(lost)
        assert (found.id, found.path, found.problems[0].variant) == ("no-route", ("node2", "node1"), "elsewhere")
        itself = Kernel(
            {**changed.raw, "gets": json.dumps([{**route[0], "type": "local", "dev": "lo"}])}
        )  # node2 has the address, too
        held = replace(lost, observed=replace(lost.observed, kernels={**kernels, "node2": itself}))
        assert "no-route" not in {each.id for each in problems(held)}


def test_a_host_that_drops_everything_is_one_problem_with_its_rule(site):
    policy = "type filter hook input priority -5; policy drop;"
    arrives = {DATA: {"passed": 0}, GOSSIP: {"passed": 0}}
    syn = Attempt("silent", left=3, arrived=3)
    seen = with_ways(
        healthy(site),
        into("node2", udp=arrives, tcp={GOSSIP: syn, SERVER: syn}),
        rules={"node2": (Rule("nft", FILTER, 0, policy),)},
    )
    (found,) = explain(seen)
    assert (found.id, found.hosts, found.path) == ("underlay-blocked", ("node2",), None)
    assert policy in found.problems[0].evidence
    assert found.problems[0].evidence.startswith("node1 > node2, node3 > node2: 4789/udp, 7946/udp, ")


def test_a_rule_that_drops_loopback_is_deleted_and_a_policy_gets_a_rule_before_it(site):
    (found,) = explain(SCENES["loopback-dropped"][0](healthy(site)))
    assert causes.to_run(found.problems[0]) == ("iptables-nft -t filter -D INPUT -i lo -j DROP  # on node2",)
    policy = with_kernel(
        healthy(site),
        "node2",
        "iptables-nft-save",
        lambda _: "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\nCOMMIT\n",
    )
    found = next(each for each in explain(policy) if each.id == "loopback-dropped")
    assert causes.to_run(found.problems[0]) == ("iptables-nft -I INPUT 1 -i lo -j ACCEPT  # on node2",)


def test_one_blocked_port_explains_all_pairs_that_failed(site):
    ways = [("node1", "node2"), ("node2", "node1"), ("node2", "node3"), ("node3", "node2")]
    proof = Problem("overlay-blocked", "node2", "4 pairs failed", {"port": DATA}, network="demo")
    (found,) = explain(failed(blocked(healthy(site)), *ways, problem=proof))
    assert (found.id, found.pairs, [each.id for each in found.explained]) == ("vxlan-blocked", 4, ["overlay-blocked"])


def test_the_reasons_of_the_kernel_are_evidence_at_their_host_and_in_their_direction(site):
    """The test's datagrams to the data port have an unused VNI, so the kernel drops them also if all is well."""
    firewall, unused = (
        Drop(40, "NETFILTER_DROP", "nft_do_chain"),
        Drop(9, "VXLAN_VNI_NOT_FOUND", "vxlan_rcv"),
    )
    outgoing = replace(firewall, incoming=False, reason="IP_OUTNOROUTES")
    drops = {"node1": Drops((replace(firewall, reason="OTHER"),)), "node2": Drops((firewall, unused, outgoing))}
    seen = blocked(healthy(site))
    (found,) = explain(replace(seen, observed=replace(seen.observed, drops=drops)))
    assert found.evidence[0].endswith(
        "; the kernel of node2 dropped packets of the test: NETFILTER_DROP in nft_do_chain (40)"
    )
    (without,) = explain(seen)
    assert "the kernel of" not in without.evidence[0]
    well = healthy(site)
    assert explain(replace(well, observed=replace(well.observed, drops=drops))) == ()


def test_a_foreign_rule_explains_the_drift_of_the_firewall_but_of_no_other_step(site):
    drifts = [
        Outcome(host, step, State.DRIFTED, (Drift(kind),))
        for host, step, kind in (
            ("node2", "firewall", Kind.RULES),
            ("node2", "daemon", Kind.FILE),
            ("node3", "firewall", Kind.RULES),
        )
    ]
    found = explain(replace(blocked(healthy(site)), outcomes=tuple(drifts)))
    assert [(each.id, each.hosts) for each in found] == [
        ("vxlan-blocked", ("node2",)),
        ("drift", ("node2", "node3")),
    ]
    assert [problem.where for problem in found[1].problems] == ["step daemon", "step firewall"]


@pytest.mark.parametrize("name", ["engine-hangs", "store-hangs"])
def test_a_service_that_a_signal_has_stopped_continues(site, name):
    unit = "containerd.service" if name == "engine-hangs" else "consul.service"
    seen = with_kernel(SCENES[name][0](healthy(site)), "node2", "stopped", lambda _: f"{unit} 4711\n")
    (found,) = explain(seen)
    assert (found.id, found.problems[0].where) == (name, unit)
    assert causes.to_run(found.problems[0]) == ("kill -CONT 4711  # on node2",)
    assert causes.fix(found.problems[0])


def test_an_engine_that_hangs_explains_what_waits_for_it_but_not_a_changed_file(site):
    drifts = (Drift(Kind.ENGINE, action=Action.WAIT), Drift(Kind.FILE, "/etc/docker/daemon.json"))
    hanging = SCENES["engine-hangs"][0](healthy(site))
    found = explain(replace(hanging, outcomes=(Outcome("node2", "daemon", State.DRIFTED, drifts),)))
    assert [each.id for each in found] == ["engine-hangs", "drift"]
    (drift,) = found[1].problems
    assert drift.evidence == "node2: daemon: /etc/docker/daemon.json"


def test_an_engine_on_another_store_explains_that_no_container_starts_there(site):
    """As after somebody edited daemon.json and restarted the engine."""
    probe = Problem("probe-failed", "node2", "network demo not found", network="demo")
    alone, both = ["drift"], ["drift", "probe-failed"]
    for kind, expected in ((Kind.ENGINE_USES, alone), (Kind.SWARM, alone), (Kind.RULES, both)):
        seen = failed(healthy(site), ("node1", "node2"), problem=probe)
        outcome = Outcome("node2", "daemon", State.DRIFTED, (Drift(kind, "store"),))
        assert [each.id for each in explain(replace(seen, outcomes=(outcome,)))] == expected


def test_an_engine_that_advertises_another_address_explains_its_entries_and_its_name(site):
    seen = SCENES["fdb-stale"][0](healthy(site))
    (stale,) = explain(seen)
    host = stale.problems[0].host
    renamed = Problem("duplicate-hostname", host, "minority in name conflict resolution")
    outcome = Outcome(host, "daemon", State.DRIFTED, (Drift(Kind.ENGINE_USES, "store"),))
    (found,) = explain(replace(seen, findings=(renamed,), outcomes=(outcome,)))
    assert found.id == "drift"
    assert {each.id for each in found.explained} == {"fdb-stale", "duplicate-hostname"}


@pytest.mark.parametrize(
    "of_the_engine", [("swarm", Drift(Kind.SWARM)), ("engines", Drift(Kind.PACKAGE, "docker.io"))], ids=lambda of: of[0]
)
def test_drift_of_several_steps_explains_the_proofs_that_fail_from_one_of_them(site, of_the_engine):
    """As before the first `up`: the hosts are in no swarm yet, or have no engine."""
    probe = Problem("probe-failed", "node2", "network demo not found", network="demo")
    seen = failed(healthy(site), ("node1", "node2"), ("node2", "node1"), problem=probe)
    drifts = (("version", Drift(Kind.FILE, "/etc/provisioner/version")), of_the_engine)
    outcomes = tuple(Outcome("node2", step, State.DRIFTED, (drift,)) for step, drift in drifts)
    (found,) = explain(replace(seen, outcomes=outcomes))
    assert (found.id, found.pairs, [problem.id for problem in found.explained]) == ("drift", 2, ["probe-failed"])


def test_what_the_store_says_of_a_host_follows_from_the_path_that_cuts_it_off(site):
    waiting = Drift(Kind.STORE, "members", "without node2", "all hosts", Action.WAIT, "Consul")
    apart = SCENES["underlay-blocked"][0](healthy(site))
    (found,) = explain(replace(apart, outcomes=(Outcome("node3", "store", State.DRIFTED, (waiting,)),)))
    assert (found.id, found.hosts) == ("underlay-blocked", ("node1", "node2"))
    (alone,) = explain(replace(healthy(site), outcomes=(Outcome("node3", "store", State.DRIFTED, (waiting,)),)))
    assert (alone.id, alone.hosts) == ("drift", ("node3",))


def test_a_rule_that_drops_all_forwarded_packets_counts_only_in_front_of_the_engine_s_rules(site):
    def forward(rule):
        return with_kernel(healthy(site), "node2", "iptables-nft-save", rule)

    before = forward(
        lambda text: text.replace("-A FORWARD -j DOCKER-USER", "-A FORWARD -j DROP\n-A FORWARD -j DOCKER-USER")
    )
    (found,) = explain(before)
    assert (found.id, found.hosts) == ("forward-dropped", ("node2",))
    assert causes.to_run(found.problems[0]) == ("iptables-nft -D FORWARD -j DROP  # on node2",)
    lines = kernel("node2").raw["iptables-nft-save"].split("\n")
    last = max(at for at, line in enumerate(lines) if line.startswith("-A FORWARD"))
    after = "\n".join([*lines[: last + 1], "-A FORWARD -j DROP", *lines[last + 1 :]])
    assert not explain(forward(lambda _: after))


def test_the_interface_of_a_container_that_is_down(site):
    (space,) = (space for space in kernel("node2").spaces.values() if not space.network and space.inner)
    (_, mac), *_ = space.inner
    seen = with_kernel(
        healthy(site),
        "node2",
        f"space:{space.name}:links",
        lambda links: [{**each, "flags": []} if each.get("address") == mac else each for each in links],
    )
    (found,) = explain(seen)
    assert (found.id, found.hosts, found.problems[0].network) == ("link-down", ("node2",), "demo")


@pytest.mark.parametrize("flags", [["UP"], []])
def test_an_interface_of_the_routing_mesh_that_is_down(site, flags):
    mesh = [{"ifname": "eth1", "flags": flags, "linkinfo": {"info_kind": "veth"}}]
    found = problems(with_kernel(healthy(site), "node2", "space:ingress_sbox:links", lambda _: json.dumps(mesh)))
    assert [(each.id, each.host) for each in found] == ([] if flags else [("link-down", "node2")])


def test_a_kernel_that_lacks_what_an_existing_network_needs(site):
    seen = healthy(site)
    facts = seen.site.facts["node2"]
    lacking = replace(seen, site=seen.site.known("node2", with_system(facts, "lacks=", "vxlan")))
    (found,) = problems(lacking)
    assert (found.id, found.host, found.network) == ("kernel-without", "node2", "demo")


def test_the_namespace_of_a_swarm_s_ingress_is_not_an_orphan(site):
    ingress = {"Name": "ingress", "Id": "afxei5yzxgg9", "Driver": "overlay", "Scope": "swarm", "Ingress": True}
    vxlan = {"ifname": "vxlan0", "flags": ["UP"], "linkinfo": {"info_kind": "vxlan", "info_data": {"id": 4096}}}
    for networks, expected in (([ingress], []), ([], ["vxlan-exists"])):
        changed = with_http(facts("node2"), "networks", [*facts("node2").networks.values(), *networks])
        seen = with_kernel(
            healthy(site, node2=changed), "node2", "space:1-afxei5yzxg:links", lambda _: json.dumps([vxlan])
        )
        assert [each.id for each in problems(seen)] == expected
    with_container = [vxlan, {"ifname": "veth0", "flags": ["UP"], "linkinfo": {"info_kind": "veth"}}]
    later = with_kernel(healthy(site), "node2", "space:1-afxei5yzxg:links", lambda _: json.dumps(with_container))
    assert not problems(later), "a network that was created after the engine listed its networks"


def test_a_problem_of_a_host_is_not_repeated_for_its_networks(site):
    whole = Problem("node-resting", "node2", "its node is drained", {"node": "x"})
    again = Problem("node-resting", "node2", "no probe on node2", {"node": "x"}, network="demo")
    other = Problem("node-resting", "node3", "no probe on node3", {"node": "y"}, network="demo")
    seen = replace(failed(healthy(site), ("node1", "node2"), problem=again), findings=(whole,))
    assert [(each.id, each.hosts, each.network) for each in explain(seen)] == [("node-resting", ("node2",), "")]
    seen = replace(failed(healthy(site), ("node1", "node2"), problem=other), findings=(whole,))
    assert [each.hosts for each in explain(seen)] == [("node2",), ("node3",)]


def test_a_manager_that_is_cut_off_hangs_because_of_that(site):
    hanging = Problem("engine-hangs", "node2", "no answer in time", {"host": "node2"})
    seen = replace(SCENES["manager-blocked"][0](healthy(site)), findings=(hanging,))
    (found,) = explain(seen)
    assert (found.id, [each.id for each in found.explained]) == ("manager-blocked", ["engine-hangs"])


@pytest.mark.parametrize("host", ["", "node2"])
def test_an_engine_that_differs_is_not_why_two_hosts_have_one_name_unless_only_its_log_says_so(site, host):
    drift = Outcome("node2", "daemon", State.DRIFTED, (Drift(Kind.ENGINE_USES, "cluster-advertise"),))
    named = Problem("duplicate-hostname", host, "one name")
    seen = replace(healthy(site), findings=(named,), outcomes=(drift,))
    assert ("duplicate-hostname" in {each.id for each in explain(seen)}) == (not host)


def test_other_managers_hang_while_their_leader_is_blocked_unless_their_engine_is_stopped(site):
    hanging, stopped = (
        Problem("engine-hangs", host, "no answer in time", {"host": host}, variant)
        for host, variant in (("node1", ""), ("node3", "frozen"))
    )
    seen = replace(SCENES["manager-blocked"][0](healthy(site)), findings=(hanging, stopped))
    assert {(each.id, each.hosts) for each in explain(seen)} == {
        ("manager-blocked", ("node2",)),
        ("engine-hangs", ("node3",)),
    }


def test_a_store_that_is_down_on_its_hosts_explains_that_it_has_no_leader_and_that_engines_hang(site):
    """On the third host, whose server still runs. The cure of a hanging engine would be a restart, which does not help."""
    down = tuple(Problem("store-down", host, "Consul does not run on this host") for host in ("node1", "node2"))
    leaderless = Problem("store-no-leader", "node3", "Consul has no leader", variant="managed")
    hanging = Problem("engine-hangs", "node3", "no answer in time", {"host": "node3"})
    (found,) = explain(replace(healthy(site), findings=(*down, leaderless, hanging)))
    assert (found.id, found.hosts) == ("store-down", ("node1", "node2"))
    assert {each.id for each in found.explained} >= {"store-no-leader"}
    (found,) = explain(replace(healthy(site), findings=(leaderless, hanging)))
    assert (found.id, [each.id for each in found.explained]) == ("store-no-leader", ["engine-hangs"])


@pytest.mark.parametrize(("gone", "named"), [(("node1", "node2"), 1), (("node2",), 2)])
def test_hosts_that_take_the_majority_away_explain_probes_that_do_not_start_elsewhere(site, gone, named):
    failure = Problem("probe-failed", "node3", "network demo not found", network="demo")
    seen = failed(healthy(site), ("node3", "node1"), problem=failure)
    causes_ = explain(replace(seen, lost={host: Failure(f"{host}: no answer", "host-unreachable") for host in gone}))
    assert {each.id for each in causes_} == ({"host-lost"} if named == 1 else {"host-lost", "probe-failed"})
    if named == 1:
        assert "store-no-leader" in {each.id for cause in causes_ for each in cause.explained}


def test_one_cause_on_several_networks_is_one(site):
    for host, target in (("node1", ""), ("node1", "node2")):
        found = tuple(
            Problem("engine-limited" if not target else "path-mtu", host, f"on {name}", target=target, network=name)
            for name in ("a", "b")
        )
        (cause,) = explain(replace(healthy(site), findings=found))
        assert (cause.network, cause.evidence, cause.path) == ("", ("on a", "on b"), (host, target) if target else None)


def test_hosts_that_dropped_out_for_one_reason_are_one_cause(site):
    """Each has a cure of its own, which contains its address."""
    texts = {host: f"{host}: the login is refused\n  next:  try it: ssh {host}" for host in ("node1", "node2")}
    lost = {host: Failure(text, "login-refused") for host, text in texts.items()}
    lost["node3"] = Failure("node3: no answer", "host-unreachable")
    assert [each.hosts for each in explain(replace(healthy(site), lost=lost))] == [("node1", "node2"), ("node3",)]


def test_the_document_of_a_cause_has_the_form_that_programs_read(site):
    (found,) = explain(blocked(healthy(site)))
    document = of_diagnosis(found)
    rule = "-A INPUT -p udp -m udp --dport 4789 -j DROP"
    assert document["cure"] == [f"iptables-nft -t filter -D {rule.removeprefix('-A ')}  # on node2"]
    assert rule in document["where"]
    assert {key: document[key] for key in ("id", "severity", "hosts", "path", "network", "fixable")} == {
        "id": "vxlan-blocked",
        "severity": "error",
        "hosts": ["node2"],
        "path": None,
        "network": None,
        "fixable": True,
    }


def test_a_path_names_both_its_ends(site):
    (found,) = explain(with_ways(healthy(site), into("node2", source="node3", udp={DATA: {"arrived": 0, "passed": 0}})))
    document = of_diagnosis(found)
    assert (document["hosts"], document["path"]) == (["node3", "node2"], {"from": "node3", "to": "node2"})
    assert document["where"] == "between node3 and node2"


def test_two_faults_at_once_are_both_named(site):
    seen = with_kernel(
        blocked(healthy(site)), "node3", "sysctl", lambda text: text.replace("ip_forward=1", "ip_forward=0")
    )
    assert {found.id for found in explain(seen)} == {"vxlan-blocked", "ip-forward"}
    both = with_ways(healthy(site), into("node2", udp={DATA: DROPPED}), into("node3", udp={GOSSIP: DROPPED}))
    assert {(found.id, found.hosts) for found in explain(both)} == {
        ("vxlan-blocked", ("node2",)),
        ("gossip-udp", ("node3",)),
    }


@pytest.mark.parametrize(("host", "expected"), [("node2", ["vxlan-lost"]), ("node1", ["fdb-lost", "vxlan-lost"])])
def test_a_device_that_is_set_down_loses_its_own_entries(site, host, expected):
    """node2 has no entry for a container on node1. That follows if its own device is down, and not if the one of node1 is."""
    lost = SCENES["fdb-lost"][0](healthy(site))
    seen = with_kernel(
        lost,
        host,
        f"space:{SPACE}:links",
        lambda links: [{**each, "flags": []} if "vxlan" in json.dumps(each) else each for each in links],
    )
    assert sorted(found.id for found in explain(seen)) == expected


def test_a_consequence_elsewhere_is_a_cause_of_its_own(site):
    proof = Problem("overlay-blocked", "node1", "2 pairs failed", {"port": DATA}, network="demo", target="node3")
    found = explain(failed(blocked(healthy(site)), ("node1", "node3"), problem=proof))
    assert {each.id for each in found} == {"overlay-blocked", "vxlan-blocked"}


@pytest.mark.parametrize(("name", "more"), [("duplicate-ip", ["transfer-stalled"]), ("packet-loss", [])])
def test_a_transfer_stalls_from_loss_but_not_from_the_address_of_one_container(site, name, more):
    """Nor from what breaks all connections: a proof would have seen these."""
    scene, hosts = SCENES[name]
    problem = Problem("transfer-stalled", hosts[0], "40 kB of 1 MB", network="demo")
    proof = ProofResult("overlay", "demo", State.FAILED, problems=(problem,))
    found = explain(replace(scene(healthy(site)), proofs=(proof,)))
    assert [each.id for each in found] == [name, *more]


def test_a_host_that_dropped_out_is_named_with_the_id_of_its_error(site):
    (found,) = problems(SCENES["host-lost"][0](healthy(site)))
    assert found.evidence == "no answer (host-unreachable)"
    assert causes.cure(found) == "look at it"


def test_waiting_ends_only_if_all_missing_pairs_are_explained(site):
    found = problems(blocked(healthy(site)))
    assert explained(found, {Missing("node1", "node2", "demo"), Missing("node2", "node3", "demo")})
    assert not explained(found, {Missing("node1", "node2", "demo"), Missing("node1", "node3", "demo")})
    assert not explained(found, {Missing("node2", "", "demo")})  # its probe starts all the same
    assert explained(problems(SCENES["manager-blocked"][0](healthy(site))), {Missing("node2", "", "demo")})
    assert not explained(problems(SCENES["manager-blocked"][0](healthy(site))), {Missing("node1", "", "demo")})
    assert not explained([], {Missing("node1", "node2", "demo")})
    between = problems(with_ways(healthy(site), into("node2", source="node1", udp={DATA: DROPPED})))
    assert {(each.host, each.target) for each in between} == {("node1", "node2")}
    assert explained(between, {Missing("node1", "node2", "demo"), Missing("node2", "node1", "demo")})
    assert not explained(between, {Missing("node1", "node3", "demo")})
    assert explained(between, {Missing("node1", "node3", "demo")}, late=True)
    narrow = problems(SCENES["mtu"][0](healthy(site)))
    assert not explained(narrow, {Missing("node1", "node2", "demo")}), "names and addresses may still come"
    assert explained(narrow, {Missing("node1", "node2", "demo")}, late=True)
    assert not explained(narrow, {Missing("node1", "node3", "demo")}, late=True)
    assert not explained(problems(SCENES["ip-forward"][0](healthy(site))), {Missing("node1", "node2", "demo")})


def test_what_is_wrong_with_one_network_does_not_explain_what_another_one_waits_for(site):
    for problem in (
        Problem("vni-mismatch", "node1", "", network="other"),
        Problem("lost-in-overlay", "node1", "", network="other"),
    ):
        assert explained([problem], {Missing("node1", "node2", "other")}, late=True)
        assert not explained(
            [problem], {Missing("node1", "node2", "other"), Missing("node1", "node2", "demo")}, late=True
        )


def test_without_output_of_the_receiver_no_loss_is_reported(site):
    seen = healthy(site)
    seen = with_ways(seen, lambda way: replace(way, udp={}) if way.target == "node2" else way)
    assert not problems(seen)


def test_a_temporary_problem_is_not_reported(site):
    well_before = replace(blocked(healthy(site)), earlier=healthy(site).observed)
    assert not problems(well_before)
    ill_before = replace(blocked(healthy(site)), earlier=blocked(healthy(site)).observed)
    assert [found.id for found in explain(ill_before)] == ["vxlan-blocked"]


def test_a_router_that_answers_for_all_hosts_is_not_a_conflict(site):
    router = "12:34:56:78:9a:bc"
    macs = {
        (asker, of): (router,)
        for asker in ("node1", "node2", "node3")
        for of in ("node1", "node2", "node3")
        if asker != of
    }
    assert not problems(with_ways(healthy(site), macs=macs))


@pytest.mark.parametrize("lost", [False, True])
def test_the_host_that_has_another_one_s_address_is_named(site, lost):
    """Also if SSH reaches the wrong machine instead of the owner, and refuses its key."""
    taker = facts("node3")
    addresses = taker.raw["addresses"] + "eth0 192.168.56.12 255.255.255.255\n"
    seen = healthy(site, node3=with_raw(taker, addresses=addresses))
    if lost:
        kernels = {name: kernel for name, kernel in seen.observed.kernels.items() if name != "node2"}
        seen = replace(
            seen,
            observed=replace(seen.observed, kernels=kernels),
            lost={"node2": Failure("node2: the host key is another one", "host-key-changed")},
        )
    (found,) = explain(seen)
    assert (found.id, found.hosts) == ("address-conflict", ("node2",))
    assert causes.to_run(found.problems[0]) == ("ip address del 192.168.56.12/32 dev eth0  # on node3",)


def test_two_machines_that_answer_for_a_host_that_was_not_read(site):
    seen = with_ways(healthy(site), macs={("node1", "node2"): ("02:00:00:00:00:98", "02:00:00:00:00:99")})
    kernels = {name: kernel for name, kernel in seen.observed.kernels.items() if name != "node2"}
    seen = replace(seen, observed=replace(seen.observed, kernels=kernels))
    (found,) = explain(seen)
    assert (found.id, found.hosts) == ("address-conflict", ("node2",))
    assert found.problems[0].evidence.endswith("of node2, and 02:00:00:00:00:98, 02:00:00:00:00:99 answered")


def test_devices_and_routes_of_other_programs_are_not_reported(site):
    theirs = {"ifname": "flannel.1", "linkinfo": {"info_kind": "vxlan", "info_data": {"id": 300, "port": DATA}}}
    seen = with_kernel(healthy(site), "node2", "links", lambda links: [*links, theirs])
    assert not problems(seen)
    seen = with_kernel(
        healthy(site), "node2", "routes", lambda routes: [*routes, {"dst": "10.100.0.0/16", "dev": "tun0"}]
    )
    assert not problems(seen)


@pytest.mark.parametrize(("ports", "expected"), [(1023, ["bridge-full"]), (900, [])])
def test_the_bridge_in_an_overlay_s_namespace_can_be_full(site, ports, expected):
    more = [{"ifname": f"veth{number}", "master": "br0"} for number in range(ports)]
    seen = with_kernel(healthy(site), "node2", f"space:{SPACE}:links", lambda links: [*links, *more])
    assert [(each.id, each.network) for each in problems(seen)] == [(name, "demo") for name in expected]


def test_a_data_path_of_its_own_is_no_stale_entry(site):
    """As with `docker swarm init --data-path-addr`."""
    node2 = with_file(facts("node2"), STATE, '{"DataPathAddr": "10.1.0.2"}')

    def moved(entries):
        return [each | {"dst": "10.1.0.2"} if each.get("dst") == "192.168.56.12" else each for each in entries]

    seen = healthy(site, node2=node2)
    assert {problem.id for problem in problems(seen)} == {"fdb-stale"}
    for name in ("node1", "node3"):
        seen = with_kernel(seen, name, f"space:{SPACE}:forwarding", moved)
    assert not problems(seen)


def test_rules_that_only_accept_in_the_other_backend_split_nothing(site):
    theirs = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp --dport 9100 -j ACCEPT\n"
    seen = with_kernel(healthy(site), "node2", "iptables-legacy-save", lambda _: theirs)
    assert not problems(seen)
    seen = with_kernel(
        healthy(site), "node2", "iptables-legacy-save", lambda _: theirs.replace(":INPUT ACCEPT", ":INPUT DROP")
    )
    assert {each.id for each in problems(seen)} >= {"iptables-split"}


def test_chains_that_accept_loopback_let_engines_reach_their_store(site):
    theirs = "*filter\n:INPUT DROP [0:0]\n-A INPUT -j before\n-A before -i lo -j ACCEPT\n-A INPUT -p tcp --dport 22 -j ACCEPT\n"
    for rules, expected in ((theirs, []), (theirs.replace("-i lo", "-i eth0"), ["loopback-dropped"])):
        seen = with_kernel(healthy(site), "node2", "iptables-legacy-save", lambda _, rules=rules: rules)
        assert [each.id for each in problems(seen) if each.id == "loopback-dropped"] == expected


def test_a_rule_for_one_port_does_not_drop_all_of_loopback(site):
    rule = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp --dport {} -j DROP\n"
    for ports, expected in (("7946", []), ("1:9000", ["loopback-dropped"])):
        seen = with_kernel(healthy(site), "node2", "iptables-legacy-save", lambda _, ports=ports: rule.format(ports))
        assert [each.id for each in problems(seen) if each.id == "loopback-dropped"] == expected


def test_a_rule_for_the_port_on_which_the_store_does_not_answer_its_own_host(site):
    rule = "-A INPUT -i lo -p tcp -m tcp --dport 8500 -j DROP"
    seen = with_kernel(
        healthy(site), "node2", "iptables-nft-save", lambda text: text.replace("-A INPUT", f"{rule}\n-A INPUT", 1)
    )
    assert not problems(seen), "the store answers all the same"
    facts = seen.site.facts["node2"]
    for request in seen.site.backend.sought.requests:
        facts = with_http(facts, request.name, "000 timeout") if request.where == "8500" else facts
    (found,) = explain(replace(seen, site=seen.site.known("node2", facts)))
    assert (found.id, found.hosts, {each.id for each in found.explained}) == (
        "loopback-dropped",
        ("node2",),
        {"store-hangs"},
    )
    assert causes.to_run(found.problems[0]) == (f"iptables-nft -t filter -D {rule[3:]}  # on node2",)


def test_a_full_neighbour_table_of_ipv6_does_not_concern_overlays(site):
    line = "[12.0] neighbour: {}: neighbor table overflow!\n"
    for table, expected in (("ndisc_cache", []), ("arp_cache", ["neigh-overflow"])):
        seen = with_kernel(healthy(site), "node2", "kernel-log", lambda _, table=table: line.format(table))
        assert [each.id for each in problems(seen)] == expected


def test_a_path_that_is_just_as_wide_as_the_network_needs_is_wide_enough(site):
    """Only sizes that were tried show how wide a path is."""
    seen = healthy(site)
    (proof,) = seen.proofs
    for needed, sizes, largest, expected in (
        (1391, (1380, 1391, 1400), 1391, []),
        (1391, (1380, 1391, 1400), 1380, ["mtu"] * 6),
        (9001, (1500, 9000), 9000, []),
    ):
        ways = with_ways(seen, lambda way, largest=largest: replace(way, size=largest), sizes=sizes)
        found = problems(replace(ways, proofs=(replace(proof, mtu=needed - 50),)))
        assert [each.id for each in found] == expected[:1]


def test_many_networks_and_hosts_are_counted_where_all_is_well(site):
    seen = healthy(site)
    (proof,) = seen.proofs
    lines = well(replace(seen, proofs=tuple(replace(proof, network=f"net{n}") for n in range(4))), frozenset())
    assert [line for line in lines if "proof" in line] == ["proof overlay on 4 networks, 24 pairs"]
    assert [line for line in well(seen, frozenset()) if "proof" in line] == ["proof overlay/demo, 6 pairs"]


def test_two_short_lived_namespaces_are_not_one_orphan(site):
    """A network that exists for a moment is unknown to the facts, which are older than the observation."""
    vxlan = {"ifname": "vxlan0", "flags": ["UP"], "linkinfo": {"info_kind": "vxlan", "info_data": {"id": 300}}}
    first, second = (
        with_kernel(healthy(site), "node2", f"space:1-{network}:links", lambda _: json.dumps([vxlan]))
        for network in ("aaaaaaaaaa", "bbbbbbbbbb")
    )
    assert [each.id for each in problems(replace(first, earlier=first.observed))] == ["vxlan-exists"]
    assert not problems(replace(first, earlier=second.observed))


@pytest.mark.parametrize(
    ("name", "paths", "read"),
    [("ip-forward", (), HOSTS), ("engine-down", (), HOSTS), ("vxlan-blocked", ("node2",), ("node2",))],
)
def test_only_observations_that_show_problems_are_repeated(site, name, paths, read):
    seen = SCENES[name][0](healthy(site))
    again = suspected(seen)
    assert again == Wanted(frozenset(paths), frozenset(read))
    assert not suspected(healthy(site))
    fresh = Observed(kernels={}, unread={("kernel", "node3"): "late"})
    first = replace(seen.observed, unread={("underlay", "node1"): "late", ("kernel", "node2"): "late"})
    both = first.repeated(fresh, again)
    assert set(both.kernels) == set(HOSTS) - set(read)
    assert set(both.underlay.paths) == {way for way in first.underlay.paths if {*way}.isdisjoint(paths)}
    assert both.unread == fresh.unread | ({} if paths else {("underlay", "node1"): "late"})


@pytest.mark.parametrize(
    ("known", "effect"),
    [
        (1500, "larger ones vanish, and the sender does not know"),
        (1410, "the sender knows, and splits larger ones"),
    ],
)
def test_a_narrow_path_is_reported_to_the_sender_or_not(site, known, effect):
    (found,) = explain(with_ways(healthy(site), into("node2", source="node1", size=1400, mtu=known)))
    assert found.problems[0].evidence.endswith(f"the largest packets that arrived: node1 > node2: 1400 bytes; {effect}")


def test_nat_between_hosts_is_named_with_the_address_that_it_puts_in(site):
    (found,) = explain(with_ways(healthy(site), behind_nat("node2")))
    (problem,) = found.problems
    assert problem.where == "between node2 and node1, node3"
    assert problem.evidence == (
        "packets from node2 arrive at node1 with the source address 192.168.56.254; they left node2 from 192.168.56.12, which it"
        " advertises"
    )
    assert "exempt 192.168.56.12 from the rule of the router that replaces it by 192.168.56.254" in causes.cure(problem)
    assert {each.id for each in found.explained} == {"vxlan-blocked", "gossip-udp"}


def test_nat_explains_that_an_encrypted_network_does_not_work(site):
    seen = with_ways(healthy(site), behind_nat("node2"))
    inventory = seen.site.inventory
    demo = inventory.networks["demo"].model_copy(update={"encrypted": True})
    secret = replace(seen.site, inventory=inventory.model_copy(update={"networks": {"demo": demo}}))
    (found,) = explain(replace(seen, site=secret))
    (esp,) = [each for each in found.explained if each.id == "esp-nat"]
    assert (found.id, esp.network) == ("nat-between", "demo")
    assert "the network demo can't work through NAT" in causes.cure(esp)


@pytest.mark.parametrize(
    ("rule", "warns"),
    [
        ("-A DOCKER-USER -j DROP", False),
        ("-A DOCKER-USER -i docker_gwbridge -j DROP", True),
        ("-A DOCKER-USER -i eth0 -j DROP", None),
        ("-A DOCKER-USER -p udp -j DROP", None),
    ],
)
def test_rules_for_forwarded_packets_count_where_containers_send_to_the_outside(site, rule, warns):
    seen = with_containers(healthy(site), "node2", running("web"))
    seen = with_kernel(seen, "node2", "iptables-nft-save", lambda text: text.replace("-A DOCKER-USER -j RETURN", rule))
    found = explain(seen)
    assert [(each.id, each.problems[0].warns) for each in found] == (
        [("forward-dropped", warns)] if warns is not None else []
    )
    for each in found:
        assert causes.to_run(each.problems[0]) == (f"iptables-nft -D {rule.removeprefix('-A ')}  # on node2",)


@pytest.mark.parametrize(
    ("refused", "drops", "where"),
    [
        ("", {"XfrmInPolBlock": 22}, "node2: a policy of IPsec"),
        ("", {"IPReversePathFilter": 20}, "node2: the reverse path filter"),
        ("", {"IPReversePathFilter": 2}, "node2"),
        ("", {}, "node2"),
    ],
)
def test_what_drops_packets_besides_rules_is_known_from_counters_of_the_kernel(site, refused, drops, where):
    seen = with_ways(healthy(site), into("node2", udp={DATA: DROPPED}), drops={"node2": drops})
    (found,) = explain(seen)
    (problem,) = found.problems
    assert (found.id, problem.where) == ("vxlan-blocked", where)
    assert ("rose by" in problem.evidence) == (problem.variant == "elsewhere") == (where != "node2")


def test_a_rule_for_routes_that_discards_is_known_from_the_answer_of_the_sender_s_kernel(site):
    refused = {"left": 0, "arrived": 0, "passed": 0, "refused": "Permission denied"}
    (found,) = explain(with_ways(healthy(site), into("node1", source="node2", udp={DATA: refused})))
    assert found.problems[0].where == "node2: a rule or a route that discards packets"
    assert "ip rule; ip route show table all" in causes.cure(found.problems[0])


def test_one_rule_for_all_of_udp_is_named_first_for_what_containers_feel(site):
    rules = {"node2": (Rule("iptables-nft-save", "filter", 90, "-A MYFW -p udp -j DROP"),)}
    seen = with_ways(healthy(site), into("node2", udp={DATA: DROPPED, GOSSIP: DROPPED}), rules=rules)
    assert [
        found.id for found in explain(failed(seen, ("node1", "node2"), problem=Problem("overlay-blocked", "node2", "")))
    ] == [
        "vxlan-blocked",
        "gossip-udp",
    ]


def test_a_host_of_the_cluster_that_answers_for_another_one_is_named(site):
    (mine,) = [link["address"] for link in kernel("node3").links if link["ifname"] == "eth0"]
    owner = "02:00:00:00:00:99"
    seen = with_ways(healthy(site), macs={("node1", "node2"): (owner, mine)})
    kernels = {name: kernel for name, kernel in seen.observed.kernels.items() if name != "node2"}
    (found,) = explain(replace(seen, observed=replace(seen.observed, kernels=kernels)))
    (problem,) = found.problems
    assert (found.id, found.hosts, problem.variant) == ("address-conflict", ("node2",), "answers")
    assert problem.evidence.endswith(f"of node2, and {mine} of node3 answered")


def test_a_route_with_a_small_mtu_is_named_if_full_size_packets_fail(site):
    seen = with_ways(healthy(site), into("node1", source="node2", mtu=1000))
    assert not explain(seen)
    pair = Pair("node2", "node1", name=0.1, address=0.1, by_name=0.1, alias=0.1)
    proof = ProofResult(
        "overlay", "demo", State.FAILED, (pair,), problems=(Problem("path-mtu", "node2", "", target="node1"),), mtu=1450
    )
    (found,) = explain(replace(seen, proofs=(proof,)))
    assert (found.id, found.path, found.problems[0].variant) == ("mtu", ("node2", "node1"), "assumed")
    assert "an MTU of 1000 for 192.168.56.11" in found.problems[0].evidence


def port(change):
    """Return a change of the links of an overlay's namespace: `change` alters the data of its VXLAN device as a port of the bridge."""

    def changed(links):
        return [{**link, **change(link)} if link["ifname"] == "vxlan0" else link for link in links]

    return changed


def of_slave(**values):
    return port(
        lambda link: {
            "linkinfo": {**link["linkinfo"], "info_slave_data": {**link["linkinfo"]["info_slave_data"], **values}}
        }
    )


def of_device(**values):
    return port(
        lambda link: {"linkinfo": {**link["linkinfo"], "info_data": {**link["linkinfo"]["info_data"], **values}}}
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (of_slave(state="blocking"), ("link-down", "port")),
        (of_slave(isolated=True), None),  # alone, it is isolated from nobody
        (port(lambda _: {"master": ""}), ("link-down", "apart")),
        (of_device(port=4790), ("vxlan-lost", "other")),
        (of_device(local="192.168.56.12"), None),
        (of_device(local="192.168.56.99"), ("vxlan-lost", "other")),
    ],
)
def test_a_device_of_an_overlay_that_is_up_and_passes_nothing(site, change, expected):
    found = explain(with_kernel(healthy(site), "node2", f"space:{SPACE}:links", change))
    assert [(each.id, each.problems[0].variant) for each in found] == ([expected] if expected else [])
    for each in found:
        assert causes.to_run(each.problems[0])


@pytest.mark.parametrize(("port", "expected"), [(DATA, "vxlan-blocked"), (53, "overlay-blocked")])
def test_a_rule_that_looks_into_the_packets_drops_only_those_of_containers(site, port, expected):
    rules = {
        "node2": (
            Rule("iptables-nft-save", "filter", 9, f"-A INPUT -p udp -m udp --dport {port} -m u32 --u32 0x0 -j DROP"),
        )
    }
    seen = with_ways(healthy(site), rules=rules)
    assert not explain(seen)
    (found,) = explain(
        failed(seen, ("node1", "node2"), problem=Problem("overlay-blocked", "node2", "", {"port": DATA}))
    )
    assert (found.id, found.hosts) == (expected, ("node2",))


@pytest.mark.parametrize(("rules", "found"), [("", True), ("main", False), ("main 7", True)])
def test_a_route_counts_if_a_rule_uses_its_table(site, rules, found):
    route = {"dst": "10.99.0.0/16", "dev": "tun0", "table": "7"}
    seen = with_kernel(healthy(site), "node2", "routes", lambda routes: [*routes, route])
    used = [{"priority": 9, "src": "all", "table": table} for table in rules.split()]
    raw = {**seen.observed.kernels["node2"].raw, "rules": json.dumps(used) if used else ""}
    seen = replace(seen, observed=replace(seen.observed, kernels={**seen.observed.kernels, "node2": Kernel(raw)}))
    assert [each.id for each in explain(seen)] == (["route-shadow"] if found else [])


@pytest.mark.parametrize("ends", [("node2", ""), ("node1", "node3"), ("", "")])
def test_ports_that_were_seen_to_pass_need_no_check(site, ends):
    problem = Problem("overlay-blocked", ends[0], "", {"port": DATA}, target=ends[1])
    seen = failed(healthy(site), ("node1", "node2"), problem=problem)

    def cure(seen):
        (found,) = explain(seen)
        return causes.cure(found.problems[0])

    assert "these ports pass between the hosts" in cure(seen)
    paths = {way: path for way, path in seen.observed.underlay.paths.items() if way != ("node1", "node3")}
    partly = replace(seen, observed=replace(seen.observed, underlay=replace(seen.observed.underlay, paths=paths)))
    assert ("check that 4789/udp" in cure(partly)) == (ends[0] != "node2")
    assert "check that 4789/udp" in cure(replace(seen, observed=Observed()))


def of_kind(kind, **values):
    def changed(links):
        return [
            {**link, **values} if kind in str(link.get("linkinfo", {}).get("info_kind")) else link for link in links
        ]

    return changed


@pytest.mark.parametrize(
    ("kind", "mtu", "expected"),
    [("veth", 1000, "mtu"), ("vxlan", 1000, "mtu"), ("veth", 1500, ""), ("bridge", 1000, "")],
)
def test_an_interface_of_an_overlay_that_is_narrower_than_on_other_hosts(site, kind, mtu, expected):
    found = explain(with_kernel(healthy(site), "node2", f"space:{SPACE}:links", of_kind(kind, mtu=mtu)))
    assert [(each.id, each.problems[0].variant) for each in found] == ([(expected, "device")] if expected else [])
    for each in found:
        assert causes.to_run(each.problems[0])[0].endswith(" mtu 1450  # on node2")


def test_a_filter_in_the_namespace_of_an_overlay(site):
    rules = "table bridge b {\n\tchain c {\n\t\ttype filter hook forward priority 0; policy drop;\n"
    (found,) = explain(with_kernel(healthy(site), "node2", f"space:{SPACE}:filters", lambda _: rules))
    assert (found.id, found.problems[0].variant) == ("link-down", "filtered")
    assert "policy drop" in found.problems[0].evidence
    assert not explain(with_kernel(healthy(site), "node2", f"space:{SPACE}:filters", lambda _: "table ip nat {\n"))


def test_a_route_through_another_host_of_the_cluster_is_evidence(site):
    route = [{"dst": "192.168.56.11", "gateway": "192.168.56.13", "dev": "eth0", "prefsrc": "192.168.56.12"}]
    well = healthy(site)
    changed = Kernel({**well.observed.kernels["node2"].raw, "gets": json.dumps(route)})
    seen = replace(well, observed=replace(well.observed, kernels={**well.observed.kernels, "node2": changed}))
    none = {"arrived": 0, "passed": 0}
    silent = Attempt("silent", 3.0, "", 1, 0, 0, 0, 0)
    into_node1 = into("node1", source="node2", udp={DATA: none, GOSSIP: none}, tcp={GOSSIP: silent, SERVER: silent})
    (found,) = explain(with_ways(seen, into_node1))
    assert found.id == "underlay-blocked"
    assert "the route of node2 to node1 leads through node3 (192.168.56.13)" in found.problems[0].evidence


@pytest.mark.parametrize("section", ["links", f"space:{SPACE}:links"])
def test_a_queue_that_limits_is_named_if_a_proof_failed(site, section):
    def limited(links):
        return [{**link, "qdisc": "tbf"} if link["ifname"] in {"eth0", "vxlan0"} else link for link in links]

    seen = with_kernel(healthy(site), "node2", section, limited)
    assert not explain(seen)
    (found,) = explain(
        failed(seen, ("node1", "node2"), problem=Problem("path-mtu", "node2", "", {"mtu": 142, "network": "demo"}))
    )
    assert (found.id, found.hosts, found.problems[0].variant) == ("packet-loss", ("node2",), "shaped")


def test_a_queue_that_loses_packets_of_the_test_is_one_cause(site):
    """Large packets do not pass it, so the path seems to be narrow."""
    some = {"left": 12, "arrived": 12, "passed": 12}
    seen = with_ways(healthy(site), into("node1", source="node2", udp={DATA: some}, size=576))
    assert {each.id for each in explain(seen)} == {"packet-loss", "mtu"}
    limited = with_kernel(seen, "node2", "links", lambda links: [{**link, "qdisc": "tbf"} for link in links])
    (found,) = explain(limited)
    (problem,) = found.problems
    assert (found.id, problem.where, problem.variant) == ("packet-loss", "node2: eth0", "shaped")
    assert "12 left node2" in problem.evidence
    assert "has a queue of the kind tbf" in problem.evidence
    assert causes.cure(problem).endswith("tc -s qdisc show dev eth0")


def test_sizes_that_differ_from_time_to_time_are_a_queue_s_and_not_the_path_s(site):
    seen = with_ways(healthy(site), into("node1", source="node2", size=576))
    limited = with_kernel(seen, "node2", "links", lambda links: [{**link, "qdisc": "tbf"} for link in links])
    before = with_ways(limited, into("node1", source="node2", size=1400)).observed
    (found,) = explain(replace(limited, earlier=before))
    assert (found.id, [problem.where for problem in found.problems]) == ("packet-loss", ["node2: eth0"])
    assert "node2 > node1: 1400 and 576 bytes; its interface has a queue" in found.problems[0].evidence
    assert [each.id for each in explain(replace(limited, earlier=limited.observed))] == ["mtu"], (
        "it is narrow each time"
    )
    assert [each.id for each in explain(replace(seen, earlier=before))] == ["mtu"], "it has no such queue"
    device = Problem("mtu", "node2", "", {"host": "node2", "network": "demo", "mtu": 1450}, "device", network="demo")
    assert paths.informed(replace(limited, earlier=before), device) == device, "a device of the overlay is too narrow"


def test_the_first_of_causes_with_one_rule_is_what_containers_feel(site):
    silent = Attempt("silent", 3.0, "", 1, 1, 0, 0, 0)
    seen = with_ways(healthy(site), into("node2", udp={DATA: DROPPED, GOSSIP: DROPPED}, tcp={SERVER: silent}))
    found = explain(failed(seen, ("node1", "node2"), problem=Problem("overlay-blocked", "node2", "", {"port": DATA})))
    assert [each.id for each in found] == ["vxlan-blocked", "gossip-udp", "store-blocked"]


def test_a_cause_on_several_hosts_is_one_cause_though_its_cure_names_the_host(site):
    found = [Problem("conntrack-full", host, f"full on {host}", {"host": host, "twice": 8}) for host in HOSTS]
    (cause,) = explain(replace(healthy(site), findings=tuple(found)))
    assert cause.hosts == tuple(HOSTS)
    assert of_diagnosis(cause)["commands"] == [command for each in found for command in causes.to_run(each)]


@pytest.mark.parametrize(
    ("seen", "all_"),
    [
        (blocked, True),
        (lambda seen: replace(blocked(seen), lost={"node3": Failure("node3: silent", "unreachable")}), True),
        (lambda seen: replace(blocked(seen), findings=(Problem("disk-full", "node3", "full"),)), False),
        (lambda seen: with_kernel(blocked(seen), "node1", "sysctl", lambda _: "net.ipv4.ip_forward=0"), False),
    ],
    ids=["a port", "a port and a lost host", "a finding of a check", "a setting"],
)
def test_paths_explain_everything_or_not(site, seen, all_):
    assert of_paths(seen(healthy(site))) is all_
