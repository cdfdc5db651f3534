"""Keys that may move: what lets them go is a policy of TPM2_Duplicate, and of nothing else.

Whoever signs with such a key gives its PIN, as ever; the policy stands in its public area, where it
cannot be changed, and its digest tells which of these it is.  [Part 1, 23.3]
"""

from collections.abc import Sequence
from dataclasses import replace

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.authorization import Entity
from tpmwire.constants import TPM_CC, TPM_RH
from tpmwire.errors import KeyFileError, PolicyError
from tpmwire.keyfile import KeyFile
from tpmwire.policy import AuthValue, CommandCode, DuplicationSelect, Or, Path, Policy, Secret
from tpmwire.policy.base import Step
from tpmwire.policy.bodies import read_policy
from tpmwire.types.objects import TPMT_PUBLIC

FIXED = TPMA_OBJECT.fixedTPM | TPMA_OBJECT.fixedParent
"""What keeps a key where it was made, whatever its policy is."""

_DUPLICATE = CommandCode(TPM_CC.Duplicate)

BY_OWNER = Policy(Secret(Entity.permanent(TPM_RH.OWNER)), _DUPLICATE)
"""Whoever knows the password of the owner hierarchy takes the key anywhere, in clear, too."""

BY_ANYONE = Policy(_DUPLICATE)
"""Whoever can load the key takes it anywhere, in clear, too: nothing stands before it."""

_USUAL = (
    BY_OWNER,
    BY_ANYONE,
    Policy(AuthValue(), _DUPLICATE),
    *(
        Policy(Secret(Entity.permanent(handle)), _DUPLICATE)
        for handle in (TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM, TPM_RH.NULL)
    ),
)
"""Policies that the digest alone tells: files do not say them."""


def to_parents(names: Sequence[bytes]) -> Policy:
    """Make the policy of a key that may move to these parents, told by their Names, and no other.

    PolicyDuplicationSelect, and PolicyOR around it if there are several.  [Part 3, 23.15]
    """
    steps = [DuplicationSelect(name) for name in dict.fromkeys(names)]
    if len(steps) == 1:
        return Policy(*steps)
    return Policy(Or(*map(Policy, steps)))


def movable(template: TPMT_PUBLIC, policy: Policy) -> TPMT_PUBLIC:
    """Make a template for a key that a policy lets go; for all else its PIN is enough."""
    return template.replace(
        objectAttributes=(template.objectAttributes & ~FIXED) | TPMA_OBJECT.userWithAuth,
        authPolicy=policy.digest(template.nameAlg),
    )


def untold_policy(keyfile: KeyFile) -> Policy | None:
    """Find the policy of a key whose file has none that is to be met; None if nobody knows it.

    What it is has to have the digest in the key's public area, so that no file can lie.
    """
    digest, alg = keyfile.public.authPolicy, keyfile.public.nameAlg
    noted = [to_parents(keyfile.backups)] if keyfile.backups else []
    found = (each for each in (*noted, *_USUAL) if each.digest(alg) == digest)
    return next(found, None) if digest else None


def policy_of(keyfile: KeyFile) -> Policy | None:
    """Find the policy of a key; None if it has none, or nobody knows it.

    KeyFileError if the file tells one that is malformed, or another one.
    """
    if not keyfile.has_policy:
        return untold_policy(keyfile)
    alg = keyfile.public.nameAlg
    policy = read_policy(keyfile.policy, keyfile.auth_policy, hash_alg=alg)
    if policy.digest(alg) != keyfile.public.authPolicy:
        raise KeyFileError("this is NOT the policy of the key: the digest is another")
    return policy


def lets_go(step: Step) -> bool:
    """Tell whether a step is one that TPM2_Duplicate wants in a policy.  [Part 1, 19.2]"""
    if isinstance(step, CommandCode):
        return step.code == TPM_CC.Duplicate
    return isinstance(step, DuplicationSelect)


def ways_out(policy: Policy) -> list[Path]:
    """Find the ways on which a policy lets its key go, wherever they lead."""
    return [path for path in policy.paths() if any(map(lets_go, path.steps))]


def ways_to(policy: Policy, parent_name: bytes | None) -> list[Path]:
    """Find the ways on which a policy lets its key go to a parent; None stands for none at all.

    PolicyError, which says where it may go instead, if there is none.
    """
    out = ways_out(policy)
    found = [path for path in out if _leads(path, parent_name)]
    if found:
        return found
    named = dict.fromkeys(name.hex() for path in out for name in _chosen(path))
    if named:
        raise PolicyError(f"its policy lets it go to no other parent than {', '.join(named)}")
    raise PolicyError("its policy lets it go to no other parent at all")


def _leads(path: Path, parent_name: bytes | None) -> bool:
    return all(name == parent_name for name in _chosen(path))


def _chosen(path: Path) -> list[bytes]:
    return [step.newParentName for step in path.steps if isinstance(step, DuplicationSelect)]


def prepared(policy: Policy, object_name: bytes, auths: dict[int, bytes]) -> Policy:
    """Copy a policy for the duplication of one object, with the passwords of hierarchies in it."""

    def step_for(step: Step) -> Step:
        match step:
            case DuplicationSelect(includeObject=False):
                return replace(step, objectName=object_name)
            case Secret() if step.entity.handle in auths:
                return replace(step, entity=Entity.of(step.entity, auths[step.entity.handle]))
            case Or():
                return Or(*(prepared(each, object_name, auths) for each in step.options))
        return step

    return Policy(*map(step_for, policy.steps), name=policy.name)
