"""Structures that many commands share: digests, selections, tickets, lists.  [Part 2, 10]

The number of a TPM2B, a TPML or a PCR selection is part of the wire format, not a field of its own.
Limits are those that the specification sets for every TPM; a limit that a TPM chooses for itself is
not one here, because another TPM may rightly send more.
"""

from typing import Annotated

from tpmwire.attributes import TPMA_ALGORITHM, TPMA_SESSION
from tpmwire.constants import TPM_ALG, TPM_ST
from tpmwire.structure import Structure, by, union, wire_of
from tpmwire.types.base import TPM_ALG_ID
from tpmwire.types.interface import TPMI_ALG_HASH, TPMI_RH_HIERARCHY, TPMI_SH_AUTH_SESSION
from tpmwire.wire import Buffer, Counted, Empty, Octets

TPMS_EMPTY = Annotated[None, Empty()]


class TPMS_ALGORITHM_DESCRIPTION(Structure):
    """An algorithm and what it can be used for.  [Part 2, 10.2]"""

    alg: TPM_ALG_ID
    attributes: TPMA_ALGORITHM


DIGEST_SIZES: dict[TPM_ALG, int] = {
    TPM_ALG.SHA1: 20,
    TPM_ALG.SHA256: 32,
    TPM_ALG.SHA384: 48,
    TPM_ALG.SHA512: 64,
    TPM_ALG.SHA256_192: 24,
    TPM_ALG.SM3_256: 32,
    TPM_ALG.SHA3_256: 32,
    TPM_ALG.SHA3_384: 48,
    TPM_ALG.SHA3_512: 64,
    TPM_ALG.SHAKE256_192: 24,
    TPM_ALG.SHAKE256_256: 32,
    TPM_ALG.SHAKE256_512: 64,
}

# An unsigned attestation's TPMT_HA and an unset policy carry TPM_ALG_NULL and no digest.
TPMU_HA = Annotated[
    bytes | None,
    union(
        {alg: Annotated[bytes, Octets(size)] for alg, size in DIGEST_SIZES.items()}
        | {TPM_ALG.NULL: None}
    ),
]


class TPMT_HA(Structure):
    """A digest and the algorithm that made it.  [Part 2, 10.3.2]"""

    hashAlg: TPMI_ALG_HASH
    digest: TPMU_HA = by("hashAlg")


TPM2B_DIGEST = Annotated[bytes, Buffer(limit=64)]
TPM2B_DATA = Annotated[bytes, Buffer(limit=66)]
TPM2B_NONCE = TPM2B_DIGEST
TPM2B_AUTH = Annotated[bytes, Buffer(limit=64, secret=True)]
TPM2B_OPERAND = TPM2B_DIGEST
TPM2B_EVENT = Annotated[bytes, Buffer(limit=1024)]
TPM2B_MAX_BUFFER = Annotated[bytes, Buffer()]
TPM2B_MAX_NV_BUFFER = Annotated[bytes, Buffer()]
TPM2B_TIMEOUT = Annotated[bytes, Buffer(limit=8)]
TPM2B_IV = Annotated[bytes, Buffer(limit=16)]
TPM2B_NAME = Annotated[bytes, Buffer(limit=68)]


class TPMS_PCR_SELECT(Structure):
    """PCRs of no bank in particular.  [Part 2, 10.6.1]"""

    pcrSelect: Annotated[bytes, Buffer(prefix=1)]


class TPMS_PCR_SELECTION(Structure):
    """PCRs of one bank: PCR n is bit n modulo 8 of octet n // 8.  [Part 2, 10.6.2]"""

    hash: TPMI_ALG_HASH
    pcrSelect: Annotated[bytes, Buffer(prefix=1)]


class TPMT_TK_CREATION(Structure):
    """Proof that this TPM made an object.  [Part 2, 10.7.3]"""

    tag: TPM_ST = TPM_ST.CREATION
    hierarchy: TPMI_RH_HIERARCHY
    digest: TPM2B_DIGEST = b""


class TPMT_TK_VERIFIED(Structure):
    """Proof that this TPM has verified a signature.  [Part 2, 10.7.4]"""

    tag: TPM_ST = TPM_ST.VERIFIED
    hierarchy: TPMI_RH_HIERARCHY
    digest: TPM2B_DIGEST = b""


class TPMT_TK_AUTH(Structure):
    """Proof that a policy was authorized, for TPM2_PolicyTicket.  [Part 2, 10.7.5]"""

    tag: TPM_ST
    hierarchy: TPMI_RH_HIERARCHY
    digest: TPM2B_DIGEST = b""


class TPMT_TK_HASHCHECK(Structure):
    """Proof that this TPM made a digest of data unlike its own structures.  [Part 2, 10.7.6]"""

    tag: TPM_ST = TPM_ST.HASHCHECK
    hierarchy: TPMI_RH_HIERARCHY
    digest: TPM2B_DIGEST = b""


TPML_ALG = Annotated[tuple[TPM_ALG, ...], Counted(wire_of(TPM_ALG_ID))]
TPML_DIGEST = Annotated[tuple[bytes, ...], Counted(wire_of(TPM2B_DIGEST), limit=8)]
TPML_DIGEST_VALUES = Annotated[tuple[TPMT_HA, ...], Counted(wire_of(TPMT_HA))]
TPML_PCR_SELECTION = Annotated[tuple[TPMS_PCR_SELECTION, ...], Counted(wire_of(TPMS_PCR_SELECTION))]


class TPMS_AUTH_COMMAND(Structure):
    """The authorization of one handle, or a session's part in a command.  [Part 2, 10.13.2]"""

    sessionHandle: TPMI_SH_AUTH_SESSION
    nonce: TPM2B_NONCE = b""
    sessionAttributes: TPMA_SESSION = TPMA_SESSION(0)
    hmac: TPM2B_AUTH = b""


class TPMS_AUTH_RESPONSE(Structure):
    """The answer to one TPMS_AUTH_COMMAND.  [Part 2, 10.13.3]"""

    nonce: TPM2B_NONCE = b""
    sessionAttributes: TPMA_SESSION = TPMA_SESSION(0)
    hmac: TPM2B_AUTH = b""
