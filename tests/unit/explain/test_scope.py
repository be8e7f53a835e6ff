"""`doctor --only` and `--skip` select proofs, observations and causes. A pattern that matches nothing is an error."""

from __future__ import annotations

import pytest

from provisioner import proofs
from provisioner.errors import UsageError
from provisioner.explain.scope import scope
from provisioner.proofs import Choice


@pytest.fixture
def chosen(inventory):
    units = proofs.units(inventory())

    def choose(only=(), skip=(), *, builtin: bool = False):
        """Return the names of the proofs, the observations, and the scope."""
        found = scope(Choice(tuple(only), tuple(skip), builtin=builtin), units)
        names = [unit.name for unit in found.choice.of(units)] if found.choice else []
        return names, set(found.observations), found

    return choose


BOTH = {"underlay", "kernel"}
PROOFS = ["overlay/demo", "isolation/demo"]


@pytest.mark.parametrize(
    ("only", "skip", "names", "observations"),
    [
        ([], [], PROOFS, BOTH),
        (["underlay"], [], [], {"underlay"}),
        (["kernel", "overlay/*"], [], ["overlay/demo"], {"kernel"}),
        (["isolation"], [], ["isolation/demo"], set()),
        ([], ["overlay/*"], ["isolation/demo"], BOTH),
        ([], ["overlay/*", "isolation"], [], BOTH),
        ([], ["*/demo", "kernel"], [], {"underlay"}),
        (["vxlan-blocked"], [], PROOFS, BOTH),
        (["vxlan-blocked", "underlay"], [], [], {"underlay"}),
        (["vxlan-blocked"], ["overlay/demo"], ["isolation/demo"], BOTH),
        (["*"], [], None, BOTH),
    ],
)
def test_what_is_looked_at(chosen, only, skip, names, observations):
    found = chosen(only, skip)
    assert names is None or found[0] == names
    assert found[1] == observations


@pytest.mark.parametrize(
    ("only", "skip", "reported", "hidden"),
    [
        ([], [], {"vxlan-blocked", "drift"}, set()),
        (["vxlan-blocked"], [], {"vxlan-blocked"}, {"drift", "gossip-blocked"}),
        (["*-blocked"], [], {"vxlan-blocked", "gossip-blocked"}, {"drift"}),
        ([], ["drift"], {"vxlan-blocked"}, {"drift"}),
        (["*-blocked"], ["gossip-*"], {"vxlan-blocked"}, {"gossip-blocked", "drift"}),
        (["underlay"], [], {"vxlan-blocked", "drift"}, set()),
        (["*"], [], {"vxlan-blocked", "drift"}, set()),
    ],
)
def test_what_is_reported(chosen, only, skip, reported, hidden):
    *_, found = chosen(only, skip)
    assert all(map(found.reports, reported))
    assert not any(map(found.reports, hidden))


@pytest.mark.parametrize("option", ["only", "skip"])
@pytest.mark.parametrize(
    ("pattern", "near"), [("vxlan-bocked", "vxlan-blocked"), ("underlai", "underlay"), ("overlay/demi", "overlay/demo")]
)
def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest_name(chosen, option, pattern, near):
    with pytest.raises(UsageError, match=f"--{option} .*{near}") as caught:
        chosen(**{option: [pattern]})
    assert caught.value.exit_code == 64


def test_builtin_networks_are_proven_with_all(chosen):
    names, *_ = chosen(builtin=True)
    assert "builtin/bridge" in names
