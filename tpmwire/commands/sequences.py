"""Hashes and MACs over data that comes in parts.  [Part 3, 17]"""

from tpmwire.commands.base import USER, Command, Response
from tpmwire.constants import TPM_ALG, TPM_CC, TPM_RH
from tpmwire.structure import handle
from tpmwire.types.interface import (
    TPMI_ALG_HASH,
    TPMI_DH_OBJECT,
    TPMI_DH_PCR,
    TPMI_RH_HIERARCHY,
)
from tpmwire.types.structures import (
    TPM2B_AUTH,
    TPM2B_DIGEST,
    TPM2B_MAX_BUFFER,
    TPML_DIGEST_VALUES,
    TPMT_TK_HASHCHECK,
)


class HMAC_StartResponse(Response):
    """The sequence."""

    sequenceHandle: TPMI_DH_OBJECT = handle()


class HMAC_Start(Command[HMAC_StartResponse], code=TPM_CC.HMAC_Start):
    """Begin an HMAC with a loaded key; `auth` is for the use of the sequence.  [Part 3, 17.2]

    TPM2_MAC_Start is a second table for the same code and the same octets; a TPM knows one of the
    two.  There, `hashAlg` is called inScheme and may be TPM_ALG_CMAC too.  [Part 3, 17.3]
    """

    handle: TPMI_DH_OBJECT = handle(auth=USER)

    auth: TPM2B_AUTH = b""
    hashAlg: TPMI_ALG_HASH = TPM_ALG.NULL


MAC_Start = HMAC_Start
MAC_StartResponse = HMAC_StartResponse


class HashSequenceStartResponse(Response):
    """The sequence."""

    sequenceHandle: TPMI_DH_OBJECT = handle()


class HashSequenceStart(Command[HashSequenceStartResponse], code=TPM_CC.HashSequenceStart):
    """Begin a hash; with TPM_ALG_NULL an event, hashed for all banks.  [Part 3, 17.4]"""

    auth: TPM2B_AUTH = b""
    hashAlg: TPMI_ALG_HASH


class SequenceUpdateResponse(Response):
    """Nothing but success."""


class SequenceUpdate(Command[SequenceUpdateResponse], code=TPM_CC.SequenceUpdate):
    """Add data to a sequence.  [Part 3, 17.5]"""

    sequenceHandle: TPMI_DH_OBJECT = handle(auth=USER)

    buffer: TPM2B_MAX_BUFFER


class SequenceCompleteResponse(Response):
    """The digest or MAC, and a ticket for a digest of data unlike the TPM's own structures."""

    result: TPM2B_DIGEST
    validation: TPMT_TK_HASHCHECK


class SequenceComplete(Command[SequenceCompleteResponse], code=TPM_CC.SequenceComplete):
    """Add the last data and end a hash or MAC; the sequence is flushed.  [Part 3, 17.6]"""

    sequenceHandle: TPMI_DH_OBJECT = handle(auth=USER)

    buffer: TPM2B_MAX_BUFFER = b""
    hierarchy: TPMI_RH_HIERARCHY = TPM_RH.NULL


class EventSequenceCompleteResponse(Response):
    """The digest for each bank."""

    results: TPML_DIGEST_VALUES


class EventSequenceComplete(
    Command[EventSequenceCompleteResponse], code=TPM_CC.EventSequenceComplete
):
    """Add the last data, end an event, and extend a PCR with its digests.  [Part 3, 17.7]"""

    pcrHandle: TPMI_DH_PCR = handle(auth=USER)
    sequenceHandle: TPMI_DH_OBJECT = handle(auth=USER)

    buffer: TPM2B_MAX_BUFFER = b""
