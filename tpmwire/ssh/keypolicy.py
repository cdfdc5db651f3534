"""The policy of a key file on its way to a signature: whom to ask for what, and which way to try.

People are asked before the TPM is taken, and only for what is wanted on the way that is tried next;
ways for which nobody has to be asked come first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tpmwire.client import Tpm
from tpmwire.commands.base import Command, Response
from tpmwire.constants import TPM_ALG, TPM_SE
from tpmwire.errors import KeyFileError, PolicyError, TpmError
from tpmwire.keyfile import KeyFile
from tpmwire.lockout import explain
from tpmwire.objects import LoadedObject
from tpmwire.policy import AuthValue, Path, Policy, Secret
from tpmwire.policy.bodies import read_policy
from tpmwire.policy.signed import called

R = TypeVar("R", bound=Response)


@dataclass(eq=False)
class Other:
    """Another entity than the key, whose secret the policy wants."""

    handle: int
    name: bytes
    auth: bytes = b""
    salt_key: LoadedObject | None = None
    asked: bool = False

    def __repr__(self) -> str:
        return f"<entity {self.handle:#010x} {self.name.hex()}>"

    def ask(self, ask: Callable[[str], bytes]) -> None:
        """Ask for the secret, if that was not done before."""
        if not self.asked:
            self.auth, self.asked = ask(f"Password of {called(self)}: "), True

    def check(self, tpm: Tpm) -> None:
        """Check that the TPM has it, so that its secret goes nowhere else; PolicyError if not."""
        try:
            found = tpm.entity(self.handle).name
        except TpmError as error:
            raise PolicyError(f"{called(self)} is not in this TPM: {error}") from None
        if found != self.name:
            raise PolicyError(f"{called(self)} is not what the policy means by it")


@dataclass(frozen=True)
class Way:
    """One way through the policy of a key, and what it takes."""

    policy: Policy
    path: Path
    alg: TPM_ALG

    @property
    def name(self) -> str:
        """The branches that are taken."""
        return "/".join(self.path.labels)

    @property
    def wants_pin(self) -> bool:
        """Whether the PIN of the key itself is wanted."""
        return any(isinstance(step, AuthValue) for step in self.path.steps)

    @property
    def others(self) -> list[Other]:
        """The other entities whose secrets are wanted."""
        entities = [step.entity for step in self.path.steps if isinstance(step, Secret)]
        return [entity for entity in entities if isinstance(entity, Other)]

    def execute(self, tpm: Tpm, command: Command[R], key: LoadedObject) -> R:
        """Execute a command on the key; PolicyError if this way cannot be gone."""
        for other in self.others:
            other.check(tpm)
            other.salt_key = key.salt_key
        secret = key.auth or any(other.auth for other in self.others)
        salt_key = key.salt_key if secret else None
        with tpm.session(TPM_SE.POLICY, salt_key=salt_key, hash_alg=self.alg) as session:
            self.policy.satisfy(tpm, session, self.name)
            try:
                return tpm.execute(command, session.use(last=True))
            except TpmError as error:
                explain(tpm.execute, error)
                raise


def ways(keyfile: KeyFile) -> list[Way]:
    """Find the ways through the policy of a key file, those without questions first.

    Raises KeyFileError if the policy is malformed or not known here, or is not that of the key.
    """
    alg = keyfile.public.nameAlg
    others: dict[tuple[int, bytes], Other] = {}

    def entity(handle: int, name: bytes) -> Other:
        return others.setdefault((handle, name), Other(handle, name))

    policy = read_policy(keyfile.policy, keyfile.auth_policy, hash_alg=alg, entity=entity)
    if policy.digest(alg) != keyfile.public.authPolicy:
        raise KeyFileError("the policy in the file is not that of the key")
    found = [Way(policy, path, alg) for path in policy.paths()]
    return sorted(found, key=lambda way: way.wants_pin + len(way.others))
