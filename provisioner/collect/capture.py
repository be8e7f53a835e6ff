"""Records packets between hosts while probes are sent. Only their headers leave the host. Written as pcap files.

Link type 113 (LINUX_SLL of libpcap): each packet tells whether it left or arrived, and the address of the other side.
"""

from __future__ import annotations

import re
import shlex
import struct
from typing import TYPE_CHECKING

from provisioner import render
from provisioner.errors import Malformed, ProvisionerError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.transport import Connection, Stream

MOST = 400  # packets of one host
_READY, _ANSWER = 8.0, 10.0  # seconds
_LINE = re.compile(
    r"packet ([0-9]{1,10}) ([0-9]{1,6}) ([0-9]{1,3}) ([0-9]{1,5}) ([0-9]{1,3}) ([0-9a-f]{16}) ([0-9]{1,5}) ((?:[0-9a-f]{2}){0,256})"
)
_LINUX_SLL, _IPV4, _LARGEST = 113, 0x0800, 65535


def begin(connection: Connection, data_port: int) -> Stream:
    """Start to record on a host. Raises ProvisionerError."""
    words = shlex.join([render.text("capture.pl"), str(data_port), str(MOST)])
    stream = connection.stream(f"# recording packets\nexec perl -e {words}", within=_READY)
    if stream.readline(_READY) != "ready":
        stream.__exit__()
        raise ProvisionerError("packets can't be recorded", cause="command-failed", host=connection.name)
    return stream


def end(stream: Stream, host: str) -> bytes:
    """Stop, and return the pcap file. Raises ProvisionerError."""
    stream.send("stop")
    return pcap(_packets(stream, host), host)


def _packets(stream: Stream, host: str) -> Iterable[str]:
    for line in stream.lines(_ANSWER):
        if line == "end":
            return
        yield line
    raise Malformed("the recording of packets is incomplete", host=host)


def pcap(lines: Iterable[str], host: str) -> bytes:
    """Return the pcap file of the packets that a host printed. Raises Malformed."""
    found = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, _LARGEST, _LINUX_SLL)]
    for line in lines:
        match = _LINE.fullmatch(line)
        if not match or len(found) > MOST:
            raise Malformed("its recorded packets can't be understood", host=host)
        seconds, micro, kind, hardware, length, whole = (int(match[number]) for number in (1, 2, 3, 4, 5, 7))
        packet = bytes.fromhex(match[8])
        head = struct.pack(">HHH8sH", kind, hardware & 0xFFFF, length, bytes.fromhex(match[6]), _IPV4)
        size = len(head) + len(packet)
        found.append(
            struct.pack("<IIII", seconds & 0xFFFFFFFF, micro, size, max(size, len(head) + whole)) + head + packet
        )
    return b"".join(found)
