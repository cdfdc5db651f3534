"""Algorithms with their parameters: ciphers, schemes, keys' parts, signatures.  [Part 2, 11]"""

from typing import Annotated

from tpmwire.constants import TPM_ALG
from tpmwire.structure import Structure, by, union
from tpmwire.types.base import TPM_ECC_CURVE, UINT16
from tpmwire.types.interface import (
    TPMI_AES_KEY_BITS,
    TPMI_ALG_ASYM_SCHEME,
    TPMI_ALG_ECC_SCHEME,
    TPMI_ALG_HASH,
    TPMI_ALG_KDF,
    TPMI_ALG_KEYEDHASH_SCHEME,
    TPMI_ALG_RSA_DECRYPT,
    TPMI_ALG_RSA_SCHEME,
    TPMI_ALG_SIG_SCHEME,
    TPMI_ALG_SYM,
    TPMI_ALG_SYM_MODE,
    TPMI_ALG_SYM_OBJECT,
    TPMI_CAMELLIA_KEY_BITS,
    TPMI_SM4_KEY_BITS,
    TPMI_TDES_KEY_BITS,
)
from tpmwire.types.postquantum import TPM2B_MLDSA_SIGNATURE, TPMS_SIGNATURE_HASH_MLDSA
from tpmwire.types.structures import TPM2B_AUTH, TPMS_EMPTY, TPMT_HA
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


class TPMT_SYM_DEF(Structure):
    """A cipher, XOR with a hash in place of the key size, or TPM_ALG_NULL.  [Part 2, 11.1.6]"""

    algorithm: TPMI_ALG_SYM
    keyBits: TPMU_SYM_KEY_BITS = by("algorithm", default=None)
    mode: TPMU_SYM_MODE = by("algorithm", default=None)


class TPMT_SYM_DEF_OBJECT(Structure):
    """The block cipher of an object, or TPM_ALG_NULL.  [Part 2, 11.1.7]"""

    algorithm: TPMI_ALG_SYM_OBJECT
    keyBits: TPMU_SYM_KEY_BITS = by("algorithm", default=None)
    mode: TPMU_SYM_MODE = by("algorithm", default=None)


TPM2B_SYM_KEY = Annotated[bytes, Buffer(secret=True)]


class TPMS_SYMCIPHER_PARMS(Structure):
    """The parameters of a symmetric cipher object.  [Part 2, 11.1.9]"""

    sym: TPMT_SYM_DEF_OBJECT


TPM2B_LABEL = Annotated[bytes, Buffer()]


class TPMS_DERIVE(Structure):
    """What makes a derived object another one than its siblings.  [Part 2, 11.1.11]"""

    label: TPM2B_LABEL = b""
    context: TPM2B_LABEL = b""


# Data to seal or a symmetric key; under a derivation parent a TPMS_DERIVE.
TPM2B_SENSITIVE_DATA = Annotated[bytes, Buffer(secret=True)]
TPM2B_DERIVE = Annotated[bytes, Buffer()]


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


TPMS_SCHEME_HMAC = TPMS_SCHEME_HASH


class TPMS_SCHEME_XOR(Structure):
    """Obfuscation by XOR.  [Part 2, 11.1.21]"""

    hashAlg: TPMI_ALG_HASH
    kdf: TPMI_ALG_KDF


TPMU_SCHEME_KEYEDHASH = Annotated[
    TPMS_SCHEME_HASH | TPMS_SCHEME_XOR | None,
    union(
        {
            TPM_ALG.HMAC: TPMS_SCHEME_HMAC,
            TPM_ALG.XOR: TPMS_SCHEME_XOR,
            TPM_ALG.NULL: None,
        }
    ),
]


class TPMT_KEYEDHASH_SCHEME(Structure):
    """The scheme of a keyed hash object, or TPM_ALG_NULL.  [Part 2, 11.1.23]"""

    scheme: TPMI_ALG_KEYEDHASH_SCHEME
    details: TPMU_SCHEME_KEYEDHASH = by("scheme", default=None)


TPMS_SIG_SCHEME_RSASSA = TPMS_SCHEME_HASH
TPMS_SIG_SCHEME_RSAPSS = TPMS_SCHEME_HASH
TPMS_SIG_SCHEME_ECDSA = TPMS_SCHEME_HASH
TPMS_SIG_SCHEME_ECDAA = TPMS_SCHEME_ECDAA
TPMS_SIG_SCHEME_SM2 = TPMS_SCHEME_HASH
TPMS_SIG_SCHEME_ECSCHNORR = TPMS_SCHEME_HASH
TPMS_SIG_SCHEME_EDDSA = TPMS_SCHEME_HASH
TPMS_SIG_SCHEME_EDDSA_PH = TPMS_SCHEME_HASH

TPMU_SIG_SCHEME = Annotated[
    TPMS_SCHEME_HASH | TPMS_SCHEME_ECDAA | None,
    union(
        {
            TPM_ALG.HMAC: TPMS_SCHEME_HMAC,
            TPM_ALG.RSASSA: TPMS_SIG_SCHEME_RSASSA,
            TPM_ALG.RSAPSS: TPMS_SIG_SCHEME_RSAPSS,
            TPM_ALG.ECDSA: TPMS_SIG_SCHEME_ECDSA,
            TPM_ALG.ECDAA: TPMS_SIG_SCHEME_ECDAA,
            TPM_ALG.SM2: TPMS_SIG_SCHEME_SM2,
            TPM_ALG.ECSCHNORR: TPMS_SIG_SCHEME_ECSCHNORR,
            TPM_ALG.EDDSA: TPMS_SIG_SCHEME_EDDSA,
            TPM_ALG.EDDSA_PH: TPMS_SIG_SCHEME_EDDSA_PH,
            TPM_ALG.NULL: None,
        }
    ),
]


class TPMT_SIG_SCHEME(Structure):
    """A signing scheme, or TPM_ALG_NULL for the one the key has.  [Part 2, 11.2.1.5]"""

    scheme: TPMI_ALG_SIG_SCHEME
    details: TPMU_SIG_SCHEME = by("scheme", default=None)


TPMS_KDF_SCHEME_MGF1 = TPMS_SCHEME_HASH
TPMS_KDF_SCHEME_KDF1_SP800_56A = TPMS_SCHEME_HASH
TPMS_KDF_SCHEME_KDF2 = TPMS_SCHEME_HASH
TPMS_KDF_SCHEME_KDF1_SP800_108 = TPMS_SCHEME_HASH

TPMU_KDF_SCHEME = Annotated[
    TPMS_SCHEME_HASH | None,
    union(
        {
            TPM_ALG.MGF1: TPMS_KDF_SCHEME_MGF1,
            TPM_ALG.KDF1_SP800_56A: TPMS_KDF_SCHEME_KDF1_SP800_56A,
            TPM_ALG.KDF2: TPMS_KDF_SCHEME_KDF2,
            TPM_ALG.KDF1_SP800_108: TPMS_KDF_SCHEME_KDF1_SP800_108,
            TPM_ALG.NULL: None,
        }
    ),
]


class TPMT_KDF_SCHEME(Structure):
    """A key derivation scheme, or TPM_ALG_NULL.  [Part 2, 11.2.3.3]"""

    scheme: TPMI_ALG_KDF
    details: TPMU_KDF_SCHEME = by("scheme", default=None)


TPMS_ENC_SCHEME_RSAES = TPMS_EMPTY
TPMS_ENC_SCHEME_OAEP = TPMS_SCHEME_HASH
TPMS_KEY_SCHEME_ECDH = TPMS_SCHEME_HASH
TPMS_KEY_SCHEME_ECMQV = TPMS_SCHEME_HASH
TPMS_KEY_SCHEME_SM2 = TPMS_SCHEME_HASH

TPMU_ASYM_SCHEME = Annotated[
    TPMS_SCHEME_HASH | TPMS_SCHEME_ECDAA | None,
    union(
        {
            TPM_ALG.RSASSA: TPMS_SIG_SCHEME_RSASSA,
            TPM_ALG.RSAES: TPMS_ENC_SCHEME_RSAES,
            TPM_ALG.RSAPSS: TPMS_SIG_SCHEME_RSAPSS,
            TPM_ALG.OAEP: TPMS_ENC_SCHEME_OAEP,
            TPM_ALG.ECDSA: TPMS_SIG_SCHEME_ECDSA,
            TPM_ALG.ECDH: TPMS_KEY_SCHEME_ECDH,
            TPM_ALG.ECDAA: TPMS_SIG_SCHEME_ECDAA,
            TPM_ALG.SM2: TPMS_KEY_SCHEME_SM2,
            TPM_ALG.ECSCHNORR: TPMS_SIG_SCHEME_ECSCHNORR,
            TPM_ALG.ECMQV: TPMS_KEY_SCHEME_ECMQV,
            TPM_ALG.EDDSA: TPMS_SIG_SCHEME_EDDSA,
            TPM_ALG.EDDSA_PH: TPMS_SIG_SCHEME_EDDSA_PH,
            TPM_ALG.NULL: None,
        }
    ),
]


class TPMT_ASYM_SCHEME(Structure):
    """The scheme that a key is bound to, whatever its type, or TPM_ALG_NULL.  [Part 2, 11.2.3.6]"""

    scheme: TPMI_ALG_ASYM_SCHEME
    details: TPMU_ASYM_SCHEME = by("scheme", default=None)


class TPMT_RSA_SCHEME(Structure):
    """The scheme that an RSA key is bound to, or TPM_ALG_NULL.  [Part 2, 11.2.4.2]"""

    scheme: TPMI_ALG_RSA_SCHEME
    details: TPMU_ASYM_SCHEME = by("scheme", default=None)


class TPMT_RSA_DECRYPT(Structure):
    """A padding for encryption, or TPM_ALG_NULL for the one the key has.  [Part 2, 11.2.4.4]"""

    scheme: TPMI_ALG_RSA_DECRYPT
    details: TPMU_ASYM_SCHEME = by("scheme", default=None)


class TPMT_ECC_SCHEME(Structure):
    """The scheme that an ECC key is bound to, or TPM_ALG_NULL.  [Part 2, 11.2.5.6]"""

    scheme: TPMI_ALG_ECC_SCHEME
    details: TPMU_ASYM_SCHEME = by("scheme", default=None)


# --- keys' parts, signatures and secrets [11.2.4, 11.2.5, 11.3, 11.4] --------------------------

TPM2B_PUBLIC_KEY_RSA = Annotated[bytes, Buffer(limit=2048)]
TPM2B_PRIVATE_KEY_RSA = Annotated[bytes, Buffer(secret=True)]
TPM2B_ECC_PARAMETER = Annotated[bytes, Buffer(limit=128)]


class TPMS_ECC_POINT(Structure):
    """A point on a curve, its coordinates big-endian.  [Part 2, 11.2.5.2]"""

    x: TPM2B_ECC_PARAMETER = b""
    y: TPM2B_ECC_PARAMETER = b""


TPM2B_ECC_POINT = Annotated[TPMS_ECC_POINT, Sized(TPMS_ECC_POINT.schema)]


class TPMS_ALGORITHM_DETAIL_ECC(Structure):
    """A curve: y^2 = x^3 + ax + b modulo p, base point, order, cofactor.  [Part 2, 11.2.5.7]"""

    curveID: TPM_ECC_CURVE
    keySize: UINT16
    kdf: TPMT_KDF_SCHEME
    sign: TPMT_ECC_SCHEME
    p: TPM2B_ECC_PARAMETER
    a: TPM2B_ECC_PARAMETER
    b: TPM2B_ECC_PARAMETER
    gX: TPM2B_ECC_PARAMETER
    gY: TPM2B_ECC_PARAMETER
    n: TPM2B_ECC_PARAMETER
    h: TPM2B_ECC_PARAMETER


class TPMS_SIGNATURE_RSA(Structure):
    """An RSA signature, as long as the modulus.  [Part 2, 11.3.1]"""

    hash: TPMI_ALG_HASH
    sig: TPM2B_PUBLIC_KEY_RSA


class TPMS_SIGNATURE_ECC(Structure):
    """An ECC signature: two numbers, big-endian.  [Part 2, 11.3.2]"""

    hash: TPMI_ALG_HASH
    signatureR: TPM2B_ECC_PARAMETER
    signatureS: TPM2B_ECC_PARAMETER


TPMS_SIGNATURE_RSASSA = TPMS_SIGNATURE_RSA
TPMS_SIGNATURE_RSAPSS = TPMS_SIGNATURE_RSA
TPMS_SIGNATURE_ECDSA = TPMS_SIGNATURE_ECC
TPMS_SIGNATURE_ECDAA = TPMS_SIGNATURE_ECC
TPMS_SIGNATURE_SM2 = TPMS_SIGNATURE_ECC
TPMS_SIGNATURE_ECSCHNORR = TPMS_SIGNATURE_ECC
TPMS_SIGNATURE_EDDSA = TPMS_SIGNATURE_ECC
TPMS_SIGNATURE_EDDSA_PH = TPMS_SIGNATURE_ECC

TPMU_SIGNATURE = Annotated[
    TPMS_SIGNATURE_RSA | TPMS_SIGNATURE_ECC | TPMT_HA | TPMS_SIGNATURE_HASH_MLDSA | bytes | None,
    union(
        {
            TPM_ALG.HMAC: TPMT_HA,
            TPM_ALG.RSASSA: TPMS_SIGNATURE_RSASSA,
            TPM_ALG.RSAPSS: TPMS_SIGNATURE_RSAPSS,
            TPM_ALG.ECDSA: TPMS_SIGNATURE_ECDSA,
            TPM_ALG.ECDAA: TPMS_SIGNATURE_ECDAA,
            TPM_ALG.SM2: TPMS_SIGNATURE_SM2,
            TPM_ALG.ECSCHNORR: TPMS_SIGNATURE_ECSCHNORR,
            TPM_ALG.EDDSA: TPMS_SIGNATURE_EDDSA,
            TPM_ALG.EDDSA_PH: TPMS_SIGNATURE_EDDSA_PH,
            TPM_ALG.NULL: None,
            # provisional, version 1.85
            TPM_ALG.MLDSA: TPM2B_MLDSA_SIGNATURE,
            TPM_ALG.HASH_MLDSA: TPMS_SIGNATURE_HASH_MLDSA,
        }
    ),
]


class TPMT_SIGNATURE(Structure):
    """A signature; TPM_ALG_NULL where the TPM was asked for none.  [Part 2, 11.3.4]"""

    sigAlg: TPMI_ALG_SIG_SCHEME
    signature: TPMU_SIGNATURE = by("sigAlg", default=None)


# A secret that only the holder of a private key can read: RSA OAEP, or an ephemeral ECC point.
TPM2B_ENCRYPTED_SECRET = Annotated[bytes, Buffer()]
