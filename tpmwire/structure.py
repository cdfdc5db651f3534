"""Structures: a class whose annotations are both its Python types and its wire format.

    class TPMS_ECC_POINT(Structure):
        x: TPM2B_ECC_PARAMETER
        y: TPM2B_ECC_PARAMETER

An annotation is another structure, an enumeration or attribute class, or `Annotated[python type,
construct]`.  From the class body come a constructor (keywords only, each unknown and missing field
named), equality, a repr that keeps secrets, `pack` and `unpack`, and `schema`, a `Construct`.

A value never changes once it is made, so a template can be shared; `replace` makes a changed copy.

The schema parses with the instance being filled as construct's context.  A selector stands in the
same structure as its union throughout TPM 2.0, so no parent is ever needed, and the nine-key
Container that a stock Struct makes for each level is saved.  A construct of construct's own that
looks at its context (`this.size`) reads the fields before it by the same means.
"""

import inspect
import io
from typing import Annotated, Any, ClassVar, Self, dataclass_transform, get_args, get_origin

from construct import Construct, ConstructError

from tpmwire.errors import DecodeError, EncodeError
from tpmwire.wire import (
    ATTRIBUTE_WIDTHS,
    ENUMERATION_WIDTHS,
    Attributes,
    Empty,
    Enumeration,
    Union,
    fail,
    partial_of,
    put_before,
    reason,
)

MISSING: Any = object()


class Field:
    """What a declaration says of one field beyond its type."""

    __slots__ = ("default", "is_handle", "name", "role", "secret", "selector", "subcon")

    def __init__(
        self,
        default: Any = MISSING,
        *,
        selector: str = "",
        secret: bool = False,
        is_handle: bool = False,
        role: Any = None,
    ) -> None:
        self.default, self.selector, self.secret = default, selector, secret
        self.is_handle, self.role = is_handle, role
        self.name = ""
        self.subcon: Construct = None

    def bind(self, name: str, annotation: Any) -> Self:
        """Give the field its name and the construct that its annotation stands for."""
        subcon = wire_of(annotation)
        self.name = name
        self.subcon = subcon.selected_by(self.selector) if self.selector else subcon
        self.secret = self.secret or getattr(subcon, "secret", False)
        return self


def by(selector: str, *, default: Any = MISSING, secret: bool = False) -> Any:
    """Declare a union field whose case the earlier field `selector` tells."""
    return Field(default, selector=selector, secret=secret)


def secret(default: Any = MISSING) -> Any:
    """Declare a field whose value stands in no repr, though its type does not say so."""
    return Field(default, secret=True)


def handle(auth: Any = None) -> Any:
    """Declare a field of the handle area; `auth` is the role of its authorization, if any."""
    return Field(is_handle=True, role=auth)


def wire_of(annotation: Any) -> Construct:
    """Find the construct that an annotation stands for; TypeError if it has none."""
    if isinstance(annotation, type):
        if issubclass(annotation, Structure):
            return annotation.schema
        for base, width in ENUMERATION_WIDTHS.items():
            if issubclass(annotation, base):
                return Enumeration(annotation, width)
        for flags, width in ATTRIBUTE_WIDTHS.items():
            if issubclass(annotation, flags):
                return Attributes(annotation, width)
    if get_origin(annotation) is Annotated:
        for extra in get_args(annotation)[1:]:
            if isinstance(extra, Construct):
                return extra
    raise TypeError(f"{annotation!r} has no wire format")


def union(cases: dict[Any, Any]) -> Union:
    """Make a TPMU of the annotations in `cases`; a case of None carries nothing."""
    return Union({k: Empty() if v is None else wire_of(v) for k, v in cases.items()})


class Record(Construct):  # type: ignore[misc]
    """The fields of one structure, in order."""

    def __init__(self, cls: "type[Structure]", fields: tuple[Field, ...]) -> None:
        super().__init__()
        self.cls, self.fields = cls, fields
        self._readers = tuple((f.name, f.subcon._parse) for f in fields)
        self._writers = tuple((f.name, f.subcon._build) for f in fields)

    def _parse(self, stream: Any, context: Any, path: Any) -> Any:
        obj = self.cls.__new__(self.cls)
        self.read_into(obj, stream)
        return obj

    def read_into(self, obj: Any, stream: Any) -> None:
        """Read these fields, and no others, into `obj`."""
        values = obj.__dict__
        name = ""
        try:
            for name, parse in self._readers:
                values[name] = parse(stream, obj, "")
        except ConstructError as error:
            put_before(name, error)
            if partial_of(error) is not None:
                values[name] = error.partial
            error.partial, error.octet = obj, getattr(error, "octet", stream.tell())
            raise

    def _build(self, obj: Any, stream: Any, context: Any, path: Any) -> None:
        if not isinstance(obj, self.cls):
            raise fail(f"{self.cls.__name__} wanted, not {type(obj).__name__}")
        values = obj.__dict__
        name = ""
        try:
            for name, build in self._writers:
                build(values[name], stream, obj, "")
        except ConstructError as error:
            put_before(name, error)
            raise


@dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(by, handle, secret)
)
class Structure:
    """Base of every TPMS, TPMT, command and response."""

    schema: ClassVar[Record]
    _defaults: ClassVar[dict[str, Any]]
    _names: ClassVar[frozenset[str]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.schema = Record(cls, tuple(_fields(cls)))
        cls._names = frozenset(field.name for field in cls.schema.fields)
        cls._defaults = {f.name: f.default for f in cls.schema.fields if f.default is not MISSING}

    def __init__(self, **values: Any) -> None:
        fields = self.__dict__
        fields.update(self._defaults)
        fields.update(values)
        if fields.keys() != self._names:
            raise TypeError(_complaint(type(self).__name__, fields.keys(), self._names))

    def __getitem__(self, name: str) -> Any:
        """Read a field as construct's `this.name` does."""
        return self.__dict__[name]

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(
            f"{type(self).__name__} does not change; replace({name}=...) copies it"
        )

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} does not change")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), self.pack()))

    def __repr__(self) -> str:
        # Some fields are missing in what a DecodeError brings of a damaged value.
        there = (field for field in self.schema.fields if field.name in self.__dict__)
        shown = (f"{f.name}={_shown(self.__dict__[f.name], f.secret)}" for f in there)
        return f"{type(self).__name__}({', '.join(shown)})"

    def replace(self, **changes: Any) -> Self:
        """Make a copy with some fields changed."""
        return type(self)(**{**self.__dict__, **changes})

    def pack(self) -> bytes:
        """Turn this value into octets; EncodeError names the field that does not fit."""
        return build(self.schema, self)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Read the value that `data`, all of it, stands for; anything else is a DecodeError."""
        obj = cls.__new__(cls)
        parse_into(cls.schema, obj, data)
        return obj

    @classmethod
    def unpack_series(cls, data: bytes) -> tuple[Self, ...]:
        """Read the values, one after the other, that all of `data` stands for."""
        stream, values = io.BytesIO(data), []
        while stream.tell() < len(data):
            values.append(cls.__new__(cls))
            try:
                _read(cls.schema, values[-1], stream)
            except DecodeError as error:
                raise error.with_read(tuple(values), error.octet) from None
        return tuple(values)


def build(schema: Record, obj: Structure) -> bytes:
    """Turn the fields in `schema` of `obj` into octets: one of the two borders to construct."""
    stream = io.BytesIO()
    try:
        schema._build(obj, stream, None, "")
    except ConstructError as error:
        raise EncodeError(reason(error), f"{type(obj).__name__}.{error.path or ''}") from None
    return stream.getvalue()


def parse_into(schema: Record, obj: Structure, data: bytes) -> None:
    """Read the fields in `schema` from all of `data` into `obj`."""
    stream = io.BytesIO(data)
    _read(schema, obj, stream)
    end = stream.tell()
    if end != len(data):
        raise DecodeError(f"{len(data) - end} octets left over", type(obj).__name__).with_read(
            obj, end
        )


def _read(schema: Record, obj: Structure, stream: io.BytesIO) -> None:
    """Read fields from `stream` into `obj`: the other border to construct."""
    try:
        schema.read_into(obj, stream)
    except ConstructError as error:
        place = f"{type(obj).__name__}.{error.path or ''}"
        raise DecodeError(reason(error), place).with_read(obj, error.octet) from None


def _fields(cls: type[Structure]) -> list[Field]:
    fields = []
    for name, annotation in inspect.get_annotations(cls).items():
        origin: Any = get_origin(annotation)
        if origin is ClassVar:
            continue
        if any(name in base.__dict__ for base in cls.__mro__[1:]):
            raise TypeError(f"{cls.__name__}.{name} hides an attribute of its base")
        value = cls.__dict__.get(name, MISSING)
        if value is not MISSING:
            delattr(cls, name)
        fields.append((value if isinstance(value, Field) else Field(value)).bind(name, annotation))
    return fields


def _complaint(name: str, given: Any, wanted: frozenset[str]) -> str:
    faults = (("unknown", given - wanted), ("missing", wanted - given))
    words = (f"{what} {', '.join(sorted(names))}" for what, names in faults if names)
    return f"{name}: {'; '.join(words)}"


def _shown(value: Any, secret: bool) -> str:
    if secret and isinstance(value, bytes):
        return f"<{len(value)} octets, secret>"
    return f"<{type(value).__name__}, secret>" if secret and value is not None else repr(value)
