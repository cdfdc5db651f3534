"""What authorizes a command: the entities behind its handles, and the parts of sessions in it.

A command names what it works on by handles; each that wants an authorization gets a session, or a
password in the place of one.  [Part 1, 19]
"""

from dataclasses import dataclass
from typing import Protocol, Self

from tpmwire.attributes import TPMA_SESSION
from tpmwire.constants import TPM_RH
from tpmwire.errors import SessionError
from tpmwire.names import handle_name
from tpmwire.types.objects import TPMT_PUBLIC
from tpmwire.types.structures import TPMS_AUTH_COMMAND, TPMS_AUTH_RESPONSE


class HasEntity(Protocol):
    """An `Entity`, a loaded object, or what else has the same."""

    @property
    def handle(self) -> int:
        """The handle by which the TPM knows it."""

    @property
    def name(self) -> bytes:
        """The Name by which the TPM calls it."""

    @property
    def auth(self) -> bytes:
        """The authorization value to use it."""


@dataclass(frozen=True)
class Entity:
    """What the TPM knows by a handle: its Name, and the authorization value to use it."""

    handle: int
    name: bytes
    auth: bytes = b""

    def __repr__(self) -> str:
        return f"<entity {self.handle:#010x} {self.name.hex()}>"

    @classmethod
    def of(cls, other: HasEntity, auth: bytes) -> Self:
        """Make the same with another authorization value."""
        return cls(other.handle, other.name, auth)

    @classmethod
    def permanent(cls, handle: int, auth: bytes = b"") -> Self:
        """Make one that is called by its handle: a hierarchy, a PCR."""
        return cls(handle, handle_name(handle), auth)


class SaltKey(Protocol):
    """A loaded key that can decrypt a salt."""

    @property
    def handle(self) -> int:
        """The handle by which the TPM knows it."""

    @property
    def public(self) -> TPMT_PUBLIC:
        """Its public area: whoever it is of can compute the session key."""


class Context(Protocol):
    """What a session is told of the command that it serves."""

    def entity(self, use: "Use") -> HasEntity | None:
        """Find what the session authorizes; None if it only encrypts or audits."""

    def new_auth(self, use: "Use") -> bytes | None:
        """Find the authorization value that it has after the command; None if it is the same."""

    def others(self, use: "Use") -> bytes:
        """Find the nonces of the sessions that encrypt, if this one vouches for them."""

    def cp_hash(self, alg: int) -> bytes:
        """Hash the command, as it is sent."""

    def rp_hash(self, alg: int) -> bytes:
        """Hash the response, as it came."""


class Session(Protocol):
    """Anything that `Tpm.execute` takes as a session."""

    def use(self) -> "Use":
        """Make the session's part in one command."""


class Use(Protocol):
    """The part of a session in one command."""

    def use(self) -> "Use":
        """Return this part itself."""

    def begin(self) -> None:
        """Prepare for the next command."""

    def authorize(self, context: Context) -> bytes:
        """Make the packed TPMS_AUTH_COMMAND."""

    def verify(self, context: Context, answer: TPMS_AUTH_RESPONSE) -> None:
        """Check the TPM's part of the response; SessionError if it is not the TPM's."""


class PasswordSession:
    """The authorization value itself, in clear.  [Part 1, 19.4]

    Whoever listens on the bus to the TPM reads it, and the answer proves nothing.  It is never sent
    unless it was chosen.
    """

    def __init__(self, auth: bytes = b"") -> None:
        self._size = len(auth)
        self._authorization = _password(auth) if auth else _NO_PASSWORD

    def __repr__(self) -> str:
        return f"PasswordSession(<{self._size} octets, secret>)"

    def use(self) -> Self:
        """Return this part itself."""
        return self

    def begin(self) -> None:
        """There is nothing to prepare."""

    def authorize(self, context: Context) -> bytes:
        """Put the authorization value where an HMAC would stand."""
        return self._authorization

    def verify(self, context: Context, answer: TPMS_AUTH_RESPONSE) -> None:
        """Check that the answer is as empty as that to a password has to be."""
        if answer.nonce or answer.hmac:
            raise SessionError("the answer to a password carries a nonce or an HMAC")


def stripped(auth: bytes) -> bytes:
    """Leave out the zero octets at the end of an authorization value, which the TPM ignores."""
    return auth.rstrip(b"\0")


def _password(auth: bytes) -> bytes:
    return TPMS_AUTH_COMMAND(
        sessionHandle=TPM_RH.RS_PW, sessionAttributes=TPMA_SESSION.continueSession, hmac=auth
    ).pack()


_NO_PASSWORD = _password(b"")
