"""A TPM for trying things out: the installed swtpm program as a private child of this process.

The two processes talk over a pair of connected sockets that have no name, so nobody else can reach
the emulator, and it ends when this process does, however that comes about.  Its state, and with it
every key, is in one directory: whoever can read that has the keys.  There is no hardware behind it.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import socket
import subprocess
import time

from tpmwire.errors import TransportError
from tpmwire.transport import TIMEOUT, InterruptsHeld, SocketTransport

LOCK_PATIENCE = 30.0  # seconds to wait for another process that uses the same state
CLOSE_PATIENCE = 5.0  # seconds to wait for the emulator's answer, and then for its end
_SHUTDOWN_CLEAR = bytes.fromhex("80010000000c000001450000")


class EmbeddedTransport(SocketTransport):
    """An emulator of our own, with its state in `directory`."""

    keeps_objects = False

    def __init__(self, directory: str | None = None) -> None:
        self.directory = os.path.abspath(directory or default_directory())
        self._lock = _locked(self.directory)
        try:
            connection, self._child = _start(self.directory, self._lock)
        except BaseException:
            os.close(self._lock)
            raise
        super().__init__(connection, f"embedded:dir={self.directory} (see swtpm.log in it)")
        self._closed = False

    def close(self) -> None:
        """Shut the emulator down in good order, wait for its end, release the state."""
        if not self._closed:
            self._closed = True
            with InterruptsHeld():
                self._shut_down()
                super().close()
                self._wait()
                os.close(self._lock)

    def _shut_down(self) -> None:
        # Without it the emulator would take a hard power loss for an attack and count it.
        with contextlib.suppress(OSError):
            self._socket.settimeout(CLOSE_PATIENCE)
            self._exchange(_SHUTDOWN_CLEAR)

    def _wait(self) -> None:
        try:
            self._child.wait(CLOSE_PATIENCE)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


def default_directory() -> str:
    """Tell where the state is kept unless a conf string says otherwise."""
    base = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.expanduser("~/.local/state")
    return os.path.join(base, "tpmwire", "embedded")


def _start(directory: str, lock: int) -> tuple[socket.socket, "subprocess.Popen[bytes]"]:
    program = shutil.which("swtpm")
    if not program:
        message = "the embedded TPM needs the program swtpm; on Debian: 'sudo apt install swtpm'"
        raise TransportError(errno.ENOENT, message)
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            child = _spawn(os.path.abspath(program), directory, theirs.fileno(), lock)
        except OSError as error:
            ours.close()
            raise TransportError(error.errno, f"{program}: {error.strerror}") from None
        except BaseException:
            ours.close()
            raise
    ours.settimeout(TIMEOUT)
    return ours, child


def _spawn(program: str, directory: str, fd: int, lock: int) -> "subprocess.Popen[bytes]":
    # Its options have no place for a directory with a comma in its name, so it runs in there.
    options = ["--tpm2", "--fd", str(fd), "--tpmstate", "dir=.,mode=0600"]
    options += ["--flags", "not-need-init,startup-clear"]
    options += ["--log", "file=swtpm.log,level=1,truncate"]
    # In a session of its own, so that Ctrl-C in the terminal does not reach it.  It holds the
    # lock as well, so that nobody else has a turn while it lives, even if we are killed.
    return subprocess.Popen(
        [program, "socket", *options],
        cwd=directory,
        umask=0o077,
        pass_fds=[fd, lock],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _locked(directory: str) -> int:
    """Make the directory if need be, and wait for our turn to use the state in it."""
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        lock = os.open(os.path.join(directory, "lock"), flags, 0o600)
    except OSError as error:
        raise TransportError(error.errno, f"{directory}: {error.strerror}") from None
    try:
        _wait_for(lock)
    except OSError as error:
        os.close(lock)
        raise TransportError(error.errno, f"{directory}: {error.strerror}") from None
    except BaseException:
        os.close(lock)
        raise
    return lock


def _wait_for(lock: int) -> None:
    end = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                message = "another process is using this embedded TPM"
                raise OSError(errno.EBUSY, message) from None
            time.sleep(0.01)
