"""The engines' gossip: serf on 7946 in kv mode, whose members are the hosts that an engine can send packets to.

`/info` does not tell who they are. The engine itself does: memberlist, which serf is made of, answers each state that it
is told with its own (push/pull over TCP), compressed by LZW. See templates/gossip.pl, and memberlist's net.go.
"""

from __future__ import annotations

import re
from contextlib import suppress
from ipaddress import IPv4Address

from provisioner.system.owned import Owned

PORT = 7946
UNIT = "provisioner-gossip.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
PROGRAM = "/etc/provisioner/gossip.pl"
FILES = (PROGRAM, UNIT_FILE)
OWNED = Owned(files=(PROGRAM,), units=(UNIT,))

_COMPRESSED = b"\x82\xa4Algo\x00\xa3Buf"  # a map of two, in msgpack; algorithm 0 is LZW
# Metadata have up to 512 bytes and names up to 255 (memberlist, MetaMaxSize). Without bounds, and in one piece, a hostile
# answer would take minutes.
_BEGINS = b"\x87\xa4Addr\xa4"
_MEMBER = re.compile(rb"(.{4})\xabIncarnation.{1,9}?\xa4Meta.{0,520}?\xa4Name.{0,300}?\xa5State(.)", re.DOTALL)
_LONGEST = 1 << 15  # bytes; facts.pl asks for no more
_EXPANDED = 1 << 18
_ALIVE, _SUSPECT = 0, 1  # a member that missed one packet is suspected for some seconds
_CLEAR, _END = 256, 257
_WIDEST = 12  # bits of a code


def members(answer: bytes) -> frozenset[IPv4Address]:
    """The addresses of all that the engine counts as alive, itself among them. A cut answer tells as many as it has."""
    kind, _, rest = answer[:_LONGEST].partition(_COMPRESSED)
    if rest and kind == b"\x09":
        head = {0xDA: 3, 0xDB: 5, 0xC5: 3, 0xC6: 5, 0xC4: 2, 0xD9: 2}.get(rest[0], 1)  # msgpack's raw and bin lengths
        answer = _expanded(rest[head:])
    found = filter(None, map(_MEMBER.match, answer[:_EXPANDED].split(_BEGINS)[1:]))
    return frozenset(IPv4Address(member[1]) for member in found if member[2][0] in {_ALIVE, _SUSPECT})


def peers(network: object) -> frozenset[IPv4Address]:
    """The addresses of the nodes that a swarm's engine knows to be on a network, its own among them; IPv6 ones are not ours."""
    told = network.get("Peers") if isinstance(network, dict) else None
    found = set()
    for peer in told or ():
        with suppress(ValueError):
            found.add(IPv4Address(str(peer.get("IP", ""))))
    return frozenset(found)


def _expanded(data: bytes) -> bytes:
    """LZW, least significant bit first, codes of 9 to 12 bits (as in GIF; Go's compress/lzw)."""
    first = [bytes([n]) for n in range(256)] + [b"", b""]
    table, before, out = list(first), b"", bytearray()
    bits = held = 0
    for byte in data:
        bits |= byte << held
        held += 8
        width = min(max(len(table).bit_length(), 9), _WIDEST)
        if held < width:
            continue
        code, bits, held = bits & ((1 << width) - 1), bits >> width, held - width
        if code == _END:
            break
        if code == _CLEAR:
            table, before = list(first), b""
            continue
        entry = table[code] if code < len(table) else before + before[:1]
        if before and len(table) < 1 << _WIDEST:
            table.append(before + entry[:1])
        out += entry
        before = entry
        if len(out) > _EXPANDED:
            break
    return bytes(out)
