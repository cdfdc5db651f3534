"""What the use of a new key is bound to: PCRs, or whatever an authority approves."""

import argparse
from dataclasses import dataclass

import tpmwire
from tpmwire.attributes import TPMA_OBJECT
from tpmwire.errors import PolicyError, TpmError
from tpmwire.keyfile import KeyFile
from tpmwire.policy import PCR, Authorize, AuthValue, Policy
from tpmwire.policy.base import Step
from tpmwire.policy.bodies import read_policy, write_policy
from tpmwire.scripts import authorities, pcrs
from tpmwire.scripts.console import UserError
from tpmwire.types.objects import TPMT_PUBLIC


@dataclass(frozen=True)
class Binding:
    """A step that has to hold, besides the PIN if there is one, before a key signs."""

    step: Step

    @classmethod
    def asked_for(cls, options: argparse.Namespace) -> "Binding":
        """Make the one that the command line asks for; it may be of what PCRs hold now."""
        if options.pcrs:
            return cls(pcr_step(options.pcrs, options.tpm))
        return cls(Authorize(authorities.read_public(options.policy_authority)))

    def policy(self, pin: bytes) -> Policy:
        """Put together the policy of a key."""
        return Policy(self.step, *([AuthValue()] if pin else []))

    def bind(self, template: TPMT_PUBLIC, pin: bytes) -> TPMT_PUBLIC:
        """Bind a template, whose key can then be used in no other way."""
        return template.replace(
            objectAttributes=template.objectAttributes & ~TPMA_OBJECT.userWithAuth,
            authPolicy=self.policy(pin).digest(template.nameAlg),
        )

    def note(self, key: KeyFile, pin: bytes) -> KeyFile:
        """Write into a key file what its key is bound to."""
        return key.with_policy(*write_policy(self.policy(pin), hash_alg=key.public.nameAlg))


def told(key: KeyFile) -> list[str]:
    """Say in words what a key is bound to."""
    policy = read_policy(key.policy, key.auth_policy, hash_alg=key.public.nameAlg)
    return policy.explain().splitlines()


def pcr_step(wanted: pcrs.Wanted, conf: str | None) -> PCR:
    """Make the step of a policy; the TPM is asked only for what was not written.

    Raises UserError if the TPM does not have one of the PCRs.
    """
    asked: dict[int, list[int]] = {
        bank: [number for number, content in entries.items() if content is None]
        for bank, entries in wanted.items()
    }
    found: dict[int, dict[int, bytes]] = {}
    if any(asked.values()):
        found = _read(asked, wanted, conf)
    return PCR(
        {
            bank: found.get(bank, {}) | {n: content for n, content in entries.items() if content}
            for bank, entries in wanted.items()
        }
    )


def _read(
    asked: dict[int, list[int]], wanted: pcrs.Wanted, conf: str | None
) -> dict[int, dict[int, bytes]]:
    try:
        with tpmwire.open(conf) as tpm:
            return PCR.read(tpm, asked).banks
    except (PolicyError, TpmError) as error:
        raise UserError(
            f"the TPM does not have all PCRs of {pcrs.written(wanted)}: {error}"
        ) from None
