"""What detectors share is computed once for each input, and never for another one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scenes import HOSTS, healthy

from provisioner.explain.base import once
from provisioner.explain.overlays import of_kernels


def test_a_result_is_computed_once_for_each_input(site):
    calls = []
    counted = once(lambda seen: calls.append(seen) or len(calls))
    seen = healthy(site)
    assert [counted(seen), counted(seen), counted(seen.only(HOSTS))] == [1, 1, 1]
    assert [counted(replace(seen)), counted(seen.only(HOSTS[:2])), counted(seen)] == [2, 3, 1]
    assert set(of_kernels(seen)) == set(HOSTS)
    assert set(of_kernels(seen.only(HOSTS[:2]))) == set(HOSTS[:2])


def test_an_error_is_no_result(site):
    calls = []

    @once
    def fails_first(seen):
        calls.append(seen)
        if len(calls) == 1:
            raise LookupError
        return len(calls)

    seen = healthy(site)
    with pytest.raises(LookupError):
        fails_first(seen)
    assert [fails_first(seen), fails_first(seen)] == [2, 2]


def test_results_are_no_part_of_the_input(site):
    seen = healthy(site)
    of_kernels(seen)
    assert seen.results
    assert seen == replace(seen)
    assert not replace(seen).results
