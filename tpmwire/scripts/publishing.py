"""Printing the public part of a key, and its fingerprint, from its file alone."""

import argparse
import json

from tpmwire.errors import DecodeError
from tpmwire.keyfile import LABEL
from tpmwire.scripts import storing
from tpmwire.scripts.console import UserError
from tpmwire.ssh.fingerprints import HASHES, PublishedKey
from tpmwire.ssh.keys import public_blob, public_line


def add_options(parser: argparse._ActionsContainer) -> None:
    """Add the options that tell how a fingerprint looks."""
    parser.add_argument(
        "-E", dest="hash", choices=HASHES, default="sha256", help="with -l: the hash (sha256)"
    )
    parser.add_argument(
        "-v", dest="picture", action="store_true", help="with -l: a picture of the fingerprint too"
    )


def print_keys(options: argparse.Namespace) -> int:
    """Print the lines of the public keys in a file."""
    for key in _read(storing.chosen(options)):
        print(public_line(key.blob, key.comment), end="")
    return 0


def print_fingerprints(options: argparse.Namespace) -> int:
    """Print the fingerprints of the public keys in a file."""
    keys = _read(storing.chosen(options))
    if options.json:
        print(json.dumps([key.data(options.hash) for key in keys]))
        return 0
    for key in keys:
        print(key.line(options.hash))
        if options.picture:
            print(key.picture(options.hash))
    return 0


def _read(path: str) -> list[PublishedKey]:
    """Read the public keys in a key file, or in a file of public keys; UserError without any."""
    octets = storing.read_octets(path)
    if f"BEGIN {LABEL}".encode() in octets:
        file = storing.read(path)
        return [PublishedKey(public_blob(file.public), storing.comment(path, file))]
    lines = octets.decode("utf-8", "surrogateescape").splitlines()
    found = [key for line in lines if (key := _key(line))]
    if not found:
        raise UserError(f"{path}: neither a key file nor a file of public keys")
    return found


def _key(line: str) -> PublishedKey | None:
    try:
        return None if line.lstrip().startswith("#") else PublishedKey.read(line)
    except DecodeError:
        return None
