"""Commands and responses in captured TCP connections to a TPM's port.

tpm2-tss writes bare buffers into segments of IPv4 packets; a capture from the network has Ethernet
around them, parts them as it likes, and may have the simulator's protocol in it: a number and a
locality before each command, the size before each response, and a status after it.
"""

import struct
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import BinaryIO, NamedTuple

from tpmwire.commands.base import HEADER
from tpmwire.errors import DecodeError
from tpmwire.traces.messages import MAX_SIZE, Kind, Message, Place, is_header, size_of
from tpmwire.traces.pcapng import Packet, read_packets

DEFAULT_PORT = 2321
MAX_STREAMS = 128
"""How many directions of connections are followed; the one that was silent longest is given up."""

LINK_ETHERNET, LINK_IPV4 = 1, 228
TCP = 6

_IPV4, _IPV6, _VLAN = 0x0800, 0x86DD, 0x8100
# How many octets stand before the IP header on each kind of link, and where its protocol is told.
_LINKS: dict[int, tuple[int, int | None]] = {
    0: (4, None),  # BSD loopback
    LINK_ETHERNET: (14, 12),  # Linux calls its loopback so too
    12: (0, None),
    101: (0, None),
    108: (4, None),
    113: (16, 14),  # Linux "any"
    LINK_IPV4: (0, None),
    229: (0, None),
    276: (20, 0),
}
_SEND_COMMAND = b"\0\0\0\x08"
_FRAMING = 9  # octets before a command: that number, the locality, the size
_STATUS = 4  # octets of everything else in it
_TAGS = (b"\x80\x01", b"\x80\x02", b"\0\xc4")


class Segment(NamedTuple):
    """What matters of a TCP segment; `data` is as much of it as was captured."""

    source: tuple[bytes, int]
    destination: tuple[bytes, int]
    sequence: int
    data: bytes


def read_capture(file: BinaryIO, port: int = DEFAULT_PORT) -> Iterator[Message]:
    """Read the messages of the connections to `port` in a pcapng or pcap file."""
    streams = _Streams()
    number = 0
    try:
        for packet in read_packets(file):
            number = packet.number
            segment = find_segment(packet)
            if segment is not None and port in (segment.source[1], segment.destination[1]):
                yield from streams.take(segment, port, number)
    except DecodeError as error:
        yield from streams.end()
        yield Message(b"", Place("packet", number + 1), Kind.STRAY, fault=str(error))
    else:
        yield from streams.end()


def find_segment(packet: Packet) -> Segment | None:
    """Find a TCP segment with data in a packet."""
    data = _without_link(packet)
    version = data[0] >> 4 if data else 0
    if version == 4 and len(data) >= 20:
        size, protocol = int.from_bytes(data[2:4], "big"), data[9]
        fragment = int.from_bytes(data[6:8], "big") & 0x3FFF
        hosts, payload = (data[12:16], data[16:20]), data[(data[0] & 15) * 4 : size]
    elif version == 6 and len(data) >= 40:
        size, protocol, fragment = 40 + int.from_bytes(data[4:6], "big"), data[6], 0
        hosts, payload = (data[8:24], data[24:40]), data[40:size]
    else:
        return None
    return _segment(*hosts, payload) if protocol == TCP and not fragment else None


def _segment(source: bytes, destination: bytes, tcp: bytes) -> Segment | None:
    if len(tcp) < 20:
        return None
    source_port, destination_port, sequence = struct.unpack_from(">HHI", tcp)
    data = tcp[(tcp[12] >> 4) * 4 :]
    if not data:
        return None
    return Segment((source, source_port), (destination, destination_port), sequence, data)


def _without_link(packet: Packet) -> bytes:
    size, protocol_at = _LINKS.get(packet.link, (len(packet.octets), None))
    if protocol_at is not None:
        protocol = int.from_bytes(packet.octets[protocol_at : protocol_at + 2], "big")
        if protocol == _VLAN and packet.link == LINK_ETHERNET:
            size, protocol = size + 4, int.from_bytes(packet.octets[16:18], "big")
        if protocol not in (_IPV4, _IPV6):
            return b""
    return packet.octets[size:]


def _begins(data: bytes) -> bool:
    """Tell whether a segment begins with a buffer, maybe in the simulator's protocol."""
    return any(is_header(data[start:]) for start in (0, _STATUS, _FRAMING))


class _Streams:
    """The directions of all connections, each with what has come and is not whole yet."""

    def __init__(self) -> None:
        self._streams: OrderedDict[Hashable, _Stream] = OrderedDict()

    def take(self, segment: Segment, port: int, number: int) -> Iterator[Message]:
        """Take a segment, give back the messages that it completes."""
        key = (segment.source, segment.destination)
        if key not in self._streams:
            if len(self._streams) == MAX_STREAMS:
                yield from self._streams.popitem(last=False)[1].end()
            kind = Kind.COMMAND if segment.destination[1] == port else Kind.RESPONSE
            self._streams[key] = _Stream(kind, frozenset(key), segment.sequence)
        self._streams.move_to_end(key)
        yield from self._streams[key].take(segment, number)

    def end(self) -> Iterator[Message]:
        """Give back what is not whole and never will be."""
        for stream in self._streams.values():
            yield from stream.end()


class _Stream:
    """One direction of one connection."""

    def __init__(self, kind: Kind, channel: Hashable, sequence: int) -> None:
        self._kind, self._channel, self._next = kind, channel, sequence
        self._octets = b""
        self._begin = 0  # the packet that the octets begin in

    def take(self, segment: Segment, number: int) -> Iterator[Message]:
        """Take a segment; what came before is not taken again."""
        ahead = (segment.sequence - self._next + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        data = segment.data[-ahead:] if ahead < 0 else segment.data
        if ahead > 0 or _begins(data):
            yield from self.end()
        if ahead + len(segment.data) <= 0:
            return
        self._next = segment.sequence + len(segment.data) & 0xFFFFFFFF
        if not self._octets:
            self._begin = number
        self._octets += data
        yield from self._messages(number)

    def end(self) -> Iterator[Message]:
        """Give back what is not whole."""
        if self._octets:
            yield self._message(self._octets, stray=self._octets[:2] not in _TAGS)
        self._octets = b""

    def _messages(self, number: int) -> Iterator[Message]:
        while self._unframe():
            size = size_of(self._octets)
            if not is_header(self._octets):
                yield self._message(self._octets, stray=True)
                self._octets = b""
            elif len(self._octets) < size:
                return
            else:
                yield self._message(self._octets[:size])
                self._octets = self._octets[size:]
            self._begin = number

    def _unframe(self) -> bool:
        """Take away what the simulator's protocol puts before a buffer; False if more is wanted."""
        while self._octets[:2] not in _TAGS and len(self._octets) >= _STATUS:
            if self._octets[:4] == _SEND_COMMAND and self._kind is Kind.COMMAND:
                if len(self._octets) < _FRAMING:
                    return False
                self._octets = self._octets[_FRAMING:]
            elif int.from_bytes(self._octets[:4], "big") <= MAX_SIZE:
                self._octets = self._octets[_STATUS:]
            else:
                break
        return len(self._octets) >= HEADER.size

    def _message(self, octets: bytes, *, stray: bool = False) -> Message:
        kind, fault = (Kind.STRAY, "no command or response") if stray else (self._kind, "")
        return Message(octets, Place("packet", self._begin), kind, self._channel, fault)
