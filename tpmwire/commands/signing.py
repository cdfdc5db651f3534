"""Signing and verifying.  [Part 3, 20]"""

from tpmwire.commands.base import USER, Command, Response
from tpmwire.constants import TPM_ALG, TPM_CC, TPM_RH
from tpmwire.structure import handle
from tpmwire.types.algorithms import TPMT_SIG_SCHEME, TPMT_SIGNATURE
from tpmwire.types.interface import TPMI_DH_OBJECT
from tpmwire.types.structures import TPM2B_DIGEST, TPMT_TK_HASHCHECK, TPMT_TK_VERIFIED

KEY_SCHEME = TPMT_SIG_SCHEME(scheme=TPM_ALG.NULL)
NO_HASHCHECK = TPMT_TK_HASHCHECK(hierarchy=TPM_RH.NULL)


class VerifySignatureResponse(Response):
    """A ticket that says so."""

    validation: TPMT_TK_VERIFIED


class VerifySignature(Command[VerifySignatureResponse], code=TPM_CC.VerifySignature):
    """Verify a signature with a loaded key.  [Part 3, 20.1]"""

    keyHandle: TPMI_DH_OBJECT = handle()

    digest: TPM2B_DIGEST
    signature: TPMT_SIGNATURE


class SignResponse(Response):
    """The signature."""

    signature: TPMT_SIGNATURE


class Sign(Command[SignResponse], code=TPM_CC.Sign):
    """Sign a digest; a restricted key wants the ticket of TPM2_Hash with it.  [Part 3, 20.2]"""

    keyHandle: TPMI_DH_OBJECT = handle(auth=USER)

    digest: TPM2B_DIGEST
    inScheme: TPMT_SIG_SCHEME = KEY_SCHEME
    validation: TPMT_TK_HASHCHECK = NO_HASHCHECK
