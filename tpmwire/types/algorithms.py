"""Algorithms with their parameters: ciphers, schemes, keys' parts, signatures.  [Part 2, 11]"""

from typing import Annotated

from tpmwire.constants import TPM_ALG
from tpmwire.structure import Structure, by, union
from tpmwire.types.base import UINT16
from tpmwire.types.interface import (
    TPMI_AES_KEY_BITS,
    TPMI_ALG_ECC_SCHEME,
    TPMI_ALG_HASH,
    TPMI_ALG_KDF,
    TPMI_ALG_KEYEDHASH_SCHEME,
    TPMI_ALG_RSA_SCHEME,
    TPMI_ALG_SIG_SCHEME,
    TPMI_ALG_SYM_MODE,
    TPMI_ALG_SYM_OBJECT,
    TPMI_CAMELLIA_KEY_BITS,
    TPMI_SM4_KEY_BITS,
    TPMI_TDES_KEY_BITS,
)
from tpmwire.types.structures import TPM2B_AUTH, TPMT_HA
from tpmwire.wire import Buffer, Sized

# --- symmetric [11.1] --------------------------------------------------------------------------

TPMU_SYM_KEY_BITS = Annotated[
    int | None,
    union(
        {
            TPM_ALG.AES: TPMI_AES_KEY_BITS,
            TPM_ALG.SM4: TPMI_SM4_KEY_BITS,
            TPM_ALG.CAMELLIA: TPMI_CAMELLIA_KEY_BITS,
            TPM_ALG.XOR: TPMI_ALG_HASH,
            TPM_ALG.TDES: TPMI_TDES_KEY_BITS,
            TPM_ALG.NULL: None,
        }
    ),
]

TPMU_SYM_MODE = Annotated[
    TPM_ALG | None,
    union(
        {
            TPM_ALG.AES: TPMI_ALG_SYM_MODE,
            TPM_ALG.SM4: TPMI_ALG_SYM_MODE,
            TPM_ALG.CAMELLIA: TPMI_ALG_SYM_MODE,
            TPM_ALG.TDES: TPMI_ALG_SYM_MODE,
            TPM_ALG.XOR: None,
            TPM_ALG.NULL: None,
        }
    ),
]


class TPMT_SYM_DEF_OBJECT(Structure):
    """The block cipher of an object, or TPM_ALG_NULL.  [Part 2, 11.1.7]"""

    algorithm: TPMI_ALG_SYM_OBJECT
    keyBits: TPMU_SYM_KEY_BITS = by("algorithm", default=None)
    mode: TPMU_SYM_MODE = by("algorithm", default=None)


TPM2B_SYM_KEY = Annotated[bytes, Buffer(secret=True)]


class TPMS_SYMCIPHER_PARMS(Structure):
    """The parameters of a symmetric cipher object.  [Part 2, 11.1.9]"""

    sym: TPMT_SYM_DEF_OBJECT


TPM2B_SENSITIVE_DATA = Annotated[bytes, Buffer(secret=True)]


class TPMS_SENSITIVE_CREATE(Structure):
    """What the caller chooses of a new object's secrets: PIN and data.  [Part 2, 11.1.15]"""

    userAuth: TPM2B_AUTH = b""
    data: TPM2B_SENSITIVE_DATA = b""


TPM2B_SENSITIVE_CREATE = Annotated[TPMS_SENSITIVE_CREATE, Sized(TPMS_SENSITIVE_CREATE.schema)]

# --- schemes [11.2] ----------------------------------------------------------------------------


class TPMS_SCHEME_HASH(Structure):
    """A scheme that wants a hash algorithm and nothing else.  [Part 2, 11.1.17]"""

    hashAlg: TPMI_ALG_HASH


class TPMS_SCHEME_ECDAA(Structure):
    """The ECDAA scheme; `count` is the one that TPM2_Commit gave.  [Part 2, 11.1.18]"""

    hashAlg: TPMI_ALG_HASH
    count: UINT16


class TPMS_SCHEME_XOR(Structure):
    """Obfuscation by XOR.  [Part 2, 11.1.21]"""

    hashAlg: TPMI_ALG_HASH
    kdf: TPMI_ALG_KDF


TPMU_SCHEME_KEYEDHASH = Annotated[
    TPMS_SCHEME_HASH | TPMS_SCHEME_XOR | None,
    union(
        {
            TPM_ALG.HMAC: TPMS_SCHEME_HASH,
            TPM_ALG.XOR: TPMS_SCHEME_XOR,
            TPM_ALG.NULL: None,
        }
    ),
]


class TPMT_KEYEDHASH_SCHEME(Structure):
    """The scheme of a keyed hash object, or TPM_ALG_NULL.  [Part 2, 11.1.23]"""

    scheme: TPMI_ALG_KEYEDHASH_SCHEME
    details: TPMU_SCHEME_KEYEDHASH = by("scheme", default=None)


TPMU_SIG_SCHEME = Annotated[
    TPMS_SCHEME_HASH | TPMS_SCHEME_ECDAA | None,
    union(
        {
            TPM_ALG.HMAC: TPMS_SCHEME_HASH,
            TPM_ALG.RSASSA: TPMS_SCHEME_HASH,
            TPM_ALG.RSAPSS: TPMS_SCHEME_HASH,
            TPM_ALG.ECDSA: TPMS_SCHEME_HASH,
            TPM_ALG.ECDAA: TPMS_SCHEME_ECDAA,
            TPM_ALG.SM2: TPMS_SCHEME_HASH,
            TPM_ALG.ECSCHNORR: TPMS_SCHEME_HASH,
            TPM_ALG.EDDSA: TPMS_SCHEME_HASH,
            TPM_ALG.EDDSA_PH: TPMS_SCHEME_HASH,
            TPM_ALG.NULL: None,
        }
    ),
]


class TPMT_SIG_SCHEME(Structure):
    """A signing scheme, or TPM_ALG_NULL for the one the key has.  [Part 2, 11.2.1.5]"""

    scheme: TPMI_ALG_SIG_SCHEME
    details: TPMU_SIG_SCHEME = by("scheme", default=None)


TPMU_KDF_SCHEME = Annotated[
    TPMS_SCHEME_HASH | None,
    union(
        {
            TPM_ALG.MGF1: TPMS_SCHEME_HASH,
            TPM_ALG.KDF1_SP800_56A: TPMS_SCHEME_HASH,
            TPM_ALG.KDF2: TPMS_SCHEME_HASH,
            TPM_ALG.KDF1_SP800_108: TPMS_SCHEME_HASH,
            TPM_ALG.NULL: None,
        }
    ),
]


class TPMT_KDF_SCHEME(Structure):
    """A key derivation scheme, or TPM_ALG_NULL.  [Part 2, 11.2.3.3]"""

    scheme: TPMI_ALG_KDF
    details: TPMU_KDF_SCHEME = by("scheme", default=None)


TPMU_ASYM_SCHEME = Annotated[
    TPMS_SCHEME_HASH | TPMS_SCHEME_ECDAA | None,
    union(
        {
            TPM_ALG.RSASSA: TPMS_SCHEME_HASH,
            TPM_ALG.RSAES: None,
            TPM_ALG.RSAPSS: TPMS_SCHEME_HASH,
            TPM_ALG.OAEP: TPMS_SCHEME_HASH,
            TPM_ALG.ECDSA: TPMS_SCHEME_HASH,
            TPM_ALG.ECDH: TPMS_SCHEME_HASH,
            TPM_ALG.ECDAA: TPMS_SCHEME_ECDAA,
            TPM_ALG.SM2: TPMS_SCHEME_HASH,
            TPM_ALG.ECSCHNORR: TPMS_SCHEME_HASH,
            TPM_ALG.ECMQV: TPMS_SCHEME_HASH,
            TPM_ALG.EDDSA: TPMS_SCHEME_HASH,
            TPM_ALG.EDDSA_PH: TPMS_SCHEME_HASH,
            TPM_ALG.NULL: None,
        }
    ),
]


class TPMT_RSA_SCHEME(Structure):
    """The scheme that an RSA key is bound to, or TPM_ALG_NULL.  [Part 2, 11.2.4.2]"""

    scheme: TPMI_ALG_RSA_SCHEME
    details: TPMU_ASYM_SCHEME = by("scheme", default=None)


class TPMT_ECC_SCHEME(Structure):
    """The scheme that an ECC key is bound to, or TPM_ALG_NULL.  [Part 2, 11.2.5.6]"""

    scheme: TPMI_ALG_ECC_SCHEME
    details: TPMU_ASYM_SCHEME = by("scheme", default=None)


# --- keys' parts and signatures [11.2.4, 11.2.5, 11.3] -----------------------------------------

TPM2B_PUBLIC_KEY_RSA = Annotated[bytes, Buffer(limit=2048)]
TPM2B_PRIVATE_KEY_RSA = Annotated[bytes, Buffer(secret=True)]
TPM2B_ECC_PARAMETER = Annotated[bytes, Buffer(limit=128)]


class TPMS_ECC_POINT(Structure):
    """A point on a curve, its coordinates big-endian.  [Part 2, 11.2.5.2]"""

    x: TPM2B_ECC_PARAMETER = b""
    y: TPM2B_ECC_PARAMETER = b""


class TPMS_SIGNATURE_RSA(Structure):
    """An RSA signature, as long as the modulus.  [Part 2, 11.3.1]"""

    hash: TPMI_ALG_HASH
    sig: TPM2B_PUBLIC_KEY_RSA


class TPMS_SIGNATURE_ECC(Structure):
    """An ECC signature: two numbers, big-endian.  [Part 2, 11.3.2]"""

    hash: TPMI_ALG_HASH
    signatureR: TPM2B_ECC_PARAMETER
    signatureS: TPM2B_ECC_PARAMETER


TPMU_SIGNATURE = Annotated[
    TPMS_SIGNATURE_RSA | TPMS_SIGNATURE_ECC | TPMT_HA | None,
    union(
        {
            TPM_ALG.HMAC: TPMT_HA,
            TPM_ALG.RSASSA: TPMS_SIGNATURE_RSA,
            TPM_ALG.RSAPSS: TPMS_SIGNATURE_RSA,
            TPM_ALG.ECDSA: TPMS_SIGNATURE_ECC,
            TPM_ALG.ECDAA: TPMS_SIGNATURE_ECC,
            TPM_ALG.SM2: TPMS_SIGNATURE_ECC,
            TPM_ALG.ECSCHNORR: TPMS_SIGNATURE_ECC,
            TPM_ALG.EDDSA: TPMS_SIGNATURE_ECC,
            TPM_ALG.EDDSA_PH: TPMS_SIGNATURE_ECC,
            TPM_ALG.NULL: None,
        }
    ),
]


class TPMT_SIGNATURE(Structure):
    """A signature; TPM_ALG_NULL where the TPM was asked for none.  [Part 2, 11.3.4]"""

    sigAlg: TPMI_ALG_SIG_SCHEME
    signature: TPMU_SIGNATURE = by("sigAlg", default=None)
