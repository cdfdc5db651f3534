"""Hypothesis strategies that are derived from the schemas, so that a new structure needs none.

structures(TPMT_PUBLIC)     values that fit
commands(), responses()     values of every declared class
mutated(octets)             the same octets with a few wounds
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from construct import Construct
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

import tpmwire.types
from tpmwire import wire
from tpmwire.commands import COMMANDS, Command, Response
from tpmwire.structure import Record, Structure
from tpmwire.types import TPMS_AUTH_COMMAND, TPMS_AUTH_RESPONSE

STRUCTURES: list[type[Structure]] = sorted(
    (
        found
        for found in vars(tpmwire.types).values()
        if isinstance(found, type) and issubclass(found, Structure) and found is not Structure
    ),
    key=lambda cls: cls.__name__,
)
COMMAND_CLASSES: list[type[Command[Any]]] = [COMMANDS[code] for code in sorted(COMMANDS)]
RESPONSE_CLASSES: list[type[Response]] = [cls.RESPONSE for cls in COMMAND_CLASSES]
ALL = [*STRUCTURES, *COMMAND_CLASSES, *RESPONSE_CLASSES]

# For tests that are run for every class: hundreds of classes make up for few values of each.
per_class = settings(max_examples=10)

FEW = 3  # elements of a list
SHORT = 40  # octets of a buffer, mostly


def numbers(width: int, signed: bool = False) -> SearchStrategy[int]:
    """Integers that fit in `width` octets."""
    bits = 8 * width
    return (
        st.integers(-(1 << bits - 1), (1 << bits - 1) - 1)
        if signed
        else st.integers(0, (1 << bits) - 1)
    )


def octets(limit: int) -> SearchStrategy[bytes]:
    """At most `limit` octets; few, or as many as go."""
    most = min(limit, 0x2000)
    short = st.binary(max_size=min(limit, SHORT))
    return short | st.just(b"\xa5" * most) if most > SHORT else short


def values(
    subcon: Construct, selector: Any = None, drawn: Mapping[str, Any] = MappingProxyType({})
) -> SearchStrategy[Any]:
    """Values that `subcon` builds.

    `selector` tells the case of a union, `drawn` are the fields before it in the structure.
    """
    match subcon:
        case Record():
            return records(subcon)
        case wire.Enumeration():
            return st.sampled_from(list(subcon.members)) | numbers(subcon.width, subcon.signed)
        case wire.Attributes():
            return numbers(subcon.width).map(subcon.flags)
        case wire.Integer():  # a Handle too
            return numbers(subcon.width, subcon.signed)
        case wire.YesNo():
            return st.booleans()
        case wire.Octets():
            return st.binary(min_size=subcon.size, max_size=subcon.size)
        case wire.Rest():
            return st.binary(max_size=SHORT)
        case wire.Sealed():
            return octets(subcon.limit).map(wire.Encrypted)
        case wire.Buffer():
            return octets(subcon.limit)
        case wire.Sized():
            inner = values(subcon.subcon)
            return st.none() | inner if subcon.optional else inner
        case wire.Counted():
            most = min(subcon.limit, FEW)
            return st.lists(values(subcon.subcon), max_size=most).map(tuple)
        case wire.Empty():
            return st.none()
        case wire.Unless():
            present = drawn[subcon.name] != subcon.value
            return values(subcon.subcon) if present else st.none()
        case wire.Union():
            return values(subcon.cases[selector], drawn=drawn)
    raise TypeError(f"no strategy for {subcon!r}: write one here")


@st.composite
def records(draw: st.DrawFn, record: Record) -> Any:
    """Values with the fields of `record`; a union is drawn after its selector."""
    drawn: dict[str, Any] = {}
    for field in record.fields:
        cases = selectable(record, field.name)
        if cases is not None:
            drawn[field.name] = draw(st.sampled_from(cases))
        else:
            selector = drawn[field.selector] if field.selector else None
            drawn[field.name] = draw(values(field.subcon, selector, drawn))
    return record.cls(**drawn)


def selectable(record: Record, name: str) -> list[Any] | None:
    """Return the values of field `name` for which each union that it selects has a case."""
    unions = [field.subcon for field in record.fields if field.selector == name]
    if not unions:
        return None
    return [case for case in unions[0].cases if all(case in union.cases for union in unions)]


def open_ended(cls: type[Structure]) -> bool:
    """Tell whether a structure takes whatever follows it for its own."""
    fields = cls.schema.fields
    return bool(fields) and isinstance(fields[-1].subcon, wire.Rest)


def structures(cls: type[Structure]) -> SearchStrategy[Any]:
    """Values of a structure, command or response."""
    return records(cls.schema)


def commands() -> SearchStrategy[Command[Any]]:
    """Values of any command."""
    return st.sampled_from(COMMAND_CLASSES).flatmap(structures)


def command_authorizations(**kwargs: int) -> SearchStrategy[list[TPMS_AUTH_COMMAND]]:
    """What stands in a command's authorization area, none of it encrypting."""
    return st.lists(structures(TPMS_AUTH_COMMAND).map(_plain), max_size=FEW, **kwargs)


def response_authorizations(**kwargs: int) -> SearchStrategy[list[TPMS_AUTH_RESPONSE]]:
    """What stands in a response's authorization area, none of it encrypting."""
    return st.lists(structures(TPMS_AUTH_RESPONSE).map(_plain), max_size=FEW, **kwargs)


def _plain(authorization: Any) -> Any:
    return authorization.replace(sessionAttributes=authorization.sessionAttributes & ~0x60)


@st.composite
def mutated(draw: st.DrawFn, original: bytes) -> bytes:
    """`original` with up to three wounds: cuts, changes, insertions, numbers gone wild."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(("cut", "drop", "change", "flip", "insert", "wild"))):
            case "cut":
                del data[at:]
            case "drop":
                del data[at : at + draw(st.integers(1, 4))]
            case "change":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "flip":
                data[at : at + 1] = bytes(
                    octet ^ 1 << draw(st.integers(0, 7)) for octet in data[at : at + 1]
                )
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=4))
            case "wild":
                wild = draw(st.sampled_from((b"\xff\xff", b"\0\0", b"\x7f\xff\xff\xff", b"\0\1")))
                data[at : at + len(wild)] = wild
    return bytes(data)
