"""What is loaded and what is kept.  [Part 3, 28]"""

from tpmwire.commands.base import USER, Command, Response
from tpmwire.constants import TPM_CC
from tpmwire.structure import handle
from tpmwire.types.interface import (
    TPMI_DH_CONTEXT,
    TPMI_DH_OBJECT,
    TPMI_DH_PERSISTENT,
    TPMI_RH_PROVISION,
)


class FlushContextResponse(Response):
    """Nothing but success."""


class FlushContext(Command[FlushContextResponse], code=TPM_CC.FlushContext):
    """Forget a loaded object or session; the handle is a parameter here.  [Part 3, 28.4]"""

    flushHandle: TPMI_DH_CONTEXT


class EvictControlResponse(Response):
    """Nothing but success."""


class EvictControl(Command[EvictControlResponse], code=TPM_CC.EvictControl):
    """Make a loaded object persistent, or forget a persistent one.  [Part 3, 28.5]"""

    auth: TPMI_RH_PROVISION = handle(auth=USER)
    objectHandle: TPMI_DH_OBJECT = handle()

    persistentHandle: TPMI_DH_PERSISTENT
