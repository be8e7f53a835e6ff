"""The recording of dropped packets on hosts: what they answer is checked, and a host without it stops no observation."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from provisioner.errors import ProvisionerError
from provisioner.observe import drops, underlay
from provisioner.observe.drops import Drop, Drops

SITE = SimpleNamespace(
    inventory=SimpleNamespace(hosts={"a": 0, "b": 0, "c": 0}), advertise={"a": 1, "c": 2}, live=("a", "c")
)


class Stream:
    def __init__(self, *lines):
        self.said, self.closed = list(lines), False

    def readline(self, _):
        return self.said.pop(0) if self.said else None

    def lines(self, _):
        while self.said:
            yield self.said.pop(0)

    def send(self, _):
        pass

    def __exit__(self, *_):
        self.closed = True


def recorded(*lines):
    """What is known of host a, if its program prints these lines; c has no perl."""
    streams = {"a": Stream(*lines), "c": Stream()}
    scripts = []

    def connection(name):
        return SimpleNamespace(name=name, stream=lambda script, within: scripts.append(script) or streams[name])

    with drops.recorded(SITE, {name: connection(name) for name in streams}, SITE.live) as found:
        pass
    assert all(stream.closed for stream in streams.values())
    return found, scripts


def test_drops_are_read():
    found, scripts = recorded(
        "ready", "drop in 20 NETFILTER_DROP nft_do_chain", "drop out 3 IP_OUTNOROUTES ip_route.part.0", "end"
    )
    assert found["a"] == Drops(
        (Drop(20, "NETFILTER_DROP", "nft_do_chain"), Drop(3, "IP_OUTNOROUTES", "ip_route.part.0", incoming=False))
    )
    assert found["c"] == Drops(why="its program ended")
    assert sorted(script[-len(" 52 provisioner-1") :] for script in scripts) == [
        " 52 provisioner-1",
        " 53 provisioner-2",
    ]


@pytest.mark.parametrize("lines", [
    ("none the kernel has no tracing",), ("ready",), ("ready", "drop in 1 A b"), ("ready", "drop up 1 A b", "end"), ("ready", "drop in 1 a b", "end"),
    ("ready", "drop in 1 A \x1b[31m", "end"), ("ready", *["drop in 1 A b"] * 101, "end"), ("other",),
])  # fmt: skip
def test_other_answers_are_a_reason_to_know_nothing(lines):
    found, _ = recorded(*lines)
    assert (found["a"].found, bool(found["a"].why)) == ((), True)


def test_an_error_while_it_records_ends_all_programs():
    streams = [Stream("ready", "end")]
    connection = SimpleNamespace(name="a", stream=lambda *_, **__: streams[0])
    with pytest.raises(ProvisionerError), drops.recorded(SITE, {"a": connection}, SITE.live):
        raise ProvisionerError("stopped", cause="interrupted")
    assert streams[0].closed


def test_a_host_is_known_by_the_length_of_its_datagrams():
    assert underlay.numbers(SITE) == {"a": 1, "c": 2}
    assert [underlay.length(at) for at in (1, 99, 100)] == [52, 150, 51]
    assert len(underlay.program(10**9)) <= 15
