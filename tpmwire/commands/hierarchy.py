"""Hierarchies and their primary objects.  [Part 3, 24]"""

from tpmwire.commands.base import USER, Command, Response
from tpmwire.commands.object import NO_SENSITIVE
from tpmwire.constants import TPM_CC
from tpmwire.structure import handle
from tpmwire.types.algorithms import TPM2B_SENSITIVE_CREATE
from tpmwire.types.base import TPM_HANDLE
from tpmwire.types.interface import TPMI_RH_HIERARCHY
from tpmwire.types.objects import TPM2B_CREATION_DATA, TPM2B_PUBLIC
from tpmwire.types.structures import (
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
