"""Asking people: on the terminal, or by the program in SSH_ASKPASS."""

import atexit
import contextlib
import functools
import os
import shutil
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator

from tpmwire.scripts.console import UserError

_ASKING = threading.Lock()  # one question at a time


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
    require = os.environ.get("SSH_ASKPASS_REQUIRE", "").lower()
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return require == "force" or bool(display and require != "never") or terminal()


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


def ask_secret(prompt: str) -> bytes:
    """Ask on the terminal without showing the answer; UserError if none comes."""
    try:
        with _ASKING, _open_terminal() as tty, _without_echo(tty):
            os.write(tty, prompt.encode(errors="replace"))
            line = _line(tty)
            os.write(tty, b"\n")
    except (OSError, termios.error) as error:
        raise UserError(f"the terminal: {error.args[-1]}") from None
    if not line:
        raise UserError("the PIN was not given")
    return line.removesuffix(b"\n")


def ask_pin(prompt: str) -> bytes:
    """Ask for the PIN of a key, as ssh asks for a passphrase.

    On the terminal; without one, by the program in $SSH_ASKPASS if there is a display.  In
    $SSH_ASKPASS_REQUIRE "prefer" puts the program first, "force" does so without a display, and
    "never" forbids it.  UserError if nobody can be asked, or gives no answer.
    """
    require = os.environ.get("SSH_ASKPASS_REQUIRE", "").lower()
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    allowed = require == "force" or (display and require != "never")
    if allowed and (require in ("force", "prefer") or not terminal()):
        return _askpass(prompt)
    if not terminal():
        raise UserError("nobody can be asked for the PIN: set SSH_ASKPASS and SSH_ASKPASS_REQUIRE")
    return ask_secret(prompt)


def _askpass(prompt: str) -> bytes:
    program = os.environ.get("SSH_ASKPASS") or shutil.which("ssh-askpass")
    if not program:
        raise UserError("nobody can be asked for the PIN: SSH_ASKPASS names no program")
    try:
        answer = subprocess.run([program, prompt], stdout=subprocess.PIPE, check=False)
    except OSError as error:
        raise UserError(f"{program}: {error.strerror}") from None
    if answer.returncode != 0:
        raise UserError("the PIN was not given")
    return answer.stdout.replace(b"\r", b"\n").split(b"\n")[0]


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


@contextlib.contextmanager
def _without_echo(tty: int) -> Iterator[None]:
    before = termios.tcgetattr(tty)
    silent = [*before]
    silent[3] &= ~(termios.ECHO | termios.ECHONL)
    restore = functools.partial(termios.tcsetattr, tty, termios.TCSAFLUSH, before)
    # The program may end while a thread of it still waits for the answer.
    atexit.register(restore)
    try:
        termios.tcsetattr(tty, termios.TCSAFLUSH, silent)
        yield
    finally:
        restore()
        atexit.unregister(restore)


def _line(tty: int) -> bytes:
    """Read a line; without the end of line if that is not where it ended."""
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(tty, 1024)
        if not more:
            break
        line += more
    return line
