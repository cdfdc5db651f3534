"""A TPM to talk to: executing commands, and objects that are flushed on every way out.

`Tpm.execute` is the whole of it; what stands beside it only saves typing and checks what can be
checked.  A Tpm is for one thread at a time.

Nothing that was loaded through a Tpm outlives it.  The handles that the TPM gives out are noted
before a signal can be delivered or the answer be looked at, and closing flushes what is still
there.
"""

import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from tpmwire.commands.base import (
    Command,
    Response,
    command_buffer,
    split_response,
    split_response_header,
)
from tpmwire.commands.context import FlushContext
from tpmwire.commands.hierarchy import CreatePrimary
from tpmwire.commands.object import (
    Create,
    CreateResponse,
    Load,
    LoadExternal,
    ReadPublic,
)
from tpmwire.commands.signing import KEY_SCHEME, Sign
from tpmwire.commands.testing import SelfTest
from tpmwire.constants import TPM_HT, TPM_RC, TPM_RH, TPM_ST
from tpmwire.errors import DecodeError, Error, tpm_error
from tpmwire.names import object_name
from tpmwire.session import PasswordSession, Session
from tpmwire.transport import InterruptsHeld, Transport, connect
from tpmwire.types.algorithms import TPMS_SENSITIVE_CREATE, TPMT_SIG_SCHEME, TPMT_SIGNATURE
from tpmwire.types.objects import TPMT_PUBLIC, TPMT_SENSITIVE

AGAIN = frozenset({TPM_RC.RETRY, TPM_RC.YIELDED, TPM_RC.TESTING, TPM_RC.NV_RATE})
TRIES = 20
"""How often a command is sent that the TPM puts off: some 13 seconds with the pauses between."""

R = TypeVar("R", bound=Response)


def open(conf: str | None = None) -> "Tpm":
    """Open a TPM: the one that `conf` names, else that of $TPMWIRE_TCTI, else /dev/tpmrm0.

    Raises TransportError if it cannot be reached, ConfError if the conf string makes no sense.
    """
    return Tpm(connect(conf))


class Tpm:
    """A TPM behind a transport; a context manager that closes it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._loaded: set[int] = set()
        self._guard: Any = InterruptsHeld() if transport.keeps_objects else nullcontext()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Flush what was loaded through this Tpm, and close the transport."""
        with self._guard:
            try:
                if self._transport.keeps_objects:
                    for handle in tuple(self._loaded):
                        self._forget(handle)
            finally:
                self._loaded.clear()
                self._transport.close()

    def execute(self, command: Command[R], *sessions: Session) -> R:
        """Execute a command and return its response.

        `sessions` authorize the handles that want it, in their order; more of them encrypt or
        audit.  Where they are too few, the `auth` of the object in the handle field is sent as a
        password, or an empty one for a bare number.

        A command that the TPM puts off (RETRY, YIELDED, TESTING, NV_RATE) is sent again, with
        growing pauses.  Raises TpmError if the TPM refuses, SessionError if the answer does not
        verify, DecodeError if it makes no sense, TransportError if the connection fails,
        EncodeError if a value of the command does not fit.
        """
        handles, parameters = command.AREAS.write(command)
        used = (*sessions, *_passwords(command, len(sessions)))
        authorizations = [session.authorize(parameters) for session in used]
        request = command_buffer(command.CC, handles, authorizations, parameters)
        with self._guard:
            tag, response = self._send(request, command)
            handle = self._note(response, command)
        try:
            return _checked(command, used, tag, response)
        except BaseException:
            if handle is not None:
                self._forget(handle)
            raise

    def create_primary(
        self, template: TPMT_PUBLIC, hierarchy: int = TPM_RH.OWNER, auth: bytes = b""
    ) -> "LoadedObject":
        """Derive the primary object of a template; `auth` is the hierarchy's authorization."""
        command = CreatePrimary(primaryHandle=hierarchy, inPublic=template)
        made = self.execute(command, PasswordSession(auth))
        return self.adopt(made.objectHandle, made.outPublic, made.name, template=template)

    def load_external(
        self, public: TPMT_PUBLIC, sensitive: TPMT_SENSITIVE | None = None
    ) -> "LoadedObject":
        """Load a public key, or a whole key that exists outside the TPM, in no hierarchy."""
        made = self.execute(LoadExternal(inPrivate=sensitive, inPublic=public))
        auth = sensitive.authValue if sensitive else b""
        return self.adopt(made.objectHandle, public, made.name, auth)

    def persistent(self, handle: int, auth: bytes = b"") -> "LoadedObject":
        """Use an object that is in the TPM for good; TpmError (HANDLE) if there is none."""
        read = self.execute(ReadPublic(objectHandle=handle))
        return self.adopt(handle, read.outPublic, read.name, auth)

    def adopt(
        self,
        handle: int,
        public: TPMT_PUBLIC,
        name: bytes,
        auth: bytes = b"",
        *,
        template: TPMT_PUBLIC | None = None,
    ) -> "LoadedObject":
        """Take charge of an object that was loaded, after a check of what the TPM says of it.

        The Name that the TPM gave has to be that of the public area, and the object of the template
        that it was made from.  If not, it is flushed and DecodeError raised.
        """
        try:
            check_name(public, name)
            if template is not None:
                check_template(public, template)
            return LoadedObject(self, handle, public, auth)
        except BaseException:
            if handle in self._loaded:
                self._forget(handle)
            raise

    def _send(self, request: bytes, command: Command[Any]) -> tuple[int, bytes]:
        """Send until the TPM does not put it off any more; TpmError if it refuses.

        Returns the tag of the response and all of it.
        """
        tries = 1 if isinstance(command, SelfTest) else TRIES
        for attempt in range(tries):
            if attempt:
                time.sleep(min(0.005 * 2**attempt, 1.0))
            response = self._transport.send(request)
            tag, code = split_response_header(response)
            if code == TPM_RC.SUCCESS:
                return tag, response
            if code not in AGAIN:
                break
        raise tpm_error(code, type(command).__name__)

    def _note(self, response: bytes, command: Command[Any]) -> int | None:
        """Note which object the response has loaded, or the command flushed."""
        if isinstance(command, FlushContext):
            handle = command.flushHandle
            self._loaded.discard(handle if isinstance(handle, int) else handle.handle)
        elif command.RESPONSE.AREAS.handle_size:
            loaded = int.from_bytes(response[10:14], "big")
            self._loaded.add(loaded)
            return loaded
        return None

    def _forget(self, handle: int) -> None:
        with suppress(Error):
            self.execute(FlushContext(flushHandle=handle))


class LoadedObject:
    """An object in the TPM: its handle, public area, Name, and the authorization to use it.

    As a context manager it is flushed at the end, unless it is persistent.
    """

    def __init__(self, tpm: Tpm, handle: int, public: TPMT_PUBLIC, auth: bytes = b"") -> None:
        self._tpm = tpm
        self.handle, self.public, self.auth = handle, public, auth
        self.name = object_name(public)
        # Asked once only: the TPM may give the handle to another object afterwards.
        self._to_flush = handle >> 24 == TPM_HT.TRANSIENT

    def __repr__(self) -> str:
        kind = getattr(self.public.type, "name", self.public.type)
        return f"<{kind} object {self.handle:#010x} {self.name.hex()}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.flush()
        except Error:
            if error is None:
                raise

    def flush(self) -> None:
        """Forget the object; nothing happens to a persistent one, or a second time."""
        if self._to_flush:
            self._to_flush = False
            self._tpm.execute(FlushContext(flushHandle=self.handle))

    def create(self, template: TPMT_PUBLIC, auth: bytes = b"", data: bytes = b"") -> CreateResponse:
        """Make a new object under this one, with `auth` as its PIN or `data` sealed in it."""
        sensitive = TPMS_SENSITIVE_CREATE(userAuth=auth, data=data)
        command = Create(parentHandle=self, inSensitive=sensitive, inPublic=template)
        made = self._tpm.execute(command)
        check_template(made.outPublic, template)
        return made

    def load(self, private: bytes, public: TPMT_PUBLIC, auth: bytes = b"") -> "LoadedObject":
        """Load an object that was made under this one; `auth` is its PIN, for later use."""
        command = Load(parentHandle=self, inPrivate=private, inPublic=public)
        made = self._tpm.execute(command)
        return self._tpm.adopt(made.objectHandle, public, made.name, auth)

    def sign(self, digest: bytes, scheme: TPMT_SIG_SCHEME = KEY_SCHEME) -> TPMT_SIGNATURE:
        """Sign a digest, by `scheme` where the key is not bound to one."""
        command = Sign(keyHandle=self, digest=digest, inScheme=scheme)
        return self._tpm.execute(command).signature


def check_name(public: TPMT_PUBLIC, name: bytes) -> None:
    """Check that a Name is that of a public area; DecodeError if it is another's."""
    if name != object_name(public):
        raise DecodeError("the Name from the TPM is not that of the public area", "name")


def check_template(public: TPMT_PUBLIC, template: TPMT_PUBLIC) -> None:
    """Check that a new object is what was asked for; DecodeError tells where it is not."""
    for field in ("type", "nameAlg", "objectAttributes", "authPolicy", "parameters"):
        if getattr(public, field) != getattr(template, field):
            raise DecodeError("the TPM made another kind of object", f"outPublic.{field}")


def _passwords(command: Command[Any], given: int) -> list[PasswordSession]:
    """Make a password session for each authorization that the given sessions leave open."""
    open_roles = command.AREAS.handles[given : len(command.ROLES)]
    return [PasswordSession(getattr(command[field.name], "auth", b"")) for field in open_roles]


def _checked(command: Command[R], sessions: Sequence[Session], tag: int, response: bytes) -> R:
    """Read a successful response, after each session has accepted its part of it."""
    areas = command.RESPONSE.AREAS
    handles, parameters, answers = split_response(tag, response, areas)
    if (tag == TPM_ST.SESSIONS) != bool(sessions):
        raise DecodeError("the tag is not that of the command", areas.cls.__name__)
    if len(answers) != len(sessions):
        message = f"{len(answers)} authorizations where {len(sessions)} were sent"
        raise DecodeError(message, areas.cls.__name__)
    for session, answer in zip(sessions, answers, strict=True):
        session.verify(answer, parameters)
    read: R = areas.read(handles + parameters)
    return read
