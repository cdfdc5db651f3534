"""Ready public areas for new objects.

`ECC_SRK` and `RSA_SRK` are the storage primary keys that TSS2 key files mean by a parent of
0x40000001: the "H" templates of the TCG's provisioning guidance with an empty `unique`, from which
every tool derives the same key.  Nothing here ever changes: `replace` makes a copy.
"""

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.constants import TPM_ALG, TPM_ECC
from tpmwire.types.algorithms import (
    TPMS_ECC_POINT,
    TPMT_ECC_SCHEME,
    TPMT_KDF_SCHEME,
    TPMT_RSA_SCHEME,
    TPMT_SYM_DEF_OBJECT,
)
from tpmwire.types.objects import TPMS_ECC_PARMS, TPMS_RSA_PARMS, TPMT_PUBLIC

_OWN = (
    TPMA_OBJECT.fixedTPM
    | TPMA_OBJECT.fixedParent
    | TPMA_OBJECT.sensitiveDataOrigin
    | TPMA_OBJECT.userWithAuth
)
_STORAGE = _OWN | TPMA_OBJECT.noDA | TPMA_OBJECT.restricted | TPMA_OBJECT.decrypt

NO_CIPHER = TPMT_SYM_DEF_OBJECT(algorithm=TPM_ALG.NULL)
AES_128_CFB = TPMT_SYM_DEF_OBJECT(algorithm=TPM_ALG.AES, keyBits=128, mode=TPM_ALG.CFB)


def ecc_public(
    curve: TPM_ECC,
    attributes: TPMA_OBJECT,
    symmetric: TPMT_SYM_DEF_OBJECT = NO_CIPHER,
) -> TPMT_PUBLIC:
    """Make the public area of an ECC key that is bound to no scheme; the point is left empty."""
    return TPMT_PUBLIC(
        type=TPM_ALG.ECC,
        nameAlg=TPM_ALG.SHA256,
        objectAttributes=attributes,
        parameters=TPMS_ECC_PARMS(
            symmetric=symmetric,
            scheme=TPMT_ECC_SCHEME(scheme=TPM_ALG.NULL),
            curveID=curve,
            kdf=TPMT_KDF_SCHEME(scheme=TPM_ALG.NULL),
        ),
        unique=TPMS_ECC_POINT(),
    )


def rsa_public(
    bits: int,
    attributes: TPMA_OBJECT,
    symmetric: TPMT_SYM_DEF_OBJECT = NO_CIPHER,
) -> TPMT_PUBLIC:
    """Make the public area of an RSA key that is bound to no scheme; the modulus is left empty."""
    return TPMT_PUBLIC(
        type=TPM_ALG.RSA,
        nameAlg=TPM_ALG.SHA256,
        objectAttributes=attributes,
        parameters=TPMS_RSA_PARMS(
            symmetric=symmetric,
            scheme=TPMT_RSA_SCHEME(scheme=TPM_ALG.NULL),
            keyBits=bits,
        ),
        unique=b"",
    )


def ecc_sign(curve: TPM_ECC = TPM_ECC.NIST_P256) -> TPMT_PUBLIC:
    """Make a template for an ECC key that signs and never leaves its TPM."""
    return ecc_public(curve, _OWN | TPMA_OBJECT.sign)


def rsa_sign(bits: int = 2048) -> TPMT_PUBLIC:
    """Make a template for an RSA key that signs and never leaves its TPM."""
    return rsa_public(bits, _OWN | TPMA_OBJECT.sign)


def without_lockout(template: TPMT_PUBLIC) -> TPMT_PUBLIC:
    """Copy a template for a key that neither counts wrong PINs nor is stopped by a lockout.

    Right for a key without a PIN: otherwise the wrong PINs of any other key stop it as well.
    """
    return template.replace(objectAttributes=template.objectAttributes | TPMA_OBJECT.noDA)


ECC_SRK = ecc_public(TPM_ECC.NIST_P256, _STORAGE, AES_128_CFB)
RSA_SRK = rsa_public(2048, _STORAGE, AES_128_CFB)
ECC_SIGN = ecc_sign()
RSA_SIGN = rsa_sign()
