"""One connection to the agent: an answer to each request, in order.  [RFC 9987, 5]"""

import itertools
import logging
import traceback
from collections.abc import Callable, Iterable, Iterator

from tpmwire.errors import Error
from tpmwire.ssh import messages
from tpmwire.ssh.bindings import Bindings
from tpmwire.ssh.destinations import check_login, permitted
from tpmwire.ssh.keyring import Entry, Keyring, NoSuchKeyError
from tpmwire.ssh.loading import Loader, RefusedError, Surroundings
from tpmwire.ssh.locking import AgentLock
from tpmwire.ssh.messages import Identity
from tpmwire.ssh.occasion import Occasion, Peer
from tpmwire.ssh.others import Lines, NotOursError
from tpmwire.ssh.purposes import Purpose, in_words, read_purpose

FAILED, DONE = bytes([messages.FAILURE]), bytes([messages.SUCCESS])

log = logging.getLogger(__name__)


class SigningError(Error):
    """A key does not sign; the message tells which, and why."""


class Conversation:
    """One connection to the agent, and what it is bound to."""

    def __init__(self, keyring: Keyring, lock: AgentLock, around: Surroundings, peer: Peer) -> None:
        self._keyring, self._lock, self._around, self._peer = keyring, lock, around, peer
        self._bindings = Bindings()
        self._lines = Lines(around.others, self._bindings)
        self._loader = Loader(keyring, around, self._bindings)

    def answer(self, request: bytes) -> bytes:
        """Answer one request, without the length in front; never fails."""
        handlers = _WHEN_LOCKED if self._lock.locked else _HANDLERS
        handler = handlers.get(request[0]) if request else None
        if handler is None:
            log.info("request of type %s refused", request[0] if request else "none")
            return FAILED
        return self._guarded(handler, request) or FAILED

    def close(self) -> None:
        """Hang up on other agents; for when the client has gone."""
        self._lines.close()

    def _guarded(self, handler: "_Handler", contents: bytes) -> bytes | None:
        """Let a handler answer; None if it fails, which the log tells."""
        name = handler.__name__.strip("_")
        try:
            return handler(self, contents)
        except Error as error:
            log.warning("%s failed: %s", name, error)
        except Exception as error:
            # A defect of ours or of a key: no reason to end the conversation.  What it says is
            # not shown, for nobody knows whether there is a secret in it.
            log.error("%s failed unexpectedly: %s", name, _place(error))
        return None

    # --- seeing and removing keys -----------------------------------------------------------------

    def _list(self, request: bytes) -> bytes:
        messages.Empty.unpack(request[1:])
        ours = (Identity(blob=e.blob, comment=e.comment) for e in self._visible())
        return _listing(itertools.chain(ours, self._lines.identities()))

    def _list_nothing(self, request: bytes) -> bytes:
        messages.Empty.unpack(request[1:])
        return _listing(())

    def _visible(self) -> Iterator[Entry]:
        return (entry for entry in self._keyring.entries() if self._sees(entry))

    def _sees(self, entry: Entry) -> bool:
        return permitted(entry.constraints.destinations, self._bindings)

    def _remove(self, request: bytes) -> bytes:
        blob = messages.RemoveIdentity.unpack(request[1:]).blob
        entry = self._keyring.find(blob)
        if entry is None:
            return self._elsewhere(blob, request)
        if not (self._sees(entry) and self._keyring.remove([entry])):
            raise NoSuchKeyError("no such key here")
        return DONE

    def _elsewhere(self, blob: bytes, request: bytes) -> bytes:
        """Let another agent do what wants a key that is not ours."""
        answer = self._lines.first_with(blob, request)
        if answer == FAILED:
            raise NoSuchKeyError("no such key here, nor another agent that uses it")
        return answer

    def _remove_all(self, request: bytes) -> bytes:
        messages.Empty.unpack(request[1:])
        self._keyring.clear()
        self._lines.all(request)
        return DONE

    # --- signing ----------------------------------------------------------------------------------

    def _sign(self, request: bytes) -> bytes:
        wanted = messages.SignRequest.unpack(request[1:])
        purpose = read_purpose(wanted.data, wanted.blob)
        self._check_kind(purpose)
        entry = self._keyring.find(wanted.blob)
        if entry is None:
            return self._elsewhere(wanted.blob, request)
        try:
            signature = self._signature(entry, wanted, purpose)
        except Error as error:
            raise SigningError(f"{entry.key.comment}: {error}") from error
        return bytes([messages.SIGN_RESPONSE]) + messages.SignResponse(signature=signature).pack()

    def _check_kind(self, purpose: Purpose | None) -> None:
        only = self._around.only
        if only is not None and (purpose is None or purpose.kind not in only):
            raise RefusedError(f"nothing is signed here but {' and '.join(sorted(only))}")

    def _signature(
        self, entry: Entry, wanted: messages.SignRequest, purpose: Purpose | None
    ) -> bytes:
        check_login(entry.constraints.destinations, self._bindings, purpose)
        occasion = Occasion(self._peer, in_words(purpose, self._bindings))
        if entry.constraints.confirm:
            self._confirm(entry, occasion)
        return entry.key.sign(wanted.data, wanted.flags, occasion)

    def _confirm(self, entry: Entry, occasion: Occasion) -> None:
        confirm = self._around.confirm
        if confirm is None or not confirm(entry.key, occasion):
            raise RefusedError("nobody has confirmed it")
        # Who was asked may have taken a long time.
        self._lock.check()
        if self._keyring.find(entry.blob) is not entry:
            raise NoSuchKeyError("the key has been removed in the meantime")

    # --- locking ----------------------------------------------------------------------------------

    def _lock_agent(self, request: bytes) -> bytes:
        self._lock.lock(messages.Passphrase.unpack(request[1:]).passphrase)
        return DONE

    def _unlock_agent(self, request: bytes) -> bytes:
        self._lock.unlock(messages.Passphrase.unpack(request[1:]).passphrase)
        return DONE

    # --- adding keys ------------------------------------------------------------------------------

    def _add_token(self, request: bytes) -> bytes:
        token = messages.Token.unpack(request[1:])
        return self._load(request, token, b"")

    def _add_token_constrained(self, request: bytes) -> bytes:
        token = messages.ConstrainedToken.unpack(request[1:])
        return self._load(request, token, token.constraints)

    def _load(
        self,
        request: bytes,
        token: messages.Token | messages.ConstrainedToken,
        constraints: bytes,
    ) -> bytes:
        try:
            self._loader.load(_text(token.id), token.pin, constraints)
        except NotOursError as error:
            log.info("%s", error)
            return self._lines.first(request)
        return DONE

    def _remove_token(self, request: bytes) -> bytes:
        token = _text(messages.Token.unpack(request[1:]).id)
        if self._keyring.remove(entry for entry in self._visible() if entry.source == token):
            return DONE
        return self._lines.first(request)

    def _pass_on(self, request: bytes) -> bytes:
        """Pass on a key in software: this is no way into a TPM."""
        return self._lines.first(request)

    # --- extensions -------------------------------------------------------------------------------

    def _extension(self, request: bytes) -> bytes:
        extension = messages.Extension.unpack(request[1:])
        handler = self._handler_of(extension.name)
        if handler is None:
            return self._lines.first(request)
        answer = self._guarded(handler, extension.contents)
        return answer or bytes([messages.EXTENSION_FAILURE])

    def _extension_when_locked(self, request: bytes) -> bytes:
        """Let nothing pass but what makes a connection less trusted."""
        if messages.Extension.unpack(request[1:]).name != messages.SESSION_BIND:
            self._lock.check()
        return self._extension(request)

    def _handler_of(self, name: bytes) -> "_Handler | None":
        return _EXTENSIONS[name] if name in self._extensions() else None

    def _extensions(self) -> list[bytes]:
        """Tell which extensions there are here."""
        with_pem = self._around.load_pem is not None
        return [name for name in _EXTENSIONS if with_pem or name != messages.TPM_ADD_KEY]

    def _query(self, contents: bytes) -> bytes:
        messages.Empty.unpack(contents)
        ours = [name for name in self._extensions() if name != messages.QUERY]
        return messages.extensions_answer([*ours, *self._lines.extensions()])

    def _session_bind(self, contents: bytes) -> bytes:
        try:
            self._bindings.bind(contents)
        finally:
            self._lines.bind(contents)
        return DONE

    def _tpm_add_key(self, contents: bytes) -> bytes:
        self._loader.load_pem(contents)
        return DONE


def _listing(identities: Iterable[Identity]) -> bytes:
    """Make a list of keys that a client can read, the first ones if they are too many."""
    found = dict[bytes, Identity]()
    size = 5
    for identity in identities:
        size += len(identity.pack())
        if len(found) == messages.MAX_IDENTITIES or size > messages.MAX_MESSAGE:
            log.warning("there are more keys than a client can be told of")
            break
        found.setdefault(identity.blob, identity)
    answer = messages.IdentitiesAnswer(identities=tuple(found.values()))
    return bytes([messages.IDENTITIES_ANSWER]) + answer.pack()


def _text(token: bytes) -> str:
    """Turn a token's id into what a path would be."""
    return token.decode("utf-8", "surrogateescape")


def _place(error: Exception) -> str:
    """Tell of what kind an error is and where it happened."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {frame.name}, line {frame.lineno} of {frame.filename}"


_Handler = Callable[[Conversation, bytes], bytes]

_HANDLERS: dict[int, _Handler] = {
    messages.REQUEST_IDENTITIES: Conversation._list,
    messages.SIGN_REQUEST: Conversation._sign,
    messages.ADD_IDENTITY: Conversation._pass_on,
    messages.ADD_ID_CONSTRAINED: Conversation._pass_on,
    messages.REMOVE_IDENTITY: Conversation._remove,
    messages.REMOVE_ALL_IDENTITIES: Conversation._remove_all,
    messages.REMOVE_ALL_SSH1_IDENTITIES: Conversation._remove_all,
    messages.ADD_SMARTCARD_KEY: Conversation._add_token,
    messages.ADD_SMARTCARD_KEY_CONSTRAINED: Conversation._add_token_constrained,
    messages.REMOVE_SMARTCARD_KEY: Conversation._remove_token,
    messages.LOCK: Conversation._lock_agent,
    messages.UNLOCK: Conversation._unlock_agent,
    messages.EXTENSION: Conversation._extension,
}

_WHEN_LOCKED: dict[int, _Handler] = {
    messages.REQUEST_IDENTITIES: Conversation._list_nothing,
    messages.UNLOCK: Conversation._unlock_agent,
    messages.EXTENSION: Conversation._extension_when_locked,
}

_EXTENSIONS: dict[bytes, _Handler] = {
    messages.QUERY: Conversation._query,
    messages.SESSION_BIND: Conversation._session_bind,
    messages.TPM_ADD_KEY: Conversation._tpm_add_key,
}
