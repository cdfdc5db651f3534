"""PCRs as people write them: `sha256:0,7`, with a content as `sha256:7=4a5b...`, and `+` between.

What is written without a content stands for the one that the TPM has now.
"""

import argparse

from tpmwire.constants import TPM_ALG
from tpmwire.digests import digest_size

Wanted = dict[TPM_ALG, dict[int, bytes | None]]
"""For each bank the numbers, and the content where it was written."""

BANKS = {
    "sha1": TPM_ALG.SHA1,
    "sha256": TPM_ALG.SHA256,
    "sha384": TPM_ALG.SHA384,
    "sha512": TPM_ALG.SHA512,
}
HELP = "such as sha256:0,7, or with a content to come as sha256:7=HEX; more banks after a +"

_MOST = 2040  # a selection has 255 octets at most


def add_options(parser: argparse._ActionsContainer) -> None:
    """Add the options that bind a key."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--pcrs",
        type=parse,
        metavar="PCRS",
        help=f"the key signs only while these PCRs have the content they have now: {HELP}",
    )
    group.add_argument(
        "--policy-authority",
        metavar="PUB",
        help="the key signs only with PCRs that the holder of the key of this public key (PEM, or "
        "as OpenSSH has it) has approved, by --approve-pcrs",
    )
    parser.add_argument(
        "--authority-key",
        metavar="PRIV",
        help="with --approve-pcrs: the private key of the authority (PEM, or as OpenSSH has it)",
    )


def parse(text: str) -> Wanted:
    """Read a selection on the command line, for argparse."""
    wanted: Wanted = {}
    for part in text.split("+"):
        name, colon, entries = part.partition(":")
        bank = BANKS.get(name.lower())
        if not colon or bank is None or bank in wanted:
            raise argparse.ArgumentTypeError(f"{part!r} is no selection of PCRs; they are {HELP}")
        wanted[bank] = dict(_entry(bank, entry) for entry in entries.split(","))
    return wanted


def written(wanted: Wanted) -> str:
    """Write a selection without the contents."""
    words = {bank: word for word, bank in BANKS.items()}
    return "+".join(f"{words[b]}:{','.join(map(str, sorted(n)))}" for b, n in wanted.items())


def _entry(bank: TPM_ALG, text: str) -> tuple[int, bytes | None]:
    number, equals, content = text.partition("=")
    if not (number.isdecimal() and len(number) < 5 and int(number) < _MOST):
        raise argparse.ArgumentTypeError(f"{text!r} is no PCR; they are {HELP}")
    return int(number), _content(bank, content) if equals else None


def _content(bank: TPM_ALG, text: str) -> bytes:
    try:
        content = bytes.fromhex(text)
    except ValueError:
        content = b""
    if len(content) != digest_size(bank):
        size = 2 * digest_size(bank)
        raise argparse.ArgumentTypeError(f"a PCR of this bank has {size} hexadecimal digits")
    return content
