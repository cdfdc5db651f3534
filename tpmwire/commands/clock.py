"""The clock.  [Part 3, 29]"""

from tpmwire.commands.base import USER, Command, Response
from tpmwire.constants import TPM_CC, TPM_CLOCK_ADJUST
from tpmwire.structure import handle
from tpmwire.types.attestation import TPMS_TIME_INFO
from tpmwire.types.base import UINT64
from tpmwire.types.interface import TPMI_RH_PROVISION


class ReadClockResponse(Response):
    """Time and clock."""

    currentTime: TPMS_TIME_INFO


class ReadClock(Command[ReadClockResponse], code=TPM_CC.ReadClock):
    """Read the clock.  [Part 3, 29.1]"""


class ClockSetResponse(Response):
    """Nothing but success."""


class ClockSet(Command[ClockSetResponse], code=TPM_CC.ClockSet):
    """Set the clock ahead, in milliseconds; it cannot be set back.  [Part 3, 29.2]"""

    auth: TPMI_RH_PROVISION = handle(auth=USER)

    newTime: UINT64


class ClockRateAdjustResponse(Response):
    """Nothing but success."""


class ClockRateAdjust(Command[ClockRateAdjustResponse], code=TPM_CC.ClockRateAdjust):
    """Let the clock go faster or slower.  [Part 3, 29.3]"""

    auth: TPMI_RH_PROVISION = handle(auth=USER)

    rateAdjust: TPM_CLOCK_ADJUST
