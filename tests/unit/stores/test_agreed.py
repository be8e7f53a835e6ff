"""Which value counts where hosts differ: majority, tie, one odd host; and whose word counts at all."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from provisioner.errors import StepFailed
from provisioner.stores.secrets import agreed
from provisioner.system.facts import Facts

PATH = "/etc/secret"


def cluster(**values):
    """Hosts with a value each: "x", or "x?" where others than root can write the file."""
    raw = {name: {"secrets": f"{PATH}:{value.strip('?')}\n" if value else "", "guarded": "" if "?" in value else f"{PATH}\n"}
           for name, value in values.items()}  # fmt: skip
    return SimpleNamespace(servers=("c", "b", "not reached"), facts={name: Facts(found) for name, found in raw.items()})


def found(first=(), *, earlier=False, **values):
    return agreed(cluster(**values), lambda facts: facts.secrets.get(PATH, "").strip(), PATH, first, earlier=earlier)


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ({"a": "x", "b": "x", "c": "x"}, "x"),
        ({"a": "x", "b": "x", "c": "odd"}, "x"),  # one of three differs, be it the first server
        ({"a": "odd", "b": "x", "c": "x"}, "x"),
        ({"a": "x", "b": "y", "c": "z"}, "z"),  # all differ: the first server's
        ({"a": "x", "b": "y"}, "y"),  # a tie: that of the first server that has one
        ({"a": "x", "b": "y", "c": "y", "d": "x"}, "y"),
        ({"a": "x", "d": "y"}, "x"),  # no server has one: the first host's
        ({"a": "", "b": "", "c": "y"}, "y"),  # one host alone has it
        ({"a": "", "b": ""}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("earlier", [True, False])
def test_files_that_root_alone_can_write(values, counts, earlier):
    assert found(earlier=earlier, **values) == counts


@pytest.mark.parametrize(
    ("values", "first", "counts"),
    [
        ({"a": "x?", "b": "x?", "c": "y"}, (), "y"),
        ({"a": "x?", "b": "x?", "c": "x?"}, (), None),
        ({"a": "x", "b": "x", "c": "y"}, ("c",), "y"),  # what stands counts alone
        ({"a": "x", "b": "x", "c": ""}, ("c",), "x"),  # unless it has none
        ({"a": "x", "b": "x", "c": "y?"}, ("c",), "x"),
    ],
)
def test_others_do_not_count(values, first, counts):
    assert found(first, **values) == counts


@pytest.mark.parametrize(
    ("values", "first", "counts"),
    [
        ({"a": "x?", "b": "x?", "c": "x?"}, (), "x"),
        ({"a": "x?", "b": "x?", "c": "odd?"}, (), "x"),
        ({"a": "x?"}, (), "x"),
        ({"a": "x?", "b": "x?", "c": "y"}, (), "y"),  # set up since
        ({"a": "x?", "b": "x?", "c": "y"}, ("a", "b"), "x"),  # but elsewhere: it is not of the cluster that stands
        ({"a": "x?", "b": "y?", "c": "y?"}, ("a", "b", "c"), "y"),
    ],
)
def test_of_an_earlier_release_more_than_half_count(values, first, counts):
    assert found(first, earlier=True, **values) == counts


@pytest.mark.parametrize(
    "values", [{"a": "x?", "b": "y?"}, {"a": "x?", "b": "y?", "c": "z?"}, {"a": "x?", "b": "x?", "c": "y?", "d": "y?"}]
)
def test_and_where_they_do_not_agree_nothing_is_taken(values):
    with pytest.raises(StepFailed, match="no version has a majority") as error:
        found(earlier=True, **values)
    assert all(name in str(error.value) for name in values)
