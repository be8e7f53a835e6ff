"""The engines' gossip. In kv mode this is serf on port 7946; an engine forwards packets to its members only.

`/info` does not list the members. They are read from the gossip itself: serf's library memberlist answers a state with its
own (push/pull over TCP), compressed with LZW. Sources: templates/gossip.pl, and memberlist's net.go.
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

_COMPRESSED = b"\x82\xa4Algo\x00\xa3Buf"  # a msgpack map with two keys; algorithm 0 is LZW
# Metadata has up to 512 bytes, names have up to 255 (memberlist, MetaMaxSize). Without these limits, and without splitting
# the answer first, a hostile answer would take minutes to match.
_BEGINS = b"\x87\xa4Addr\xa4"
_MEMBER = re.compile(rb"(.{4})\xabIncarnation.{1,9}?\xa4Meta.{0,520}?\xa4Name.{0,300}?\xa5State(.)", re.DOTALL)
_LONGEST = 1 << 15  # bytes; facts.pl reads no more
_EXPANDED = 1 << 18  # bytes
_ALIVE, _SUSPECT = 0, 1  # a member that missed one packet is suspect for some seconds
_CLEAR, _END = 256, 257
_WIDEST = 12  # bits of the longest LZW code


def members(answer: bytes) -> frozenset[IPv4Address]:
    """Return the addresses of the members that the engine counts as alive, itself included.

    A truncated answer gives the members that it contains.
    """
    kind, _, rest = answer[:_LONGEST].partition(_COMPRESSED)
    if rest and kind == b"\x09":
        head = {0xDA: 3, 0xDB: 5, 0xC5: 3, 0xC6: 5, 0xC4: 2, 0xD9: 2}.get(rest[0], 1)  # msgpack's raw and bin lengths
        answer = _expanded(rest[head:])
    found = filter(None, map(_MEMBER.match, answer[:_EXPANDED].split(_BEGINS)[1:]))
    return frozenset(IPv4Address(member[1]) for member in found if member[2][0] in {_ALIVE, _SUSPECT})


def peers(network: object) -> frozenset[IPv4Address]:
    """Return the IPv4 addresses of the nodes that a swarm's engine lists as peers of a network, its own included."""
    listed = network.get("Peers") if isinstance(network, dict) else None
    found = set()
    for peer in listed or ():
        with suppress(ValueError):
            found.add(IPv4Address(str(peer.get("IP", ""))))
    return frozenset(found)


def _expanded(data: bytes) -> bytes:
    """Decompress LZW: least significant bit first, codes of 9 to 12 bits (as in GIF; Go's compress/lzw)."""
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
