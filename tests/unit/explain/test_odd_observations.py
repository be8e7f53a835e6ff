"""Malformed output of a host's observers fails only that host, or yields causes. It causes no traceback and blames no other host."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenes import CAPTURES, healthy

from provisioner import causes
from provisioner.errors import ProvisionerError
from provisioner.explain import explain, well
from provisioner.observe import kernel
from provisioner.observe.underlay import Output, assembled
from provisioner.report.document import of_diagnosis

HOSTS = ("node1", "node2", "node3")
ONCE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
WORDS = st.sampled_from(
    (
        "sent left came took size tcp syn mac rule done 1 2 3 0 -1 99 4789 7946 open silent 192.168.56.11 02:00:00:00:00:01"
        f" iptables-save filter 6d zz \u0663 1.5 {'x' * 300}"
    ).split()
)


def examined(seen):
    """Evaluate an observation as the report does."""
    found = explain(seen)
    for each in found:
        assert of_diagnosis(each)
        assert all("\n" not in command for problem in each.problems for command in causes.to_run(problem))
    assert well(seen, frozenset(each.id for each in found)) is not None
    return found


@ONCE
@given(data=st.data())
def test_a_kernel_that_answers_oddly(site, data):
    raw = bytearray((CAPTURES / "kernel-node2.txt").read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    seen = healthy(site)
    with suppress(ProvisionerError):
        odd = kernel.parsed("node2", bytes(raw))
        examined(replace(seen, observed=replace(seen.observed, kernels={**seen.observed.kernels, "node2": odd})))


@ONCE
@given(section=st.sampled_from(["links", "routes", "addresses", "neighbours", "gets"]), data=st.data())
def test_unexpected_types_in_the_output_of_ip(site, section, data):
    seen = healthy(site)
    found = json.loads(seen.observed.kernels["node2"].raw[section].split("\n")[0])
    entry = data.draw(st.sampled_from(found))
    key = data.draw(st.sampled_from(sorted(entry)))
    entry[key] = data.draw(
        st.sampled_from([None, 7, -1, "", "x", [], {}, ["x"], {"a": "b"}, True, "10.0.0.0/8", "999.1.1.1"])
    )
    odd = kernel.Kernel({**seen.observed.kernels["node2"].raw, section: json.dumps(found)})
    examined(replace(seen, observed=replace(seen.observed, kernels={**seen.observed.kernels, "node2": odd})))


@ONCE
@given(lines=st.lists(st.lists(WORDS, min_size=1, max_size=9).map(" ".join), max_size=12))
def test_an_observer_of_paths_with_odd_output(site, lines):
    seen, outputs = healthy(site), {name: Output() for name in HOSTS}
    for line in lines:
        with suppress(ValueError):
            outputs["node2"].parse(line)
    underlay = assembled(HOSTS, outputs, {})
    found = examined(replace(seen, observed=replace(seen.observed, underlay=underlay)))
    assert not any(set(each.hosts) == {"node1", "node3"} for each in found)


@pytest.mark.parametrize(
    "line", ["", "sent", "sent 1", "size x 3", "rule a b c", "rule a b 1 xyz", "tcp 1 80 open x 1 1 -", "said 1"]
)
def test_a_line_that_the_program_never_prints_is_refused(line):
    with pytest.raises(ValueError, match=r"."):
        Output().parse(line)
