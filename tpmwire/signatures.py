"""Verifying what a key of a TPM has signed: RSASSA, RSAPSS, ECDSA and HMAC.

What cannot be verified is refused: a signature of another scheme than the key is bound to, of a
scheme that is unknown here (ECDAA, SM2, ECSCHNORR), or none at all.
"""

from collections.abc import Callable

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from tpmwire.constants import TPM_ALG
from tpmwire.crypto import ecc_key, hash_class, rsa_key
from tpmwire.digests import digest, equal, hmac
from tpmwire.errors import AttestationError, DecodeError
from tpmwire.types.algorithms import (
    TPMS_SCHEME_HASH,
    TPMS_SIGNATURE_ECC,
    TPMS_SIGNATURE_RSA,
    TPMT_SIGNATURE,
)
from tpmwire.types.objects import TPMS_ECC_PARMS, TPMS_KEYEDHASH_PARMS, TPMS_RSA_PARMS, TPMT_PUBLIC
from tpmwire.types.structures import TPMT_HA


def verify(
    public: TPMT_PUBLIC, octets: bytes, signature: TPMT_SIGNATURE, hmac_key: bytes | None = None
) -> int:
    """Check that the holder of a key has signed these octets; return the hash that was used.

    `hmac_key` is what an HMAC key consists of, where the key is one.  AttestationError tells why
    the signature does not count.
    """
    return _verify(public, lambda hash_alg: digest(hash_alg, octets), signature, hmac_key)


def verify_digest(public: TPMT_PUBLIC, hashed: bytes, signature: TPMT_SIGNATURE) -> int:
    """Check that the holder of a key has signed what has this digest; return its hash.

    AttestationError tells why the signature does not count.
    """
    return _verify(public, lambda _: hashed, signature, None)


def _verify(
    public: TPMT_PUBLIC,
    hashed: Callable[[int], bytes],
    signature: TPMT_SIGNATURE,
    hmac_key: bytes | None,
) -> int:
    try:
        hash_alg = _hash_of(signature)
        _check_scheme(public, signature.sigAlg, hash_alg)
        valid = _valid(public, hashed(hash_alg), signature, hmac_key)
    except DecodeError as error:
        raise AttestationError(error.reason, "signature") from None
    except UnsupportedAlgorithm:
        raise AttestationError("cannot be verified on this machine", "signature") from None
    if not valid:
        raise AttestationError("is not that of the key over these octets", "signature")
    return hash_alg


def _hash_of(signature: TPMT_SIGNATURE) -> int:
    details = signature.signature
    if signature.sigAlg == TPM_ALG.NULL:
        raise DecodeError("there is none")
    if signature.sigAlg not in _SCHEMES:
        raise DecodeError(f"{signature.sigAlg!r} cannot be verified here")
    if isinstance(details, TPMT_HA):
        return details.hashAlg
    if isinstance(details, TPMS_SIGNATURE_RSA | TPMS_SIGNATURE_ECC):
        return details.hash
    raise DecodeError("of another kind than its algorithm tells")


_SCHEMES = {
    TPM_ALG.RSASSA: TPM_ALG.RSA,
    TPM_ALG.RSAPSS: TPM_ALG.RSA,
    TPM_ALG.ECDSA: TPM_ALG.ECC,
    TPM_ALG.HMAC: TPM_ALG.KEYEDHASH,
}


def _check_scheme(public: TPMT_PUBLIC, alg: int, hash_alg: int) -> None:
    """Check that the key can make such signatures, and is bound to no others."""
    if public.type != _SCHEMES[TPM_ALG(alg)]:
        raise DecodeError(f"{alg!r} is not for a key of type {public.type!r}")
    parameters = public.parameters
    if not isinstance(parameters, TPMS_RSA_PARMS | TPMS_ECC_PARMS | TPMS_KEYEDHASH_PARMS):
        raise DecodeError("the key has other parameters than its type tells")
    bound = parameters.scheme
    if bound.scheme == TPM_ALG.NULL:
        return
    hashes = isinstance(bound.details, TPMS_SCHEME_HASH) and bound.details.hashAlg
    if (bound.scheme, hashes) != (alg, hash_alg):
        raise DecodeError("of another scheme or hash than the key is bound to")


def _valid(
    public: TPMT_PUBLIC, hashed: bytes, signature: TPMT_SIGNATURE, hmac_key: bytes | None
) -> bool:
    details, alg = signature.signature, signature.sigAlg
    try:
        if isinstance(details, TPMS_SIGNATURE_RSA):
            _verify_rsa(public, hashed, alg, details)
        elif isinstance(details, TPMS_SIGNATURE_ECC):
            _verify_ecdsa(public, hashed, details)
        elif isinstance(details, TPMT_HA):
            return _valid_hmac(hashed, details, hmac_key)
    except InvalidSignature:
        return False
    return True


def _verify_rsa(public: TPMT_PUBLIC, hashed: bytes, alg: int, details: TPMS_SIGNATURE_RSA) -> None:
    hash_alg = hash_class(details.hash)()
    # How long the salt is, the TPM decides: as the digest, or as long as goes.
    pss = padding.PSS(mgf=padding.MGF1(hash_alg), salt_length=padding.PSS.AUTO)
    scheme = pss if alg == TPM_ALG.RSAPSS else padding.PKCS1v15()
    rsa_key(public).verify(details.sig, hashed, scheme, Prehashed(hash_alg))


def _verify_ecdsa(public: TPMT_PUBLIC, hashed: bytes, details: TPMS_SIGNATURE_ECC) -> None:
    r, s = (int.from_bytes(n, "big") for n in (details.signatureR, details.signatureS))
    scheme = ec.ECDSA(Prehashed(hash_class(details.hash)()))
    ecc_key(public).verify(encode_dss_signature(r, s), hashed, scheme)


def _valid_hmac(hashed: bytes, details: TPMT_HA, hmac_key: bytes | None) -> bool:
    if not hmac_key:
        raise DecodeError("an HMAC can only be verified with its key")
    # A TPM does not compute the HMAC of what it certifies, but of its digest.
    return equal(hmac(details.hashAlg, hmac_key, hashed), details.digest or b"")
