"""Policies as key files hold them: a command code and octets for each step.

The draft calls the octets the body of the command.  In the files that there are they are what goes
into the policy digest instead: no sizes before a digest, no session, and for TPM2_PolicyAuthorize
and TPM2_PolicySecret what it takes to find the Name.  [draft-bottomley-tpm2-keys, 4]

    PolicyAuthValue, PolicyPassword   nothing
    PolicyPCR                         TPML_PCR_SELECTION ‖ digest of the values
    PolicyCounterTimer                operandB ‖ offset ‖ operation
    PolicyAuthorize                   TPM2B_PUBLIC ‖ TPM2B_DIGEST policyRef ‖ TPMT_SIGNATURE
    PolicySecret                      TPM_HANDLE ‖ TPM2B_NAME ‖ TPM2B_DIGEST policyRef
    other steps of octets only        the octets that are hashed after the command code

A PolicyAuthorize without a signature asks for one of the alternatives; each of these ends with the
same step and the signature of what stands before it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tpmwire.attributes import TPMA_LOCALITY
from tpmwire.authorization import Entity, HasEntity
from tpmwire.bodies import Alternative, Body
from tpmwire.constants import TPM_ALG, TPM_CC, TPM_EO
from tpmwire.digests import digest_size
from tpmwire.errors import DecodeError, EncodeError, KeyFileError, PolicyError
from tpmwire.names import object_name
from tpmwire.policy import steps
from tpmwire.policy.base import Run, Step, command_name
from tpmwire.policy.choices import Approved, Authorize
from tpmwire.policy.comparisons import PCR, CounterTimer, PCRDigest, Pcrs
from tpmwire.policy.policy import Policy
from tpmwire.policy.signed import Secret
from tpmwire.structure import Structure
from tpmwire.types.algorithms import TPMT_SIGNATURE
from tpmwire.types.base import TPM_HANDLE, UINT16
from tpmwire.types.objects import TPM2B_PUBLIC
from tpmwire.types.structures import TPM2B_DIGEST, TPM2B_NAME

FindEntity = Callable[[int, bytes], HasEntity]
"""Finds an entity by the handle that it had once, and its Name."""

_UNSIGNED = TPMT_SIGNATURE(sigAlg=TPM_ALG.NULL)


class _Authorize(Structure):
    key: TPM2B_PUBLIC
    policyRef: TPM2B_DIGEST
    signature: TPMT_SIGNATURE


class _CommandCode(Structure):
    code: TPM_CC


class _Locality(Structure):
    locality: TPMA_LOCALITY


class _Comparison(Structure):
    offset: UINT16
    operation: TPM_EO


class _Secret(Structure):
    handle: TPM_HANDLE
    name: TPM2B_NAME
    policyRef: TPM2B_DIGEST


def read_policy(
    bodies: Sequence[Body],
    alternatives: Sequence[Alternative] = (),
    *,
    hash_alg: int,
    entity: FindEntity = Entity,
) -> Policy:
    """Read a policy for a key whose name algorithm is `hash_alg`.

    PolicyPassword is read as PolicyAuthValue: that meets it, and gives no PIN away.  Raises
    KeyFileError if a step is malformed, or of a kind that is not known here.
    """
    reader = _Reader(hash_alg, entity)
    try:
        read = reader.steps(bodies, reader.approved(alternatives))
    except DecodeError as error:
        raise KeyFileError(f"the policy of the key is malformed: {error}") from None
    for step in read:
        if isinstance(step, Unknown):
            raise KeyFileError(f"the key has a policy, and it is not known {step.explain()}")
    return Policy(*read)


def write_policy(
    policy: Policy, *, hash_alg: int
) -> tuple[tuple[Body, ...], tuple[Alternative, ...]]:
    """Write a policy, and the alternatives to it, for a key whose name algorithm is `hash_alg`.

    Raises EncodeError for a step that a key file cannot hold.
    """
    alternatives: list[Alternative] = []
    bodies = []
    for step in policy.steps:
        if isinstance(step, Authorize):
            alternatives += (_alternative(step, one, hash_alg) for one in step.approved)
        bodies.append(_body(step, hash_alg))
    return tuple(bodies), tuple(alternatives)


@dataclass(frozen=True)
class Unknown(Step):
    """A step of a kind that is not known here: it cannot be met."""

    code: int
    octets: bytes

    def digest(self, alg: int, old: bytes) -> bytes:
        """Raise PolicyError, for nobody knows."""
        raise PolicyError(self.explain())

    def run(self, run: Run) -> None:
        """Raise PolicyError, for nobody knows."""
        raise PolicyError("there is no rule for it")

    def explain(self) -> str:
        """Say it in words."""
        return f"what {command_name(self.code)} means in a key file"


class _Known(NamedTuple):
    """An alternative that was read: its key's Name, and what it is called."""

    key: bytes
    policyRef: bytes
    approved: Approved


class _Reader:
    def __init__(self, hash_alg: int, entity: FindEntity) -> None:
        self._hash, self._entity = hash_alg, entity

    def approved(self, alternatives: Sequence[Alternative]) -> list[_Known]:
        """Read the alternatives; those that end without a signature can be met by nobody."""
        names = [alternative.name or "" for alternative in alternatives]
        known = []
        for number, (name, bodies) in enumerate(alternatives, 1):
            read = self.steps(bodies)
            last = read[-1] if read else None
            if len(read) != 1 or not isinstance(last, Authorize) or not last.approved:
                continue
            (one,) = last.approved
            # What others have called their policies need not tell them apart.
            usable = names.count(name or "") == 1 and "/" not in (name or "")
            label = name if name and usable and not name.isdecimal() else str(number)
            approved = Approved(Policy(*one.policy.steps, name=label), one.signature)
            known.append(_Known(object_name(last.key), last.policyRef, approved))
        return known

    def steps(self, bodies: Sequence[Body], known: Sequence[_Known] = ()) -> list[Step]:
        """Read steps; a signature approves all that stand before it."""
        read: list[Step] = []
        for body in bodies:
            if body.code != TPM_CC.PolicyAuthorize:
                read.append(self._step(body))
                continue
            told = _Authorize.unpack(body.octets)
            if told.signature.sigAlg != TPM_ALG.NULL:
                approved: tuple[Approved, ...] = (Approved(Policy(*read), told.signature),)
                read = []
            else:
                which = (object_name(told.key), told.policyRef)
                approved = tuple(k.approved for k in known if (k.key, k.policyRef) == which)
                known = ()  # one choice is enough: this step makes up for all before it
            read.append(Authorize(told.key, approved, told.policyRef))
        return read

    def _step(self, body: Body) -> Step:
        code, octets = body
        match code:
            case TPM_CC.PolicyAuthValue | TPM_CC.PolicyPassword:
                return _alone(steps.AuthValue(), octets)
            case TPM_CC.PolicyPhysicalPresence:
                return _alone(steps.PhysicalPresence(), octets)
            case TPM_CC.PolicyPCR:
                size = digest_size(self._hash)
                return PCRDigest(Pcrs.unpack(octets[:-size]).pcrs, octets[-size:])
            case TPM_CC.PolicyCounterTimer:
                how = _Comparison.unpack(octets[-4:])
                return CounterTimer(octets[:-4], how.offset, how.operation)
            case TPM_CC.PolicyCommandCode:
                return steps.CommandCode(_CommandCode.unpack(octets).code)
            case TPM_CC.PolicyLocality:
                return steps.Locality(_Locality.unpack(octets).locality)
            case TPM_CC.PolicySecret:
                told = _Secret.unpack(octets)
                return Secret(self._entity(told.handle, told.name), told.policyRef)
        return Unknown(code, octets)


def _body(step: Step, alg: int) -> Body:
    match step:
        case steps.Password():
            return Body(TPM_CC.PolicyPassword)
        case CounterTimer():
            how = _Comparison(offset=step.offset, operation=step.operation)
            return Body(step.CC, step.operandB + how.pack())
        case Authorize():
            return _authorize(step, _UNSIGNED)
        case Secret():
            entity = step.entity
            told = _Secret(handle=entity.handle, name=entity.name, policyRef=step.policyRef)
            return Body(step.CC, told.pack())
        case (
            steps.AuthValue()
            | steps.CommandCode()
            | steps.Locality()
            | steps.PhysicalPresence()
            | PCR()
            | PCRDigest()
        ):
            return Body(step.CC, step._arguments(alg))
    raise EncodeError(f"a key file cannot hold the step {type(step).__name__}", "policy")


def _alternative(step: Authorize, one: Approved, alg: int) -> Alternative:
    bodies = [_signed(inner, alg) for inner in one.policy.steps]
    flat = [body for series in bodies for body in series]
    return Alternative(one.policy.name or None, (*flat, _authorize(step, one.signature)))


def _signed(step: Step, alg: int) -> tuple[Body, ...]:
    """Write a step of an alternative, where only what was approved already can be approved."""
    if not isinstance(step, Authorize):
        return (_body(step, alg),)
    if len(step.approved) != 1:
        raise EncodeError("an alternative cannot leave a choice", "policy")
    return _alternative(step, step.approved[0], alg).bodies


def _authorize(step: Authorize, signature: TPMT_SIGNATURE) -> Body:
    told = _Authorize(key=step.key, policyRef=step.policyRef, signature=signature)
    return Body(step.CC, told.pack())


def _alone(step: Step, octets: bytes) -> Step:
    if octets:
        raise DecodeError(f"{len(octets)} octets where none is wanted")
    return step
