"""Finding out what kind of recording an input is, and reading it."""

import io
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from tpmwire.traces.binary import read_binary
from tpmwire.traces.hexadecimal import read_hexadecimal
from tpmwire.traces.messages import Exchange, Message
from tpmwire.traces.pairing import pair
from tpmwire.traces.pcapng import is_pcap, is_pcapng
from tpmwire.traces.swtpm import read_swtpm_log
from tpmwire.traces.tcp import read_capture

FORMATS: dict[str, Callable[..., Iterator[Message]]] = {
    "hex": read_hexadecimal,
    "binary": read_binary,
    "swtpm": read_swtpm_log,
    "pcapng": read_capture,
}

_ENOUGH = 16
_CHUNK = 0x10000
_TEXT = frozenset(range(0x20, 0x7F)) | frozenset(b"\t\n\v\f\r")
_HEXADECIMAL = re.compile(rb"\s*(#|[0-9A-Fa-fxX\s:,;_-]*\Z)")


def read_exchanges(
    file: BinaryIO, name: str | None = None, **options: dict[str, Any]
) -> Iterator[Exchange]:
    """Read the exchanges of a recording in the format `name`, or the one that it seems to be in.

    `options` are for the readers, by the name of the format.
    """
    if name is None:
        head = _head(file)
        name, file = detect(head), io.BufferedReader(_Rejoined(head, file), _CHUNK)
    return pair(FORMATS[name](file, **options.get(name, {})))


def detect(head: bytes) -> str:
    """Find out the format of a recording by its first octets."""
    if is_pcapng(head) or is_pcap(head):
        return "pcapng"
    if not _TEXT.issuperset(head):
        return "binary"
    return "hex" if _HEXADECIMAL.match(head) else "swtpm"


def _head(file: BinaryIO) -> bytes:
    head = b""
    while len(head) < _ENOUGH and (more := _some(file, _CHUNK)):
        head += more
    return head


def _some(file: BinaryIO, size: int) -> bytes:
    """Read what is there, rather than waiting for more."""
    data: bytes = getattr(file, "read1", file.read)(size)
    return data


class _Rejoined(io.RawIOBase):
    """A file with what was read of it put back in front."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._head, self._file = head, file

    def readable(self) -> bool:
        """Say that this is for reading."""
        return True

    def readinto(self, target: Any) -> int:
        """Read some octets."""
        data = self._head or _some(self._file, len(target))
        size = min(len(data), len(target))
        target[:size] = data[:size]
        self._head = data[size:]
        return size
