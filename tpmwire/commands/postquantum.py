"""Commands of drafts of version 1.85: provisional, known from one implementation only.

They sign and verify messages of any length, and take ML-DSA and ML-KEM keys.
"""

from tpmwire.commands.base import USER, Command, Response
from tpmwire.commands.signing import NO_HASHCHECK
from tpmwire.constants import TPM_CC
from tpmwire.structure import handle
from tpmwire.types.algorithms import TPMT_SIGNATURE
from tpmwire.types.interface import TPMI_DH_OBJECT
from tpmwire.types.postquantum import (
    TPM2B_KEM_CIPHERTEXT,
    TPM2B_SHARED_SECRET,
    TPM2B_SIGNATURE_CTX,
    TPM2B_SIGNATURE_HINT,
    TPMT_TK_VERIFIED_185,
)
from tpmwire.types.structures import (
    TPM2B_AUTH,
    TPM2B_DIGEST,
    TPM2B_MAX_BUFFER,
    TPMT_TK_HASHCHECK,
)


class EncapsulateResponse(Response):
    """The shared secret, and the ciphertext from which the key's holder gets the same."""

    sharedSecret: TPM2B_SHARED_SECRET
    ciphertext: TPM2B_KEM_CIPHERTEXT


class Encapsulate(Command[EncapsulateResponse], code=TPM_CC.Encapsulate):
    """Share a secret with the holder of a key; provisional.  [Part 3 of 1.85 rc4, 14.10]"""

    keyHandle: TPMI_DH_OBJECT = handle()


class DecapsulateResponse(Response):
    """The shared secret."""

    sharedSecret: TPM2B_SHARED_SECRET


class Decapsulate(Command[DecapsulateResponse], code=TPM_CC.Decapsulate):
    """Get the secret that was shared; provisional.  [Part 3 of 1.85 rc4, 14.11]"""

    keyHandle: TPMI_DH_OBJECT = handle(auth=USER)

    ciphertext: TPM2B_KEM_CIPHERTEXT


class SignSequenceStartResponse(Response):
    """The sequence."""

    sequenceHandle: TPMI_DH_OBJECT = handle()


class SignSequenceStart(Command[SignSequenceStartResponse], code=TPM_CC.SignSequenceStart):
    """Begin the signature of a message; provisional.  [Part 3 of 1.85 rc4, 17.5]"""

    keyHandle: TPMI_DH_OBJECT = handle()

    auth: TPM2B_AUTH = b""
    context: TPM2B_SIGNATURE_CTX = b""


class VerifySequenceStartResponse(Response):
    """The sequence."""

    sequenceHandle: TPMI_DH_OBJECT = handle()


class VerifySequenceStart(Command[VerifySequenceStartResponse], code=TPM_CC.VerifySequenceStart):
    """Begin the verification of a message; provisional.  [Part 3 of 1.85 rc4, 17.6]"""

    keyHandle: TPMI_DH_OBJECT = handle()

    auth: TPM2B_AUTH = b""
    hint: TPM2B_SIGNATURE_HINT = b""
    context: TPM2B_SIGNATURE_CTX = b""


class VerifySequenceCompleteResponse(Response):
    """A ticket that says so."""

    validation: TPMT_TK_VERIFIED_185


class VerifySequenceComplete(
    Command[VerifySequenceCompleteResponse], code=TPM_CC.VerifySequenceComplete
):
    """Compare a message with its signature; provisional.  [Part 3 of 1.85 rc4, 20.3]"""

    sequenceHandle: TPMI_DH_OBJECT = handle(auth=USER)
    keyHandle: TPMI_DH_OBJECT = handle()

    signature: TPMT_SIGNATURE


class VerifyDigestSignatureResponse(Response):
    """A ticket that says so."""

    validation: TPMT_TK_VERIFIED_185


class VerifyDigestSignature(
    Command[VerifyDigestSignatureResponse], code=TPM_CC.VerifyDigestSignature
):
    """Verify the signature of a digest; provisional.  [Part 3 of 1.85 rc4, 20.4]"""

    keyHandle: TPMI_DH_OBJECT = handle()

    context: TPM2B_SIGNATURE_CTX = b""
    digest: TPM2B_DIGEST
    signature: TPMT_SIGNATURE


class SignSequenceCompleteResponse(Response):
    """The signature."""

    signature: TPMT_SIGNATURE


class SignSequenceComplete(Command[SignSequenceCompleteResponse], code=TPM_CC.SignSequenceComplete):
    """Add the last of a message and sign it; provisional.  [Part 3 of 1.85 rc4, 20.6]"""

    sequenceHandle: TPMI_DH_OBJECT = handle(auth=USER)
    keyHandle: TPMI_DH_OBJECT = handle(auth=USER)

    buffer: TPM2B_MAX_BUFFER = b""


class SignDigestResponse(Response):
    """The signature."""

    signature: TPMT_SIGNATURE


class SignDigest(Command[SignDigestResponse], code=TPM_CC.SignDigest):
    """Sign a digest by the key's own scheme; provisional.  [Part 3 of 1.85 rc4, 20.7]"""

    keyHandle: TPMI_DH_OBJECT = handle(auth=USER)

    context: TPM2B_SIGNATURE_CTX = b""
    digest: TPM2B_DIGEST
    validation: TPMT_TK_HASHCHECK = NO_HASHCHECK
