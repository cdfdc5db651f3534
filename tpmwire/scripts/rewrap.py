"""tpmwire rewrap: wrap for another parent a key that was wrapped for one of this TPM."""

import argparse

import tpmwire
from tpmwire.errors import KeyFileError
from tpmwire.keyfile import KeyFile
from tpmwire.moving import Sent, rewrap_file
from tpmwire.scripts import console, files, leaving, parentage, pins, transit
from tpmwire.scripts.console import UserError

PROGRAM = "tpmwire rewrap"

EPILOG = """\
examples:
  tpmwire rewrap work-b.tpm --to c.parent -o work-c.tpm

For a machine between two others: it has the parent for which the key was wrapped, and never loads
the key. No policy of the key is asked; whoever is trusted with a key decides where it goes on to.
An inner wrapper stays closed, and its key (FILE.transit) stays the same.

exit codes: 0 written, 1 failed or refused, 2 wrong usage
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser.description = "Wrap for another parent a key that was wrapped for one of this TPM."
    parser.epilog = EPILOG
    parser.set_defaults(run=rewrap)
    parser.add_argument("key", metavar="KEY", help="the importable file of tpmwire duplicate")
    transit.add_output(parser)
    told = "the first line of FILE is the password of the parent here; else it is asked for"
    parser.add_argument("--parent-auth", type=pins.from_file, metavar="FILE", help=told)
    transit.add_tpm(parser)


def rewrap(options: argparse.Namespace) -> int:
    """Wrap the key anew; the exit code."""
    keyfile, parent = transit.read(options.key), leaving.read(options.to)
    files.check_directory(options.output)
    place = transit.place_of(options, parent)

    def work(auth: bytes | None) -> KeyFile:
        with tpmwire.open(options.tpm) as tpm:
            return rewrap_file(tpm, keyfile, parent, place, auth)

    try:
        made = parentage.under(keyfile.parent, options, work)
    except KeyFileError as error:
        raise UserError(f"{options.key}: {error}") from None
    transit.save(options, Sent(made))
    told = f"The key, wrapped for the parent {made.parent_name.hex()}, has been saved in "
    console.report(PROGRAM, told + options.output)
    return 0
