"""Certifying what is in the TPM.  [Part 3, 18]

`qualifyingData` is what a verifier sends so that the answer cannot be an old one.  A TPM2B_ATTEST
is read with `TPMS_ATTEST.unpack`; the signature is over its octets.
"""

from tpmwire.commands.base import ADMIN, USER, Command, Response
from tpmwire.commands.signing import KEY_SCHEME
from tpmwire.constants import TPM_CC
from tpmwire.structure import handle
from tpmwire.types.algorithms import TPMT_SIG_SCHEME, TPMT_SIGNATURE
from tpmwire.types.attestation import TPM2B_ATTEST
from tpmwire.types.interface import TPMI_DH_OBJECT, TPMI_RH_ENDORSEMENT, TPMI_SH_HMAC
from tpmwire.types.structures import (
    TPM2B_DATA,
    TPM2B_DIGEST,
    TPM2B_MAX_BUFFER,
    TPML_PCR_SELECTION,
    TPMT_TK_CREATION,
)


class CertifyResponse(Response):
    """A TPMS_CERTIFY_INFO and its signature."""

    certifyInfo: TPM2B_ATTEST
    signature: TPMT_SIGNATURE


class Certify(Command[CertifyResponse], code=TPM_CC.Certify):
    """Certify that an object is loaded in this TPM.  [Part 3, 18.2]"""

    objectHandle: TPMI_DH_OBJECT = handle(auth=ADMIN)
    signHandle: TPMI_DH_OBJECT = handle(auth=USER)

    qualifyingData: TPM2B_DATA
    inScheme: TPMT_SIG_SCHEME = KEY_SCHEME


class CertifyCreationResponse(Response):
    """A TPMS_CREATION_INFO and its signature."""

    certifyInfo: TPM2B_ATTEST
    signature: TPMT_SIGNATURE


class CertifyCreation(Command[CertifyCreationResponse], code=TPM_CC.CertifyCreation):
    """Certify the circumstances in which an object was made.  [Part 3, 18.3]"""

    signHandle: TPMI_DH_OBJECT = handle(auth=USER)
    objectHandle: TPMI_DH_OBJECT = handle()

    qualifyingData: TPM2B_DATA
    creationHash: TPM2B_DIGEST
    inScheme: TPMT_SIG_SCHEME = KEY_SCHEME
    creationTicket: TPMT_TK_CREATION


class QuoteResponse(Response):
    """A TPMS_QUOTE_INFO and its signature."""

    quoted: TPM2B_ATTEST
    signature: TPMT_SIGNATURE


class Quote(Command[QuoteResponse], code=TPM_CC.Quote):
    """Certify the values of PCRs.  [Part 3, 18.4]"""

    signHandle: TPMI_DH_OBJECT = handle(auth=USER)

    qualifyingData: TPM2B_DATA
    inScheme: TPMT_SIG_SCHEME = KEY_SCHEME
    PCRselect: TPML_PCR_SELECTION


class GetSessionAuditDigestResponse(Response):
    """A TPMS_SESSION_AUDIT_INFO and its signature."""

    auditInfo: TPM2B_ATTEST
    signature: TPMT_SIGNATURE


class GetSessionAuditDigest(
    Command[GetSessionAuditDigestResponse], code=TPM_CC.GetSessionAuditDigest
):
    """Certify what was done under an audit session.  [Part 3, 18.5]"""

    privacyAdminHandle: TPMI_RH_ENDORSEMENT = handle(auth=USER)
    signHandle: TPMI_DH_OBJECT = handle(auth=USER)
    sessionHandle: TPMI_SH_HMAC = handle()

    qualifyingData: TPM2B_DATA
    inScheme: TPMT_SIG_SCHEME = KEY_SCHEME


class GetCommandAuditDigestResponse(Response):
    """A TPMS_COMMAND_AUDIT_INFO and its signature."""

    auditInfo: TPM2B_ATTEST
    signature: TPMT_SIGNATURE


class GetCommandAuditDigest(
    Command[GetCommandAuditDigestResponse], code=TPM_CC.GetCommandAuditDigest
):
    """Certify which audited commands were executed, and begin a new digest.  [Part 3, 18.6]"""

    privacyHandle: TPMI_RH_ENDORSEMENT = handle(auth=USER)
    signHandle: TPMI_DH_OBJECT = handle(auth=USER)

    qualifyingData: TPM2B_DATA
    inScheme: TPMT_SIG_SCHEME = KEY_SCHEME


class GetTimeResponse(Response):
    """A TPMS_TIME_ATTEST_INFO and its signature."""

    timeInfo: TPM2B_ATTEST
    signature: TPMT_SIGNATURE


class GetTime(Command[GetTimeResponse], code=TPM_CC.GetTime):
    """Certify time, clock and firmware version.  [Part 3, 18.7]"""

    privacyAdminHandle: TPMI_RH_ENDORSEMENT = handle(auth=USER)
    signHandle: TPMI_DH_OBJECT = handle(auth=USER)

    qualifyingData: TPM2B_DATA
    inScheme: TPMT_SIG_SCHEME = KEY_SCHEME


class CertifyX509Response(Response):
    """What the TPM put into the certificate, and the signature over all of it."""

    addedToCertificate: TPM2B_MAX_BUFFER
    tbsDigest: TPM2B_DIGEST
    signature: TPMT_SIGNATURE


class CertifyX509(Command[CertifyX509Response], code=TPM_CC.CertifyX509):
    """Sign an X.509 certificate for a loaded key; `partialCertificate` is DER.  [Part 3, 18.8]"""

    objectHandle: TPMI_DH_OBJECT = handle(auth=ADMIN)
    signHandle: TPMI_DH_OBJECT = handle(auth=USER)

    reserved: TPM2B_DATA = b""
    inScheme: TPMT_SIG_SCHEME = KEY_SCHEME
    partialCertificate: TPM2B_MAX_BUFFER
