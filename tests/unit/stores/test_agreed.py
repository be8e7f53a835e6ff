"""Which value is chosen if hosts differ (majority, tie, one odd host), and which hosts count."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from provisioner.errors import StepFailed
from provisioner.stores.secrets import agreed
from provisioner.system.facts import Facts

PATH = "/etc/secret"


def cluster(**values):
    """Hosts with one value each: "x", or "x?" if users other than root can write the file."""
    raw = {name: {"secrets": f"{PATH}:{value.strip('?')}\n" if value else "", "guarded": "" if "?" in value else f"{PATH}\n"}
           for name, value in values.items()}  # fmt: skip
    return SimpleNamespace(servers=("c", "b", "not reached"), facts={name: Facts(found) for name, found in raw.items()})


def found(first=(), *, earlier=False, **values):
    return agreed(cluster(**values), lambda facts: facts.secrets.get(PATH, "").strip(), PATH, first, earlier=earlier)


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ({"a": "x", "b": "x", "c": "x"}, "x"),
        ({"a": "x", "b": "x", "c": "odd"}, "x"),  # one of three differs, even if it is the first server
        ({"a": "odd", "b": "x", "c": "x"}, "x"),
        ({"a": "x", "b": "y", "c": "z"}, "z"),  # all differ: the first server's
        ({"a": "x", "b": "y"}, "y"),  # a tie: the first server with a value decides
        ({"a": "x", "b": "y", "c": "y", "d": "x"}, "y"),
        ({"a": "x", "d": "y"}, "x"),  # no server has a value: the first host decides
        ({"a": "", "b": "", "c": "y"}, "y"),  # only one host has a value
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
        ({"a": "x", "b": "x", "c": "y"}, ("c",), "y"),  # only the running cluster counts
        ({"a": "x", "b": "x", "c": ""}, ("c",), "x"),  # unless it has no value
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
        ({"a": "x?", "b": "x?", "c": "y"}, (), "y"),  # node c was set up by a newer release
        ({"a": "x?", "b": "x?", "c": "y"}, ("a", "b"), "x"),  # the same, but outside the running cluster
        ({"a": "x?", "b": "y?", "c": "y?"}, ("a", "b", "c"), "y"),
    ],
)
def test_after_an_earlier_release_a_majority_counts(values, first, counts):
    assert found(first, earlier=True, **values) == counts


@pytest.mark.parametrize(
    "values", [{"a": "x?", "b": "y?"}, {"a": "x?", "b": "y?", "c": "z?"}, {"a": "x?", "b": "x?", "c": "y?", "d": "y?"}]
)
def test_without_a_majority_no_value_is_chosen(values):
    with pytest.raises(StepFailed, match="no version has a majority") as error:
        found(earlier=True, **values)
    assert all(name in str(error.value) for name in values)
