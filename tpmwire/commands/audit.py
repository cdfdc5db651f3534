"""Which commands the TPM keeps an audit of.  [Part 3, 21]"""

from tpmwire.commands.base import USER, Command, Response
from tpmwire.constants import TPM_ALG, TPM_CC
from tpmwire.structure import handle
from tpmwire.types.capabilities import TPML_CC
from tpmwire.types.interface import TPMI_ALG_HASH, TPMI_RH_PROVISION


class SetCommandCodeAuditStatusResponse(Response):
    """Nothing but success."""


class SetCommandCodeAuditStatus(
    Command[SetCommandCodeAuditStatusResponse], code=TPM_CC.SetCommandCodeAuditStatus
):
    """Change the hash algorithm of the audit, or the list of audited commands.  [Part 3, 21.2]"""

    auth: TPMI_RH_PROVISION = handle(auth=USER)

    auditAlg: TPMI_ALG_HASH = TPM_ALG.NULL
    setList: TPML_CC = ()
    clearList: TPML_CC = ()
