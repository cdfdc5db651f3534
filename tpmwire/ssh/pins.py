"""The PIN of a key: kept for a time or asked for, and no last try without a word."""

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from tpmwire.client import Tpm
from tpmwire.constants import TPM_RC
from tpmwire.errors import Error, TpmError
from tpmwire.lockout import Lockout
from tpmwire.ssh.keyring import now
from tpmwire.ssh.occasion import Occasion

R = TypeVar("R")

Ask = Callable[[str, Occasion], bytes]
"""Asks somebody for a secret: what to say, and on which occasion; an Error if there is none."""

Check = Callable[[Tpm], None]
"""Looks at the TPM right before a PIN is used; raises what keeps it from being used."""

Attempt = Callable[[bytes, Check], R]
"""Does something with a PIN, after the check."""

MOST_QUESTIONS = 3
"""How often somebody is asked for one signature, as ssh does for a passphrase."""

FOR_GOOD = math.inf


class PinError(Error):
    """No PIN can be used now, and why."""


class _AskError(Error):
    """The PIN that is known is not to be used: somebody has to be asked."""


@dataclass(frozen=True)
class _Kept:
    pin: bytes
    until: float
    proven: bool


class Pins:
    """The PIN of one key.

    It is kept for `seconds` after it was given, none by default, and dropped when it is wrong.
    `lockout` reads what wrong PINs have done to the TPM; None for a key that is exempt from that.
    """

    def __init__(
        self,
        comment: str,
        ask: Ask,
        lockout: Callable[[], Lockout] | None = None,
        seconds: float = 0.0,
    ) -> None:
        self._comment, self._ask, self._lockout, self._seconds = comment, ask, lockout, seconds
        self._kept: _Kept | None = None
        self._asking = threading.Lock()  # one question at a time about one key

    def give(self, pin: bytes, *, proven: bool = False) -> None:
        """Keep a PIN for good; one that is not `proven` is not used for a last try."""
        self._kept = _Kept(pin, FOR_GOOD, proven)

    def use(self, occasion: Occasion, attempt: Attempt[R]) -> R:
        """Do something with the PIN: the one that is kept, or one that somebody is asked for.

        `attempt` is given the PIN and a check to make right before it is used.  A wrong PIN is
        asked for anew, but the same one is not tried twice.  Raises what `attempt` and the question
        raise, or PinError.
        """
        with suppress(_AskError):
            return self._with_kept(attempt)
        with self._asking:
            # While we waited for our turn, another one may have been told the PIN.
            with suppress(_AskError):
                return self._with_kept(attempt)
            return self._with_asked(occasion, attempt)

    def prove(self, pin: bytes, attempt: Attempt[object]) -> None:
        """Find out whether a PIN is right, and keep it for good.

        Raises what `attempt` raises, or PinError rather than spend the last try.
        """
        try:
            attempt(pin, self._check_tries)
        except _AskError:
            raise PinError("a wrong PIN would lock the TPM, so it is not tried out") from None
        self.give(pin, proven=True)

    def _with_kept(self, attempt: Attempt[R]) -> R:
        kept = self._kept
        if kept is None or kept.until <= now():
            self._drop(kept)
            raise _AskError("no PIN is kept")
        try:
            result = attempt(kept.pin, no_check if kept.proven else self._check_tries)
        except TpmError as error:
            if not _is_wrong_pin(error):
                raise
            self._drop(kept)
            raise _AskError("the kept PIN is wrong") from error
        self._replace(kept, replace(kept, proven=True))
        return result

    def _with_asked(self, occasion: Occasion, attempt: Attempt[R]) -> R:
        wrong: dict[bytes, TpmError] = {}
        for _ in range(MOST_QUESTIONS):
            state = self._state()
            pin = self._ask(_question(self._comment, state, again=bool(wrong)), occasion)
            if pin in wrong:
                raise wrong[pin]
            if not pin and _is_last(state):
                raise PinError("no PIN was given, and the last try is not spent on that")
            try:
                result = attempt(pin, no_check if _is_last(state) else self._check_tries)
            except _AskError:  # of the tries that were left, others have spent some
                continue
            except TpmError as error:
                if not _is_wrong_pin(error):
                    raise
                wrong[pin] = error
            else:
                self._keep(pin)
                return result
        raise [*wrong.values(), PinError("the PIN was not right")][0]

    def _state(self) -> Lockout | None:
        """Read how many tries are left, if they are counted; PinError if there is none."""
        if self._lockout is None:
            return None
        try:
            state = self._lockout()
        except KeyError:  # the TPM does not tell
            return None
        if not state.interval:
            return None
        if not state.tries_left:
            raise PinError(f"the TPM is locked after too many wrong PINs; {state.wait}")
        return state

    def _check_tries(self, tpm: Tpm) -> None:
        """Keep a PIN that may be wrong from a last try that nobody has been told of."""
        if self._lockout is None:
            return
        with suppress(KeyError):
            state = Lockout.read(tpm.execute)
            if state.interval and state.tries_left == 1:
                raise _AskError("it would be the last try")

    def _keep(self, pin: bytes) -> None:
        if self._seconds > 0:
            self._kept = _Kept(pin, now() + self._seconds, proven=True)

    def _drop(self, kept: _Kept | None) -> None:
        self._replace(kept, None)

    def _replace(self, kept: _Kept | None, new: _Kept | None) -> None:
        # Another thread may have kept a newer one.
        if self._kept is kept:
            self._kept = new


def _question(comment: str, state: Lockout | None, *, again: bool) -> str:
    return f"{'Wrong PIN. ' if again else ''}PIN for TPM key {comment}{_tries(state)}: "


def _tries(state: Lockout | None) -> str:
    if state is None or not (state.failures or _is_last(state)):
        return ""
    if _is_last(state):
        return f" (LAST TRY: with a wrong one the TPM locks; then {state.wait})"
    return f" ({state.tries_left} tries left)"


def _is_last(state: Lockout | None) -> bool:
    return state is not None and state.tries_left == 1


def _is_wrong_pin(error: TpmError) -> bool:
    # The parent, too, may have a secret of its own, but no command but this one takes the PIN.
    return error.code in (TPM_RC.AUTH_FAIL, TPM_RC.BAD_AUTH) and error.command == "Sign"


def no_check(tpm: Tpm) -> None:
    """Check nothing: there is no PIN, or it is known to be right, or what may come of it is."""
