"""Lockout: what a wrong PIN has done, and how long a TPM refuses further ones.  [Part 1, 19.8]

A TPM counts wrong authorizations, forgives one after each interval, and refuses all protected keys
when there were too many.  It tells the count, but not how much of the interval has gone by.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from tpmwire.attributes import TPMA_PERMANENT
from tpmwire.commands.capability import GetCapability
from tpmwire.constants import TPM_CAP, TPM_PT, TPM_RC
from tpmwire.errors import Error, TpmError

Execute = Callable[[GetCapability], Any]


class Lockout(NamedTuple):
    """How a TPM stands with wrong authorizations; times in seconds."""

    locked: bool
    failures: int
    most_failures: int
    interval: int
    """After how long one failure is forgiven; 0 where the protection is off."""
    recovery: int
    """How long lockoutAuth cannot be used after it was wrong; 0 means until a restart."""

    @property
    def tries_left(self) -> int:
        """How many authorizations may still go wrong before the TPM locks itself."""
        return 0 if self.locked else max(self.most_failures - self.failures, 0)

    @property
    def wait(self) -> str:
        """Tell in words when there is one more try."""
        if not self.interval:
            return "the TPM forgives none by itself"
        return f"one more try in at most {_span(self.interval)}"

    @classmethod
    def read(cls, execute: Execute) -> "Lockout":
        """Ask a TPM, which wants no authorization for it; KeyError if it does not tell."""
        count = TPM_PT.LOCKOUT_RECOVERY - TPM_PT.PERMANENT + 1
        asked = GetCapability(
            capability=TPM_CAP.TPM_PROPERTIES, property=TPM_PT.PERMANENT, propertyCount=count
        )
        told = execute(asked).capabilityData.data
        return cls.of({each.property: each.value for each in told})

    @classmethod
    def of(cls, properties: Mapping[int, int]) -> "Lockout":
        """Read it from the properties of a TPM; KeyError if one of them is missing."""
        return cls(
            locked=bool(properties[TPM_PT.PERMANENT] & TPMA_PERMANENT.inLockout),
            failures=properties[TPM_PT.LOCKOUT_COUNTER],
            most_failures=properties[TPM_PT.MAX_AUTH_FAIL],
            interval=properties[TPM_PT.LOCKOUT_INTERVAL],
            recovery=properties[TPM_PT.LOCKOUT_RECOVERY],
        )


def explain(execute: Execute, error: TpmError) -> None:
    """Add to a refusal for a wrong authorization, or too many, what is left to do.

    Any other error stays as it is, and so does this one if the TPM does not tell.
    """
    if error.code not in (TPM_RC.AUTH_FAIL, TPM_RC.LOCKOUT):
        return
    with suppress(Error, KeyError):
        state = Lockout.read(execute)
        tries = "1 try" if state.tries_left == 1 else f"{state.tries_left} tries"
        locked = error.code == TPM_RC.LOCKOUT or not state.tries_left
        error.help = state.wait if locked else f"{tries} left before the TPM locks"


def _span(seconds: int) -> str:
    for size, name in ((3600, "hour"), (60, "minute"), (1, "second")):
        if seconds % size == 0:
            count = seconds // size
            return f"{count} {name}" + ("s" if count != 1 else "")
    raise AssertionError
