"""The log that swtpm writes with `--log file=...,level=20`: buffers as hexadecimal dumps.

A dump may be interrupted by other lines, and by dumps of the control channel.  Where the log was
given a prefix, every line has it.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

from tpmwire.traces.messages import MAX_SIZE, Kind, Message, Place

_LONGEST = 0x1000
_HEADER = re.compile(rb"(.*?) ?(SWTPM_IO_Read|SWTPM_IO_Write|Ctrl Cmd|Ctrl Rsp): length (\d+)\s*\Z")
_DUMP = re.compile(rb" ?((?:[0-9A-Fa-f]{2} )*[0-9A-Fa-f]{2}) ?\r?\n?\Z")
_KINDS = {b"SWTPM_IO_Read": Kind.COMMAND, b"SWTPM_IO_Write": Kind.RESPONSE}


class _Dump:
    """A dump that is being read."""

    def __init__(self, kind: Kind | None, size: int, prefix: bytes, number: int) -> None:
        self.kind, self.size, self.prefix = kind, size, prefix
        self.place = Place("line", number)
        self.octets = bytearray()

    def take(self, line: bytes) -> bool:
        """Take a line of the dump; False if it is none."""
        found = _DUMP.match(line.removeprefix(self.prefix))
        if found is None:
            return False
        self.octets += bytes.fromhex(found[1].decode())
        return True

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return len(self.octets) >= self.size

    def message(self) -> Message:
        """Return what has been read."""
        return Message(bytes(self.octets), self.place, self.kind)


def read_swtpm_log(file: BinaryIO) -> Iterator[Message]:
    """Read the messages of a log."""
    dumps: list[_Dump] = []  # the innermost is the last
    number = 0
    while line := file.readline(_LONGEST):
        number += 1
        if found := _HEADER.match(line):
            dump = _begin(found, number)
            yield from _interrupted(dumps, by=dump)
            dumps.append(dump)
        elif dumps:
            dumps[-1].take(line)
        while dumps and dumps[-1].whole:
            dump = dumps.pop()
            if dump.kind is not None:
                yield dump.message()
    yield from _given_up(dumps)


def _begin(found: re.Match[bytes], number: int) -> _Dump:
    size = min(int(found[3]), MAX_SIZE)
    return _Dump(_KINDS.get(found[2]), size, found[1], number)


def _interrupted(dumps: list[_Dump], by: _Dump) -> Iterator[Message]:
    """Give up what a new dump ends: all of them, or if it is of the control channel, its like."""
    if by.kind is not None:
        yield from _given_up(dumps)
    elif dumps and dumps[-1].kind is None:
        dumps.pop()


def _given_up(dumps: list[_Dump]) -> Iterator[Message]:
    for dump in dumps:
        if dump.kind is not None:
            yield dump.message()
    dumps.clear()
