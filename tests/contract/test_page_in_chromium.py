"""The HTML report in a real browser: it fits a phone, reads well in both colour schemes, and asks the network for nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from provisioner.model import Action, Diagnosis, Drift, Failure, Kind, Outcome, Problem, State
from provisioner.report.document import document
from provisioner.report.page import to_html
from tests.unit.report.hostile import HOSTILE, replaced
from tests.unit.report.report_samples import everything, examined

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
DESKTOP, PHONE = (1280, 900), (375, 800)
FOCUSABLE = "a[href], summary, [tabindex='0']"
COUNT = "found => found.filter(each => each.checkVisibility()).length"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt-get install chromium (Ubuntu has no such package)")
    from playwright.sync_api import sync_playwright

    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses to run as root with it
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield opened
        opened.close()


def plain(report: Any) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(json.dumps(document(report)))
    return whole


def troubled() -> dict[str, Any]:
    """Everything that a page can show, with the texts of real runs."""
    report = examined(3, blocked="node2")
    forward = Problem("ip-forward", "node3", "net.ipv4.ip_forward is 0", {"host": "node3"})
    path = Problem(
        "underlay-blocked",
        "node1",
        "no packet passes",
        {"protocols": "all", "source": "node1", "to": "node3"},
        target="node3",
    )
    drift = Drift(Kind.FILE, "/etc/docker/daemon.json", "{}\n", '{\n  "debug": true\n}\n', Action.RELOAD, is_file=True)
    warning = Problem(
        "engine-open",
        "node1",
        "its engine listens on tcp://0.0.0.0:2375",
        {"path": "/etc/docker/daemon.json"},
        warns=True,
    )
    outcomes = (
        Outcome("node1", "daemon", State.DRIFTED, (drift,)),
        Outcome("node2", "daemon", State.FAILED, error="it broke", check="engine-failed"),
    )
    return plain(
        replace(
            report,
            causes=(*report.causes, Diagnosis((forward,)), Diagnosis((path,)), Diagnosis((Problem("overlay-blocked", "", "nobody answers"),))),
            findings=(warning,),
            outcomes=(*report.outcomes, *outcomes),
            fixes=everything().fixes,
            lost={"node3": Failure("node3: no answer\n  next:  look", "host-unreachable")},
        )
    )  # fmt: skip


class Tab:
    """One page in one size and colour scheme. said: what it asked the network for, and what the browser complained about."""

    def __init__(
        self, browser: Browser, folder: Path, whole: dict[str, Any], size: tuple[int, int], scheme: Any = "light"
    ) -> None:
        self.said: list[str] = []
        file = folder / "report.html"
        file.write_text(to_html(whole), encoding="utf-8")
        self.context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
        self.page: Page = self.context.new_page()
        for event in ("console", "pageerror", "dialog", "request"):
            self.page.on(event, lambda what: self.said.append(getattr(what, "url", None) or str(what)))  # type: ignore[call-overload]
        self.page.goto(file.as_uri())
        assert self.said == [file.as_uri()]
        self.said.clear()

    def __enter__(self) -> Page:
        return self.page

    def __exit__(self, kind: object, *_: object) -> None:
        self.context.close()
        assert kind or not self.said


def overflow(page: Page) -> int:
    """The pixels by which the page is wider than the window, with everything unfolded."""
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    width: int = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    return width


def violations(page: Page) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary'][:300]}" for each in found for node in each["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_fits_and_is_accessible(browser, tmp_path, size, scheme):
    with Tab(browser, tmp_path, troubled(), size, scheme) as page:
        assert overflow(page) == 0
        assert violations(page) == []
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(18, 21, 25)" if scheme == "dark" else "rgb(245, 246, 248)"
        )


@pytest.mark.parametrize(
    "whole",
    [plain(examined(2)), plain(examined(12)), plain(examined(20, blocked="node7"))],
    ids=["two", "twelve", "twenty"],
)
def test_it_fits_a_phone_whatever_the_number_of_hosts(browser, tmp_path, whole):
    with Tab(browser, tmp_path, whole, PHONE, "dark") as page:
        assert overflow(page) == 0
        if len(whole["hosts"]) <= 12:  # with more, the checks take long and see nothing new
            assert violations(page) == []


def test_the_keyboard_reaches_everything_in_order(browser, tmp_path):
    with Tab(browser, tmp_path, troubled(), DESKTOP) as page:
        number = page.eval_on_selector_all(FOCUSABLE, COUNT)
        page.evaluate(
            f'[...document.querySelectorAll("{FOCUSABLE}")].forEach((each, at) => {{ each.dataset.at = at }})'
        )
        reached = []
        for _ in range(number):
            page.keyboard.press("Tab")
            reached.append(int(page.evaluate("document.activeElement.dataset.at ?? -1")))
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        assert reached == sorted(set(reached))
        assert reached[0] == 0
        page.focus("#hosts summary")
        page.keyboard.press("Enter")
        assert page.is_visible("#hosts details:first-of-type dl")


def test_the_drawing_s_texts_are_readable_on_a_phone(browser, tmp_path):
    whole = replaced_names(plain(examined(3, blocked="node2")), "-in-rack-12")
    for each in (plain(examined(3)), plain(examined(20)), whole):
        with Tab(browser, tmp_path, each, PHONE) as page:
            assert (
                page.evaluate(
                    "document.querySelector('figure text').getBBox().height * document.querySelector('figure svg').getScreenCTM().a"
                )
                > 12
            )
            assert overflow(page) == 0


def replaced_names(whole: dict[str, Any], more: str) -> dict[str, Any]:
    """Return the document with longer names of hosts."""
    longer: dict[str, Any] = json.loads(re.sub(r'"(node[0-9]+)"', rf'"\1{more}"', json.dumps(whole)))
    return longer


def test_a_link_in_the_list_of_sections_leads_to_its_section(browser, tmp_path):
    with Tab(browser, tmp_path, troubled(), PHONE) as page:
        page.click("nav a[href='#hosts']")
        assert page.evaluate("document.querySelector('#hosts').getBoundingClientRect().top < innerHeight")


@pytest.mark.parametrize("name", ["markup", "attributes", "ends", "long", "direction"])
def test_hostile_strings_run_nothing_and_break_no_layout(browser, tmp_path, name):
    with Tab(browser, tmp_path, replaced(troubled(), HOSTILE[name]), PHONE) as page:
        assert overflow(page) == 0
        assert page.evaluate("document.scripts.length + document.images.length") == 0


def test_the_policy_stops_what_would_be_injected(browser, tmp_path):
    """A style, a picture and a script that are added to the finished page do nothing."""
    with Tab(browser, tmp_path, plain(examined(2)), DESKTOP) as page:
        text = to_html(plain(examined(2)))
    bad = "<style>body{display:none}</style><img src='http://127.0.0.1:9/x'><script>document.title='run'</script>"
    file = tmp_path / "injected.html"
    file.write_text(text.replace("</body>", f"{bad}</body>"), encoding="utf-8")
    asked: list[str] = []
    with browser.new_context() as context:
        page = context.new_page()
        page.on("requestfinished", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        assert page.title() != "run"
        assert page.is_visible("h1")
    assert asked == [file.as_uri()]
