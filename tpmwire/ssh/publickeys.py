"""SSH public keys, and verifying what was signed with them.  [RFC 4253, 6.6; RFC 5656; RFC 8709]

Ed25519, ECDSA and RSA.  What is signed by RSA over SHA-1 does not count.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tpmwire.constants import TPM_ALG
from tpmwire.crypto import hash_class, point_key
from tpmwire.errors import DecodeError, Error
from tpmwire.ssh.keys import CURVES, MIN_RSA_BITS, Curve, EcdsaNumbers, Signature
from tpmwire.ssh.wire import MPINT, STRING
from tpmwire.structure import Structure
from tpmwire.types.algorithms import TPMS_ECC_POINT

MAX_RSA_BITS = 16384
RSA_HASHES = {b"rsa-sha2-256": TPM_ALG.SHA256, b"rsa-sha2-512": TPM_ALG.SHA512}


class SignatureError(Error):
    """A signature is not that of the key over what is said to be signed."""


class Ed25519Fields(Structure):
    """What makes an Ed25519 key."""

    octets: STRING


class EcdsaFields(Structure):
    """What makes an ECDSA key."""

    curve: STRING
    point: STRING


class RsaFields(Structure):
    """What makes an RSA key."""

    e: MPINT
    n: MPINT


Fields = Ed25519Fields | EcdsaFields | RsaFields


class Start(Structure):
    """What each key begins with."""

    algorithm: STRING


@dataclass(frozen=True)
class PublicKey:
    """A public key.  Two are equal if their blobs are."""

    blob: bytes
    _check: Callable[[Signature, bytes], None] = field(repr=False, compare=False)

    def verify(self, signature: bytes, data: bytes) -> None:
        """Check an SSH signature of `data`; DecodeError or SignatureError if it does not count."""
        try:
            self._check(Signature.unpack(signature), data)
        except InvalidSignature:
            raise SignatureError("the signature is not that of the key over these octets") from None


def read_fields(algorithm: bytes, fields: Fields) -> PublicKey:
    """Make a key of its fields; DecodeError if they make none."""
    blob = Start(algorithm=algorithm).pack() + fields.pack()
    if isinstance(fields, Ed25519Fields):
        return PublicKey(blob, _ed25519(fields))
    if isinstance(fields, EcdsaFields):
        return PublicKey(blob, _ecdsa(algorithm, fields))
    return PublicKey(blob, _rsa(fields))


def read_key(blob: bytes) -> PublicKey:
    """Read a public key that is no certificate; DecodeError if it is not one that is known here."""
    algorithm = algorithm_of(blob)
    kind = FIELDS.get(algorithm)
    if kind is None:
        raise DecodeError(f"keys of type {algorithm!r} are not known here")
    return read_fields(algorithm, kind.unpack(blob[4 + len(algorithm) :]))


def algorithm_of(blob: bytes) -> bytes:
    """Read what a key begins with: the name of its type; DecodeError if there is none."""
    return Start.unpack(blob[: 4 + int.from_bytes(blob[:4], "big")]).algorithm


def _ed25519(fields: Ed25519Fields) -> Callable[[Signature, bytes], None]:
    try:
        key = Ed25519PublicKey.from_public_bytes(fields.octets)
    except ValueError:
        raise DecodeError("not an Ed25519 key") from None

    def check(signature: Signature, data: bytes) -> None:
        _expect(signature, b"ssh-ed25519")
        key.verify(signature.octets, data)

    return check


def _ecdsa(algorithm: bytes, fields: EcdsaFields) -> Callable[[Signature, bytes], None]:
    curve, key = _ecdsa_key(fields)
    if algorithm != b"ecdsa-sha2-" + curve.name:
        raise DecodeError(f"a key of type {algorithm!r} on curve {curve.name!r}")

    def check(signature: Signature, data: bytes) -> None:
        _expect(signature, algorithm)
        numbers = EcdsaNumbers.unpack(signature.octets)
        if numbers.r <= 0 or numbers.s <= 0:
            raise InvalidSignature
        octets = encode_dss_signature(numbers.r, numbers.s)
        key.verify(octets, data, ec.ECDSA(hash_class(curve.hash)()))

    return check


def _ecdsa_key(fields: EcdsaFields) -> tuple[Curve, ec.EllipticCurvePublicKey]:
    for curve_id, curve in CURVES.items():
        if curve.name == fields.curve:
            return curve, point_key(curve_id, _point(fields.point))
    raise DecodeError(f"curve {fields.curve!r} is not known here")


def _point(octets: bytes) -> TPMS_ECC_POINT:
    size = len(octets) // 2
    if octets[:1] != b"\x04" or len(octets) != 1 + 2 * size:
        raise DecodeError("not a point with both coordinates")
    return TPMS_ECC_POINT(x=octets[1 : 1 + size], y=octets[1 + size :])


def _rsa(fields: RsaFields) -> Callable[[Signature, bytes], None]:
    key = _rsa_key(fields)

    def check(signature: Signature, data: bytes) -> None:
        alg = RSA_HASHES.get(signature.algorithm)
        if alg is None:
            raise SignatureError(f"a signature by {signature.algorithm!r} does not count")
        # Some leave out leading zeros.
        octets = signature.octets.rjust((key.key_size + 7) // 8, b"\0")
        key.verify(octets, data, padding.PKCS1v15(), hash_class(alg)())

    return check


def _rsa_key(fields: RsaFields) -> rsa.RSAPublicKey:
    if not MIN_RSA_BITS <= fields.n.bit_length() <= MAX_RSA_BITS or fields.n < 0:
        raise DecodeError(f"an RSA key of {fields.n.bit_length()} bits")
    try:
        return rsa.RSAPublicNumbers(fields.e, fields.n).public_key()
    except (ValueError, OverflowError):
        raise DecodeError("not an RSA key") from None


def _expect(signature: Signature, algorithm: bytes) -> None:
    if signature.algorithm != algorithm:
        raise SignatureError(f"a signature by {signature.algorithm!r} is not one of this key")


FIELDS: dict[bytes, type[Fields]] = {
    b"ssh-ed25519": Ed25519Fields,
    b"ssh-rsa": RsaFields,
    **{b"ecdsa-sha2-" + curve.name: EcdsaFields for curve in CURVES.values()},
}
