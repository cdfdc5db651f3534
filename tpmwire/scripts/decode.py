"""tpmwire decode: show commands and responses so that people, or programs, can read them."""

import argparse
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from tpmwire.constants import TPM_CC
from tpmwire.scripts.console import FAILED, say
from tpmwire.showing.data import Data
from tpmwire.showing.dissection import Dissection, dissect
from tpmwire.showing.paint import Paint
from tpmwire.showing.text import Text
from tpmwire.traces import FORMATS, read_exchanges

EPILOG = """\
examples:
  tpmwire decode 80010000000c0000017b0010
  tpmwire decode '80 01 00 00 00 0c 00 00 00 00 00 00' --command GetRandom
  tpmwire decode --color=always swtpm.log | less -R
  tpmwire decode --json a.pcapng | jq -r 'select(.damaged) | .number'

INPUT is a file, - for standard input (the default), or hexadecimal digits. A file may hold
  hex      digits, with spaces, colons, 0x and comments (#) as you like
  binary   commands and responses one after the other
  swtpm    the log of swtpm with --log file=...,level=20
  pcapng   what tpm2-tss records (TPM2TOOLS_TCTI=pcap:..., file tpm2_log.pcap), what
           'tpmwire record' does, or what tcpdump or Wireshark see on the port of a simulator

Passwords and keys are masked. An HMAC is not one, but does help to guess a weak PIN.

exit codes: 0 all is well, 1 something is damaged or cannot be read, 2 wrong usage
"""

_HEXADECIMAL = re.compile(r"(0[xX])?[0-9A-Fa-f\s:,;_-]{2,}\Z")

COMMAND_LINE = "command line"

Writer = Callable[[str, int, Dissection], str]


def register(parser: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser.description = "Show commands and responses so that people can read them."
    parser.epilog = EPILOG
    parser.set_defaults(run=decode)
    add = parser.add_argument
    add("inputs", nargs="*", metavar="INPUT", help="a file, -, or hexadecimal digits")
    add("--format", choices=FORMATS, help="what the input is, unless it shall be found out")
    add("--port", type=int, default=2321, help="the TPM's port in a capture (%(default)s)")
    add(
        "-c",
        "--command",
        type=command_code,
        metavar="NAME",
        help="the command that a response without one answers",
    )
    add("--json", action="store_true", help="write JSON, one object per line and exchange")
    add("--full", action="store_true", help="shorten nothing")
    add("--show-secrets", action="store_true", help="show passwords and keys too")
    add(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="whether to use colours (auto: on a terminal, unless NO_COLOR is set)",
    )


def decode(options: argparse.Namespace) -> int:
    """Show what the command line names; the exit code."""
    write = _writer(options)
    number, damaged = 0, False
    for name, file in _inputs(options.inputs):
        before = number
        with file:
            for dissection in _dissections(file, options):
                number += 1
                damaged |= dissection.damaged
                sys.stdout.write(write(name, number, dissection))
                sys.stdout.flush()
        if number == before:
            say(f"tpmwire decode: {name}: no command or response is in it")
            damaged = True
    return FAILED if damaged else 0


def _dissections(file: BinaryIO, options: argparse.Namespace) -> Iterator[Dissection]:
    readers: dict[str, dict[str, Any]] = {"pcapng": {"port": options.port}}
    if isinstance(file, io.BytesIO):
        readers["hex"] = {"unit": "argument"}
    for exchange in read_exchanges(file, options.format, **readers):
        yield dissect(exchange, options.command)


def _inputs(arguments: list[str]) -> Iterator[tuple[str, BinaryIO]]:
    """Open what is to be read; hexadecimal arguments that follow each other are one input."""
    digits: list[str] = []
    for argument in arguments or ["-"]:
        if argument != "-" and _HEXADECIMAL.match(argument) and not os.path.exists(argument):
            digits.append(argument)
            continue
        if digits:
            yield _digits(digits)
            digits = []
        yield (argument, _open(argument))
    if digits:
        yield _digits(digits)


def _digits(arguments: list[str]) -> tuple[str, BinaryIO]:
    text = "\n".join(argument.replace("\n", " ") for argument in arguments)
    return COMMAND_LINE, io.BytesIO(text.encode())


def _open(path: str) -> BinaryIO:
    if path != "-":
        return open(path, "rb")
    if sys.stdin.isatty():
        say("tpmwire decode: reading from the terminal; Ctrl-D ends it")
    return open(sys.stdin.fileno(), "rb", closefd=False)


def _writer(options: argparse.Namespace) -> Writer:
    if options.json:
        data = Data(secrets=options.show_secrets)
        return lambda name, number, dissection: (
            json.dumps({"input": name} | data.exchange(number, dissection)) + "\n"
        )
    paint = Paint(colour=_colours(options.color))
    text = Text(paint, full=options.full, secrets=options.show_secrets)
    named = ""

    def write(name: str, number: int, dissection: Dissection) -> str:
        nonlocal named
        head = "\n" if number > 1 else ""
        if len(options.inputs) > 1 and name != named and name != COMMAND_LINE:
            named, head = name, head + paint.aside(f"== {_ascii(name)}") + "\n"
        return head + text.exchange(number, dissection)

    return write


def _colours(when: str) -> bool:
    if when != "auto":
        return when == "always"
    dumb = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not dumb


def _ascii(name: str) -> str:
    return name.encode("ascii", "backslashreplace").decode()


def command_code(name: str) -> int:
    """Find a command by its name, for argparse; how it is written does not matter."""
    wanted = _letters(name)
    for code in TPM_CC.__members__:
        if _letters(code) == wanted:
            return TPM_CC[code]
    raise argparse.ArgumentTypeError(f"{name!r} is no command of TPM 2.0")


def _letters(name: str) -> str:
    plain = name.lower().removeprefix("tpm2_").removeprefix("tpm_cc_").removeprefix("cc_")
    return plain.replace("_", "")
