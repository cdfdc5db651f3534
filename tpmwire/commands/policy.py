"""Policy assertions: each one extends the digest of a policy session.  [Part 3, 23]"""

from tpmwire.attributes import TPMA_LOCALITY
from tpmwire.commands.base import USER, Command, Response
from tpmwire.constants import TPM_CAP, TPM_CC, TPM_EO
from tpmwire.structure import handle
from tpmwire.types.algorithms import TPMT_SIGNATURE
from tpmwire.types.base import INT32, TPMI_YES_NO, UINT16, UINT32
from tpmwire.types.interface import (
    TPMI_DH_ENTITY,
    TPMI_DH_OBJECT,
    TPMI_RH_NV_AUTH,
    TPMI_RH_NV_INDEX,
    TPMI_SH_POLICY,
)
from tpmwire.types.structures import (
    TPM2B_DIGEST,
    TPM2B_NAME,
    TPM2B_NONCE,
    TPM2B_OPERAND,
    TPM2B_TIMEOUT,
    TPML_DIGEST,
    TPML_PCR_SELECTION,
    TPMT_TK_AUTH,
    TPMT_TK_VERIFIED,
)


class PolicySignedResponse(Response):
    """Where `expiration` is below zero, a ticket for TPM2_PolicyTicket and its end."""

    timeout: TPM2B_TIMEOUT
    policyTicket: TPMT_TK_AUTH


class PolicySigned(Command[PolicySignedResponse], code=TPM_CC.PolicySigned):
    """A key has signed these conditions.  [Part 3, 23.3]"""

    authObject: TPMI_DH_OBJECT = handle()
    policySession: TPMI_SH_POLICY = handle()

    nonceTPM: TPM2B_NONCE
    cpHashA: TPM2B_DIGEST = b""
    policyRef: TPM2B_NONCE = b""
    expiration: INT32
    auth: TPMT_SIGNATURE


class PolicySecretResponse(Response):
    """Where `expiration` is below zero, a ticket for TPM2_PolicyTicket and its end."""

    timeout: TPM2B_TIMEOUT
    policyTicket: TPMT_TK_AUTH


class PolicySecret(Command[PolicySecretResponse], code=TPM_CC.PolicySecret):
    """The authorization of an entity is given, here and now.  [Part 3, 23.4]"""

    authHandle: TPMI_DH_ENTITY = handle(auth=USER)
    policySession: TPMI_SH_POLICY = handle()

    nonceTPM: TPM2B_NONCE = b""
    cpHashA: TPM2B_DIGEST = b""
    policyRef: TPM2B_NONCE = b""
    expiration: INT32 = 0


class PolicyTicketResponse(Response):
    """Nothing but success."""


class PolicyTicket(Command[PolicyTicketResponse], code=TPM_CC.PolicyTicket):
    """What TPM2_PolicySigned or TPM2_PolicySecret gave a ticket for holds still.  [Part 3, 23.5]"""

    policySession: TPMI_SH_POLICY = handle()

    timeout: TPM2B_TIMEOUT
    cpHashA: TPM2B_DIGEST = b""
    policyRef: TPM2B_NONCE = b""
    authName: TPM2B_NAME
    ticket: TPMT_TK_AUTH


class PolicyORResponse(Response):
    """Nothing but success."""


class PolicyOR(Command[PolicyORResponse], code=TPM_CC.PolicyOR):
    """The digest so far is one of these, two to eight.  [Part 3, 23.6]"""

    policySession: TPMI_SH_POLICY = handle()

    pHashList: TPML_DIGEST


class PolicyPCRResponse(Response):
    """Nothing but success."""


class PolicyPCR(Command[PolicyPCRResponse], code=TPM_CC.PolicyPCR):
    """PCRs have these values; without a digest, the values they have now.  [Part 3, 23.7]"""

    policySession: TPMI_SH_POLICY = handle()

    pcrDigest: TPM2B_DIGEST
    pcrs: TPML_PCR_SELECTION


class PolicyLocalityResponse(Response):
    """Nothing but success."""


class PolicyLocality(Command[PolicyLocalityResponse], code=TPM_CC.PolicyLocality):
    """The command comes from one of these localities.  [Part 3, 23.8]"""

    policySession: TPMI_SH_POLICY = handle()

    locality: TPMA_LOCALITY


class PolicyNVResponse(Response):
    """Nothing but success."""


class PolicyNV(Command[PolicyNVResponse], code=TPM_CC.PolicyNV):
    """The content of an index compares so with `operandB`.  [Part 3, 23.9]"""

    authHandle: TPMI_RH_NV_AUTH = handle(auth=USER)
    nvIndex: TPMI_RH_NV_INDEX = handle()
    policySession: TPMI_SH_POLICY = handle()

    operandB: TPM2B_OPERAND
    offset: UINT16 = 0
    operation: TPM_EO


class PolicyCounterTimerResponse(Response):
    """Nothing but success."""


class PolicyCounterTimer(Command[PolicyCounterTimerResponse], code=TPM_CC.PolicyCounterTimer):
    """A part of the TPMS_TIME_INFO compares so with `operandB`.  [Part 3, 23.10]"""

    policySession: TPMI_SH_POLICY = handle()

    operandB: TPM2B_OPERAND
    offset: UINT16
    operation: TPM_EO


class PolicyCommandCodeResponse(Response):
    """Nothing but success."""


class PolicyCommandCode(Command[PolicyCommandCodeResponse], code=TPM_CC.PolicyCommandCode):
    """The session authorizes this command only.  [Part 3, 23.11]"""

    policySession: TPMI_SH_POLICY = handle()

    code: TPM_CC


class PolicyPhysicalPresenceResponse(Response):
    """Nothing but success."""


class PolicyPhysicalPresence(
    Command[PolicyPhysicalPresenceResponse], code=TPM_CC.PolicyPhysicalPresence
):
    """Somebody asserts physical presence when the session is used.  [Part 3, 23.12]"""

    policySession: TPMI_SH_POLICY = handle()


class PolicyCpHashResponse(Response):
    """Nothing but success."""


class PolicyCpHash(Command[PolicyCpHashResponse], code=TPM_CC.PolicyCpHash):
    """The session authorizes the command with these very parameters.  [Part 3, 23.13]"""

    policySession: TPMI_SH_POLICY = handle()

    cpHashA: TPM2B_DIGEST


class PolicyNameHashResponse(Response):
    """Nothing but success."""


class PolicyNameHash(Command[PolicyNameHashResponse], code=TPM_CC.PolicyNameHash):
    """The session authorizes commands on these very entities.  [Part 3, 23.14]"""

    policySession: TPMI_SH_POLICY = handle()

    nameHash: TPM2B_DIGEST


class PolicyDuplicationSelectResponse(Response):
    """Nothing but success."""


class PolicyDuplicationSelect(
    Command[PolicyDuplicationSelectResponse], code=TPM_CC.PolicyDuplicationSelect
):
    """The session authorizes the duplication to this parent only.  [Part 3, 23.15]"""

    policySession: TPMI_SH_POLICY = handle()

    objectName: TPM2B_NAME
    newParentName: TPM2B_NAME
    includeObject: TPMI_YES_NO


class PolicyAuthorizeResponse(Response):
    """Nothing but success."""


class PolicyAuthorize(Command[PolicyAuthorizeResponse], code=TPM_CC.PolicyAuthorize):
    """The digest so far was signed by this key, as the ticket proves.  [Part 3, 23.16]"""

    policySession: TPMI_SH_POLICY = handle()

    approvedPolicy: TPM2B_DIGEST
    policyRef: TPM2B_NONCE = b""
    keySign: TPM2B_NAME
    checkTicket: TPMT_TK_VERIFIED


class PolicyAuthValueResponse(Response):
    """Nothing but success."""


class PolicyAuthValue(Command[PolicyAuthValueResponse], code=TPM_CC.PolicyAuthValue):
    """The session's HMAC proves the authorization value too.  [Part 3, 23.17]"""

    policySession: TPMI_SH_POLICY = handle()


class PolicyPasswordResponse(Response):
    """Nothing but success."""


class PolicyPassword(Command[PolicyPasswordResponse], code=TPM_CC.PolicyPassword):
    """The authorization value is given in clear when the session is used.  [Part 3, 23.18]"""

    policySession: TPMI_SH_POLICY = handle()


class PolicyGetDigestResponse(Response):
    """The digest so far."""

    policyDigest: TPM2B_DIGEST


class PolicyGetDigest(Command[PolicyGetDigestResponse], code=TPM_CC.PolicyGetDigest):
    """Read the digest of a policy session; this is no assertion.  [Part 3, 23.19]"""

    policySession: TPMI_SH_POLICY = handle()


class PolicyNvWrittenResponse(Response):
    """Nothing but success."""


class PolicyNvWritten(Command[PolicyNvWrittenResponse], code=TPM_CC.PolicyNvWritten):
    """The index that the session is used for was written, or never was.  [Part 3, 23.20]"""

    policySession: TPMI_SH_POLICY = handle()

    writtenSet: TPMI_YES_NO


class PolicyTemplateResponse(Response):
    """Nothing but success."""


class PolicyTemplate(Command[PolicyTemplateResponse], code=TPM_CC.PolicyTemplate):
    """The session authorizes the making of an object from this template.  [Part 3, 23.21]"""

    policySession: TPMI_SH_POLICY = handle()

    templateHash: TPM2B_DIGEST


class PolicyAuthorizeNVResponse(Response):
    """Nothing but success."""


class PolicyAuthorizeNV(Command[PolicyAuthorizeNVResponse], code=TPM_CC.PolicyAuthorizeNV):
    """The digest so far stands in an index.  [Part 3, 23.22]"""

    authHandle: TPMI_RH_NV_AUTH = handle(auth=USER)
    nvIndex: TPMI_RH_NV_INDEX = handle()
    policySession: TPMI_SH_POLICY = handle()


class PolicyCapabilityResponse(Response):
    """Nothing but success."""


class PolicyCapability(Command[PolicyCapabilityResponse], code=TPM_CC.PolicyCapability):
    """A capability of the TPM compares so with `operandB`.  [Part 3, 23.23]"""

    policySession: TPMI_SH_POLICY = handle()

    operandB: TPM2B_OPERAND
    offset: UINT16
    operation: TPM_EO
    capability: TPM_CAP
    property: UINT32


class PolicyParametersResponse(Response):
    """Nothing but success."""


class PolicyParameters(Command[PolicyParametersResponse], code=TPM_CC.PolicyParameters):
    """The session authorizes these parameters, on any entity.  [Part 3, 23.24]"""

    policySession: TPMI_SH_POLICY = handle()

    pHash: TPM2B_DIGEST


class PolicyTransportSPDMResponse(Response):
    """Nothing but success."""


class PolicyTransportSPDM(Command[PolicyTransportSPDMResponse], code=TPM_CC.PolicyTransportSPDM):
    """The command comes through an SPDM session between these keys.  [Part 3, 23.25]"""

    policySession: TPMI_SH_POLICY = handle()

    reqKeyName: TPM2B_NAME
    tpmKeyName: TPM2B_NAME
