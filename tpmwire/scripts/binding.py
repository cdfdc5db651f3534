"""What the use of a new key is bound to: PCRs, or whatever an authority approves."""

import argparse
import importlib
from collections.abc import Sequence

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.keyfile import KeyFile
from tpmwire.policy import Authorize, AuthValue, Policy
from tpmwire.policy.base import Step
from tpmwire.policy.bodies import read_policy, write_policy
from tpmwire.scripts import pcrs
from tpmwire.types.objects import TPMT_PUBLIC


def add_options(parser: argparse._ActionsContainer) -> None:
    """Add the options that bind a key."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--pcrs",
        type=pcrs.parse,
        metavar="PCRS",
        help=f"the key signs only while these PCRs have the content they have now: {pcrs.HELP}",
    )
    group.add_argument(
        "--policy-authority",
        metavar="PUB",
        help="the key signs only with PCRs that the holder of the key of this public key (PEM, or "
        "as OpenSSH has it) has approved, by --approve-pcrs",
    )
    parser.add_argument(
        "--authority-key",
        metavar="PRIV",
        help="with --approve-pcrs: the private key of the authority (PEM, or as OpenSSH has it)",
    )


def steps(options: argparse.Namespace) -> tuple[Step, ...]:
    """Make the steps that a key is bound to; none if it is not bound."""
    if options.pcrs:
        return (pcrs.step(options.pcrs, options.tpm),)
    if options.policy_authority:
        # Imported only now: it wants much that is not needed for any other key.
        authorities = importlib.import_module("tpmwire.scripts.authorities")
        return (Authorize(authorities.read_public(options.policy_authority)),)
    return ()


def bound(template: TPMT_PUBLIC, policy: Policy) -> TPMT_PUBLIC:
    """Bind a template to a policy, which is then the only way to use its key."""
    return template.replace(
        objectAttributes=template.objectAttributes & ~TPMA_OBJECT.userWithAuth,
        authPolicy=policy.digest(template.nameAlg),
    )


def policy_of(bound_to: Sequence[Step], pin: bytes) -> Policy | None:
    """Put together the policy of a key: what it is bound to, and its PIN."""
    return Policy(*bound_to, *([AuthValue()] if pin else [])) if bound_to else None


def told(key: KeyFile) -> list[str] | None:
    """Say in words what a key is bound to; None if it is not bound."""
    if not key.has_policy:
        return None
    policy = read_policy(key.policy, key.auth_policy, hash_alg=key.public.nameAlg)
    return policy.explain().splitlines()


def noted(key: KeyFile, policy: Policy) -> KeyFile:
    """Write into a key file what its key is bound to."""
    bodies, alternatives = write_policy(policy, hash_alg=key.public.nameAlg)
    return key.with_policy(bodies, alternatives)
