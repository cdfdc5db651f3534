"""Under which key of the TPM a new one is made, and the password of that."""

import argparse
from collections.abc import Callable
from typing import TypeVar

from tpmwire.parents import describe_parent, parse_parent, with_parent_auth
from tpmwire.scripts import pins, prompts

T = TypeVar("T")


def add_options(parser: argparse._ActionsContainer) -> None:
    """Add the options that tell the parent."""
    parser.add_argument(
        "--parent",
        type=parent,
        metavar="PARENT",
        help="owner, endorsement, platform, null (a key for as long as the machine runs), or a "
        "persistent handle; default is 0x81000001 if the TPM has it, else owner",
    )
    parser.add_argument(
        "--parent-auth",
        type=pins.from_file,
        metavar="FILE",
        help="the first line of FILE is the password of that hierarchy or key; without this, it is "
        "asked for if the TPM wants one",
    )


def under(handle: int, options: argparse.Namespace, work: Callable[[bytes | None], T]) -> T:
    """Do work under a parent, with its password if the TPM wants one."""
    question = f"Password of {describe_parent(handle)}: "
    return with_parent_auth(work, options.parent_auth or (lambda: prompts.ask_pin(question)))


def parent(text: str) -> int:
    """Read a parent on the command line, for argparse."""
    try:
        return parse_parent(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
