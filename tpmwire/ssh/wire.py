"""The data types of SSH as field types for structures.  [RFC 4251, 5]"""

from typing import Annotated, Any

from tpmwire.types.base import UINT8, UINT32, UINT64
from tpmwire.wire import Buffer, Rest, YesNo, fail


class Mpint(Buffer):
    """A number of any size, in two's complement without superfluous octets."""

    def __init__(self) -> None:
        super().__init__(prefix=4)

    def _parse(self, stream: Any, context: Any, path: Any) -> Any:
        data = super()._parse(stream, context, path)
        number = int.from_bytes(data, "big", signed=True)
        if _mpint(number) != data:
            raise fail("a number with superfluous octets")
        return number

    def _build(self, obj: Any, stream: Any, context: Any, path: Any) -> None:
        if not isinstance(obj, int):
            raise fail(f"an integer wanted, not {type(obj).__name__}")
        super()._build(_mpint(obj), stream, context, path)


STRING = Annotated[bytes, Buffer(prefix=4)]
SECRET_STRING = Annotated[bytes, Buffer(prefix=4, secret=True)]
MPINT = Annotated[int, Mpint()]
BOOLEAN = Annotated[bool, YesNo()]
REST = Annotated[bytes, Rest()]

__all__ = [
    "BOOLEAN",
    "MPINT",
    "REST",
    "SECRET_STRING",
    "STRING",
    "UINT8",
    "UINT32",
    "UINT64",
    "Mpint",
]


def _mpint(number: int) -> bytes:
    size = ((number if number >= 0 else ~number).bit_length() + 8) // 8
    return number.to_bytes(size, "big", signed=True) if number else b""
