"""Keys in files on their way from TPM to TPM: duplicated here, rewrapped between, imported there.

What is sent is an importable key file.  By default it has an inner wrapper besides the outer one:
then whoever gets the file, and has the new parent's private key as well (it may not be in a TPM
after all), still has nothing without a second key, which has to go another way.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tpmwire.client import Tpm
from tpmwire.constants import TPM_HT, TPM_RH, TPM_SE
from tpmwire.errors import KeyFileError
from tpmwire.importable import loaded
from tpmwire.keyfile import IMPORTABLE, KeyFile
from tpmwire.movable import FIXED, policy_of, prepared, ways_to
from tpmwire.names import object_name
from tpmwire.objects import LoadedObject
from tpmwire.parents import open_parent
from tpmwire.policy import Path, Policy, Secret
from tpmwire.session import HmacSession
from tpmwire.templates import AES_128_CFB
from tpmwire.types.algorithms import TPMT_SYM_DEF_OBJECT
from tpmwire.types.objects import TPMT_PUBLIC
from tpmwire.wrapped import Wrapped


@dataclass(frozen=True)
class Auths:
    """What authorizes a duplication: of the parent (None is a guess), the key, hierarchies."""

    parent: bytes | None = field(default=b"", repr=False)
    pin: bytes = field(default=b"", repr=False)
    hierarchies: Mapping[int, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Sent:
    """An importable file, and the key of its inner wrapper, which has to go another way."""

    keyfile: KeyFile
    inner_key: bytes = field(default=b"", repr=False)


def duplicate_file(
    tpm: Tpm,
    keyfile: KeyFile,
    new_parent: TPMT_PUBLIC,
    handle: int = TPM_RH.OWNER,
    *,
    auths: Auths | None = None,
    inner: TPMT_SYM_DEF_OBJECT = AES_128_CFB,
) -> Sent:
    """Wrap the key of a file for a parent in another TPM; the file for there.

    `handle` is where the parent is in its TPM; with NO_CIPHER as `inner` there is no second key.
    Raises PolicyError if the key's policy does not let it go there, KeyFileError if nothing does,
    TpmError if the TPM refuses.
    """
    policy = may_move(keyfile)
    way = ways_to(policy, object_name(new_parent))[0]
    auths = auths or Auths()
    with (
        loaded(tpm, keyfile, auths.parent, auths.pin) as key,
        tpm.load_external(new_parent) as parent,
        authorized(tpm, key, policy, way, auths) as session,
        tpm.session(salt_key=key.salt_key) as hiding,
    ):
        wrapped = key.duplicate(parent, session, inner, hiding)
    made = _importable(keyfile, wrapped).replace(parent=handle, rsa_parent=False)
    return Sent(made.replace(parent_name=object_name(new_parent)), wrapped.encryption_key)


def rewrap_file(
    tpm: Tpm,
    keyfile: KeyFile,
    new_parent: TPMT_PUBLIC,
    handle: int = TPM_RH.OWNER,
    auth: bytes | None = b"",
) -> KeyFile:
    """Wrap for another parent what was wrapped for one of this TPM, which cannot use the key.

    `auth` is the authorization of the parent here, as in `open_parent`.  No policy is asked: whom
    a key's policy sends here may send it on.  An inner wrapper stays closed.  Raises KeyFileError
    if the file is not importable or not for a parent here, TpmError if the TPM refuses.
    """
    if keyfile.kind != IMPORTABLE or not keyfile.secret:
        raise KeyFileError("there is nothing in it that is wrapped for a parent")
    old, name = keyfile.parent, keyfile.parent_name
    with (
        open_parent(tpm, old, rsa=keyfile.rsa_parent, auth=auth, name=name) as parent,
        tpm.load_external(new_parent) as new,
    ):
        wrapped = Wrapped(keyfile.private, keyfile.secret, symmetric=keyfile.inner)
        again = parent.rewrap(wrapped, object_name(keyfile.public), new)
    made = _importable(keyfile, again).replace(parent=handle, rsa_parent=False)
    return made.replace(parent_name=object_name(new_parent))


def may_move(keyfile: KeyFile) -> Policy:
    """Find the policy that lets a key go; KeyFileError if there can be none, or it is unknown."""
    if keyfile.public.objectAttributes & FIXED:
        raise KeyFileError("the key is fixed to its TPM and its parent for ever: it was made so")
    if not keyfile.public.authPolicy:
        raise KeyFileError("the key has no policy, and without one nothing lets it go")
    policy = policy_of(keyfile)
    if policy is None:
        raise KeyFileError("the key has a policy, but the file does not tell which")
    return policy


def hierarchies_in(way: Path) -> list[int]:
    """List the hierarchies whose passwords a way through a policy wants."""
    entities = [step.entity for step in way.steps if isinstance(step, Secret)]
    return [each.handle for each in entities if each.handle >> 24 == TPM_HT.PERMANENT]


@contextmanager
def authorized(
    tpm: Tpm, key: LoadedObject, policy: Policy, way: Path, auths: Auths
) -> Iterator[HmacSession]:
    """Start a policy session in which a way through the policy of a key was gone.

    PolicyError tells which step of it cannot be met.
    """
    alg = key.public.nameAlg
    whole = prepared(policy, key.name, dict(auths.hierarchies))
    with tpm.session(TPM_SE.POLICY, salt_key=key.salt_key, hash_alg=alg) as session:
        whole.satisfy(tpm, session, "/".join(way.labels) or None)
        yield session


def _importable(keyfile: KeyFile, wrapped: Wrapped) -> KeyFile:
    changes = {"kind": IMPORTABLE, "private": wrapped.duplicate, "inner": wrapped.symmetric}
    return keyfile.with_secret(wrapped.encrypted_secret).replace(**changes)
