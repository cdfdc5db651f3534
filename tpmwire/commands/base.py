"""Commands and responses: areas of handles, authorizations and parameters, and their frame.

    command   tag size code      [handles] [authorizationSize authorizations] parameters
    response  tag size code      [handle]  [parameterSize] parameters [authorizations]

The bracketed parts in the middle are there when the tag is TPM_ST_SESSIONS.  A response that tells
an error is its ten octets of header and nothing else.  [Part 1, 18]

A command class holds nothing but its declaration.  Where a session has encrypted the first
parameter, that parameter is `Encrypted` octets, and everything around it reads as usual.
"""

import enum
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Generic, Self, TypeVar, cast

from tpmwire.attributes import TPMA_SESSION
from tpmwire.constants import TPM_CC, TPM_RC, TPM_ST
from tpmwire.errors import DecodeError, tpm_error
from tpmwire.structure import Field, Record, Structure, build, parse_into
from tpmwire.types.structures import TPMS_AUTH_COMMAND, TPMS_AUTH_RESPONSE
from tpmwire.wire import Buffer, Sealed, Sized

HEADER = struct.Struct(">HII")
_SIZE = struct.Struct(">I")
# Python 3.11 looks a member of an enumeration up by a function call each time.
_SESSIONS, _NO_SESSIONS, _SUCCESS = TPM_ST.SESSIONS, TPM_ST.NO_SESSIONS, TPM_RC.SUCCESS

COMMANDS: "dict[int, type[Command[Any]]]" = {}


class Role(enum.Enum):
    """Which authorization of an entity a handle wants.  [Part 3, 4.5]"""

    USER = "USER"
    ADMIN = "ADMIN"
    DUP = "DUP"


USER, ADMIN, DUP = Role.USER, Role.ADMIN, Role.DUP


class Areas:
    """The fields of a command or response, parted into handles and parameters."""

    def __init__(self, cls: type[Structure]) -> None:
        fields = cls.schema.fields
        self.cls = cls
        self.handles = tuple(f for f in fields if f.is_handle)
        self.parameters = tuple(f for f in fields if not f.is_handle)
        self.handle_size = 4 * len(self.handles)
        if fields[: len(self.handles)] != self.handles:
            raise TypeError(f"{cls.__name__}: handles stand before parameters")

    @property
    def encryptable(self) -> bool:
        """Whether a session can encrypt the first parameter: it is a TPM2B.  [Part 1, 21.1]"""
        return bool(self.parameters) and _is_tpm2b(self.parameters[0])

    @property
    def secret(self) -> bool:
        """Whether the first parameter is a secret that a session can hide."""
        return self.encryptable and _holds_secret(self.parameters[0])

    @cached_property
    def encrypted(self) -> Record:
        """The fields with the first parameter encrypted."""
        if not self.encryptable:
            raise DecodeError("a session claims to encrypt what is not a TPM2B", self.cls.__name__)
        first, *others = self.parameters
        sealed = Field()
        # Encryption keeps the size, so the limit is that of the plain parameter.
        sealed.name, sealed.subcon = first.name, Sealed(getattr(first.subcon, "limit", None))
        return Record(self.cls, (*self.handles, sealed, *others))

    def read(self, octets: bytes, *, encrypted: bool = False) -> Any:
        """Make the value that the two areas, one after the other, stand for."""
        obj = self.cls.__new__(self.cls)
        parse_into(self.encrypted if encrypted else self.cls.schema, obj, octets)
        return obj

    def write(self, obj: Structure) -> tuple[bytes, bytes]:
        """Turn a value into its handle area and its parameter area."""
        octets = build(self.cls.schema, obj)
        return octets[: self.handle_size], octets[self.handle_size :]


class Response(Structure):
    """What a command brings back."""

    AREAS: ClassVar[Areas]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.AREAS = Areas(cls)


R = TypeVar("R", bound=Response)


class Command(Structure, Generic[R]):
    """What the TPM is asked to do; `Command[R]` brings back an R."""

    CC: ClassVar[TPM_CC]
    AREAS: ClassVar[Areas]
    RESPONSE: ClassVar[type[Response]]
    ROLES: ClassVar[tuple[Role, ...]]
    """The role of each authorization that the command wants; they stand for its first handles."""

    def __init_subclass__(cls, *, code: TPM_CC, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.CC = code
        cls.AREAS = Areas(cls)
        cls.RESPONSE = cls.__orig_bases__[0].__args__[0]  # type: ignore[attr-defined]
        cls.ROLES = tuple(field.role for field in cls.schema.fields if field.role)
        COMMANDS[code] = cls

    def frame(self, authorizations: Sequence[TPMS_AUTH_COMMAND] = ()) -> bytes:
        """Turn the command into the whole buffer that a TPM is sent.

        `authorizations` are those of the handles, then those of further sessions.  Raises
        EncodeError if a value does not fit.
        """
        handles, parameters = self.AREAS.write(self)
        return command_buffer(self.CC, handles, (a.pack() for a in authorizations), parameters)

    @classmethod
    def read(cls, data: bytes) -> R:
        """Read the whole buffer that a TPM answered this command with.

        Raises TpmError if the TPM says that it failed, DecodeError if the answer makes no sense.
        The authorizations in it are for a session to check: see `unpack_response`.
        """
        frame = ResponseFrame.unpack(data, cls.RESPONSE.AREAS)
        if frame.response is None:
            raise tpm_error(frame.code, cls.__name__)
        return cast(R, frame.response)


@dataclass(frozen=True)
class CommandFrame:
    """A whole command buffer; `pack` gives back the octets that it was unpacked from.

    `command` is None for a code that is not known here.  What follows the header is then in `body`.
    """

    tag: int
    code: int
    command: Command[Any] | None
    authorizations: tuple[TPMS_AUTH_COMMAND, ...] = ()
    body: bytes = b""

    def pack(self) -> bytes:
        """Turn the frame into octets."""
        if self.command is None:
            return HEADER.pack(self.tag, HEADER.size + len(self.body), self.code) + self.body
        return self.command.frame(self.authorizations)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Read a whole command buffer; DecodeError if it is not one."""
        tag, code = split_header(data)
        known = COMMANDS.get(code)
        if known is None:
            return cls(tag, code, None, body=data[HEADER.size :])
        if tag not in (_SESSIONS, _NO_SESSIONS):
            raise DecodeError(f"tag {tag:#06x} is none of a command", known.__name__)
        end = HEADER.size + known.AREAS.handle_size
        handles, rest = data[HEADER.size : end], data[end:]
        authorizations: tuple[TPMS_AUTH_COMMAND, ...] = ()
        if tag == _SESSIONS:
            area, rest = _split_sized(rest, f"{known.__name__}.authorizationSize")
            authorizations = TPMS_AUTH_COMMAND.unpack_series(area)
            if not authorizations:
                raise DecodeError("an empty authorization area", known.__name__)
        encrypted = any(a.sessionAttributes & TPMA_SESSION.decrypt for a in authorizations)
        command = known.AREAS.read(handles + rest, encrypted=encrypted)
        return cls(TPM_ST(tag), known.CC, command, authorizations)


@dataclass(frozen=True)
class ResponseFrame:
    """A whole response buffer; `pack` gives back the octets that it was unpacked from.

    `code` is the response code.  `response` is None if that tells an error, or if the command is
    not known here; what follows the header is then in `body`.
    """

    tag: int
    code: int
    response: Response | None = None
    authorizations: tuple[TPMS_AUTH_RESPONSE, ...] = ()
    body: bytes = b""

    def pack(self) -> bytes:
        """Turn the frame into octets."""
        body = self.body
        if self.response is not None:
            handles, parameters = self.response.AREAS.write(self.response)
            if self.tag == _SESSIONS:
                parameters = _SIZE.pack(len(parameters)) + parameters
            body = handles + parameters + b"".join(a.pack() for a in self.authorizations)
        return HEADER.pack(self.tag, HEADER.size + len(body), self.code) + body

    @classmethod
    def unpack(cls, data: bytes, areas: Areas | None) -> Self:
        """Read a whole response buffer; DecodeError if it is not one."""
        tag, code = split_response_header(data)
        if code != _SUCCESS or areas is None:
            return cls(tag, code, body=data[HEADER.size :])
        handles, parameters, authorizations = split_response(tag, data, areas)
        encrypted = any(a.sessionAttributes & TPMA_SESSION.encrypt for a in authorizations)
        response = areas.read(handles + parameters, encrypted=encrypted)
        return cls(TPM_ST(tag), _SUCCESS, response, authorizations)


def unpack_command(data: bytes) -> CommandFrame:
    """Read a whole command buffer of unknown content; DecodeError if it is damaged.

    A command code that is not known here is no failure: the octets after the header are kept.
    """
    return CommandFrame.unpack(data)


def unpack_response(data: bytes, code: int) -> ResponseFrame:
    """Read the whole buffer that answered a command of `code`; DecodeError if it is damaged."""
    known = COMMANDS.get(code)
    return ResponseFrame.unpack(data, None if known is None else known.RESPONSE.AREAS)


def command_buffer(
    code: int, handles: bytes, authorizations: Iterable[bytes], parameters: bytes
) -> bytes:
    """Put the areas of a command together; each authorization is a packed TPMS_AUTH_COMMAND."""
    area = b"".join(authorizations)
    if area:
        area = _SIZE.pack(len(area)) + area
    body = handles + area + parameters
    tag = _SESSIONS if area else _NO_SESSIONS
    return HEADER.pack(tag, HEADER.size + len(body), code) + body


def split_header(data: bytes) -> tuple[int, int]:
    """Read tag and code of a whole buffer, whose size must be the one that it claims."""
    if len(data) < HEADER.size:
        raise DecodeError(f"{len(data)} octets where a header has {HEADER.size}", "header")
    tag, size, code = HEADER.unpack_from(data)
    if size != len(data):
        raise DecodeError(f"{size} octets claimed, {len(data)} there", "header.size")
    return tag, code


def split_response_header(data: bytes) -> tuple[int, int]:
    """Read tag and response code of a whole response; one that tells an error is nothing else."""
    tag, code = split_header(data)
    if code != _SUCCESS and len(data) != HEADER.size:
        raise DecodeError(f"{len(data)} octets where an error has {HEADER.size}", "response")
    return tag, code


def split_response(
    tag: int, data: bytes, areas: Areas
) -> tuple[bytes, bytes, tuple[TPMS_AUTH_RESPONSE, ...]]:
    """Part a successful response of `tag` into handle area, parameter area and authorizations."""
    name = areas.cls.__name__
    end = HEADER.size + areas.handle_size
    handles, rest = data[HEADER.size : end], data[end:]
    if len(handles) != areas.handle_size:
        raise DecodeError(
            f"{areas.handle_size} octets wanted, {len(handles)} left", f"{name}.handle"
        )
    if tag == _NO_SESSIONS:
        return handles, rest, ()
    if tag != _SESSIONS:
        raise DecodeError(f"tag {tag:#06x} is none of a response", name)
    parameters, rest = _split_sized(rest, f"{name}.parameterSize")
    return handles, parameters, TPMS_AUTH_RESPONSE.unpack_series(rest)


def _holds_secret(field: Field) -> bool:
    inside = getattr(field.subcon, "subcon", None)
    return field.secret or (isinstance(inside, Record) and any(map(_holds_secret, inside.fields)))


def _is_tpm2b(field: Field) -> bool:
    subcon = field.subcon
    return isinstance(subcon, Sized) or (isinstance(subcon, Buffer) and subcon.prefix == 2)


def _split_sized(data: bytes, name: str) -> tuple[bytes, bytes]:
    if len(data) < _SIZE.size:
        raise DecodeError(f"{_SIZE.size} octets wanted, {len(data)} left", name)
    (size,) = _SIZE.unpack_from(data)
    end = _SIZE.size + size
    if end > len(data):
        raise DecodeError(f"{size} octets claimed, {len(data) - _SIZE.size} left", name)
    return data[_SIZE.size : end], data[end:]
