"""Trying whether key files load: each parent is opened once, and nothing stays behind.

That costs no try of a PIN, as the PIN of a key is not wanted to load it.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from tpmwire.client import Tpm
from tpmwire.errors import Error, TransportError
from tpmwire.keyfile import LEGACY_LOADABLE, LOADABLE, KeyFile
from tpmwire.objects import LoadedObject
from tpmwire.parents import load, open_parent
from tpmwire.templates import ECC_SRK
from tpmwire.types.objects import TPMT_PUBLIC


@dataclass(frozen=True)
class Loading:
    """How it went with one key: why it does not load, and its parent if that could be opened."""

    complaint: str = ""
    parent: TPMT_PUBLIC | None = None


def try_loading(tpm: Tpm, keys: Iterable[tuple[str, KeyFile]]) -> dict[str, Loading]:
    """Load each key of a kind that can be, and flush it; TransportError if the TPM goes away."""
    loadable = [(path, key) for path, key in keys if key.kind in (LOADABLE, LEGACY_LOADABLE)]
    results: dict[str, Loading] = {}
    for _, group in groupby(sorted(loadable, key=_parent), key=_parent):
        results |= _try_family(tpm, list(group))
    return results


def seconds_for_parent(tpm: Tpm) -> float | None:
    """Measure how long it takes to make the owner's storage key; None if it cannot be made."""
    start = time.monotonic()
    try:
        with tpm.create_primary(ECC_SRK):
            return time.monotonic() - start
    except TransportError:
        raise
    except Error:
        return None


def _parent(key: tuple[str, KeyFile]) -> tuple[int, bool, bytes]:
    return key[1].parent, key[1].rsa_parent, key[1].parent_name


def _try_family(tpm: Tpm, keys: list[tuple[str, KeyFile]]) -> dict[str, Loading]:
    """Load keys that have the same parent."""
    handle, rsa, name = _parent(keys[0])
    try:
        with open_parent(tpm, handle, rsa=rsa, name=name) as parent:
            return {path: _try(tpm, parent, key) for path, key in keys}
    except TransportError:
        raise
    except Error as error:
        return {path: Loading(f"its parent: {error}") for path, _ in keys}


def _try(tpm: Tpm, parent: LoadedObject, key: KeyFile) -> Loading:
    try:
        with load(tpm, parent, key.private, key.public, parent_name=key.parent_name):
            return Loading(parent=parent.public)
    except TransportError:
        raise
    except Error as error:
        return Loading(str(error), parent.public)
