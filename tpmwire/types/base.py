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
INT32 = Annotated[int, Integer(4, signed=True)]

TPM_ALG_ID = TPM_ALG
TPM_ECC_CURVE = TPM_ECC
TPM_KEY_BITS = UINT16
TPM_HANDLE = Annotated[int, Handle(TPM_RH)]

TPMI_YES_NO = Annotated[bool, YesNo()]
