"""The keys of policy authorities, in files of other programs."""

from tpmwire.crypto import PrivateKey
from tpmwire.errors import Error, KeyFileError
from tpmwire.pem import PassphraseError, read_private_key, read_public_key
from tpmwire.scripts import prompts, storing
from tpmwire.scripts.console import UserError
from tpmwire.softkeys import public_of
from tpmwire.types.objects import TPMT_PUBLIC


def read_public(path: str) -> TPMT_PUBLIC:
    """Read a public key as a TPM knows it.  Raises UserError, or OSError."""
    try:
        return public_of(read_public_key(storing.read_octets(path)))
    except Error as error:
        raise UserError(f"{path}: {error}") from None


def read_private(path: str) -> PrivateKey:
    """Read a private key, whose passphrase is asked for if it has one; UserError, or OSError."""
    octets = storing.read_octets(path)
    try:
        try:
            return read_private_key(octets)
        except PassphraseError:
            passphrase = prompts.ask_pin(f"Passphrase of {path}: ")
        return read_private_key(octets, passphrase)
    except KeyFileError as error:
        raise UserError(f"{path}: {error}") from None
