"""SSH public keys, and verifying what was signed with them.  [RFC 4253, 6.6; RFC 5656; RFC 8709]

Ed25519, ECDSA and RSA, and the first two in authenticators of FIDO.  What is signed by RSA over
SHA-1 does not count.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tpmwire.constants import TPM_ALG
from tpmwire.crypto import ecc_point, hash_class, point_key
from tpmwire.digests import digest
from tpmwire.errors import DecodeError, Error
from tpmwire.softkeys import PublicKey as SoftKey
from tpmwire.ssh.keys import CURVES, MIN_RSA_BITS, Curve, EcdsaNumbers, Signature
from tpmwire.ssh.wire import MPINT, STRING, UINT8, UINT32
from tpmwire.structure import Structure
from tpmwire.types.algorithms import TPMS_ECC_POINT
from tpmwire.wire import Octets

ED25519, P256 = b"ssh-ed25519", b"ecdsa-sha2-nistp256"
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


class FidoEd25519Fields(Structure):
    """What makes an Ed25519 key of an authenticator.  [PROTOCOL.u2f]"""

    octets: STRING
    application: STRING


class FidoEcdsaFields(Structure):
    """What makes an ECDSA key of an authenticator.  [PROTOCOL.u2f]"""

    curve: STRING
    point: STRING
    application: STRING


class FidoSignature(Structure):
    """A signature by an authenticator, and what it says of itself.  [PROTOCOL.u2f]"""

    algorithm: STRING
    octets: STRING
    flags: UINT8
    counter: UINT32


class FidoSigned(Structure):
    """What an authenticator signs.  [PROTOCOL.u2f]"""

    application: Annotated[bytes, Octets(32)]
    flags: UINT8
    counter: UINT32
    data: Annotated[bytes, Octets(32)]


Fields = Ed25519Fields | EcdsaFields | RsaFields | FidoEd25519Fields | FidoEcdsaFields
Check = Callable[[bytes, bytes], None]
Made = tuple[Check, SoftKey | None]


class Start(Structure):
    """What each key begins with."""

    algorithm: STRING


@dataclass(frozen=True)
class PublicKey:
    """A public key.  Two are equal if their blobs are.

    `plain` is the key itself if it is one that a TPM could have, too.
    """

    blob: bytes
    _check: Check = field(repr=False, compare=False)
    plain: SoftKey | None = field(default=None, repr=False, compare=False)

    def verify(self, signature: bytes, data: bytes) -> None:
        """Check an SSH signature of `data`; DecodeError or SignatureError if it does not count."""
        try:
            self._check(signature, data)
        except InvalidSignature:
            raise SignatureError("the signature is not that of the key over these octets") from None


def read_fields(algorithm: bytes, fields: Fields) -> PublicKey:
    """Make a key of its fields; DecodeError if they make none."""
    blob = Start(algorithm=algorithm).pack() + fields.pack()
    return PublicKey(blob, *_made(algorithm, fields))


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


def _made(algorithm: bytes, fields: Fields) -> Made:
    """Make what checks signatures by a key, and the key itself."""
    match fields:
        case Ed25519Fields():
            return _ed25519(fields), None
        case EcdsaFields():
            return _ecdsa(algorithm, fields)
        case RsaFields():
            return _rsa(fields)
        case FidoEd25519Fields():
            inner = Ed25519Fields(octets=fields.octets)
            return _fido(algorithm, ED25519, _ed25519(inner), fields.application), None
    point = EcdsaFields(curve=fields.curve, point=fields.point)
    check, _ = _ecdsa(P256, point)
    return _fido(algorithm, P256, check, fields.application), None


def _ed25519(fields: Ed25519Fields) -> Check:
    try:
        key = Ed25519PublicKey.from_public_bytes(fields.octets)
    except ValueError:
        raise DecodeError("not an Ed25519 key") from None

    def check(octets: bytes, data: bytes) -> None:
        key.verify(_signature(octets, ED25519).octets, data)

    return check


def _ecdsa(algorithm: bytes, fields: EcdsaFields) -> Made:
    curve, key = _ecdsa_key(fields)
    if algorithm != b"ecdsa-sha2-" + curve.name:
        raise DecodeError(f"a key of type {algorithm!r} on curve {curve.name!r}")

    def check(octets: bytes, data: bytes) -> None:
        numbers = EcdsaNumbers.unpack(_signature(octets, algorithm).octets)
        if numbers.r <= 0 or numbers.s <= 0:
            raise InvalidSignature
        der = encode_dss_signature(numbers.r, numbers.s)
        key.verify(der, data, ec.ECDSA(hash_class(curve.hash)()))

    return check, key


def _fido(algorithm: bytes, inner: bytes, check_inner: Check, application: bytes) -> Check:
    """Make what checks signatures by an authenticator, which are of what it has put around them."""

    def check(octets: bytes, data: bytes) -> None:
        found = FidoSignature.unpack(octets)
        _expect(found.algorithm, algorithm)
        signed = FidoSigned(
            application=digest(TPM_ALG.SHA256, application),
            flags=found.flags,
            counter=found.counter,
            data=digest(TPM_ALG.SHA256, data),
        )
        check_inner(Signature(algorithm=inner, octets=found.octets).pack(), signed.pack())

    return check


def _ecdsa_key(fields: EcdsaFields) -> tuple[Curve, ec.EllipticCurvePublicKey]:
    for curve_id, curve in CURVES.items():
        if curve.name == fields.curve:
            return curve, _on_curve(curve_id, fields.point)
    raise DecodeError(f"curve {fields.curve!r} is not known here")


def _on_curve(curve_id: int, octets: bytes) -> ec.EllipticCurvePublicKey:
    middle = 1 + len(octets) // 2
    key = point_key(curve_id, TPMS_ECC_POINT(x=octets[1:middle], y=octets[middle:]))
    point = ecc_point(key)
    if octets != b"\x04" + point.x + point.y:
        raise DecodeError("not a point with both coordinates, as long as those of its curve")
    return key


def _rsa(fields: RsaFields) -> Made:
    key = _rsa_key(fields)

    def check(octets: bytes, data: bytes) -> None:
        signature = Signature.unpack(octets)
        alg = RSA_HASHES.get(signature.algorithm)
        if alg is None:
            raise SignatureError(f"a signature by {signature.algorithm!r} does not count")
        # Some leave out leading zeros.
        whole = signature.octets.rjust((key.key_size + 7) // 8, b"\0")
        key.verify(whole, data, padding.PKCS1v15(), hash_class(alg)())

    return check, key


def _rsa_key(fields: RsaFields) -> rsa.RSAPublicKey:
    if not MIN_RSA_BITS <= fields.n.bit_length() <= MAX_RSA_BITS:
        raise DecodeError(f"an RSA key of {fields.n.bit_length()} bits")
    try:
        return rsa.RSAPublicNumbers(fields.e, fields.n).public_key()
    except (ValueError, OverflowError):
        raise DecodeError("not an RSA key") from None


def _signature(octets: bytes, algorithm: bytes) -> Signature:
    signature = Signature.unpack(octets)
    _expect(signature.algorithm, algorithm)
    return signature


def _expect(algorithm: bytes, wanted: bytes) -> None:
    if algorithm != wanted:
        raise SignatureError(f"a signature by {algorithm!r} is not one of this key")


FIELDS: dict[bytes, type[Fields]] = {
    ED25519: Ed25519Fields,
    b"ssh-rsa": RsaFields,
    **{b"ecdsa-sha2-" + curve.name: EcdsaFields for curve in CURVES.values()},
    b"sk-ssh-ed25519@openssh.com": FidoEd25519Fields,
    b"sk-ecdsa-sha2-nistp256@openssh.com": FidoEcdsaFields,
}
