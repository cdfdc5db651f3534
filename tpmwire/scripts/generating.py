"""Making a key pair in the TPM, and its two files."""

import argparse
import contextlib
import getpass
import importlib
import os
import socket
from dataclasses import dataclass
from typing import Any, Protocol

import tpmwire
from tpmwire.client import Tpm
from tpmwire.keyfile import KeyFile
from tpmwire.parents import default_parent, open_parent
from tpmwire.scripts import console, letting, parentage, pins, prompts, storing, supporting
from tpmwire.scripts.console import UsageError
from tpmwire.scripts.place import Place
from tpmwire.scripts.supporting import CURVES
from tpmwire.templates import ecc_sign, rsa_sign, without_lockout
from tpmwire.types.objects import TPMT_PUBLIC

DEFAULT_TYPE = "ecdsa"
DEFAULT_BITS = {"ecdsa": 256, "rsa": 2048}


class Condition(Protocol):
    """A policy that a key is made with: what its use is bound to, or what lets it move."""

    def bind(self, template: TPMT_PUBLIC, pin: bytes) -> TPMT_PUBLIC:
        """Make a template of which the policy is a part."""

    def note(self, key: KeyFile, pin: bytes) -> KeyFile:
        """Write into a key file what the policy is."""


@dataclass(frozen=True)
class Order:
    """What key shall be made: its template, its parent, and its policy."""

    template: TPMT_PUBLIC
    parent: int
    condition: Condition | None = None

    def make(self, tpm: Tpm, pin: bytes, parent_auth: bytes | None = None) -> KeyFile:
        """Make the key in the TPM."""
        template = self.template if pin else without_lockout(self.template)
        if self.condition:
            template = self.condition.bind(template, pin)
        with open_parent(tpm, self.parent, auth=parent_auth) as storage:
            made = storage.create(template, auth=pin)
        key = KeyFile(
            public=made.outPublic,
            private=made.outPrivate,
            parent=self.parent,
            empty_auth=not pin,
            parent_name=storage.name,
        )
        return self.condition.note(key, pin) if self.condition else key


def add_options(parser: argparse._ActionsContainer) -> None:
    """Add the options that tell what key to make."""
    add = parser.add_argument
    add("-t", dest="type", choices=tuple(DEFAULT_BITS), help="type of key (ecdsa)")
    add("-b", dest="bits", type=int, help="size: 256, 384, 521 for ecdsa; 2048, 3072 ... for rsa")
    add(
        "-C",
        dest="comment",
        type=_comment,
        help="comment in NAME.pub; default is you@here, or that of the key that is imported",
    )


def run(options: argparse.Namespace) -> int:
    """Make a key as the command line says."""
    template = template_of(options.type, options.bits)
    new_pin = pins.for_new_key(options)
    console.warn_of_emulator(options.program, options.tpm)
    order = order_of(template, options)  # before anybody is asked anything
    # A program is not asked whether something may be overwritten.
    place = Place.choose(_base(options), may_ask=not options.json)
    pin = new_pin()
    _say(options, f"Generating public/private {options.type} key pair in the TPM.")
    key = fulfil(order, pin, options)
    place.save(options, key, options.comment)
    return 0


def order_of(template: TPMT_PUBLIC, options: argparse.Namespace) -> Order:
    """Put together what shall be made; UserError if the TPM cannot make it."""
    condition = _condition(options)
    with tpmwire.open(options.tpm) as tpm:
        supporting.check(tpm, template)
        parent = default_parent(tpm) if options.parent is None else options.parent
    return Order(template, parent, condition)


def _condition(options: argparse.Namespace) -> Condition | None:
    bound = bool(options.pcrs or options.policy_authority)
    if bound and letting.wanted(options):
        raise UsageError("a key is bound to PCRs or may move: no key file can tell both")
    chosen: Condition | None = None
    if bound:
        chosen = _binding().Binding.asked_for(options)
    elif letting.wanted(options):
        chosen = importlib.import_module("tpmwire.scripts.leaving").Leave.asked_for(options)
    return chosen


def _binding() -> Any:
    # Imported only for keys that are bound: it takes a good part of the time to make one.
    return importlib.import_module("tpmwire.scripts.binding")


def fulfil(order: Order, pin: bytes, options: argparse.Namespace) -> KeyFile:
    """Make a key, with signs of life, and with the password of the parent if it has one."""

    def work(parent_auth: bytes | None) -> KeyFile:
        with _signs_of_life(options), tpmwire.open(options.tpm) as tpm:
            return order.make(tpm, pin, parent_auth)

    return parentage.under(order.parent, options, work)


def template_of(kind: str, bits: int | None = None) -> TPMT_PUBLIC:
    """Find the template for a kind and size of key; UsageError if there is none."""
    size = DEFAULT_BITS[kind] if bits is None else bits
    if kind == "rsa":
        if not 1024 <= size <= 16384:
            raise UsageError(f"{size} is no size of an RSA key; try 2048 or 3072")
        return rsa_sign(size)
    if size not in CURVES:
        raise UsageError(f"{size} is no size of an ECDSA key; there are 256, 384 and 521")
    return ecc_sign(CURVES[size])


def _say(options: argparse.Namespace, text: str) -> None:
    if not (options.quiet or options.json):
        print(text, flush=True)


def _signs_of_life(options: argparse.Namespace) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if options.quiet else console.signs_of_life("The TPM works")


def _base(options: argparse.Namespace) -> str:
    """Choose the name of the files without their endings."""
    if options.file is not None:
        return str(options.file)
    directory = os.path.expanduser("~/.ssh")
    base = os.path.join(directory, f"id_tpm_{options.type}")
    if prompts.terminal() and not (options.quiet or options.json):
        answer = prompts.ask(f"Enter file in which to save the key ({base}): ")
        base = storing.base(answer) if answer else base
    if os.path.dirname(base) == directory:
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o700)
    return base


def default_comment() -> str:
    """Name the user and the machine, as ssh-keygen does."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _comment(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise UsageError("a comment is a single line")
    return text
