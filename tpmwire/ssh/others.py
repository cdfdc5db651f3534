"""Other agents, whose keys are offered beside ours.

Whoever connects to us gets a connection of its own to each of them, as OpenSSH's agent remembers by
connection who is at its end: what is forwarded to us must not look local to the next agent.
"""

import contextlib
import logging
from typing import Protocol

from tpmwire.errors import Error
from tpmwire.ssh.messages import FAILURE

log = logging.getLogger(__name__)


class Link(Protocol):
    """A connection to another agent."""

    def request(self, request: bytes) -> bytes:
        """Send a request, without the length in front, and return the answer; an Error if that
        is not possible.  The link is closed then, and not used any more.
        """

    def close(self) -> None:
        """Hang up."""


class Other(Protocol):
    """Another agent."""

    @property
    def name(self) -> str:
        """What a log calls it."""

    def connect(self) -> Link:
        """Connect anew; an Error if it is not there."""


class Line:
    """One client's connection to another agent, made when needed, and again if it breaks."""

    def __init__(self, other: Other) -> None:
        self._other = other
        self._link: Link | None = None
        self._bound: list[bytes] = []

    def answer(self, request: bytes) -> bytes:
        """Pass on a request; an agent that cannot be reached fails to do it."""
        try:
            return self._exchange(request)
        except Error as error:
            log.info("%s: %s", self._other.name, error)
            self.close()
            return bytes([FAILURE])

    def bind(self, request: bytes) -> None:
        """Pass on a session-bind, now and on each new connection."""
        if self._link is not None:
            self.answer(request)
        self._bound.append(request)

    def close(self) -> None:
        """Hang up."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _exchange(self, request: bytes) -> bytes:
        if self._link is not None:
            with contextlib.suppress(Error):  # it may have been started again since
                return self._link.request(request)
            self.close()
        self._link = self._other.connect()
        for earlier in self._bound:
            self._link.request(earlier)
        return self._link.request(request)
