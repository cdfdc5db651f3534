"""Another agent, at a Unix socket: connected to anew for each client, and never waited for long."""

import contextlib
import os
import socket
import time

from tpmwire.errors import TransportError
from tpmwire.ssh.messages import MAX_MESSAGE

CONNECTING = 3.0
"""Seconds for an agent to take us; one that does not is not there."""

TALKING = 5.0
"""Seconds for an answer to what an agent does by itself."""

ASKING = 180.0
"""Seconds for an answer that the other agent may have to ask somebody for."""

_MAY_ASK = {13, 17, 20, 25, 26}  # sign, add keys


class UpstreamError(TransportError):
    """The other agent does not answer, or nothing that makes sense."""


class Upstream:
    """An agent that others may have started, ended, and started again."""

    def __init__(self, path: str) -> None:
        self.name = path

    def connect(self) -> "Connection":
        """Connect anew; UpstreamError if it is not there."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(CONNECTING)
            connection.connect(os.path.abspath(self.name))
        except OSError as error:
            connection.close()
            raise _explained(error) from None
        return Connection(connection)


class Connection:
    """A connection to another agent; one that has failed is closed."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def request(self, request: bytes) -> bytes:
        """Send a request, without the length in front, and return the answer; an UpstreamError,
        and the end of the connection, if that is not possible in time.
        """
        limit = ASKING if request[:1] and request[0] in _MAY_ASK else TALKING
        end = time.monotonic() + limit
        try:
            self._connection.settimeout(limit)
            self._connection.sendall(len(request).to_bytes(4, "big") + request)
            size = int.from_bytes(self._receive(4, end), "big")
            if not 0 < size <= MAX_MESSAGE:
                raise UpstreamError(0, f"an answer of {size} octets")
            return self._receive(size, end)
        except OSError as error:
            self.close()
            raise _explained(error) from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self._connection.close()

    def _receive(self, size: int, end: float) -> bytes:
        data = bytearray()
        while len(data) < size:
            # However slowly it comes: what counts is when all of it is there.
            self._connection.settimeout(max(end - time.monotonic(), 0.001))
            more = self._connection.recv(min(size - len(data), 65536))
            if not more:
                raise UpstreamError(0, "it hung up")
            data += more
        return bytes(data)


def _explained(error: OSError) -> UpstreamError:
    if isinstance(error, UpstreamError):
        return error
    if isinstance(error, BlockingIOError):  # its queue is full, which no time limit is for
        return UpstreamError(error.errno, "too busy to answer")
    if isinstance(error, TimeoutError):
        return UpstreamError(error.errno, "no answer in time")
    return UpstreamError(error.errno, error.strerror or str(error))
