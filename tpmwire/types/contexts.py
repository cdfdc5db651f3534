"""Saved contexts.  [Part 2, 14]"""

from typing import Annotated

from tpmwire.structure import Structure
from tpmwire.types.base import UINT64
from tpmwire.types.interface import TPMI_DH_SAVED, TPMI_RH_HIERARCHY
from tpmwire.wire import Buffer

# What the TPM encrypts for itself; its form is the TPM's own affair.  [Part 2, 14.4]
TPM2B_CONTEXT_DATA = Annotated[bytes, Buffer()]


class TPMS_CONTEXT(Structure):
    """An object or session that was put away until it is loaded again.  [Part 2, 14.5]"""

    sequence: UINT64
    savedHandle: TPMI_DH_SAVED
    hierarchy: TPMI_RH_HIERARCHY
    contextBlob: TPM2B_CONTEXT_DATA
