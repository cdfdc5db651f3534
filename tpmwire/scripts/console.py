"""What the scripts share: exit codes, messages, signals, prompts for PINs."""

import argparse
import contextlib
import getpass
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

from tpmwire.embedded import default_directory
from tpmwire.errors import ConfError, Error
from tpmwire.transport import ENVIRONMENT, InterruptsHeld, parse_conf

FAILED, USAGE = 1, 2

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
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    try:
        return main()
    except KeyboardInterrupt:
        say(f"\n{program}: interrupted; nothing was changed")
    except BrokenPipeError:
        # Whoever read our output has gone; keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        say(f"{program}: {explain(error)}")
    except (UsageError, ConfError) as error:
        say(f"{program}: {error}")
        return USAGE
    except Error as error:
        say(f"{program}: {error}")
    return FAILED


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
    """Print to standard error."""
    print(text, file=sys.stderr, flush=True)


def warn_of_emulator(program: str, conf: str | None) -> None:
    """Say that keys of the embedded TPM have no hardware behind them."""
    chosen = conf or os.environ.get(ENVIRONMENT, "")
    if chosen.partition(":")[0] == "embedded":
        _, _, place = chosen.partition("dir=")
        say(
            f"{program}: this is an emulated TPM: its keys have no hardware behind them, only the "
            f"files in {place or default_directory()}"
        )


def terminal() -> bool:
    """Tell whether somebody is there to be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str) -> bool:
    """Ask a question on the terminal; anything but y or yes means no."""
    print(question, end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def ask_new_pin(prompt: str) -> str:
    """Ask for a new PIN twice, without showing it; UserError if the two differ."""
    first = getpass.getpass(f"{prompt} (empty for no PIN): ")
    if first and getpass.getpass("Enter same PIN again: ") != first:
        raise UserError("the PINs do not match")
    return first


def ask_pin(prompt: str) -> bytes:
    """Ask for the PIN of a key, as ssh asks for a passphrase.

    By the program $SSH_ASKPASS where there is a display, or wherever $SSH_ASKPASS_REQUIRE is
    "force" or "prefer"; else on the terminal.  UserError if nobody can be asked or gives an answer.
    """
    require = os.environ.get("SSH_ASKPASS_REQUIRE", "")
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    wanted = require in ("force", "prefer") or (display and not terminal())
    if wanted and require != "never":
        return _askpass(prompt)
    if not terminal():
        raise UserError("nobody can be asked for the PIN: set SSH_ASKPASS and SSH_ASKPASS_REQUIRE")
    return getpass.getpass(prompt).encode()


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
    return answer.stdout.split(b"\n")[0].rstrip(b"\r")


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


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt
