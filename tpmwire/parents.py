"""Storage parents: which key of the TPM a key file's `parent` means, and which to choose."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeVar

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.client import Tpm
from tpmwire.commands.capability import GetCapability
from tpmwire.constants import TPM_CAP, TPM_HT, TPM_RC, TPM_RH
from tpmwire.errors import Error, KeyFileError, SessionError, TpmError
from tpmwire.lockout import Lockout
from tpmwire.names import object_name
from tpmwire.objects import LoadedObject, is_storage
from tpmwire.templates import ECC_SRK, RSA_SRK
from tpmwire.types.objects import TPMT_PUBLIC

PERSISTENT_SRK = 0x81000001
"""Where the TCG's guidance wants the storage root key, and systemd and others put it."""

HIERARCHIES = {
    "owner": TPM_RH.OWNER,
    "endorsement": TPM_RH.ENDORSEMENT,
    "platform": TPM_RH.PLATFORM,
    "null": TPM_RH.NULL,
}

_AUTHORIZED = ("CreatePrimary", "Create", "Load", "Import")
"""The commands on the way to a key that nothing but its parent, or the hierarchy, authorizes."""

T = TypeVar("T")


class PasswordWantedError(Error):
    """A parent may have a password, and the last try before a lockout is not spent to find out."""


def with_parent_auth(work: Callable[[bytes | None], T], ask: Callable[[], bytes]) -> T:
    """Do work under a parent; only if the TPM then wants its password, `ask` for it and do it anew.

    `work` hands its argument to `open_parent` as `auth`.  That the TPM is asked first costs nothing
    with hierarchies and usual storage keys, which the protection against guessing does not count:
    it covers lockoutAuth, and objects without noDA.  Of such a parent it costs a try, but never the
    last one.  [Part 1, 19.8]
    """
    try:
        return work(None)
    except PasswordWantedError:
        pass
    except TpmError as error:
        if not wants_parent_auth(error):
            raise
    return work(ask())


def wants_parent_auth(error: TpmError) -> bool:
    """Tell whether the TPM has refused because the authorization of the parent was wrong."""
    wrong = error.code in (TPM_RC.BAD_AUTH, TPM_RC.AUTH_FAIL)
    return wrong and error.command in _AUTHORIZED


def open_parent(
    tpm: Tpm,
    parent: int,
    *,
    rsa: bool = False,
    auth: bytes | None = None,
    name: bytes = b"",
    known: TPMT_PUBLIC | None = None,
) -> LoadedObject:
    """Open the parent that a key file names, to be used as a context manager.

    A hierarchy means the primary key of the well-known template in it, `rsa` that of the RSA
    template; `auth` is the hierarchy's authorization, or that of a persistent key: None stands for
    an empty one that is only a guess.  `name` is the Name that the parent had when the key was
    made: if it has another one, nothing is sent to it.  `known` is the public area that it had
    before: a persistent key is then not asked for it again, as with another one at its handle no
    key of the file could be loaded.

    Raises KeyFileError for what can be no parent, or is not the right one; TpmError if the TPM
    refuses; PasswordWantedError if a guess could lock the TPM.
    """
    if parent in HIERARCHIES.values():
        opened = tpm.create_primary(RSA_SRK if rsa else ECC_SRK, parent, auth or b"")
    elif parent >> 24 != TPM_HT.PERSISTENT:
        raise KeyFileError(f"parent {parent:#010x} is neither a hierarchy nor a persistent key")
    elif known is not None:
        opened = tpm.adopt(parent, known, object_name(known), auth or b"")
    else:
        opened = _persistent(tpm, parent, auth or b"")
    if name:
        _pin(tpm, opened, name)
    if auth is None and not opened.public.objectAttributes & TPMA_OBJECT.noDA:
        _check_tries(tpm)
    return opened


def _check_tries(tpm: Tpm) -> None:
    with suppress(KeyError):  # of a TPM that does not tell
        if Lockout.read(tpm.execute).tries_left == 1:
            raise PasswordWantedError("the parent may want a password, and one try is left")


def _persistent(tpm: Tpm, handle: int, auth: bytes) -> LoadedObject:
    try:
        found = tpm.persistent(handle, auth)
    except TpmError as error:
        if error.code != TPM_RC.HANDLE:
            raise
        raise KeyFileError(f"its parent {handle:#010x} is not in this TPM") from None
    if not is_storage(found.public):
        raise KeyFileError(f"{handle:#010x} is no storage key, so no key can be under it")
    return found


def _pin(tpm: Tpm, opened: LoadedObject, name: bytes) -> None:
    try:
        opened.pin(name)
    except SessionError:
        with opened:
            reason = _what_is_wrong(tpm, opened, name)
        raise KeyFileError(f"its parent is another key than when it was made: {reason}") from None


def default_parent(tpm: Tpm) -> int:
    """Choose the parent for a new key: the persistent SRK if there is one, else the owner's."""
    try:
        found = tpm.persistent(PERSISTENT_SRK)
    except TpmError as error:
        if error.code != TPM_RC.HANDLE:
            raise
        return TPM_RH.OWNER
    return PERSISTENT_SRK if is_storage(found.public) else TPM_RH.OWNER


def parse_parent(text: str) -> int:
    """Read a parent as people write it: owner, null, ..., or a handle such as 0x81000001.

    Raises ValueError.
    """
    if text in HIERARCHIES:
        return HIERARCHIES[text]
    try:
        handle = int(text, 16)
    except ValueError:
        handle = 0
    if handle >> 24 != TPM_HT.PERSISTENT:
        names = ", ".join(HIERARCHIES)
        raise ValueError(f"{text!r} is none of {names}, nor a persistent handle like 0x81000001")
    return handle


def parent_word(parent: int) -> str:
    """Write a parent as `parse_parent` reads it."""
    words: dict[int, str] = {handle: word for word, handle in HIERARCHIES.items()}
    return words.get(parent, f"{parent:#010x}")


def describe_parent(parent: int) -> str:
    """Call a parent as people do."""
    word = parent_word(parent)
    return f"the {word} hierarchy" if word in HIERARCHIES else f"the key {word}"


def load(
    tpm: Tpm,
    parent: LoadedObject,
    private: bytes,
    public: TPMT_PUBLIC,
    *,
    auth: bytes = b"",
    parent_name: bytes,
) -> LoadedObject:
    """Load an object under a parent that should be the one called `parent_name`; b"" if unknown.

    If the TPM finds the private part not to be one of this parent (TpmError, INTEGRITY), the error
    tells what is wrong: the part itself, the choice of the parent, or the TPM.
    """
    try:
        return parent.load(private, public, auth)
    except TpmError as error:
        if error.code == TPM_RC.INTEGRITY:
            with suppress(Error):
                error.help = _what_is_wrong(tpm, parent, parent_name)
        raise


def _what_is_wrong(tpm: Tpm, parent: LoadedObject, name: bytes) -> str:
    if not name:
        return "the private part is damaged, or of another parent: the file does not name its own"
    if name == parent.name:
        return "the parent is the right one, so the private part is damaged, or of another key"
    found = next((where for where, other in _parents(tpm) if other == name), None)
    if found:
        return f"this is the wrong parent; the right one is {found}"
    return "the right parent is not in this TPM: it is another TPM, or was cleared since"


def _parents(tpm: Tpm) -> Iterator[tuple[str, bytes]]:
    """Find what may be a parent: where it is, and its Name."""
    first = TPM_HT.PERSISTENT << 24
    asked = GetCapability(capability=TPM_CAP.HANDLES, property=first, propertyCount=64)
    handles = (each for each in tpm.execute(asked).capabilityData.data if isinstance(each, int))
    for handle in handles:
        yield f"{handle:#010x}", tpm.persistent(handle).name
    for word, hierarchy in HIERARCHIES.items():
        with suppress(TpmError), tpm.create_primary(ECC_SRK, hierarchy) as primary:
            yield f"the primary key of the {word} hierarchy", primary.name
