"""What TPM2_GetCapability brings: properties, lists and their union.  [Part 2, 10.8-10.10]"""

from typing import Annotated

from tpmwire.attributes import TPMA_ACT, TPMA_ALGORITHM, TPMA_CC
from tpmwire.constants import TPM_CAP, TPM_CC, TPM_ECC, TPM_PT, TPM_PT_PCR
from tpmwire.structure import Structure, by, union, wire_of
from tpmwire.types.base import TPM_ALG_ID, TPM_ECC_CURVE, TPM_HANDLE, UINT32
from tpmwire.types.objects import TPM2B_PUBLIC
from tpmwire.types.structures import (
    TPM2B_NAME,
    TPML_PCR_SELECTION,
    TPMS_PCR_SELECTION,
    TPMT_HA,
)
from tpmwire.wire import Buffer, Counted, Rest, Sized


class TPMS_ALG_PROPERTY(Structure):
    """An algorithm and what it can be used for.  [Part 2, 10.8.1]"""

    alg: TPM_ALG_ID
    algProperties: TPMA_ALGORITHM


class TPMS_TAGGED_PROPERTY(Structure):
    """A property of the TPM and its value.  [Part 2, 10.8.2]"""

    property: TPM_PT
    value: UINT32


class TPMS_TAGGED_PCR_SELECT(Structure):
    """A property of PCRs and the PCRs that have it.  [Part 2, 10.8.3]"""

    tag: TPM_PT_PCR
    pcrSelect: Annotated[bytes, Buffer(prefix=1)]


class TPMS_TAGGED_POLICY(Structure):
    """A permanent handle and its policy.  [Part 2, 10.8.4]"""

    handle: TPM_HANDLE
    policyHash: TPMT_HA


class TPMS_ACT_DATA(Structure):
    """An authenticated countdown timer; `timeout` in seconds.  [Part 2, 10.8.5]"""

    handle: TPM_HANDLE
    timeout: UINT32
    attributes: TPMA_ACT


class TPMS_SPDM_SESSION_INFO(Structure):
    """The keys at both ends of an SPDM session.  [Part 2, 10.8.6]"""

    reqKeyName: TPM2B_NAME
    tpmKeyName: TPM2B_NAME


TPM2B_VENDOR_PROPERTY = Annotated[bytes, Buffer(limit=512)]

TPML_CC = Annotated[tuple[TPM_CC, ...], Counted(wire_of(TPM_CC))]
TPML_CCA = Annotated[tuple[TPMA_CC, ...], Counted(wire_of(TPMA_CC))]
TPML_HANDLE = Annotated[tuple[int, ...], Counted(wire_of(TPM_HANDLE))]
TPML_ALG_PROPERTY = Annotated[tuple[TPMS_ALG_PROPERTY, ...], Counted(wire_of(TPMS_ALG_PROPERTY))]
TPML_TAGGED_TPM_PROPERTY = Annotated[
    tuple[TPMS_TAGGED_PROPERTY, ...], Counted(wire_of(TPMS_TAGGED_PROPERTY))
]
TPML_TAGGED_PCR_PROPERTY = Annotated[
    tuple[TPMS_TAGGED_PCR_SELECT, ...], Counted(wire_of(TPMS_TAGGED_PCR_SELECT))
]
TPML_ECC_CURVE = Annotated[tuple[TPM_ECC, ...], Counted(wire_of(TPM_ECC_CURVE))]
TPML_TAGGED_POLICY = Annotated[tuple[TPMS_TAGGED_POLICY, ...], Counted(wire_of(TPMS_TAGGED_POLICY))]
TPML_ACT_DATA = Annotated[tuple[TPMS_ACT_DATA, ...], Counted(wire_of(TPMS_ACT_DATA))]
TPML_PUB_KEY = Annotated[tuple[TPM2B_PUBLIC, ...], Counted(wire_of(TPM2B_PUBLIC))]
TPML_SPDM_SESSION_INFO = Annotated[
    tuple[TPMS_SPDM_SESSION_INFO, ...], Counted(wire_of(TPMS_SPDM_SESSION_INFO))
]
TPML_VENDOR_PROPERTY = Annotated[tuple[bytes, ...], Counted(wire_of(TPM2B_VENDOR_PROPERTY))]

CapabilityList = (
    tuple[TPM_CC, ...]
    | tuple[TPMA_CC, ...]
    | tuple[int, ...]
    | tuple[TPMS_ALG_PROPERTY, ...]
    | tuple[TPMS_TAGGED_PROPERTY, ...]
    | tuple[TPMS_TAGGED_PCR_SELECT, ...]
    | tuple[TPM_ECC, ...]
    | tuple[TPMS_TAGGED_POLICY, ...]
    | tuple[TPMS_ACT_DATA, ...]
    | tuple[TPMS_PCR_SELECTION, ...]
    | tuple[TPM2B_PUBLIC, ...]
    | tuple[TPMS_SPDM_SESSION_INFO, ...]
    | tuple[bytes, ...]
)

TPMU_CAPABILITIES = Annotated[
    CapabilityList,
    union(
        {
            TPM_CAP.ALGS: TPML_ALG_PROPERTY,
            TPM_CAP.HANDLES: TPML_HANDLE,
            TPM_CAP.COMMANDS: TPML_CCA,
            TPM_CAP.PP_COMMANDS: TPML_CC,
            TPM_CAP.AUDIT_COMMANDS: TPML_CC,
            TPM_CAP.PCRS: TPML_PCR_SELECTION,
            TPM_CAP.TPM_PROPERTIES: TPML_TAGGED_TPM_PROPERTY,
            TPM_CAP.PCR_PROPERTIES: TPML_TAGGED_PCR_PROPERTY,
            TPM_CAP.ECC_CURVES: TPML_ECC_CURVE,
            TPM_CAP.AUTH_POLICIES: TPML_TAGGED_POLICY,
            TPM_CAP.ACT: TPML_ACT_DATA,
            TPM_CAP.PUB_KEYS: TPML_PUB_KEY,
            TPM_CAP.SPDM_SESSION_INFO: TPML_SPDM_SESSION_INFO,
            TPM_CAP.VENDOR_PROPERTY: TPML_VENDOR_PROPERTY,
        }
    ),
]


class TPMS_CAPABILITY_DATA(Structure):
    """One group of capabilities and its list.  [Part 2, 10.10.2]"""

    capability: TPM_CAP
    data: TPMU_CAPABILITIES = by("capability")


# What can be set, another registry tells; that which none does is kept as octets.
TPMU_SET_CAPABILITIES = Annotated[bytes, Rest()]


class TPMS_SET_CAPABILITY_DATA(Structure):
    """One capability and its new value.  [Part 2, 10.10]"""

    setCapability: TPM_CAP
    data: TPMU_SET_CAPABILITIES


TPM2B_SET_CAPABILITY_DATA = Annotated[
    TPMS_SET_CAPABILITY_DATA, Sized(TPMS_SET_CAPABILITY_DATA.schema)
]
