"""Asking people: on the terminal, or by the program in SSH_ASKPASS."""

import atexit
import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

from tpmwire.scripts.console import UserError

_ASKING = threading.Lock()  # one question at a time
_GLANCE = 0.2  # seconds after which to look whether anybody still wants the answer
_LAST_WORDS = 3.0  # seconds for a program to end by itself


class HungUpError(UserError):
    """Nobody waits for the answer any more."""

    def __init__(self) -> None:
        super().__init__("the client went away while somebody was asked for it")


def never() -> bool:
    """Tell that whoever wants the answer is still there."""
    return False


def terminal() -> bool:
    """Tell whether somebody is there to be asked: at a terminal that is not another job's now."""
    if not sys.stdin.isatty():
        return False
    with _open_terminal() as tty:
        try:
            return os.tcgetpgrp(tty) == os.getpgrp()
        except OSError:  # one that our session does not control has no jobs
            return True


def can_ask_pin() -> bool:
    """Tell whether `ask_pin` has somebody to ask, or a program."""
    return _program_may_ask() or terminal()


def program() -> str:
    """Tell which program asks; nothing if there is none."""
    return os.environ.get("SSH_ASKPASS") or shutil.which("ssh-askpass") or ""


def has_display() -> bool:
    """Tell whether a program could open a window."""
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def required() -> str:
    """Tell what is said of the program: "prefer", "force", "never", or something else."""
    return os.environ.get("SSH_ASKPASS_REQUIRE", "").lower()


def ask(question: str) -> str:
    """Ask for a line on standard input; UserError if none comes."""
    print(question, end="", flush=True)
    line = sys.stdin.buffer.readline()
    if not line:
        print()
        raise UserError("no answer")
    return os.fsdecode(line.strip())


def confirm(question: str) -> bool:
    """Ask a question; anything but y or yes means no."""
    try:
        return ask(question).lower() in ("y", "yes")
    except UserError:
        return False


def ask_secret(prompt: str, gone: Callable[[], bool] = never) -> bytes:
    """Ask on the terminal without showing the answer; UserError if none comes."""
    try:
        with _ASKING, _open_terminal() as tty, _Silence(tty, prompt) as silence:
            return _answer(silence, gone)
    except (OSError, termios.error) as error:
        raise UserError(f"the terminal: {error.args[-1]}") from None


def ask_pin(prompt: str, gone: Callable[[], bool] = never) -> bytes:
    """Ask for the PIN of a key, as ssh asks for a passphrase.

    On the terminal; without one, by the program in $SSH_ASKPASS if there is a display.  In
    $SSH_ASKPASS_REQUIRE "prefer" puts the program first, "force" does so without a display, and
    "never" forbids it.  On a terminal there is one question at a time; programs run side by side.
    UserError if nobody can be asked, or gives no answer, or `gone` tells that nobody wants it.
    """
    if not _by_program():
        return ask_secret(prompt, gone)
    answer = _askpass(prompt, gone)
    if answer is None:
        raise UserError("the PIN was not given")
    return answer


def ask_permission(question: str, gone: Callable[[], bool] = never) -> bool:
    """Ask whether a key may be used; whatever is no clear yes means no.

    A program in $SSH_ASKPASS is told by $SSH_ASKPASS_PROMPT, as OpenSSH does it, that it is to
    confirm only; it agrees by exiting with 0 and printing nothing, or "yes".
    """
    if not _by_program():
        return ask_secret(f"{question} (yes/no) ", gone).lower() in (b"y", b"yes")
    answer = _askpass(question, gone, SSH_ASKPASS_PROMPT="confirm")
    return answer is not None and answer.lower() in (b"", b"yes")


def _by_program() -> bool:
    """Choose between the terminal and the program; UserError if there is neither."""
    if _program_may_ask() and (required() in ("force", "prefer") or not terminal()):
        return True
    if not terminal():
        raise UserError("nobody can be asked for the PIN: set SSH_ASKPASS and SSH_ASKPASS_REQUIRE")
    return False


def _program_may_ask() -> bool:
    return required() == "force" or (has_display() and required() != "never")


def _askpass(prompt: str, gone: Callable[[], bool], **env: str) -> bytes | None:
    """Run the program; return its answer, or None if it gives none."""
    asking = program()
    if not asking:
        raise UserError("nobody can be asked for the PIN: SSH_ASKPASS names no program")
    if gone():
        raise HungUpError
    try:
        process = subprocess.Popen(
            [asking, prompt], stdout=subprocess.PIPE, env={**os.environ, **env}
        )
    except OSError as error:
        raise UserError(f"{asking}: {error.strerror}") from None
    with process:
        output = _output(process, gone)
    return None if process.returncode else output.replace(b"\r", b"\n").split(b"\n")[0]


def _output(process: "subprocess.Popen[bytes]", gone: Callable[[], bool]) -> bytes:
    """Wait for all that a program prints; it is ended when nobody wants that any more."""
    try:
        while True:
            try:
                return process.communicate(timeout=_GLANCE)[0]
            except subprocess.TimeoutExpired:
                if gone():
                    raise HungUpError from None
    except BaseException:
        _end(process)
        raise


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a program that may have taken hold of the keyboard: by asking, then by force."""
    process.terminate()
    try:
        process.wait(_LAST_WORDS)
    except subprocess.TimeoutExpired:
        process.kill()


@contextlib.contextmanager
def _open_terminal() -> Iterator[int]:
    try:
        tty = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:  # in a session without a terminal, as `su -c` makes one
        tty = os.dup(0)
    try:
        yield tty
    finally:
        os.close(tty)


class _Silence:
    """A question on a terminal that shows no answer, not even after a time in the background.

    When the program is stopped or ends, the terminal gets back what it was, and when the program
    goes on, the question is put again: the shell has turned the echo on meanwhile.
    """

    _STOPS = (signal.SIGTSTP, signal.SIGQUIT)

    def __init__(self, tty: int, prompt: str) -> None:
        self.tty, self._prompt = tty, prompt.encode(errors="replace")
        self._before = termios.tcgetattr(tty)
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        # The program may end while a thread of it still waits for the answer.
        atexit.register(self._restore)
        if threading.current_thread() is threading.main_thread():
            for number in self._STOPS:
                if signal.getsignal(number) == signal.SIG_DFL:
                    self._handlers[number] = signal.signal(number, self._stop)
        try:
            self._silence()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        atexit.unregister(self._restore)

    def ask(self) -> None:
        """Put the question."""
        os.write(self.tty, self._prompt)

    def keep(self) -> None:
        """Put the question again if somebody else has turned the echo on."""
        if termios.tcgetattr(self.tty)[3] & termios.ECHO:
            self._silence()
            self.ask()

    def _stop(self, number: int, frame: object) -> None:
        self._restore()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
        signal.signal(number, self._stop)
        self._silence()
        self.ask()

    def _silence(self) -> None:
        silent = [*self._before]
        silent[3] &= ~(termios.ECHO | termios.ECHONL)
        termios.tcsetattr(self.tty, termios.TCSAFLUSH, silent)

    def _restore(self) -> None:
        termios.tcsetattr(self.tty, termios.TCSAFLUSH, self._before)


def _answer(silence: _Silence, gone: Callable[[], bool]) -> bytes:
    if gone():
        raise HungUpError
    silence.ask()
    try:
        line = _line(silence, gone)
    except HungUpError:
        os.write(silence.tty, b"\n")
        raise
    os.write(silence.tty, b"\n")
    if not line:
        raise UserError("the PIN was not given")
    return line.removesuffix(b"\n")


def _line(silence: _Silence, gone: Callable[[], bool]) -> bytes:
    """Read a line; without the end of line if that is not where it ended."""
    line = b""
    while not line.endswith(b"\n"):
        while not select.select([silence.tty], [], [], _GLANCE)[0]:
            silence.keep()
            if gone():
                raise HungUpError
        more = os.read(silence.tty, 1024)
        if not more:
            break
        line += more
    return line
