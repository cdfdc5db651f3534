"""A TPM for trying things out: the installed swtpm program as a private child of this process.

The two processes talk over a pair of connected sockets that have no name, so nobody else can reach
the emulator, and it ends when this process does, however that comes about.  Its state, and with it
every key, is in one directory: whoever can read that has the keys.  There is no hardware behind it.
"""

import errno
import fcntl
import os
import shutil
import socket
import subprocess
import time

from tpmwire.errors import TransportError
from tpmwire.transport import TIMEOUT, SocketTransport

LOCK_PATIENCE = 30.0  # seconds to wait for another process that uses the same state
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
        if self._closed:
            return
        self._closed = True
        # Without it the emulator would take a hard power loss for an attack and count it.
        try:
            self._socket.settimeout(5)
            self._exchange(_SHUTDOWN_CLEAR)
        except OSError:
            self._child.terminate()
        super().close()
        try:
            self._child.wait(5)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        os.close(self._lock)


def default_directory() -> str:
    """Tell where the state is kept unless a conf string says otherwise."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(base, "tpmwire", "embedded")


def _start(directory: str, lock: int) -> tuple[socket.socket, "subprocess.Popen[bytes]"]:
    program = shutil.which("swtpm", path=os.environ.get("PATH", "") + ":/usr/bin:/usr/local/bin")
    if program is None:
        message = "the embedded TPM needs the program swtpm; on Debian: 'sudo apt install swtpm'"
        raise TransportError(errno.ENOENT, message)
    ours, theirs = socket.socketpair()
    log = os.path.join(directory, "swtpm.log")
    command = [program, "socket", "--tpm2", "--fd", str(theirs.fileno())]
    command += ["--tpmstate", f"dir={directory},mode=0600"]
    command += ["--flags", "not-need-init,startup-clear", "--log", f"file={log},level=1,truncate"]
    with theirs:
        # In a session of its own, so that Ctrl-C in the terminal does not reach it.  It holds the
        # lock as well, so that nobody else has a turn while it lives, even if we are killed.
        child = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno(), lock],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    ours.settimeout(TIMEOUT)
    return ours, child


def _locked(directory: str) -> int:
    """Make the directory, ours alone, and wait for our turn to use the state in it."""
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        os.chmod(directory, 0o700)
        lock = os.open(
            os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
    except OSError as error:
        raise TransportError(error.errno, f"{directory}: {error.strerror}") from None
    end = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > end:
                os.close(lock)
                message = f"{directory}: another process is using this embedded TPM"
                raise TransportError(errno.EBUSY, message) from None
            time.sleep(0.01)
        except BaseException:
            os.close(lock)
            raise
