"""Steps that want nothing but a command: a few octets go into the digest.  [Part 3, 23]"""

from dataclasses import dataclass
from typing import Any

from tpmwire.attributes import TPMA_LOCALITY
from tpmwire.commands import policy as commands
from tpmwire.commands.base import Command
from tpmwire.constants import TPM_CC
from tpmwire.policy.base import Assertion, Run, code, command_name, listed


@dataclass(frozen=True)
class AuthValue(Assertion):
    """Whoever uses the object knows its authorization value, and proves it by an HMAC."""

    CC = TPM_CC.PolicyAuthValue

    def run(self, run: Run) -> None:
        """Assert the step; the session's HMAC takes the authorization value from then on."""
        super().run(run)
        run.session.auth_value, run.session.gives_password = True, False

    def explain(self) -> str:
        """Say it in words."""
        return "the PIN of the object is proved"

    def _command(self, session: int, alg: int) -> Command[Any]:
        return commands.PolicyAuthValue(policySession=session)


@dataclass(frozen=True)
class Password(Assertion):
    """Whoever uses the object gives its authorization value in clear.

    What this step asks for is met by `AuthValue` as well, which gives nothing away.
    """

    # Not its own code: by the specification the two steps have the same digest.
    CC = TPM_CC.PolicyAuthValue

    def run(self, run: Run) -> None:
        """Assert the step; the session carries the authorization value from then on."""
        super().run(run)
        run.session.auth_value, run.session.gives_password = False, True

    def explain(self) -> str:
        """Say it in words."""
        return "the PIN of the object is given in clear"

    def _command(self, session: int, alg: int) -> Command[Any]:
        return commands.PolicyPassword(policySession=session)


@dataclass(frozen=True)
class CommandCode(Assertion):
    """The session authorizes one command only.  The roles ADMIN and DUP want this step."""

    CC = TPM_CC.PolicyCommandCode

    code: TPM_CC

    def explain(self) -> str:
        """Say it in words."""
        return f"the command is {command_name(self.code)}"

    def _arguments(self, alg: int) -> bytes:
        return code(self.code)

    def _command(self, session: int, alg: int) -> Command[Any]:
        return commands.PolicyCommandCode(policySession=session, code=self.code)


@dataclass(frozen=True)
class Locality(Assertion):
    """The command comes from one of these localities."""

    CC = TPM_CC.PolicyLocality

    locality: TPMA_LOCALITY

    def explain(self) -> str:
        """Say it in words."""
        if self.locality & TPMA_LOCALITY.Extended:
            return f"the command comes from locality {int(self.locality)}"
        numbers = [n for n in range(5) if self.locality >> n & 1]
        return f"the command comes from locality {listed(numbers, 'or')}"

    def _arguments(self, alg: int) -> bytes:
        return bytes([self.locality])

    def _command(self, session: int, alg: int) -> Command[Any]:
        return commands.PolicyLocality(policySession=session, locality=self.locality)


@dataclass(frozen=True)
class PhysicalPresence(Assertion):
    """Somebody asserts physical presence when the session is used."""

    CC = TPM_CC.PolicyPhysicalPresence

    def explain(self) -> str:
        """Say it in words."""
        return "somebody is there and asserts it at the machine"

    def _command(self, session: int, alg: int) -> Command[Any]:
        return commands.PolicyPhysicalPresence(policySession=session)


@dataclass(frozen=True)
class CpHash(Assertion):
    """The session authorizes one command with its entities and parameters, told by a digest."""

    CC = TPM_CC.PolicyCpHash

    cpHashA: bytes

    def explain(self) -> str:
        """Say it in words."""
        return f"the command, its entities and parameters have the digest {self.cpHashA.hex()}"

    def _arguments(self, alg: int) -> bytes:
        return self.cpHashA

    def _command(self, session: int, alg: int) -> Command[Any]:
        return commands.PolicyCpHash(policySession=session, cpHashA=self.cpHashA)


@dataclass(frozen=True)
class NameHash(Assertion):
    """The session authorizes commands on certain entities, told by a digest of their Names."""

    CC = TPM_CC.PolicyNameHash

    nameHash: bytes

    def explain(self) -> str:
        """Say it in words."""
        return f"the Names of the command's entities have the digest {self.nameHash.hex()}"

    def _arguments(self, alg: int) -> bytes:
        return self.nameHash

    def _command(self, session: int, alg: int) -> Command[Any]:
        return commands.PolicyNameHash(policySession=session, nameHash=self.nameHash)


@dataclass(frozen=True)
class Parameters(Assertion):
    """The session authorizes a command with certain parameters, on any entity."""

    CC = TPM_CC.PolicyParameters

    pHash: bytes

    def explain(self) -> str:
        """Say it in words."""
        return f"the command and its parameters have the digest {self.pHash.hex()}"

    def _arguments(self, alg: int) -> bytes:
        return self.pHash

    def _command(self, session: int, alg: int) -> Command[Any]:
        return commands.PolicyParameters(policySession=session, pHash=self.pHash)


@dataclass(frozen=True)
class Template(Assertion):
    """The session authorizes the making of an object from a template, told by its digest."""

    CC = TPM_CC.PolicyTemplate

    templateHash: bytes

    def explain(self) -> str:
        """Say it in words."""
        return f"the template of the new object has the digest {self.templateHash.hex()}"

    def _arguments(self, alg: int) -> bytes:
        return self.templateHash

    def _command(self, session: int, alg: int) -> Command[Any]:
        return commands.PolicyTemplate(policySession=session, templateHash=self.templateHash)


@dataclass(frozen=True)
class DuplicationSelect(Assertion):
    """The session authorizes the duplication to one new parent, told by its Name.

    With `objectName` that of this object only: its Name then stands in the digest, so it cannot be
    part of the object's own policy, but of one that an Authorize step lets in.
    """

    CC = TPM_CC.PolicyDuplicationSelect

    newParentName: bytes
    objectName: bytes = b""
    includeObject: bool = False

    def explain(self) -> str:
        """Say it in words."""
        what = f"the object {self.objectName.hex()}" if self.includeObject else "the object"
        return f"{what} is duplicated to the new parent {self.newParentName.hex()}"

    def _arguments(self, alg: int) -> bytes:
        name = self.objectName if self.includeObject else b""
        return name + self.newParentName + bytes([self.includeObject])

    def _command(self, session: int, alg: int) -> Command[Any]:
        return commands.PolicyDuplicationSelect(
            policySession=session,
            objectName=self.objectName,
            newParentName=self.newParentName,
            includeObject=self.includeObject,
        )


@dataclass(frozen=True)
class NvWritten(Assertion):
    """The NV index that the session is used for was written, or never was."""

    CC = TPM_CC.PolicyNvWritten

    written: bool = True

    def explain(self) -> str:
        """Say it in words."""
        return f"the NV index {'has been' if self.written else 'has never been'} written"

    def _arguments(self, alg: int) -> bytes:
        return bytes([self.written])

    def _command(self, session: int, alg: int) -> Command[Any]:
        return commands.PolicyNvWritten(policySession=session, writtenSet=self.written)
