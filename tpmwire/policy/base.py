"""What a step of a policy is, and what it is given when it is asserted in a TPM."""

import enum
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from tpmwire.authorization import HasEntity, SaltKey
from tpmwire.commands.base import Command, Response
from tpmwire.constants import TPM_CC
from tpmwire.digests import digest
from tpmwire.errors import TpmError
from tpmwire.lockout import explain
from tpmwire.objects import Executor
from tpmwire.session import PolicySession

if TYPE_CHECKING:
    from tpmwire.policy.policy import Policy
    from tpmwire.policy.signed import Ticket

R = TypeVar("R", bound=Response)


@dataclass
class Run:
    """A policy on its way through a session.

    `digest` is the digest so far as it was computed here, `before` what it was before the branch
    that the step now ends, and `choice` the number of that branch.  Tickets that the TPM gives on
    the way are collected.
    """

    tpm: Executor
    session: PolicySession
    digest: bytes
    before: bytes = b""
    choice: int = 0
    tickets: "list[Ticket]" = field(default_factory=list)

    @property
    def hash(self) -> int:
        """The hash algorithm of the session, and of the digest."""
        return self.session.hash


class Step(ABC):
    """One assertion of a policy: what it does to the digest, how a TPM is told, what it means.

    A step with `branches` holds if one of them does; they start from the digest before the step.
    """

    CC: ClassVar[TPM_CC]
    """What is hashed before the arguments."""

    @property
    def branches(self) -> "tuple[Policy, ...]":
        """The policies of which one has to hold, where the step is a choice."""
        return ()

    def digest(self, alg: int, old: bytes) -> bytes:
        """Compute the policy digest after the step from that before it."""
        return digest(alg, old, code(self.CC), self._arguments(alg))

    @abstractmethod
    def run(self, run: Run) -> None:
        """Assert the step in a policy session.

        Raises TpmError if the TPM does not agree, PolicyError if there is no use in asking it.
        """

    @abstractmethod
    def explain(self) -> str:
        """Say in one line of words what has to hold."""

    def _arguments(self, alg: int) -> bytes:
        return b""


class Assertion(Step):
    """A step that the TPM is told by one command which nobody has to authorize."""

    def run(self, run: Run) -> None:
        """Assert the step in a policy session; TpmError if the TPM does not agree."""
        run.tpm.execute(self._command(run.session.handle, run.hash))

    @abstractmethod
    def _command(self, session: int, alg: int) -> Command[Any]:
        """Make the command."""


def code(cc: int) -> bytes:
    """Write a command code as it is hashed."""
    return cc.to_bytes(4, "big")


def execute(tpm: Executor, command: Command[R], entity: HasEntity, salt_key: SaltKey | None) -> R:
    """Execute a command that `entity` authorizes, so that nobody reads what it takes to use it.

    It is hidden by means of `salt_key`, of a key that the entity itself knows, or of one that is
    made for it.  A TpmError for a wrong one tells how many tries are left.
    """
    try:
        if entity.auth:
            return tpm.execute_protected(command, salt_key or getattr(entity, "salt_key", None))
        return tpm.execute(command)
    except TpmError as error:
        explain(tpm.execute, error)
        raise


def words(value: int) -> str:
    """Call a constant by its name, if it has one."""
    return str(value.name) if isinstance(value, enum.Enum) else f"{value:#x}"


def command_name(cc: int) -> str:
    """Call a command by its name, if it has one."""
    try:
        return TPM_CC(cc).name
    except ValueError:
        return f"{cc:#x}"


def listed(items: Sequence[object], link: str = "and") -> str:
    """Write a list as people do."""
    *most, last = map(str, items or ["none"])
    return f"{', '.join(most)} {link} {last}" if most else last
