"""What the scripts share: exit codes, messages, signals, signs of life."""

import argparse
import contextlib
import io
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NoReturn, TextIO

from tpmwire.embedded import default_directory
from tpmwire.errors import ConfError, Error
from tpmwire.transport import ENVIRONMENT, InterruptsHeld, parse_conf

FAILED, USAGE = 1, 2
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

TPM_HELP = (
    "the TPM to use: device:/dev/tpmrm0 (the default), swtpm:path=SOCKET, "
    "swtpm:host=H,port=P, mssim:host=H,port=P, or embedded:dir=D, an emulator for "
    f"trying things out; default is ${ENVIRONMENT}"
)


class UserError(Error):
    """Something that the user asked for cannot be done."""


class UsageError(UserError):
    """Something that the user asked for makes no sense."""


def run(program: str, main: Callable[[], int]) -> int:
    """Run a script's work; what it raises becomes a message and an exit code."""
    with _interruptible():
        return _run(program, main)


def _run(program: str, main: Callable[[], int]) -> int:
    _prepare_streams()
    code = FAILED
    try:
        return _complete(main)
    except BrokenPipeError:
        pass  # whoever read our output has gone
    except KeyboardInterrupt:
        say(f"\n{program}: interrupted")
    except OSError as error:
        say(f"{program}: {explain(error)}")
    except Error as error:
        say(f"{program}: {error}")
        code = USAGE if isinstance(error, UsageError | ConfError) else FAILED
    _settle(sys.stdout)
    return code


def conf(text: str) -> str:
    """Check a conf string on the command line, for argparse."""
    try:
        parse_conf(text)
    except ConfError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def explain(error: OSError) -> str:
    """Say what an OSError means, without its number."""
    if error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def say(text: str) -> None:
    """Print to standard error; if nobody can read it, that is no reason to fail."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _settle(sys.stderr)


def report(program: str, text: str) -> None:
    """Print what was done; it stays done if standard output cannot take the news."""
    try:
        print(text, flush=True)
    except OSError as error:
        say(f"{program}: standard output: {explain(error)}")
        _settle(sys.stdout)


def warn_of_emulator(program: str, conf: str | None) -> None:
    """Say that keys of the embedded TPM have no hardware behind them."""
    chosen = conf or os.environ.get(ENVIRONMENT, "")
    if "embedded" in chosen.split(":"):  # a recording of one, too
        _, _, place = chosen.partition("dir=")
        say(
            f"{program}: this is an emulated TPM: its keys have no hardware behind them, only the "
            f"files in {place or default_directory()}"
        )


@contextlib.contextmanager
def signs_of_life(text: str) -> Iterator[None]:
    """Show on a terminal that slow work goes on: `text` and the seconds, after the first one."""
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_tick, args=(text, done), daemon=True)
    # Signals are for the main thread, which knows what it is doing when one comes.
    with InterruptsHeld():
        thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _tick(text: str, done: threading.Event) -> None:
    start = time.monotonic()
    shown = False
    while not done.wait(1.0):
        seconds = time.monotonic() - start
        print(f"\r{text} ... {seconds:.0f} s", end="", file=sys.stderr, flush=True)
        shown = True
    if shown:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _complete(main: Callable[[], int]) -> int:
    """Do the work, and see its output off."""
    try:
        code = main()
    except SystemExit as end:  # argparse's, after --help or a wrong option
        code = int(end.code or 0)
    sys.stdout.flush()
    return code


def _prepare_streams() -> None:
    """Open what the caller has closed, or a file of ours would become standard output.

    What is printed may have octets of the command line in it that are no text.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")


def _settle(stream: TextIO) -> None:
    """Drop what a stream does not take, lest Python try again and complain at its end."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Take the signals that mean an end for Ctrl-C; what `nohup` wants ignored stays so.

    SIGTERM is always heeded, or `tpmwire-agent -k` could not end every agent.
    """
    before = {number: signal.getsignal(number) for number in _INTERRUPTS}
    heeded = [
        number
        for number, handler in before.items()
        if handler is not None and (number == signal.SIGTERM or handler != signal.SIG_IGN)
    ]
    for number in heeded:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, before[number])


@contextlib.contextmanager
def interrupts_to_read() -> Iterator[int]:
    """Make a descriptor at which there is something to read as soon as a signal has come.

    For who waits in a system call: a signal that comes just before it interrupts nothing, and an
    exception that its handler raises may be lost in a callback.
    """
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield reader.fileno()
        finally:
            signal.set_wakeup_fd(before)


def heed_another_interrupt() -> None:
    """Let another Ctrl-C or SIGTERM break off what is done because of a first one."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: object) -> NoReturn:
    # One is enough: a second one would break off what the first has to have cleaned up.
    for another in _INTERRUPTS:
        signal.signal(another, signal.SIG_IGN)
    raise KeyboardInterrupt
