"""What prevents a removal: the store's quorum before and after it, attached containers, a host that is still alive."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from captured import HOSTS, capture, with_file, with_http, with_info
from swarms import with_managers

from provisioner import causes
from provisioner.controlplane import resolve
from provisioner.errors import ProvisionerError
from provisioner.model import Drift, Failure, Kind, Outcome, Problem, Severity, State
from provisioner.preflight import departure
from provisioner.runner import look
from provisioner.runner.run import Run, merged
from provisioner.stores.consul import JSON
from provisioner.workflows.remove import Removal


class Quiet:
    def event(self, event):
        pass


@dataclass
class Made:
    """A removal after the hosts were read."""

    removal: Removal
    run: Run

    def findings(self):
        leaving, known = self.removal.departure(self.run), self.removal._of_the_host(self.run)
        return list(departure.findings(leaving, **known))


def removal(inventory, facts, host="node3", **words):
    """A removal. facts: those of the hosts that answered."""
    made = Made(Removal(inventory, host, **words), Run(inventory, Quiet()))
    host = made.removal.host
    staying, _ = resolve(made.removal.inventory, {name: f for name, f in facts.items() if name != host})
    made.removal._place(made.run, staying, facts)
    return made


def ids(made):
    return [(f.id, causes.severity(f).value) for f in made.findings()]


def named_still(made):
    """The findings about an inventory that still names the removed host."""
    made.removal.still_named(made.run)
    return made.run.findings


def consul(*answering, peers=3, hear=()):
    """Hosts that answer. peers: the number of servers, from node1 on. hear: hosts that have node3 in their gossip."""
    servers = [f"192.168.56.1{n}:8300" for n in range(1, peers + 1)]
    found = {}
    for n in answering:
        facts = capture("settled-node3")
        raw = {
            key: text.replace("node3", f"node{n}").replace("192.168.56.13", f"192.168.56.1{n}")
            for key, text in facts.raw.items()
        }
        raw["gossip"] = capture("settled-node1").raw["gossip"] if n in hear else ""
        facts = with_http(replace(facts, raw=raw), "peers", servers)
        config = facts.files[JSON].replace('"server": true', f'"server": {str(n <= peers).lower()}')
        found[f"node{n}"] = with_file(facts, JSON, config)
    return found


@pytest.mark.parametrize(
    ("hosts", "answering", "peers", "expected"),
    [  # the last host leaves. answering: the live hosts. peers: the first hosts, which are servers
        (3, (1, 2, 3), 3, [("even-servers", "warning")]),
        (3, (1, 2, 3), 2, [("even-servers", "warning")]),  # a client leaves two servers
        (3, (1, 2, 3), 1, []),
        (3, (1, 2), 3, [("host-gone", "warning"), ("even-servers", "warning")]),
        (3, (1, 3), 3, [("no-quorum", "stop")]),  # two servers would be left, one of them alive
        (3, (1,), 3, [("host-gone", "warning"), ("no-quorum", "stop")]),
        (2, (1, 2), 2, []),
        (2, (1,), 2, [("host-gone", "warning"), ("no-quorum", "stop")]),
    ],
)
def test_the_majority(inventory, hosts, answering, peers, expected):
    assert ids(removal(inventory(hosts), consul(*answering, peers=peers), f"node{hosts}")) == expected


@pytest.mark.parametrize(
    ("hosts", "answering", "peers", "expected"),
    [  # the first host leaves
        (2, (2,), 1, [("host-gone", "warning"), ("no-quorum", "stop")]),
        (2, (1, 2), 1, []),  # the other becomes the server first
        (4, (1, 2, 3, 4), 3, []),  # the fourth becomes the third server
    ],
)
def test_another_becomes_a_server(inventory, hosts, answering, peers, expected):
    assert ids(removal(inventory(hosts), consul(*answering, peers=peers), "node1")) == expected


@pytest.mark.parametrize(("hosts", "peers", "works"), [(2, 1, True), (4, 3, False)])
def test_only_a_leaving_server_without_others_takes_part_in_the_promotion(inventory, hosts, peers, works):
    made = removal(inventory(hosts), consul(*range(1, hosts + 1), peers=peers), "node1")
    joint = made.removal.departure(made.run).joint
    assert joint.has_quorum
    assert ("node1" in joint.live) is works


def etcd():
    """Three etcd servers."""
    return {f"node{n}": capture(f"etcd-node{n}") for n in (1, 2, 3)}


@pytest.mark.parametrize(
    ("store", "facts", "expected", "servers"),
    [  # the first host leaves, which store.servers names
        ("consul 3 node1,node2,node3", consul(1, 2, 3), [("even-servers", "warning")], ("node2", "node3")),
        ("consul 4 node1,node2,node3", consul(1, 2, 3, 4), [("even-servers", "warning")], ("node2", "node3")),
        (
            "consul 3 node1",
            consul(1, 2, 3, peers=1),
            [],
            ("node2",),
        ),  # like without store.servers
        ("consul 3 node1,node2,node3", consul(1, 2), [("no-quorum", "stop")], ("node2", "node3")),
        ("etcd 3 node1,node2,node3", etcd(), [("even-servers", "warning")], ("node2", "node3")),
    ],
)
def test_a_server_that_is_named_leaves(inventory, store, facts, expected, servers):
    kind, hosts, named = store.split()
    made = removal(inventory(int(hosts), kind=kind, store=f", servers: [{named}]"), facts, "node1")
    assert (ids(made), made.run.site.servers) == (expected, servers)
    spare = [causes.cure(f) for f in made.findings() if f.id == "even-servers"]
    assert [("name another host in its place in store.servers (node4)" in cure) for cure in spare] == [
        hosts == "4"
    ] * len(spare)


@pytest.mark.parametrize(("managers", "expected"), [(HOSTS, [("even-servers", "warning")]), (("node1",), [])])
def test_a_manager_that_is_named_leaves(inventory, managers, expected):
    named = inventory(3, kind="", more=f"swarm: {{managers: [{', '.join(managers)}]}}")
    made = removal(named, with_managers(*managers), "node1")
    assert ids(made) == expected
    assert made.run.site.servers == (managers[1:] or ("node2",))


@pytest.mark.parametrize(
    ("named", "text"),
    [
        ("node1, node2, node3", "store.servers completely, since it does not allow the number of names left (2)"),
        ("node2", ""),
    ],
)
def test_the_cure_names_the_key_to_change(inventory, named, text):
    made = removal(inventory(3, store=f", servers: [{named}]"), consul(1, 2, 3), "node1")
    (finding,) = [f for f in named_still(made) if f.id == "still-named"]
    assert text in causes.cure(finding)
    assert ("store.servers" in causes.cure(finding)) == bool(text)


def test_the_evidence_has_the_numbers(inventory):
    finding = next(f for f in removal(inventory(3), consul(1, 3)).findings() if causes.severity(f) is Severity.STOP)
    assert finding.evidence == "without node3, Consul would have 2 servers, 1 of them alive; 2 are needed"


def test_etcd_can_t_be_left_by_its_last_server_and_zookeeper_by_none(inventory):
    facts = {"node1": capture("etcd-node1"), "node2": capture("settled-node2")}
    body = facts["node1"].http("members").body
    alone = {"members": [member for member in body["members"] if member["name"] == "node1"]}
    facts["node1"] = with_http(facts["node1"], "members", alone)
    assert ids(removal(inventory(2, kind="etcd"), facts, "node1")) == [("last-server", "stop")]
    zookeeper = {f"node{n}": capture(f"zookeeper-node{n}") for n in (1, 2, 3)}
    assert ids(removal(inventory(3, kind="zookeeper"), zookeeper, "node2")) == [("server-leaves", "stop")]


def test_engines_on_the_last_server_are_not_on_another_store(inventory):
    """Their store runs on the leaving host. Only the cause for that is reported."""
    members = capture("etcd-node1").http("members").body["members"]
    alone = {"members": [member for member in members if member["name"] == "node1"]}
    node2 = with_info(capture("settled-node2"), ClusterStore="etcd://192.168.56.11:2379")
    facts = {"node1": with_http(capture("etcd-node1"), "members", alone), "node2": node2}
    made = removal(inventory(2, kind="etcd"), facts, "node1")
    made.removal._read = lambda _: None
    assert not made.removal.look(made.run)
    stops = [f.id for f in made.run.findings if causes.severity(f) is Severity.STOP]
    assert stops == ["last-server"]


def test_containers_on_the_networks_need_the_option_drain(inventory):
    facts = consul(1, 2, 3)
    web = {"Id": "1", "Names": ["/web"], "NetworkSettings": {"Networks": {"demo": {}}}}
    facts["node3"] = with_http(facts["node3"], "containers", [web])
    assert ids(removal(inventory(3), facts))[0] == ("containers-attached", "stop")
    assert ("containers-attached", "stop") not in ids(removal(inventory(3), facts, drain=True))


def test_a_host_that_others_hear_is_not_taken_for_gone(inventory):
    assert ids(removal(inventory(3), consul(1, 2, hear=(1,))))[0] == ("host-lives", "stop")


def test_a_host_that_answers_and_lets_nobody_in_is_not_gone_either(inventory):
    made = removal(inventory(3), consul(1, 2))
    made.run.session.lost["node3"] = Failure("node3: it refuses the key\n  tried: a key", "login-refused")
    made.run.session.answering.add("node3")
    finding = next(iter(made.findings()))
    assert finding.id == "host-lives"
    assert finding.evidence == "node3 can't be managed (it refuses the key), but it is alive: it answers"


def test_a_host_of_the_inventory_whose_address_nobody_knows(inventory):
    """The inventory names it by a name, and the others are gone, too."""
    whole = inventory(3)
    hosts = {name: host.model_copy(update={"address": f"{name}.example.net"}) for name, host in whole.hosts.items()}
    (finding,) = removal(whole.model_copy(update={"hosts": hosts}), {}).findings()
    assert finding.id == "unknown-host"
    assert finding.evidence == "node3 can't be reached, and no host that answers knows its address in the cluster"
    assert "bring a majority of the other hosts back first" in causes.cure(finding)


def test_a_host_that_nobody_knows(inventory):
    made = removal(inventory(3), consul(1, 2, 3), "noode3")
    assert ids(made) == [("unknown-host", "stop")]
    assert next(iter(made.findings())).evidence.endswith("no host of that name; did you mean `node3`?")


def test_an_address_of_the_inventory_is_its_host(inventory):
    assert removal(inventory(3), consul(1, 2, 3), "192.168.56.12").removal.host == "node2"


def test_the_only_host_of_an_inventory_can_t_be_removed(inventory):
    with pytest.raises(ProvisionerError, match="the only host"):
        Removal(inventory(1), "node1")


def test_a_new_server_counts(inventory):
    made = removal(inventory(4), consul(1, 2, 3, 4), "node1")
    assert made.removal.departure(made.run).new_servers == ["node4"]
    assert made.run.site.servers == ("node2", "node3", "node4")


def test_the_final_findings_are_those_of_the_end(inventory, monkeypatch):
    """The servers are counted again, and findings about the gone host stay."""
    early = Problem("engine-open", "node1", "seen early")
    made = removal(inventory(3), consul(1, 2), "node3")
    monkeypatch.setattr(Removal, "_read", lambda *_: None)
    monkeypatch.setattr("provisioner.preflight.run", lambda _: [early])
    monkeypatch.setattr("provisioner.runner.session.Session.read", lambda *_: {})
    made.removal.look(made.run)
    assert [f.id for f in made.run.findings] == ["engine-open", "host-gone", "even-servers"]
    monkeypatch.setattr("provisioner.preflight.run", lambda _: [])
    look.judge_again(made.run)
    assert [f.id for f in made.run.findings] == ["host-gone", "even-servers"]


def test_a_step_that_ran_twice_has_one_outcome():
    first = Outcome("node1", "store", State.CONVERGED, (Drift(Kind.FILE, "a"),))
    second = Outcome("node1", "store", State.SETTLED)
    other = Outcome("node1", "daemon", State.SETTLED)
    assert merged([first, other, second]) == [first, other]
    failed = Outcome("node1", "store", State.FAILED, error="no")
    assert merged([first, failed]) == [failed]
