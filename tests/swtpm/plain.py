"""Sessions without a key: unsalted, unbound and for no authorization value, so with no HMAC.

The TPM takes an empty HMAC where the key of the HMAC is empty.  [Part 1, 17.6]
"""

import contextlib
import hashlib
from typing import Any

from tpmwire.client import Tpm
from tpmwire.commands import Command
from tpmwire.constants import TPM_ALG, TPM_SE
from tpmwire.session import HmacSession
from tpmwire.types import TPMT_SYM_DEF

NO_CIPHER = TPMT_SYM_DEF(algorithm=TPM_ALG.NULL)


def session(
    tpm: Tpm, kind: TPM_SE = TPM_SE.POLICY
) -> contextlib.AbstractContextManager[HmacSession]:
    """Start a session, with SHA-256 and no cipher, and flush it in the end."""
    return tpm.session(kind, symmetric=NO_CIPHER)


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def command_hash(command: Command[Any], *names: bytes) -> bytes:
    """The cpHash of a command with the Names of its handles.  [Part 1, 16.7]"""
    parameters = command.frame()[10 + 4 * len(names) :]
    return sha256(command.CC.to_bytes(4, "big"), *names, parameters)


def response_hash(command: Command[Any], parameters: bytes) -> bytes:
    """The rpHash of a successful response.  [Part 1, 16.8]"""
    return sha256(bytes(4), command.CC.to_bytes(4, "big"), parameters)
