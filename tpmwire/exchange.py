"""One command on its way through its sessions, to the TPM and back.  [Part 1, 18]

    exchange = Exchange(command, sessions, entities)
    exchange.request()            the octets for the TPM
    exchange.response(octets)     the response, once every session has verified its part

The order of things matters: a parameter is encrypted before the command is hashed, and used only
after the response has been verified and then decrypted.  Nothing here does I/O.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from tpmwire.attributes import TPMA_SESSION
from tpmwire.authorization import HasEntity, PasswordSession, Use
from tpmwire.commands.base import Areas, Command, Response, command_buffer, split_response
from tpmwire.constants import TPM_CC, TPM_RH, TPM_ST
from tpmwire.digests import digest
from tpmwire.errors import DecodeError, EncodeError
from tpmwire.session import HmacUse
from tpmwire.wire import handle_of

R = TypeVar("R", bound=Response)
_SESSIONS = TPM_ST.SESSIONS


class Exchange(Generic[R]):
    """A command, the parts of its sessions, and what its handles stand for.

    The first sessions authorize the handles that want it, in their order; what they leave open is
    authorized by empty passwords.  `entities` are wanted if there are sessions.  Raises EncodeError
    if an entity left open has an authorization value, if a session shall encrypt what cannot be
    encrypted, or if two of them shall.
    """

    def __init__(
        self, command: Command[R], given: Sequence[Use], entities: Sequence[HasEntity] = ()
    ) -> None:
        self._command, self._given, self._entities = command, given, entities
        self._uses = [*given, *_passwords(command, len(given))]
        self._decrypt = self._encrypt = None
        if given:
            response = command.RESPONSE
            self._decrypt = _one(given, TPMA_SESSION.decrypt, command.AREAS)
            self._encrypt = _one(given, TPMA_SESSION.encrypt, response.AREAS)

    def request(self) -> bytes:
        """Make the whole command buffer.  Raises EncodeError if a value does not fit."""
        command = self._command
        handles, self._parameters = command.AREAS.write(command)
        for use in self._given:
            use.begin()
        if self._decrypt:
            data = self._decrypt.encrypt(self, self._parameters[2 : 2 + _size(self._parameters)])
            self._parameters = self._parameters[:2] + data + self._parameters[2 + len(data) :]
        authorizations = [use.authorize(self) for use in self._uses]
        return command_buffer(command.CC, handles, authorizations, self._parameters)

    def response(self, tag: int, octets: bytes) -> R:
        """Read a successful response of `tag`, after each session has verified its part of it.

        Raises SessionError if one does not, DecodeError if the response makes no sense.
        """
        areas = self._command.RESPONSE.AREAS
        handles, self._answer, answers = split_response(tag, octets, areas)
        if (tag == _SESSIONS) != bool(self._uses):
            raise DecodeError("the tag is not that of the command", areas.cls.__name__)
        if len(answers) != len(self._uses):
            sent = f"{len(answers)} authorizations where {len(self._uses)} were sent"
            raise DecodeError(sent, areas.cls.__name__)
        for use, answer in zip(self._uses, answers, strict=True):
            use.verify(self, answer)
        if self._encrypt:
            data = self._encrypt.decrypt(self, self._answer[2 : 2 + _size(self._answer)])
            self._answer = self._answer[:2] + data + self._answer[2 + len(data) :]
        read: R = areas.read(handles + self._answer)
        return read

    @property
    def ended(self) -> list[int]:
        """The handles of the sessions that ended with the command."""
        uses = (use for use in self._given if isinstance(use, HmacUse))
        return [use.session.handle for use in uses if use.session.ended]

    def entity(self, use: Use) -> HasEntity | None:
        """Find what a session authorizes; None if it only encrypts or audits."""
        index = self._uses.index(use)
        return self._entities[index] if index < len(self._command.ROLES) else None

    def new_auth(self, use: Use) -> bytes | None:
        """Find the authorization value of the same after the command; None if it is unchanged."""
        change = NEW_AUTH.get(self._command.CC)
        return None if change is None or use is not self._uses[0] else change(self._command)

    def others(self, use: Use) -> bytes:
        """Find the nonces of the sessions that encrypt, if this one vouches for them.

        That is the first session's duty, and only if it authorizes something.
        """
        if use is not self._uses[0] or not self._command.ROLES:
            return b""
        encrypting = dict.fromkeys((self._decrypt, self._encrypt))
        return b"".join(o.session.nonce_tpm for o in encrypting if o is not None and o is not use)

    def cp_hash(self, alg: int) -> bytes:
        """Hash the command, as it is sent."""
        names = (entity.name for entity in self._entities)
        return digest(alg, self._command.CC.to_bytes(4, "big"), *names, self._parameters)

    def rp_hash(self, alg: int) -> bytes:
        """Hash the response, as it came: a successful one."""
        return digest(alg, bytes(4), self._command.CC.to_bytes(4, "big"), self._answer)


NEW_AUTH: dict[int, Callable[[Any], bytes | None]] = {
    TPM_CC.HierarchyChangeAuth: lambda command: command.newAuth,
    TPM_CC.NV_ChangeAuth: lambda command: command.newAuth,
    TPM_CC.PCR_SetAuthValue: lambda command: command.auth,
    TPM_CC.NV_UndefineSpaceSpecial: lambda command: b"",
    TPM_CC.Clear: lambda command: b"" if handle_of(command.authHandle) == TPM_RH.LOCKOUT else None,
}
"""The authorization value that the first handle has when its answer is made, if it is another."""


def _passwords(command: Command[Any], given: int) -> list[PasswordSession]:
    """Make an empty password for each authorization that the given sessions leave open."""
    open_roles = command.AREAS.handles[given : len(command.ROLES)]
    for field in open_roles:
        if getattr(command[field.name], "auth", b""):
            raise EncodeError(
                "it has an authorization value, and no session to prove it by; a PasswordSession "
                "sends it in clear",
                f"{type(command).__name__}.{field.name}",
            )
    return [PasswordSession() for _ in open_roles]


def _one(sessions: Sequence[Use], bit: TPMA_SESSION, areas: Areas) -> HmacUse | None:
    """Find the session that encrypts; EncodeError if there are two, or nothing to encrypt."""
    found = [use for use in sessions if isinstance(use, HmacUse) and use.attributes & bit]
    if not found:
        return None
    if len(found) > 1:
        raise EncodeError(f"{len(found)} sessions shall {bit.name}, one can", areas.cls.__name__)
    if not areas.encryptable:
        raise EncodeError("no session can encrypt what is not a TPM2B", areas.cls.__name__)
    return found[0]


def _size(parameters: bytes) -> int:
    return int.from_bytes(parameters[:2], "big")
