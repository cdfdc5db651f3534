"""Components attached to a TPM.  [Part 3, 32]"""

from tpmwire.commands.base import DUP, USER, Command, Response
from tpmwire.constants import TPM_AT, TPM_CC
from tpmwire.structure import handle
from tpmwire.types.base import TPMI_YES_NO, UINT32
from tpmwire.types.components import TPML_AC_CAPABILITIES, TPMS_AC_OUTPUT
from tpmwire.types.interface import TPMI_DH_OBJECT, TPMI_RH_AC, TPMI_RH_NV_AUTH, TPMI_SH_POLICY
from tpmwire.types.structures import TPM2B_MAX_BUFFER, TPM2B_NAME


class AC_GetCapabilityResponse(Response):
    """As much of the list as fits; `moreData` tells that there is more."""

    moreData: TPMI_YES_NO
    capabilitiesData: TPML_AC_CAPABILITIES


class AC_GetCapability(Command[AC_GetCapabilityResponse], code=TPM_CC.AC_GetCapability):
    """List what an attached component says of itself, from `capability` on.  [Part 3, 32.2]"""

    ac: TPMI_RH_AC = handle()

    capability: TPM_AT
    count: UINT32


class AC_SendResponse(Response):
    """What the component answers."""

    acDataOut: TPMS_AC_OUTPUT


class AC_Send(Command[AC_SendResponse], code=TPM_CC.AC_Send):
    """Send a loaded object, with its private part, to an attached component.  [Part 3, 32.3]"""

    sendObject: TPMI_DH_OBJECT = handle(auth=DUP)
    authHandle: TPMI_RH_NV_AUTH = handle(auth=USER)
    ac: TPMI_RH_AC = handle()

    acDataIn: TPM2B_MAX_BUFFER


class Policy_AC_SendSelectResponse(Response):
    """Nothing but success."""


class Policy_AC_SendSelect(Command[Policy_AC_SendSelectResponse], code=TPM_CC.Policy_AC_SendSelect):
    """The session authorizes the sending to this component only.  [Part 3, 32.4]"""

    policySession: TPMI_SH_POLICY = handle()

    objectName: TPM2B_NAME
    authHandleName: TPM2B_NAME
    acName: TPM2B_NAME
    includeObject: TPMI_YES_NO
