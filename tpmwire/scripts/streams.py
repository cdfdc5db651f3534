"""Files that may be standard input or output, in octets."""

import contextlib
import hashlib
import io
import os
import sys

from tpmwire.constants import TPM_ALG
from tpmwire.digests import hash_name
from tpmwire.errors import DecodeError
from tpmwire.scripts.console import UsageError, say

STANDARD = "-"

_MOST = 1 << 20
"""More octets than any key or signature has."""


def check_inputs(*paths: str) -> None:
    """Check that no more than one of these is to be read from standard input; UsageError."""
    if paths.count(STANDARD) > 1:
        raise UsageError("only one thing can be read from standard input")


def digest_of(program: str, path: str, alg: TPM_ALG) -> bytes:
    """Hash a file, piece by piece, as it may not fit into memory; OSError."""
    if path == STANDARD and sys.stdin.isatty():
        say(f"{program}: reading from the terminal; Ctrl-D ends it")
    with open_input(path) as file:
        return hashlib.file_digest(file, hash_name(alg)).digest()


def read_small(path: str) -> bytes:
    """Read a key or a signature; OSError, or DecodeError if it is too large to be one."""
    with open_input(path) as file:
        octets = file.read(_MOST + 1)
    if len(octets) > _MOST:
        raise DecodeError(f"{path}: too large")
    return octets


def open_input(path: str) -> io.BufferedReader:
    """Open a file, or standard input for "-"."""
    if path == STANDARD:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    return open(path, "rb")


def check_output(path: str) -> None:
    """Find out before any work is done whether octets can go there; UsageError if not."""
    if path == STANDARD and sys.stdout.isatty():
        raise UsageError("these octets are not for a terminal: name a file with -o")


def check_apart(output: str, *inputs: str) -> None:
    """Check that what is read would not be overwritten; UsageError if it would."""
    for path in inputs:
        if STANDARD not in (output, path) and _is_same_file(output, path):
            raise UsageError(f"the signature would overwrite {path}: name another file with -o")


def _is_same_file(one: str, other: str) -> bool:
    with contextlib.suppress(OSError):  # one of them is not there, at least not for us
        return os.path.isfile(one) and os.path.samefile(one, other)
    return False


def write_output(path: str, octets: bytes) -> None:
    """Write octets to a file, or to standard output for "-"; OSError."""
    if path == STANDARD:
        sys.stdout.buffer.write(octets)
        return
    try:
        with open(path, "wb") as file:
            file.write(octets)
    except OSError as error:
        error.filename = path  # a full disk does not tell where it is
        raise


def give_the_terminal_back() -> None:
    """Let standard input be the terminal again, after what came in its place was read.

    Whoever pipes data into a program can be asked for a PIN all the same.
    """
    try:
        tty = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:  # there is no terminal
        return
    os.dup2(tty, sys.stdin.fileno())
    os.close(tty)
