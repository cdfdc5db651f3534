"""Names: what the TPM calls an entity in its proofs.  [Part 1, 16]

The Name of an object is the digest of its public area with the number of the hash before it, so
whoever knows the Name of a key cannot be given another one.  PCRs, sessions and permanent entities
are called by their handle.
"""

from tpmwire.constants import TPM_ALG
from tpmwire.digests import digest
from tpmwire.types.objects import TPMT_PUBLIC


def object_name(public: TPMT_PUBLIC) -> bytes:
    """Compute the Name of an object from its public area: nothing if it has no name algorithm."""
    if public.nameAlg == TPM_ALG.NULL:
        return b""
    return public.nameAlg.to_bytes(2, "big") + digest(public.nameAlg, public.pack())


def handle_name(handle: int) -> bytes:
    """Compute the Name of an entity that is called by its handle."""
    return handle.to_bytes(4, "big")
