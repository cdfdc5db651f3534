"""Values that fit in a line: numbers, octets, and structures of a few small fields."""

import enum
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from tpmwire.commands.capability import GetCapability
from tpmwire.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_ECC, TPM_PT, TPM_PT_PCR, TPM_RC, TPM_RH
from tpmwire.showing.words import (
    command_name,
    flag_words,
    handle_words,
    number_words,
    pcr_words,
    printable,
    property_words,
    response_words,
)
from tpmwire.structure import Field, Record, Structure, wire_of
from tpmwire.types.capabilities import (
    TPMS_ALG_PROPERTY,
    TPMS_TAGGED_PCR_SELECT,
    TPMS_TAGGED_PROPERTY,
)
from tpmwire.types.objects import TPMS_RSA_PARMS
from tpmwire.types.structures import TPM2B_NAME, TPMS_PCR_SELECTION, TPMT_HA
from tpmwire.wire import (
    Attributes,
    Empty,
    Encrypted,
    Enumeration,
    Handle,
    Integer,
    Union,
    YesNo,
    leaf,
)

MOST_OCTETS, SHORTENED = 34, 28
"""Octets that are shown whole, and how many of more are."""

_MOST_TEXT = 24
_LEAST_TEXT = 3
_NAME = wire_of(TPM2B_NAME)


def scalar_words(value: Any, subcon: Any) -> str:
    """Write a number, a truth or nothing; `subcon` tells what a number without a name is."""
    if isinstance(value, enum.IntEnum):
        return _member_words(value)
    if isinstance(value, enum.IntFlag):
        return flag_words(value)
    if value is None or isinstance(value, bool):
        return {None: "none", False: "no", True: "yes"}[value]
    if isinstance(subcon, Handle):
        return handle_words(value)
    if isinstance(subcon, Enumeration):
        return _unnamed(value, subcon.members)
    return number_words(value)


@lru_cache(4096, typed=True)
def _member_words(member: enum.IntEnum) -> str:
    if isinstance(member, TPM_RH):
        return handle_words(member)
    if isinstance(member, TPM_RC):
        return response_words(member)
    return member.name


def _unnamed(value: int, members: type[enum.IntEnum]) -> str:
    if members is TPM_CC:
        return command_name(value)
    if members is TPM_RC:
        return response_words(value)
    return f"{value:#06x} (no {members.__name__} that is known here)"


def octets_words(data: bytes, subcon: Any = None, *, full: bool = False) -> str:
    """Write octets in hexadecimal, and as text where they are some."""
    if not data:
        return "empty"
    shortened = len(data) > MOST_OCTETS and not full
    words = f"{data[:SHORTENED].hex()}... ({len(data)} octets)" if shortened else data.hex()
    if isinstance(data, Encrypted):
        return f"{words}  encrypted"
    if subcon is _NAME:
        return words + _name_words(data)
    text = printable(data)
    if len(text) < _LEAST_TEXT:
        return words
    return f'{words}  "{text}"' if len(text) <= _MOST_TEXT else f'{words}  "{text[:_MOST_TEXT]}..."'


def _name_words(name: bytes) -> str:
    """Say what kind of Name it is: a handle, or a digest by an algorithm.  [Part 1, 16]"""
    if len(name) == 4:
        return f"  {handle_words(int.from_bytes(name, 'big'))}"
    try:
        return f"  {TPM_ALG(int.from_bytes(name[:2], 'big')).name}"
    except ValueError:
        return ""


def hidden_words(value: Any) -> str:
    """Say of a secret no more than how long it is."""
    if not isinstance(value, bytes):
        return "none" if value is None else "secret"
    return f"{len(value)} octets, secret" if value else "empty"


# --- structures ----------------------------------------------------------------------------------


def structure_words(value: Structure, *, full: bool = False) -> str | None:
    """Write a structure in one line if all of it is small; None if it wants more lines."""
    special = _STRUCTURES.get(type(value))
    if special is not None and len(vars(value)) == len(value.schema.fields):
        return special(value, full)
    return ", ".join(_parts(value)) if _is_small(value.schema) else None


def field_words(owner: Structure, name: str) -> str | None:
    """Write a field whose meaning another field tells; None if it is not one."""
    meaning = _MEANINGS.get((type(owner), name))
    return None if meaning is None else meaning(owner)


def _parts(value: Structure) -> Iterator[str]:
    """Write each field; of a selector the value alone, of what it selects the parts."""
    selectors = {field.selector for field in value.schema.fields}
    for field in value.schema.fields:
        content = vars(value).get(field.name)
        if isinstance(content, Structure):
            yield from _parts(content)
        elif content is not None:
            words = scalar_words(content, leaf(field.subcon, value))
            yield words if field.name in selectors else f"{field.name} {words}"


@lru_cache(1024)
def _is_small(record: Record) -> bool:
    return all(_is_small_field(field) for field in record.fields)


def _is_small_field(field: Field) -> bool:
    subcon = field.subcon
    cases = subcon.cases.values() if isinstance(subcon, Union) else [subcon]
    return all(
        _is_small(case) if isinstance(case, Record) and field.selector else _is_small_number(case)
        for case in cases
    )


def _is_small_number(subcon: Any) -> bool:
    inner = getattr(subcon, "subcon", subcon)
    return isinstance(inner, Integer | YesNo | Empty) and not isinstance(inner, Attributes)


def _alg(value: int) -> str:
    return scalar_words(value, wire_of(TPM_ALG))


_STRUCTURES: dict[type[Structure], Callable[[Any, bool], str]] = {
    TPMS_PCR_SELECTION: lambda v, _: f"{_alg(v.hash)}: {pcr_words(v.pcrSelect)}",
    TPMS_TAGGED_PCR_SELECT: lambda v, _: (
        f"{scalar_words(v.tag, wire_of(TPM_PT_PCR))}: {pcr_words(v.pcrSelect)}"
    ),
    TPMT_HA: lambda v, full: (
        _alg(v.hashAlg) + (f": {octets_words(v.digest, full=full)}" if v.digest else "")
    ),
    TPMS_ALG_PROPERTY: lambda v, _: f"{_alg(v.alg)}: {flag_words(v.algProperties)}",
    TPMS_TAGGED_PROPERTY: lambda v, _: (
        f"{scalar_words(v.property, wire_of(TPM_PT))}: {property_words(v.property, v.value)}"
    ),
}

_PROPERTIES: dict[int, type[enum.IntEnum]] = {
    TPM_CAP.ALGS: TPM_ALG,
    TPM_CAP.COMMANDS: TPM_CC,
    TPM_CAP.PP_COMMANDS: TPM_CC,
    TPM_CAP.AUDIT_COMMANDS: TPM_CC,
    TPM_CAP.TPM_PROPERTIES: TPM_PT,
    TPM_CAP.PCR_PROPERTIES: TPM_PT_PCR,
    TPM_CAP.ECC_CURVES: TPM_ECC,
}
_HANDLES = (TPM_CAP.HANDLES, TPM_CAP.AUTH_POLICIES, TPM_CAP.ACT)


def _first_property(command: GetCapability) -> str:
    """Name the first property that is asked for, which is of another kind in each group."""
    if command.property and command.capability in _HANDLES:
        return handle_words(command.property)
    members = _PROPERTIES.get(command.capability)
    try:
        return members(command.property).name if members and command.property else "0, the first"
    except ValueError:
        return number_words(command.property)


def _exponent(parameters: TPMS_RSA_PARMS) -> str:
    return number_words(parameters.exponent) if parameters.exponent else "0, which means 65537"


_MEANINGS: dict[tuple[type[Structure], str], Callable[[Any], str]] = {
    (TPMS_RSA_PARMS, "exponent"): _exponent,
    (GetCapability, "property"): _first_property,
}
