"""Hierarchies and their primary objects.  [Part 3, 24]"""

from tpmwire.commands.base import USER, Command, Response
from tpmwire.commands.object import NO_SENSITIVE
from tpmwire.constants import TPM_CC
from tpmwire.structure import handle
from tpmwire.types.algorithms import TPM2B_SENSITIVE_CREATE
from tpmwire.types.base import TPM_HANDLE, TPMI_YES_NO
from tpmwire.types.interface import (
    TPMI_ALG_HASH,
    TPMI_RH_BASE_HIERARCHY,
    TPMI_RH_CLEAR,
    TPMI_RH_ENABLES,
    TPMI_RH_HIERARCHY,
    TPMI_RH_HIERARCHY_AUTH,
    TPMI_RH_HIERARCHY_POLICY,
    TPMI_RH_PLATFORM,
)
from tpmwire.types.objects import TPM2B_CREATION_DATA, TPM2B_PUBLIC
from tpmwire.types.structures import (
    TPM2B_AUTH,
    TPM2B_DATA,
    TPM2B_DIGEST,
    TPM2B_NAME,
    TPML_PCR_SELECTION,
    TPMT_TK_CREATION,
)


class CreatePrimaryResponse(Response):
    """The primary object, loaded."""

    objectHandle: TPM_HANDLE = handle()

    outPublic: TPM2B_PUBLIC
    creationData: TPM2B_CREATION_DATA
    creationHash: TPM2B_DIGEST
    creationTicket: TPMT_TK_CREATION
    name: TPM2B_NAME


class CreatePrimary(Command[CreatePrimaryResponse], code=TPM_CC.CreatePrimary):
    """Derive an object from a seed: the same template gives the same key.  [Part 3, 24.1]"""

    primaryHandle: TPMI_RH_HIERARCHY = handle(auth=USER)

    inSensitive: TPM2B_SENSITIVE_CREATE = NO_SENSITIVE
    inPublic: TPM2B_PUBLIC
    outsideInfo: TPM2B_DATA = b""
    creationPCR: TPML_PCR_SELECTION = ()


class HierarchyControlResponse(Response):
    """Nothing but success."""


class HierarchyControl(Command[HierarchyControlResponse], code=TPM_CC.HierarchyControl):
    """Switch a hierarchy off, or with the platform's authorization on.  [Part 3, 24.2]"""

    authHandle: TPMI_RH_BASE_HIERARCHY = handle(auth=USER)

    enable: TPMI_RH_ENABLES
    state: TPMI_YES_NO


class SetPrimaryPolicyResponse(Response):
    """Nothing but success."""


class SetPrimaryPolicy(Command[SetPrimaryPolicyResponse], code=TPM_CC.SetPrimaryPolicy):
    """Set the policy of a hierarchy, of the lockout, or of a timer.  [Part 3, 24.3]"""

    authHandle: TPMI_RH_HIERARCHY_POLICY = handle(auth=USER)

    authPolicy: TPM2B_DIGEST
    hashAlg: TPMI_ALG_HASH


class ChangePPSResponse(Response):
    """Nothing but success."""


class ChangePPS(Command[ChangePPSResponse], code=TPM_CC.ChangePPS):
    """Make a new platform seed: all keys of the platform are lost.  [Part 3, 24.4]"""

    authHandle: TPMI_RH_PLATFORM = handle(auth=USER)


class ChangeEPSResponse(Response):
    """Nothing but success."""


class ChangeEPS(Command[ChangeEPSResponse], code=TPM_CC.ChangeEPS):
    """Make a new endorsement seed: the TPM loses its certified identity.  [Part 3, 24.5]"""

    authHandle: TPMI_RH_PLATFORM = handle(auth=USER)


class ClearResponse(Response):
    """Nothing but success."""


class Clear(Command[ClearResponse], code=TPM_CC.Clear):
    """Make a new storage seed: all keys and indices of the owner are lost.  [Part 3, 24.6]"""

    authHandle: TPMI_RH_CLEAR = handle(auth=USER)


class ClearControlResponse(Response):
    """Nothing but success."""


class ClearControl(Command[ClearControlResponse], code=TPM_CC.ClearControl):
    """Forbid TPM2_Clear, or with the platform's authorization allow it.  [Part 3, 24.7]"""

    auth: TPMI_RH_CLEAR = handle(auth=USER)

    disable: TPMI_YES_NO


class HierarchyChangeAuthResponse(Response):
    """Nothing but success."""


class HierarchyChangeAuth(Command[HierarchyChangeAuthResponse], code=TPM_CC.HierarchyChangeAuth):
    """Change the authorization value of a hierarchy or of the lockout.  [Part 3, 24.8]"""

    authHandle: TPMI_RH_HIERARCHY_AUTH = handle(auth=USER)

    newAuth: TPM2B_AUTH


class ReadOnlyControlResponse(Response):
    """Nothing but success."""


class ReadOnlyControl(Command[ReadOnlyControlResponse], code=TPM_CC.ReadOnlyControl):
    """Forbid or allow the commands that change what is kept in the TPM.  [Part 3, 24.9]"""

    authHandle: TPMI_RH_PLATFORM = handle(auth=USER)

    state: TPMI_YES_NO
