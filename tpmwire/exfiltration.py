"""Trying to get a key out of its TPM in clear: who can, and which rule of the TPM refuses.

TPM2_Duplicate to TPM_RH_NULL without an inner wrapper gives out the private key and its PIN as they
are.  The rules that stand before it, in the order in which the TPM asks them [Part 3, 13.1]:

    the password that the policy wants is wrong         TPM_RC_BAD_AUTH from TPM2_PolicySecret
    the policy is another one, or names other parents   TPM_RC_POLICY_FAIL
    fixedParent is set (as it is wherever fixedTPM is)  TPM_RC_ATTRIBUTES
    encryptedDuplication is set                         TPM_RC_SYMMETRIC
"""

from dataclasses import dataclass, field

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.authorization import Entity
from tpmwire.client import Tpm
from tpmwire.constants import TPM_RC, TPM_RH
from tpmwire.crypto import PrivateKey
from tpmwire.duplication import unwrap
from tpmwire.errors import KeyFileError, PolicyError, TpmError
from tpmwire.importable import loaded
from tpmwire.keyfile import KeyFile
from tpmwire.movable import BY_ANYONE, FIXED, policy_of, ways_out, ways_to
from tpmwire.moving import Auths, authorized
from tpmwire.policy import Path, Policy
from tpmwire.softkeys import private_key_of
from tpmwire.templates import NO_CIPHER


@dataclass(frozen=True)
class Expected:
    """What should come of it: the TPM's response code, or None if it gives the key out; and why."""

    code: int | None
    rule: str


@dataclass(frozen=True)
class Outcome:
    """What came of it: the response code that refused, or the key."""

    refusal: TpmError | PolicyError | None = None
    key: PrivateKey | None = field(default=None, repr=False)
    pin: bytes = field(default=b"", repr=False)

    def meets(self, expected: Expected) -> bool:
        """Tell whether it is what was expected."""
        if isinstance(self.refusal, TpmError):
            return self.refusal.code == expected.code
        return self.refusal is None and expected.code is None


def expect(keyfile: KeyFile) -> Expected:
    """Predict from the file of a key alone what becomes of a try by who knows all passwords."""
    public = keyfile.public
    attributes = public.objectAttributes
    if not public.authPolicy:
        return Expected(TPM_RC.POLICY_FAIL, "it has no policy, and without one nothing lets it go")
    policy, _ = _way_out(keyfile)
    if policy.digest(public.nameAlg) != public.authPolicy:
        return Expected(TPM_RC.POLICY_FAIL, "nobody has told by which policy it goes")
    try:
        ways_to(policy, None)
    except PolicyError as error:
        return Expected(TPM_RC.POLICY_FAIL, str(error))
    if attributes & FIXED:
        return Expected(TPM_RC.ATTRIBUTES, "it is fixed to its TPM or its parent")
    if attributes & TPMA_OBJECT.encryptedDuplication:
        return Expected(TPM_RC.SYMMETRIC, "it goes with both wrappers only: encryptedDuplication")
    return Expected(None, "its policy lets it go anywhere")


def exfiltrate(tpm: Tpm, keyfile: KeyFile, auths: Auths | None = None) -> Outcome:
    """Try to get the key of a file out of the TPM in clear; what came of it.

    Where it works, the key passes the way from the TPM unencrypted.  Raises what keeps the key from
    being loaded at all, and TpmError for what is no refusal of TPM2_Duplicate.
    """
    auths = auths or Auths()
    policy, way = _way_out(keyfile)
    with loaded(tpm, keyfile, auths.parent, auths.pin) as key:
        try:
            with authorized(tpm, key, policy, way, auths) as session:
                made = key.duplicate(Entity.permanent(TPM_RH.NULL), session, NO_CIPHER)
        except PolicyError as error:
            return Outcome(error)
        except TpmError as error:
            if error.command != "Duplicate":
                raise
            return Outcome(error)
    sensitive = unwrap(made, keyfile.public)
    return Outcome(key=private_key_of(sensitive, keyfile.public), pin=sensitive.authValue)


def way_of(keyfile: KeyFile) -> Path:
    """Find the way through the key's policy that is tried."""
    return _way_out(keyfile)[1]


def _way_out(keyfile: KeyFile) -> tuple[Policy, Path]:
    """Choose the policy and the way through it that lead farthest: to no parent, or to any."""
    try:
        policy = policy_of(keyfile) or BY_ANYONE
    except KeyFileError:
        policy = BY_ANYONE
    out = ways_out(policy)
    if not out:
        return BY_ANYONE, next(BY_ANYONE.paths())
    try:
        return policy, ways_to(policy, None)[0]
    except PolicyError:
        return policy, out[0]
