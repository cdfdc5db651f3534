"""The agent's lock: as long as it is closed, nobody sees or uses a key.  [RFC 9987, 5.2.9]"""

import hashlib
import secrets
import threading
import time
from collections.abc import Callable

from tpmwire.digests import equal
from tpmwire.errors import Error

STEP, LONGEST = 0.1, 10.0
"""How many seconds longer each wrong passphrase takes, and the most."""


class LockError(Error):
    """The agent is locked, or cannot be locked or unlocked."""


class AgentLock:
    """A lock that a passphrase closes and opens.

    Wrong tries are one after the other, whatever connection they come from, and each lets the next
    wait longer; nothing else waits for them.
    """

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self._one_at_a_time = threading.Lock()
        self._salt, self._hash = b"", b""
        self._failures = 0

    @property
    def locked(self) -> bool:
        """Whether the agent is locked."""
        return bool(self._hash)

    def check(self) -> None:
        """Raise LockError if the agent is locked."""
        if self.locked:
            raise LockError("the agent is locked")

    def lock(self, passphrase: bytes) -> None:
        """Lock the agent; LockError if it is locked, or the passphrase empty."""
        with self._one_at_a_time:
            self.check()
            if not passphrase:
                raise LockError("an empty passphrase locks nothing")
            self._salt = secrets.token_bytes(16)
            self._hash = _stretched(passphrase, self._salt)

    def unlock(self, passphrase: bytes) -> None:
        """Unlock the agent; LockError if it is not locked, or if this is another passphrase."""
        with self._one_at_a_time:
            if not self.locked:
                raise LockError("the agent is not locked")
            if not equal(_stretched(passphrase, self._salt), self._hash):
                self._failures += 1
                self._sleep(min(STEP * self._failures, LONGEST))
                raise LockError("wrong passphrase")
            self._failures = 0
            self._salt, self._hash = b"", b""


def _stretched(passphrase: bytes, salt: bytes) -> bytes:
    """Make guessing slow.  [RFC 7914]"""
    # Hashed before, since an HMAC, and so scrypt, takes no notice of zeros at the end.
    whole = hashlib.sha512(passphrase).digest()
    return hashlib.scrypt(whole, salt=salt, n=1 << 14, r=8, p=1)
