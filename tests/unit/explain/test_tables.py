"""The gossip tables of a swarm's engines: how they are read, and what differs from the containers that run."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from dataclasses import replace
from subprocess import PIPE
from types import SimpleNamespace

import pytest
from scenes import CAPTURES, HOSTS, NETWORK, SPACE, altered, healthy, kernel, running, with_containers, with_kernel

from provisioner import causes, render
from provisioner.explain import explain, problems, well
from provisioner.observe import tables
from provisioner.observe.tables import Name, Place, Table, parse
from provisioner.system.reading import DAEMON_JSON

UNDERLAY = {"node1": "192.168.56.11", "node2": "192.168.56.12", "node3": "192.168.56.13"}
ENGINES = {"node1": "aaaaaaaaaaaa", "node2": "bbbbbbbbbbbb", "node3": "cccccccccccc"}  # their names in gossip
CONTAINERS = {  # of the captured kernels: host -> address, MAC address
    name: next(space.inner[0] for space in kernel(name).spaces.values() if not space.network and space.inner)
    for name in HOSTS
}
GONE = "10.99.0.99"


def entry(owner, *texts):
    """An entry of a table. texts: number of a field and its text."""
    value = b"".join(bytes([number << 3 | 2, len(text)]) + text.encode() for number, text in texts)
    return {"key": "k", "value": base64.b64encode(value).decode(), "owner": ENGINES[owner]}


def name(host, called="", address=""):
    return entry(host, (1, called or f"web-{host}"), (5, address or CONTAINERS[host][0]))


def place(host, address="", mac="", at=""):
    mine, own = CONTAINERS[host]
    return entry(host, (1, f"{address or mine}/24"), (2, mac or own), (3, at or UNDERLAY[host]))


def answer(kind, entries, network=NETWORK):
    return f"answer {kind} {network} " + json.dumps(
        {"message": "OK", "details": {"size": len(entries), "entries": entries or None}}
    )


def said(*, peers=HOSTS, names=None, places=None):
    """What tables.pl writes. Without entries: those of the containers that run."""
    members = [{"-=name": ENGINES[host], "ip": UNDERLAY[host]} for host in HOSTS]
    known = [each for each in members if each["-=name"] in {ENGINES[host] for host in peers}]
    lines = [
        answer("clusterpeers", members, "-"),
        answer("networkpeers", known),
        answer("endpoint_table", [name(host) for host in HOSTS] if names is None else names),
        answer("overlay_peer_table", [place(host) for host in HOSTS] if places is None else places),
    ]
    return "\n".join([*lines, "end", ""])


def swarm(site, **texts):
    """A container on each host, and the tables of each engine. texts: what that of a host says instead."""
    seen = healthy(site)
    for host in HOSTS:
        networks = {"demo": {"NetworkID": NETWORK, "IPAddress": CONTAINERS[host][0]}}
        seen = with_containers(seen, host, running(f"web-{host}", NetworkSettings={"Networks": networks}))
        text = texts.get(host, said())
        seen = with_kernel(seen, host, "tables", lambda _, text=text: text)
    return seen


def lines(seen):
    return [line for line in well(seen, frozenset(each.id for each in problems(seen))) if "gossip" in line]


def test_tables_that_match_the_containers_are_no_cause(site):
    seen = swarm(site)
    assert problems(seen) == []
    assert lines(seen) == ["gossip tables of node1, node2, node3: 3 containers on demo"]
    assert lines(healthy(site)) == []


def test_a_container_that_one_engine_lacks_is_named_with_both_hosts(site):
    names, places = [name("node1"), name("node2")], [place("node1"), place("node2")]
    (found,) = problems(swarm(site, node1=said(names=names, places=places)))
    assert (found.id, found.host, found.target, found.network) == ("table-differs", "node1", "node3", "demo")
    address, mac = CONTAINERS["node3"]
    assert found.evidence == (
        f"the gossip tables of node1 have no host for web-node3 ({address}, {mac}) of node3,"
        f" no name for web-node3 ({address}) of node3"
    )
    assert "restart the engine on node1" in causes.cure(found)


def test_what_its_own_engine_does_not_announce_is_reported_once(site):
    without = said(names=[name("node1"), name("node2")])
    (found,) = problems(swarm(site, node1=without, node2=without, node3=without))
    assert (found.host, found.target, found.variant) == ("node3", "", "own")
    assert "docker restart web-node3" in causes.cure(found)


def test_a_container_that_is_at_another_host_or_has_another_mac_address_is_lacking(site):
    elsewhere = said(places=[place("node1"), place("node2"), place("node3", at=UNDERLAY["node2"])])
    changed = said(places=[place("node1"), place("node2"), place("node3", mac="02:42:0a:63:00:77")])
    found = problems(swarm(site, node1=elsewhere, node2=changed))
    assert {(each.host, each.target, each.variant) for each in found} >= {
        ("node1", "node3", ""),
        ("node2", "node3", ""),
    }


def test_entries_of_containers_that_are_gone(site):
    old = said(
        names=[*(name(host) for host in HOSTS), name("node2", "old", GONE)],
        places=[*(place(host) for host in HOSTS), place("node2", GONE)],
    )
    (found,) = problems(swarm(site, node1=old))
    assert (found.host, found.target, found.variant) == ("node1", "node2", "stale")
    assert f"old ({GONE}) of node2, where no container has this address" in found.evidence
    assert "restart the engine on node2" in causes.cure(found)


def test_an_engine_that_an_other_one_does_not_count_in(site):
    found = problems(swarm(site, node1=said(peers=("node1", "node2"))))
    assert [each.evidence for each in found] == ["the gossip tables of node1 have no peer node3 (192.168.56.13)"]


def test_names_that_no_container_resolves_follow_from_the_table(site):
    seen = swarm(site, node1=said(names=[name("node1"), name("node2")]))
    own = CONTAINERS["node1"][0]
    forgot = with_kernel(seen, "node1", f"names:{own}", lambda _: "asked 3\nweb-node3\n")
    (found,) = explain(forgot)
    assert (found.id, [each.id for each in found.explained]) == ("table-differs", ["names-unresolved"])
    (found,) = problems(with_kernel(swarm(site), "node1", f"names:{own}", lambda _: "asked 3\nweb-node3\n"))
    assert found.evidence.endswith("although the gossip tables of node1 have these names")


def test_healthy_twins(site):
    seen = swarm(site, node1=said(names=[name("node1")], places=[place("node1")]))
    good, ill = swarm(site).observed, seen.observed
    assert problems(replace(seen, observed=good, earlier=ill)) == []
    assert problems(replace(seen, observed=ill, earlier=good)) == []  # a container that has just started
    nameless, placeless = said(names=[name("node1"), name("node2")]), said(places=[place("node1"), place("node2")])
    first, second = swarm(site, node1=nameless).observed, swarm(site, node1=placeless).observed
    assert problems(replace(seen, observed=second, earlier=first)) == []  # each was there a moment later
    # The host takes no part in the network's gossip: it has no container there.
    away = {key: text for key, text in kernel("node1").raw.items() if not key.startswith(f"space:{SPACE}")}
    empty = altered(replace(kernel("node1"), raw=away), "tables", lambda _: said(peers=(), names=[], places=[]))
    alone = replace(seen, observed=replace(ill, kernels={**ill.kernels, "node1": empty}))
    assert [each.id for each in problems(alone) if each.host == "node1"] == []
    # The host of the entries was not read, and so nothing is known of its containers.
    kernels = {host: each for host, each in good.kernels.items() if host != "node3"}
    assert problems(replace(seen, observed=replace(good, kernels=kernels))) == []
    # Some runtimes take the address off the interface: the engine knows the container.
    raw = {key: text for key, text in good.kernels["node3"].raw.items() if not key.endswith(":addresses")}
    hidden = replace(good.kernels["node3"], raw=raw)
    assert problems(replace(seen, observed=replace(good, kernels={**good.kernels, "node3": hidden}))) == []


# -- reading ---------------------------------------------------------------------------------------------------------------


def test_answers_are_parsed():
    odd = {"key": "k", "value": name("node2", "$(x)\x1b[3m")["value"], "owner": ENGINES["node2"]}
    ending = entry("node1", (1, "b"), (5, GONE))
    ending["value"] = base64.b64encode(base64.b64decode(ending["value"]) + bytes([9 << 3, 1])).decode()
    second = entry("node1", (1, "fd00::5/64"), (2, "02:42:0a:63:00:05"), (3, UNDERLAY["node1"]))
    found = parse(said(names=[odd, ending], places=[place("node1"), second]))
    address, mac = CONTAINERS["node1"]
    assert found.members == {ENGINES[host]: UNDERLAY[host] for host in HOSTS}
    assert found.networks[NETWORK].places == (Place(address, mac, UNDERLAY["node1"]),)
    assert [each.name.isprintable() for each in found.networks[NETWORK].names] == [True]
    assert parse(said(names=[name("node1")])).networks[NETWORK].names == (Name("web-node1", address, ENGINES["node1"]),)
    assert found.networks[NETWORK].peers == frozenset(UNDERLAY.values())


@pytest.mark.parametrize("version", ["20.10", "26"])
def test_real_answers_are_parsed(version):
    """Captured on node2 of settled swarms with a container on each host. Entries without a name: load balancers."""
    found = parse((CAPTURES / f"tables-{version}.txt").read_text())
    (table,) = found.networks.values()
    assert sorted(found.members.values()) == sorted(table.peers) == sorted(UNDERLAY.values())
    assert {(each.name, found.members[each.owner]) for each in table.names} == {
        (f"web-{host}", address) for host, address in UNDERLAY.items()
    }
    for each in table.names:
        assert [place.host for place in table.at(each.address)] == [found.members[each.owner]]
    assert len(table.places) == 6
    assert all(place.mac.startswith("02:42:0a:63:00:") for place in table.places)


PEERS = answer("clusterpeers", [], "-")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("none nothing listens on 127.0.0.1:2000\n", "nothing listens on 127.0.0.1:2000"),
        ("none \x1b[3mx\n", "x"),
        ("", "did not end"),
        (f"{PEERS}\n", "did not end"),
        ("end\n", "lacks the engines"),
        (f"{PEERS}\nx\nend\n", "unexpected line"),
        ('answer clusterpeers - {"message":"not implemented"}\nend\n', "it is 'not implemented'"),
        ("answer clusterpeers - []\nend\n", "it is '[]'"),
        ("answer clusterpeers - {\nend\n", "can't be understood"),
        ('answer clusterpeers - {"message":"OK","details":{"entries":{}}}\nend\n'.replace("{}", '"x"'), "not a list"),
        (answer("clusterpeers", [{"ip": "1.2.3"}], "-") + "\nend\n", "can't be understood"),
        (answer("clusterpeers", ["x"], "-") + "\nend\n", "can't be understood"),
        (answer("clusterpeers", [{}] * 20_001, "-") + "\nend\n", "at most 20000"),
        (said(places=[{"value": "!!"}]), "base64"),
        (said(places=[{"value": "CgUx"}]), "cut off"),
        (said(places=[{"value": "CQ=="}]), "a field of type 1"),
        (said(places=[{"value": base64.b64encode(b"\xff" * 12).decode()}]), "more than 64 bits"),
        (said(places=[{"value": base64.b64encode(b"\x08\x01").decode()}]), "field 1"),
        (said(places=[place("node1", mac="; reboot")]), "not a MAC address"),
        (said(places=[place("node1", at="example")]), "can't be understood"),
        (said(names=[entry("node1", (1, "x"), (5, "300.0.0.1"))]), "can't be understood"),
    ],
)
def test_other_answers_are_a_reason_to_know_nothing(text, why):
    found = parse(text)
    assert why in found.why
    assert found.why.isprintable()
    assert (found.members, found.networks) == ({}, {})


def asking(text, control="swarm", *, joined=True, **network):
    networks = {"demo": {"Id": "a" * 25, "Driver": "overlay", **network}}
    facts = SimpleNamespace(files={DAEMON_JSON: text}, networks=networks)
    plane = SimpleNamespace(joined=lambda _: joined)
    return SimpleNamespace(facts={"node1": facts}, control=control, plane=plane)


def test_only_engines_of_a_swarm_that_show_their_tables_are_asked():
    on = '{"network-diagnostic-port": 2000}'
    assert tables.asked(asking(on), "node1") == ["2000", "a" * 25]
    assert tables.asked(asking(on, Ingress=True), "node1") == ["2000"]
    assert tables.asked(asking(on, Id="$(reboot)"), "node1") == ["2000"]
    for silent in (asking("{}"), asking("{"), asking(on, "kv"), asking(on, joined=False)):
        assert tables.asked(silent, "node1") == []
    for port in ("0", "65536", "true", '"2000"', "[]"):
        assert tables.asked(asking(f'{{"network-diagnostic-port": {port}}}'), "node1") == []


def test_why_the_tables_of_a_host_are_not_compared():
    on = asking('{"network-diagnostic-port": 2000}')
    assert tables.unread(on, "node1", parse(said())) == ""
    off = tables.unread(asking(""), "node1", tables.Tables())
    assert 'add "network-diagnostic-port": 2000 to /etc/docker/daemon.json and run systemctl reload docker' in off
    assert "remove the key and reload again" in off
    nobody = tables.unread(on, "node1", parse("none nothing listens on 127.0.0.1:2000\n"))
    assert "run systemctl reload docker" in nobody
    assert "no answer within 4 s" in tables.unread(on, "node1", parse("none no answer within 4 s on 127.0.0.1:2000\n"))
    assert tables.unread(asking("", "kv"), "node1", tables.Tables()) == ""
    assert Table().at("10.0.0.1") == ()


LISTENS = """use Socket; $| = 1; socket S, PF_INET, SOCK_STREAM, 0; bind S, sockaddr_in(0, INADDR_LOOPBACK) or die $!; listen S, 1;
print((sockaddr_in(getsockname S))[0], "\\n"); <STDIN>"""


def test_a_port_that_is_not_the_engine_s_is_not_asked():
    """Everybody can listen on a port of loopback that the engine does not hold."""
    program = render.text("tables.pl")
    user = {"user": 65534, "group": 65534} if os.geteuid() == 0 else {}
    with subprocess.Popen(["perl", "-e", LISTENS], stdin=PIPE, stdout=PIPE, text=True, cwd="/", **user) as theirs:
        port = theirs.stdout.readline().strip()
        said = subprocess.run(
            ["perl", "-e", program, port, "x" * 25], capture_output=True, text=True, check=True
        ).stdout
        theirs.communicate("\n")
    assert said == f"none 127.0.0.1:{port} is a port of user {user.get('user', os.geteuid())}, and not of the engine\n"
    said = subprocess.run(["perl", "-e", program, port], capture_output=True, text=True, check=True).stdout
    assert said == f"none nothing listens on 127.0.0.1:{port}\n"
