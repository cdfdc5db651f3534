"""Names: what the TPM calls an entity in its proofs.  [Part 1, 16]

The Name of an object is the digest of its public area with the number of the hash before it, so
whoever knows the Name of a key cannot be given another one.  PCRs, sessions and permanent entities
are called by their handle.
"""

from tpmwire.constants import TPM_ALG
from tpmwire.digests import digest
from tpmwire.errors import DecodeError
from tpmwire.types.nv import TPMS_NV_PUBLIC, TPMT_NV_PUBLIC_2
from tpmwire.types.objects import TPMT_PUBLIC


def object_name(public: TPMT_PUBLIC) -> bytes:
    """Compute the Name of an object from its public area: nothing if it has no name algorithm."""
    if public.nameAlg == TPM_ALG.NULL:
        return b""
    return public.nameAlg.to_bytes(2, "big") + digest(public.nameAlg, public.pack())


def handle_name(handle: int) -> bytes:
    """Compute the Name of an entity that is called by its handle."""
    return handle.to_bytes(4, "big")


def nv_name(public: TPMS_NV_PUBLIC | TPMT_NV_PUBLIC_2) -> bytes:
    """Compute the Name of an NV index from its public area.  [Part 1, 16]

    The first write and each lock change the attributes, and with them the Name.  DecodeError for an
    index that is kept outside the TPM: none is known that has one, so its Name cannot be compared.
    """
    area = public.publicArea if isinstance(public, TPMT_NV_PUBLIC_2) else public
    if not isinstance(area, TPMS_NV_PUBLIC):
        raise DecodeError("the Name of an index that is kept outside the TPM is not known")
    return area.nameAlg.to_bytes(2, "big") + digest(area.nameAlg, area.pack())


def qualified_name(parent: bytes, name: bytes) -> bytes:
    """Compute the qualified Name of an object from that of its parent and its own.  [Part 1, 16]

    The qualified Name of a hierarchy is its Name, so the whole way from there to the object counts.
    """
    alg = int.from_bytes(name[:2], "big")
    return name[:2] + digest(alg, parent, name)
