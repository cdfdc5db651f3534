"""Encrypting and agreeing on keys with RSA and ECC.  [Part 3, 14]"""

from tpmwire.commands.base import USER, Command, Response
from tpmwire.constants import TPM_ALG, TPM_CC
from tpmwire.structure import handle, secret
from tpmwire.types.algorithms import (
    TPM2B_ECC_POINT,
    TPM2B_PUBLIC_KEY_RSA,
    TPMS_ALGORITHM_DETAIL_ECC,
    TPMT_KDF_SCHEME,
    TPMT_RSA_DECRYPT,
)
from tpmwire.types.base import UINT16
from tpmwire.types.interface import TPMI_DH_OBJECT, TPMI_ECC_CURVE, TPMI_ECC_KEY_EXCHANGE
from tpmwire.types.structures import TPM2B_DATA, TPM2B_DIGEST, TPM2B_MAX_BUFFER

KEY_KDF = TPMT_KDF_SCHEME(scheme=TPM_ALG.NULL)


class RSA_EncryptResponse(Response):
    """The ciphertext, as long as the modulus."""

    outData: TPM2B_PUBLIC_KEY_RSA


class RSA_Encrypt(Command[RSA_EncryptResponse], code=TPM_CC.RSA_Encrypt):
    """Encrypt with an RSA key; without a scheme here or in the key, unpadded.  [Part 3, 14.2]"""

    keyHandle: TPMI_DH_OBJECT = handle()

    message: TPM2B_PUBLIC_KEY_RSA = secret()
    inScheme: TPMT_RSA_DECRYPT
    label: TPM2B_DATA = b""


class RSA_DecryptResponse(Response):
    """The plaintext."""

    message: TPM2B_PUBLIC_KEY_RSA = secret()


class RSA_Decrypt(Command[RSA_DecryptResponse], code=TPM_CC.RSA_Decrypt):
    """Decrypt with an RSA key, by the scheme of the encryption.  [Part 3, 14.3]"""

    keyHandle: TPMI_DH_OBJECT = handle(auth=USER)

    cipherText: TPM2B_PUBLIC_KEY_RSA
    inScheme: TPMT_RSA_DECRYPT
    label: TPM2B_DATA = b""


class ECDH_KeyGenResponse(Response):
    """The shared point, and the ephemeral one from which the key's holder gets the same."""

    zPoint: TPM2B_ECC_POINT = secret()
    pubPoint: TPM2B_ECC_POINT


class ECDH_KeyGen(Command[ECDH_KeyGenResponse], code=TPM_CC.ECDH_KeyGen):
    """Agree on a secret with the holder of an ECC key, who is not there.  [Part 3, 14.4]"""

    keyHandle: TPMI_DH_OBJECT = handle()


class ECDH_ZGenResponse(Response):
    """The shared point."""

    outPoint: TPM2B_ECC_POINT = secret()


class ECDH_ZGen(Command[ECDH_ZGenResponse], code=TPM_CC.ECDH_ZGen):
    """Multiply a point with the private key.  [Part 3, 14.5]"""

    keyHandle: TPMI_DH_OBJECT = handle(auth=USER)

    inPoint: TPM2B_ECC_POINT


class ECC_ParametersResponse(Response):
    """The curve."""

    parameters: TPMS_ALGORITHM_DETAIL_ECC


class ECC_Parameters(Command[ECC_ParametersResponse], code=TPM_CC.ECC_Parameters):
    """Read the parameters of a curve.  [Part 3, 14.6]"""

    curveID: TPMI_ECC_CURVE


class ZGen_2PhaseResponse(Response):
    """One or two shared points, as the scheme has it."""

    outZ1: TPM2B_ECC_POINT = secret()
    outZ2: TPM2B_ECC_POINT = secret()


class ZGen_2Phase(Command[ZGen_2PhaseResponse], code=TPM_CC.ZGen_2Phase):
    """Agree on a secret with static and ephemeral keys on both sides.  [Part 3, 14.7]

    `counter` tells the ephemeral key of TPM2_EC_Ephemeral, which is used up by it.
    """

    keyA: TPMI_DH_OBJECT = handle(auth=USER)

    inQsB: TPM2B_ECC_POINT
    inQeB: TPM2B_ECC_POINT
    inScheme: TPMI_ECC_KEY_EXCHANGE
    counter: UINT16


class ECC_EncryptResponse(Response):
    """The ephemeral point, the ciphertext, and its integrity value."""

    C1: TPM2B_ECC_POINT
    C2: TPM2B_MAX_BUFFER
    C3: TPM2B_DIGEST


class ECC_Encrypt(Command[ECC_EncryptResponse], code=TPM_CC.ECC_Encrypt):
    """Encrypt with an ECC key.  [Part 3, 14.8]"""

    keyHandle: TPMI_DH_OBJECT = handle()

    plainText: TPM2B_MAX_BUFFER = secret()
    inScheme: TPMT_KDF_SCHEME = KEY_KDF


class ECC_DecryptResponse(Response):
    """The plaintext."""

    plainText: TPM2B_MAX_BUFFER = secret()


class ECC_Decrypt(Command[ECC_DecryptResponse], code=TPM_CC.ECC_Decrypt):
    """Decrypt what TPM2_ECC_Encrypt has encrypted.  [Part 3, 14.9]"""

    keyHandle: TPMI_DH_OBJECT = handle(auth=USER)

    C1: TPM2B_ECC_POINT
    C2: TPM2B_MAX_BUFFER
    C3: TPM2B_DIGEST
    inScheme: TPMT_KDF_SCHEME = KEY_KDF
