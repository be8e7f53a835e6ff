"""The gossip parser, on answers of real engines, and its decompression, against an encoder for the same format."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from captured import HOSTS, capture

from provisioner.system.gossip import _expanded, members, peers

ALL = frozenset(IPv4Address(f"192.168.56.1{n}") for n in (1, 2, 3))


def answer(name: str) -> bytes:
    return bytes.fromhex(capture(name).raw["gossip"].strip())


def member(address: str, state: int, name: bytes = b"node1") -> bytes:
    """Encode a pushNodeState of memberlist as go-msgpack does."""
    packed = IPv4Address(address).packed
    return (
        b"\x87\xa4Addr\xa4" + packed + b"\xabIncarnation\x01\xa4Meta\xa2\xff\x80\xa4Name"
        + bytes([0xA0 + len(name)]) + name + b"\xa4Port\xcd\x1f\n\xa5State" + bytes([state]) + b"\xa3Vsn\xa6\x01\x05\x02\x02\x05\x04"
    )  # fmt: skip


def compressed(data: bytes) -> bytes:
    """Compress as Go's compress/lzw does: LZW, least significant bit first, with a clear code first and for each full table."""
    codes: list[tuple[int, int]] = []
    table: dict[bytes, int] = {}
    width, following, held = 9, 0, b""

    def clear() -> None:
        nonlocal width, following
        codes.append((256, width))
        table.clear()
        table.update({bytes([n]): n for n in range(256)})
        width, following = 9, 257

    clear()
    for byte in data:
        longer = held + bytes([byte])
        if longer in table:
            held = longer
            continue
        codes.append((table[held], width))
        following += 1
        if following == 1 << width and width < 12:
            width += 1
        if following == 4095:
            clear()
        else:
            table[longer] = following
        held = bytes([byte])
    codes += [(table[held], width), (257, width)]
    bits = at = 0
    for code, wide in codes:
        bits |= code << at
        at += wide
    return bits.to_bytes(at // 8 + 1, "little")


@pytest.mark.parametrize("host", HOSTS)
def test_a_real_engine_that_knows_all(host):
    assert answer(f"settled-{host}").startswith(b"\t\x82\xa4Algo")  # compressed
    assert members(answer(f"settled-{host}")) == ALL


def test_an_engine_that_takes_no_part():
    assert capture("installed-node1").gossip is None
    assert capture("bare").gossip is None
    assert members(b"") == frozenset()


def test_the_first_part_of_an_answer_is_enough():
    whole = answer("settled-node1")
    assert members(whole[:400]) == ALL
    assert members(whole[:20]) == frozenset()


@pytest.mark.timeout(60)  # without the parser's limits, it would take minutes of CPU time
@pytest.mark.parametrize(
    "part", [b"\x87\xa4Addr\xa4aaaa\xabIncarnation\x01\xa4Meta\xa4Name", b"\xa4Meta", b"\xa4Name", b"x"]
)
def test_a_hostile_answer_is_parsed_fast(part):
    data = b"\x87\xa4Addr\xa4aaaa\xabIncarnation\x01\xa4Meta" + part * 20_000
    assert not members(data)
    assert not members(b"\x09" + b"\x82\xa4Algo\x00\xa3Buf\xda\x00\x00" + compressed(data[:20_000]))


def test_uncompressed():
    head = b"\x06\x83\xa4Join\xc2\xa5Nodes\x02\xacUserStateLen\x00"
    assert members(head + member("10.0.0.10", 0) + member("10.0.0.11", 0)) == {
        IPv4Address("10.0.0.10"), IPv4Address("10.0.0.11"),
    }  # fmt: skip


@pytest.mark.parametrize(("state", "counts"), [(0, True), (1, True), (2, False), (3, False)])
def test_members_that_are_dead_or_have_left_do_not_count(state, counts):
    assert bool(members(member("10.0.0.10", state))) is counts


@pytest.mark.parametrize("name", [b"a", b"n" * 31, b"node-State.example"])
def test_names(name):
    assert members(member("10.0.0.10", 2, name) + member("10.0.0.11", 0, name)) == {IPv4Address("10.0.0.11")}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"a",
        b"aaaaaaaaaa",
        bytes(range(256)) * 3,
        b"".join(member(f"10.0.{n // 250}.{n % 250}", 0) for n in range(400)),
    ],
    ids=["nothing", "one", "itself", "every byte", "a table that is full"],
)
def test_expanding(data):
    assert _expanded(compressed(data)) == data if data else _expanded(b"") == b""


@pytest.mark.parametrize(
    ("network", "wanted"),
    [
        (None, []),  # not requested, or absent
        ({"Name": "ingress"}, []),
        ({"Peers": None}, []),
        (
            {
                "Peers": [
                    {"Name": "9d685b22010c", "IP": "192.168.56.11"},
                    {"Name": "97728338c115", "IP": "192.168.56.12"},
                ]
            },
            [11, 12],
        ),
        (
            {
                "Peers": [
                    {"Name": "9d685b22010c", "IP": "fd00::1"},
                    {"IP": "1.2.3.4.5"},
                    {"Name": "97728338c115", "IP": "192.168.56.12"},
                ]
            },
            [12],
        ),
    ],
)
def test_the_peers_in_a_swarm_are_those_of_its_network(network, wanted):
    assert peers(network) == {IPv4Address(f"192.168.56.{n}") for n in wanted}
