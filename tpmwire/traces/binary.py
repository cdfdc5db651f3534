"""Files in which buffers stand one after the other, as they went over the wire."""

from collections.abc import Iterator
from typing import BinaryIO

from tpmwire.traces.messages import Kind, Message, Place
from tpmwire.traces.splitting import Piece, Splitter

_CHUNK = 0x10000
STRAY = "no command or response begins here"


def read_binary(file: BinaryIO) -> Iterator[Message]:
    """Read the messages of a binary file."""
    splitter = Splitter()
    read = getattr(file, "read1", file.read)  # what is there, rather than waiting for more
    while chunk := read(_CHUNK):
        yield from map(_message, splitter.feed(chunk))
    yield from map(_message, splitter.end())


def _message(piece: Piece) -> Message:
    place = Place("octet", piece.offset)
    if piece.stray:
        return Message(piece.octets, place, Kind.STRAY, fault=STRAY)
    return Message(piece.octets, place)
