"""The passwords that a policy wants before its key may go: given, or asked for."""

import argparse
from collections.abc import Callable
from typing import TypeVar

from tpmwire.constants import TPM_RH
from tpmwire.errors import PolicyError
from tpmwire.keyfile import KeyFile
from tpmwire.moving import Auths, hierarchies_in
from tpmwire.parents import describe_parent
from tpmwire.policy import AuthValue, Path
from tpmwire.scripts import parentage, pins, prompts

T = TypeVar("T")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that tell passwords."""
    add = parser.add_argument
    line = "the first line of FILE is the password of the "
    told = f"{line}key's parent; else it is asked for if the TPM wants one"
    add("--parent-auth", type=pins.from_file, metavar="FILE", help=told)
    told = f"{line}owner hierarchy; else it is asked for if the policy wants one"
    add("--owner-auth", type=pins.from_file, metavar="FILE", help=told)


def authorized(
    options: argparse.Namespace, keyfile: KeyFile, way: Path, work: Callable[[Auths], T]
) -> T:
    """Do work that wants what stands on a way through a policy.

    Hierarchies are first tried with what was given, or with no password: that costs nothing, as
    they are not counted by the protection against guessing.
    """
    wants_pin = any(isinstance(step, AuthValue) for step in way.steps) and not keyfile.empty_auth
    pin = prompts.ask_pin("PIN of the key: ") if wants_pin else b""
    owner = options.owner_auth and options.owner_auth()
    given: dict[int, bytes] = {TPM_RH.OWNER: owner} if owner else {}
    if owner and keyfile.parent == TPM_RH.OWNER and options.parent_auth is None:
        options.parent_auth = lambda: owner

    def attempt(hierarchies: dict[int, bytes]) -> T:
        return parentage.under(
            keyfile.parent, options, lambda auth: work(Auths(auth, pin, hierarchies))
        )

    missing = [handle for handle in hierarchies_in(way) if handle not in given]
    try:
        return attempt(given)
    except PolicyError:
        if not missing or not prompts.can_ask_pin():
            raise
    return attempt(given | {handle: _ask(handle) for handle in missing})


def _ask(handle: int) -> bytes:
    return prompts.ask_pin(f"Password of {describe_parent(handle)}, by which the key goes: ")
