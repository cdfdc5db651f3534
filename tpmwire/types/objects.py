"""Keys and sealed data: public and sensitive areas, their encrypted forms.  [Part 2, 12 and 15]"""

from typing import Annotated

from tpmwire.attributes import TPMA_LOCALITY, TPMA_OBJECT
from tpmwire.constants import TPM_ALG, TPMI_MLDSA_PARAMETER_SET, TPMI_MLKEM_PARAMETER_SET
from tpmwire.structure import Structure, by, secret, union
from tpmwire.types.algorithms import (
    TPM2B_ECC_PARAMETER,
    TPM2B_PRIVATE_KEY_RSA,
    TPM2B_PUBLIC_KEY_RSA,
    TPM2B_SENSITIVE_DATA,
    TPM2B_SYM_KEY,
    TPMS_DERIVE,
    TPMS_ECC_POINT,
    TPMS_SYMCIPHER_PARMS,
    TPMT_ASYM_SCHEME,
    TPMT_ECC_SCHEME,
    TPMT_KDF_SCHEME,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_RSA_SCHEME,
    TPMT_SYM_DEF_OBJECT,
)
from tpmwire.types.base import TPM_ALG_ID, TPMI_YES_NO, UINT32
from tpmwire.types.interface import (
    TPMI_ALG_HASH,
    TPMI_ALG_PUBLIC,
    TPMI_ECC_CURVE,
    TPMI_RSA_KEY_BITS,
)
from tpmwire.types.postquantum import (
    TPM2B_PRIVATE_KEY_MLDSA,
    TPM2B_PRIVATE_KEY_MLKEM,
    TPM2B_PUBLIC_KEY_MLDSA,
    TPM2B_PUBLIC_KEY_MLKEM,
)
from tpmwire.types.structures import (
    TPM2B_AUTH,
    TPM2B_DATA,
    TPM2B_DIGEST,
    TPM2B_NAME,
    TPML_PCR_SELECTION,
)
from tpmwire.wire import Buffer, Rest, Sized

TPMU_PUBLIC_ID = Annotated[
    bytes | TPMS_ECC_POINT,
    union(
        {
            TPM_ALG.KEYEDHASH: TPM2B_DIGEST,
            TPM_ALG.SYMCIPHER: TPM2B_DIGEST,
            TPM_ALG.RSA: TPM2B_PUBLIC_KEY_RSA,
            TPM_ALG.ECC: TPMS_ECC_POINT,
            # provisional, version 1.85
            TPM_ALG.MLDSA: TPM2B_PUBLIC_KEY_MLDSA,
            TPM_ALG.HASH_MLDSA: TPM2B_PUBLIC_KEY_MLDSA,
            TPM_ALG.MLKEM: TPM2B_PUBLIC_KEY_MLKEM,
        }
    ),
]


class TPMS_KEYEDHASH_PARMS(Structure):
    """The parameters of an HMAC key or of sealed data.  [Part 2, 12.2.3.3]"""

    scheme: TPMT_KEYEDHASH_SCHEME


class TPMS_ASYM_PARMS(Structure):
    """What the parameters of RSA and ECC keys begin with.  [Part 2, 12.2.3.4]"""

    symmetric: TPMT_SYM_DEF_OBJECT
    scheme: TPMT_ASYM_SCHEME


class TPMS_RSA_PARMS(Structure):
    """The parameters of an RSA key; exponent 0 means 65537.  [Part 2, 12.2.3.5]"""

    symmetric: TPMT_SYM_DEF_OBJECT
    scheme: TPMT_RSA_SCHEME
    keyBits: TPMI_RSA_KEY_BITS
    exponent: UINT32 = 0


class TPMS_ECC_PARMS(Structure):
    """The parameters of an ECC key.  [Part 2, 12.2.3.6]"""

    symmetric: TPMT_SYM_DEF_OBJECT
    scheme: TPMT_ECC_SCHEME
    curveID: TPMI_ECC_CURVE
    kdf: TPMT_KDF_SCHEME


class TPMS_MLDSA_PARMS(Structure):
    """The parameters of an ML-DSA key; provisional.  [Part 2 of 1.85 rc4, table 229]"""

    parameterSet: TPMI_MLDSA_PARAMETER_SET
    allowExternalMu: TPMI_YES_NO


class TPMS_HASH_MLDSA_PARMS(Structure):
    """The parameters of a HashML-DSA key; provisional.  [Part 2 of 1.85 rc4, table 230]"""

    parameterSet: TPMI_MLDSA_PARAMETER_SET
    hashAlg: TPMI_ALG_HASH


class TPMS_MLKEM_PARMS(Structure):
    """The parameters of an ML-KEM key; provisional.  [Part 2 of 1.85 rc4, table 231]"""

    symmetric: TPMT_SYM_DEF_OBJECT
    parameterSet: TPMI_MLKEM_PARAMETER_SET


TPMU_PUBLIC_PARMS = Annotated[
    TPMS_KEYEDHASH_PARMS
    | TPMS_SYMCIPHER_PARMS
    | TPMS_RSA_PARMS
    | TPMS_ECC_PARMS
    | TPMS_MLDSA_PARMS
    | TPMS_HASH_MLDSA_PARMS
    | TPMS_MLKEM_PARMS,
    union(
        {
            TPM_ALG.KEYEDHASH: TPMS_KEYEDHASH_PARMS,
            TPM_ALG.SYMCIPHER: TPMS_SYMCIPHER_PARMS,
            TPM_ALG.RSA: TPMS_RSA_PARMS,
            TPM_ALG.ECC: TPMS_ECC_PARMS,
            # provisional, version 1.85
            TPM_ALG.MLDSA: TPMS_MLDSA_PARMS,
            TPM_ALG.HASH_MLDSA: TPMS_HASH_MLDSA_PARMS,
            TPM_ALG.MLKEM: TPMS_MLKEM_PARMS,
        }
    ),
]


class TPMT_PUBLIC_PARMS(Structure):
    """A type of object with its parameters.  [Part 2, 12.2.3.8]"""

    type: TPMI_ALG_PUBLIC
    parameters: TPMU_PUBLIC_PARMS = by("type")


class TPMT_PUBLIC(Structure):
    """The public area of an object; its digest is the object's Name.  [Part 2, 12.2.4]"""

    type: TPMI_ALG_PUBLIC
    nameAlg: TPMI_ALG_HASH
    objectAttributes: TPMA_OBJECT
    authPolicy: TPM2B_DIGEST = b""
    parameters: TPMU_PUBLIC_PARMS = by("type")
    unique: TPMU_PUBLIC_ID = by("type")


TPM2B_PUBLIC = Annotated[TPMT_PUBLIC, Sized(TPMT_PUBLIC.schema)]


class DerivationTemplate(Structure):
    """A TPMT_PUBLIC whose `unique` is a TPMS_DERIVE, for an object that is derived, not made.

    Its octets, as those of a TPMT_PUBLIC, are what a TPM2B_TEMPLATE holds.  [Part 2, 12.2.6]
    """

    type: TPMI_ALG_PUBLIC
    nameAlg: TPMI_ALG_HASH
    objectAttributes: TPMA_OBJECT
    authPolicy: TPM2B_DIGEST = b""
    parameters: TPMU_PUBLIC_PARMS = by("type")
    unique: TPMS_DERIVE


# Octets, since only the parent tells which of the two they stand for.  [Part 2, 12.2.6]
TPM2B_TEMPLATE = Annotated[bytes, Buffer()]

TPMU_SENSITIVE_COMPOSITE = Annotated[
    bytes,
    union(
        {
            TPM_ALG.RSA: TPM2B_PRIVATE_KEY_RSA,
            TPM_ALG.ECC: TPM2B_ECC_PARAMETER,
            TPM_ALG.KEYEDHASH: TPM2B_SENSITIVE_DATA,
            TPM_ALG.SYMCIPHER: TPM2B_SYM_KEY,
            # provisional, version 1.85
            TPM_ALG.MLDSA: TPM2B_PRIVATE_KEY_MLDSA,
            TPM_ALG.HASH_MLDSA: TPM2B_PRIVATE_KEY_MLDSA,
            TPM_ALG.MLKEM: TPM2B_PRIVATE_KEY_MLKEM,
        }
    ),
]


class TPMT_SENSITIVE(Structure):
    """The secret part of an object: a prime, a scalar, a key or data.  [Part 2, 12.3.2.4]"""

    sensitiveType: TPMI_ALG_PUBLIC
    authValue: TPM2B_AUTH = b""
    seedValue: TPM2B_DIGEST = secret(b"")
    sensitive: TPMU_SENSITIVE_COMPOSITE = by("sensitiveType", secret=True)


TPM2B_SENSITIVE = Annotated[TPMT_SENSITIVE | None, Sized(TPMT_SENSITIVE.schema, optional=True)]

# What the TPM encrypts for itself: octets that only the parent's TPM can read.  [Part 2, 12.3.7]
TPM2B_PRIVATE = Annotated[bytes, Buffer()]


class TPMS_ID_OBJECT(Structure):
    """A credential for the holder of one key only: what a TPM2B_ID_OBJECT holds.

    `encIdentity` is a TPM2B_DIGEST that is encrypted together with its size, so here it has none.
    [Part 2, 12.4.2]
    """

    integrityHMAC: TPM2B_DIGEST
    encIdentity: Annotated[bytes, Rest()]


TPM2B_ID_OBJECT = Annotated[bytes, Buffer(limit=132)]


class TPMS_CREATION_DATA(Structure):
    """The circumstances in which an object was made.  [Part 2, 15.1]"""

    pcrSelect: TPML_PCR_SELECTION
    pcrDigest: TPM2B_DIGEST
    locality: TPMA_LOCALITY
    parentNameAlg: TPM_ALG_ID
    parentName: TPM2B_NAME
    parentQualifiedName: TPM2B_NAME
    outsideInfo: TPM2B_DATA


TPM2B_CREATION_DATA = Annotated[TPMS_CREATION_DATA, Sized(TPMS_CREATION_DATA.schema)]
