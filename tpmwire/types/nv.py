"""NV indices: their public areas.  [Part 2, 13]"""

from typing import Annotated

from tpmwire.attributes import TPMA_NV, TPMA_NV_EXP
from tpmwire.constants import TPM_HT
from tpmwire.structure import Structure, by, union
from tpmwire.types.base import UINT16, UINT32
from tpmwire.types.interface import (
    TPMI_ALG_HASH,
    TPMI_RH_NV_EXP_INDEX,
    TPMI_RH_NV_LEGACY_INDEX,
)
from tpmwire.types.structures import TPM2B_DIGEST
from tpmwire.wire import Sized


class TPMS_NV_PIN_COUNTER_PARAMETERS(Structure):
    """The content of a PIN index: tries made, tries allowed.  [Part 2, 13.3]"""

    pinCount: UINT32
    pinLimit: UINT32


class TPMS_NV_PUBLIC(Structure):
    """The public area of an index; its digest is the Name of the index.  [Part 2, 13.6]"""

    nvIndex: TPMI_RH_NV_LEGACY_INDEX
    nameAlg: TPMI_ALG_HASH
    attributes: TPMA_NV
    authPolicy: TPM2B_DIGEST = b""
    dataSize: UINT16


TPM2B_NV_PUBLIC = Annotated[TPMS_NV_PUBLIC, Sized(TPMS_NV_PUBLIC.schema)]


class TPMS_NV_PUBLIC_EXP_ATTR(Structure):
    """The public area of an index that is kept outside the TPM.  [Part 2, 13.8]"""

    nvIndex: TPMI_RH_NV_EXP_INDEX
    nameAlg: TPMI_ALG_HASH
    attributes: TPMA_NV_EXP
    authPolicy: TPM2B_DIGEST = b""
    dataSize: UINT16


TPMU_NV_PUBLIC_2 = Annotated[
    TPMS_NV_PUBLIC | TPMS_NV_PUBLIC_EXP_ATTR,
    union(
        {
            TPM_HT.NV_INDEX: TPMS_NV_PUBLIC,
            TPM_HT.EXTERNAL_NV: TPMS_NV_PUBLIC_EXP_ATTR,
            TPM_HT.PERMANENT_NV: TPMS_NV_PUBLIC,
        }
    ),
]


class TPMT_NV_PUBLIC_2(Structure):
    """The public area of any index, by the first octet of its handle.  [Part 2, 13.10]"""

    handleType: TPM_HT
    publicArea: TPMU_NV_PUBLIC_2 = by("handleType")


TPM2B_NV_PUBLIC_2 = Annotated[TPMT_NV_PUBLIC_2, Sized(TPMT_NV_PUBLIC_2.schema)]
