"""tpmwire-keygen --backup-to, --movable: what the command line says of keys that may move.

What they do is in `leaving`, which is imported only where one of them is given.
"""

import argparse

ANYONE = "anyone-i-understand"


def add_options(parser: argparse._ActionsContainer) -> None:
    """Describe the options."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--backup-to",
        type=_paths,
        metavar="PARENT[,PARENT...]",
        help="a copy of the key may go to these parents in other TPMs, and never anywhere else; "
        "each is a file of tpmwire parent export or --export-parent there",
    )
    group.add_argument(
        "--movable",
        choices=("owner", ANYONE),
        help="whoever knows the password of the owner hierarchy, or whoever can load the key, may "
        "take it anywhere, out of every TPM as well",
    )


def wanted(options: argparse.Namespace) -> bool:
    """Tell whether one of the options was given."""
    return bool(options.backup_to or options.movable)


def _paths(text: str) -> list[str]:
    paths = text.split(",")
    if not all(paths):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of files")
    return paths
