"""The agent's socket: who may talk to it, and a thread for each who does."""

import contextlib
import errno
import logging
import os
import socket
import stat
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator

from tpmwire.errors import TransportError
from tpmwire.ssh.agent import MAX_MESSAGE

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 512
_BACKLOG = 128


class AgentSocketError(TransportError):
    """The socket cannot be made, or is somebody else's."""


@contextlib.contextmanager
def listening(path: str | None = None) -> Iterator[socket.socket]:
    """Listen on a Unix socket that only its owner can reach; it is removed at the end.

    Without a path a new directory is made for it, which is removed as well.  A socket on which
    another agent listens is never taken from it: AgentSocketError.
    """
    if path is None:
        directory = tempfile.mkdtemp(prefix="tpmwire-", dir=os.environ.get("XDG_RUNTIME_DIR"))
        try:
            with listening(os.path.join(directory, "agent.sock")) as listener:
                yield listener
        finally:
            with contextlib.suppress(OSError):
                os.rmdir(directory)
        return
    path = os.path.abspath(path)
    listener = _bound(path)
    made = os.stat(path).st_ino
    try:
        yield listener
    finally:
        listener.close()
        with contextlib.suppress(OSError):
            if os.stat(path).st_ino == made:
                os.unlink(path)


def serve(listener: socket.socket, answer: Callable[[bytes], bytes]) -> None:
    """Accept connections for ever, and answer each one's requests in a thread of its own."""
    room = threading.BoundedSemaphore(MAX_CONNECTIONS)
    while True:
        room.acquire()
        try:
            connection, _ = listener.accept()
        except OSError as error:
            room.release()
            if error.errno not in (errno.ECONNABORTED, errno.EMFILE, errno.ENFILE):
                raise
            continue
        threading.Thread(target=_converse, args=(connection, answer, room), daemon=True).start()


def _converse(
    connection: socket.socket, answer: Callable[[bytes], bytes], room: threading.Semaphore
) -> None:
    try:
        with connection:
            if _allowed(connection):
                for request in _requests(connection):
                    response = answer(request)
                    connection.sendall(len(response).to_bytes(4, "big") + response)
    except OSError as error:
        log.info("a client went away: %s", error.strerror)
    finally:
        room.release()


def _requests(connection: socket.socket) -> Iterator[bytes]:
    while head := _receive(connection, 4):
        size = int.from_bytes(head, "big")
        if not 0 < size <= MAX_MESSAGE:
            log.warning("a request of %d octets: the connection is dropped", size)
            return
        request = _receive(connection, size)
        if not request:
            return
        yield request


def _receive(connection: socket.socket, size: int) -> bytes:
    """Receive exactly `size` octets, or nothing if the client hangs up before."""
    data = bytearray()
    while len(data) < size:
        more = connection.recv(min(size - len(data), 65536))
        if not more:
            return b""
        data += more
    return bytes(data)


def _allowed(connection: socket.socket) -> bool:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    _, uid, _ = struct.unpack("iii", credentials)
    if uid in (os.geteuid(), 0):
        return True
    log.warning("a client of user %d was turned away", uid)
    return False


def _bound(path: str) -> socket.socket:
    directory = os.path.dirname(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if not os.path.isdir(directory):
            os.makedirs(directory, mode=0o700)
        _clear_the_way(path)
        before = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if isinstance(error, AgentSocketError):
            raise
        raise AgentSocketError(error.errno, f"{path}: {error.strerror or error}") from None
    return listener


def _clear_the_way(path: str) -> None:
    """Remove a socket that nobody listens on any more; refuse to touch anything else."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise AgentSocketError(errno.EEXIST, f"{path}: there is something that is no socket")
    if _answers(path):
        raise AgentSocketError(errno.EADDRINUSE, f"{path}: another agent listens there")
    os.unlink(path)


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(5)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True
