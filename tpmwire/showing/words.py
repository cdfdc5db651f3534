"""Single values in words: handles, attributes, PCRs, properties, response codes, octets."""

import enum
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from tpmwire import constants
from tpmwire.attributes import (
    TPMA_CC,
    TPMA_MEMORY,
    TPMA_MODES,
    TPMA_PERMANENT,
    TPMA_STARTUP_CLEAR,
)
from tpmwire.commands.base import Command
from tpmwire.constants import TPM_ALG, TPM_CC, TPM_HT, TPM_PT, TPM_RC, TPM_RH
from tpmwire.errors import TpmError

_PERMANENT = {
    TPM_RH.OWNER: "owner hierarchy",
    TPM_RH.ENDORSEMENT: "endorsement hierarchy",
    TPM_RH.PLATFORM: "platform hierarchy",
    TPM_RH.NULL: "null hierarchy",
    TPM_RH.LOCKOUT: "lockout",
    TPM_RH.RS_PW: "password",
}
_KINDS: dict[int, str] = {
    TPM_HT.NV_INDEX: "NV index",
    TPM_HT.HMAC_SESSION: "HMAC session",
    TPM_HT.POLICY_SESSION: "policy session",
    TPM_HT.EXTERNAL_NV: "external NV index",
    TPM_HT.PERMANENT_NV: "permanent NV index",
    TPM_HT.PERMANENT: "permanent handle",
    TPM_HT.TRANSIENT: "transient object",
    TPM_HT.PERSISTENT: "persistent object",
    TPM_HT.AC: "attached component",
}
_TEXT = {
    *(TPM_PT.FAMILY_INDICATOR, TPM_PT.PS_FAMILY_INDICATOR, TPM_PT.MANUFACTURER),
    *(TPM_PT.VENDOR_STRING_1, TPM_PT.VENDOR_STRING_2),
    *(TPM_PT.VENDOR_STRING_3, TPM_PT.VENDOR_STRING_4),
}
_INTERPRETATIONS: dict[int, Callable[[int], Any]] = {
    TPM_PT.PERMANENT: TPMA_PERMANENT,
    TPM_PT.STARTUP_CLEAR: TPMA_STARTUP_CLEAR,
    TPM_PT.MEMORY: TPMA_MEMORY,
    TPM_PT.MODES: TPMA_MODES,
    TPM_PT.CONTEXT_HASH: TPM_ALG,
    TPM_PT.CONTEXT_SYM: TPM_ALG,
}


def printable(data: bytes) -> str:
    """Return the text that octets are, without zeros at the end; "" if they are none."""
    text = data.rstrip(b"\0")
    return text.decode("ascii") if all(0x20 <= octet < 0x7F for octet in text) else ""


@lru_cache(4096, typed=True)
def handle_words(handle: int) -> str:
    """Say what a handle stands for."""
    if handle in _PERMANENT:
        return f"{_PERMANENT[TPM_RH(handle)]} ({permanent_name(handle)})"
    kind = handle >> 24
    if kind == TPM_HT.PCR:
        return f"PCR {handle}"
    if name := permanent_name(handle):
        return name
    return f"{_KINDS.get(kind, 'handle')} {handle:#010x}"


def handle_kind(handle: int) -> str:
    """Say in one word what kind of handle it is, for programs: the name of a TPM_HT."""
    try:
        return TPM_HT(handle >> 24).name
    except ValueError:
        return ""


def permanent_name(handle: int) -> str:
    """Return the name of a permanent handle, as the specification spells it."""
    try:
        name = TPM_RH(handle).name
    except ValueError:
        return ""
    return f"TPM_{name}" if name == "RS_PW" else f"TPM_RH_{name}"


@lru_cache(4096, typed=True)
def flag_names(flags: enum.IntFlag) -> list[str]:
    """Name what is set: bits, numbers of several bits, and bits without a name."""
    names, left = [], int(flags)
    for name, member in type(flags).__members__.items():
        mask = int(member)
        if mask & flags and mask & left:
            names.append(name if mask & mask - 1 == 0 else _number(name, mask & flags, mask))
            left &= ~mask
    for name, value in vars(type(flags)).items():
        if isinstance(value, property):
            number = getattr(flags, name)
            names.append(f"{name}={_member(name, number)}")
    return names


def _number(name: str, bits: int, mask: int) -> str:
    return f"{name}={bits // (mask & -mask)}"


def _member(enumeration: str, number: int) -> str:
    """Name a number by the enumeration that a property of a set of flags is called after."""
    members = getattr(constants, enumeration, None)
    try:
        return str(members(number).name) if members else str(number)
    except ValueError:
        return str(number)


@lru_cache(4096, typed=True)
def flag_words(flags: enum.IntFlag) -> str:
    """Say what is set."""
    if isinstance(flags, TPMA_CC):
        return _command_words(flags)
    return ", ".join(flag_names(flags)) or "none"


def _command_words(attributes: TPMA_CC) -> str:
    code = attributes.commandIndex | (0x20000000 if attributes & TPMA_CC.V else 0)
    return command_name(code)


@lru_cache(4096, typed=True)
def command_name(code: int) -> str:
    """Return the name of a command, or its number."""
    try:
        return TPM_CC(code).name
    except ValueError:
        return f"{'vendor command' if code >> 16 == 0x2000 else 'command'} {code:#010x}"


def number_words(number: int) -> str:
    """Write a number; a large one in hexadecimal too."""
    return f"{number} ({number:#x})" if number >= 0x10000 else str(number)


def pcr_numbers(select: bytes) -> list[int]:
    """Return the PCRs that a selection selects.  [Part 2, 10.5.1]"""
    return [n for n in range(8 * len(select)) if select[n // 8] >> n % 8 & 1]


def pcr_words(select: bytes) -> str:
    """Say which PCRs a selection selects, runs of them as 0-7."""
    runs: list[list[int]] = []
    for number in pcr_numbers(select):
        if runs and runs[-1][-1] == number - 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, run)) for run in runs) or "none"


def property_words(name: int, value: int) -> str:
    """Say what the value of a property of the TPM means.  [Part 2, 6.13]"""
    if name in _TEXT:
        text = printable(value.to_bytes(4, "big"))
        return f'"{text}"' if text else number_words(value)
    if name in (TPM_PT.REVISION, TPM_PT.PS_REVISION):
        return f"{value // 100}.{value % 100:02}"
    try:
        meant = _INTERPRETATIONS.get(name, int)(value)
    except ValueError:
        meant = value
    if isinstance(meant, enum.IntFlag):
        return flag_words(meant)
    return str(meant.name) if isinstance(meant, enum.IntEnum) else number_words(meant)


def response_words(code: int, command: type[Command[Any]] | None = None) -> str:
    """Say what a response code means, and what of the command it points at."""
    if code == TPM_RC.SUCCESS:
        return "success"
    error = TpmError(code)
    blamed = blamed_field(error, command)
    place = f"{error.subject} {error.index}"
    return str(error).replace(f"({place})", f"({place}, {blamed})") if blamed else str(error)


def blamed_field(error: TpmError, command: type[Command[Any]] | None) -> str:
    """Name the field of the command that a response code points at; "" if there is none.

    A session points at the handle that it authorizes.
    """
    if command is None or not error.index:
        return ""
    fields = command.AREAS.parameters if error.subject == "parameter" else command.AREAS.handles
    if error.subject == "session":
        fields = fields[: len(command.ROLES)]
    return fields[error.index - 1].name if error.index <= len(fields) else ""
