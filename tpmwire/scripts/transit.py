"""Keys on their way: the file that is sent, and the key of its inner wrapper in another one."""

import argparse

from tpmwire.constants import TPM_ALG, TPM_RH
from tpmwire.errors import KeyFileError
from tpmwire.keyfile import KeyFile
from tpmwire.moving import Sent
from tpmwire.parentfile import is_well_known
from tpmwire.parents import PERSISTENT_SRK
from tpmwire.scripts import console, files, parentage, prompts, streams
from tpmwire.scripts.console import UserError
from tpmwire.types.objects import TPMT_PUBLIC

ENDING = ".transit"


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the options that tell for whom a key is wrapped, and where the file goes."""
    add = parser.add_argument
    told = "the new parent: a file that tpmwire parent export has written there"
    add("--to", required=True, metavar="PARENT", help=told)
    add("-o", dest="output", required=True, metavar="FILE", help="the importable file to write")
    add(
        "--at",
        type=parentage.parent,
        metavar="HANDLE",
        help="where that parent is in its TPM: owner, or a persistent handle; default is owner for "
        "a well-known ECC parent, else 0x81000001",
    )


def place_of(options: argparse.Namespace, parent: TPMT_PUBLIC) -> int:
    """Tell where a parent is in its TPM, or guess."""
    if options.at is not None:
        return int(options.at)
    ecc = parent.type == TPM_ALG.ECC
    return TPM_RH.OWNER if ecc and is_well_known(parent) else PERSISTENT_SRK


def read(path: str) -> KeyFile:
    """Read a key file; UserError if it is none, or OSError."""
    try:
        return KeyFile.from_pem(streams.read_small(path))
    except KeyFileError as error:
        raise UserError(f"{path}: {error}") from None


def key_path(options: argparse.Namespace) -> str:
    """Name the file of the key of the inner wrapper."""
    return str(options.transit_key or f"{options.output}{ENDING}")


def save(options: argparse.Namespace, sent: Sent) -> None:
    """Write what was wrapped, and the key of its inner wrapper; nothing that is there is lost."""
    contents = [(options.output, sent.keyfile.to_pem(), 0o600)]
    if sent.inner_key:
        contents.append((key_path(options), f"{sent.inner_key.hex()}\n", 0o600))
    files.write_together(contents)


def inner_key(path: str | None, keyfile: KeyFile) -> bytes:
    """Read the key of the inner wrapper of a file, or ask for it if there is one; UserError."""
    if path is None and not keyfile.inner.keyBits:
        return b""
    if path is None:
        text = prompts.ask_pin("Transit key (hexadecimal): ")
    else:
        text = streams.read_small(path)
    try:
        return bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        name = "that" if path is None else path
        raise UserError(f"{name}: no transit key in hexadecimal") from None


def add_tpm(parser: argparse.ArgumentParser) -> None:
    """Add the option that tells the TPM."""
    parser.add_argument("--tpm", type=console.conf, metavar="CONF", help=console.TPM_HELP)
