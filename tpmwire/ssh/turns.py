"""Taking turns at something that only one can use: who came first is served first."""

import threading
from collections import deque
from types import TracebackType


class Turns:
    """A lock that is handed to whoever has waited longest.

    That of `threading` goes to anybody, so that among many who want it again and again some wait
    much longer than others.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    def acquire(self, timeout: float = -1) -> bool:
        """Wait for our turn, for `timeout` seconds at most; tell whether it has come."""
        own = threading.Lock()
        own.acquire()
        with self._guard:
            if not self._taken:
                self._taken = True
                return True
            self._waiting.append(own)
        return own.acquire(timeout=timeout) or not self._given_up(own)

    def release(self) -> None:
        """Let the next one have it."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _given_up(self, own: threading.Lock) -> bool:
        """Leave the queue; False if our turn has come at that very moment."""
        with self._guard:
            if own not in self._waiting:
                return False
            self._waiting.remove(own)
            return True
