"""Names of running containers that others do not resolve."""

from __future__ import annotations

from scenes import HOSTS, NETWORK, healthy, running, with_containers, with_kernel

from provisioner import causes
from provisioner.explain import problems
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
    found = problems(seen_with(site, web1=["web2", "web3"], web2=["web3"]))
    assert {(each.host, each.target) for each in found} == {("node1", "node2"), ("node1", "node3"), ("node2", "node3")}


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
    assert Kernel({"names:10.99.0.11": "asked 2\nweb3\n\n"}).unknown_names == {"10.99.0.11": ["web3"]}
    assert Kernel({"names:10.99.0.11": "perl: bad"}).unknown_names == {}
