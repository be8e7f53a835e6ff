"""The list of proofs, patterns that choose among them, and that only chosen proofs run."""

from __future__ import annotations

import json
import re
from io import StringIO

import pytest

from provisioner import proofs
from provisioner.controlplane import Site
from provisioner.errors import UsageError
from provisioner.model import PhaseBegan, State
from provisioner.proofs import Choice
from provisioner.report.listing import Listing, show_list
from tests.unit.proofs.test_overlay import Host

MORE = """
  quiet: {subnet: 10.98.0.0/24, internal: true}
  services: {subnet: 10.96.0.0/24, attachable: false}
  web: {driver: bridge, hosts: [node1, node2], subnet: 10.97.0.0/24}
  jobs: {driver: bridge, internal: true, hosts: [node2]}
  alone: {driver: bridge, hosts: [node3]}
dns: {servers: [192.0.2.53]}
control_plane: swarm"""
BUILTIN = {"builtin/bridge", "builtin/host", "builtin/none"}
USUAL = {
    *(f"overlay/{name}" for name in ("demo", "quiet", "services")),
    *(f"local/{name}" for name in ("web", "jobs", "alone")),
    *("dns/demo", "internal/quiet", "internal/jobs"),
    *(f"isolation/{name}" for name in ("demo", "quiet", "web", "jobs")),
}


@pytest.fixture
def rich(inventory):
    return inventory(kind="", more=MORE.strip("\n"))


def names(found) -> set[str]:
    return {unit.name for unit in found}


def test_what_can_be_proven(rich, inventory):
    units = proofs.units(rich)
    assert names(units) == USUAL | BUILTIN
    assert len(units) == len(names(units)), "names are unique"
    assert {unit.name: unit.hosts for unit in units if "web" in unit.name or "none" in unit.name} == {
        "local/web": ("node1", "node2"),
        "isolation/web": ("node1", "node2"),
        "builtin/none": ("node1", "node2", "node3"),
    }
    assert names(proofs.units(inventory(1))) == {"overlay/demo", *BUILTIN}
    assert names(proofs.units(inventory(2))) == {"overlay/demo", "isolation/demo", *BUILTIN}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice(), USUAL),
        (Choice(builtin=True), USUAL | BUILTIN),
        (Choice(only=("overlay/demo",)), {"overlay/demo"}),
        (Choice(only=("dns", "internal/*")), {"dns/demo", "internal/quiet", "internal/jobs"}),
        (Choice(only=("*/demo",), skip=("iso*",)), {"overlay/demo", "dns/demo"}),
        (Choice(only=("[di]*",), skip=("*/[!d]*",)), {"dns/demo", "isolation/demo"}),
        (Choice(only=("builtin",)), BUILTIN),
        (Choice(skip=("isolation", "local", "builtin")), {name for name in USUAL if name[:2] not in ("is", "lo")}),
        (Choice(skip=("builtin/none",), builtin=True), USUAL | BUILTIN - {"builtin/none"}),
    ],
)
def test_patterns(rich, choice, expected):
    units = proofs.units(rich)
    assert names(choice.of(units)) == expected
    assert names(choice.left_out(units)) == (USUAL | (BUILTIN if choice.builtin else set())) - expected


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (Choice(only=("isolaton",)), "--only `isolaton`: no proof .* did you mean `isolation`?"),
        (Choice(only=("dns", "overlay/dmo")), "--only `overlay/dmo`: no proof .* did you mean `overlay/demo`?"),
        (Choice(skip=("encrypted",)), "--skip `encrypted`: no proof of this inventory has a matching name"),
        (Choice(only=("Overlay",)), "did you mean `overlay`?"),
        (Choice(only=("quiet",)), r"did you mean '\*/quiet'?"),
        (Choice(only=("",)), "--only .*: no proof"),
        (Choice(only=("\x1b[2J",)), r"--only '\\x1b\[2J'"),
        (Choice(only=("dns",), skip=("*/demo",)), "no proof to run"),
    ],
)
def test_what_chooses_nothing_is_refused_with_the_nearest_name(rich, choice, words):
    with pytest.raises(UsageError) as error:
        choice.of(proofs.units(rich))
    assert re.search(words.replace("?", r"\?"), str(error.value))
    assert "verify --list" in str(error.value)


class Quiet:
    def __init__(self) -> None:
        self.events = []

    def event(self, event):
        self.events.append(event)


class Answering(Host):
    """A host whose probe reaches no stranger, and whose resolvers answer."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.scripts = []
        self.answer = self.as_asked

    def stream(self, script: str):
        self.scripts.append(script)
        return super().stream(script)

    def as_asked(self, orders: str) -> list[str]:
        said = [f"tried {number} 4" for number in re.findall(r"^stranger (\d+)", orders, re.MULTILINE)]
        said += ["outside 127.0.0.11 0.1 NXDOMAIN"] if "\noutside " in f"\n{orders}" else []
        return [*said, *self.proves(orders)]


def ran(found, *only: str):
    """Run these proofs. Return the results, the orders to the probes, the hosts, and the titles of the phases."""
    hosts = [Answering(number) for number in (1, 2, 3)]
    site, observer = Site(found, {}, {}, (), tuple(host.name for host in hosts)), Quiet()
    by_name = {host.name: host for host in hosts}
    results = list(proofs.prove(lambda: site, by_name, observer, again=lambda: site, chosen=Choice(only=only)))
    began = [event.title for event in observer.events if isinstance(event, PhaseBegan)]
    return results, "\n".join(order for host in hosts for order in host.sent), hosts, began


def test_only_what_is_chosen_is_tried(rich):
    results, orders, hosts, began = ran(rich, "dns")
    assert {result.name: result.state for result in results if result.chosen} == {"dns/demo": State.SETTLED}
    assert {result.name for result in results if not result.chosen} == USUAL - {"dns/demo"}
    assert all(result.state is State.SKIPPED for result in results if not result.chosen)
    assert {line.split()[0] for line in orders.splitlines()} == {"outside", "go"}, "no peers, no strangers, no ports"
    assert [len(host.scripts) for host in hosts] == [1, 1, 1]
    assert began == ["Proof of demo"]


def test_the_overlay_proof_alone_tries_nothing_else(rich):
    results, orders, _, _ = ran(rich, "overlay/demo")
    assert [result.name for result in results if result.chosen] == ["overlay/demo"]
    assert {line.split()[0] for line in orders.splitlines()} == {"peer", "flow", "go"}


def test_isolation_of_one_network_takes_another_one_along(rich):
    """The report has no result for the other network."""
    results, orders, hosts, began = ran(rich, "isolation/demo")
    assert {result.name: result.state for result in results if result.chosen} == {"isolation/demo": State.SETTLED}
    assert {line.split()[0] for line in orders.splitlines()} == {"stranger", "go"}
    assert [len(host.scripts) for host in hosts] == [2, 2, 2]
    assert began == ["Proof of demo"]


def test_a_chosen_proof_that_can_not_be_tried_is_reported_so(rich):
    results, orders, _, _ = ran(rich, "overlay/services")
    (result,) = [each for each in results if each.chosen]
    assert (result.state, result.reason) == (
        State.SKIPPED,
        "not attachable: only containers of services may join it",
    )
    assert not orders


def test_the_list(rich):
    units = proofs.units(rich)
    listing = Listing(rich, units, Choice(only=("*/web",)).of(units))
    out = StringIO()
    show_list(listing, out=out)
    lines = out.getvalue().splitlines()
    assert len(lines) == len(units) + 1
    assert (
        "+ local/web         containers on one host reach each other, and other hosts as far as the network allows"
        " (on node1, node2)"
    ) in [line.replace("✓", "+") for line in lines]
    assert lines[-1].startswith(f"2 of {len(units)} proofs run")
    out = StringIO()
    show_list(listing, json=True, out=out)
    found = json.loads(out.getvalue())["proofs"]
    assert {each["name"] for each in found if each["chosen"]} == {"local/web", "isolation/web"}
    assert {each["name"] for each in found} == USUAL | BUILTIN
