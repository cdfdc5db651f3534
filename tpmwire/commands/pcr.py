"""Platform configuration registers.  [Part 3, 22]"""

from tpmwire.commands.base import USER, Command, Response
from tpmwire.constants import TPM_CC
from tpmwire.structure import handle, secret
from tpmwire.types.base import TPMI_YES_NO, UINT32
from tpmwire.types.interface import TPMI_ALG_HASH, TPMI_DH_PCR, TPMI_RH_PLATFORM
from tpmwire.types.structures import (
    TPM2B_DIGEST,
    TPM2B_EVENT,
    TPML_DIGEST,
    TPML_DIGEST_VALUES,
    TPML_PCR_SELECTION,
)


class PCR_ExtendResponse(Response):
    """Nothing but success."""


class PCR_Extend(Command[PCR_ExtendResponse], code=TPM_CC.PCR_Extend):
    """Extend a PCR with a digest for each bank.  [Part 3, 22.2]"""

    pcrHandle: TPMI_DH_PCR = handle(auth=USER)

    digests: TPML_DIGEST_VALUES


class PCR_EventResponse(Response):
    """The digest for each bank."""

    digests: TPML_DIGEST_VALUES


class PCR_Event(Command[PCR_EventResponse], code=TPM_CC.PCR_Event):
    """Hash data for all banks and extend a PCR with it.  [Part 3, 22.3]"""

    pcrHandle: TPMI_DH_PCR = handle(auth=USER)

    eventData: TPM2B_EVENT


class PCR_ReadResponse(Response):
    """Values of as many PCRs as fit, and which those are."""

    pcrUpdateCounter: UINT32
    pcrSelectionOut: TPML_PCR_SELECTION
    pcrValues: TPML_DIGEST


class PCR_Read(Command[PCR_ReadResponse], code=TPM_CC.PCR_Read):
    """Read PCRs, eight at most.  [Part 3, 22.4]"""

    pcrSelectionIn: TPML_PCR_SELECTION


class PCR_AllocateResponse(Response):
    """Whether it fits, and how much room there is."""

    allocationSuccess: TPMI_YES_NO
    maxPCR: UINT32
    sizeNeeded: UINT32
    sizeAvailable: UINT32


class PCR_Allocate(Command[PCR_AllocateResponse], code=TPM_CC.PCR_Allocate):
    """Choose the PCRs and banks that there are from the next start on.  [Part 3, 22.5]"""

    authHandle: TPMI_RH_PLATFORM = handle(auth=USER)

    pcrAllocation: TPML_PCR_SELECTION


class PCR_SetAuthPolicyResponse(Response):
    """Nothing but success."""


class PCR_SetAuthPolicy(Command[PCR_SetAuthPolicyResponse], code=TPM_CC.PCR_SetAuthPolicy):
    """Set the policy of a PCR and of all that share it.  [Part 3, 22.6]"""

    authHandle: TPMI_RH_PLATFORM = handle(auth=USER)

    authPolicy: TPM2B_DIGEST
    hashAlg: TPMI_ALG_HASH
    pcrNum: TPMI_DH_PCR


class PCR_SetAuthValueResponse(Response):
    """Nothing but success."""


class PCR_SetAuthValue(Command[PCR_SetAuthValueResponse], code=TPM_CC.PCR_SetAuthValue):
    """Change the authorization value of a PCR and of all that share it.  [Part 3, 22.7]"""

    pcrHandle: TPMI_DH_PCR = handle(auth=USER)

    auth: TPM2B_DIGEST = secret()


class PCR_ResetResponse(Response):
    """Nothing but success."""


class PCR_Reset(Command[PCR_ResetResponse], code=TPM_CC.PCR_Reset):
    """Reset a PCR in all banks.  [Part 3, 22.8]"""

    pcrHandle: TPMI_DH_PCR = handle(auth=USER)
