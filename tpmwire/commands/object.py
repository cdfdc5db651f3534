"""Making and loading objects.  [Part 3, 12]"""

from tpmwire.commands.base import ADMIN, USER, Command, Response
from tpmwire.constants import TPM_CC, TPM_RH
from tpmwire.structure import handle
from tpmwire.types.algorithms import TPM2B_SENSITIVE_CREATE, TPMS_SENSITIVE_CREATE
from tpmwire.types.base import TPM_HANDLE
from tpmwire.types.interface import TPMI_DH_OBJECT, TPMI_RH_HIERARCHY
from tpmwire.types.objects import (
    TPM2B_CREATION_DATA,
    TPM2B_PRIVATE,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE,
)
from tpmwire.types.structures import (
    TPM2B_AUTH,
    TPM2B_DATA,
    TPM2B_DIGEST,
    TPM2B_NAME,
    TPML_PCR_SELECTION,
    TPMT_TK_CREATION,
)

NO_SENSITIVE = TPMS_SENSITIVE_CREATE()


class CreateResponse(Response):
    """The new object, its private part encrypted for its parent."""

    outPrivate: TPM2B_PRIVATE
    outPublic: TPM2B_PUBLIC
    creationData: TPM2B_CREATION_DATA
    creationHash: TPM2B_DIGEST
    creationTicket: TPMT_TK_CREATION


class Create(Command[CreateResponse], code=TPM_CC.Create):
    """Make a new object under a loaded parent; it is not loaded itself.  [Part 3, 12.1]"""

    parentHandle: TPMI_DH_OBJECT = handle(auth=USER)

    inSensitive: TPM2B_SENSITIVE_CREATE = NO_SENSITIVE
    inPublic: TPM2B_PUBLIC
    outsideInfo: TPM2B_DATA = b""
    creationPCR: TPML_PCR_SELECTION = ()


class LoadResponse(Response):
    """Where the object stands now."""

    objectHandle: TPM_HANDLE = handle()

    name: TPM2B_NAME


class Load(Command[LoadResponse], code=TPM_CC.Load):
    """Load an object that was made under the parent.  [Part 3, 12.2]"""

    parentHandle: TPMI_DH_OBJECT = handle(auth=USER)

    inPrivate: TPM2B_PRIVATE
    inPublic: TPM2B_PUBLIC


class LoadExternalResponse(Response):
    """Where the object stands now."""

    objectHandle: TPM_HANDLE = handle()

    name: TPM2B_NAME


class LoadExternal(Command[LoadExternalResponse], code=TPM_CC.LoadExternal):
    """Load a public key, or a whole key in clear, of no hierarchy of this TPM.  [Part 3, 12.3]"""

    inPrivate: TPM2B_SENSITIVE = None
    inPublic: TPM2B_PUBLIC
    hierarchy: TPMI_RH_HIERARCHY = TPM_RH.NULL


class ReadPublicResponse(Response):
    """The public area and the Names that the TPM computed."""

    outPublic: TPM2B_PUBLIC
    name: TPM2B_NAME
    qualifiedName: TPM2B_NAME


class ReadPublic(Command[ReadPublicResponse], code=TPM_CC.ReadPublic):
    """Read the public area of a loaded object; no authorization is needed.  [Part 3, 12.4]"""

    objectHandle: TPMI_DH_OBJECT = handle()


class ObjectChangeAuthResponse(Response):
    """The private part with the new authorization value."""

    outPrivate: TPM2B_PRIVATE


class ObjectChangeAuth(Command[ObjectChangeAuthResponse], code=TPM_CC.ObjectChangeAuth):
    """Make a private part with another PIN; the old one stays valid.  [Part 3, 12.8]"""

    objectHandle: TPMI_DH_OBJECT = handle(auth=ADMIN)
    parentHandle: TPMI_DH_OBJECT = handle()

    newAuth: TPM2B_AUTH
