"""Deadlines that hosts share: one that hangs is recognised by the others."""

from __future__ import annotations

from provisioner.transport import Together


def test_once_half_of_the_hosts_have_ended_the_others_get_less_time():
    together = Together(4, 60.0, least=15.0)
    deadlines = [together.deadline() for _ in range(4)]
    together.ended()
    assert {each.seconds for each in deadlines} == {60.0}
    together.ended()
    assert {each.seconds for each in deadlines} == {15.0}
    assert 14 < deadlines[3].left <= 15
    assert together.deadline().seconds == 15.0


def test_where_all_hosts_are_slow_none_of_them_is_cut_short():
    together = Together(2, 60.0, least=0.001, times=1e9)
    deadline = together.deadline()
    together.ended()
    assert deadline.seconds == 60.0


def test_one_host_has_nobody_to_be_compared_with():
    together = Together(1, 60.0)
    deadline = together.deadline()
    assert deadline.seconds == 60.0


def test_hosts_that_do_not_take_part_are_not_waited_for():
    together = Together(4, 60.0, least=15.0)
    deadline = together.deadline()
    together.ended()
    assert deadline.seconds == 60.0
    together.among(2)
    assert deadline.seconds == 15.0


def test_the_time_of_hosts_that_do_not_take_part_does_not_count(monkeypatch):
    now = iter([0.0, 0.0, 1.0, 40.0])
    monkeypatch.setattr("provisioner.transport.deadline.time.monotonic", lambda: next(now, 40.0))
    together = Together(4, 60.0, least=2.0)
    deadline = together.deadline()
    together.ended()
    together.among(2)
    assert deadline.seconds == 5.0, "five times the second that the other host took"
