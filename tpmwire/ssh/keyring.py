"""The keys of the agent: each with its certificates, and with how it may be used."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from tpmwire.errors import Error
from tpmwire.ssh.constraints import NONE, Constraints
from tpmwire.ssh.messages import MAX_IDENTITIES
from tpmwire.ssh.occasion import Occasion


class NoSuchKeyError(Error):
    """The agent was asked for a key that it does not have."""


class FullError(Error):
    """The agent has as many keys as clients can be told of."""


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


@dataclass(frozen=True)
class Entry:
    """What is listed: a key, or a certificate of it, and how it may be used."""

    blob: bytes
    key: Key
    constraints: Constraints
    source: str | None
    end: float

    @property
    def comment(self) -> bytes:
        """The comment; the name of a file may have octets in it that are no UTF-8."""
        return self.key.comment.encode(errors="replace")


def now() -> float:
    """Count seconds that nobody can set back, and that go on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Keyring:
    """Entries by their blobs, in the order in which they came.  Any thread may use it."""

    def __init__(self, clock: Callable[[], float] = now) -> None:
        self._clock = clock
        self._entries: dict[bytes, Entry] = {}
        self._lock = threading.Lock()

    def entries(self) -> list[Entry]:
        """List what there is, and forget whose time is over."""
        with self._lock:
            return [*self._living().values()]

    def find(self, blob: bytes) -> Entry | None:
        """Find the entry of a key or certificate, if there is one."""
        with self._lock:
            return self._living().get(blob)

    def add(
        self, keys: Iterable[Key], constraints: Constraints = NONE, source: str | None = None
    ) -> list[Entry]:
        """Add keys and their certificates; an entry that is there already is replaced.

        `source` is the id of the token that they come from, if any.  Raises FullError, and adds
        none, if they are too many.
        """
        added = _entries(keys, constraints, source, self._clock())
        with self._lock:
            self._put(self._living() | {entry.blob: entry for entry in added})
        return added

    def exchange(self, gone: Iterable[Key], new: Iterable[Key]) -> None:
        """Forget all entries of some keys, and add others, as `add` does, at one stroke.

        What somebody has added by themselves stays as it is.
        """
        old = {id(key) for key in gone}
        added = _entries(new, NONE, None, self._clock())
        with self._lock:
            left = {b: entry for b, entry in self._living().items() if id(entry.key) not in old}
            self._put(left | {entry.blob: entry for entry in added if entry.blob not in left})

    def remove(self, entries: Iterable[Entry]) -> int:
        """Forget entries, and tell how many of them were still there."""
        wanted = [*entries]
        with self._lock:
            living = self._living()
            found = [entry.blob for entry in wanted if living.get(entry.blob) is entry]
            for blob in found:
                del living[blob]
        return len(found)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries = {}

    def _put(self, entries: dict[bytes, Entry]) -> None:
        if len(entries) > MAX_IDENTITIES:
            raise FullError(f"more than {MAX_IDENTITIES} keys")
        self._entries = entries

    def _living(self) -> dict[bytes, Entry]:
        time_is = self._clock()
        over = [entry.blob for entry in self._entries.values() if entry.end <= time_is]
        for blob in over:
            del self._entries[blob]
        return self._entries


def _entries(
    keys: Iterable[Key], constraints: Constraints, source: str | None, start: float
) -> list[Entry]:
    lifetime, kept = constraints.lifetime, replace(constraints, certificates=())
    end = float("inf") if lifetime is None else start + lifetime
    return [
        Entry(blob, key, kept, source, end) for key in keys for blob in _blobs(key, constraints)
    ]


def _blobs(key: Key, constraints: Constraints) -> Iterator[bytes]:
    if not constraints.certificates_only:
        yield key.blob
    yield from key.certificates
    yield from (found.blob for found in constraints.certificates if found.key.blob == key.blob)
