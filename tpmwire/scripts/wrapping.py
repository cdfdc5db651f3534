"""A key for the TPM of another machine: wrapped for a parent there, which was exported there."""

import argparse

import tpmwire
from tpmwire.constants import TPM_ALG, TPM_RH
from tpmwire.errors import DecodeError, KeyFileError
from tpmwire.importable import make_importable
from tpmwire.names import object_name
from tpmwire.parentfile import is_well_known, read_parent, write_parent
from tpmwire.parents import PERSISTENT_SRK, default_parent, open_parent
from tpmwire.pem import write_public_key
from tpmwire.scripts import console, files, parentage
from tpmwire.scripts.console import UserError
from tpmwire.scripts.outside import Found, read_file
from tpmwire.scripts.pins import Source
from tpmwire.scripts.place import Place, comment_for, may_write, stem
from tpmwire.types.objects import TPMT_PUBLIC


def wrap_key(options: argparse.Namespace, found: Found, new_pin: Source) -> None:
    """Wrap a key for a parent, without a TPM."""
    try:
        parent = read_parent(read_file(options.wrap_for))
    except KeyFileError as error:
        raise UserError(f"{options.wrap_for}: {error}") from None
    place = choose_place(options, found.blob)
    handle = _handle(parent) if options.parent is None else options.parent
    try:
        made = make_importable(found.key, parent, handle, new_pin())
    except DecodeError as error:
        raise UserError(f"{options.wrap_for}: {error.reason}") from None
    place.save(options, made, comment_for(options, found.comment))
    if not options.quiet:
        console.report(options.program, _WRAPPED.format(object_name(parent).hex()))


def choose_place(options: argparse.Namespace, blob: bytes) -> Place:
    """Choose where a key goes that exists already: as told, or beside the file that it is in."""
    return Place.choose(options.file or stem(options.imported), blob)


_WRAPPED = """\
Only the TPM with the parent of this Name can take it in, by tpmwire-keygen --import:
{}
Compare it with what --export-parent told there: anybody can make such a file."""


def _handle(parent: TPMT_PUBLIC) -> int:
    """Guess where a parent is in its TPM."""
    ecc = parent.type == TPM_ALG.ECC
    return TPM_RH.OWNER if ecc and is_well_known(parent) else PERSISTENT_SRK


def export_parent(options: argparse.Namespace) -> int:
    """Write the public area of a parent; the exit code."""
    path = options.export_parent
    files.check_directory(path)
    with tpmwire.open(options.tpm) as tpm:
        handle = default_parent(tpm) if options.parent is None else options.parent

    def work(auth: bytes | None) -> TPMT_PUBLIC:
        with tpmwire.open(options.tpm) as tpm, open_parent(tpm, handle, auth=auth) as parent:
            return parent.public

    public = parentage.under(handle, options, work)
    overwrite = may_write([path])
    content = _as_pem(public) if path.endswith(".pem") else write_parent(public)
    # What is no text comes out of a file as the octets that it was made of.
    text = content.decode("utf-8", "surrogateescape")
    files.write_together([(path, text, 0o644)], overwrite=overwrite)
    if not options.quiet:
        console.report(options.program, _EXPORTED.format(path, object_name(public).hex()))
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
