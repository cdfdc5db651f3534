"""Base types and the words of constants and attributes as field types.  [Part 2, 5-8]"""

from typing import Annotated

from tpmwire.constants import TPM_ALG, TPM_ECC, TPM_RH
from tpmwire.wire import Handle, Integer, YesNo

UINT8 = Annotated[int, Integer(1)]
BYTE = Annotated[int, Integer(1)]
UINT16 = Annotated[int, Integer(2)]
UINT32 = Annotated[int, Integer(4)]
UINT64 = Annotated[int, Integer(8)]
INT8 = Annotated[int, Integer(1, signed=True)]
INT16 = Annotated[int, Integer(2, signed=True)]
INT32 = Annotated[int, Integer(4, signed=True)]
INT64 = Annotated[int, Integer(8, signed=True)]

TPM_ALGORITHM_ID = UINT32
TPM_MODIFIER_INDICATOR = UINT32
TPM_AUTHORIZATION_SIZE = UINT32
TPM_PARAMETER_SIZE = UINT32
TPM_KEY_SIZE = UINT16
TPM_KEY_BITS = UINT16
TPM_ALG_ID = TPM_ALG
TPM_ECC_CURVE = TPM_ECC
TPM_HANDLE = Annotated[int, Handle(TPM_RH)]

TPMI_YES_NO = Annotated[bool, YesNo()]
