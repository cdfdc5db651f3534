"""Packets of a capture file: pcapng as Wireshark, dumpcap and tpm2-tss write it, and old pcap.

What else such files may hold is passed over.  After damage there is no telling where the next block
begins, so a damaged file ends there.  [draft-ietf-opsawg-pcapng; draft-ietf-opsawg-pcap]
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from tpmwire.errors import DecodeError

SECTION, INTERFACE, SIMPLE, ENHANCED = 0x0A0D0D0A, 1, 3, 6
BYTE_ORDER = 0x1A2B3C4D
PCAP_MAGIC = {0xA1B2C3D4, 0xA1B23C4D}  # times in micro- or nanoseconds

_MOST = 0x100000  # octets of a block
_MOST_INTERFACES = 0x1000


class Packet(NamedTuple):
    """A captured packet, and what kind of link it was captured on."""

    number: int
    link: int
    octets: bytes


def read_packets(file: BinaryIO) -> Iterator[Packet]:
    """Read the packets of a capture file; DecodeError tells where it cannot be read further."""
    magic = _exactly(file, 4, "the head")
    yield from _read_pcapng(file, magic) if is_pcapng(magic) else _read_pcap(file, magic)


def is_pcapng(magic: bytes) -> bool:
    """Tell a pcapng file by its first octets."""
    return magic[:4] == SECTION.to_bytes(4, "big")


def is_pcap(magic: bytes) -> bool:
    """Tell an old pcap file by its first octets."""
    return any(magic[:4] in (m.to_bytes(4, "big"), m.to_bytes(4, "little")) for m in PCAP_MAGIC)


def _read_pcapng(file: BinaryIO, magic: bytes) -> Iterator[Packet]:
    order, links, number = "<", list[int](), 0
    while magic:
        if is_pcapng(magic):
            order, links = _section(file), []
            body = b""
        else:
            body = _block(file, order)
        (kind,) = struct.unpack(order + "I", magic)
        if kind == INTERFACE:
            links.append(_link(order, body, links))
        elif kind in (ENHANCED, SIMPLE):
            number += 1
            yield _packet(order, kind, body, links, number)
        magic = file.read(4)
        if 0 < len(magic) < 4:
            raise DecodeError("the file ends inside of a block")


def _section(file: BinaryIO) -> str:
    """Read the rest of a section header, and return the order of octets in the section."""
    head = _exactly(file, 8, "a section header")
    for order in "<>":
        size, mark = struct.unpack(order + "II", head)
        if mark == BYTE_ORDER:
            _body(file, size - 16, size, order)
            return order
    raise DecodeError("a section header without the mark of its byte order")


def _block(file: BinaryIO, order: str) -> bytes:
    """Read the rest of a block, after its type."""
    (size,) = struct.unpack(order + "I", _exactly(file, 4, "a block"))
    return _body(file, size - 12, size, order)


def _body(file: BinaryIO, left: int, size: int, order: str) -> bytes:
    if not 0 <= left <= _MOST or size % 4:
        raise DecodeError(f"a block of {size} octets")
    body = _exactly(file, left, "a block")
    if _exactly(file, 4, "a block") != struct.pack(order + "I", size):
        raise DecodeError("a block with two different sizes")
    return body


def _link(order: str, body: bytes, links: list[int]) -> int:
    if len(body) < 8 or len(links) == _MOST_INTERFACES:
        raise DecodeError("an interface that makes no sense")
    return int(struct.unpack_from(order + "H", body)[0])


def _packet(order: str, kind: int, body: bytes, links: list[int], number: int) -> Packet:
    start = 20 if kind == ENHANCED else 4
    if len(body) < start:
        raise DecodeError("a packet without its head")
    interface, size = 0, len(body) - start
    if kind == ENHANCED:
        interface, _, _, size = struct.unpack_from(order + "4I", body)
    if interface >= len(links):
        raise DecodeError(f"a packet of interface {interface}, which there is not")
    return Packet(number, links[interface], body[start : start + size])


def _read_pcap(file: BinaryIO, magic: bytes) -> Iterator[Packet]:
    order = ">" if int.from_bytes(magic, "big") in PCAP_MAGIC else "<"
    link = struct.unpack_from(order + "I", _exactly(file, 20, "the head"), 16)[0] & 0xFFFF
    number = 0
    while head := file.read(16):
        if len(head) < 16:
            raise DecodeError("the file ends inside of a packet")
        size = struct.unpack_from(order + "I", head, 8)[0]
        if size > _MOST:
            raise DecodeError(f"a packet of {size} octets")
        number += 1
        yield Packet(number, link, _exactly(file, size, "a packet"))


def _exactly(file: BinaryIO, size: int, what: str) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise DecodeError(f"the file ends inside of {what}")
    return data
