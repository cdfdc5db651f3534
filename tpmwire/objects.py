"""Loaded objects: their handle, public area, Name and authorization, flushed on every way out."""

import enum
from dataclasses import replace
from types import TracebackType
from typing import Protocol, Self, TypeVar

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.authorization import HasEntity, SaltKey, Session
from tpmwire.commands.base import Command, Response
from tpmwire.commands.context import FlushContext
from tpmwire.commands.duplication import Duplicate, Import, Rewrap
from tpmwire.commands.object import Create, CreateResponse, Load, ObjectChangeAuth, Unseal
from tpmwire.commands.signing import KEY_SCHEME, Sign
from tpmwire.constants import TPM_ALG, TPM_HT
from tpmwire.errors import DecodeError, EncodeError, Error, SessionError, TpmError
from tpmwire.lockout import explain
from tpmwire.names import nv_name, object_name
from tpmwire.session import HmacSession
from tpmwire.templates import AES_128_CFB
from tpmwire.types.algorithms import (
    TPMS_SENSITIVE_CREATE,
    TPMT_SIG_SCHEME,
    TPMT_SIGNATURE,
    TPMT_SYM_DEF_OBJECT,
)
from tpmwire.types.nv import TPMS_NV_PUBLIC
from tpmwire.types.objects import TPMT_PUBLIC
from tpmwire.wrapped import Wrapped

R = TypeVar("R", bound=Response)


class Executor(Protocol):
    """What an object wants of its Tpm."""

    def execute(self, command: Command[R], *sessions: Session) -> R:
        """Execute a command."""

    def execute_protected(self, command: Command[R], salt_key: SaltKey | None = None) -> R:
        """Execute a command so that nobody on the way to the TPM reads a secret of it."""

    def adopt(
        self,
        handle: int,
        public: TPMT_PUBLIC,
        name: bytes,
        auth: bytes = b"",
        *,
        salt_key: "LoadedObject | None" = None,
    ) -> "LoadedObject":
        """Take charge of an object that was loaded, after a check of what the TPM says of it."""


class Protection(enum.Enum):
    """Whom the secrets that go to and from a TPM are kept from."""

    LISTENER = "kept from whoever listens, but not from whoever changes what is sent"
    INTERPOSER = "kept from whoever listens or changes what is sent: the salt key was known before"


class LoadedObject:
    """An object in the TPM: its handle, public area, Name, and the authorization to use it.

    As a context manager it is flushed at the end, unless it is persistent.

    `salt_key` is a storage key by means of which secrets are hidden on their way: the object itself
    where it is one, else its parent; where there is none, a key is made each time.  With `pinned`
    the Name of that key was compared with one that is trusted, so that nobody on the way can have
    put another key in its place.
    """

    def __init__(
        self,
        tpm: Executor,
        handle: int,
        public: TPMT_PUBLIC,
        auth: bytes = b"",
        *,
        salt_key: "LoadedObject | None" = None,
        pinned: bool = False,
    ) -> None:
        self._tpm = tpm
        self.handle, self.public, self.auth = handle, public, auth
        self.name = object_name(public)
        self._salt_key, self._pinned = salt_key, pinned
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

    def pin(self, name: bytes) -> None:
        """Compare the Name with one that is trusted; SessionError if it is another key's."""
        if name != self.name:
            raise SessionError(
                f"the key at {self.handle:#010x} is not the one that was there before: its Name is "
                f"{self.name.hex()}, not {name.hex()}"
            )
        self._pinned = True

    @property
    def salt_key(self) -> "LoadedObject | None":
        """The key by means of which secrets are hidden on their way; None if there is none."""
        return self if is_storage(self.public) else self._salt_key

    @property
    def protection(self) -> Protection:
        """Whom this object's secrets are kept from on their way to and from the TPM."""
        pinned = self.salt_key is not None and self.salt_key._pinned
        return Protection.INTERPOSER if pinned else Protection.LISTENER

    def create(self, template: TPMT_PUBLIC, auth: bytes = b"", data: bytes = b"") -> CreateResponse:
        """Make a new object under this one, with `auth` as its PIN or `data` sealed in it."""
        sensitive = TPMS_SENSITIVE_CREATE(userAuth=auth, data=data)
        command = Create(parentHandle=self, inSensitive=sensitive, inPublic=template)
        made = self.execute(command, secret=bool(auth or data))
        check_template(made.outPublic, template)
        return made

    def load(self, private: bytes, public: TPMT_PUBLIC, auth: bytes = b"") -> "LoadedObject":
        """Load an object that was made under this one; `auth` is its PIN, for later use."""
        made = self.execute(Load(parentHandle=self, inPrivate=private, inPublic=public))
        return self._tpm.adopt(made.objectHandle, public, made.name, auth, salt_key=self.salt_key)

    def import_(self, public: TPMT_PUBLIC, wrapped: Wrapped) -> bytes:
        """Take in what was wrapped for this key, and make a private part of it, to be loaded.

        EncodeError if nothing is wrapped around it: it would travel so, and no session hides it.
        [Part 3, 13.3]
        """
        if wrapped.in_clear:
            raise EncodeError("it has no wrapper, and whoever listens would have the key", "Import")
        command = Import(
            parentHandle=self,
            encryptionKey=wrapped.encryption_key,
            objectPublic=public,
            duplicate=wrapped.duplicate,
            inSymSeed=wrapped.encrypted_secret,
            symmetricAlg=wrapped.symmetric,
        )
        return self.execute(command, secret=bool(wrapped.encryption_key)).outPrivate

    def duplicate(
        self,
        new_parent: HasEntity,
        session: HmacSession,
        symmetric: TPMT_SYM_DEF_OBJECT = AES_128_CFB,
        hiding: HmacSession | None = None,
    ) -> Wrapped:
        """Wrap this object for another parent, whose public area at least is loaded in this TPM.

        TPM_RH_NULL stands for no parent, and then there is no outer wrapper.
        `session` is a policy session in which the object's policy is met; it ends with this.  By
        `symmetric` there is an inner wrapper, too, whose key travels encrypted: EncodeError if the
        session is not salted.  NO_CIPHER stands for none.  [Part 3, 13.1]

        The PIN goes into what encrypts in a session that authorizes [Part 1, 21.2]: who does not
        know it gives a salted session as `hiding`, which does nothing but encrypt, and ends too.
        """
        inner = symmetric.algorithm != TPM_ALG.NULL
        command = Duplicate(
            objectHandle=self,
            newParentHandle=new_parent,
            encryptionKeyIn=b"",
            symmetricAlg=symmetric,
        )
        uses: list[Session] = [session.use(encrypt=inner and hiding is None, last=True)]
        if inner and hiding is not None:
            uses.append(hiding.use(encrypt=True, last=True))
        made = self._tpm.execute(command, *uses)
        return Wrapped(made.duplicate, made.outSymSeed, made.encryptionKeyOut, symmetric)

    def rewrap(self, wrapped: Wrapped, name: bytes, new_parent: "LoadedObject") -> Wrapped:
        """Wrap for another parent what was wrapped for this key; `name` is that of the object.

        Nothing is loaded, no policy is asked, and an inner wrapper stays closed.  EncodeError if
        there is no outer one.  [Part 3, 13.2]
        """
        if not wrapped.encrypted_secret:
            raise EncodeError("it has no outer wrapper that could be changed", "Rewrap")
        command = Rewrap(
            oldParent=self,
            newParent=new_parent,
            inDuplicate=wrapped.duplicate,
            name=name,
            inSymSeed=wrapped.encrypted_secret,
        )
        made = self.execute(command)
        return replace(wrapped, duplicate=made.outDuplicate, encrypted_secret=made.outSymSeed)

    def sign(
        self, digest: bytes, scheme: TPMT_SIG_SCHEME = KEY_SCHEME, *sessions: Session
    ) -> TPMT_SIGNATURE:
        """Sign a digest, by `scheme` where the key is not bound to one."""
        command = Sign(keyHandle=self, digest=digest, inScheme=scheme)
        return self.execute(command, *sessions).signature

    def change_auth(self, parent: "LoadedObject", auth: bytes) -> bytes:
        """Make a private part with another PIN; the one that is loaded keeps the old one.

        An old copy of the private part stays valid, with the old PIN.
        """
        command = ObjectChangeAuth(objectHandle=self, parentHandle=parent, newAuth=auth)
        return self.execute(command, secret=True).outPrivate

    def unseal(self) -> bytes:
        """Read the data that is sealed in this object."""
        return self.execute(Unseal(itemHandle=self), secret=True).outData

    def execute(self, command: Command[R], *sessions: Session, secret: bool = False) -> R:
        """Execute a command that this object authorizes, `secret` or not.

        Without `sessions`, where a PIN or a secret travels, it does so in a session of its own,
        salted and encrypted.  A TpmError for a wrong PIN tells how many tries are left, or when
        there is one again.
        """
        try:
            if not sessions and (secret or self.auth):
                return self._tpm.execute_protected(command, self.salt_key)
            return self._tpm.execute(command, *sessions)
        except TpmError as error:
            explain(self._tpm.execute, error)
            raise


def is_storage(public: TPMT_PUBLIC) -> bool:
    """Tell whether keys can be made under such a key.  [Part 1, 23.2]"""
    # A keyed hash with these attributes is a parent too, but of derived objects only.
    attributes = public.objectAttributes & (_STORAGE | TPMA_OBJECT.sign)
    return attributes == _STORAGE and public.type != TPM_ALG.KEYEDHASH


_STORAGE = TPMA_OBJECT.restricted | TPMA_OBJECT.decrypt


def check_name(public: TPMT_PUBLIC, name: bytes) -> None:
    """Check that a Name is that of a public area; DecodeError if it is another's."""
    if name != object_name(public):
        raise DecodeError("the Name from the TPM is not that of the public area", "name")


def check_index_name(public: TPMS_NV_PUBLIC, name: bytes) -> None:
    """Check that a Name is that of an NV index; DecodeError if it is another's."""
    if name != nv_name(public):
        raise DecodeError("the Name from the TPM is not that of the public area", "nvName")


def check_template(public: TPMT_PUBLIC, template: TPMT_PUBLIC) -> None:
    """Check that a new object is what was asked for; DecodeError tells where it is not."""
    for field in ("type", "nameAlg", "objectAttributes", "authPolicy", "parameters"):
        if getattr(public, field) != getattr(template, field):
            raise DecodeError("the TPM made another kind of object", f"outPublic.{field}")
