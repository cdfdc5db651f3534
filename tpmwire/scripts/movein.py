"""A key that exists already moves into a TPM: this one, or wrapped for one elsewhere."""

import argparse
import os
from collections.abc import Callable

import tpmwire
from tpmwire.constants import TPM_ALG
from tpmwire.errors import AttestationError, KeyFileError, TpmError
from tpmwire.importable import check_inner_key, import_file, make_importable, make_loadable
from tpmwire.keyfile import LABEL, KeyFile
from tpmwire.objects import LoadedObject
from tpmwire.parents import default_parent, open_parent
from tpmwire.scripts import console, outside, parentage, pins
from tpmwire.scripts.console import UsageError, UserError
from tpmwire.scripts.outside import Found
from tpmwire.scripts.pins import Source
from tpmwire.scripts.place import comment_for, stem
from tpmwire.scripts.supporting import supports
from tpmwire.scripts.wrapping import choose_place, wrap_key
from tpmwire.signatures import verify
from tpmwire.ssh.keys import RSA_SHA2_256, public_blob, signature_algorithm

InnerKey = Callable[[KeyFile], bytes]
"""Finds the key of the inner wrapper of an importable file; nothing if it has none."""


def move_in(options: argparse.Namespace) -> int:
    """Import or wrap the key of a file; the exit code."""
    data = outside.read_file(options.imported)
    if f"-----BEGIN {LABEL}-----".encode() in data:
        return import_wrapped(options, data)
    found = outside.read_key(options.imported, data, options.passphrase_fd)
    (wrap_key if options.wrap_for else _import)(options, found, pins.for_new_key(options))
    console.say(
        f"{options.program}: {options.imported} still is the key: whoever has it, or a copy of it, "
        "signs without TPM and PIN. Once you have seen the new one work, destroy it and its "
        "backups."
    )
    return 0


def _import(options: argparse.Namespace, found: Found, new_pin: Source) -> None:
    console.warn_of_emulator(options.program, options.tpm)
    with tpmwire.open(options.tpm) as tpm:  # before anybody is asked anything
        if not supports(tpm, found.public):
            raise UserError(f"{options.imported}: this TPM takes no {found.kind} keys")
        handle = default_parent(tpm) if options.parent is None else options.parent
    place = choose_place(options, found.blob)
    pin = new_pin()

    def work(auth: bytes | None) -> KeyFile:
        with tpmwire.open(options.tpm) as tpm, open_parent(tpm, handle, auth=auth) as parent:
            return _taken_in(parent, found, handle, pin)

    try:
        made = parentage.under(handle, options, work)
    except TpmError as error:
        if (error.command, error.subject, error.index) != ("Import", "parameter", 2):
            raise
        # Nobody asks a TPM beforehand what exponents it takes: it does not tell.
        raise UserError(f"{options.imported}: this TPM takes no {found.kind} keys") from None
    place.save(options, made, comment_for(options, found.comment))


def _taken_in(parent: LoadedObject, found: Found, handle: int, pin: bytes) -> KeyFile:
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


def import_wrapped(
    options: argparse.Namespace, data: bytes, inner_key: InnerKey = lambda _: b""
) -> int:
    """Let the TPM take in the key of an importable file; the exit code."""
    if options.wrap_for:
        raise UsageError(f"{options.imported} is wrapped already: only its TPM can take it in")
    path = options.imported
    if options.new_pin is not None:
        raise UsageError(f"{path} keeps the PIN that it was wrapped with; -p can change that later")
    try:
        wrapped = KeyFile.from_pem(data)
        blob = public_blob(wrapped.public)
        place = choose_place(options, blob)
        console.warn_of_emulator(options.program, options.tpm)
        handle = wrapped.parent if options.parent is None else options.parent
        inner = inner_key(wrapped)
        check_inner_key(wrapped, inner)

        def work(auth: bytes | None) -> KeyFile:
            with tpmwire.open(options.tpm) as tpm:
                return import_file(tpm, wrapped, handle, auth, inner)

        made = parentage.under(handle, options, work)
    except KeyFileError as error:
        raise UserError(f"{path}: {error}") from None
    own = outside.clean(wrapped.description or "")
    place.save(options, made, comment_for(options, own or outside.comment_beside(stem(path), blob)))
    return 0
