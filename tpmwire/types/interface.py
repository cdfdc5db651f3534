"""Interface types: an identifier or handle, with the values that make sense in its place.

The values are not checked: the TPM does that, and knows better what it has.  The name of the type
says in a declaration what belongs there.  A field of a handle type takes a number, a TPM_RH, or
anything with an attribute `handle`, such as a loaded object.  [Part 2, 9]
"""

from typing import Annotated

from tpmwire.constants import TPM_ALG, TPM_ECC, TPM_RH
from tpmwire.types.base import TPM_KEY_BITS
from tpmwire.wire import Handle, HasHandle

_ANY_HANDLE = Annotated[int | HasHandle, Handle(TPM_RH)]

TPMI_DH_OBJECT = _ANY_HANDLE
TPMI_DH_PERSISTENT = _ANY_HANDLE
TPMI_DH_CONTEXT = _ANY_HANDLE
TPMI_SH_AUTH_SESSION = _ANY_HANDLE
TPMI_RH_HIERARCHY = _ANY_HANDLE
TPMI_RH_PROVISION = _ANY_HANDLE

TPMI_ALG_HASH = TPM_ALG
TPMI_ALG_SYM_OBJECT = TPM_ALG
TPMI_ALG_SYM_MODE = TPM_ALG
TPMI_ALG_KDF = TPM_ALG
TPMI_ALG_SIG_SCHEME = TPM_ALG
TPMI_ALG_KEYEDHASH_SCHEME = TPM_ALG
TPMI_ALG_RSA_SCHEME = TPM_ALG
TPMI_ALG_ECC_SCHEME = TPM_ALG
TPMI_ALG_PUBLIC = TPM_ALG
TPMI_ECC_CURVE = TPM_ECC

TPMI_AES_KEY_BITS = TPM_KEY_BITS
TPMI_TDES_KEY_BITS = TPM_KEY_BITS
TPMI_SM4_KEY_BITS = TPM_KEY_BITS
TPMI_CAMELLIA_KEY_BITS = TPM_KEY_BITS
TPMI_RSA_KEY_BITS = TPM_KEY_BITS
