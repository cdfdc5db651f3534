"""Keys outside a TPM: those of `cryptography` as public and sensitive areas, and back.

They sign as those of a TPM do.

A sensitive area has of an RSA key one of its two primes, of an ECC key the scalar.  [Part 2, 12.3]
"""

from collections.abc import Iterator
from contextlib import contextmanager

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tpmwire import crypto
from tpmwire.attributes import TPMA_OBJECT
from tpmwire.constants import TPM_ALG
from tpmwire.crypto import PrivateKey
from tpmwire.digests import digest, equal
from tpmwire.errors import DecodeError, EncodeError
from tpmwire.templates import NO_CIPHER, ecc_public, rsa_public
from tpmwire.types.algorithms import (
    TPMS_SIGNATURE_ECC,
    TPMS_SIGNATURE_RSA,
    TPMT_SIGNATURE,
    TPMT_SYM_DEF_OBJECT,
)
from tpmwire.types.objects import TPMT_PUBLIC, TPMT_SENSITIVE

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

SIGNS = TPMA_OBJECT.userWithAuth | TPMA_OBJECT.sign
"""The attributes of a key that came from outside, may leave again, and signs what it is given."""

_DEFAULT_EXPONENT = 65537


def sign(key: PrivateKey, octets: bytes, hash_alg: TPM_ALG) -> TPMT_SIGNATURE:
    """Sign octets as a key of a TPM does: by ECDSA or RSASSA with a hash."""
    hashing = crypto.hash_class(hash_alg)()
    if isinstance(key, rsa.RSAPrivateKey):
        made = key.sign(octets, padding.PKCS1v15(), hashing)
        return TPMT_SIGNATURE(
            sigAlg=TPM_ALG.RSASSA, signature=TPMS_SIGNATURE_RSA(hash=hash_alg, sig=made)
        )
    r, s = decode_dss_signature(key.sign(octets, ec.ECDSA(hashing)))
    size = (key.curve.key_size + 7) // 8
    numbers = {"signatureR": r.to_bytes(size, "big"), "signatureS": s.to_bytes(size, "big")}
    return TPMT_SIGNATURE(
        sigAlg=TPM_ALG.ECDSA, signature=TPMS_SIGNATURE_ECC(hash=hash_alg, **numbers)
    )


def public_of(
    key: PrivateKey | PublicKey,
    attributes: TPMA_OBJECT = SIGNS,
    symmetric: TPMT_SYM_DEF_OBJECT = NO_CIPHER,
) -> TPMT_PUBLIC:
    """Make the public area of a key, bound to no scheme; `replace` changes what else is in it.

    `symmetric` is what a storage key protects its children with.  EncodeError if a TPM cannot have
    such a key.
    """
    public = key if isinstance(key, PublicKey) else key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        return _rsa_area(public, attributes, symmetric)
    for number, curve in crypto.CURVES.items():
        if isinstance(public.curve, curve):
            area = ecc_public(number, attributes, symmetric)  # type: ignore[arg-type]
            return area.replace(unique=crypto.ecc_point(public))
    raise EncodeError(f"no TPM has the curve {public.curve.name}")


def _rsa_area(
    key: rsa.RSAPublicKey, attributes: TPMA_OBJECT, symmetric: TPMT_SYM_DEF_OBJECT
) -> TPMT_PUBLIC:
    numbers, bits = key.public_numbers(), key.key_size
    if bits % 16 or numbers.e >= 1 << 32:
        raise EncodeError(f"no TPM has an RSA key of {bits} bits with exponent {numbers.e}")
    area = rsa_public(bits, attributes, symmetric)
    exponent = 0 if numbers.e == _DEFAULT_EXPONENT else numbers.e
    parameters = area.parameters.replace(exponent=exponent)
    return area.replace(parameters=parameters, unique=numbers.n.to_bytes(bits // 8, "big"))


def sensitive_of(key: PrivateKey, auth: bytes = b"", seed: bytes = b"") -> TPMT_SENSITIVE:
    """Make the sensitive area of a private key; `auth` is its PIN.

    A storage key needs a random `seed`, as long as a digest of its name algorithm, from which the
    protection of its children is derived.  EncodeError if a TPM cannot have such a key.
    """
    if isinstance(key, rsa.RSAPrivateKey):
        kind, secret = TPM_ALG.RSA, _prime(key)
    else:
        scalar, size = key.private_numbers().private_value, (key.curve.key_size + 7) // 8
        kind, secret = TPM_ALG.ECC, scalar.to_bytes(size, "big")
    return TPMT_SENSITIVE(sensitiveType=kind, authValue=auth, seedValue=seed, sensitive=secret)


def _prime(key: rsa.RSAPrivateKey) -> bytes:
    numbers, bits = key.private_numbers(), key.key_size // 2
    if not numbers.p.bit_length() == numbers.q.bit_length() == bits or bits % 8:
        raise EncodeError("a TPM takes only RSA keys whose two primes are half as long as the key")
    return numbers.p.to_bytes(bits // 8, "big")


def private_key_of(sensitive: TPMT_SENSITIVE, public: TPMT_PUBLIC) -> PrivateKey:
    """Make the private key of a sensitive and a public area that belong together.

    DecodeError if they do not, or are not an RSA or ECC key that this machine can use.
    """
    check_binding(sensitive, public)
    if public.type == TPM_ALG.ECC:
        return _ecc_private(sensitive, public)
    if public.type == TPM_ALG.RSA:
        return _rsa_private(sensitive, public)
    raise DecodeError(f"an object of type {public.type!r} has no private key")


def check_binding(sensitive: TPMT_SENSITIVE, public: TPMT_PUBLIC) -> None:
    """Check that a sensitive and a public area belong together; DecodeError if they do not.

    [Part 1, 27.5]
    """
    if sensitive.sensitiveType != public.type:
        raise DecodeError("the sensitive area is of another type than the public one")
    if public.type == TPM_ALG.RSA:
        _primes(sensitive, public)
    elif public.type == TPM_ALG.ECC:
        _ecc_private(sensitive, public)
    elif public.type in (TPM_ALG.KEYEDHASH, TPM_ALG.SYMCIPHER):
        hidden = digest(public.nameAlg, sensitive.seedValue, sensitive.sensitive)
        if not (isinstance(public.unique, bytes) and equal(hidden, public.unique)):
            raise DecodeError(_NOT_BOUND)
    else:
        raise DecodeError(f"an object of type {public.type!r} cannot be used on this machine")


def _primes(sensitive: TPMT_SENSITIVE, public: TPMT_PUBLIC) -> tuple[int, int]:
    n = crypto.rsa_key(public).public_numbers().n
    p = int.from_bytes(sensitive.sensitive, "big")
    if not 1 < p < n or n % p:
        raise DecodeError(_NOT_BOUND)
    return p, n // p


def _rsa_private(sensitive: TPMT_SENSITIVE, public: TPMT_PUBLIC) -> rsa.RSAPrivateKey:
    (p, q), numbers = _primes(sensitive, public), crypto.rsa_key(public).public_numbers()
    with _unbound():
        d = rsa.rsa_recover_private_exponent(numbers.e, p, q)
        crt = (rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q))
        return rsa.RSAPrivateNumbers(p, q, d, *crt, numbers).private_key()


def _ecc_private(sensitive: TPMT_SENSITIVE, public: TPMT_PUBLIC) -> ec.EllipticCurvePrivateKey:
    scalar = int.from_bytes(sensitive.sensitive, "big")
    numbers = crypto.ecc_key(public).public_numbers()
    with _unbound():
        return ec.EllipticCurvePrivateNumbers(scalar, numbers).private_key()


_NOT_BOUND = "the sensitive area is not that of the public one"


@contextmanager
def _unbound() -> Iterator[None]:
    try:
        yield
    except (ValueError, UnsupportedAlgorithm):
        # What `cryptography` has to say of it could tell a part of the secret.
        raise DecodeError(_NOT_BOUND) from None
