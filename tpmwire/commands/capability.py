"""What the TPM has and can do.  [Part 3, 30]"""

from tpmwire.commands.base import USER, Command, Response
from tpmwire.constants import TPM_CAP, TPM_CC
from tpmwire.structure import handle
from tpmwire.types.base import TPMI_YES_NO, UINT32
from tpmwire.types.capabilities import TPM2B_SET_CAPABILITY_DATA, TPMS_CAPABILITY_DATA
from tpmwire.types.interface import TPMI_RH_HIERARCHY
from tpmwire.types.objects import TPMT_PUBLIC_PARMS


class GetCapabilityResponse(Response):
    """As much of the list as fits; `moreData` tells that there is more."""

    moreData: TPMI_YES_NO
    capabilityData: TPMS_CAPABILITY_DATA


class GetCapability(Command[GetCapabilityResponse], code=TPM_CC.GetCapability):
    """List capabilities of one group from `property` on.  [Part 3, 30.2]"""

    capability: TPM_CAP
    property: UINT32 = 0
    propertyCount: UINT32


class TestParmsResponse(Response):
    """Nothing but success: the TPM supports the parameters."""


class TestParms(Command[TestParmsResponse], code=TPM_CC.TestParms):
    """Ask whether the TPM supports a type of object with these parameters.  [Part 3, 30.3]"""

    parameters: TPMT_PUBLIC_PARMS


class SetCapabilityResponse(Response):
    """Nothing but success."""


class SetCapability(Command[SetCapabilityResponse], code=TPM_CC.SetCapability):
    """Change a capability that can be changed.  [Part 3, 30.4]"""

    authHandle: TPMI_RH_HIERARCHY = handle(auth=USER)

    setCapabilityData: TPM2B_SET_CAPABILITY_DATA
