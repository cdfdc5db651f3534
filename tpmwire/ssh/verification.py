"""Public keys of SSH as those of a TPM, and what their holders have signed.

[RFC 4253, 6.6; RFC 5656, 3; RFC 8332; RFC 8709]
"""

import base64
import binascii

from tpmwire.constants import TPM_ALG, TPM_ECC
from tpmwire.crypto import ecc_key
from tpmwire.detached import ecdsa, read
from tpmwire.errors import AttestationError, DecodeError
from tpmwire.signatures import verify, verify_ed25519
from tpmwire.softkeys import SIGNS
from tpmwire.ssh.keys import (
    CURVES,
    EcdsaNumbers,
    EcdsaPublicKey,
    RsaPublicKey,
    Signature,
    UnsupportedKeyError,
    key_type,
)
from tpmwire.ssh.wire import STRING
from tpmwire.structure import Structure
from tpmwire.templates import ecc_public, rsa_public
from tpmwire.types.algorithms import TPMS_ECC_POINT, TPMT_SIGNATURE
from tpmwire.types.objects import TPMT_PUBLIC

ED25519 = "ssh-ed25519"

_RSA_HASHES = {b"rsa-sha2-256": TPM_ALG.SHA256, b"rsa-sha2-512": TPM_ALG.SHA512}
_ALGORITHMS = {"ssh-rsa": tuple(_RSA_HASHES)}  # those of other keys are called as the keys are
_ECDSA = {f"ecdsa-sha2-{curve.name.decode()}": number for number, curve in CURVES.items()}


class Ed25519PublicKey(Structure):
    """An Ed25519 public key.  [RFC 8709, 4]"""

    algorithm: STRING = b"ssh-ed25519"
    point: STRING


def blob_of_line(text: str) -> bytes:
    """Read a line as of a .pub file, without options before it; DecodeError if it is none."""
    words = text.split(maxsplit=2)
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (IndexError, binascii.Error):
        raise DecodeError("not a public key of SSH") from None
    if key_type(blob) != words[0]:
        raise DecodeError("not a public key of SSH: it is of another type than it says")
    return blob


def public_of(blob: bytes) -> TPMT_PUBLIC:
    """Make the public area of an SSH public key.

    DecodeError if it is malformed, UnsupportedKeyError if no TPM has such a key.
    """
    name = key_type(blob)
    if name == "ssh-rsa":
        return _rsa_public(RsaPublicKey.unpack(blob))
    if name in _ECDSA:
        return _ecdsa_public(_ECDSA[name], EcdsaPublicKey.unpack(blob))
    raise UnsupportedKeyError(f"a key of type {name} cannot be used for this")


def verify_signature(blob: bytes, data: bytes, signature: bytes) -> None:
    """Check that the holder of an SSH public key has signed the data.

    AttestationError tells why the signature does not count, DecodeError what is malformed;
    UnsupportedKeyError for a key of a type that is not known here.
    """
    name, made = key_type(blob), Signature.unpack(signature)
    if made.algorithm not in _ALGORITHMS.get(name, (name.encode(),)):
        raise AttestationError("is by another algorithm than the key's, or by SHA-1", "signature")
    if name == ED25519:
        verify_ed25519(Ed25519PublicKey.unpack(blob).point, data, made.octets)
    else:
        public = public_of(blob)
        verify(public, data, _signature(public, made))


def _signature(public: TPMT_PUBLIC, made: Signature) -> TPMT_SIGNATURE:
    if public.type == TPM_ALG.RSA:
        return read(public, made.octets, _RSA_HASHES[made.algorithm])
    numbers = EcdsaNumbers.unpack(made.octets)
    curve = CURVES[_ECDSA[made.algorithm.decode()]]
    return ecdsa(public, numbers.r, numbers.s, curve.hash)


def _rsa_public(key: RsaPublicKey) -> TPMT_PUBLIC:
    bits = key.n.bit_length()
    if key.n <= 0 or bits % 8 or not 2 < key.e < 1 << 32:
        raise UnsupportedKeyError("no TPM has an RSA key of this size or exponent")
    area = rsa_public(bits, SIGNS)
    exponent = 0 if key.e == 65537 else key.e
    parameters = area.parameters.replace(exponent=exponent)
    return area.replace(parameters=parameters, unique=key.n.to_bytes(bits // 8, "big"))


def _ecdsa_public(number: int, key: EcdsaPublicKey) -> TPMT_PUBLIC:
    curve = CURVES[number]
    size = (len(key.point) - 1) // 2
    if key.curve != curve.name or key.point[:1] != b"\x04" or len(key.point) != 2 * size + 1:
        raise DecodeError("not an ECDSA key: its point is not that of its curve")
    point = TPMS_ECC_POINT(x=key.point[1 : size + 1], y=key.point[size + 1 :])
    public = ecc_public(TPM_ECC(number), SIGNS).replace(unique=point)
    ecc_key(public)
    return public
