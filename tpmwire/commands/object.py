"""Making and loading objects.  [Part 3, 12]"""

from tpmwire.commands.base import ADMIN, USER, Command, Response
from tpmwire.constants import TPM_CC, TPM_RH
from tpmwire.structure import handle, secret
from tpmwire.types.algorithms import (
    TPM2B_ENCRYPTED_SECRET,
    TPM2B_SENSITIVE_CREATE,
    TPM2B_SENSITIVE_DATA,
    TPMS_SENSITIVE_CREATE,
)
from tpmwire.types.base import TPM_HANDLE
from tpmwire.types.interface import TPMI_DH_OBJECT, TPMI_DH_PARENT, TPMI_RH_HIERARCHY
from tpmwire.types.objects import (
    TPM2B_CREATION_DATA,
    TPM2B_ID_OBJECT,
    TPM2B_PRIVATE,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE,
    TPM2B_TEMPLATE,
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


class ActivateCredentialResponse(Response):
    """The credential in clear."""

    certInfo: TPM2B_DIGEST = secret()


class ActivateCredential(Command[ActivateCredentialResponse], code=TPM_CC.ActivateCredential):
    """Open a credential that was made for this object and this key together.  [Part 3, 12.5]"""

    activateHandle: TPMI_DH_OBJECT = handle(auth=ADMIN)
    keyHandle: TPMI_DH_OBJECT = handle(auth=USER)

    credentialBlob: TPM2B_ID_OBJECT
    secret: TPM2B_ENCRYPTED_SECRET


class MakeCredentialResponse(Response):
    """The credential, encrypted, and the secret that opens it, encrypted for the key."""

    credentialBlob: TPM2B_ID_OBJECT
    secret: TPM2B_ENCRYPTED_SECRET


class MakeCredential(Command[MakeCredentialResponse], code=TPM_CC.MakeCredential):
    """Encrypt a credential for the TPM that has the key and the named object.  [Part 3, 12.6]"""

    handle: TPMI_DH_OBJECT = handle()

    credential: TPM2B_DIGEST = secret()
    objectName: TPM2B_NAME


class UnsealResponse(Response):
    """What was sealed."""

    outData: TPM2B_SENSITIVE_DATA


class Unseal(Command[UnsealResponse], code=TPM_CC.Unseal):
    """Read the data that is sealed in a loaded object.  [Part 3, 12.7]"""

    itemHandle: TPMI_DH_OBJECT = handle(auth=USER)


class ObjectChangeAuthResponse(Response):
    """The private part with the new authorization value."""

    outPrivate: TPM2B_PRIVATE


class ObjectChangeAuth(Command[ObjectChangeAuthResponse], code=TPM_CC.ObjectChangeAuth):
    """Make a private part with another PIN; the old one stays valid.  [Part 3, 12.8]"""

    objectHandle: TPMI_DH_OBJECT = handle(auth=ADMIN)
    parentHandle: TPMI_DH_OBJECT = handle()

    newAuth: TPM2B_AUTH


class CreateLoadedResponse(Response):
    """The new object, loaded; `outPrivate` is empty for a primary or derived one."""

    objectHandle: TPM_HANDLE = handle()

    outPrivate: TPM2B_PRIVATE
    outPublic: TPM2B_PUBLIC
    name: TPM2B_NAME


class CreateLoaded(Command[CreateLoadedResponse], code=TPM_CC.CreateLoaded):
    """Make an object and load it: ordinary, primary or derived, as is the parent.  [Part 3, 12.9]

    `inPublic` is the octets of a TPMT_PUBLIC, or of a DerivationTemplate.
    """

    parentHandle: TPMI_DH_PARENT = handle(auth=USER)

    inSensitive: TPM2B_SENSITIVE_CREATE = NO_SENSITIVE
    inPublic: TPM2B_TEMPLATE
