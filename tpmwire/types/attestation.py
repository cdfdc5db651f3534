"""What a TPM certifies: clocks, and the structures that it signs.  [Part 2, 10.11-10.12]

A signature is over the very octets that the TPM sent, so a TPM2B_ATTEST is octets: hash those, and
read them with `TPMS_ATTEST.unpack`.
"""

from typing import Annotated

from tpmwire.constants import TPM_CONSTANTS32, TPM_ST
from tpmwire.structure import Structure, by, union
from tpmwire.types.base import TPM_ALG_ID, TPMI_YES_NO, UINT16, UINT32, UINT64
from tpmwire.types.interface import TPMI_ST_ATTEST
from tpmwire.types.structures import (
    TPM2B_DATA,
    TPM2B_DIGEST,
    TPM2B_MAX_NV_BUFFER,
    TPM2B_NAME,
    TPML_PCR_SELECTION,
)
from tpmwire.wire import Buffer


class TPMS_CLOCK_INFO(Structure):
    """Milliseconds that the TPM was powered, and how often it began anew.  [Part 2, 10.11.1]"""

    clock: UINT64
    resetCount: UINT32
    restartCount: UINT32
    safe: TPMI_YES_NO


class TPMS_TIME_INFO(Structure):
    """Milliseconds since the last start, and the clock.  [Part 2, 10.11.6]"""

    time: UINT64
    clockInfo: TPMS_CLOCK_INFO


class TPMS_TIME_ATTEST_INFO(Structure):
    """What TPM2_GetTime certifies.  [Part 2, 10.12.2]"""

    time: TPMS_TIME_INFO
    firmwareVersion: UINT64


class TPMS_CERTIFY_INFO(Structure):
    """What TPM2_Certify certifies: an object is loaded.  [Part 2, 10.12.3]"""

    name: TPM2B_NAME
    qualifiedName: TPM2B_NAME


class TPMS_QUOTE_INFO(Structure):
    """What TPM2_Quote certifies: the digest of the selected PCRs.  [Part 2, 10.12.4]"""

    pcrSelect: TPML_PCR_SELECTION
    pcrDigest: TPM2B_DIGEST


class TPMS_COMMAND_AUDIT_INFO(Structure):
    """What TPM2_GetCommandAuditDigest certifies.  [Part 2, 10.12.5]"""

    auditCounter: UINT64
    digestAlg: TPM_ALG_ID
    auditDigest: TPM2B_DIGEST
    commandDigest: TPM2B_DIGEST


class TPMS_SESSION_AUDIT_INFO(Structure):
    """What TPM2_GetSessionAuditDigest certifies.  [Part 2, 10.12.6]"""

    exclusiveSession: TPMI_YES_NO
    sessionDigest: TPM2B_DIGEST


class TPMS_CREATION_INFO(Structure):
    """What TPM2_CertifyCreation certifies: how an object was made.  [Part 2, 10.12.7]"""

    objectName: TPM2B_NAME
    creationHash: TPM2B_DIGEST


class TPMS_NV_CERTIFY_INFO(Structure):
    """What TPM2_NV_Certify certifies: a part of an index.  [Part 2, 10.12.8]"""

    indexName: TPM2B_NAME
    offset: UINT16
    nvContents: TPM2B_MAX_NV_BUFFER


class TPMS_NV_DIGEST_CERTIFY_INFO(Structure):
    """What TPM2_NV_Certify certifies where size and offset are 0.  [Part 2, 10.12.9]"""

    indexName: TPM2B_NAME
    nvDigest: TPM2B_DIGEST


TPMU_ATTEST = Annotated[
    TPMS_CERTIFY_INFO
    | TPMS_CREATION_INFO
    | TPMS_QUOTE_INFO
    | TPMS_COMMAND_AUDIT_INFO
    | TPMS_SESSION_AUDIT_INFO
    | TPMS_TIME_ATTEST_INFO
    | TPMS_NV_CERTIFY_INFO
    | TPMS_NV_DIGEST_CERTIFY_INFO,
    union(
        {
            TPM_ST.ATTEST_CERTIFY: TPMS_CERTIFY_INFO,
            TPM_ST.ATTEST_CREATION: TPMS_CREATION_INFO,
            TPM_ST.ATTEST_QUOTE: TPMS_QUOTE_INFO,
            TPM_ST.ATTEST_COMMAND_AUDIT: TPMS_COMMAND_AUDIT_INFO,
            TPM_ST.ATTEST_SESSION_AUDIT: TPMS_SESSION_AUDIT_INFO,
            TPM_ST.ATTEST_TIME: TPMS_TIME_ATTEST_INFO,
            TPM_ST.ATTEST_NV: TPMS_NV_CERTIFY_INFO,
            TPM_ST.ATTEST_NV_DIGEST: TPMS_NV_DIGEST_CERTIFY_INFO,
        }
    ),
]


class TPMS_ATTEST(Structure):
    """What the TPM certifies, and when, where and for whom; the content of a TPM2B_ATTEST.

    Reading it proves nothing.  Before it counts, a verifier has to check the signature over the
    octets, `magic`, `type`, and that `extraData` is what it asked for.  [Part 2, 10.12.12]
    """

    magic: TPM_CONSTANTS32 = TPM_CONSTANTS32.GENERATED_VALUE
    type: TPMI_ST_ATTEST
    qualifiedSigner: TPM2B_NAME
    extraData: TPM2B_DATA
    clockInfo: TPMS_CLOCK_INFO
    firmwareVersion: UINT64
    attested: TPMU_ATTEST = by("type")


# Octets: see above.  [Part 2, 10.12.13]
TPM2B_ATTEST = Annotated[bytes, Buffer()]
