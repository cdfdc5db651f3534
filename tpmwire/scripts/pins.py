"""Where PINs come from: the command line, a file, a descriptor, or people who are asked."""

import argparse
import os
from collections.abc import Callable
from typing import NamedTuple

from tpmwire.scripts import prompts
from tpmwire.scripts.console import UsageError, UserError

MAX_PIN = 32  # octets; the TPM takes no more than a digest of the key's name algorithm

Source = Callable[[], bytes]
"""Reads a PIN from where the command line says."""

_TRIES = 10  # a program that is asked in place of people may give the same wrong answer for ever
_MOST = 4096  # octets that are read of a file, which shall hold a line


class Questions(NamedTuple):
    """How people are asked for a new PIN."""

    first: str = "Enter PIN (empty for no PIN): "
    again: str = "Enter same PIN again: "


def add_options(parser: argparse._ActionsContainer) -> None:
    """Add the options that tell PINs: a new one, and with -p the old one."""
    _add(parser, "-N", "new_pin", "--pin", "PIN of the key ('' for none), with -p the new one")
    _add(parser, "-P", "old_pin", "--old-pin", "with -p: the old PIN")


FOR_A_NEW_KEY = Questions()


def for_new_key(options: argparse.Namespace) -> Source:
    """Find where the PIN of a new key comes from; one that is given is read and checked at once.

    UsageError if it makes no sense, or there is nobody to ask.
    """
    if options.new_pin is not None:
        pin = check(options.new_pin())
        return lambda: pin
    if not prompts.can_ask_pin():
        raise UsageError(
            "nobody to ask for a PIN: give one with --pin-file or -N, or -N '' for none"
        )
    return ask_new


def ask_new(limit: int = MAX_PIN, questions: Questions = FOR_A_NEW_KEY) -> bytes:
    """Ask for a new PIN until one comes that is possible, and twice the same."""
    for _ in range(_TRIES):
        pin = prompts.ask_pin(questions.first)
        if found := problem(pin, limit):
            print(f"{found}. Try again.", flush=True)
        elif not pin or prompts.ask_pin(questions.again) == pin:
            return pin
        else:
            print("PINs do not match. Try again.", flush=True)
    raise UserError(f"no PIN after {_TRIES} tries")


def check(pin: bytes, limit: int = MAX_PIN) -> bytes:
    """Check that the TPM takes a PIN, which is returned; UsageError if it does not."""
    if found := problem(pin, limit):
        raise UsageError(found)
    return pin


def problem(pin: bytes, limit: int = MAX_PIN) -> str | None:
    """Tell why the TPM does not take a PIN; None if it does."""
    if len(pin) > limit:
        return f"The PIN is {len(pin)} octets long, and the TPM takes {limit} at most"
    # The TPM takes away zero octets at the end.
    return "A PIN cannot end with a zero octet" if pin.endswith(b"\0") else None


def first_line(source: str | int) -> bytes:
    """Read the first line of a file or descriptor; UserError if there is nothing in it."""
    name = source if isinstance(source, str) else f"descriptor {source}"
    try:
        # Unbuffered, so that what comes after the line is left for whoever reads on.
        with open(source, "rb", 0, closefd=isinstance(source, str)) as file:
            line = file.readline(_MOST)
    except OSError as error:
        raise UserError(f"{name}: {error.strerror}") from None
    secret = line.removesuffix(b"\n").removesuffix(b"\r")
    if not secret:
        # What was lost on its way must not become "no PIN".
        raise UserError(f"{name}: its first line is empty")
    return secret


def _add(
    parser: argparse._ActionsContainer, letter: str, destination: str, word: str, what: str
) -> None:
    add = parser.add_mutually_exclusive_group().add_argument
    seen = f"{what}; others may see it while this runs"
    add(letter, dest=destination, type=_given, metavar="PIN", help=seen)
    line = f"the first line of FILE is the {'old ' if letter == '-P' else ''}PIN"
    add(f"{word}-file", dest=destination, type=from_file, metavar="FILE", help=line)
    line = "the same from the open descriptor N, of which the next line is read"
    add(f"{word}-fd", dest=destination, type=descriptor, metavar="N", help=line)


def from_file(path: str) -> Source:
    """Make a source of a file's name, for argparse."""
    return lambda: first_line(path)


def descriptor(text: str) -> Source:
    """Make a source of the number of an open descriptor, for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError("a descriptor is a number")
    number = int(text)
    return lambda: first_line(number)


def _given(text: str) -> Source:
    pin = os.fsencode(text)
    return lambda: pin
