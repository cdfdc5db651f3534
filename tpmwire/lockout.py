"""Lockout: what a wrong PIN has done, and how long a TPM refuses further ones.  [Part 1, 19.8]

A TPM counts wrong authorizations, forgives one after each interval, and refuses all protected keys
when there were too many.  It tells the count, but not how much of the interval has gone by.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tpmwire.commands.capability import GetCapability
from tpmwire.constants import TPM_CAP, TPM_PT, TPM_RC
from tpmwire.errors import Error, TpmError

Execute = Callable[[GetCapability], Any]


@dataclass(frozen=True)
class Lockout:
    """How a TPM stands with wrong authorizations; times in seconds."""

    failures: int
    most: int
    interval: int
    recovery: int

    @property
    def tries(self) -> int:
        """How many wrong authorizations the TPM takes before it locks."""
        return max(0, self.most - self.failures)

    @property
    def wait(self) -> str:
        """Tell in words when there is one more try."""
        if not self.interval:
            return "the TPM forgives none by itself"
        return f"one more try in at most {_span(self.interval)}"

    @classmethod
    def read(cls, execute: Execute) -> "Lockout":
        """Ask a TPM, which wants no authorization for it; KeyError if it does not tell."""
        asked = GetCapability(
            capability=TPM_CAP.TPM_PROPERTIES, property=_FIRST, propertyCount=len(_PROPERTIES)
        )
        told = {each.property: each.value for each in execute(asked).capabilityData.data}
        return cls(*(told[each] for each in _PROPERTIES))


_FIRST = TPM_PT.LOCKOUT_COUNTER
_PROPERTIES = (_FIRST, TPM_PT.MAX_AUTH_FAIL, TPM_PT.LOCKOUT_INTERVAL, TPM_PT.LOCKOUT_RECOVERY)


def explain(execute: Execute, error: TpmError) -> None:
    """Add to a refusal for a wrong authorization, or too many, what is left to do.

    Any other error stays as it is, and so does this one if the TPM does not tell.
    """
    if error.code not in (TPM_RC.AUTH_FAIL, TPM_RC.LOCKOUT):
        return
    with suppress(Error, KeyError):
        state = Lockout.read(execute)
        tries = "1 try" if state.tries == 1 else f"{state.tries} tries"
        locked = error.code == TPM_RC.LOCKOUT or not state.tries
        error.help = state.wait if locked else f"{tries} left before the TPM locks"


def _span(seconds: int) -> str:
    for size, name in ((3600, "hour"), (60, "minute"), (1, "second")):
        if seconds % size == 0:
            count = seconds // size
            return f"{count} {name}" + ("s" if count != 1 else "")
    raise AssertionError
