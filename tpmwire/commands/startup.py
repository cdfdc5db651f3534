"""Starting and stopping.  [Part 3, 9]"""

from tpmwire.commands.base import Command, Response
from tpmwire.constants import TPM_CC, TPM_SU


class StartupResponse(Response):
    """Nothing but success."""


class Startup(Command[StartupResponse], code=TPM_CC.Startup):
    """Start the TPM after it was powered on; firmware does it on a real machine.  [Part 3, 9.3]"""

    startupType: TPM_SU = TPM_SU.CLEAR


class ShutdownResponse(Response):
    """Nothing but success."""


class Shutdown(Command[ShutdownResponse], code=TPM_CC.Shutdown):
    """Prepare the TPM for the loss of power.  [Part 3, 9.4]"""

    shutdownType: TPM_SU = TPM_SU.CLEAR
