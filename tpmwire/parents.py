"""Storage parents: which key of the TPM a key file's `parent` means, and which to choose."""

from tpmwire.client import Tpm
from tpmwire.constants import TPM_HT, TPM_RC, TPM_RH
from tpmwire.errors import KeyFileError, TpmError
from tpmwire.objects import LoadedObject, is_storage
from tpmwire.templates import ECC_SRK, RSA_SRK

PERSISTENT_SRK = 0x81000001
"""Where the TCG's guidance wants the storage root key, and systemd and others put it."""

HIERARCHIES = {
    "owner": TPM_RH.OWNER,
    "endorsement": TPM_RH.ENDORSEMENT,
    "platform": TPM_RH.PLATFORM,
    "null": TPM_RH.NULL,
}


def open_parent(tpm: Tpm, parent: int, *, rsa: bool = False, auth: bytes = b"") -> LoadedObject:
    """Open the parent that a key file names, to be used as a context manager.

    A hierarchy means the primary key of the well-known template in it, `rsa` that of the RSA
    template; `auth` is the hierarchy's authorization, or that of a persistent key.  Raises
    KeyFileError for what can be no parent, TpmError if the TPM refuses.
    """
    if parent in HIERARCHIES.values():
        return tpm.create_primary(RSA_SRK if rsa else ECC_SRK, parent, auth)
    if parent >> 24 != TPM_HT.PERSISTENT:
        raise KeyFileError(f"parent {parent:#010x} is neither a hierarchy nor a persistent key")
    try:
        found = tpm.persistent(parent, auth)
    except TpmError as error:
        if error.code != TPM_RC.HANDLE:
            raise
        raise KeyFileError(f"its parent {parent:#010x} is not in this TPM") from None
    if not is_storage(found.public):
        raise KeyFileError(f"{parent:#010x} is no storage key, so no key can be under it")
    return found


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
