"""What is loaded and what is kept.  [Part 3, 28]"""

from tpmwire.commands.base import USER, Command, Response
from tpmwire.constants import TPM_CC
from tpmwire.structure import handle
from tpmwire.types.contexts import TPMS_CONTEXT
from tpmwire.types.interface import (
    TPMI_DH_CONTEXT,
    TPMI_DH_OBJECT,
    TPMI_DH_PERSISTENT,
    TPMI_RH_PROVISION,
)


class ContextSaveResponse(Response):
    """The object or session, encrypted for this TPM."""

    context: TPMS_CONTEXT


class ContextSave(Command[ContextSaveResponse], code=TPM_CC.ContextSave):
    """Put an object or session away; the object stays loaded too.  [Part 3, 28.2]"""

    saveHandle: TPMI_DH_CONTEXT = handle()


class ContextLoadResponse(Response):
    """Where the object stands now; a session has the handle that it had."""

    loadedHandle: TPMI_DH_CONTEXT = handle()


class ContextLoad(Command[ContextLoadResponse], code=TPM_CC.ContextLoad):
    """Take up again what was put away.  [Part 3, 28.3]"""

    context: TPMS_CONTEXT


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
