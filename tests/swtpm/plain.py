"""Sessions without a key: unsalted, unbound and for no authorization value, so with no HMAC.

The TPM takes an empty HMAC where the key of the HMAC is empty.  [Part 1, 17.6]
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tpmwire.attributes import TPMA_SESSION
from tpmwire.client import Tpm
from tpmwire.commands import Command, FlushContext, StartAuthSession
from tpmwire.constants import TPM_ALG, TPM_RH, TPM_SE
from tpmwire.errors import SessionError
from tpmwire.types import TPMS_AUTH_COMMAND, TPMS_AUTH_RESPONSE, TPMT_SYM_DEF


class PlainSession:
    """A session that signs nothing; `password` goes in clear, after TPM2_PolicyPassword."""

    def __init__(self, handle: int, nonce: bytes) -> None:
        self.handle, self.nonce, self.password = handle, nonce, b""
        self.attributes = TPMA_SESSION.continueSession

    def authorize(self, parameters: bytes) -> bytes:
        return TPMS_AUTH_COMMAND(
            sessionHandle=self.handle, sessionAttributes=self.attributes, hmac=self.password
        ).pack()

    def verify(self, answer: TPMS_AUTH_RESPONSE, parameters: bytes) -> None:
        if answer.hmac:
            raise SessionError("an HMAC with no key")
        self.nonce = answer.nonce


@contextmanager
def session(tpm: Tpm, kind: TPM_SE = TPM_SE.POLICY) -> Iterator[PlainSession]:
    """Start a session, with SHA-256 and no cipher, and flush it in the end."""
    command = StartAuthSession(
        tpmKey=TPM_RH.NULL,
        bind=TPM_RH.NULL,
        nonceCaller=bytes(16),
        sessionType=kind,
        symmetric=TPMT_SYM_DEF(algorithm=TPM_ALG.NULL),
        authHash=TPM_ALG.SHA256,
    )
    started = tpm.execute(command)
    try:
        yield PlainSession(started.sessionHandle, started.nonceTPM)
    finally:
        tpm.execute(FlushContext(flushHandle=started.sessionHandle))


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def command_hash(command: Command[Any], *names: bytes) -> bytes:
    """The cpHash of a command with the Names of its handles.  [Part 1, 16.7]"""
    parameters = command.frame()[10 + 4 * len(names) :]
    return sha256(command.CC.to_bytes(4, "big"), *names, parameters)


def response_hash(command: Command[Any], parameters: bytes) -> bytes:
    """The rpHash of a successful response.  [Part 1, 16.8]"""
    return sha256(bytes(4), command.CC.to_bytes(4, "big"), parameters)
