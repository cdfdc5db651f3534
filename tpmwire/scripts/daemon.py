"""The agent as a process: in the foreground, in the background, or started by systemd."""

import contextlib
import os
import shlex
import signal
import socket
from collections.abc import Callable

from tpmwire.scripts import console, hygiene, journal
from tpmwire.scripts.console import UserError
from tpmwire.ssh.activation import inherited
from tpmwire.ssh.server import Begin, listening, serve
from tpmwire.ssh.tpmkey import TPM_IN_USE

FAREWELL = 10.0  # seconds to let a signature finish before we go
GRACE = 1.0  # seconds of them in which another signal changes nothing
_MANY = 1 << 20  # more file descriptors than a process has open


class Daemon:
    """How to be an agent: `path` is where to listen, or None for a new place.

    `make` makes what begins to talk with those who connect, in the process that will do it.
    """

    def __init__(
        self,
        program: str,
        make: Callable[[], Begin],
        path: str | None,
        *,
        csh: bool = False,
        verbose: bool = False,
        as_json: bool = False,
    ) -> None:
        self._program, self._make, self._path, self._csh = program, make, path, csh
        self._log = {"verbose": verbose, "as_json": as_json}

    def stay(self) -> int:
        """Be the agent, with a log on standard error, until a signal comes."""
        hygiene.seclude()
        journal.to_standard_error(self._program, **self._log)
        begin = self._make()
        if given := inherited():  # whoever started us knows where it is
            with given:
                return _serve(given, begin, lambda: None)
        with listening(self._path) as listener:
            lines = _shell_lines(listener.getsockname(), None, self._csh)
            return _serve(listener, begin, lambda: print(lines, flush=True))

    def leave(self) -> int:
        """Start the agent in the background, and print what makes a shell use it."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            os.setsid()
            return self._be_daemon(writer)
        os.close(writer)
        with open(reader, encoding="utf-8", errors="surrogateescape") as pipe:
            lines = pipe.read()
        if not lines:  # it has said why
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(lines, end="", flush=True)
        return 0

    def _be_daemon(self, writer: int) -> int:
        hygiene.seclude()
        journal.to_standard_error(self._program, **self._log)
        begin = self._make()
        os.closerange(3, writer)
        os.closerange(writer + 1, _MANY)
        with listening(self._path) as listener:
            lines = _shell_lines(listener.getsockname(), os.getpid(), self._csh)
            return _serve(listener, begin, lambda: self._let_go(writer, lines + "\n"))

    def _let_go(self, writer: int, lines: str) -> None:
        """Leave the terminal or whatever we were started from, and tell who waits for us."""
        # The working directory stays: what --tpm names may be relative to it.
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.close(null)
        journal.to_syslog(self._program, **self._log)
        with open(writer, "w", encoding="utf-8", errors="surrogateescape") as pipe:
            pipe.write(lines)


def kill(*, csh: bool) -> int:
    """End the agent of $SSH_AGENT_PID, and print what makes a shell forget it."""
    text = os.environ.get("SSH_AGENT_PID")
    if not text:
        raise UserError("SSH_AGENT_PID is not set, so there is no agent to end")
    # To kill, 0 and 1 mean much more than one process.
    if not (text.isdecimal() and len(text) <= 10 and 1 < int(text) < 2**31):
        raise UserError(f"SSH_AGENT_PID is {text!r}, which is no process of an agent")
    try:
        os.kill(int(text), signal.SIGTERM)
    except OSError as error:
        raise UserError(f"process {text}: {error.strerror}") from None
    for name in ("SSH_AUTH_SOCK", "SSH_AGENT_PID"):
        print(f"unsetenv {name};" if csh else f"unset {name};")
    print(f"echo Agent pid {text} killed;")
    return 0


def _serve(listener: socket.socket, begin: Begin, announce: Callable[[], None]) -> int:
    with contextlib.suppress(KeyboardInterrupt), console.interrupts_to_read() as interrupts:
        announce()
        serve(listener, begin, interrupts)
    _let_signature_finish()
    return 0


def _let_signature_finish() -> None:
    """Wait for one that is under way, so that nothing stays loaded in the TPM.

    A TPM that does not answer is given up after a while, or when another signal comes; but one that
    comes with the first, as when a terminal is closed, means no more than that.
    """
    if not TPM_IN_USE.acquire(timeout=GRACE):
        with contextlib.suppress(KeyboardInterrupt):
            console.heed_another_interrupt()
            TPM_IN_USE.acquire(timeout=FAREWELL)


def _shell_lines(path: str, pid: int | None, csh: bool) -> str:
    variables = [("SSH_AUTH_SOCK", shlex.quote(path))]
    if pid is not None:
        variables.append(("SSH_AGENT_PID", str(pid)))
    form = "setenv {0} {1};" if csh else "{0}={1}; export {0};"
    lines = [form.format(name, value) for name, value in variables]
    if pid is not None:
        lines.append(f"echo Agent pid {pid};")
    return "\n".join(lines)
