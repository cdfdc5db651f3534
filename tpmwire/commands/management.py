"""What only the platform may set.  [Part 3, 26]"""

from tpmwire.commands.base import USER, Command, Response
from tpmwire.constants import TPM_CC
from tpmwire.structure import handle
from tpmwire.types.base import UINT32
from tpmwire.types.capabilities import TPML_CC
from tpmwire.types.interface import TPMI_RH_PLATFORM


class PP_CommandsResponse(Response):
    """Nothing but success."""


class PP_Commands(Command[PP_CommandsResponse], code=TPM_CC.PP_Commands):
    """Choose the commands that want physical presence as well.  [Part 3, 26.2]"""

    auth: TPMI_RH_PLATFORM = handle(auth=USER)

    setList: TPML_CC = ()
    clearList: TPML_CC = ()


class SetAlgorithmSetResponse(Response):
    """Nothing but success."""


class SetAlgorithmSet(Command[SetAlgorithmSetResponse], code=TPM_CC.SetAlgorithmSet):
    """Choose one of the sets of algorithms that the manufacturer has defined.  [Part 3, 26.3]"""

    authHandle: TPMI_RH_PLATFORM = handle(auth=USER)

    algorithmSet: UINT32
