"""Keys of `cryptography` for tests, made once, and storage keys that exist outside any TPM."""

from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.constants import TPM_ALG
from tpmwire.crypto import PrivateKey
from tpmwire.softkeys import public_of
from tpmwire.types import TPMT_PUBLIC, TPMT_SYM_DEF_OBJECT

STORAGE = TPMA_OBJECT.userWithAuth | TPMA_OBJECT.restricted | TPMA_OBJECT.decrypt

CURVES: dict[str, type[ec.EllipticCurve]] = {
    "P-192": ec.SECP192R1,
    "P-224": ec.SECP224R1,
    "P-256": ec.SECP256R1,
    "P-384": ec.SECP384R1,
    "P-521": ec.SECP521R1,
}
KINDS = (*CURVES, "RSA-1024", "RSA-2048", "RSA-3072")
HASHES = (TPM_ALG.SHA1, TPM_ALG.SHA256, TPM_ALG.SHA384, TPM_ALG.SHA512)


@cache
def key_of(kind: str, which: int = 0) -> PrivateKey:
    """A key of a kind; another `which` is another key."""
    if kind in CURVES:
        return ec.generate_private_key(CURVES[kind]())
    return rsa.generate_private_key(65537, int(kind.removeprefix("RSA-")))


def cipher(alg: TPM_ALG = TPM_ALG.AES, bits: int = 128) -> TPMT_SYM_DEF_OBJECT:
    """A block cipher in CFB mode."""
    return TPMT_SYM_DEF_OBJECT(algorithm=alg, keyBits=bits, mode=TPM_ALG.CFB)


def parent_of(
    key: PrivateKey, symmetric: TPMT_SYM_DEF_OBJECT, hash_alg: TPM_ALG = TPM_ALG.SHA256
) -> TPMT_PUBLIC:
    """The public area of a storage key."""
    return public_of(key, STORAGE, symmetric).replace(nameAlg=hash_alg)
