"""Sessions: what stands in a command's authorization area, and the check of what comes back.

A session proves to the TPM that its user knows an authorization value, without sending it; proves
to the user that the answer is the TPM's; and hides the first parameter of the command, of the
response, or of both.  Everything rests on two numbers that change with each command (nonces) and on
two secrets: the session key, which was agreed on when the session was started, and the
authorization value of the entity that the session authorizes.  [Part 1, 17-19]

    cpHash = H(commandCode ‖ Names of the handles ‖ parameters)
    rpHash = H(responseCode ‖ commandCode ‖ parameters)
    HMAC   = HMAC(sessionKey ‖ authValue, pHash ‖ newer nonce ‖ older nonce ‖ attributes)

An `Exchange` takes one command through its sessions, to the TPM and back.  Nothing here does I/O.
"""

import secrets
from collections.abc import Callable
from typing import Self

from tpmwire import crypto
from tpmwire.attributes import TPMA_SESSION
from tpmwire.authorization import Context, Entity, HasEntity, SaltKey, stripped
from tpmwire.commands.session import StartAuthSession, StartAuthSessionResponse
from tpmwire.constants import TPM_ALG, TPM_RH, TPM_SE
from tpmwire.digests import digest, digest_size, equal, hmac, kdfa
from tpmwire.errors import EncodeError, SessionError
from tpmwire.names import handle_name
from tpmwire.types.algorithms import TPMT_SYM_DEF
from tpmwire.types.structures import TPMS_AUTH_COMMAND, TPMS_AUTH_RESPONSE
from tpmwire.wire import handle_of

AES_128_CFB = TPMT_SYM_DEF(algorithm=TPM_ALG.AES, keyBits=128, mode=TPM_ALG.CFB)

_CONTINUE, _AUDIT = TPMA_SESSION.continueSession, TPMA_SESSION.audit
_DECRYPT, _ENCRYPT = TPMA_SESSION.decrypt, TPMA_SESSION.encrypt
_NONE = TPMA_SESSION(0)
_ECHOED = _CONTINUE | _AUDIT | _DECRYPT | _ENCRYPT


class SessionStart:
    """What it takes to start a session: the command, and the secrets that are not sent with it.

    `salt_key` is a loaded key of the TPM, to which a random salt is sent encrypted; `bind` an
    entity whose authorization value goes into the session key.  Raises DecodeError if the salt key
    is of a kind that this machine cannot encrypt for.
    """

    def __init__(
        self,
        kind: TPM_SE = TPM_SE.HMAC,
        *,
        salt_key: SaltKey | None = None,
        bind: HasEntity | None = None,
        hash_alg: TPM_ALG = TPM_ALG.SHA256,
        symmetric: TPMT_SYM_DEF = AES_128_CFB,
    ) -> None:
        self.kind, self.hash, self.symmetric, self.bound = kind, hash_alg, symmetric, bind
        self.size = digest_size(hash_alg)
        self.nonce = secrets.token_bytes(self.size)
        salt = crypto.share_secret(salt_key.public, b"SECRET") if salt_key else crypto.NOTHING
        self._secret = (stripped(bind.auth) if bind else b"") + salt.secret
        self.command = StartAuthSession(
            tpmKey=salt_key or TPM_RH.NULL,
            bind=bind or TPM_RH.NULL,
            nonceCaller=self.nonce,
            encryptedSalt=salt.encrypted,
            sessionType=kind,
            symmetric=symmetric,
            authHash=hash_alg,
        )

    @property
    def confidential(self) -> bool:
        """Whether a listener is kept from computing the session key."""
        return bool(self._secret)

    def key(self, nonce_tpm: bytes) -> bytes:
        """Derive the session key; there is none if the session is neither salted nor bound."""
        if not self._secret and self.bound is None:
            return b""
        return kdfa(self.hash, self._secret, b"ATH", nonce_tpm, self.nonce, 8 * self.size)

    def session(self, response: StartAuthSessionResponse) -> "HmacSession":
        """Make the session that the TPM has started; SessionError if the answer makes no sense."""
        if len(response.nonceTPM) != self.size:
            raise SessionError(f"a nonce of {len(response.nonceTPM)} octets, not {self.size}")
        kind = HmacSession if self.kind == TPM_SE.HMAC else PolicySession
        return kind(self, response)


class HmacSession:
    """A session that was started with TPM2_StartAuthSession.

    `confidential` tells whether a listener is kept from computing its key; `audit_digest` is what
    the TPM has computed too if the session audits; `ended` that it is no longer in the TPM.
    """

    gives_password = False

    def __init__(self, start: SessionStart, response: StartAuthSessionResponse) -> None:
        self.handle = handle_of(response.sessionHandle)
        self.hash, self.symmetric = start.hash, start.symmetric
        self.nonce_caller, self.nonce_tpm = start.nonce, response.nonceTPM
        self.key = start.key(response.nonceTPM)
        self.confidential = start.confidential
        self.audit_digest = bytes(start.size)
        self.ended = False
        self._bound = start.bound and (start.bound.name, stripped(start.bound.auth))

    @property
    def name(self) -> bytes:
        """The Name of a session is its handle."""
        return handle_name(self.handle)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.handle:#010x}>"

    def use(
        self,
        auth: bytes | None = None,
        *,
        decrypt: bool = False,
        encrypt: bool = False,
        audit: bool = False,
        attributes: TPMA_SESSION = _NONE,
        last: bool = False,
    ) -> "HmacUse":
        """Make the session's part in one command.

        `auth` is the authorization value of what it authorizes, unless the object in the command
        knows it; `decrypt` hides the first parameter on the way to the TPM, `encrypt` that on the
        way back; `audit` adds the command to the audit digest; `last` ends the session with it.
        """
        chosen = attributes | (_NONE if last else _CONTINUE)
        for wanted, bit in ((decrypt, _DECRYPT), (encrypt, _ENCRYPT), (audit, _AUDIT)):
            chosen |= bit if wanted else _NONE
        return HmacUse(self, chosen, auth)

    def takes_auth(self, entity: HasEntity) -> bool:
        """Tell whether the authorization value of `entity` goes into the key of the HMAC.

        That of the entity that the session is bound to is in the session key already; once it has
        changed, the session counts as bound no longer.
        """
        return self._bound != (entity.name, stripped(entity.auth))

    def hmac(self, auth: bytes, *signed: bytes, mute: bool = True) -> bytes:
        """Prove the knowledge of the key: an HMAC; if `mute`, nothing where there is no key."""
        key = self.key + auth
        return hmac(self.hash, key, *signed) if key or not mute else b""

    def authorized(self) -> None:
        """Note that the session has authorized a command."""


class PolicySession(HmacSession):
    """A policy session: what authorizes is what was asserted in it.  [Part 1, 19.7]

    `auth_value` and `gives_password` are set when TPM2_PolicyAuthValue or TPM2_PolicyPassword was
    executed; the TPM forgets them, as all that was asserted, when the session has authorized.
    """

    auth_value = False

    def takes_auth(self, entity: HasEntity) -> bool:
        """Tell whether PolicyAuthValue wants the authorization value in the key of the HMAC."""
        return self.auth_value

    def authorized(self) -> None:
        """Note that the TPM has forgotten what was asserted."""
        self.auth_value = self.gives_password = False


class HmacUse:
    """The part of an HMAC or policy session in one command."""

    def __init__(self, session: HmacSession, attributes: TPMA_SESSION, auth: bytes | None) -> None:
        self.session, self.attributes, self._auth = session, attributes, auth
        self._takes_auth = self._gives_password = self._mute = False
        if attributes & (_DECRYPT | _ENCRYPT) and not session.confidential:
            raise EncodeError(
                "the session is neither salted nor bound to something with an authorization value, "
                "so whoever listens could decrypt the parameter"
            )

    def use(self) -> Self:
        """Return this part itself."""
        return self

    def begin(self) -> None:
        """Choose the nonce for the next command."""
        if self.session.ended:
            raise SessionError(f"{self.session!r} has ended")
        self.session.nonce_caller = secrets.token_bytes(len(self.session.nonce_caller))

    def authorize(self, context: Context) -> bytes:
        """Make the packed TPMS_AUTH_COMMAND."""
        session, entity = self.session, context.entity(self)
        auth = self._auth_of(entity)
        # What holds for the command holds for its answer, though the command may change it.
        self._takes_auth = entity is not None and session.takes_auth(Entity.of(entity, auth))
        self._gives_password = entity is not None and session.gives_password
        proof = (
            auth
            if self._gives_password
            else session.hmac(
                auth if self._takes_auth else b"",
                context.cp_hash(session.hash),
                session.nonce_caller,
                session.nonce_tpm,
                context.others(self),
                bytes([self.attributes]),
            )
        )
        self._mute = not proof
        return TPMS_AUTH_COMMAND(
            sessionHandle=session.handle,
            nonce=session.nonce_caller,
            sessionAttributes=self.attributes,
            hmac=proof,
        ).pack()

    def verify(self, context: Context, answer: TPMS_AUTH_RESPONSE) -> None:
        """Check the TPM's part of the response; SessionError if it is not the TPM's."""
        session = self.session
        if len(answer.nonce) != len(session.nonce_tpm):
            raise SessionError("the TPM's nonce has another size than its first one")
        if (answer.sessionAttributes ^ self.attributes) & _ECHOED:
            raise SessionError("the answer has other session attributes than the command")
        wanted = (
            b""
            if self._gives_password
            else session.hmac(
                self._auth_after(context) if self._takes_auth else b"",
                context.rp_hash(session.hash),
                answer.nonce,
                session.nonce_caller,
                bytes([answer.sessionAttributes]),
                # An empty key after one that was none makes an HMAC all the same.
                mute=self._mute,
            )
        )
        if not equal(wanted, answer.hmac):
            raise SessionError("the HMAC of the answer is wrong: this is not what the TPM sent")
        session.nonce_tpm = answer.nonce
        session.ended = not self.attributes & _CONTINUE
        self._audit(context)
        if context.entity(self):
            session.authorized()

    def encrypt(self, context: Context, data: bytes) -> bytes:
        """Hide the first parameter of the command."""
        newer, older = self.session.nonce_caller, self.session.nonce_tpm
        auth = self._auth_of(context.entity(self))
        return self._cipher(crypto.cfb_encrypt, auth, newer, older, data)

    def decrypt(self, context: Context, data: bytes) -> bytes:
        """Uncover the first parameter of the response, once all sessions have verified it."""
        newer, older = self.session.nonce_tpm, self.session.nonce_caller
        return self._cipher(crypto.cfb_decrypt, self._auth_after(context), newer, older, data)

    def _cipher(
        self,
        cfb: Callable[[int, bytes, bytes, bytes], bytes],
        auth: bytes,
        newer: bytes,
        older: bytes,
        data: bytes,
    ) -> bytes:
        session, symmetric = self.session, self.session.symmetric
        # The authorization value is in this key always, whatever the key of the HMAC is.
        key = session.key + auth
        if symmetric.algorithm == TPM_ALG.XOR:
            return crypto.xor(session.hash, key, newer, older, data)
        size, block = (symmetric.keyBits or 0) // 8, crypto.block_size(symmetric.algorithm)
        derived = kdfa(session.hash, key, b"CFB", newer, older, 8 * (size + block))
        return cfb(symmetric.algorithm, derived[:size], derived[size:], data)

    def _auth_of(self, entity: HasEntity | None) -> bytes:
        if entity is None:
            return b""
        return stripped(entity.auth if self._auth is None else self._auth)

    def _auth_after(self, context: Context) -> bytes:
        """Find the authorization value of what is authorized, as it is after the command."""
        changed = context.new_auth(self)
        return self._auth_of(context.entity(self)) if changed is None else stripped(changed)

    def _audit(self, context: Context) -> None:
        session = self.session
        if self.attributes & _AUDIT:
            reset = self.attributes & TPMA_SESSION.auditReset
            before = bytes(len(session.audit_digest)) if reset else session.audit_digest
            hashes = (context.cp_hash(session.hash), context.rp_hash(session.hash))
            session.audit_digest = digest(session.hash, before, *hashes)
