"""Approving PCRs for a key that is bound to an authority, with the key of that authority."""

import argparse
from collections.abc import Iterator

from tpmwire.bodies import Alternative
from tpmwire.constants import TPM_ALG
from tpmwire.crypto import PrivateKey
from tpmwire.keyfile import KeyFile
from tpmwire.names import object_name
from tpmwire.policy import Approved, Authorize, Policy, approval
from tpmwire.policy.base import Step
from tpmwire.policy.bodies import read_policy, write_policy
from tpmwire.scripts import authorities, binding, console, pcrs, storing
from tpmwire.scripts.console import UsageError, UserError
from tpmwire.softkeys import public_of, sign
from tpmwire.types.objects import TPMT_PUBLIC


def run(options: argparse.Namespace) -> int:
    """Write into a key file that PCRs are approved."""
    if options.authority_key is None:
        raise UsageError("--approve-pcrs wants the key that signs it: --authority-key PRIV")
    path = storing.chosen(options)
    key = storing.read(path)
    authority = authorities.read_private(options.authority_key)
    authorize = _step(key, authority)
    step = binding.pcr_step(options.approve_pcrs, options.tpm)
    policy = Policy(step, name=pcrs.written(options.approve_pcrs))
    storing.rewrite(path, approve(key, authorize, policy, authority))
    if not options.quiet:
        said = f"Approved for {path}: {step.explain()}."
        console.report(options.program, f"{said}\nWhat was approved before stays approved.")
    return 0


def approve(key: KeyFile, authorize: Authorize, policy: Policy, authority: PrivateKey) -> KeyFile:
    """Make a copy of a key file with one more policy that its authority approves."""
    alg = key.public.nameAlg
    octets = approval(policy.digest(alg), authorize.policyRef)
    signature = sign(authority, octets, TPM_ALG(authorize.key.nameAlg))
    step = Authorize(authorize.key, (Approved(policy, signature),), authorize.policyRef)
    (added,) = write_policy(Policy(step), hash_alg=alg)[1]
    others = [
        one for one in key.auth_policy if _without_signature(one) != _without_signature(added)
    ]
    return key.with_policy(key.policy, [*others, added])


def _without_signature(alternative: Alternative) -> object:
    """Reduce an alternative to what is approved: a second signature of the same is of no use."""
    return alternative.bodies[:-1]


def _step(key: KeyFile, authority: PrivateKey) -> Authorize:
    """Find the step of a key's policy that asks the authority."""
    steps = [step for step in _steps(key) if isinstance(step, Authorize)]
    if not steps:
        raise UserError("the key asks no authority: --policy-authority makes one that does")
    for step in steps:
        if _same(step.key, public_of(authority)):
            return step
    asked = ", ".join(object_name(step.key).hex() for step in steps)
    raise UserError(f"the key asks another authority, of the Name {asked}")


def _steps(key: KeyFile) -> Iterator[Step]:
    yield from read_policy(key.policy, hash_alg=key.public.nameAlg).steps


def _same(one: TPMT_PUBLIC, other: TPMT_PUBLIC) -> bool:
    return (one.type, one.parameters, one.unique) == (other.type, other.parameters, other.unique)
