"""SSH public keys and signatures of TPM keys.  [RFC 4253, 6.6; RFC 5656, 3; RFC 8332]"""

import base64
from dataclasses import dataclass

from tpmwire.constants import TPM_ALG, TPM_ECC
from tpmwire.crypto import ecc_key, ecc_point
from tpmwire.digests import digest
from tpmwire.errors import DecodeError, Error
from tpmwire.ssh.wire import MPINT, STRING
from tpmwire.structure import Structure
from tpmwire.types.algorithms import (
    TPMS_ECC_POINT,
    TPMS_SCHEME_HASH,
    TPMS_SIGNATURE_ECC,
    TPMS_SIGNATURE_RSA,
    TPMT_SIG_SCHEME,
    TPMT_SIGNATURE,
)
from tpmwire.types.objects import TPMS_ECC_PARMS, TPMS_RSA_PARMS, TPMT_PUBLIC

RSA_SHA2_256, RSA_SHA2_512 = 2, 4
"""Flags of a request to sign.  [RFC 9987]"""

MIN_RSA_BITS = 1024
"""The least that OpenSSH calls an RSA key."""


class UnsupportedKeyError(Error):
    """SSH has no use for this key, or this signature cannot be made with it."""


@dataclass(frozen=True)
class Curve:
    """An elliptic curve as SSH knows it."""

    name: bytes
    hash: TPM_ALG


CURVES: dict[int, Curve] = {
    TPM_ECC.NIST_P256: Curve(b"nistp256", TPM_ALG.SHA256),
    TPM_ECC.NIST_P384: Curve(b"nistp384", TPM_ALG.SHA384),
    TPM_ECC.NIST_P521: Curve(b"nistp521", TPM_ALG.SHA512),
}


class EcdsaPublicKey(Structure):
    """An ECDSA public key.  [RFC 5656, 3.1]"""

    algorithm: STRING
    curve: STRING
    point: STRING


class RsaPublicKey(Structure):
    """An RSA public key.  [RFC 4253, 6.6]"""

    algorithm: STRING = b"ssh-rsa"
    e: MPINT
    n: MPINT


class Signature(Structure):
    """A signature with the name of its algorithm."""

    algorithm: STRING
    octets: STRING


class EcdsaNumbers(Structure):
    """What stands in an ECDSA signature.  [RFC 5656, 3.1.2]"""

    r: MPINT
    s: MPINT


@dataclass(frozen=True)
class SignatureAlgorithm:
    """How to make one kind of SSH signature in a TPM."""

    name: bytes
    scheme: TPM_ALG
    hash: TPM_ALG

    def digest(self, data: bytes) -> bytes:
        """Hash what is to be signed."""
        return digest(self.hash, data)

    @property
    def tpm_scheme(self) -> TPMT_SIG_SCHEME:
        """The scheme as the TPM wants to be told it."""
        return TPMT_SIG_SCHEME(scheme=self.scheme, details=TPMS_SCHEME_HASH(hashAlg=self.hash))


def public_blob(public: TPMT_PUBLIC) -> bytes:
    """Turn a TPM key into an SSH public key blob.

    Raises UnsupportedKeyError if SSH has no such key, or would take offence at it: a client to
    whom one impossible key is listed does not use any other.
    """
    parameters, unique = public.parameters, public.unique
    if isinstance(parameters, TPMS_RSA_PARMS) and isinstance(unique, bytes):
        return _rsa_blob(parameters, int.from_bytes(unique, "big"))
    if isinstance(parameters, TPMS_ECC_PARMS) and isinstance(unique, TPMS_ECC_POINT):
        return _ecdsa_blob(_curve(parameters), public)
    raise _no_use(public)


def signature_algorithm(public: TPMT_PUBLIC, flags: int) -> SignatureAlgorithm:
    """Choose the algorithm for a request to sign with `flags`.

    Raises UnsupportedKeyError for flags that mean nothing to the key, and for an RSA signature
    over SHA-1, which is what no flag asks for.
    """
    if isinstance(public.parameters, TPMS_ECC_PARMS):
        return _ecdsa_algorithm(_curve(public.parameters), flags)
    if isinstance(public.parameters, TPMS_RSA_PARMS):
        return _rsa_algorithm(flags)
    raise _no_use(public)


def signature_blob(algorithm: SignatureAlgorithm, made: TPMT_SIGNATURE) -> bytes:
    """Turn a TPM's signature into one of SSH; UnsupportedKeyError if it is of another kind."""
    signature = made.signature
    if not isinstance(signature, TPMS_SIGNATURE_ECC | TPMS_SIGNATURE_RSA) or (
        (made.sigAlg, signature.hash) != (algorithm.scheme, algorithm.hash)
    ):
        raise UnsupportedKeyError(f"a signature by {made.sigAlg!r} is not what was asked for")
    return Signature(algorithm=algorithm.name, octets=_octets(signature)).pack()


def key_type(blob: bytes) -> str:
    """Read the name of the key type that a public key blob begins with."""
    size = int.from_bytes(blob[:4], "big")
    return blob[4 : 4 + size].decode("ascii", "replace")


def fingerprint(blob: bytes) -> str:
    """Compute the fingerprint of a public key as OpenSSH shows it."""
    encoded = base64.b64encode(digest(TPM_ALG.SHA256, blob)).decode("ascii")
    return "SHA256:" + encoded.rstrip("=")


def public_line(blob: bytes, comment: str) -> str:
    """Write the line of a .pub or authorized_keys file."""
    encoded = base64.b64encode(blob).decode("ascii")
    return f"{key_type(blob)} {encoded} {comment}".rstrip() + "\n"


def _curve(parameters: TPMS_ECC_PARMS) -> Curve:
    curve = CURVES.get(parameters.curveID)
    if curve is None:
        raise UnsupportedKeyError(f"SSH has no use for curve {parameters.curveID!r}")
    return curve


def _rsa_blob(parameters: TPMS_RSA_PARMS, modulus: int) -> bytes:
    if modulus.bit_length() != parameters.keyBits or modulus.bit_length() < MIN_RSA_BITS:
        raise UnsupportedKeyError(f"SSH has no use for an RSA key of {modulus.bit_length()} bits")
    return RsaPublicKey(e=parameters.exponent or 65537, n=modulus).pack()


def _ecdsa_blob(curve: Curve, public: TPMT_PUBLIC) -> bytes:
    try:
        # A TPM may leave out leading zeros; a point of SSH has them.
        point = ecc_point(ecc_key(public))
    except DecodeError:
        raise UnsupportedKeyError(f"the key is no point of {curve.name.decode()}") from None
    algorithm, octets = b"ecdsa-sha2-" + curve.name, b"\x04" + point.x + point.y
    return EcdsaPublicKey(algorithm=algorithm, curve=curve.name, point=octets).pack()


def _octets(signature: TPMS_SIGNATURE_ECC | TPMS_SIGNATURE_RSA) -> bytes:
    if isinstance(signature, TPMS_SIGNATURE_RSA):
        return signature.sig
    r, s = signature.signatureR, signature.signatureS
    return EcdsaNumbers(r=int.from_bytes(r, "big"), s=int.from_bytes(s, "big")).pack()


def _ecdsa_algorithm(curve: Curve, flags: int) -> SignatureAlgorithm:
    if flags:
        raise UnsupportedKeyError(f"flags {flags:#x} mean nothing to an ECDSA key")
    return SignatureAlgorithm(b"ecdsa-sha2-" + curve.name, TPM_ALG.ECDSA, curve.hash)


def _rsa_algorithm(flags: int) -> SignatureAlgorithm:
    if flags & ~(RSA_SHA2_256 | RSA_SHA2_512):
        raise UnsupportedKeyError(f"flags {flags:#x} are not known")
    if flags & RSA_SHA2_256:
        return SignatureAlgorithm(b"rsa-sha2-256", TPM_ALG.RSASSA, TPM_ALG.SHA256)
    if flags & RSA_SHA2_512:
        return SignatureAlgorithm(b"rsa-sha2-512", TPM_ALG.RSASSA, TPM_ALG.SHA512)
    raise UnsupportedKeyError("ssh-rsa signatures (SHA-1) are not made")


def _no_use(public: TPMT_PUBLIC) -> UnsupportedKeyError:
    return UnsupportedKeyError(f"SSH has no use for a key of type {public.type!r}")
