"""Protection from the guessing of authorization values.  [Part 3, 25]"""

from tpmwire.commands.base import USER, Command, Response
from tpmwire.constants import TPM_CC
from tpmwire.structure import handle
from tpmwire.types.base import UINT32
from tpmwire.types.interface import TPMI_RH_LOCKOUT


class DictionaryAttackLockResetResponse(Response):
    """Nothing but success."""


class DictionaryAttackLockReset(
    Command[DictionaryAttackLockResetResponse], code=TPM_CC.DictionaryAttackLockReset
):
    """Forgive all failures.  [Part 3, 25.2]"""

    lockHandle: TPMI_RH_LOCKOUT = handle(auth=USER)


class DictionaryAttackParametersResponse(Response):
    """Nothing but success."""


class DictionaryAttackParameters(
    Command[DictionaryAttackParametersResponse], code=TPM_CC.DictionaryAttackParameters
):
    """Set how many failures lock, and the seconds in which one is forgiven.  [Part 3, 25.3]

    `lockoutRecovery` is how many seconds the lockout's own authorization is locked by one failure.
    """

    lockHandle: TPMI_RH_LOCKOUT = handle(auth=USER)

    newMaxTries: UINT32
    newRecoveryTime: UINT32
    lockoutRecovery: UINT32
