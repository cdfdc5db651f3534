"""tpmwire-keygen --import, --wrap-for, --export-parent: a key that exists already, for a TPM.

Here is what the command line says of them; keygen calls `bring_in` where one of them is wanted, and
only then what does the work is imported.
"""

import argparse
import importlib

from tpmwire.scripts import pins
from tpmwire.scripts.console import UsageError


def add_options(parser: argparse._ActionsContainer) -> None:
    """Describe the options."""
    add = parser.add_argument
    add(
        *("-i", "--import"),
        dest="imported",
        metavar="FILE",
        help="let the TPM take in the private key in FILE: of OpenSSH, in PEM, or wrapped for it",
    )
    add(
        "--passphrase-fd",
        type=pins.descriptor,
        metavar="N",
        help="read the passphrase of FILE from this file descriptor; else it is asked for",
    )
    add(
        "--wrap-for",
        metavar="PARENT",
        help="use no TPM, but wrap the key for the one whose --export-parent has written PARENT",
    )
    add(
        "--export-parent",
        metavar="PARENT",
        help="write the public area of the parent, for --wrap-for on another machine; PEM if "
        "PARENT ends with .pem",
    )


def wanted(options: argparse.Namespace) -> bool:
    """Tell whether one of the options was given."""
    return bool(options.imported or options.wrap_for or options.export_parent)


def run(options: argparse.Namespace) -> int:
    """Do what the options say; the exit code."""
    _check_usage(options)
    code: int
    if options.export_parent:
        code = importlib.import_module("tpmwire.scripts.wrapping").export_parent(options)
    else:
        code = importlib.import_module("tpmwire.scripts.movein").move_in(options)
    return code


def _check_usage(options: argparse.Namespace) -> None:
    if options.export_parent and (options.imported or options.wrap_for):
        raise UsageError("--export-parent stands alone")
    if not options.export_parent and not options.imported:
        raise UsageError("--wrap-for wants the key that shall be wrapped: --import FILE")
    if options.bits is not None:
        raise UsageError("-b is for new keys: this one has its size already")
