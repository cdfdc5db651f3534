"""The TPM's own notation, as constructs: TPM2B, TPML, TPMU, TPMA and integers.

The promise of this module: parsing raises nothing but `ConstructError`, reads no octet that it does
not check, and whatever it accepts is built to the same octets again.  The stock combinators of
construct do not keep it (`Prefixed` passes over what its content leaves unread, `FlagsEnum` loses
reserved bits, `Switch` reads nothing where no case fits), so the few that TPM 2.0 needs are here.

A construct that fails names only its own place.  Each level around it puts its own name in front on
the way out (`put_before`), and adds what it has read until then (`partial`) and how far that is
(`octet`), so that a value that fits pays nothing for error messages.
"""

import enum
import io
import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Protocol

from construct import Construct, ConstructError, Subconstruct

from tpmwire.attributes import Flags8, Flags32, Flags64
from tpmwire.constants import Enum8, Enum16, Enum32, SignedEnum8

ENUMERATION_WIDTHS: dict[type[enum.IntEnum], int] = {
    Enum8: 1,
    Enum16: 2,
    Enum32: 4,
    SignedEnum8: 1,
}
ATTRIBUTE_WIDTHS: dict[type[enum.IntFlag], int] = {Flags8: 1, Flags32: 4, Flags64: 8}
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Encrypted(bytes):
    """The content of a TPM2B that a session has encrypted: octets that stand for themselves."""

    def __repr__(self) -> str:
        return f"<{len(self)} octets, encrypted>"


class HasHandle(Protocol):
    """Anything that the TPM knows by a handle."""

    @property
    def handle(self) -> int:
        """The handle by which the TPM knows it."""


def handle_of(value: int | HasHandle) -> int:
    """Tell the handle that stands for `value` on the wire."""
    return value if isinstance(value, int) else value.handle


def put_before(name: str, error: ConstructError) -> None:
    """Note in `error` that it happened inside the field or element `name`."""
    inner = error.path or ""
    error.path = name + (inner if inner.startswith("[") or not inner else "." + inner)


def reason(error: ConstructError) -> str:
    """Say what happened, without the place, which construct writes into a first line."""
    text = str(error)
    return text.partition("\n")[2] if text.startswith("Error in path") else text


def fail(message: str, partial: Any = None) -> ConstructError:
    """Make the error of a construct of ours; those around it add the place.

    `partial` is as much of the value as could be read, or None.
    """
    error = ConstructError(message, path=None)
    error.partial = partial
    return error


def partial_of(error: ConstructError) -> Any:
    """Return as much of the value as could be read before `error`, or None."""
    return getattr(error, "partial", None)


def take(stream: Any, size: int) -> bytes:
    """Read `size` octets, all of them."""
    data: bytes = stream.read(size)
    if len(data) != size:
        raise fail(f"{size} octets wanted, {len(data)} left")
    return data


class Integer(Construct):  # type: ignore[misc]
    """A big-endian integer of `width` octets; what `interpret` makes of it is the value."""

    def __init__(
        self, width: int, *, signed: bool = False, interpret: Callable[[int], Any] = int
    ) -> None:
        super().__init__()
        code = _CODES[width]
        form = struct.Struct(">" + (code.lower() if signed else code))
        self.width, self.signed = width, signed
        self._pack, self._unpack, self._interpret = form.pack, form.unpack, interpret

    def _parse(self, stream: Any, context: Any, path: Any) -> Any:
        data = stream.read(self.width)
        if len(data) != self.width:
            raise fail(f"{self.width} octets wanted, {len(data)} left")
        return self._interpret(self._unpack(data)[0])

    def _build(self, obj: Any, stream: Any, context: Any, path: Any) -> None:
        try:
            stream.write(self._pack(obj))
        except struct.error:
            raise self._misfit(obj) from None

    def _misfit(self, obj: Any) -> ConstructError:
        if isinstance(obj, int):
            return fail(f"{obj:d} does not fit in {self.width} octets")
        return fail(f"an integer wanted, not {type(obj).__name__}")


class _Named(dict[int, int]):
    """The members of an enumeration by their numbers; a number without a name is itself."""

    def __init__(self, members: type[enum.IntEnum]) -> None:
        super().__init__((int(member), member) for member in members)

    def __missing__(self, number: int) -> int:
        return number


class Enumeration(Integer):
    """An integer that reads as a member of `members`; a number without a name stays an int."""

    def __init__(self, members: type[enum.IntEnum], width: int) -> None:
        self.members = members
        signed = issubclass(members, SignedEnum8)
        super().__init__(width, signed=signed, interpret=_Named(members).__getitem__)


class Attributes(Integer):
    """An integer that reads as a set of bits; reserved bits survive."""

    def __init__(self, flags: type[enum.IntFlag], width: int) -> None:
        self.flags = flags
        # The same few words come again and again, and enum takes its time.
        super().__init__(width, interpret=lru_cache(maxsize=1024)(flags))


class Handle(Integer):
    """A handle; an object that has one may be given in its place."""

    def __init__(self, members: type[enum.IntEnum]) -> None:
        super().__init__(4, interpret=_Named(members).__getitem__)

    def _build(self, obj: Any, stream: Any, context: Any, path: Any) -> None:
        Integer._build(self, getattr(obj, "handle", obj), stream, context, path)


class YesNo(Construct):  # type: ignore[misc]
    """One octet, 0 or 1, as a bool."""

    def _parse(self, stream: Any, context: Any, path: Any) -> bool:
        octet = take(stream, 1)[0]
        if octet > 1:
            raise fail(f"0 or 1 wanted, not {octet}")
        return octet == 1

    def _build(self, obj: Any, stream: Any, context: Any, path: Any) -> None:
        if not (isinstance(obj, int) and obj in (0, 1)):
            raise fail(f"True or False wanted, not {type(obj).__name__}")
        stream.write(b"\x01" if obj else b"\x00")


class Octets(Construct):  # type: ignore[misc]
    """Exactly `size` octets."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def _parse(self, stream: Any, context: Any, path: Any) -> bytes:
        return take(stream, self.size)

    def _build(self, obj: Any, stream: Any, context: Any, path: Any) -> None:
        data = _octets(obj)
        if len(data) != self.size:
            raise fail(f"{self.size} octets wanted, not {len(data)}")
        stream.write(data)


class Rest(Construct):  # type: ignore[misc]
    """All octets that are left, or none: what ends a structure and has no size of its own."""

    def _parse(self, stream: Any, context: Any, path: Any) -> bytes:
        data: bytes = stream.read()
        return data

    def _build(self, obj: Any, stream: Any, context: Any, path: Any) -> None:
        stream.write(_octets(obj))


class Buffer(Construct):  # type: ignore[misc]
    """Octets with their number before them: a TPM2B, or with `prefix` another width, an SSH string.

    The value of one marked `secret` never stands in a repr.
    """

    def __init__(self, limit: int | None = None, *, prefix: int = 2, secret: bool = False) -> None:
        super().__init__()
        self.limit = 256**prefix - 1 if limit is None else limit
        self.prefix, self.secret = prefix, secret

    def _parse(self, stream: Any, context: Any, path: Any) -> bytes:
        head = stream.read(self.prefix)
        if len(head) != self.prefix:
            raise fail(f"{self.prefix} octets wanted, {len(head)} left")
        size = int.from_bytes(head, "big")
        if size > self.limit:
            raise fail(f"{size} octets where {self.limit} is the most")
        data: bytes = stream.read(size)
        if len(data) != size:
            raise fail(f"{size} octets wanted, {len(data)} left", data)
        return data

    def _build(self, obj: Any, stream: Any, context: Any, path: Any) -> None:
        data = obj if type(obj) is bytes else _octets(obj)
        if len(data) > self.limit:
            raise fail(f"{len(data)} octets where {self.limit} is the most")
        stream.write(len(data).to_bytes(self.prefix, "big") + data)


class Sealed(Buffer):
    """A TPM2B whose content a session has encrypted."""

    def _parse(self, stream: Any, context: Any, path: Any) -> Encrypted:
        return Encrypted(super()._parse(stream, context, path))


class Sized(Subconstruct):  # type: ignore[misc]
    """A TPM2B around a structure, which fills it exactly; with `optional`, size 0 is None."""

    def __init__(self, subcon: Construct, *, optional: bool = False) -> None:
        super().__init__(subcon)
        self.optional = optional

    def _parse(self, stream: Any, context: Any, path: Any) -> Any:
        size = int.from_bytes(take(stream, 2), "big")
        if size == 0 and self.optional:
            return None
        data = stream.read(size)
        if len(data) != size:
            raise self._cut(data, size, context)
        inner = io.BytesIO(data)
        try:
            obj = self.subcon._parse(inner, context, path)
            if inner.tell() != size:
                raise fail(f"{size - inner.tell()} octets left over of {size}", obj)
        except ConstructError as error:
            error.octet = stream.tell() - size + getattr(error, "octet", inner.tell())
            raise
        return obj

    def _cut(self, data: bytes, size: int, context: Any) -> ConstructError:
        """Make the error for a content that ends too early, with what there is of it."""
        error = fail(f"{size} octets wanted, {len(data)} left")
        try:
            error.partial = self.subcon._parse(io.BytesIO(data), context, "")
        except ConstructError as inner:
            error.partial = partial_of(inner)
        return error

    def _build(self, obj: Any, stream: Any, context: Any, path: Any) -> None:
        data = self._content(obj, context, path)
        if len(data) > 0xFFFF:
            raise fail(f"{len(data)} octets where 65535 is the most")
        stream.write(len(data).to_bytes(2, "big") + data)

    def _content(self, obj: Any, context: Any, path: Any) -> bytes:
        if isinstance(obj, Encrypted):
            return obj
        if obj is None and self.optional:
            return b""
        inner = io.BytesIO()
        self.subcon._build(obj, inner, context, path)
        return inner.getvalue()


class Counted(Subconstruct):  # type: ignore[misc]
    """A TPML: a number of elements, at most `limit`, then the elements.  The value is a tuple."""

    def __init__(self, subcon: Construct, limit: int | None = None) -> None:
        super().__init__(subcon)
        self.limit = 0xFFFFFFFF if limit is None else limit

    def _parse(self, stream: Any, context: Any, path: Any) -> tuple[Any, ...]:
        count = int.from_bytes(take(stream, 4), "big")
        if count > self.limit:
            raise fail(f"{count} elements where {self.limit} is the most")
        _refuse_absurd(count, stream)
        elements = []
        try:
            for _ in range(count):
                elements.append(self.subcon._parse(stream, context, path))
        except ConstructError as error:
            put_before(f"[{len(elements)}]", error)
            last = partial_of(error)
            error.partial = (*elements, last) if last is not None else tuple(elements)
            raise
        return tuple(elements)

    def _build(self, obj: Any, stream: Any, context: Any, path: Any) -> None:
        if not isinstance(obj, tuple | list):
            raise fail(f"a tuple wanted, not {type(obj).__name__}")
        if len(obj) > self.limit:
            raise fail(f"{len(obj)} elements where {self.limit} is the most")
        stream.write(len(obj).to_bytes(4, "big"))
        for index, element in enumerate(obj):
            try:
                self.subcon._build(element, stream, context, path)
            except ConstructError as error:
                put_before(f"[{index}]", error)
                raise


class Empty(Construct):  # type: ignore[misc]
    """No octets at all; the value is None, and nothing else will do."""

    def _parse(self, stream: Any, context: Any, path: Any) -> None:
        return None

    def _build(self, obj: Any, stream: Any, context: Any, path: Any) -> None:
        if obj is not None:
            raise fail(f"{type(obj).__name__} given where nothing belongs")


class Unless(Subconstruct):  # type: ignore[misc]
    """What is not there, and None, where the earlier field `name` of the structure is `value`."""

    def __init__(self, subcon: Construct, name: str, value: Any) -> None:
        super().__init__(subcon)
        self.name, self.value = name, value

    def _present(self, context: Any) -> Construct:
        return Empty() if getattr(context, self.name) == self.value else self.subcon

    def _parse(self, stream: Any, context: Any, path: Any) -> Any:
        return self._present(context)._parse(stream, context, path)

    def _build(self, obj: Any, stream: Any, context: Any, path: Any) -> None:
        self._present(context)._build(obj, stream, context, path)


class Union(Construct):  # type: ignore[misc]
    """A TPMU: the case that the field `selector` of the same structure names."""

    def __init__(self, cases: Mapping[Any, Construct], selector: str = "") -> None:
        super().__init__()
        self.cases, self.selector = dict(cases), selector

    def selected_by(self, selector: str) -> "Union":
        """Make the same union with `selector` as the field that tells the case."""
        return Union(self.cases, selector)

    def _parse(self, stream: Any, context: Any, path: Any) -> Any:
        case = self.cases.get(getattr(context, self.selector))
        if case is None:
            raise self._unknown(context)
        return case._parse(stream, context, path)

    def _build(self, obj: Any, stream: Any, context: Any, path: Any) -> None:
        case = self.cases.get(getattr(context, self.selector))
        if case is None:
            raise self._unknown(context)
        case._build(obj, stream, context, path)

    def _unknown(self, context: Any) -> ConstructError:
        return fail(f"nothing is known for {self.selector} {getattr(context, self.selector)!r}")


def _octets(obj: Any) -> bytes:
    if not isinstance(obj, bytes | bytearray | memoryview):
        raise fail(f"bytes wanted, not {type(obj).__name__}")
    return bytes(obj)


def _refuse_absurd(count: int, stream: Any) -> None:
    # No element is empty, so a list that claims more elements than octets are left is a lie.
    here = stream.tell()
    left = stream.seek(0, io.SEEK_END) - here
    stream.seek(here)
    if count > left:
        raise fail(f"{count} elements claimed, {left} octets left")


def leaf(subcon: Construct, context: Any) -> Construct:
    """Find the construct of the values at the bottom of a TPML, a TPMU and what else is around."""
    while True:
        if isinstance(subcon, Union):
            subcon = subcon.cases[getattr(context, subcon.selector)]
        elif not hasattr(subcon, "subcon"):
            return subcon
        else:
            subcon = subcon.subcon
