"""The messages of the agent protocol: their numbers, and what stands in them.  [RFC 9987, 5]"""

from collections.abc import Iterable
from typing import Annotated

from tpmwire.ssh.wire import BOOLEAN, REST, SECRET_STRING, STRING, UINT8, UINT32
from tpmwire.structure import Structure, wire_of
from tpmwire.wire import Buffer, Counted

FAILURE, SUCCESS = 5, 6
REQUEST_IDENTITIES, IDENTITIES_ANSWER = 11, 12
SIGN_REQUEST, SIGN_RESPONSE = 13, 14
ADD_IDENTITY, ADD_ID_CONSTRAINED = 17, 25
REMOVE_IDENTITY, REMOVE_ALL_IDENTITIES = 18, 19
REMOVE_ALL_SSH1_IDENTITIES = 9  # `ssh-add -D` sends it after the other
ADD_SMARTCARD_KEY, REMOVE_SMARTCARD_KEY = 20, 21
ADD_SMARTCARD_KEY_CONSTRAINED = 26
LOCK, UNLOCK = 22, 23
EXTENSION, EXTENSION_FAILURE, EXTENSION_RESPONSE = 27, 28, 29

QUERY = b"query"
SESSION_BIND = b"session-bind@openssh.com"
TPM_ADD_KEY, TPM_KEY = b"tpm-add-key", b"TPMKEY"  # of ssh-tpm-agent

MAX_MESSAGE = 256 * 1024
MAX_IDENTITIES = 2048
MAX_SESSION_ID = 128


class Identity(Structure):
    """A key or certificate that the agent can sign with, as it is listed."""

    blob: STRING
    comment: STRING


class IdentitiesAnswer(Structure):
    """All keys."""

    identities: Annotated[tuple[Identity, ...], Counted(wire_of(Identity))]


class SignRequest(Structure):
    """Sign `data` with the key of `blob`."""

    blob: STRING
    data: STRING
    flags: UINT32


class SignResponse(Structure):
    """The signature, with the name of its algorithm in it."""

    signature: STRING


class RemoveIdentity(Structure):
    """Forget the key of `blob`."""

    blob: STRING


class Token(Structure):
    """Load the keys of a token, or forget them.  What the id means is the agent's business."""

    id: STRING
    pin: SECRET_STRING


class ConstrainedToken(Structure):
    """Load the keys of a token, and let them be used in some ways only."""

    id: STRING
    pin: SECRET_STRING
    constraints: REST


class Passphrase(Structure):
    """Lock the agent, or unlock it."""

    passphrase: SECRET_STRING


class Extension(Structure):
    """A request or an answer that the RFC does not know."""

    name: STRING
    contents: REST


class Name(Structure):
    """One of the extensions that an agent has."""

    name: STRING


class SessionBind(Structure):
    """Bind a connection to the session of a server, which has signed the session's id.

    [PROTOCOL.agent, 1]
    """

    host_key: STRING
    session_id: Annotated[bytes, Buffer(MAX_SESSION_ID, prefix=4)]
    signature: STRING
    forwarding: BOOLEAN


class TpmAddKey(Structure):
    """Add the key of a key file, as `ssh-tpm-add` asks for it."""

    kind: UINT8
    name: STRING
    pem: STRING
    certificate: STRING
    constraints: REST


class Empty(Structure):
    """A message without a body."""


def extensions_answer(names: Iterable[bytes]) -> bytes:
    """Write the answer to a query: names, each once."""
    packed = (Name(name=name).pack() for name in dict.fromkeys(names))
    answer = Extension(name=QUERY, contents=b"".join(packed))
    return bytes([EXTENSION_RESPONSE]) + answer.pack()


def read_extensions_answer(answer: bytes) -> tuple[bytes, ...]:
    """Read the answer to a query, as `read_identities_answer` does a list of keys."""
    if answer[:1] != bytes([EXTENSION_RESPONSE]):
        return ()
    found = Extension.unpack(answer[1:])
    return tuple(listed.name for listed in Name.unpack_series(found.contents))


def read_identities_answer(answer: bytes) -> tuple[Identity, ...]:
    """Read a list of keys; nothing if it is another message, DecodeError if it is malformed."""
    if answer[:1] != bytes([IDENTITIES_ANSWER]):
        return ()
    return IdentitiesAnswer.unpack(answer[1:]).identities
