import re
from dataclasses import replace

import pytest
from report_samples import names, pair, shown, up

from provisioner.model import Check, ProofResult, State
from provisioner.proofs.flows import targets
from provisioner.report.document import document
from provisioner.report.matrix import failures


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize(
    ("lost", "letters"),
    [
        ("", ""),
        ("name by_name", "n"),
        ("address by_name full", "af"),
        ("name address by_name full", "naf"),
        ("by_name", "b"),
        ("full", "f"),
    ],
)
def test_each_failure_has_a_letter(lost, letters):
    assert failures(pair("a", "b", lost=lost)) == letters


def test_a_pair_that_nobody_measured_is_no_proof():
    assert failures(None) == "?"
    whole = up()
    proof = whole.proofs[0]
    text = shown(replace(whole, proofs=(replace(proof, pairs=proof.pairs[:-1]),)))
    assert "    ✗ node3 -> node2: not measured\n" in text
    assert text.endswith("not proven: only 5 of 6 pairs on demo\n")


def test_a_host_with_itself_is_no_pair():
    whole = up()
    proof = replace(whole.proofs[0], pairs=(*whole.proofs[0].pairs, pair("node1", "node1", lost="full")))
    assert "6 of 6 pairs" in shown(replace(whole, proofs=(proof,)))


def test_a_one_way_loss_is_seen_in_its_cell_and_in_words():
    text = shown(up(fails=lambda s, t: "address by_name full" if (s, t) == ("node1", "node2") else ""))
    assert (
        """\
           node1     node2     node3
    node1  ·         ✗ af      ✓ 420 ms
    node2  ✓ 420 ms  ·         ✓ 420 ms
    node3  ✓ 420 ms  ✓ 420 ms  ·
    rows: from, columns: to; ✓ reached by name, by address and at full size; a address not reached, f no packet of full size
    times: shortest of 5 round trips
    ✗ node1 -> node2: address not reached, no packet of full size
"""
        in text
    )


@pytest.mark.parametrize(
    ("rtt", "cell"),
    [
        (0.000042, "✓ 0.04 ms"),
        (0.0009949, "✓ 0.99 ms"),
        (0.000996, "✓ 1.0 ms"),
        (0.00994, "✓ 9.9 ms"),
        (0.00996, "✓ 10 ms"),
        (0.0623, "✓ 62 ms"),
        (1.24, "✓ 1.2 s"),
        (None, "✓"),
    ],
)
def test_a_cell_has_the_round_trip_and_not_the_time_since_the_proof_began(rtt, cell):
    proof = up(2).proofs[0]
    pairs = tuple(replace(each, rtt=rtt) if each.source == "node1" else each for each in proof.pairs)
    text = shown(up(2, proofs=(replace(proof, pairs=pairs),)))
    assert re.search(r"^    node1  ·  +(✓.*)$", text, re.MULTILINE)[1] == cell
    assert "    times: shortest of 5 round trips\n" in text
    untimed = tuple(replace(each, rtt=None) for each in pairs)
    assert "round trip" not in shown(up(2, proofs=(replace(proof, pairs=untimed),)))


def test_beyond_a_dozen_hosts_the_shortest_and_the_longest_time_are_shown():
    proof = up(13).proofs[0]
    times = {("node3", "node7"): 0.9, ("node1", "node2"): 0.00021}
    pairs = tuple(replace(each, rtt=times.get((each.source, each.target), 0.004)) for each in proof.pairs)
    text = shown(up(13, proofs=(replace(proof, pairs=pairs),)))
    assert "    shortest of 5 round trips: 0.21 ms to 900 ms (node3 to node7)\n" in text


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        (
            (850.4, 1200.0, 1000.0, 900.0),
            "times: shortest of 5 round trips; throughput 850 to 1200 Mbit/s on 4 of 6 pairs",
        ),
        ((2.04, 9.96, 5, 5, 5, 5), "times: shortest of 5 round trips; throughput 2.0 to 10.0 Mbit/s"),
        ((500,) * 6, "times: shortest of 5 round trips; throughput 500 Mbit/s"),
        ((), "times: shortest of 5 round trips"),
    ],
)
def test_the_throughput_is_in_a_line_with_the_pairs_that_were_measured(measured, words):
    proof = up().proofs[0]
    values = dict(enumerate(measured))
    pairs = tuple(replace(each, throughput=values.get(at)) for at, each in enumerate(proof.pairs))
    assert f"    {words}\n" in shown(up(3, proofs=(replace(proof, pairs=pairs),)))


@pytest.mark.parametrize(
    ("transfer", "cell", "words"),
    [
        ("corrupt", "✗ c", "c data changed on the way"),
        ("stalled", "✗ s", "s transfer stalled"),
        ("dropped", "✗ d", "d connection dropped"),
    ],
)
def test_a_pair_of_which_only_the_connection_failed(transfer, cell, words):
    proof = up(2).proofs[0]
    pairs = (replace(proof.pairs[0], transfer=transfer), replace(proof.pairs[1], transfer="passed"))
    text = shown(up(2, proofs=(replace(proof, pairs=pairs),)))
    assert re.search(r"^    node1  ·  +(.*)$", text, re.MULTILINE)[1] == cell
    assert words in text
    assert f"✗ node1 -> node2: {words[2:]}\n" in text


def test_a_host_that_fails_with_all_others_has_one_line():
    text = shown(up(fails=lambda _s, t: "full" if t == "node2" else ""))
    assert "    ✗ every other host -> node2: no packet of full size\n" in text
    assert "node1 -> node2" not in text


def test_an_alias():
    text = shown(up(fails=lambda _s, t: "alias" if t == "node2" else "name alias" if t == "node3" else ""))
    assert "    ✗ every other host -> node2: alias not resolved\n" in text
    assert "    ✗ every other host -> node3: name not resolved\n" in text


def test_a_proof_without_pairs_counts_its_hosts():
    checks = (Check("node1", "a", 0.1), Check("node1", "b", None, "no answer"), Check("node2", "a", 0.2))
    proofs = (
        *up().proofs,
        ProofResult("dns", "demo", State.FAILED, reason="of x", error="why", seconds=4.5, checks=checks),
    )
    assert "  ✗ dns on demo: 1 of 2 hosts, 4.5 s, of x\n" in shown(up(proofs=proofs))


def test_long_names_give_way_to_numbers():
    hosts = [f"host-{number}.frankfurt.example.org" for number in range(4)]
    proof = replace(up().proofs[0], pairs=tuple(pair(s, t) for s in hosts for t in hosts if s != t))
    rows = shown(up(hosts=tuple(hosts), proofs=(proof,))).splitlines()
    assert "                             1         2         3         4" in rows
    assert any(row.startswith("     1 host-0.frankfurt.ex…  ·         ✓ 420 ms") for row in rows)


def test_thirteen_hosts_are_one_character_a_pair():
    lost = {("node3", "node7"): "address by_name full", ("node12", "node2"): "full"}
    rows = shown(up(13, fails=lambda s, t: lost.get((s, t), ""))).splitlines()
    at = rows.index("                        1 111")
    assert rows[at : at + 5] == [
        "                        1 111",
        "               1234567890 123",
        "     1 node1   ·✓✓✓✓✓✓✓✓✓ ✓✓✓",
        "     2 node2   ✓·✓✓✓✓✓✓✓✓ ✓✓✓",
        "     3 node3   ✓✓·✓✓✓✗✓✓✓ ✓✓✓",
    ]
    assert "    12 node12  ✓f✓✓✓✓✓✓✓✓ ✓·✓" in rows
    assert rows[-3:-1][0] == "    ✗ node12 -> node2: no packet of full size"
    assert rows[-1] == "not proven: only 154 of 156 pairs on demo"


def test_fifty_hosts_are_wrapped_where_they_do_not_fit(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    rows = shown(up(50)).splitlines()
    first = [row for row in rows if row.startswith("     1 node1 ")]
    assert first == ["     1 node1   ·✓✓✓✓✓✓✓✓✓ ✓✓✓✓✓✓✓✓✓✓ ✓✓✓✓✓✓✓✓✓✓ ✓✓✓✓✓✓✓✓✓✓", "     1 node1   ✓✓✓✓✓✓✓✓✓✓"]
    assert rows[-1].startswith("proven: 50 hosts, 2450 of 2450 pairs on demo")


def test_a_hundred_hosts_have_three_digits():
    rows = shown(up(100)).splitlines()
    assert any(row.startswith("    100 node100  ") for row in rows)


def test_only_twenty_failures_are_described():
    lost = {(f"node{number}", f"node{number + 1}") for number in range(1, 31)}
    report = up(40, fails=lambda s, t: "full" if (s, t) in lost else "")
    assert "    … and 10 more\n" in shown(report)
    assert shown(report).count(" -> ") == 20
    assert shown(report, verbose=True).count(" -> ") == 30


def test_the_order_is_the_inventorys():
    whole = up()
    proof = replace(whole.proofs[0], pairs=tuple(reversed(whole.proofs[0].pairs)))
    assert shown(replace(whole, proofs=(proof,))) == shown(whole)
    assert names(3) == whole.hosts


def test_the_line_of_a_proof_says_on_how_many_pairs_data_were_sent():
    proof = up(20).proofs[0]
    hosts = list(dict.fromkeys(pair.source for pair in proof.pairs))
    sent = {(hosts[at], hosts[to]) for at in range(20) for to in targets(at, [n for n in range(20) if n != at])}
    pairs = tuple(replace(p, transfer="passed" if (p.source, p.target) in sent else "") for p in proof.pairs)
    some = up(20, proofs=(replace(proof, pairs=pairs),))
    assert "380 of 380 pairs, data sent on 80 of 380 pairs, MTU" in shown(some)
    assert document(some)["proofs"][0]["pairs_with_data"] == 80
    every = tuple(replace(pair, transfer="passed") for pair in proof.pairs)
    failed = (replace(every[0], transfer="", address=None, detail="no answer"), *every[1:])
    for known in (every, failed, proof.pairs):
        assert "data sent" not in shown(up(20, proofs=(replace(proof, pairs=known),)))
