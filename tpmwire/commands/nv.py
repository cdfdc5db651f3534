"""Indices in non-volatile memory.  [Part 3, 31]

What an index holds is no secret to those who may read it, and mostly none at all (certificates,
counters), so it is shown.  A secret belongs into a sealed object.
"""

from tpmwire.commands.base import ADMIN, USER, Command, Response
from tpmwire.commands.signing import KEY_SCHEME
from tpmwire.constants import TPM_CC
from tpmwire.structure import handle
from tpmwire.types.algorithms import TPMT_SIG_SCHEME, TPMT_SIGNATURE
from tpmwire.types.attestation import TPM2B_ATTEST
from tpmwire.types.base import UINT16, UINT64
from tpmwire.types.interface import (
    TPMI_DH_OBJECT,
    TPMI_RH_NV_AUTH,
    TPMI_RH_NV_DEFINED_INDEX,
    TPMI_RH_NV_INDEX,
    TPMI_RH_PLATFORM,
    TPMI_RH_PROVISION,
)
from tpmwire.types.nv import TPM2B_NV_PUBLIC, TPM2B_NV_PUBLIC_2
from tpmwire.types.structures import TPM2B_AUTH, TPM2B_DATA, TPM2B_MAX_NV_BUFFER, TPM2B_NAME


class NV_DefineSpaceResponse(Response):
    """Nothing but success."""


class NV_DefineSpace(Command[NV_DefineSpaceResponse], code=TPM_CC.NV_DefineSpace):
    """Make an index, with `auth` as its authorization value.  [Part 3, 31.3]"""

    authHandle: TPMI_RH_PROVISION = handle(auth=USER)

    auth: TPM2B_AUTH
    publicInfo: TPM2B_NV_PUBLIC


class NV_UndefineSpaceResponse(Response):
    """Nothing but success."""


class NV_UndefineSpace(Command[NV_UndefineSpaceResponse], code=TPM_CC.NV_UndefineSpace):
    """Remove an index with what it holds.  [Part 3, 31.4]"""

    authHandle: TPMI_RH_PROVISION = handle(auth=USER)
    nvIndex: TPMI_RH_NV_DEFINED_INDEX = handle()


class NV_UndefineSpaceSpecialResponse(Response):
    """Nothing but success."""


class NV_UndefineSpaceSpecial(
    Command[NV_UndefineSpaceSpecialResponse], code=TPM_CC.NV_UndefineSpaceSpecial
):
    """Remove an index of the platform that only its own policy lets go.  [Part 3, 31.5]"""

    nvIndex: TPMI_RH_NV_DEFINED_INDEX = handle(auth=ADMIN)
    platform: TPMI_RH_PLATFORM = handle(auth=USER)


class NV_ReadPublicResponse(Response):
    """The public area and the Name that the TPM computed."""

    nvPublic: TPM2B_NV_PUBLIC
    nvName: TPM2B_NAME


class NV_ReadPublic(Command[NV_ReadPublicResponse], code=TPM_CC.NV_ReadPublic):
    """Read the public area of an index; no authorization is needed.  [Part 3, 31.6]"""

    nvIndex: TPMI_RH_NV_INDEX = handle()


class NV_WriteResponse(Response):
    """Nothing but success."""


class NV_Write(Command[NV_WriteResponse], code=TPM_CC.NV_Write):
    """Write octets into an index.  [Part 3, 31.7]"""

    authHandle: TPMI_RH_NV_AUTH = handle(auth=USER)
    nvIndex: TPMI_RH_NV_INDEX = handle()

    data: TPM2B_MAX_NV_BUFFER
    offset: UINT16 = 0


class NV_IncrementResponse(Response):
    """Nothing but success."""


class NV_Increment(Command[NV_IncrementResponse], code=TPM_CC.NV_Increment):
    """Add one to a counter.  [Part 3, 31.8]"""

    authHandle: TPMI_RH_NV_AUTH = handle(auth=USER)
    nvIndex: TPMI_RH_NV_INDEX = handle()


class NV_ExtendResponse(Response):
    """Nothing but success."""


class NV_Extend(Command[NV_ExtendResponse], code=TPM_CC.NV_Extend):
    """Extend an index as a PCR is.  [Part 3, 31.9]"""

    authHandle: TPMI_RH_NV_AUTH = handle(auth=USER)
    nvIndex: TPMI_RH_NV_INDEX = handle()

    data: TPM2B_MAX_NV_BUFFER


class NV_SetBitsResponse(Response):
    """Nothing but success."""


class NV_SetBits(Command[NV_SetBitsResponse], code=TPM_CC.NV_SetBits):
    """Set bits of an index of 64.  [Part 3, 31.10]"""

    authHandle: TPMI_RH_NV_AUTH = handle(auth=USER)
    nvIndex: TPMI_RH_NV_INDEX = handle()

    bits: UINT64


class NV_WriteLockResponse(Response):
    """Nothing but success."""


class NV_WriteLock(Command[NV_WriteLockResponse], code=TPM_CC.NV_WriteLock):
    """Let nobody write an index, until the next start or for good.  [Part 3, 31.11]"""

    authHandle: TPMI_RH_NV_AUTH = handle(auth=USER)
    nvIndex: TPMI_RH_NV_INDEX = handle()


class NV_GlobalWriteLockResponse(Response):
    """Nothing but success."""


class NV_GlobalWriteLock(Command[NV_GlobalWriteLockResponse], code=TPM_CC.NV_GlobalWriteLock):
    """Lock all indices that have GLOBALLOCK set.  [Part 3, 31.12]"""

    authHandle: TPMI_RH_PROVISION = handle(auth=USER)


class NV_ReadResponse(Response):
    """Octets of the index."""

    data: TPM2B_MAX_NV_BUFFER


class NV_Read(Command[NV_ReadResponse], code=TPM_CC.NV_Read):
    """Read octets of an index.  [Part 3, 31.13]"""

    authHandle: TPMI_RH_NV_AUTH = handle(auth=USER)
    nvIndex: TPMI_RH_NV_INDEX = handle()

    size: UINT16
    offset: UINT16 = 0


class NV_ReadLockResponse(Response):
    """Nothing but success."""


class NV_ReadLock(Command[NV_ReadLockResponse], code=TPM_CC.NV_ReadLock):
    """Let nobody read an index until the next start.  [Part 3, 31.14]"""

    authHandle: TPMI_RH_NV_AUTH = handle(auth=USER)
    nvIndex: TPMI_RH_NV_INDEX = handle()


class NV_ChangeAuthResponse(Response):
    """Nothing but success."""


class NV_ChangeAuth(Command[NV_ChangeAuthResponse], code=TPM_CC.NV_ChangeAuth):
    """Change the authorization value of an index, as its policy allows.  [Part 3, 31.15]"""

    nvIndex: TPMI_RH_NV_INDEX = handle(auth=ADMIN)

    newAuth: TPM2B_AUTH


class NV_CertifyResponse(Response):
    """A TPMS_NV_CERTIFY_INFO or TPMS_NV_DIGEST_CERTIFY_INFO, and its signature."""

    certifyInfo: TPM2B_ATTEST
    signature: TPMT_SIGNATURE


class NV_Certify(Command[NV_CertifyResponse], code=TPM_CC.NV_Certify):
    """Certify what an index holds; with size and offset 0, its digest.  [Part 3, 31.16]"""

    signHandle: TPMI_DH_OBJECT = handle(auth=USER)
    authHandle: TPMI_RH_NV_AUTH = handle(auth=USER)
    nvIndex: TPMI_RH_NV_INDEX = handle()

    qualifyingData: TPM2B_DATA
    inScheme: TPMT_SIG_SCHEME = KEY_SCHEME
    size: UINT16
    offset: UINT16 = 0


class NV_DefineSpace2Response(Response):
    """Nothing but success."""


class NV_DefineSpace2(Command[NV_DefineSpace2Response], code=TPM_CC.NV_DefineSpace2):
    """Make an index of any kind, with `auth` as its authorization value.  [Part 3, 31.17]"""

    authHandle: TPMI_RH_PROVISION = handle(auth=USER)

    auth: TPM2B_AUTH
    publicInfo: TPM2B_NV_PUBLIC_2


class NV_ReadPublic2Response(Response):
    """The public area and the Name that the TPM computed."""

    nvPublic: TPM2B_NV_PUBLIC_2
    nvName: TPM2B_NAME


class NV_ReadPublic2(Command[NV_ReadPublic2Response], code=TPM_CC.NV_ReadPublic2):
    """Read the public area of an index of any kind.  [Part 3, 31.18]"""

    nvIndex: TPMI_RH_NV_INDEX = handle()
