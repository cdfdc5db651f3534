"""Authenticated countdown timers.  [Part 3, 33]"""

from tpmwire.commands.base import USER, Command, Response
from tpmwire.constants import TPM_CC
from tpmwire.structure import handle
from tpmwire.types.base import UINT32
from tpmwire.types.interface import TPMI_RH_ACT


class ACT_SetTimeoutResponse(Response):
    """Nothing but success."""


class ACT_SetTimeout(Command[ACT_SetTimeoutResponse], code=TPM_CC.ACT_SetTimeout):
    """Set the seconds after which a timer signals, unless it is set again.  [Part 3, 33.2]"""

    actHandle: TPMI_RH_ACT = handle(auth=USER)

    startTimeout: UINT32
