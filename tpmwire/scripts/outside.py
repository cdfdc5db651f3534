"""A private key of another program: its file, its passphrase, its comment."""

from dataclasses import dataclass

from tpmwire.crypto import PrivateKey
from tpmwire.errors import EncodeError, KeyFileError
from tpmwire.pem import PassphraseError, read_private_key
from tpmwire.scripts import console, prompts, storing
from tpmwire.scripts.console import UserError
from tpmwire.scripts.pins import Source
from tpmwire.softkeys import public_of, sensitive_of
from tpmwire.ssh.keys import key_type, public_blob
from tpmwire.ssh.openssh import look_at
from tpmwire.types.objects import TPMS_RSA_PARMS, TPMT_PUBLIC

TRIES = 3  # how often a passphrase is asked for
MAX_FILE = 1 << 20


@dataclass(frozen=True)
class Found:
    """A key that exists outside a TPM, and what a TPM and SSH make of it."""

    key: PrivateKey
    public: TPMT_PUBLIC
    blob: bytes
    comment: str

    @property
    def kind(self) -> str:
        """What kind of key it is, in words."""
        parameters = self.public.parameters
        if not isinstance(parameters, TPMS_RSA_PARMS):
            return key_type(self.blob)
        exponent = f" with exponent {parameters.exponent}" if parameters.exponent else ""
        return f"RSA-{parameters.keyBits}{exponent}"


def read_key(path: str, data: bytes, passphrase: Source | None = None) -> Found:
    """Read a private key, with its passphrase if it wants one; UserError if no TPM can have it."""
    try:
        outside = look_at(data)
        if outside and not outside.key_type.startswith(("ecdsa-sha2-", "ssh-rsa")):
            raise UserError(f"{path}: no TPM has {outside.key_type} keys, only RSA and ECDSA")
        key = _decrypted(path, data, passphrase)
        public = public_of(key)
        sensitive_of(key)
    except KeyFileError as error:
        raise UserError(f"{path}: {error}") from None
    except EncodeError as error:
        raise UserError(f"{path}: {error.reason}") from None
    blob = public_blob(public)
    comment = clean(outside.comment.decode("utf-8", "replace")) if outside else ""
    return Found(key, public, blob, comment or comment_beside(path, blob))


def _decrypted(path: str, data: bytes, passphrase: Source | None) -> PrivateKey:
    try:
        return read_private_key(data)
    except PassphraseError:
        if passphrase is not None:
            return read_private_key(data, passphrase())
    if not prompts.can_ask_pin():
        raise UserError(f"{path}: nobody can be asked for its passphrase; --passphrase-fd reads it")
    for _ in range(TRIES - 1):
        try:
            return _asked(path, data)
        except PassphraseError as error:
            console.say(f"{path}: {error}. Try again.")
    return _asked(path, data)


def _asked(path: str, data: bytes) -> PrivateKey:
    return read_private_key(data, prompts.ask_pin(f"Enter passphrase for {path}: "))


def comment_beside(path: str, blob: bytes) -> str:
    """Find the comment in the public key file beside a key, if it is that of the same key."""
    return clean(storing.public_beside(path).comment_for(blob))


def clean(comment: str) -> str:
    """Make one line of a comment, with nothing in it that a terminal would obey."""
    return " ".join("".join(c if c.isprintable() else " " for c in comment).split())


def read_file(path: str) -> bytes:
    """Read a file that should be small enough to hold a key; OSError or UserError."""
    with open(path, "rb") as file:
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise UserError(f"{path}: too long to hold a key")
    return data
