"""Detached signatures as the octets that other programs make and take.

An ECDSA signature is r and s side by side (raw, as JOSE, WebAuthn and PKCS #11 have it), or a
SEQUENCE of them in DER (as OpenSSL has it).  An RSA signature is what it is.
[IEEE 1363, E.3; RFC 3279, 2.2.3; RFC 8017, 8.2]
"""

from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from tpmwire.constants import TPM_ALG
from tpmwire.crypto import ecc_key
from tpmwire.errors import DecodeError
from tpmwire.types.algorithms import TPMS_SIGNATURE_ECC, TPMS_SIGNATURE_RSA, TPMT_SIGNATURE
from tpmwire.types.objects import TPMT_PUBLIC


def raw(public: TPMT_PUBLIC, made: TPMT_SIGNATURE) -> bytes:
    """Write a signature of a key, r and s as long as the field of its curve."""
    signature = made.signature
    if isinstance(signature, TPMS_SIGNATURE_RSA):
        return signature.sig
    size = _field_size(public)
    return b"".join(number.to_bytes(size, "big") for number in _numbers(made))


def asn1(made: TPMT_SIGNATURE) -> bytes:
    """Write a signature, r and s in DER."""
    signature = made.signature
    if isinstance(signature, TPMS_SIGNATURE_RSA):
        return signature.sig
    return encode_dss_signature(*_numbers(made))


def read(public: TPMT_PUBLIC, octets: bytes, hash_alg: TPM_ALG) -> TPMT_SIGNATURE:
    """Read what should be a signature of a key over a digest, in either form.

    DecodeError if it can be none.  Where r and s stand side by side, that they are DER too is as
    good as impossible.
    """
    if public.type == TPM_ALG.RSA:
        return TPMT_SIGNATURE(
            sigAlg=TPM_ALG.RSASSA, signature=TPMS_SIGNATURE_RSA(hash=hash_alg, sig=octets)
        )
    return ecdsa(public, *_read_numbers(octets, _field_size(public)), hash_alg)


def ecdsa(public: TPMT_PUBLIC, r: int, s: int, hash_alg: TPM_ALG) -> TPMT_SIGNATURE:
    """Make an ECDSA signature of its numbers; DecodeError if they are none of the key's curve."""
    size = _field_size(public)
    if not (0 < r < 1 << 8 * size and 0 < s < 1 << 8 * size):
        raise DecodeError("its numbers are not those of a signature on the key's curve")
    signature = TPMS_SIGNATURE_ECC(
        hash=hash_alg, signatureR=r.to_bytes(size, "big"), signatureS=s.to_bytes(size, "big")
    )
    return TPMT_SIGNATURE(sigAlg=TPM_ALG.ECDSA, signature=signature)


def _read_numbers(octets: bytes, size: int) -> tuple[int, int]:
    try:
        return decode_dss_signature(octets)
    except ValueError:
        if len(octets) != 2 * size:
            raise DecodeError(f"neither DER nor two numbers of {size} octets") from None
    return int.from_bytes(octets[:size], "big"), int.from_bytes(octets[size:], "big")


def _numbers(made: TPMT_SIGNATURE) -> tuple[int, int]:
    signature = made.signature
    if not isinstance(signature, TPMS_SIGNATURE_ECC):
        raise DecodeError(f"a signature by {made.sigAlg!r} has no form of this kind")
    r, s = signature.signatureR, signature.signatureS
    return int.from_bytes(r, "big"), int.from_bytes(s, "big")


def _field_size(public: TPMT_PUBLIC) -> int:
    return (ecc_key(public).curve.key_size + 7) // 8
