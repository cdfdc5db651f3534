"""Components attached to a TPM.  [Part 2, 16]"""

from typing import Annotated

from tpmwire.constants import TPM_AT
from tpmwire.structure import Structure, wire_of
from tpmwire.types.base import UINT32
from tpmwire.wire import Counted


class TPMS_AC_OUTPUT(Structure):
    """One thing that an attached component says of itself.  [Part 2, 16.3]"""

    tag: TPM_AT
    data: UINT32


TPML_AC_CAPABILITIES = Annotated[tuple[TPMS_AC_OUTPUT, ...], Counted(wire_of(TPMS_AC_OUTPUT))]
