"""Starting and rewinding sessions.  [Part 3, 11]"""

from tpmwire.commands.base import Command, Response
from tpmwire.constants import TPM_CC, TPM_SE
from tpmwire.structure import handle
from tpmwire.types.algorithms import TPM2B_ENCRYPTED_SECRET, TPMT_SYM_DEF
from tpmwire.types.interface import (
    TPMI_ALG_HASH,
    TPMI_DH_ENTITY,
    TPMI_DH_OBJECT,
    TPMI_SH_AUTH_SESSION,
    TPMI_SH_POLICY,
)
from tpmwire.types.structures import TPM2B_NONCE


class StartAuthSessionResponse(Response):
    """The session, and the TPM's first nonce."""

    sessionHandle: TPMI_SH_AUTH_SESSION = handle()

    nonceTPM: TPM2B_NONCE


class StartAuthSession(Command[StartAuthSessionResponse], code=TPM_CC.StartAuthSession):
    """Start an HMAC, policy or trial session, salted and bound or not.  [Part 3, 11.1]"""

    tpmKey: TPMI_DH_OBJECT = handle()
    bind: TPMI_DH_ENTITY = handle()

    nonceCaller: TPM2B_NONCE
    encryptedSalt: TPM2B_ENCRYPTED_SECRET = b""
    sessionType: TPM_SE
    symmetric: TPMT_SYM_DEF
    authHash: TPMI_ALG_HASH


class PolicyRestartResponse(Response):
    """Nothing but success."""


class PolicyRestart(Command[PolicyRestartResponse], code=TPM_CC.PolicyRestart):
    """Take a policy session back to its start, with the same keys.  [Part 3, 11.2]"""

    sessionHandle: TPMI_SH_POLICY = handle()
