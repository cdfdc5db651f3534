"""The agent's socket: who may talk to it, and a thread for each who does."""

import contextlib
import errno
import fcntl
import logging
import os
import select
import socket
import stat
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from tpmwire.errors import TransportError
from tpmwire.ssh.messages import MAX_MESSAGE
from tpmwire.ssh.occasion import Peer

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 512
_BACKLOG = 512
_PASSING = (errno.ECONNABORTED, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE = 0.1  # seconds
_CREDENTIALS = struct.Struct("=iII")  # process, user, group


class AgentSocketError(TransportError):
    """The socket cannot be made, or is somebody else's."""


@contextlib.contextmanager
def listening(path: str | None = None) -> Iterator[socket.socket]:
    """Listen on a Unix socket that only its owner can reach; it is removed at the end.

    Without a path a new directory is made for it, which is removed as well.  Raises
    AgentSocketError if that is not possible, or if something else is at the path: a socket on
    which another agent listens is never taken from it.
    """
    if path is None:
        with _new_directory() as made, listening(os.path.join(made, "agent.sock")) as listener:
            yield listener
        return
    path = os.path.abspath(path)
    listener, file = _bound(path)
    try:
        yield listener
    finally:
        # In this order: as long as it is open, no new file can have the same inode.
        _remove(path, file)
        listener.close()


class Conversation(Protocol):
    """What answers the requests of one connection."""

    def answer(self, request: bytes) -> bytes:
        """Answer a request; both are without the length in front."""

    def close(self) -> None:
        """Heed that the client has gone."""


Begin = Callable[[Peer], Conversation]
"""What is told who has connected, and answers from then on."""


def serve(listener: socket.socket, begin: Begin, end: int | None = None) -> None:
    """Accept connections, and answer each one's requests in a thread of its own.

    For ever, or until there is something to read at `end`.
    """
    room = threading.BoundedSemaphore(MAX_CONNECTIONS)
    while True:
        room.acquire()
        connection = _accepted(listener, end)
        if connection is None:
            return
        thread = threading.Thread(target=_converse, args=(connection, begin, room), daemon=True)
        try:
            thread.start()
        except RuntimeError:
            log.warning("a client was turned away: the system has no room for another thread")
            connection.close()
            room.release()


def _accepted(listener: socket.socket, end: int | None) -> socket.socket | None:
    """Wait for the next client, and for the system to have the means to serve it; or the end."""
    while not _ended(listener, end):
        try:
            return listener.accept()[0]
        except OSError as error:
            if error.errno not in _PASSING:
                raise
        # The client still waits, so accept would fail again at once.
        time.sleep(_PAUSE)
    return None


def _ended(listener: socket.socket, end: int | None) -> bool:
    """Wait for a client or the end; tell whether it is the end."""
    poller = select.poll()
    poller.register(listener, select.POLLIN)
    if end is not None:
        poller.register(end, select.POLLIN)
    return end in [ready for ready, _ in poller.poll()]


def _converse(connection: socket.socket, begin: Begin, room: threading.Semaphore) -> None:
    try:
        with connection:
            peer = _peer(connection)
            if _allowed(peer):
                with contextlib.closing(begin(peer)) as conversation:
                    for request in _requests(connection):
                        response = conversation.answer(request)
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


def _peer(connection: socket.socket) -> Peer:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(credentials)
    return Peer(pid, uid, lambda: _has_hung_up(connection))


def _has_hung_up(connection: socket.socket) -> bool:
    """Tell whether the client has closed its end; one that only sends no more still listens."""
    if connection.fileno() < 0:
        return True
    poller = select.poll()
    poller.register(connection, 0)  # what is always told: the end, and errors
    return bool(poller.poll(0))


def _allowed(peer: Peer) -> bool:
    if peer.uid in (os.geteuid(), 0):
        return True
    log.warning("a client of user %d was turned away", peer.uid)
    return False


@contextlib.contextmanager
def _new_directory() -> Iterator[str]:
    place = os.environ.get("XDG_RUNTIME_DIR") or None
    try:
        directory = tempfile.mkdtemp(prefix="tpmwire-", dir=place)
    except OSError as error:
        raise AgentSocketError(error.errno, f"{error.filename}: {error.strerror}") from None
    try:
        yield directory
    finally:
        with contextlib.suppress(OSError):
            os.rmdir(directory)


def _bound(path: str) -> tuple[socket.socket, os.stat_result]:
    """Make a listening socket at `path`; return it, and what tells its file from others."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _locked(os.path.dirname(path)):
            _clear_the_way(path)
            _bind(listener, path)
            listener.listen(_BACKLOG)
            return listener, os.lstat(path)
    except OSError as error:
        listener.close()
        if isinstance(error, AgentSocketError):
            raise
        raise AgentSocketError(error.errno, f"{path}: {error.strerror or error}") from None


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    """Make `directory` if need be, and keep other agents from making a socket in it meanwhile.

    Else two that start at a time could both find a dead socket, and the later one would remove the
    live one of the other.
    """
    if not os.path.lexists(directory):
        os.makedirs(directory, mode=0o700, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _bind(listener: socket.socket, path: str) -> None:
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)


def _remove(path: str, file: os.stat_result) -> None:
    """Remove the file that we made, and no other that has taken its place."""
    with contextlib.suppress(OSError):
        if os.path.samestat(os.lstat(path), file):
            os.unlink(path)


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
