"""What the state machines of the tests have in common: a model beside a TPM.

They are short, as they run with each change.  TPMWIRE_HYPOTHESIS=long makes them thorough.
"""

import os
from typing import Any

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tpmwire.client import Tpm
from tpmwire.commands import Command
from tpmwire.constants import TPM_RC
from tpmwire.errors import TpmError

LONG = os.environ.get("TPMWIRE_HYPOTHESIS") == "long"
SETTINGS = settings(
    max_examples=400 if LONG else 40, stateful_step_count=60 if LONG else 30, deadline=None
)


class Machine(RuleBasedStateMachine):
    """Commands to a TPM of which the outcome is known before."""

    tpm: Tpm

    def outcome(self, command: Command[Any], *sessions: Any) -> Any:
        """Execute a command and return the response, or the response code of a refusal."""
        try:
            return self.tpm.execute(command, *sessions)
        except TpmError as error:
            return error.code

    def expect(self, expected: TPM_RC, command: Command[Any], *sessions: Any) -> Any:
        """Execute a command that ends with this response code; return the response or None."""
        outcome = self.outcome(command, *sessions)
        refused = isinstance(outcome, int)
        assert (outcome if refused else TPM_RC.SUCCESS) == expected, (command, outcome)
        return None if refused else outcome


def run(machine: type[Machine], tpm: Tpm, **attributes: Any) -> None:
    """Run a machine with a TPM."""
    bound = type(machine.__name__, (machine,), {"tpm": tpm, **attributes})
    run_state_machine_as_test(bound, settings=SETTINGS)
