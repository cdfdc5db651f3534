"""Text of hexadecimal digits, as people paste it.

Spaces, colons, commas and 0x do not matter, and a buffer may go over several lines, or several
stand in one.  What follows a # is a comment.
"""

import re
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

from tpmwire.traces.binary import STRAY
from tpmwire.traces.messages import Kind, Message, Place
from tpmwire.traces.splitting import Piece, Splitter

_LONGEST = 0x10000
_BETWEEN = re.compile(rb"0[xX]|[\s:,;_-]+|#.*", re.DOTALL)
_DIGITS = re.compile(rb"[0-9A-Fa-f]*\Z")


def read_hexadecimal(file: BinaryIO, unit: str = "line") -> Iterator[Message]:
    """Read the messages of a text; `unit` is what a line of it is called in places."""
    reader = _Reader(unit)
    number, rest, at_start = 1, b"", True
    while line := file.readline(_LONGEST):
        whole = line.endswith(b"\n")
        line, rest = _cut_between(rest + line, whole=whole)
        yield from reader.feed(line, number, at_start=at_start)
        number, at_start = number + whole, whole
    yield from reader.feed(rest, number, at_start=False)
    yield from reader.end()


class _Reader:
    """Takes lines, gives back messages."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._splitter = Splitter()
        self._digits = b""  # one that waits for its other half
        self._starts: deque[tuple[int, int]] = deque()  # octets before a line, its number
        self._octets = 0

    def feed(self, line: bytes, number: int, *, at_start: bool) -> Iterator[Message]:
        """Take a line, or a part of one."""
        digits = _BETWEEN.sub(b"", line)
        if not _DIGITS.match(digits):
            yield from self.end()
            yield self._stray(line, number, "not hexadecimal")
            return
        digits = self._digits + digits
        self._digits = digits[len(digits) & ~1 :]
        octets = bytes.fromhex(digits[: len(digits) & ~1].decode())
        pieces = self._splitter.feed(octets, at_boundary=at_start)
        self._starts.append((self._octets, number))
        self._octets += len(octets)
        yield from map(self._message, pieces)

    def end(self) -> Iterator[Message]:
        """Give back what is left."""
        yield from map(self._message, self._splitter.end())
        if self._digits:
            number = self._starts[-1][1]
            yield self._stray(self._digits, number, "half an octet")
            self._digits = b""

    def _message(self, piece: Piece) -> Message:
        while len(self._starts) > 1 and self._starts[1][0] <= piece.offset:
            self._starts.popleft()
        place = Place(self._unit, self._starts[0][1])
        if piece.stray:
            return Message(piece.octets, place, Kind.STRAY, fault=STRAY)
        return Message(piece.octets, place)

    def _stray(self, text: bytes, number: int, what: str) -> Message:
        return Message(text, Place(self._unit, number), Kind.STRAY, fault=what)


def _cut_between(line: bytes, *, whole: bool) -> tuple[bytes, bytes]:
    """Part a line that is too long for one go between two numbers, if there is such a place."""
    if whole:
        return line, b""
    place = max(line.rfind(b" "), line.rfind(b","), line.rfind(b":"))
    return (line[:place], line[place:]) if place > 0 else (line, b"")
