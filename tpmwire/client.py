"""A TPM to talk to: executing commands, and objects that are flushed on every way out.

`Tpm.execute` is the whole of it; what stands beside it only saves typing and checks what can be
checked.  A Tpm is for one thread at a time.

Nothing that was loaded through a Tpm outlives it.  The handles that the TPM gives out are noted
before a signal can be delivered or the answer be looked at, and closing flushes what is still
there.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, Self, TypeVar

from tpmwire.authorization import Entity, HasEntity, SaltKey, Session
from tpmwire.commands.base import Command, Response, split_response_header
from tpmwire.commands.context import FlushContext
from tpmwire.commands.hierarchy import CreatePrimary
from tpmwire.commands.nv import NV_ReadPublic
from tpmwire.commands.object import LoadExternal, ReadPublic
from tpmwire.commands.sequences import EventSequenceComplete, SequenceComplete
from tpmwire.commands.testing import SelfTest
from tpmwire.constants import TPM_ALG, TPM_HT, TPM_RC, TPM_RH, TPM_SE
from tpmwire.errors import DecodeError, Error, TpmError, tpm_error
from tpmwire.exchange import Exchange
from tpmwire.objects import LoadedObject, check_index_name, check_name, check_template
from tpmwire.session import AES_128_CFB, HmacSession, SessionStart
from tpmwire.templates import ECC_SRK
from tpmwire.transport import InterruptsHeld, Transport, connect
from tpmwire.types.algorithms import TPMT_SYM_DEF
from tpmwire.types.objects import TPMT_PUBLIC, TPMT_SENSITIVE
from tpmwire.wire import HasHandle, handle_of

AGAIN = frozenset({TPM_RC.RETRY, TPM_RC.YIELDED, TPM_RC.TESTING, TPM_RC.NV_RATE})
TRIES = 20
"""How often a command is sent that the TPM puts off: some 13 seconds with the pauses between."""

FLUSHES: dict[type[Command[Any]], str] = {
    FlushContext: "flushHandle",
    SequenceComplete: "sequenceHandle",
    EventSequenceComplete: "sequenceHandle",
}
"""Commands after which what a field of theirs names is no longer in the TPM."""

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
        audit.  Where they are too few, an empty password is sent; for an object that knows a better
        one that is refused, since a password travels in clear: give a session, use
        `execute_protected`, or insist on it by a PasswordSession.

        A command that the TPM puts off (RETRY, YIELDED, TESTING, NV_RATE) is sent again, with
        growing pauses.  Raises TpmError if the TPM refuses, SessionError if the answer does not
        verify, DecodeError if it makes no sense, TransportError if the connection fails,
        EncodeError if a value of the command does not fit or an authorization is wanting.
        """
        uses = [session.use() for session in sessions]
        entities = self._entities(command) if uses else ()
        exchange = Exchange(command, uses, entities)
        request = exchange.request()
        with self._guard:
            tag, response = self._send(request, command)
            handle = self._note(response, command)
        try:
            read = exchange.response(tag, response)
        except BaseException:
            if handle is not None:
                self._forget(handle)
            raise
        if uses:
            self._loaded.difference_update(exchange.ended)
        return read

    @contextmanager
    def session(
        self,
        kind: TPM_SE = TPM_SE.HMAC,
        *,
        salt_key: SaltKey | None = None,
        bind: HasEntity | None = None,
        hash_alg: TPM_ALG = TPM_ALG.SHA256,
        symmetric: TPMT_SYM_DEF = AES_128_CFB,
    ) -> Iterator[HmacSession]:
        """Start a session for a `with` block: an HMAC session, or a policy or trial session.

        `salt_key` is a loaded key to which the salt of the session key is encrypted, `bind` an
        entity whose authorization value goes into it.
        """
        session = self.start_session(
            kind, salt_key=salt_key, bind=bind, hash_alg=hash_alg, symmetric=symmetric
        )
        try:
            yield session
        except BaseException:
            self._end(session)
            raise
        if not session.ended:
            self.execute(FlushContext(flushHandle=session.handle))

    def start_session(
        self,
        kind: TPM_SE = TPM_SE.HMAC,
        *,
        salt_key: SaltKey | None = None,
        bind: HasEntity | None = None,
        hash_alg: TPM_ALG = TPM_ALG.SHA256,
        symmetric: TPMT_SYM_DEF = AES_128_CFB,
    ) -> HmacSession:
        """Start a session that lasts until a command ends it, or this Tpm is closed."""
        start = SessionStart(
            kind, salt_key=salt_key, bind=bind, hash_alg=hash_alg, symmetric=symmetric
        )
        response = self.execute(start.command)
        try:
            return start.session(response)
        except BaseException:
            self._forget(handle_of(response.sessionHandle))
            raise

    def execute_protected(self, command: Command[R], salt_key: SaltKey | None = None) -> R:
        """Execute a command so that nobody on the way to the TPM reads a secret of it.

        A salted session is started for each authorization that the command wants, and ends with
        it; the first encrypts the first parameters if they are secret.  The entities in the handle
        fields know their authorization values.  Where no salt key is at hand, one is made in the
        null hierarchy, which wants room for it.
        """
        if salt_key is None:
            with self.create_primary(ECC_SRK, TPM_RH.NULL) as made:
                return self.execute_protected(command, made)
        sessions: list[HmacSession] = []
        try:
            for _ in range(max(1, len(command.ROLES))):
                sessions.append(self.start_session(salt_key=salt_key))
            secret, answer = command.AREAS.secret, command.RESPONSE.AREAS.secret
            uses = [session.use(last=True) for session in sessions[1:]]
            uses[:0] = [s.use(decrypt=secret, encrypt=answer, last=True) for s in sessions[:1]]
            return self.execute(command, *uses)
        finally:
            for session in sessions:
                self._end(session)

    def create_primary(
        self, template: TPMT_PUBLIC, hierarchy: int = TPM_RH.OWNER, auth: bytes = b""
    ) -> LoadedObject:
        """Derive the primary object of a template; `auth` is the hierarchy's authorization.

        So that nobody on the way reads that, a key of the null hierarchy is made to hide it with.
        """
        entity = Entity.permanent(hierarchy, auth)
        command = CreatePrimary(primaryHandle=entity, inPublic=template)
        made = self.execute_protected(command) if auth else self.execute(command)
        return self.adopt(made.objectHandle, made.outPublic, made.name, template=template)

    def load_external(
        self, public: TPMT_PUBLIC, sensitive: TPMT_SENSITIVE | None = None
    ) -> LoadedObject:
        """Load a public key, or a whole key that exists outside the TPM, in no hierarchy.

        So that nobody on the way reads the whole key, one is made to hide it with.
        """
        command = LoadExternal(inPrivate=sensitive, inPublic=public)
        made = self.execute_protected(command) if sensitive else self.execute(command)
        auth = sensitive.authValue if sensitive else b""
        return self.adopt(made.objectHandle, public, made.name, auth)

    def persistent(self, handle: int, auth: bytes = b"") -> LoadedObject:
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
        salt_key: LoadedObject | None = None,
    ) -> LoadedObject:
        """Take charge of an object that was loaded, after a check of what the TPM says of it.

        The Name that the TPM gave has to be that of the public area, and the object of the template
        that it was made from.  If not, it is flushed and DecodeError raised.
        """
        try:
            check_name(public, name)
            if template is not None:
                check_template(public, template)
            return LoadedObject(self, handle, public, auth, salt_key=salt_key)
        except BaseException:
            if handle in self._loaded:
                self._forget(handle)
            raise

    def _entities(self, command: Command[Any]) -> list[HasEntity]:
        """Find what the handles of a command stand for; a bare number is looked up in the TPM."""
        return [self.entity(command[field.name]) for field in command.AREAS.handles]

    def entity(self, handle: int | HasHandle) -> HasEntity:
        """Find what a handle stands for, with its Name as the TPM tells it.

        Raises DecodeError if that is not the Name of the public area that it tells, too.
        """
        if not isinstance(handle, int):
            return handle  # type: ignore[return-value]
        kind = handle >> 24
        if kind in (TPM_HT.TRANSIENT, TPM_HT.PERSISTENT):
            return Entity(handle, self._name(handle))
        if kind == TPM_HT.NV_INDEX:
            index = self.execute(NV_ReadPublic(nvIndex=handle))
            check_index_name(index.nvPublic, index.nvName)
            return Entity(handle, index.nvName)
        return Entity.permanent(handle)

    def _name(self, handle: int) -> bytes:
        """Ask for the Name of an object; a sequence has an empty one, and does not tell."""
        try:
            read = self.execute(ReadPublic(objectHandle=handle))
        except TpmError as error:
            if error.code != TPM_RC.SEQUENCE:
                raise
            return b""
        check_name(read.outPublic, read.name)
        return read.name

    def _send(self, request: bytes, command: Command[Any]) -> tuple[int, bytes]:
        """Send until the TPM does not put it off any more; TpmError if it refuses.

        Returns the tag of the response and all of it.
        """
        tries = 1 if isinstance(command, SelfTest) else TRIES
        for attempt in range(tries):
            if attempt:
                time.sleep(min(0.005 * 2**attempt, 1.0))
            response = self._transport.send(request)
            try:
                tag, code = split_response_header(response)
            except DecodeError:
                # Damaged as it is, it may be all that tells what has been loaded.
                if handle := _loaded_by(response, command):
                    self._forget(handle)
                raise
            if not code:
                return tag, response
            if code not in AGAIN:
                break
        raise tpm_error(code, type(command).__name__)

    def _note(self, response: bytes, command: Command[Any]) -> int | None:
        """Note which object the response has loaded, or the command flushed."""
        if type(command) in FLUSHES:
            self._loaded.discard(handle_of(command[FLUSHES[type(command)]]))
        handle = _loaded_by(response, command)
        if handle is not None:
            self._loaded.add(handle)
        return handle

    def _end(self, session: HmacSession) -> None:
        if not session.ended:
            self._forget(session.handle)

    def _forget(self, handle: int) -> None:
        with suppress(Error):
            self.execute(FlushContext(flushHandle=handle))


def _loaded_by(response: bytes, command: Command[Any]) -> int | None:
    """Find the handle of what a response says to have been loaded."""
    there = command.RESPONSE.AREAS.handle_size and len(response) >= 14
    return int.from_bytes(response[10:14], "big") if there else None
