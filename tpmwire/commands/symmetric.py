"""Ciphers, hashes and MACs in one go.  [Part 3, 15]

Which side of a cipher is the plaintext depends on the command's `decrypt`, so neither is shown.
"""

from tpmwire.commands.base import USER, Command, Response
from tpmwire.constants import TPM_ALG, TPM_CC, TPM_RH
from tpmwire.structure import handle, secret
from tpmwire.types.base import TPMI_YES_NO
from tpmwire.types.interface import (
    TPMI_ALG_CIPHER_MODE,
    TPMI_ALG_HASH,
    TPMI_DH_OBJECT,
    TPMI_RH_HIERARCHY,
)
from tpmwire.types.structures import (
    TPM2B_DIGEST,
    TPM2B_IV,
    TPM2B_MAX_BUFFER,
    TPMT_TK_HASHCHECK,
)


class EncryptDecryptResponse(Response):
    """The other side, and the vector with which to go on."""

    outData: TPM2B_MAX_BUFFER = secret()
    ivOut: TPM2B_IV


class EncryptDecrypt(Command[EncryptDecryptResponse], code=TPM_CC.EncryptDecrypt):
    """Encrypt or decrypt; no session can encrypt the data on its way to the TPM.  [Part 3, 15.2]"""

    keyHandle: TPMI_DH_OBJECT = handle(auth=USER)

    decrypt: TPMI_YES_NO
    mode: TPMI_ALG_CIPHER_MODE = TPM_ALG.NULL
    ivIn: TPM2B_IV
    inData: TPM2B_MAX_BUFFER = secret()


class EncryptDecrypt2Response(Response):
    """The other side, and the vector with which to go on."""

    outData: TPM2B_MAX_BUFFER = secret()
    ivOut: TPM2B_IV


class EncryptDecrypt2(Command[EncryptDecrypt2Response], code=TPM_CC.EncryptDecrypt2):
    """Encrypt or decrypt; a session can encrypt the data on both ways.  [Part 3, 15.3]"""

    keyHandle: TPMI_DH_OBJECT = handle(auth=USER)

    inData: TPM2B_MAX_BUFFER = secret()
    decrypt: TPMI_YES_NO
    mode: TPMI_ALG_CIPHER_MODE = TPM_ALG.NULL
    ivIn: TPM2B_IV


class HashResponse(Response):
    """The digest, and a ticket that it is of data unlike the TPM's own structures."""

    outHash: TPM2B_DIGEST
    validation: TPMT_TK_HASHCHECK


class Hash(Command[HashResponse], code=TPM_CC.Hash):
    """Hash data; the ticket that a restricted key wants takes a hierarchy.  [Part 3, 15.4]"""

    data: TPM2B_MAX_BUFFER
    hashAlg: TPMI_ALG_HASH
    hierarchy: TPMI_RH_HIERARCHY = TPM_RH.NULL


class HMACResponse(Response):
    """The MAC.  In TPM2_MAC, `outHMAC` is called outMAC."""

    outHMAC: TPM2B_DIGEST


class HMAC(Command[HMACResponse], code=TPM_CC.HMAC):
    """Compute an HMAC with a loaded key.  [Part 3, 15.5]

    TPM2_MAC is a second table for the same code and the same octets; a TPM knows one of the two.
    There, `hashAlg` is called inScheme and may be TPM_ALG_CMAC too.  [Part 3, 15.6]
    """

    handle: TPMI_DH_OBJECT = handle(auth=USER)

    buffer: TPM2B_MAX_BUFFER
    hashAlg: TPMI_ALG_HASH = TPM_ALG.NULL


MAC = HMAC
MACResponse = HMACResponse
