"""Sessions: what stands in a command's authorization area, and the check of what comes back.

A session turns the command it serves into a TPMS_AUTH_COMMAND and is shown the TPMS_AUTH_RESPONSE
before anything of the answer is used.  Sessions do no I/O.  [Part 1, 17-19]
"""

from typing import Protocol

from tpmwire.attributes import TPMA_SESSION
from tpmwire.constants import TPM_RH
from tpmwire.errors import SessionError
from tpmwire.types.structures import TPMS_AUTH_COMMAND, TPMS_AUTH_RESPONSE


class Session(Protocol):
    """What `Tpm.execute` wants of a session."""

    def authorize(self, parameters: bytes) -> bytes:
        """Make this session's part of a command with this parameter area: a TPMS_AUTH_COMMAND."""

    def verify(self, answer: TPMS_AUTH_RESPONSE, parameters: bytes) -> None:
        """Check this session's part of a response; SessionError if it is not the TPM's."""


class PasswordSession:
    """The authorization value itself, in clear.  [Part 1, 19.4]

    Whoever listens on the bus to the TPM reads it, and the answer proves nothing.
    """

    def __init__(self, auth: bytes = b"") -> None:
        self._size = len(auth)
        self._authorization = _password(auth) if auth else _NO_PASSWORD

    def __repr__(self) -> str:
        return f"PasswordSession(<{self._size} octets, secret>)"

    def authorize(self, parameters: bytes) -> bytes:
        """Put the authorization value where an HMAC would stand."""
        return self._authorization

    def verify(self, answer: TPMS_AUTH_RESPONSE, parameters: bytes) -> None:
        """Check that the answer is as empty as that to a password has to be."""
        if answer.nonce or answer.hmac:
            raise SessionError("the answer to a password carries a nonce or an HMAC")


def _password(auth: bytes) -> bytes:
    return TPMS_AUTH_COMMAND(
        sessionHandle=TPM_RH.RS_PW, sessionAttributes=TPMA_SESSION.continueSession, hmac=auth
    ).pack()


_NO_PASSWORD = _password(b"")
