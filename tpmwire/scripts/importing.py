"""tpmwire-keygen --import, --wrap-for, --export-parent: a key that exists already, for a TPM.

Here is what the command line says of them; keygen calls `bring_in` where one of them is wanted.
"""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import tpmwire
from tpmwire.client import Tpm
from tpmwire.constants import TPM_ALG, TPM_RH
from tpmwire.errors import AttestationError, DecodeError, KeyFileError, TpmError
from tpmwire.importable import import_file, is_supported, make_importable, make_loadable
from tpmwire.keyfile import LABEL, KeyFile
from tpmwire.names import object_name
from tpmwire.objects import LoadedObject
from tpmwire.parentfile import is_well_known, read_parent, write_parent
from tpmwire.parents import PERSISTENT_SRK, default_parent, open_parent
from tpmwire.pem import write_public_key
from tpmwire.scripts import console, files, outside, prompts
from tpmwire.scripts.console import UsageError, UserError
from tpmwire.scripts.outside import Found
from tpmwire.signatures import verify
from tpmwire.ssh.keys import (
    RSA_SHA2_256,
    fingerprint,
    public_blob,
    public_line,
    signature_algorithm,
)
from tpmwire.types.objects import TPMT_PUBLIC

PROGRAM = "tpmwire-keygen"

NewPin = Callable[[], bytes]

_ENDINGS = (".tpm", ".pem", ".key")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add = parser.add_argument_group("a key that exists already").add_argument
    add(
        *("-i", "--import"),
        dest="imported",
        metavar="FILE",
        help="let the TPM take in the private key in FILE: of OpenSSH, in PEM, or wrapped for it",
    )
    add(
        "--passphrase-fd",
        type=int,
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


def bring_in(options: argparse.Namespace, new_pin: NewPin) -> int:
    """Do what the options say; the exit code.  `new_pin` finds the PIN of the new key."""
    _check_usage(options)
    if options.export_parent:
        return _export_parent(options)
    data = outside.read_file(options.imported)
    if f"-----BEGIN {LABEL}-----".encode() in data:
        return _import_wrapped(options, data)
    found = outside.read_key(options.imported, data, options.passphrase_fd)
    (_wrap if options.wrap_for else _import)(options, found, new_pin)
    console.say(
        f"{PROGRAM}: {options.imported} still is the key: whoever has it, or a copy of it, signs "
        "without TPM and PIN. Once you have seen the new one work, destroy it and its backups."
    )
    return 0


def _check_usage(options: argparse.Namespace) -> None:
    if options.export_parent and (options.imported or options.wrap_for):
        raise UsageError("--export-parent stands alone")
    if not options.export_parent and not options.imported:
        raise UsageError("--wrap-for wants the key that shall be wrapped: --import FILE")
    if options.bits is not None:
        raise UsageError("-b is for new keys: this one has its size already")


# --- into this TPM -----------------------------------------------------------------------------


def _import(options: argparse.Namespace, found: Found, new_pin: NewPin) -> None:
    console.warn_of_emulator(PROGRAM, options.tpm)
    with tpmwire.open(options.tpm) as tpm:  # before anybody is asked anything
        if not is_supported(tpm, found.public):
            raise UserError(f"{options.imported}: this TPM takes no {found.kind} keys")
    place = _Place.choose(options, found.blob)
    pin = new_pin()
    try:
        with tpmwire.open(options.tpm) as tpm:
            made = _taken_in(tpm, found, options.parent, pin)
    except TpmError as error:
        if (error.command, error.subject, error.index) != ("Import", "parameter", 2):
            raise
        # Nobody asks a TPM beforehand what exponents it takes: it does not tell.
        raise UserError(f"{options.imported}: this TPM takes no {found.kind} keys") from None
    place.save(options, made, _comment(options, found.comment))


def _taken_in(tpm: Tpm, found: Found, handle: int | None, pin: bytes) -> KeyFile:
    handle = default_parent(tpm) if handle is None else handle
    with open_parent(tpm, handle) as parent:
        wrapped = make_importable(found.key, parent.public, handle, pin)
        made = make_loadable(parent, wrapped)
        with parent.load(made.private, made.public, pin) as key:
            _prove(key)
    return made


def _prove(key: LoadedObject) -> None:
    """See the TPM sign with what it has taken in, before anybody relies on it."""
    flags = RSA_SHA2_256 if key.public.type == TPM_ALG.RSA else 0
    algorithm, data = signature_algorithm(key.public, flags), os.urandom(32)
    signature = key.sign(algorithm.digest(data), algorithm.tpm_scheme)
    try:
        verify(key.public, data, signature)
    except AttestationError as error:
        raise UserError(f"the key does not sign in the TPM as it should: {error}") from None


def _import_wrapped(options: argparse.Namespace, data: bytes) -> int:
    if options.wrap_for:
        raise UsageError(f"{options.imported} is wrapped already: only its TPM can take it in")
    path = options.imported
    try:
        wrapped = KeyFile.from_pem(data)
        blob = public_blob(wrapped.public)
        place = _Place.choose(options, blob)
        console.warn_of_emulator(PROGRAM, options.tpm)
        with tpmwire.open(options.tpm) as tpm:
            made = import_file(tpm, wrapped, options.parent)
    except KeyFileError as error:
        raise UserError(f"{path}: {error}") from None
    own = outside.clean((wrapped.description or "").encode())
    place.save(options, made, _comment(options, own or outside.comment_beside(_stem(path), blob)))
    return 0


# --- for another TPM ---------------------------------------------------------------------------


def _wrap(options: argparse.Namespace, found: Found, new_pin: NewPin) -> None:
    try:
        parent = read_parent(outside.read_file(options.wrap_for))
    except KeyFileError as error:
        raise UserError(f"{options.wrap_for}: {error}") from None
    place = _Place.choose(options, found.blob)
    handle = _handle(parent) if options.parent is None else options.parent
    try:
        made = make_importable(found.key, parent, handle, new_pin())
    except DecodeError as error:
        raise UserError(f"{options.wrap_for}: {error.reason}") from None
    place.save(options, made, _comment(options, found.comment))
    if not options.quiet:
        console.report(PROGRAM, _WRAPPED.format(object_name(parent).hex()))


_WRAPPED = """\
Only the TPM with the parent of this Name can take it in, by tpmwire-keygen --import:
{}
Compare it with what --export-parent told there: anybody can make such a file."""


def _handle(parent: TPMT_PUBLIC) -> int:
    """Guess where a parent is in its TPM."""
    ecc = parent.type == TPM_ALG.ECC
    return TPM_RH.OWNER if ecc and is_well_known(parent) else PERSISTENT_SRK


def _export_parent(options: argparse.Namespace) -> int:
    path = options.export_parent
    files.check_directory(path)
    with tpmwire.open(options.tpm) as tpm:
        handle = default_parent(tpm) if options.parent is None else options.parent
        with open_parent(tpm, handle) as parent:
            public = parent.public
    overwrite = _may_write([path])
    content = _as_pem(public) if path.endswith(".pem") else write_parent(public)
    # What is no text comes out of a file as the octets that it was made of.
    text = content.decode("utf-8", "surrogateescape")
    files.write_together([(path, text, 0o644)], overwrite=overwrite)
    if not options.quiet:
        console.report(PROGRAM, _EXPORTED.format(path, object_name(public).hex()))
    return 0


_EXPORTED = """\
The public area of the parent has been saved in {}
Its Name is:
{}"""


def _as_pem(public: TPMT_PUBLIC) -> bytes:
    if not is_well_known(public):
        raise UserError(
            "PEM tells the key alone, not the rest of its public area, and this parent is not a "
            "well-known one: choose a name without .pem, for a TPM2B_PUBLIC"
        )
    return write_public_key(public).encode("ascii")


# --- where it goes -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """The files of a key: the private one, and the public one if it is to be written."""

    private: str
    public: str | None
    overwrite: bool

    @classmethod
    def choose(cls, options: argparse.Namespace, blob: bytes) -> Self:
        """Choose the place, and ask about files that stand in the way; UserError if they stay.

        The public key of the same key may stand there, and stays as it is.
        """
        base = options.file or _stem(options.imported)
        files.check_directory(base)
        known = outside.beside(base).split()[:2] == public_line(blob, "").encode().split()
        private, public = f"{base}.tpm", None if known else f"{base}.pub"
        return cls(private, public, _may_write([private, *filter(None, [public])]))

    def save(self, options: argparse.Namespace, keyfile: KeyFile, comment: str) -> None:
        """Write the files, and tell of them."""
        blob = public_blob(keyfile.public)
        contents = [(self.private, keyfile.to_pem(), 0o600)]
        news = [f"Your identification has been saved in {self.private}"]
        if self.public:
            contents.append((self.public, public_line(blob, comment), 0o644))
            news.append(f"Your public key has been saved in {self.public}")
        files.write_together(contents, overwrite=self.overwrite)
        news += ["The key fingerprint is:", f"{fingerprint(blob)} {comment}".rstrip()]
        if not options.quiet:
            console.report(PROGRAM, "\n".join(news))


def _may_write(paths: list[str]) -> bool:
    there = [path for path in paths if os.path.lexists(path)]
    for path in there:
        if not os.path.isfile(path):
            raise UserError(f"{path} is there and is no ordinary file")
        print(f"{path} already exists.")
    if there and not prompts.confirm("Overwrite (y/n)? "):
        raise UserError("nothing was changed")
    return bool(there)


def _stem(path: str) -> str:
    stem, ending = os.path.splitext(path)
    return stem if ending in _ENDINGS and os.path.basename(stem) else path


def _comment(options: argparse.Namespace, found: str) -> str:
    return found if options.comment is None else str(options.comment)
