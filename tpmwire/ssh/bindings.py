"""The sessions that a connection is bound to: who is at its other end, proven.  [PROTOCOL.agent, 1]

ssh binds the connection before it logs in, and each forwarded connection once more for each server
that it was forwarded through.  The session's id, signed by the server's key, tells which it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tpmwire.errors import Error
from tpmwire.ssh.certificates import Certificate, read_public
from tpmwire.ssh.messages import SessionBind
from tpmwire.ssh.publickeys import PublicKey

MAX_BINDINGS = 16


class BindingError(Error):
    """A connection cannot be bound to this session."""


@dataclass(frozen=True)
class Binding:
    """A session with a server, to log in there or to forward the connection to it."""

    host_key: PublicKey | Certificate
    session_id: bytes
    forwarding: bool
    contents: bytes


class Bindings:
    """The bindings of one connection, from the first server to the last; the others forward."""

    def __init__(self) -> None:
        self._bindings: list[Binding] = []
        self.attempted = False

    def __iter__(self) -> Iterator[Binding]:
        return iter(self._bindings)

    def __len__(self) -> int:
        return len(self._bindings)

    @property
    def last(self) -> Binding | None:
        """The binding to the server that was reached last."""
        return self._bindings[-1] if self._bindings else None

    @property
    def broken(self) -> bool:
        """Whether somebody tried to bind the connection and did not succeed."""
        return self.attempted and not self._bindings

    def contents(self) -> list[bytes]:
        """Tell what makes another agent see the connection as we do."""
        # Nothing at all is a try that fails.
        return [b""] if self.broken else [binding.contents for binding in self]

    def bind(self, contents: bytes) -> None:
        """Bind the connection to one session more.

        Raises DecodeError, SignatureError or BindingError if that is not possible; even then the
        connection does not count as local any more.
        """
        self.attempted = True
        request = SessionBind.unpack(contents)
        host_key = read_public(request.host_key)
        host_key.verify(request.signature, request.session_id)
        binding = Binding(host_key, request.session_id, request.forwarding, contents)
        if not self._known(binding):
            self._append(binding)

    def _known(self, new: Binding) -> bool:
        for binding in self._bindings:
            if not binding.forwarding:
                raise BindingError("the connection is bound to a login already")
            if binding.session_id == new.session_id:
                if binding.host_key.blob != new.host_key.blob:
                    raise BindingError("the session is that of another server")
                return True
        return False

    def _append(self, binding: Binding) -> None:
        if len(self._bindings) >= MAX_BINDINGS:
            raise BindingError(f"the connection is bound to {MAX_BINDINGS} sessions already")
        self._bindings.append(binding)
