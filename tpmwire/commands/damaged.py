"""Whole buffers that may be damaged, read as far as they go.

Nothing here is on the way of a sound buffer: that is unpacked as ever.  Only where that fails, the
areas are parted once more, with whatever is there of each, so that what was read can be shown, and
the place where it breaks.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from tpmwire.attributes import TPMA_SESSION
from tpmwire.commands.base import (
    COMMANDS,
    HEADER,
    Areas,
    CommandFrame,
    ResponseFrame,
    unpack_command,
    unpack_response,
)
from tpmwire.constants import TPM_RC, TPM_ST
from tpmwire.errors import DecodeError
from tpmwire.structure import Structure
from tpmwire.types.structures import TPMS_AUTH_COMMAND, TPMS_AUTH_RESPONSE

_SIZE = 4  # octets of authorizationSize and parameterSize


class Reading(NamedTuple):
    """What could be read of a buffer, and why not more.

    Where there are `errors`, values in `frame` may lack fields; without a header there is no frame.
    """

    frame: Any
    errors: tuple[DecodeError, ...] = ()


def read_command(data: bytes) -> Reading:
    """Read a command buffer as far as it goes; raises nothing."""
    return _read(data, unpack_command, _begun_command)


def read_response(data: bytes, code: int) -> Reading:
    """Read the buffer that answered a command of `code` as far as it goes; raises nothing."""
    known = COMMANDS.get(code)
    areas = None if known is None else known.RESPONSE.AREAS
    return _read(data, lambda d: unpack_response(d, code), lambda d: _begun_response(d, areas))


def _read(
    data: bytes,
    unpack: Callable[[bytes], CommandFrame | ResponseFrame],
    begin: Callable[[bytes], tuple[CommandFrame | ResponseFrame, int]],
) -> Reading:
    try:
        return Reading(unpack(data))
    except DecodeError as error:
        errors: tuple[DecodeError, ...] = (error,)
    if len(data) < HEADER.size:
        return Reading(None, errors)
    if errors[0].path == "header.size":
        # With the size that it has there may be nothing else wrong, or what it lacks has a place.
        data = data[:2] + len(data).to_bytes(4, "big") + data[6:]
        try:
            return Reading(unpack(data), errors)
        except DecodeError as error:
            errors = (*errors, error)
    frame, octet = begin(data)
    errors[-1].octet = octet
    return Reading(frame, errors)


def _begun_command(data: bytes) -> tuple[CommandFrame, int]:
    """Read a command, known but damaged; and how many octets of it could be read."""
    tag, _, code = HEADER.unpack_from(data)
    areas = COMMANDS[code].AREAS
    handles, rest = _split(data[HEADER.size :], areas.handle_size)
    authorizations: tuple[TPMS_AUTH_COMMAND, ...] = ()
    area = b""
    if tag == TPM_ST.SESSIONS:
        area, rest = _split(rest, _SIZE + int.from_bytes(rest[:_SIZE], "big"))
        authorizations, read = _begun_series(TPMS_AUTH_COMMAND, area[_SIZE:])
        if _SIZE + read < len(area) or not rest:
            command, _ = _begun(areas, handles, encrypted=False)
            octet = HEADER.size + len(handles) + min(_SIZE + read, len(area))
            return CommandFrame(tag, code, command, authorizations), octet
    encrypted = any(_has(a, TPMA_SESSION.decrypt) for a in authorizations)
    command, read = _begun(areas, handles + rest, encrypted=encrypted)
    return CommandFrame(tag, code, command, authorizations), _place(read, handles, len(area))


def _begun_response(data: bytes, areas: Areas | None) -> tuple[ResponseFrame, int]:
    """Read a response that is damaged; and how many octets of it could be read."""
    tag, _, code = HEADER.unpack_from(data)
    if code != TPM_RC.SUCCESS or areas is None:
        return ResponseFrame(tag, code), HEADER.size
    handles, rest = _split(data[HEADER.size :], areas.handle_size)
    size, after = b"", b""
    if tag == TPM_ST.SESSIONS:
        size, rest = _split(rest, _SIZE)
        rest, after = _split(rest, int.from_bytes(size, "big"))
    authorizations, read_after = _begun_series(TPMS_AUTH_RESPONSE, after)
    encrypted = any(_has(a, TPMA_SESSION.encrypt) for a in authorizations)
    response, read = _begun(areas, handles + rest, encrypted=encrypted)
    octet = _place(read, handles, len(size))
    if read < len(handles + rest):
        return ResponseFrame(tag, code, response), octet
    return ResponseFrame(tag, code, response, authorizations), octet + read_after


def _begun(areas: Areas, octets: bytes, *, encrypted: bool) -> tuple[Any, int]:
    """Read the areas of handles and parameters as far as they go, and say how far."""
    try:
        return areas.read(octets, encrypted=encrypted), len(octets)
    except DecodeError as error:
        if error.octet is None:  # what is said to be encrypted cannot be
            return _begun(areas, octets, encrypted=False)
        partial: Any = error.partial
        return partial, error.octet


def _begun_series(cls: type[Structure], area: bytes) -> tuple[tuple[Any, ...], int]:
    """Read authorizations as far as they go, and say how far."""
    try:
        return cls.unpack_series(area), len(area)
    except DecodeError as error:
        partial: Any = error.partial
        return partial, error.octet or 0


def _has(authorization: Any, attribute: TPMA_SESSION) -> bool:
    return bool(getattr(authorization, "sessionAttributes", 0) & attribute)


def _split(data: bytes, size: int) -> tuple[bytes, bytes]:
    return data[:size], data[size:]


def _place(read: int, handles: bytes, between: int) -> int:
    """Find the octet of the buffer for one of the areas, which another stands between."""
    return HEADER.size + read + (between if read > len(handles) else 0)
