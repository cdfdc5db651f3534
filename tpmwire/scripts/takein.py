"""tpmwire import: let the TPM take in a key that was wrapped for it."""

import argparse

from tpmwire.keyfile import KeyFile
from tpmwire.scripts import movein, parentage, storing, transit
from tpmwire.scripts.outside import read_file

EPILOG = """\
examples:
  tpmwire import work-b.tpm -f work --transit-key work-b.tpm.transit
  tpmwire import sent.tpm -f work       a file without an inner wrapper, as other tools write it

The TPM takes the key in and loads it once, so that a damaged file or one for another TPM is noticed
here. What is written is a file that this TPM loads. Without --transit-key it is asked for where
the file tells of an inner wrapper. The PIN is that which the key had.

exit codes: 0 taken in, 1 failed or refused, 2 wrong usage
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser.description = "Let the TPM take in a key that was wrapped for it."
    parser.epilog = EPILOG
    parser.set_defaults(
        run=take_in, wrap_for=None, new_pin=None, json=None, program="tpmwire import"
    )
    add = parser.add_argument
    add("imported", metavar="FILE", help="the importable file")
    add("-f", dest="file", type=storing.base, metavar="NAME", help="the files NAME.tpm, NAME.pub")
    add("-C", dest="comment", metavar="COMMENT", help="the comment in NAME.pub")
    add("-q", dest="quiet", action="store_true", help="say nothing but errors and warnings")
    told = "a file with the key of the inner wrapper, from tpmwire duplicate"
    add("--transit-key", metavar="FILE", help=told)
    parentage.add_options(parser)
    transit.add_tpm(parser)


def take_in(options: argparse.Namespace) -> int:
    """Import the key; the exit code."""

    def inner_key(keyfile: KeyFile) -> bytes:
        return transit.inner_key(options.transit_key, keyfile)

    return movein.import_wrapped(options, read_file(options.imported), inner_key)
