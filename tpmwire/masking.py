"""What in a command or response is secret, and the same octets with zeros in its place.

Secret is what the declarations mark so, and a password where an HMAC could stand: with TPM_RS_PW,
and with a policy session, which may be one of TPM2_PolicyPassword.  In octets that cannot be read
nobody knows where a secret is, so all of them count as one.

What a session has encrypted stays.  It is as secret as the key of that session, which is nothing
where the session is neither salted nor bound and the authorization value is empty.
"""

from typing import Any

from tpmwire.commands.base import (
    HEADER,
    CommandFrame,
    ResponseFrame,
    unpack_command,
    unpack_response,
)
from tpmwire.constants import TPM_HT, TPM_RH
from tpmwire.errors import DecodeError
from tpmwire.structure import Field, Structure
from tpmwire.types.structures import TPMS_AUTH_COMMAND, TPMS_AUTH_RESPONSE
from tpmwire.wire import Encrypted, leaf


def is_secret(owner: Structure, field: Field) -> bool:
    """Tell whether the value of a field of `owner` is not for everybody's eyes."""
    if isinstance(owner, TPMS_AUTH_COMMAND):
        return field.name == "hmac" and may_be_password(owner)
    if isinstance(owner, TPMS_AUTH_RESPONSE) or isinstance(owner[field.name], Encrypted):
        return False
    return field.secret or bool(getattr(leaf(field.subcon, owner), "secret", False))


def may_be_password(authorization: TPMS_AUTH_COMMAND) -> bool:
    """Tell whether an authorization may have a password where an HMAC would stand."""
    session: Any = authorization.sessionHandle
    return bool(session == TPM_RH.RS_PW or session >> 24 == TPM_HT.POLICY_SESSION)


def mask_command(data: bytes) -> bytes:
    """Put zeros in the place of the secrets of a whole command buffer."""
    try:
        frame = unpack_command(data)
    except DecodeError:
        return _blank(data)
    if frame.command is None:
        return _blank(data)
    authorizations = tuple(_masked(a) for a in frame.authorizations)
    return CommandFrame(frame.tag, frame.code, _masked(frame.command), authorizations).pack()


def mask_response(data: bytes, code: int) -> bytes:
    """Put zeros in the place of the secrets of the whole buffer that answered `code`."""
    try:
        frame = unpack_response(data, code)
    except DecodeError:
        return _blank(data)
    if frame.response is None:
        return _blank(data)
    masked = _masked(frame.response)
    return ResponseFrame(frame.tag, frame.code, masked, frame.authorizations).pack()


def _blank(data: bytes) -> bytes:
    return data[: HEADER.size] + bytes(len(data[HEADER.size :]))


def _masked(value: Any, *, secret: bool = False) -> Any:
    """Copy a value, zeros for octets that are secret or inside of what is."""
    if isinstance(value, Structure):
        masked = {
            field.name: _masked(value[field.name], secret=secret or is_secret(value, field))
            for field in value.schema.fields
        }
        return value.replace(**masked)
    if isinstance(value, tuple):
        return tuple(_masked(element, secret=secret) for element in value)
    if secret and isinstance(value, bytes):
        return bytes(len(value))
    return value
