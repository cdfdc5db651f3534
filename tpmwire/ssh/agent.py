"""The agent protocol, messages in and messages out.  [RFC 9987]

A request is one octet that tells its kind, and a body.  Whatever is not understood, not supported
or not possible is answered with FAILURE, and the conversation goes on.  Nothing here does I/O; a
key signs by means of its own.
"""

import logging
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Protocol

from tpmwire.errors import Error
from tpmwire.ssh.occasion import Occasion, Peer
from tpmwire.ssh.wire import STRING, UINT32
from tpmwire.structure import Structure, wire_of
from tpmwire.wire import Counted

FAILURE, SUCCESS = 5, 6
REQUEST_IDENTITIES, IDENTITIES_ANSWER = 11, 12
SIGN_REQUEST, SIGN_RESPONSE = 13, 14
REMOVE_IDENTITY, REMOVE_ALL_IDENTITIES = 18, 19
REMOVE_ALL_SSH1_IDENTITIES = 9  # `ssh-add -D` sends it after the other

MAX_MESSAGE = 256 * 1024

log = logging.getLogger(__name__)


class NoSuchKeyError(Error):
    """The agent was asked for a key that it does not have."""


class SigningError(Error):
    """A key does not sign; the message tells which, and why."""


class Identity(Structure):
    """A key that the agent can sign with, as it is listed."""

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


class Empty(Structure):
    """A message without a body."""


class Key(Protocol):
    """What the agent wants of a key."""

    @property
    def blob(self) -> bytes:
        """The SSH public key."""

    @property
    def comment(self) -> str:
        """What people call it."""

    @property
    def certificates(self) -> Sequence[bytes]:
        """Certificates of the key that are known from the beginning."""

    def sign(self, data: bytes, flags: int, occasion: Occasion) -> bytes:
        """Make an SSH signature of `data`; an Error if that is not possible."""


class Agent:
    """The keys.  Any number of threads may talk to it at a time, each in its own conversation."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._keys = {key.blob: key for key in keys}
        self._lock = threading.Lock()

    def conversation(self, peer: Peer) -> "Conversation":
        """Begin to talk with whoever has connected."""
        return Conversation(self, peer)

    def list(self) -> list[Key]:
        """List the keys."""
        with self._lock:
            return [*self._keys.values()]

    def find(self, blob: bytes) -> Key:
        """Find the key of `blob`; NoSuchKeyError if there is none."""
        with self._lock:
            if blob not in self._keys:
                raise NoSuchKeyError("no such key here")
            return self._keys[blob]

    def exchange(self, gone: Iterable[Key], new: Iterable[Key]) -> None:
        """Forget keys that are not there any more, and add new ones."""
        with self._lock:
            for key in gone:
                if self._keys.get(key.blob) is key:
                    del self._keys[key.blob]
            self._keys |= {key.blob: key for key in new}

    def remove(self, blob: bytes) -> None:
        """Forget the key of `blob`; NoSuchKeyError if there is none."""
        with self._lock:
            if self._keys.pop(blob, None) is None:
                raise NoSuchKeyError("no such key here")

    def remove_all(self) -> None:
        """Forget all keys."""
        with self._lock:
            self._keys.clear()


class Conversation:
    """One connection to the agent: an answer to each request, in order."""

    def __init__(self, agent: Agent, peer: Peer) -> None:
        self._agent, self._peer = agent, peer

    def answer(self, request: bytes) -> bytes:
        """Answer one request, without the length in front; never fails."""
        handler = _HANDLERS.get(request[0]) if request else None
        if handler is None:
            log.info("request of type %s refused", request[0] if request else "none")
            return bytes([FAILURE])
        try:
            return handler(self, request[1:])
        except Error as error:
            log.warning("%s failed: %s", handler.__name__.strip("_"), error)
        except Exception as error:
            # A defect of ours or of a key: no reason to end the conversation.  What it says is
            # not shown, for nobody knows whether there is a secret in it.
            log.error("%s failed unexpectedly: %s", handler.__name__.strip("_"), _place(error))
        return bytes([FAILURE])

    def _list(self, body: bytes) -> bytes:
        Empty.unpack(body)
        listed = tuple(
            # The name of a file may have octets in it that are no UTF-8.
            Identity(blob=key.blob, comment=key.comment.encode(errors="replace"))
            for key in self._agent.list()
        )
        return bytes([IDENTITIES_ANSWER]) + IdentitiesAnswer(identities=listed).pack()

    def _sign(self, body: bytes) -> bytes:
        request = SignRequest.unpack(body)
        key = self._agent.find(request.blob)
        try:
            signature = key.sign(request.data, request.flags, Occasion(self._peer))
        except Error as error:
            raise SigningError(f"{key.comment}: {error}") from error
        return bytes([SIGN_RESPONSE]) + SignResponse(signature=signature).pack()

    def _remove(self, body: bytes) -> bytes:
        self._agent.remove(RemoveIdentity.unpack(body).blob)
        return bytes([SUCCESS])

    def _remove_all(self, body: bytes) -> bytes:
        Empty.unpack(body)
        self._agent.remove_all()
        return bytes([SUCCESS])


def _place(error: Exception) -> str:
    """Tell of what kind an error is and where it happened."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {frame.name}, line {frame.lineno} of {frame.filename}"


_HANDLERS: dict[int, Callable[[Conversation, bytes], bytes]] = {
    REQUEST_IDENTITIES: Conversation._list,
    SIGN_REQUEST: Conversation._sign,
    REMOVE_IDENTITY: Conversation._remove,
    REMOVE_ALL_IDENTITIES: Conversation._remove_all,
    REMOVE_ALL_SSH1_IDENTITIES: Conversation._remove_all,
}
