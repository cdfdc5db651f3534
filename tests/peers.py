"""Servers for one client each, in a thread, to stand where a TPM would be."""

import select
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from tpmwire.transport import MAX_RESPONSE, Transport, connect

COMMAND = bytes.fromhex("80010000000c0000017b0010")
PATIENCE = 20.0  # seconds; what takes longer has failed

Talk = Callable[[socket.socket], None]


def received(connection: socket.socket, size: int) -> bytes:
    """Receive `size` octets, or fewer if the other side hangs up."""
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def answering(answer: bytes, pieces: int = MAX_RESPONSE) -> Talk:
    """Take one command, answer in pieces of so many octets, say no more, wait for the end."""

    def talk(connection: socket.socket) -> None:
        assert received(connection, len(COMMAND)) == COMMAND
        for start in range(0, len(answer), pieces):
            connection.sendall(answer[start : start + pieces])
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""

    return talk


def silent(connection: socket.socket) -> None:
    """Take what comes until the client has enough of it."""
    while connection.recv(4096):
        pass


@contextmanager
def at_work(*listeners: socket.socket, talk: Callable[..., None]) -> Iterator[None]:
    """Serve one client, who connects to each of the listeners, in a thread."""

    def serve() -> None:
        with ExitStack() as stack:
            connections = [stack.enter_context(each.accept()[0]) for each in listeners]
            for connection in connections:
                connection.settimeout(PATIENCE)
            talk(*connections)

    with ExitStack() as stack:
        for listener in listeners:
            stack.enter_context(listener).settimeout(PATIENCE)
        served = stack.enter_context(ThreadPoolExecutor(1)).submit(serve)
        yield
        served.result(PATIENCE)


@contextmanager
def unix_server(directory: Path, talk: Talk) -> Iterator[Transport]:
    """Connect to a server on a Unix socket that talks so."""
    path = directory / "sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    with at_work(listener, talk=talk), closing(connect(f"swtpm:path={path}")) as opened:
        yield opened


def packets() -> tuple[socket.socket, socket.socket]:
    """Make a pair of sockets that keep the boundaries between writes."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.settimeout(PATIENCE)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MAX_RESPONSE)
    return ours, theirs


@contextmanager
def swtpm_on(connection: socket.socket, directory: Path) -> Iterator[None]:
    """Run a swtpm that serves a connection until its other end is closed."""
    fd = connection.fileno()
    command = ["swtpm", "socket", "--tpm2", "--fd", str(fd), "--tpmstate", f"dir={directory}"]
    command += ["--flags", "not-need-init,startup-clear"]
    process = subprocess.Popen(command, pass_fds=[fd])
    connection.close()
    try:
        yield
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()


class Mssim:
    """The simulator's side of its protocol, with `answer` for what the TPM says.

    `failure` is what it says after a response, `platform` what it says to each platform request,
    both nothing but zeros where all is well.  `requests` are those it got at the platform port.
    """

    SEND_COMMAND, SESSION_END = 8, 20

    def __init__(
        self,
        answer: Callable[[bytes], bytes],
        *,
        failure: bytes = bytes(4),
        platform: Sequence[bytes] = (),
    ) -> None:
        self.answer, self.failure, self.platform = answer, failure, [*platform]
        self.requests: list[int] = []
        self.ended: list[str] = []

    def __call__(self, commands: socket.socket, platform: socket.socket) -> None:
        handlers = {commands: self.command, platform: self.switch}
        while handlers:
            ready, _, _ = select.select([*handlers], [], [], PATIENCE)
            assert ready, "the client says nothing and does not go either"
            for connection in ready:
                request = received(connection, 4)
                if request in (b"", self.SESSION_END.to_bytes(4, "big")):
                    assert received(connection, 1) == b""
                    self.ended.append("by word" if request else "by hanging up")
                    del handlers[connection]
                else:
                    handlers[connection](connection, int.from_bytes(request, "big"))

    def command(self, connection: socket.socket, request: int) -> None:
        assert request == self.SEND_COMMAND
        locality, size = struct.unpack(">BI", received(connection, 5))
        assert locality == 0
        answer = self.answer(received(connection, size))
        connection.sendall(len(answer).to_bytes(4, "big") + answer + self.failure)

    def switch(self, connection: socket.socket, request: int) -> None:
        self.requests.append(request)
        connection.sendall(self.platform.pop(0) if self.platform else bytes(4))


def neighbours() -> tuple[socket.socket, socket.socket]:
    """Listen on two TCP ports, one after the other."""
    while True:
        first = socket.create_server(("127.0.0.1", 0))
        try:
            return first, socket.create_server(("127.0.0.1", first.getsockname()[1] + 1))
        except (OSError, OverflowError):
            first.close()


@contextmanager
def simulator(mssim: Mssim) -> Iterator[str]:
    """Let one client connect to a simulator; its conf string."""
    listeners = neighbours()
    port = listeners[0].getsockname()[1]
    with at_work(*listeners, talk=mssim):
        yield f"mssim:host=127.0.0.1,port={port}"
