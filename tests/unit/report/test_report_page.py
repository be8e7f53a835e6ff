"""The report as an HTML page. tests/contract/test_page_in_chromium.py looks at it in a browser."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hostile import HOSTILE, each_replaced, replaced
from report_samples import everything, examined, names, pair, status, up

from provisioner.model import Archived, Diagnosis, Failure, PathSeen, PortSeen, Problem, ProofResult, State
from provisioner.report.document import document
from provisioner.report.drawing import drawing
from provisioner.report.grids import grids, rate
from provisioner.report.page import to_html

VOID = {"meta", "br"}
SVG = {"svg", "title", "desc", "path", "circle", "rect", "text", "g"}
TAGS = SVG | VOID | {
    "html", "head", "style", "body", "a", "header", "p", "h1", "span", "dl", "div", "dt", "dd", "nav", "ul", "li", "main", "section", "h2", "article", "h3",
    "pre", "code", "figure", "figcaption", "details", "summary", "table", "caption", "thead", "tbody", "tr", "th", "td", "strong", "footer",
}  # fmt: skip


class Page(HTMLParser):
    """The tags and texts of a page, which must be balanced."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(attrs) == len({name for name, _ in attrs}), attrs
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in SVG
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def handle_comment(self, data):
        raise AssertionError(data)


def plain(report):
    return json.loads(json.dumps(document(report)))


def checked(text):
    """Return the parsed page, after checks that it is complete in itself and can run nothing."""
    page = Page(text)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        assert tag in TAGS
        assert not {"src", "style", "srcset", "xlink:href", "formaction"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
        if "href" in attributes:
            assert attributes["href"].removeprefix("#") in ids
        if "aria-labelledby" in attributes:
            assert set(attributes["aria-labelledby"].split()) <= set(ids)
    text.encode()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]", text)
    return page


def page(report):
    return checked(to_html(plain(report)))


def shown(report):
    return " ".join(" ".join(page(report).texts).split())


def test_the_title_and_the_heading_are_the_verdict():
    text = to_html(plain(examined(3, blocked="node2")))
    assert re.search(r"<title>1 cause found: vxlan-blocked \(demo\)</title>", text)
    assert re.search(r'<h1 class="bad">.*1 cause found: vxlan-blocked</h1>', text)
    assert '<h1 class="good">' in to_html(plain(examined(3)))


def test_the_policy_allows_the_page_s_own_style_and_nothing_else():
    text = to_html(plain(examined(3)))
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policies = [
        tag["content"] for name, tag in page(examined(3)).tags if tag.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies == [f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"]
    assert not re.search(r"url\(|@import|@font-face|expression|http", style)


def test_a_cause_has_its_place_evidence_and_cure():
    text = shown(examined(3, blocked="node2"))
    for word in (
        "The overlay's data port is blocked: node2", "vxlan-blocked", "explains 4 failed pairs", "node1 > node2: 4789/udp packets lost",
        "-A INPUT -p udp -m udp --dport 4789 -j DROP", "Overlay networks carry all data", "find what drops 4789/udp on node2", "2 of 6 pairs proven",
    ):  # fmt: skip
        assert word in text


def test_commands_are_there_to_be_copied():
    problem = Problem("ip-forward", "node1", "it is 0", {"host": "node1"})
    text = to_html(plain(replace(examined(3), causes=(Diagnosis((problem,)),), exit_code=1)))
    assert '<pre class="run"><code>sysctl -w net.ipv4.ip_forward=1' in text


@pytest.mark.parametrize("number", [0, 1, 2, 3, 10, 11, 50])
def test_hosts_are_drawn_inside_the_drawing_and_apart(number):
    report = examined(number, blocked="node2" if number > 1 else "")
    drawn = drawing(plain(report))
    assert [node.name for node in drawn.nodes] == list(names(number))
    for node in drawn.nodes:
        assert 0 < node.x < drawn.width
        assert 0 < node.y < drawn.height
    places = [(node.x, node.y) for node in drawn.nodes]
    apart = [abs(complex(*a) - complex(*b)) for at, a in enumerate(places) for b in places[:at]]
    assert min(apart, default=100) > 2 * drawn.radius + 4
    assert len(drawn.lines) == number * (number - 1) // 2
    page(report)


def test_the_broken_hop_is_marked_near_the_host_that_drops():
    drawn = drawing(plain(examined(3, blocked="node2")))
    (node,) = [node for node in drawn.nodes if node.name == "node2"]
    assert (node.state, node.numbers) == ("bad", "1")
    assert [line.state for line in drawn.lines] == ["good", "bad", "bad"]
    assert len(drawn.marks) == 2
    for mark in drawn.marks:
        assert abs(complex(mark.x, mark.y) - complex(node.x, node.y)) < 70
    assert [(each.source, each.target, each.where) for each in drawn.troubles if each.known] == [
        ("node1", "node2", "at node2"),
        ("node3", "node2", "at node2"),
    ]


def seen_on(*ports, size=1500):
    lone = (
        PathSeen("node1", "node2", size, ports),
        PathSeen("node2", "node1", 1500, (PortSeen(4789, "udp", 20, 20, 20, 20),)),
    )
    return plain(replace(examined(2), paths=lone))


def test_a_loss_between_hosts_is_marked_halfway_and_a_partial_one_is_a_warning():
    drawn = drawing(seen_on(PortSeen(4789, "udp", 20, 20, 0, 0, 100)))
    (first, second), (mark,) = drawn.nodes, drawn.marks
    assert (mark.x, mark.y) == ((first.x + second.x) / 2, (first.y + second.y) / 2)
    drawn = drawing(seen_on(PortSeen(4789, "udp", 20, 20, 10, 10, 50)))
    assert ([line.state for line in drawn.lines], drawn.marks, drawn.troubles[0].what) == (
        ["warn"],
        (),
        "4789/udp 50 % lost",
    )
    drawn = drawing(seen_on(PortSeen(4789, "udp", 20, 20, 20, 20), size=1400))
    assert drawn.troubles[0].what == "packets of up to 1400 bytes arrive, 1500 are needed"
    assert not drawing(seen_on(PortSeen(4789, "udp", 20, 20, 19, 19, 5))).troubles


def test_a_cause_on_a_path_is_at_its_line_and_one_of_the_cluster_is_named_below():
    path = Diagnosis(
        (
            Problem(
                "underlay-blocked",
                "node1",
                "no packet passes",
                {"protocols": "x", "source": "a", "to": "b"},
                target="node3",
            ),
        )
    )
    whole = Diagnosis((Problem("overlay-blocked", "", "nobody answers"),))
    drawn = drawing(plain(replace(examined(3), causes=(path, whole))))
    assert [mark.numbers for mark in drawn.marks] == ["1"]
    assert drawn.cluster == "2"
    assert "Of the whole cluster: cause 2" in shown(replace(examined(3), causes=(path, whole)))


def test_a_host_that_dropped_out_and_a_run_without_observations():
    report = replace(examined(3), lost={"node2": Failure("node2: no answer", "host-unreachable")}, exit_code=1)
    assert [node.state for node in drawing(plain(report)).nodes] == ["good", "lost", "good"]
    assert "node2: no answer" in shown(report)
    blind = drawing(plain(replace(examined(3), paths=(), proofs=())))
    assert {line.state for line in blind.lines} == {"unknown"}
    assert not blind.measured


def test_cells_have_texts_and_levels():
    reached, sizes, losses = grids(plain(examined(3, blocked="node2")))
    assert (reached.title, sizes.same) == ("demo: round-trip times, 2 of 6 pairs proven", "1500 bytes on every path")
    assert [[cell.text for cell in row] for row in reached.cells] == [
        ["·", "✗", "✓ 0.70 ms"],
        ["✗", "·", "✗"],
        ["✓ 1.9 ms", "✗", "·"],
    ]
    assert (reached.cells[0][2].level, reached.cells[2][0].level) == (1, 3)
    assert reached.cells[0][1].note == "address not reached, no packet of full size"
    assert [[cell.text for cell in row] for row in losses.cells] == [
        ["·", "✗ 100 %", "0 %"],
        ["0 %", "·", "0 %"],
        ["0 %", "✗ 100 %", "·"],
    ]
    assert losses.cells[0][1].note == "4789/udp at node2"


def test_sizes_that_differ_are_a_table_and_so_are_other_measurements():
    whole = seen_on(PortSeen(4789, "udp", 20, 20, 20, 20), size=1400)
    assert [[cell.text for cell in row] for row in grids(whole)[1].cells] == [["·", "✗ 1400"], ["1500", "·"]]
    for number, each in enumerate(whole["proofs"][0]["pairs"]):
        each |= {"throughput": 800.0 * (1 + number), "longest_gap": 0.151}
    found = {each.title: each for each in grids(whole)}
    assert [[cell.text for cell in row] for row in found["demo: throughput"].cells] == [
        ["·", "800 Mbit/s"],
        ["1.6 Gbit/s", "·"],
    ]
    assert found["demo: throughput"].open
    assert found["demo: longest gaps"].same == "151 ms on every path"
    assert [rate(value) for value in (9.84, 999.6, 10_000)] == ["9.84 Mbit/s", "1 Gbit/s", "10 Gbit/s"]


def test_pairs_without_a_time_or_a_measurement():
    seen = (pair("node1", "node2", rtt=None), pair("node1", "node3"))
    (table,) = grids(plain(up(3, proofs=(ProofResult("overlay", "demo", State.FAILED, seen),))))
    assert [[cell.text for cell in row] for row in table.cells] == [
        ["·", "✓", "✓ 420 ms"],
        ["?", "·", "?"],
        ["?", "?", "·"],
    ]


def test_facts_of_hosts():
    text = shown(examined(3))
    for word in (
        "192.168.56.12, Debian 11, engine 20.10.5",
        "Advertises 192.168.56.11:2376",
        "172.17.0.0/16",
        "Running containers 2",
    ):
        assert word in text


def test_the_archive_is_named():
    assert "Archive" not in shown(examined(2))
    assert "Archive /tmp/a.tar.gz" in shown(replace(examined(2), archive=Archived("/tmp/a.tar.gz", 10, {}, "")))


@pytest.mark.parametrize(
    "report", [everything(), status(3), up(4), examined(12)], ids=["everything", "status", "up", "twelve"]
)
def test_every_report_can_be_a_page(report):
    page(report)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_strings_anywhere_are_only_text(text):
    """The page has the same elements as with a harmless text of its place."""
    for whole in (plain(everything()), plain(examined(3, blocked="node2"))):
        found, harmless = checked(to_html(replaced(whole, text))), checked(to_html(replaced(whole, "x")))
        assert [tag for tag, _ in found.tags] == [tag for tag, _ in harmless.tags]


def test_a_hostile_string_at_any_single_place_is_only_text():
    for each in each_replaced(plain(everything()), f"{HOSTILE['markup']} {HOSTILE['attributes']} {HOSTILE['ends']}"):
        checked(to_html(each))
