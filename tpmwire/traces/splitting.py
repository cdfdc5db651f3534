"""Parting a stream of octets into the buffers that stand in it one after the other."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from tpmwire.commands.base import HEADER
from tpmwire.traces.messages import is_header, size_of

_MOST_STRAY = 4096
_TAG = re.compile(rb"\x80[\x01\x02]|\x00\xc4")
_TAG_BEGUN = re.compile(rb"\x80([\x01\x02]|$)|\x00(\xc4|$)")


class Piece(NamedTuple):
    """Some octets and their place in the stream; stray ones belong to no buffer."""

    offset: int
    octets: bytes
    stray: bool = False


class Splitter:
    """Takes octets as they come, and gives back buffers as soon as they are whole.

    Where no buffer begins, everything up to the next one is stray.  A size that leads to where no
    buffer begins is not believed if one begins earlier.
    """

    def __init__(self) -> None:
        self._octets = bytearray()
        self._offset = 0

    def feed(self, data: bytes, *, at_boundary: bool = False) -> Iterator[Piece]:
        """Take more octets.

        `at_boundary` says that a buffer may well begin here: one that is not whole yet then ends.
        """
        if at_boundary and self._octets and is_header(data):
            yield from self.end()
        self._octets += data
        while piece := self._next(final=False):
            yield piece

    def end(self) -> Iterator[Piece]:
        """Give back what is left: buffers that were cut, or stray octets."""
        while piece := self._next(final=True):
            yield piece

    def _next(self, *, final: bool) -> Piece | None:
        if len(self._octets) < HEADER.size:
            return self._rest() if final and self._octets else None
        if not is_header(self._octets):
            return self._stray(final=final)
        there, size = len(self._octets), size_of(self._octets)
        if there >= size and self._begins_at(size) is not False:
            return self._take(size)
        if there >= size or final:
            return self._take(self._find(HEADER.size, size) or min(size, there))
        return None

    def _rest(self) -> Piece:
        """Take what is too short for a header; it can still be the beginning of one."""
        begun = _TAG_BEGUN.match(self._octets)
        return self._take(len(self._octets), stray=not begun)

    def _stray(self, *, final: bool) -> Piece | None:
        there = len(self._octets)
        if found := self._find(1, there):
            return self._take(found, stray=True)
        if final:
            return self._take(there, stray=True)
        return self._take(there - HEADER.size, stray=True) if there > _MOST_STRAY else None

    def _find(self, start: int, end: int) -> int:
        """Find where the next buffer begins; 0 if there is none."""
        places = (found.start() for found in _TAG.finditer(self._octets, start, end))
        return next((place for place in places if self._begins_at(place)), 0)

    def _begins_at(self, place: int) -> bool | None:
        """Tell whether a buffer begins there; None if there are not enough octets to tell."""
        header = self._octets[place : place + HEADER.size]
        return is_header(header) if len(header) == HEADER.size else None

    def _take(self, size: int, *, stray: bool = False) -> Piece:
        piece = Piece(self._offset, bytes(self._octets[:size]), stray)
        del self._octets[:size]
        self._offset += size
        return piece
