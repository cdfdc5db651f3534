"""Names: what the TPM calls an entity in its proofs.  [Part 1, 16]

The Name of an object is the digest of its public area with the number of the hash before it, so
whoever knows the Name of a key cannot be given another one.  PCRs, sessions and permanent entities
are called by their handle.
"""

import hashlib

from tpmwire.constants import TPM_ALG
from tpmwire.errors import DecodeError
from tpmwire.types.objects import TPMT_PUBLIC

HASHES: dict[int, str] = {
    TPM_ALG.SHA1: "sha1",
    TPM_ALG.SHA256: "sha256",
    TPM_ALG.SHA384: "sha384",
    TPM_ALG.SHA512: "sha512",
    TPM_ALG.SM3_256: "sm3",
    TPM_ALG.SHA3_256: "sha3_256",
    TPM_ALG.SHA3_384: "sha3_384",
    TPM_ALG.SHA3_512: "sha3_512",
}


def digest(alg: int, data: bytes) -> bytes:
    """Hash `data` with the algorithm `alg`; DecodeError if this machine does not have it."""
    try:
        return hashlib.new(HASHES[alg], data).digest()
    except (KeyError, ValueError):
        raise DecodeError(f"hash algorithm {alg:#06x} is not known on this machine") from None


def object_name(public: TPMT_PUBLIC) -> bytes:
    """Compute the Name of an object from its public area: nothing if it has no name algorithm."""
    if public.nameAlg == TPM_ALG.NULL:
        return b""
    return public.nameAlg.to_bytes(2, "big") + digest(public.nameAlg, public.pack())


def handle_name(handle: int) -> bytes:
    """Compute the Name of an entity that is called by its handle."""
    return handle.to_bytes(4, "big")
