"""What a key file tells of its key, in words for people and as plain data for programs.

All of it is what the file says.  Of a key with fixedTPM its TPM has made sure of it when it made
the key, and does so again when it loads it; of others whoever has made the file may have lied.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.errors import KeyFileError
from tpmwire.keyfile import IMPORTABLE, LEGACY_LOADABLE, LOADABLE, SEALED, KeyFile
from tpmwire.movable import FIXED, lets_go, untold_policy
from tpmwire.names import object_name
from tpmwire.parents import HIERARCHIES
from tpmwire.policy import (
    Authorize,
    AuthorizeNV,
    DuplicationSelect,
    Or,
    Path,
    Policy,
)
from tpmwire.policy.bodies import read_policy
from tpmwire.showing.data import Data
from tpmwire.showing.inventory import public_words
from tpmwire.showing.words import flag_words
from tpmwire.templates import NO_CIPHER

KINDS = {
    LOADABLE: "loadable: its TPM loads it as it is",
    IMPORTABLE: "importable: wrapped for a parent, whose TPM takes it in",
    SEALED: "sealed data: its TPM loads it and gives the data out",
    LEGACY_LOADABLE: "loadable, written in an old way",
}

_PERSISTENT = 0x81


def keyfile_lines(keyfile: KeyFile) -> Iterator[tuple[str, list[str]]]:
    """Write what a key file tells: titles, and the lines below each of them."""
    attributes = keyfile.public.objectAttributes
    yield "key", [public_words(keyfile.public)]
    yield "Name", [object_name(keyfile.public).hex()]
    yield "file", [KINDS.get(keyfile.kind, f"of an unknown kind, {keyfile.kind}"), *_inner(keyfile)]
    if keyfile.description:
        yield "description", ["".join(c if c.isprintable() else "?" for c in keyfile.description)]
    yield "origin", [_origin(attributes)]
    yield "moves", _moves(keyfile)
    yield "PIN", [_pin(keyfile)]
    yield "wrong PINs", [_lockout(keyfile)]
    yield "policy", _policy_lines(keyfile)
    yield "parent", [_parent(keyfile), _parent_name(keyfile)]
    yield "attributes", [flag_words(attributes)]


def keyfile_data(keyfile: KeyFile) -> dict[str, Any]:
    """Turn what a key file tells into plain data; values are as in `showing.data`."""
    attributes, (policy, problem) = keyfile.public.objectAttributes, policy_of(keyfile)
    return {
        "kind": keyfile.kind,
        "inner_wrapper": keyfile.inner != NO_CIPHER,
        "description": keyfile.description,
        "name": object_name(keyfile.public).hex(),
        "made_in_tpm": bool(attributes & TPMA_OBJECT.sensitiveDataOrigin),
        "fixed_tpm": bool(attributes & TPMA_OBJECT.fixedTPM),
        "fixed_parent": bool(attributes & TPMA_OBJECT.fixedParent),
        "moves_to": _destinations(keyfile),
        "pin": not keyfile.empty_auth,
        "pin_suffices": bool(attributes & TPMA_OBJECT.userWithAuth),
        "counts_wrong_pins": not attributes & TPMA_OBJECT.noDA,
        "policy": policy.explain().splitlines() if policy else None,
        "policy_problem": problem,
        "parent": keyfile.parent,
        "rsa_parent": keyfile.rsa_parent,
        "parent_name": keyfile.parent_name.hex() or None,
        "public": Data().structure(keyfile.public),
    }


def policy_of(keyfile: KeyFile) -> tuple[Policy | None, str | None]:
    """Find the policy of the key, and what is to be said against what the file tells of it."""
    digest, alg = keyfile.public.authPolicy, keyfile.public.nameAlg
    if not keyfile.has_policy:
        found = untold_policy(keyfile)
        untold = f"the file does not tell what has the digest {digest.hex()}"
        return found, untold if digest and not found else None
    try:
        policy = read_policy(keyfile.policy, keyfile.auth_policy, hash_alg=alg)
    except KeyFileError as error:
        return None, str(error)
    if policy.digest(alg) != digest:
        return policy, "this is NOT the policy of the key: the digest is another"
    return policy, None


def _inner(keyfile: KeyFile) -> list[str]:
    if keyfile.inner == NO_CIPHER:
        return []
    return ["with an inner wrapper, whose key has to come another way"]


def _origin(attributes: int) -> str:
    if not attributes & TPMA_OBJECT.sensitiveDataOrigin:
        return "it came from outside: there may be copies of it"
    if attributes & TPMA_OBJECT.fixedTPM:
        return "made in its TPM, and never anywhere else"
    return "made in a TPM, as it says: of a key that can move nothing proves that"


# --- where it can go ---------------------------------------------------------------------------


class WayOut(NamedTuple):
    """A way through a policy on which TPM2_Duplicate is authorized.

    `parent` is the Name of the only parent it leads to, or None if it leads anywhere, and out of
    every TPM; `conditions` are what else has to hold, in words.
    """

    parent: bytes | None
    conditions: tuple[str, ...]

    def explain(self) -> str:
        """Say it in words."""
        whither = "to any parent, and out of every TPM, in clear"
        if self.parent is not None:
            whither = f"to the parent {self.parent.hex()} and no other"
        conditions = "; ".join(self.conditions)
        return f"{whither}, if {conditions}" if conditions else f"{whither}, by whoever can load it"


def ways_out(policy: Policy) -> list[WayOut] | None:
    """Find the ways on which a policy lets its key go; None if others may approve of more.

    A way does so only if a step of it says so: TPM2_Duplicate wants that.  [Part 1, 19.2]
    """
    if _open_ended(policy):
        return None
    return [_way_out(path) for path in policy.paths() if any(map(lets_go, path.steps))]


def _way_out(path: Path) -> WayOut:
    # What an Or wants stands on the path already.
    others = (step for step in path.steps if not (lets_go(step) or isinstance(step, Or)))
    chosen = (step.newParentName for step in path.steps if isinstance(step, DuplicationSelect))
    return WayOut(next(chosen, None), tuple(step.explain() for step in others))


def _open_ended(policy: Policy) -> bool:
    return any(
        isinstance(step, Authorize | AuthorizeNV) or any(map(_open_ended, step.branches))
        for step in policy.steps
    )


def _moves(keyfile: KeyFile) -> list[str]:
    fixed = keyfile.public.objectAttributes & FIXED
    if fixed == FIXED:
        return ["never: it is bound to one TPM and one parent"]
    if fixed:
        bound = fixed == TPMA_OBJECT.fixedParent
        return ["only with its parent" if bound else "no TPM has a key with such attributes"]
    if not keyfile.public.authPolicy:
        return ["never: it has no policy, and without one nothing lets it go"]
    policy, problem = policy_of(keyfile)
    if policy is None or problem:
        return ["perhaps: that depends on its policy, which the file does not tell"]
    ways = ways_out(policy)
    if ways is None:
        return ["perhaps: whoever may approve of policies for it may let it go"]
    return [way.explain() for way in ways] or ["never: its policy does not allow it"]


def _destinations(keyfile: KeyFile) -> list[str | None] | None:
    """Find the Names of the parents it can go to; null stands for any, and no list for unknown."""
    if keyfile.public.objectAttributes & FIXED or not keyfile.public.authPolicy:
        return []
    policy, problem = policy_of(keyfile)
    ways = ways_out(policy) if policy and not problem else None
    if ways is None:
        return None
    return [None if way.parent is None else way.parent.hex() for way in ways]


# --- who can use it ----------------------------------------------------------------------------


def _pin(keyfile: KeyFile) -> str:
    if not keyfile.public.objectAttributes & TPMA_OBJECT.userWithAuth:
        return "it is used by its policy only" + ("" if keyfile.empty_auth else "; it has a PIN")
    return "none: whoever has the file and the TPM uses it" if keyfile.empty_auth else "wanted"


def _lockout(keyfile: KeyFile) -> str:
    if keyfile.public.objectAttributes & TPMA_OBJECT.noDA:
        return "are not counted, and those of other keys do not stop this one"
    if keyfile.empty_auth:
        return "of other keys stop this one, though it has no PIN itself"
    return "are counted: after some of them the TPM refuses, this key and others"


def _policy_lines(keyfile: KeyFile) -> list[str]:
    policy, problem = policy_of(keyfile)
    if policy and not keyfile.has_policy and not keyfile.backups:
        problem = "the file does not tell it, but the digest is that of this"
    return [*(policy.explain().splitlines() if policy else []), *filter(None, [problem])]


def _parent(keyfile: KeyFile) -> str:
    if keyfile.parent >> 24 == _PERSISTENT:
        return f"the persistent key {keyfile.parent:#010x}"
    word = next((word for word, handle in HIERARCHIES.items() if handle == keyfile.parent), None)
    if word is None:
        return f"{keyfile.parent:#010x}, which is no place for a parent"
    template = "RSA" if keyfile.rsa_parent else "ECC"
    return f"the primary key of the {word} hierarchy, {template}"


def _parent_name(keyfile: KeyFile) -> str:
    told = keyfile.parent_name.hex()
    return f"with the Name {told}" if told else "of which the file does not tell the Name"
