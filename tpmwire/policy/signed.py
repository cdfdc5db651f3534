"""Steps that somebody vouches for: with a signature, a secret, or a ticket for one of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tpmwire.authorization import HasEntity, SaltKey
from tpmwire.commands import policy as commands
from tpmwire.commands.base import Command
from tpmwire.commands.object import LoadExternal
from tpmwire.constants import TPM_CC, TPM_RH, TPM_ST
from tpmwire.digests import digest
from tpmwire.errors import PolicyError
from tpmwire.names import object_name
from tpmwire.objects import Executor, LoadedObject
from tpmwire.policy.base import Assertion, Run, Step, code, execute, words
from tpmwire.types.algorithms import TPMT_SIGNATURE
from tpmwire.types.objects import TPMT_PUBLIC
from tpmwire.types.structures import TPMT_TK_AUTH

Signer = Callable[[bytes], TPMT_SIGNATURE]
"""Signs octets, hashed as its scheme wants it; raises PolicyError if it does not want to."""


@dataclass(frozen=True)
class Ticket(Assertion):
    """What a signature or a secret was given for earlier, in this TPM, holds still.

    A Signed or Secret step with an `expiration` below zero brings a ticket, and the ticket may
    stand in its place until that time is over.
    """

    authName: bytes
    ticket: TPMT_TK_AUTH
    timeout: bytes
    policyRef: bytes = b""
    cpHashA: bytes = b""

    def digest(self, alg: int, old: bytes) -> bytes:
        """Compute the policy digest after the step from that before it."""
        signed = self.ticket.tag == TPM_ST.AUTH_SIGNED
        cc = TPM_CC.PolicySigned if signed else TPM_CC.PolicySecret
        return _vouched(alg, old, cc, self.authName, self.policyRef)

    def explain(self) -> str:
        """Say it in words."""
        signed = self.ticket.tag == TPM_ST.AUTH_SIGNED
        how = "signed" if signed else "given its secret"
        return f"a ticket proves that {self.authName.hex()} has {how}{_about(self.policyRef)}"

    def _command(self, session: int, alg: int) -> Command[Any]:
        return commands.PolicyTicket(
            policySession=session,
            timeout=self.timeout,
            cpHashA=self.cpHashA,
            policyRef=self.policyRef,
            authName=self.authName,
            ticket=self.ticket,
        )


@dataclass(frozen=True)
class Signed(Step):
    """The holder of a key has signed that the session may be used.

    `signer` is given the octets nonceTPM ‖ expiration ‖ cpHashA ‖ policyRef and returns the
    signature.  With `fresh` they hold the session's nonce, so that the signature is of use in this
    session only.  An `expiration` other than zero ends it after so many seconds, from the start of
    the session, or if not `fresh` from the start of the TPM; below zero, the TPM gives a ticket.
    """

    CC = TPM_CC.PolicySigned

    key: TPMT_PUBLIC
    signer: Signer | None = None
    policyRef: bytes = b""
    cpHashA: bytes = b""
    expiration: int = 0
    fresh: bool = True

    def digest(self, alg: int, old: bytes) -> bytes:
        """Compute the policy digest after the step from that before it."""
        return _vouched(alg, old, self.CC, object_name(self.key), self.policyRef)

    def run(self, run: Run) -> None:
        """Assert the step in a policy session."""
        if self.signer is None:
            raise PolicyError("nobody is there to sign")
        nonce = run.session.nonce_tpm if self.fresh else b""
        expiration = self.expiration.to_bytes(4, "big", signed=True)
        signature = self.signer(nonce + expiration + self.cpHashA + self.policyRef)
        with loaded(run.tpm, self.key, TPM_RH.NULL) as key:
            made = run.tpm.execute(
                commands.PolicySigned(
                    authObject=key,
                    policySession=run.session.handle,
                    nonceTPM=nonce,
                    cpHashA=self.cpHashA,
                    policyRef=self.policyRef,
                    expiration=self.expiration,
                    auth=signature,
                )
            )
        _keep(run, key.name, made, self)

    def explain(self) -> str:
        """Say it in words."""
        name = object_name(self.key).hex()
        return f"the {words(self.key.type)} key {name} signs{_about(self.policyRef)}"


@dataclass(frozen=True)
class Secret(Step):
    """Somebody knows the authorization value of an entity: an object, an NV index, a hierarchy.

    That is kept from listeners by means of `salt_key`.  `expiration` and `fresh` are as with
    Signed.
    """

    CC = TPM_CC.PolicySecret

    entity: HasEntity
    policyRef: bytes = b""
    cpHashA: bytes = b""
    expiration: int = 0
    fresh: bool = False
    salt_key: SaltKey | None = None

    def digest(self, alg: int, old: bytes) -> bytes:
        """Compute the policy digest after the step from that before it."""
        return _vouched(alg, old, self.CC, self.entity.name, self.policyRef)

    def run(self, run: Run) -> None:
        """Assert the step in a policy session."""
        command = commands.PolicySecret(
            authHandle=self.entity,
            policySession=run.session.handle,
            nonceTPM=run.session.nonce_tpm if self.fresh else b"",
            cpHashA=self.cpHashA,
            policyRef=self.policyRef,
            expiration=self.expiration,
        )
        made = execute(run.tpm, command, self.entity, self.salt_key)
        _keep(run, self.entity.name, made, self)

    def explain(self) -> str:
        """Say it in words."""
        return f"the secret of {called(self.entity)} is given{_about(self.policyRef)}"


def called(entity: HasEntity) -> str:
    """Call an entity by its name if it is a hierarchy, else by its handle."""
    try:
        return f"TPM_RH_{TPM_RH(entity.handle).name}"
    except ValueError:
        return f"{entity.handle:#010x}"


@contextmanager
def loaded(tpm: Executor, public: TPMT_PUBLIC, hierarchy: int) -> Iterator[LoadedObject]:
    """Load a public key for a `with` block; what it verifies counts in `hierarchy`."""
    made = tpm.execute(LoadExternal(inPublic=public, hierarchy=hierarchy))
    with tpm.adopt(made.objectHandle, public, made.name) as key:
        yield key


def _vouched(alg: int, old: bytes, cc: int, name: bytes, policy_ref: bytes) -> bytes:
    return digest(alg, digest(alg, old, code(cc), name), policy_ref)


def _about(policy_ref: bytes) -> str:
    return f" with the reference {policy_ref.hex()}" if policy_ref else ""


def _keep(
    run: Run,
    name: bytes,
    made: commands.PolicySignedResponse | commands.PolicySecretResponse,
    step: Signed | Secret,
) -> None:
    """Keep the ticket, if the TPM gave one."""
    if made.policyTicket.digest:
        ticket = Ticket(name, made.policyTicket, made.timeout, step.policyRef, step.cpHashA)
        run.tickets.append(ticket)
