"""Keys, signatures and secrets of ML-DSA and ML-KEM: provisional, from drafts of version 1.85.

They are known from one implementation only, and may change.  Sizes have no limits here.
"""

from typing import Annotated

from tpmwire.constants import TPM_ALG, TPM_RH, TPM_ST
from tpmwire.structure import Structure, by, union, wire_of
from tpmwire.types.base import TPM_ALG_ID
from tpmwire.types.interface import TPMI_ALG_HASH, TPMI_RH_HIERARCHY
from tpmwire.types.structures import TPM2B_DIGEST
from tpmwire.wire import Buffer, Unless

TPM2B_PUBLIC_KEY_MLDSA = Annotated[bytes, Buffer()]
TPM2B_PRIVATE_KEY_MLDSA = Annotated[bytes, Buffer(secret=True)]
TPM2B_PUBLIC_KEY_MLKEM = Annotated[bytes, Buffer()]
TPM2B_PRIVATE_KEY_MLKEM = Annotated[bytes, Buffer(secret=True)]
TPM2B_MLDSA_SIGNATURE = Annotated[bytes, Buffer()]
TPM2B_SIGNATURE_CTX = Annotated[bytes, Buffer()]
TPM2B_SIGNATURE_HINT = Annotated[bytes, Buffer()]
TPM2B_KEM_CIPHERTEXT = Annotated[bytes, Buffer()]
TPM2B_SHARED_SECRET = Annotated[bytes, Buffer(secret=True)]


class TPMS_SIGNATURE_HASH_MLDSA(Structure):
    """A signature by HashML-DSA; provisional.  [Part 2 of 1.85 rc4, table 208]"""

    hash: TPMI_ALG_HASH
    signature: TPM2B_MLDSA_SIGNATURE


TPMU_TK_VERIFIED_META = Annotated[
    TPM_ALG | None,
    union(
        {
            TPM_ST.VERIFIED: None,
            TPM_ST.MESSAGE_VERIFIED: None,
            TPM_ST.DIGEST_VERIFIED: Annotated[
                TPM_ALG | None, Unless(wire_of(TPM_ALG_ID), "hierarchy", TPM_RH.NULL)
            ],
        }
    ),
]


class TPMT_TK_VERIFIED_185(Structure):
    """TPMT_TK_VERIFIED as version 1.85 has it; provisional.  [Part 2 of 1.85 rc4, table 112]

    `metadata` is the hash algorithm where the tag is DIGEST_VERIFIED and the hierarchy not NULL.
    """

    tag: TPM_ST
    hierarchy: TPMI_RH_HIERARCHY
    metadata: TPMU_TK_VERIFIED_META = by("tag", default=None)
    hmac: TPM2B_DIGEST = b""
