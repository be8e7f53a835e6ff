"""Names of running containers that others do not resolve, or with a wrong address."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from itertools import permutations

import pytest
from captured import with_http
from scenes import GIVEN, HOSTS, NETWORK, YOUNG, cluster, healthy, running, with_containers, with_kernel

from provisioner import causes
from provisioner.errors import Malformed
from provisioner.explain import problems
from provisioner.model import Pair, Problem, ProofResult, Severity, State
from provisioner.observe import kernel
from provisioner.observe.kernel import Kernel

ADDRESSES = {"web1": "10.99.0.11", "web2": "10.99.0.12", "web3": "10.99.0.13"}


def seen_with(site, **said):
    """A container on each host; `said`: what the DNS server of one does not know."""
    seen = healthy(site)
    for host, (name, address) in zip(HOSTS, ADDRESSES.items(), strict=True):
        networks = {"demo": {"NetworkID": NETWORK, "IPAddress": address}}
        seen = with_containers(seen, host, running(name, NetworkSettings={"Networks": networks}))
        text = "asked 3\n" + "".join(f"{each}\n" for each in said.get(name, ()))
        seen = with_kernel(seen, host, f"names:{address}", lambda _, text=text: text)
    return seen


def test_a_name_that_another_host_forgot_is_named_with_both_hosts(site):
    (found,) = problems(seen_with(site, web1=["web3"]))
    assert (found.id, found.host, found.target, found.network) == ("names-unresolved", "node1", "node3", "demo")
    assert found.evidence == "web1 on node1 resolves its own name, and not web3 on node3"
    assert "docker restart announces these containers again" in causes.cure(found)


def test_a_dns_server_that_answers_nothing_is_named_with_its_container(site):
    (found,) = problems(seen_with(site, web2=["web1", "web2", "web3"]))
    assert (found.id, found.host, found.variant) == ("names-unresolved", "node2", "silent")
    assert causes.cure(found).startswith("restart web2")


def test_each_pair_of_hosts_is_a_problem_of_its_own(site):
    found = problems(replace(seen_with(site, web1=["web2", "web3"], web2=["web3"]), proofs=()))
    assert {(each.host, each.target) for each in found} == {("node1", "node2"), ("node1", "node3"), ("node2", "node3")}


def test_a_container_that_knows_no_name_beside_new_ones_that_do_is_restarted(site):
    pairs = tuple(Pair(one, other, name=0.1) for one, other in permutations(HOSTS, 2))
    proof = ProofResult("overlay", "demo", State.SETTLED, pairs=pairs)
    (found,) = problems(replace(seen_with(site, web3=["web1", "web2"]), proofs=(proof,)))
    assert (found.id, found.host, found.target) == ("names-unresolved", "node3", "")
    assert "not web1 on node1, web2 on node2; new containers on node3 resolve names" in found.evidence
    assert causes.cure(found).startswith("restart web3:")
    failed = replace(proof, pairs=tuple(replace(pair, name=None) for pair in pairs))
    found = problems(replace(seen_with(site, web3=["web1", "web2"]), proofs=(failed,)))
    assert {(each.host, each.target) for each in found} == {("node3", "node1"), ("node3", "node2")}


def test_healthy_twins(site):
    assert not problems(seen_with(site))
    assert not problems(seen_with(site, web1=["web1", "web3"]))  # it answers nothing, as with a DNS server of its own
    assert not problems(seen_with(site, web1=["gone"]))  # was removed after the question
    silent = seen_with(site)
    assert not problems(with_kernel(silent, "node1", "names:10.99.0.11", lambda _: ""))  # no Perl, or it ended early


def test_each_dns_server_is_asked_for_itself_and_for_others(site):
    asked = kernel.questions(seen_with(site).site)
    assert asked["node1"] == ["10.99.0.11 web1/web1web1web1 web2/web2web2web2 web3/web3web3web3"]
    assert kernel.questions(healthy(site).site) == {}


def test_what_no_question_can_hold_is_not_asked(site):
    odd = running("x; reboot", NetworkSettings={"Networks": {"demo": {"IPAddress": "10.99.0.12"}}})
    elsewhere = running("web2", NetworkSettings={"Networks": {"demo": {"IPAddress": "$(reboot)"}}})
    seen = with_containers(seen_with(site), "node2", odd, elsewhere)
    assert "node2" not in kernel.questions(seen.site)
    assert "reboot" not in str(kernel.questions(seen.site))


def test_an_answer_that_is_cut_off_counts_for_nothing():
    assert Kernel({"names:10.99.0.11": "asked 2\nweb3\n\n"}).resolved == {"10.99.0.11": {"web3": ()}}
    assert Kernel({"names:10.99.0.11": "perl: bad"}).resolved == {}


REAL = {"web1": "10.99.0.2", "web2": "10.99.0.3", "web3": "10.99.0.4"}  # those of the captured namespaces


def answering(site, *lines, **also):
    """Containers that the namespaces have; lines: what the DNS server of the first one says. also: name -> another network's address."""
    seen = healthy(site)
    for at, (name, address) in zip(HOSTS, REAL.items(), strict=True):
        networks = {"demo": {"NetworkID": NETWORK, "IPAddress": address}}
        networks |= {"other": {"IPAddress": also[name]}} if name in also else {}
        seen = with_containers(seen, at, running(name, NetworkSettings={"Networks": networks}))
    text = "\n".join(("asked 3", f"web1 {REAL['web1']}", *lines))
    return with_kernel(seen, "node1", f"names:{REAL['web1']}", lambda _: text)


def test_a_name_with_an_old_address_is_named_with_its_place(site):
    (found,) = problems(answering(site, "web2 10.99.0.3 10.99.0.3", "web3 10.99.0.77"))
    assert (found.id, found.host, found.target, found.network) == ("name-stale", "node1", "node3", "demo")
    assert found.where == "DNS of web1"
    assert "web3 (10.99.0.4) to 10.99.0.77" in found.evidence
    assert "docker restart" in causes.cure(found)


def test_an_old_address_beside_the_right_one_is_found(site):
    (found,) = problems(answering(site, "web3 10.99.0.77,10.99.0.4 10.99.0.4"))
    assert (found.id, found.target) == ("name-stale", "node3")
    assert "10.99.0.4) to 10.99.0.77" in found.evidence


def test_the_address_of_another_container_is_wrong_if_both_names_have_it(site):
    (found,) = problems(answering(site, "web3 10.99.0.3 10.99.0.3"))
    assert (found.id, found.target) == ("name-stale", "node3")


def test_names_of_both_kinds_have_their_own_places(site):
    found = problems(answering(site, "web2", "web3 10.99.0.77"))
    assert [(each.id, each.target) for each in found] == [("names-unresolved", "node2"), ("name-stale", "node3")]


@pytest.mark.parametrize(
    "line",
    [
        "web3 10.99.0.4 10.99.0.4",
        "web3 -",  # no address in the answer
        "web3 192.0.2.7",  # another DNS server knows the name
        "web3 10.99.0.3,10.99.0.4 10.99.0.4",  # web2 has it as an alias
        "web3 10.99.0.3 10.99.0.4",  # a link of web1 leads to web2
        "gone 10.99.0.77",  # was removed after the question
    ],
)
def test_healthy_answers(site, line):
    assert not problems(answering(site, "web2 10.99.0.3", line))


def test_a_container_on_two_networks_may_be_known_by_either_address(site):
    assert not problems(answering(site, "web3 10.99.0.44 10.99.0.44", web3="10.99.0.44"))


def test_a_container_that_has_restarted_since_is_not_judged(site):
    """The engine's list is older than the namespaces."""
    seen = answering(site, "web3 10.99.0.4")
    for old in ("10.99.0.5", "10.99.0.4"):
        networks = {"demo": {"NetworkID": NETWORK, "IPAddress": old}}
        moved = with_containers(seen, "node3", running("web3", NetworkSettings={"Networks": networks}))
        assert not problems(moved)


def test_a_virtual_address_of_a_service_is_not_wrong(site):
    seen = answering(site, "web3 10.99.0.9,10.99.0.4")
    assert [found.id for found in problems(seen)] == ["name-stale"]
    space = next(name for name, each in seen.observed.kernels["node2"].spaces.items() if not each.network)
    virtual = {"ifname": "lo", "addr_info": [{"family": "inet", "local": "10.99.0.9", "prefixlen": 32}]}
    assert not problems(with_kernel(seen, "node2", f"space:{space}:addresses", lambda found: [*found, virtual]))


def test_an_unknown_container_of_a_node_that_was_not_read_may_have_the_name_as_an_alias(site):
    seen = answering(site, "web3 10.99.0.77,10.99.0.4")
    unread = Problem("nodes-unexamined", "", "others")
    assert [found.id for found in problems(replace(seen, findings=(unread,)))] == ["nodes-unexamined"]
    wrong = answering(site, "web3 10.99.0.77")  # its own address is missing in any case
    assert "name-stale" in {found.id for found in problems(replace(wrong, findings=(unread,)))}


def test_only_what_two_observations_say_is_reported(site):
    wrong, well = answering(site, "web3 10.99.0.77"), answering(site, "web3 10.99.0.4")
    other = answering(site, "web3 10.99.0.78")
    assert [found.id for found in problems(replace(wrong, earlier=wrong.observed))] == ["name-stale"]
    for earlier in (well, other):
        assert not problems(replace(wrong, earlier=earlier.observed))
    assert not problems(replace(well, earlier=wrong.observed))


@pytest.mark.parametrize("answer", ["10.99.0.4,x", "::1", "10.99.0.400", ","])
def test_a_malformed_answer_is_an_error_of_its_host(answer):
    with pytest.raises(Malformed, match="an answer of a DNS server"):
        Kernel({"names:10.99.0.2": f"asked 1\nweb3 {answer}"}).resolved  # noqa: B018


def with_endpoints(seen, *ids):
    """The store lists the endpoints with these IDs; the containers have e1, e2 and e3."""
    for host in HOSTS:
        address, mac = GIVEN[host]
        given = {"NetworkID": NETWORK, "IPAddress": address, "MacAddress": mac, "EndpointID": f"e{host[-1]}"}
        seen = with_containers(seen, host, running(f"web-{host}", NetworkSettings={"Networks": {"demo": given}}))
    keys = [f"docker/network/v1.0/endpoint/{NETWORK}/{number}" for number in ids]
    stored = json.dumps({"name": "web", "locator": "192.168.56.11"}).encode()
    listed = [{"Key": key, "Value": base64.b64encode(stored).decode()} for key in keys]
    facts = with_http(seen.site.facts["node1"], "endpoints", listed if ids else '404 ""')
    return replace(seen, site=seen.site.known("node1", facts))


def lacking(seen):
    return [(each.host, each.evidence) for each in problems(seen) if each.id == "endpoint-lost"]


def test_containers_that_the_store_has_lost(site):
    here, (one, two, three) = (
        cluster(site, "global"),
        [f"the store has no endpoint of web-{host}, which runs on {host}" for host in HOSTS],
    )
    assert lacking(with_endpoints(here, "e1", "e2", "e3")) == []
    found = with_endpoints(here, "e1", "e3")
    assert lacking(found) == [("node2", two)]
    (problem,) = (each for each in problems(found) if each.id == "endpoint-lost")
    assert causes.shell_commands(problem) == ("docker restart web-node2",)
    assert lacking(with_endpoints(here)) == [("node1", one), ("node2", two), ("node3", three)], "it has none"
    young = cluster(site, "global", age=YOUNG)
    assert lacking(with_endpoints(young, "e2", "e3")) == [], "it started after the store was read"
    unread = with_endpoints(here)
    facts = with_http(unread.site.facts["node1"], "endpoints", "000 timeout")
    assert lacking(replace(unread, site=unread.site.known("node1", facts))) == []


def test_a_container_that_asks_another_dns_server_is_a_warning(site):
    web, box = running("web", Id="a" * 64), running("box", network="bridge", Id="b" * 64)
    seen = with_containers(cluster(site, "global"), "node1", web, box, running("ended", Id="c" * 64, State="exited"))
    asked = "".join(f"{number * 64} 9.9.9.9\n" for number in "abcd")
    (problem,) = (
        each for each in problems(with_kernel(seen, "node1", "resolvers", lambda _: asked)) if each.host == "node1"
    )
    assert (problem.id, problem.where) == ("resolver-replaced", "node1: web")
    assert problem.evidence == "/etc/resolv.conf of web (9.9.9.9) does not name 127.0.0.11 first"
    assert causes.severity(problem) is Severity.WARNING
    assert causes.cure(problem).endswith(": docker restart web")


@pytest.mark.parametrize(
    ("unnamed", "control", "variant"),
    [
        (("node2",), "kv", "unwatched"),
        (("node2",), "swarm", ""),
        (("node2", "node3"), "kv", ""),  # nobody resolves their names, so the store may lack them
        ((), "kv", ""),
    ],
)
def test_an_engine_that_learns_no_names_although_the_store_has_them(site, unnamed, control, variant):
    """unnamed: the hosts that resolve no other name."""
    seen = healthy(site)
    (proof,) = seen.proofs
    pairs = tuple(replace(pair, name=None) if pair.source in unnamed else pair for pair in proof.pairs)
    problem = Problem("names-unresolved", "node2", "node2 > node1: x", network="demo")
    failed = replace(proof, pairs=pairs, state=State.FAILED, problems=(problem,))
    (found,) = problems(replace(seen, proofs=(failed,), site=replace(seen.site, control=control)))
    assert found.variant == variant
    assert causes.shell_commands(found) == (("systemctl restart docker",) if variant else ())
