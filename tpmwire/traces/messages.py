"""What a recording is made of: messages, and exchanges of two of them."""

import enum
from collections.abc import Hashable
from typing import NamedTuple

from tpmwire.commands.base import HEADER
from tpmwire.constants import TPM_ST

MAX_SIZE = 0x10000
"""No command or response is longer; a header that claims more is none."""
VENDOR_COMMANDS = 0x2000
"""The upper half of a vendor's command code."""

_TAGS = (TPM_ST.SESSIONS, TPM_ST.NO_SESSIONS)


class Kind(enum.Enum):
    """Which way a message went; STRAY ones are octets that are neither."""

    COMMAND = "command"
    RESPONSE = "response"
    STRAY = "stray"


class Place(NamedTuple):
    """Where in the input something begins: the unit (octet, line, packet) and its number."""

    unit: str
    number: int

    def __str__(self) -> str:
        return f"{self.unit} {self.number}"


class Message(NamedTuple):
    """A whole buffer, or what is there of it.

    `kind` is None where the recording does not tell it.  `channel` is the same for messages that
    belong together.  `fault` says of a stray message what is wrong with it.
    """

    octets: bytes
    place: Place
    kind: Kind | None = None
    channel: Hashable = None
    fault: str = ""


class Exchange(NamedTuple):
    """A command and its response, one of them alone, or neither: a stray message."""

    command: Message | None = None
    response: Message | None = None
    stray: Message | None = None


def is_header(data: bytes | bytearray) -> bool:
    """Tell whether `data` begins as a command or response does."""
    if len(data) < HEADER.size:
        return False
    tag, size, code = HEADER.unpack_from(data)
    if tag == TPM_ST.RSP_COMMAND:
        return bool(size == HEADER.size)
    known = code >> 16 == VENDOR_COMMANDS or code >> 24 == 0
    return tag in _TAGS and HEADER.size <= size <= MAX_SIZE and known


def size_of(data: bytes | bytearray) -> int:
    """Return the size that a header claims."""
    return int.from_bytes(data[2:6], "big")
