"""Making capture files that Wireshark opens: pcapng with a TCP conversation in it.

Nothing of it was on a network.  The packets are what a simulator on TPM port 2321 would exchange,
since that is where Wireshark looks for a TPM; tpm2-tss does the same.
"""

import struct

from tpmwire.traces.messages import Kind
from tpmwire.traces.pcapng import BYTE_ORDER, ENHANCED, INTERFACE, SECTION
from tpmwire.traces.tcp import DEFAULT_PORT, LINK_IPV4, TCP

_COMMENT, _APPLICATION = 1, 4  # options of a section
_UNKNOWN_SIZE = 0xFFFFFFFFFFFFFFFF
_TPM = bytes((127, 0, 0, 1))
_MOST = 0xFF00  # octets of data in a packet
_NO_FRAGMENT, _TIME_TO_LIVE = 0x4000, 64
_HEADER_SIZE, _ACK, _WINDOW = 5 << 12, 0x10, 0xFFFF


def section(comment: str) -> bytes:
    """Make the blocks that begin a file, or go on with one: a section with one interface."""
    head = struct.pack("<IHHQ", BYTE_ORDER, 1, 0, _UNKNOWN_SIZE)
    options = _option(_APPLICATION, "tpmwire") + _option(_COMMENT, comment) + bytes(4)
    return _block(SECTION, head + options) + _block(INTERFACE, struct.pack("<HHI", LINK_IPV4, 0, 0))


class Conversation:
    """A TCP conversation with a TPM; `host` and `port` tell it from others in the same file."""

    def __init__(self, host: bytes, port: int) -> None:
        self._ends = {Kind.COMMAND: (host, port), Kind.RESPONSE: (_TPM, DEFAULT_PORT)}
        self._sent = dict.fromkeys(self._ends, 1)

    def message(self, kind: Kind, octets: bytes, microseconds: int) -> bytes:
        """Make the packets of a command or response, seen at this time since 1970."""
        other = Kind.RESPONSE if kind is Kind.COMMAND else Kind.COMMAND
        blocks = b""
        for start in range(0, len(octets), _MOST):
            data = octets[start : start + _MOST]
            numbers = self._sent[kind], self._sent[other]
            packet = _ip_packet(self._ends[kind], self._ends[other], numbers, data)
            self._sent[kind] = self._sent[kind] + len(data) & 0xFFFFFFFF
            blocks += _enhanced(packet, microseconds)
        return blocks


def _ip_packet(
    source: tuple[bytes, int],
    destination: tuple[bytes, int],
    numbers: tuple[int, int],
    data: bytes,
) -> bytes:
    """Make an IPv4 packet with a TCP segment.  [RFC 791, 3.1; RFC 9293, 3.1]"""
    hosts = source[0] + destination[0]
    ports = struct.pack(">HHII", source[1], destination[1], *numbers)
    size = len(ports) + 8 + len(data)
    pseudo = hosts + struct.pack(">HH", TCP, size)
    flags = struct.pack(">HH", _HEADER_SIZE | _ACK, _WINDOW)
    tcp_sum = _checksum(pseudo + ports + flags + data)
    head = struct.pack(">BBHHHBB", 0x45, 0, 20 + size, 0, _NO_FRAGMENT, _TIME_TO_LIVE, TCP)
    segment = ports + flags + struct.pack(">HH", tcp_sum, 0) + data
    return head + struct.pack(">H", _checksum(head + hosts)) + hosts + segment


def _checksum(data: bytes) -> int:
    """Compute the Internet checksum.  [RFC 1071]"""
    words = struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2))
    total: int = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _enhanced(packet: bytes, microseconds: int) -> bytes:
    time = microseconds >> 32, microseconds & 0xFFFFFFFF
    return _block(ENHANCED, struct.pack("<5I", 0, *time, len(packet), len(packet)) + packet)


def _block(kind: int, body: bytes) -> bytes:
    size = struct.pack("<I", 12 + len(body) + -len(body) % 4)
    return struct.pack("<I", kind) + size + body + bytes(-len(body) % 4) + size


def _option(code: int, text: str) -> bytes:
    octets = text.encode()
    return struct.pack("<HH", code, len(octets)) + octets + bytes(-len(octets) % 4)
