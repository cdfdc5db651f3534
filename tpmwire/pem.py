"""Keys of programs that know nothing of TPMs, in their files: private ones, and public ones."""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from tpmwire.constants import TPM_ALG
from tpmwire.crypto import PrivateKey, ecc_key, rsa_key
from tpmwire.errors import KeyFileError
from tpmwire.softkeys import PublicKey
from tpmwire.types.objects import TPMT_PUBLIC

_OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----"


class PassphraseError(KeyFileError):
    """A private key is encrypted, and its passphrase was not given, or another one."""


def read_private_key(data: bytes, passphrase: bytes | None = None) -> PrivateKey:
    """Read a private key in OpenSSH's own format, PKCS#8, SEC1 or PKCS#1, encrypted or not.

    Raises PassphraseError if it is encrypted and this is not its passphrase, KeyFileError if there
    is no key in it, or one that no TPM can have.
    """
    load = (
        serialization.load_ssh_private_key
        if _OPENSSH in data
        else serialization.load_pem_private_key
    )
    # What `cryptography` has to say of a private key stays untold: it is not meant for people, and
    # it could tell a part of it.
    try:
        return _usable(load(data, passphrase))
    except TypeError:
        raise PassphraseError("the key is encrypted: its passphrase is wanted") from None
    except UnsupportedAlgorithm as error:
        raise KeyFileError(_unsupported(error)) from None
    except (ValueError, NotImplementedError):  # the latter for a compressed point
        if passphrase is not None:
            raise PassphraseError("the passphrase is wrong, or the file is damaged") from None
        raise KeyFileError("no private key that could be read in it") from None


def read_public_key(data: bytes) -> PublicKey:
    """Read a SubjectPublicKeyInfo in PEM [RFC 7468, 13], or the line of a .pub file of OpenSSH.

    KeyFileError if there is no key of RSA or ECC.
    """
    is_pem = data.lstrip().startswith(b"-----BEGIN")
    load = serialization.load_pem_public_key if is_pem else serialization.load_ssh_public_key
    try:
        key = load(data)
    except (ValueError, NotImplementedError, UnsupportedAlgorithm):
        raise KeyFileError("no public key that could be read in it") from None
    if not isinstance(key, PublicKey):
        raise KeyFileError(f"no TPM has {_kind(key)} keys")
    return key


def write_public_key(public: TPMT_PUBLIC) -> str:
    """Write the key of a public area as a SubjectPublicKeyInfo, which is all that it tells.

    DecodeError if it is not an RSA or ECC key that this machine can use.
    """
    key = rsa_key(public) if public.type == TPM_ALG.RSA else ecc_key(public)
    octets = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return octets.decode("ascii")


def write_private_key(key: PrivateKey) -> str:
    """Write a private key in clear, as PKCS#8."""
    octets = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return octets.decode("ascii")


def _usable(key: PrivateKeyTypes | serialization.SSHPrivateKeyTypes) -> PrivateKey:
    if not isinstance(key, PrivateKey):
        raise KeyFileError(f"no TPM has {_kind(key)} keys, only RSA and ECDSA")
    return key


def _kind(key: object) -> str:
    """Name the kind of a key by its class: Ed25519PrivateKey, DSAPublicKey, ..."""
    name = type(key).__name__.lstrip("_")
    return name.removesuffix("PrivateKey").removesuffix("PublicKey")


def _unsupported(error: UnsupportedAlgorithm) -> str:
    if "bcrypt" in str(error):
        return (
            "opening an encrypted key of OpenSSH wants the Python package bcrypt; without it, "
            "`ssh-keygen -p -m PKCS8 -f COPY` writes a copy, encrypted too, that can be opened"
        )
    return "the key is of a kind, or encrypted in a way, that this machine does not know"
