"""Steps with branches: one of several policies holds, those listed or those that are approved."""

from dataclasses import dataclass

from tpmwire.authorization import HasEntity, SaltKey
from tpmwire.commands import policy as commands
from tpmwire.commands.signing import VerifySignature
from tpmwire.constants import TPM_CC, TPM_RH
from tpmwire.digests import digest, digest_size
from tpmwire.errors import EncodeError, PolicyError
from tpmwire.names import object_name
from tpmwire.policy.base import Run, Step, code, execute, words
from tpmwire.policy.policy import Policy
from tpmwire.policy.signed import loaded
from tpmwire.types.algorithms import TPMT_SIGNATURE
from tpmwire.types.objects import TPMT_PUBLIC

MOST = 8
"""How many digests one TPM2_PolicyOR takes."""


@dataclass(frozen=True, init=False)
class Or(Step):
    """One of two or more policies holds.

    The TPM takes eight at a time.  More are put together in groups, and these in groups again: as
    few commands as can be lead from any branch to the digest that all have in common.
    """

    CC = TPM_CC.PolicyOR

    options: tuple[Policy, ...]

    def __init__(self, *options: Policy) -> None:
        if len(options) < 2:
            raise EncodeError("a choice has two branches at least", "Or")
        check_labels(options)
        object.__setattr__(self, "options", options)

    @property
    def branches(self) -> tuple[Policy, ...]:
        """The policies of which one has to hold."""
        return self.options

    def digest(self, alg: int, old: bytes) -> bytes:
        """Compute the policy digest after the step from that before it, where branches start."""
        [group] = self._levels(alg, old)[-1]
        return _joined(alg, group)

    def run(self, run: Run) -> None:
        """Assert the step in a policy session in which a branch was asserted."""
        reached = run.digest
        for groups in self._levels(run.hash, run.before):
            group = next(group for group in groups if reached in group)
            run.tpm.execute(
                commands.PolicyOR(policySession=run.session.handle, pHashList=tuple(group))
            )
            reached = _joined(run.hash, group)

    def explain(self) -> str:
        """Say it in words."""
        return f"one of these {len(self.branches)} branches holds"

    def _levels(self, alg: int, old: bytes) -> list[list[list[bytes]]]:
        """Group the digests of the branches, and those of the groups, until one group is left."""
        levels = [_grouped([branch.digest(alg, old) for branch in self.branches])]
        while len(levels[-1]) > 1:
            levels.append(_grouped([_joined(alg, group) for group in levels[-1]]))
        return levels


def _grouped(digests: list[bytes]) -> list[list[bytes]]:
    """Part digests into groups of eight at most; none has a single one, which no TPM takes."""
    count = -(-len(digests) // MOST)
    size, larger = divmod(len(digests), count)
    groups = []
    for number in range(count):
        groups.append(digests[: size + (number < larger)])
        digests = digests[len(groups[-1]) :]
    return groups


def _joined(alg: int, digests: list[bytes]) -> bytes:
    return digest(alg, bytes(digest_size(alg)), code(TPM_CC.PolicyOR), *digests)


@dataclass(frozen=True)
class Approved:
    """A policy that an authority has signed; see `approval`."""

    policy: Policy
    signature: TPMT_SIGNATURE


@dataclass(frozen=True)
class Authorize(Step):
    """A policy holds that an authority has approved: the holder of a key, by a signature.

    So a key can be given a new policy without being made anew.  `approved` are those policies that
    are known here; they do not go into the digest, and what was asserted before them counts as
    their beginning.
    """

    CC = TPM_CC.PolicyAuthorize

    key: TPMT_PUBLIC
    approved: tuple[Approved, ...] = ()
    policyRef: bytes = b""

    def __post_init__(self) -> None:
        check_labels(self.branches)

    @property
    def branches(self) -> tuple[Policy, ...]:
        """The policies of which one has to hold."""
        return tuple(one.policy for one in self.approved)

    def digest(self, alg: int, old: bytes) -> bytes:
        """Compute the policy digest after the step, on which that before it has no influence."""
        name = object_name(self.key)
        inner = digest(alg, bytes(digest_size(alg)), code(self.CC), name)
        return digest(alg, inner, self.policyRef)

    def run(self, run: Run) -> None:
        """Assert the step in a policy session in which an approved policy was asserted."""
        if not self.approved:
            raise PolicyError("no approved policy is known")
        # A ticket counts in the hierarchy of the key only, and nothing in that of TPM_RH_NULL.
        with loaded(run.tpm, self.key, TPM_RH.OWNER) as key:
            verify = VerifySignature(
                keyHandle=key,
                digest=digest(self.key.nameAlg, approval(run.digest, self.policyRef)),
                signature=self.approved[run.choice].signature,
            )
            ticket = run.tpm.execute(verify).validation
        run.tpm.execute(
            commands.PolicyAuthorize(
                policySession=run.session.handle,
                approvedPolicy=run.digest,
                policyRef=self.policyRef,
                keySign=key.name,
                checkTicket=ticket,
            )
        )

    def explain(self) -> str:
        """Say it in words."""
        name = object_name(self.key).hex()
        about = f" with the reference {self.policyRef.hex()}" if self.policyRef else ""
        return f"a policy holds that the {words(self.key.type)} key {name} approves{about}"


def approval(policy_digest: bytes, policy_ref: bytes = b"") -> bytes:
    """Make the octets that an authority signs to approve a policy, with its key's nameAlg."""
    return policy_digest + policy_ref


@dataclass(frozen=True)
class AuthorizeNV(Step):
    """A policy holds whose digest stands in an NV index, as a TPMT_HA.

    `approved` are policies that may be the one; without any it is the steps before this one.
    `authorization` and `salt_key` are as with NV.
    """

    CC = TPM_CC.PolicyAuthorizeNV

    index: HasEntity
    approved: tuple[Policy, ...] = ()
    authorization: HasEntity | None = None
    salt_key: SaltKey | None = None

    def __post_init__(self) -> None:
        check_labels(self.approved)

    @property
    def branches(self) -> tuple[Policy, ...]:
        """The policies of which one has to hold."""
        return self.approved

    def digest(self, alg: int, old: bytes) -> bytes:
        """Compute the policy digest after the step, on which that before it has no influence."""
        return digest(alg, bytes(digest_size(alg)), code(self.CC), self.index.name)

    def run(self, run: Run) -> None:
        """Assert the step in a policy session in which the policy was asserted."""
        reader = self.authorization or self.index
        command = commands.PolicyAuthorizeNV(
            authHandle=reader, nvIndex=self.index, policySession=run.session.handle
        )
        execute(run.tpm, command, reader, self.salt_key)

    def explain(self) -> str:
        """Say it in words."""
        return f"the policy holds whose digest is in NV index {self.index.handle:#010x}"


def check_labels(branches: tuple[Policy, ...]) -> None:
    """Check that branches can be told from each other; EncodeError if not."""
    labels = [branch.name or str(number) for number, branch in enumerate(branches, 1)]
    if len(set(labels)) != len(labels) or any("/" in label for label in labels):
        raise EncodeError(f"the names of the branches cannot be told apart: {labels}", "branches")
