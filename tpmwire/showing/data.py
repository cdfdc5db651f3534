"""Exchanges as plain data for programs: dicts, lists, strings and numbers, ready for JSON.

    octets          their hexadecimal digits
    enumerations    {"value": 35, "name": "TPM_ALG_ECC"}; the name is null where there is none
    attributes      {"value": 1, "names": ["continueSession"]}
    handles         {"value": 2147483648, "kind": "TRANSIENT", "name": null}
    PCRs            {"octets": "810000", "pcrs": [0, 7]}
    secrets         {"secret": 6}, the number of octets; or {"secret": null}
    encrypted       {"encrypted": "..."}
    TPM2B_ATTEST    {"octets": "ff54...", "content": {...}}, and what else holds a structure

An exchange always has the same keys, and so has each of its messages; what is not there is null.
"""

import enum
from typing import Any

from tpmwire.commands.damaged import Reading
from tpmwire.constants import TPM_CC, TPM_RC, TPM_ST
from tpmwire.errors import DecodeError, TpmError
from tpmwire.masking import is_secret
from tpmwire.showing.contents import content_of
from tpmwire.showing.dissection import Dissection, hides_body
from tpmwire.showing.words import (
    blamed_field,
    command_name,
    flag_names,
    handle_kind,
    pcr_numbers,
    permanent_name,
    response_words,
)
from tpmwire.structure import Field, Structure
from tpmwire.traces.messages import Message
from tpmwire.wire import Encrypted, Enumeration, Handle, leaf


class Data:
    """Turns exchanges into plain data."""

    def __init__(self, *, secrets: bool = False) -> None:
        self._secrets = secrets

    def exchange(self, number: int, dissection: Dissection) -> dict[str, Any]:
        """Turn an exchange into plain data."""
        command, response, stray = dissection.exchange
        return {
            "number": number,
            "name": None if dissection.code is None else command_name(dissection.code),
            "command": self._message(command, dissection.command, dissection),
            "response": self._message(response, dissection.response, dissection),
            "stray": None if stray is None else self._stray(stray),
            "damaged": dissection.damaged,
        }

    def structure(self, value: Structure) -> dict[str, Any]:
        """Turn a structure, as far as it is there, into plain data."""
        return self._fields(value, value.schema.fields)

    def _stray(self, stray: Message) -> dict[str, Any]:
        octets = stray.octets.hex() if self._secrets else {"secret": len(stray.octets)}
        return _size_and_place(stray) | {"octets": octets, "fault": stray.fault}

    def _message(
        self, message: Message | None, reading: Reading | None, dissection: Dissection
    ) -> dict[str, Any] | None:
        if message is None or reading is None:
            return None
        data = _size_and_place(message) | {
            "tag": None,
            "code": None,
            "handles": {},
            "authorizations": [],
            "parameters": {},
            "body": None,
            "damage": [_damage(error) for error in reading.errors],
        }
        frame = reading.frame
        if frame is None:
            return data
        is_command = reading is dissection.command
        data["tag"] = named(frame.tag, TPM_ST)
        data["code"] = _command_code(frame.code) if is_command else _response_code(dissection)
        content = frame.command if is_command else frame.response
        if content is not None:
            areas = type(content).AREAS
            data["handles"] = self._fields(content, areas.handles)
            data["authorizations"] = [self.structure(each) for each in frame.authorizations]
            data["parameters"] = self._fields(content, areas.parameters)
        elif frame.body:
            hidden = hides_body(frame, dissection) and not self._secrets
            data["body"] = {"secret": len(frame.body)} if hidden else frame.body.hex()
        return data

    def _fields(self, owner: Structure, fields: tuple[Field, ...]) -> dict[str, Any]:
        values = vars(owner)
        return {
            field.name: self._field(owner, field, values[field.name])
            for field in fields
            if field.name in values
        }

    def _field(self, owner: Structure, field: Field, value: Any) -> Any:
        if not self._secrets and value is not None and is_secret(owner, field):
            return {"secret": len(value) if isinstance(value, bytes) else None}
        if field.name == "pcrSelect" and isinstance(value, bytes):
            return {"octets": value.hex(), "pcrs": pcr_numbers(value)}
        return self._value(value, leaf(field.subcon, owner))

    def _value(self, value: Any, subcon: Any) -> Any:
        if isinstance(value, Structure):
            return self.structure(value)
        if isinstance(value, tuple):
            return [self._value(element, subcon) for element in value]
        if isinstance(value, bytes):
            return self._octets(value, subcon)
        if value is None:  # an enumeration may be left out
            return None
        if isinstance(subcon, Handle):
            return _handle(value)
        if isinstance(subcon, Enumeration):
            return named(value, subcon.members)
        if isinstance(value, enum.IntFlag):
            return {"value": int(value), "names": flag_names(value)}
        return value

    def _octets(self, value: bytes, subcon: Any) -> Any:
        if isinstance(value, Encrypted):
            return {"encrypted": value.hex()}
        content = content_of(value, subcon)
        if content is None:
            return value.hex()
        return {"octets": value.hex(), "content": self.structure(content)}


def _size_and_place(message: Message) -> dict[str, Any]:
    return {"size": len(message.octets), "place": {message.place.unit: message.place.number}}


def _damage(error: DecodeError) -> dict[str, Any]:
    return {"octet": error.octet, "path": error.path, "reason": error.reason}


def named(value: int, members: type[enum.IntEnum]) -> dict[str, Any]:
    """Turn a number that may have a name into plain data."""
    try:
        name = f"{members.__name__}_{members(value).name}"
    except ValueError:
        name = None
    return {"value": int(value), "name": name}


def _handle(handle: int) -> dict[str, Any]:
    name = permanent_name(handle)
    return {"value": int(handle), "kind": handle_kind(handle) or None, "name": name or None}


def _command_code(code: int) -> dict[str, Any]:
    return named(code, TPM_CC)


def _response_code(dissection: Dissection) -> dict[str, Any]:
    raw = dissection.response_code or 0
    error = TpmError(raw)
    return {
        "value": raw,
        "name": f"TPM_RC_{error.code.name}" if isinstance(error.code, TPM_RC) else None,
        "layer": error.layer,
        "subject": error.subject or None,
        "index": error.index or None,
        "field": blamed_field(error, dissection.known) or None,
        "words": response_words(raw, dissection.known),
    }
