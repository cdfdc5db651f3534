"""Ciphers and shared secrets: pure functions on octets.  [Part 1, annexes B and C]

What has to do with hashes alone is in `digests`.  Random numbers come from this machine, never from
the TPM that they are to protect us from.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import Camellia, TripleDES
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES, SM4

from tpmwire.constants import TPM_ALG, TPM_ECC
from tpmwire.digests import HASHES, digest_size, kdfa, kdfe
from tpmwire.errors import DecodeError
from tpmwire.types.algorithms import TPMS_ECC_POINT, TPMS_SCHEME_HASH
from tpmwire.types.objects import TPMS_ECC_PARMS, TPMS_RSA_PARMS, TPMT_PUBLIC

_CIPHERS: dict[int, type[BlockCipherAlgorithm]] = {
    TPM_ALG.AES: AES,
    TPM_ALG.SM4: SM4,
    TPM_ALG.CAMELLIA: Camellia,
    TPM_ALG.TDES: TripleDES,
}

CURVES: dict[int, type[ec.EllipticCurve]] = {
    TPM_ECC.NIST_P192: ec.SECP192R1,
    TPM_ECC.NIST_P224: ec.SECP224R1,
    TPM_ECC.NIST_P256: ec.SECP256R1,
    TPM_ECC.NIST_P384: ec.SECP384R1,
    TPM_ECC.NIST_P521: ec.SECP521R1,
}


@dataclass(frozen=True)
class Shared:
    """A secret that only the holder of a key can know too, and what tells it to them."""

    secret: bytes = field(repr=False)
    encrypted: bytes


NOTHING = Shared(b"", b"")

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def block_size(alg: int) -> int:
    """Tell how many octets a block of the cipher has; DecodeError for an unknown cipher."""
    return int(_cipher(alg).block_size) // 8


def cfb_encrypt(alg: int, key: bytes, iv: bytes, data: bytes) -> bytes:
    """Encrypt in CFB mode; DecodeError for a cipher or size of key that is unknown here."""
    with _known(f"cipher {alg:#06x} with a key of {8 * len(key)} bits"):
        encryptor = Cipher(_cipher(alg)(key), CFB(iv)).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def cfb_decrypt(alg: int, key: bytes, iv: bytes, data: bytes) -> bytes:
    """Decrypt in CFB mode; DecodeError for a cipher or size of key that is unknown here."""
    with _known(f"cipher {alg:#06x} with a key of {8 * len(key)} bits"):
        decryptor = Cipher(_cipher(alg)(key), CFB(iv)).decryptor()
    return decryptor.update(data) + decryptor.finalize()


def xor(alg: int, key: bytes, u: bytes, v: bytes, data: bytes) -> bytes:
    """Obfuscate with a mask from a key; twice gives the data.  [Part 1, 11.4.7.3]"""
    mask = kdfa(alg, key, b"XOR", u, v, 8 * len(data))
    return bytes(one ^ other for one, other in zip(data, mask, strict=True))


def share_secret(public: TPMT_PUBLIC, label: bytes) -> Shared:
    """Make a secret for the TPM that has the key, by OAEP or ECDH.  [Part 1, B.10.2, C.6.2]

    `label` tells what it is for: SECRET for a session's salt, DUPLICATE or IDENTITY for a seed.  It
    is as long as a digest of the key's name algorithm.  DecodeError if the key is of a kind or size
    that cannot be used on this machine.
    """
    parameters, unique = public.parameters, public.unique
    if isinstance(parameters, TPMS_RSA_PARMS) and isinstance(unique, bytes):
        secret = secrets.token_bytes(digest_size(public.nameAlg))
        return Shared(secret, rsa_encrypt(public, label, secret))
    if isinstance(parameters, TPMS_ECC_PARMS) and isinstance(unique, TPMS_ECC_POINT):
        ephemeral = ec.generate_private_key(curve(parameters.curveID))
        point = ecc_point(ephemeral.public_key())
        z = ephemeral.exchange(ec.ECDH(), ecc_key(public))
        return Shared(ecdh_seed(public, label, z, point), point.pack())
    raise DecodeError(f"a key of type {public.type!r} cannot share a secret")


def rsa_encrypt(public: TPMT_PUBLIC, label: bytes, secret: bytes) -> bytes:
    """Encrypt a secret for the TPM that has the key; DecodeError if the key is not fit for it."""
    key, padding_of_secret = rsa_key(public), oaep(public, label)
    try:
        return key.encrypt(secret, padding_of_secret)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DecodeError(f"not an RSA key that can encrypt a secret: {error}") from None


def recover_secret(
    private: PrivateKey, public: TPMT_PUBLIC, label: bytes, encrypted: bytes
) -> bytes:
    """Find the secret that was shared with the holder of a private key; the TPM's part, outside it.

    DecodeError if what is encrypted is not a secret for this key.
    """
    if isinstance(private, rsa.RSAPrivateKey):
        secret = _rsa_decrypt(private, oaep(public, label), encrypted)
    else:
        point = TPMS_ECC_POINT.unpack(encrypted)
        z = _agreed(private, point)
        secret = ecdh_seed(public, label, z, point)
    if len(secret) != digest_size(public.nameAlg):
        raise DecodeError("the secret is not as long as a digest of the key's name algorithm")
    return secret


def _rsa_decrypt(private: rsa.RSAPrivateKey, scheme: padding.OAEP, encrypted: bytes) -> bytes:
    try:
        return private.decrypt(encrypted, scheme)
    except (ValueError, UnsupportedAlgorithm):
        raise DecodeError("not a secret that was encrypted for this key") from None


def _agreed(private: ec.EllipticCurvePrivateKey, point: TPMS_ECC_POINT) -> bytes:
    x, y = int.from_bytes(point.x, "big"), int.from_bytes(point.y, "big")
    try:
        other = ec.EllipticCurvePublicNumbers(x, y, private.curve).public_key()
        return private.exchange(ec.ECDH(), other)
    except ValueError as error:
        raise DecodeError(f"not a secret that was encrypted for this key: {error}") from None


def ecdh_seed(public: TPMT_PUBLIC, label: bytes, z: bytes, ephemeral: TPMS_ECC_POINT) -> bytes:
    """Derive the secret from a shared x-coordinate `z`; the ephemeral key is the first party."""
    unique = public.unique
    if not isinstance(unique, TPMS_ECC_POINT):
        raise DecodeError("a shared point is of no use to a key that is none")
    bits = 8 * digest_size(public.nameAlg)
    # A TPM may leave out leading zeros of a coordinate; what is hashed has them.
    x = unique.x.rjust(len(z), b"\0")
    return kdfe(public.nameAlg, z, label, ephemeral.x.rjust(len(z), b"\0"), x, bits)


def oaep(public: TPMT_PUBLIC, label: bytes) -> padding.OAEP:
    """Choose the padding of a secret: by the key's scheme, else by its name algorithm."""
    scheme = public.parameters.scheme if isinstance(public.parameters, TPMS_RSA_PARMS) else None
    alg: int = public.nameAlg
    if scheme and isinstance(scheme.details, TPMS_SCHEME_HASH) and scheme.scheme == TPM_ALG.OAEP:
        alg = scheme.details.hashAlg
    mgf = padding.MGF1(hash_class(alg)())
    return padding.OAEP(mgf=mgf, algorithm=hash_class(alg)(), label=label + b"\0")


def rsa_key(public: TPMT_PUBLIC) -> rsa.RSAPublicKey:
    """Make an RSA public key of a public area; DecodeError if it is none."""
    parameters, unique = public.parameters, public.unique
    if not (isinstance(parameters, TPMS_RSA_PARMS) and isinstance(unique, bytes)):
        raise DecodeError("not an RSA key")
    try:
        numbers = rsa.RSAPublicNumbers(parameters.exponent or 65537, int.from_bytes(unique, "big"))
        return numbers.public_key()
    except ValueError as error:
        raise DecodeError(f"not an RSA key: {error}") from None


def ecc_key(public: TPMT_PUBLIC) -> ec.EllipticCurvePublicKey:
    """Make an ECC public key of a public area; DecodeError if it is none."""
    parameters, unique = public.parameters, public.unique
    if not (isinstance(parameters, TPMS_ECC_PARMS) and isinstance(unique, TPMS_ECC_POINT)):
        raise DecodeError("not an ECC key")
    return point_key(parameters.curveID, unique)


def point_key(curve_id: int, point: TPMS_ECC_POINT) -> ec.EllipticCurvePublicKey:
    """Make a public key of a point, which must be on its curve; DecodeError if it is not."""
    x, y = int.from_bytes(point.x, "big"), int.from_bytes(point.y, "big")
    numbers = ec.EllipticCurvePublicNumbers(x, y, curve(curve_id))
    try:
        key = numbers.public_key()
    except ValueError as error:
        raise DecodeError(f"not an ECC key: {error}") from None
    # Coordinates beyond the field are taken for what is left of them.
    if key.public_numbers() != numbers:
        raise DecodeError("not an ECC key: a coordinate is not in the field of the curve")
    return key


def ecc_point(key: ec.EllipticCurvePublicKey) -> TPMS_ECC_POINT:
    """Write a public key as a point, its coordinates as long as the curve's field."""
    numbers, size = key.public_numbers(), (key.curve.key_size + 7) // 8
    return TPMS_ECC_POINT(x=numbers.x.to_bytes(size, "big"), y=numbers.y.to_bytes(size, "big"))


def curve(curve_id: int) -> ec.EllipticCurve:
    """Find a curve; DecodeError if this machine does not have it."""
    found = CURVES.get(curve_id)
    if found is None:
        raise DecodeError(f"curve {curve_id!r} is not known on this machine")
    return found()


def hash_class(alg: int) -> type[hashes.HashAlgorithm]:
    """Find what `cryptography` calls a hash; DecodeError if it does not know it."""
    found = getattr(hashes, HASHES.get(alg, "").upper(), None)
    if found is None:
        raise DecodeError(f"hash algorithm {alg:#06x} is not known on this machine")
    return found  # type: ignore[no-any-return]


@contextmanager
def _known(what: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, UnsupportedAlgorithm):
        raise DecodeError(f"{what} is not known on this machine") from None


def _cipher(alg: int) -> Any:
    found = _CIPHERS.get(alg)
    if found is None:
        raise DecodeError(f"cipher {alg:#06x} is not known on this machine")
    return found
