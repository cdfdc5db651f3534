"""Keys of which both the TPM and this process know the secret, and what `cryptography` says."""

from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from plain import sha256

from tpmwire import templates
from tpmwire.attributes import TPMA_OBJECT
from tpmwire.client import LoadedObject, Tpm
from tpmwire.constants import TPM_ALG, TPM_ECC
from tpmwire.types import (
    TPMS_ECC_POINT,
    TPMS_KEYEDHASH_PARMS,
    TPMS_SCHEME_HASH,
    TPMS_SIGNATURE_ECC,
    TPMS_SYMCIPHER_PARMS,
    TPMT_ECC_SCHEME,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_PUBLIC,
    TPMT_SENSITIVE,
    TPMT_SIG_SCHEME,
    TPMT_SIGNATURE,
    TPMT_SYM_DEF_OBJECT,
)

SHA256 = hashes.SHA256()
ECDSA = TPMT_SIG_SCHEME(scheme=TPM_ALG.ECDSA, details=TPMS_SCHEME_HASH(hashAlg=TPM_ALG.SHA256))
FREE = TPMA_OBJECT.userWithAuth  # what an object from outside may have: it is fixed nowhere
SEED = bytes(range(32))


@dataclass(frozen=True)
class Pair:
    """A key of `cryptography`, and the same as a TPM has it."""

    private: Any
    public: TPMT_PUBLIC
    sensitive: TPMT_SENSITIVE

    def load(self, tpm: Tpm) -> LoadedObject:
        return tpm.load_external(self.public, self.sensitive)


def ecc_pair(attributes: TPMA_OBJECT, scheme: TPMT_ECC_SCHEME | None = None) -> Pair:
    private = ec.generate_private_key(ec.SECP256R1())
    public = templates.ecc_public(TPM_ECC.NIST_P256, FREE | attributes)
    if scheme is not None:
        public = public.replace(parameters=public.parameters.replace(scheme=scheme))
    scalar = private.private_numbers().private_value.to_bytes(32, "big")
    sensitive = TPMT_SENSITIVE(sensitiveType=TPM_ALG.ECC, sensitive=scalar)
    return Pair(private, public.replace(unique=point(private.public_key())), sensitive)


def rsa_pair(attributes: TPMA_OBJECT) -> Pair:
    private = rsa.generate_private_key(65537, 2048)
    numbers = private.private_numbers()
    public = templates.rsa_public(2048, FREE | attributes)
    public = public.replace(unique=numbers.public_numbers.n.to_bytes(256, "big"))
    prime = numbers.p.to_bytes(128, "big")
    return Pair(private, public, TPMT_SENSITIVE(sensitiveType=TPM_ALG.RSA, sensitive=prime))


def cipher_key(tpm: Tpm, key: bytes) -> LoadedObject:
    """Load an AES key that is bound to no mode."""
    aes = TPMT_SYM_DEF_OBJECT(algorithm=TPM_ALG.AES, keyBits=8 * len(key), mode=TPM_ALG.NULL)
    uses = TPMA_OBJECT.sign | TPMA_OBJECT.decrypt
    return _symmetric(tpm, TPM_ALG.SYMCIPHER, uses, TPMS_SYMCIPHER_PARMS(sym=aes), key)


def hmac_key(tpm: Tpm, key: bytes) -> LoadedObject:
    """Load a key for HMAC with SHA-256."""
    scheme = TPMT_KEYEDHASH_SCHEME(
        scheme=TPM_ALG.HMAC, details=TPMS_SCHEME_HASH(hashAlg=TPM_ALG.SHA256)
    )
    parameters = TPMS_KEYEDHASH_PARMS(scheme=scheme)
    return _symmetric(tpm, TPM_ALG.KEYEDHASH, TPMA_OBJECT.sign, parameters, key)


def _symmetric(
    tpm: Tpm, kind: TPM_ALG, uses: TPMA_OBJECT, parameters: Any, key: bytes
) -> LoadedObject:
    public = TPMT_PUBLIC(
        type=kind,
        nameAlg=TPM_ALG.SHA256,
        objectAttributes=FREE | uses,
        parameters=parameters,
        unique=sha256(SEED, key),
    )
    sensitive = TPMT_SENSITIVE(sensitiveType=kind, seedValue=SEED, sensitive=key)
    return tpm.load_external(public, sensitive)


def point(public: ec.EllipticCurvePublicKey) -> TPMS_ECC_POINT:
    numbers = public.public_numbers()
    return TPMS_ECC_POINT(x=numbers.x.to_bytes(32, "big"), y=numbers.y.to_bytes(32, "big"))


def public_key(of: TPMS_ECC_POINT) -> ec.EllipticCurvePublicKey:
    x, y = int.from_bytes(of.x, "big"), int.from_bytes(of.y, "big")
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def agreed(private: ec.EllipticCurvePrivateKey, other: TPMS_ECC_POINT) -> bytes:
    """The x-coordinate that both sides of ECDH agree on."""
    return private.exchange(ec.ECDH(), public_key(other))


def signature(private: ec.EllipticCurvePrivateKey, data: bytes) -> TPMT_SIGNATURE:
    r, s = decode_dss_signature(private.sign(data, ec.ECDSA(SHA256)))
    details = TPMS_SIGNATURE_ECC(
        hash=TPM_ALG.SHA256, signatureR=r.to_bytes(32, "big"), signatureS=s.to_bytes(32, "big")
    )
    return TPMT_SIGNATURE(sigAlg=TPM_ALG.ECDSA, signature=details)


def verify(public: TPMT_PUBLIC, signed: TPMT_SIGNATURE, data: bytes) -> None:
    """Check an ECDSA signature over `data`; InvalidSignature if it is none."""
    assert (signed.sigAlg, signed.signature.hash) == (TPM_ALG.ECDSA, TPM_ALG.SHA256)
    r, s = signed.signature.signatureR, signed.signature.signatureS
    der = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
    public_key(public.unique).verify(der, data, ec.ECDSA(SHA256))
