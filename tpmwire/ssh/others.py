"""Other agents, whose keys are offered beside ours.

Whoever connects to us gets a connection of its own to each of them, as OpenSSH's agent remembers by
connection who is at its end: what is forwarded to us must not look local to the next agent.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from tpmwire.errors import DecodeError, Error
from tpmwire.ssh.bindings import Bindings
from tpmwire.ssh.messages import (
    EXTENSION,
    FAILURE,
    QUERY,
    REQUEST_IDENTITIES,
    SESSION_BIND,
    Extension,
    Identity,
    read_extensions_answer,
    read_identities_answer,
)

AT_ONCE = 1.0
"""Seconds within which a connection fails that was broken before."""

T = TypeVar("T")

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


class NotOursError(Error):
    """A token is none that we know; perhaps another agent does."""


class Line:
    """One client's connection to another agent, made when needed, and again if it breaks."""

    def __init__(self, other: Other, bindings: Bindings) -> None:
        self._other, self._bindings = other, bindings
        self._link: Link | None = None

    def answer(self, request: bytes) -> bytes:
        """Pass on a request; an agent that cannot be reached fails to do it."""
        try:
            return self._exchange(request) or _FAILED
        except Error as error:
            log.info("%s: %s", self._other.name, error)
            self.close()
            return _FAILED

    def identities(self) -> tuple[Identity, ...]:
        """List the keys of the other agent; none if it does not answer with a list."""
        return self._read(bytes([REQUEST_IDENTITIES]), read_identities_answer)

    def extensions(self) -> tuple[bytes, ...]:
        """List the extensions of the other agent; none if it does not tell them."""
        return self._read(_QUERY, read_extensions_answer)

    def _read(self, request: bytes, read: Callable[[bytes], tuple[T, ...]]) -> tuple[T, ...]:
        try:
            return read(self.answer(request))
        except DecodeError as error:
            log.warning("%s: %s", self._other.name, error)
            return ()

    def bind(self, contents: bytes) -> None:
        """Pass on a session-bind; what is connected later is told of it then."""
        if self._link is not None:
            self.answer(_session_bind(contents))

    def close(self) -> None:
        """Hang up."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _exchange(self, request: bytes) -> bytes:
        if self._link is not None:
            start = time.monotonic()
            try:
                return self._link.request(request)
            except Error:
                # It may have been started again since.  One that has had time to ask somebody is
                # not made to ask twice.
                if time.monotonic() - start > AT_ONCE:
                    raise
            self.close()
        self._link = self._other.connect()
        for contents in self._bindings.contents():
            self._link.request(_session_bind(contents))
        return self._link.request(request)


class Lines:
    """One client's connections to all other agents."""

    def __init__(self, others: Sequence[Other], bindings: Bindings) -> None:
        self._lines = [Line(other, bindings) for other in others]

    def identities(self) -> Iterator[Identity]:
        """List the keys of all of them."""
        for line in self._lines:
            yield from line.identities()

    def extensions(self) -> Iterator[bytes]:
        """List the extensions of all of them."""
        for line in self._lines:
            yield from line.extensions()

    def first(self, request: bytes) -> bytes:
        """Pass on a request to one after the other, until one does it."""
        return _first(line.answer(request) for line in self._lines)

    def first_with(self, blob: bytes, request: bytes) -> bytes:
        """Pass on a request to those that list a key, until one does it."""
        having = (
            line
            for line in self._lines
            if any(identity.blob == blob for identity in line.identities())
        )
        return _first(line.answer(request) for line in having)

    def all(self, request: bytes) -> list[bytes]:
        """Pass on a request to all of them."""
        return [line.answer(request) for line in self._lines]

    def bind(self, contents: bytes) -> None:
        """Pass on a session-bind to all of them."""
        for line in self._lines:
            line.bind(contents)

    def close(self) -> None:
        """Hang up."""
        for line in self._lines:
            line.close()


_FAILED = bytes([FAILURE])
_QUERY = bytes([EXTENSION]) + Extension(name=QUERY, contents=b"").pack()


def _first(answers: Iterator[bytes]) -> bytes:
    return next((answer for answer in answers if answer[0] != FAILURE), _FAILED)


def _session_bind(contents: bytes) -> bytes:
    return bytes([EXTENSION]) + Extension(name=SESSION_BIND, contents=contents).pack()
