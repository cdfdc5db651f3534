"""Sessions of other programs, replayed: with their nonces and salts we send what they sent.

tests/vectors/traces holds what tpm2-tools and the ESAPI said to a TPM, with the authorization
values and salt keys that were in play.  Each command is made again from its plain content, and has
to be the recorded one, octet for octet, with its HMACs and encrypted parameters; each answer has to
verify, and to decrypt to what is known from elsewhere.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode
from cryptography.hazmat.primitives.serialization import load_der_private_key

from tpmwire import crypto
from tpmwire.attributes import TPMA_SESSION
from tpmwire.authorization import Entity, PasswordSession, Use
from tpmwire.commands import (
    Command,
    ContextLoad,
    ContextSave,
    Hash,
    HierarchyChangeAuth,
    NV_ReadPublic,
    PolicyAuthValue,
    ReadPublic,
    StartAuthSession,
    StirRandom,
    unpack_command,
    unpack_response,
)
from tpmwire.commands.base import CommandFrame, split_response_header
from tpmwire.constants import TPM_ALG, TPM_HT, TPM_RC, TPM_RH
from tpmwire.digests import hmac
from tpmwire.errors import SessionError
from tpmwire.exchange import Exchange
from tpmwire.names import object_name
from tpmwire.session import HmacSession, HmacUse, SessionStart
from tpmwire.types import TPMS_AUTH_COMMAND, TPMS_AUTH_RESPONSE, TPMS_ECC_POINT, TPMT_PUBLIC

TRACES = Path(__file__).parent / "vectors" / "traces"
LAST, DECRYPT = ~TPMA_SESSION.continueSession, TPMA_SESSION.decrypt
OWNER = TPM_RH.OWNER.to_bytes(4, "big")
HASHES = {TPM_ALG.SHA256: hashes.SHA256(), TPM_ALG.SHA384: hashes.SHA384()}


@dataclass(frozen=True)
class SaltKey:
    """A key that a salt is encrypted to: what a StartAuthSession wants of it."""

    handle: int
    public: TPMT_PUBLIC


@dataclass
class Exchanged:
    """A command that sessions took part in, as it was recorded and as we make it."""

    command: Command[Any]
    sent: bytes
    made: bytes
    code: int
    exchange: Exchange[Any]
    received: bytes
    response: Any = None
    kinds: list[str] = field(default_factory=list)


class Replay:
    """A trace, gone through once more with our sessions."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        trace = json.loads((TRACES / name).read_text())
        self.exchanges = [tuple(map(bytes.fromhex, pair)) for pair in trace["exchanges"]]
        self.auths = {bytes.fromhex(k): v.encode() for k, v in trace["auth"].items()}
        self.keys = {
            bytes.fromhex(k): load_der_private_key(bytes.fromhex(v), None)
            for k, v in trace["keys"].items()
        }
        # The owner's authorization value was set in the trace.
        self.auths.pop(OWNER, None)
        self.names: dict[int, bytes] = {}
        self.publics: dict[bytes, TPMT_PUBLIC] = {}
        self.saved: dict[bytes, bytes] = {}
        self.sessions: dict[int, HmacSession] = {}
        self.nonces: list[bytes] = []
        monkeypatch.setattr("secrets.token_bytes", lambda size: self.nonces.pop(0))
        monkeypatch.setattr(crypto, "share_secret", lambda public, label: self.salt)
        self.salt = crypto.NOTHING
        self.done = list(self.go())

    def go(self) -> Iterator[Exchanged]:
        for sent, received in self.exchanges:
            frame = unpack_command(sent)
            tag, code = split_response_header(received)
            response: Any = None
            if frame.authorizations:
                done = self.authorized(frame, sent, received)
                if code == TPM_RC.SUCCESS:
                    done.response = response = done.exchange.response(tag, received)
                yield done
            elif code == TPM_RC.SUCCESS:
                response = unpack_response(received, frame.code).response
            if code == TPM_RC.SUCCESS:
                self.learn(frame.command, response)

    def authorized(self, frame: CommandFrame, sent: bytes, received: bytes) -> Exchanged:
        command = frame.command
        assert command is not None
        entities = [self.entity(command[each.name]) for each in command.AREAS.handles]
        plain = self.plain(frame, entities)
        uses = [self.use(authorization) for authorization in frame.authorizations]
        self.nonces = [a.nonce for a in frame.authorizations if a.sessionHandle != TPM_RH.RS_PW]
        exchange = Exchange(plain, uses, entities)
        made = exchange.request()
        assert self.nonces == []
        kinds = [self.kind(a, len(command.ROLES) > n) for n, a in enumerate(frame.authorizations)]
        _, code = split_response_header(received)
        return Exchanged(plain, sent, made, code, exchange, received, kinds=kinds)

    def entity(self, handle: int) -> Entity:
        name = self.name(handle)
        return Entity(handle, name, self.auths.get(name, b""))

    def name(self, handle: int) -> bytes:
        own = handle >> 24 in (TPM_HT.PCR, TPM_HT.PERMANENT, 0x02, 0x03)
        return handle.to_bytes(4, "big") if own else self.names[handle]

    def use(self, authorization: TPMS_AUTH_COMMAND) -> Use:
        if authorization.sessionHandle == TPM_RH.RS_PW:
            # tpm2-pytss leaves continueSession clear, which means nothing in a password.
            session = PasswordSession(authorization.hmac)
            session._authorization = authorization.pack()
            return session
        found = self.sessions[authorization.sessionHandle]
        # Other programs also encrypt in sessions whose key any listener knows, and make an HMAC
        # where the key is empty.
        found.confidential = True
        found.hmac = lambda auth, *signed, mute=True: hmac(found.hash, found.key + auth, *signed)
        attributes = authorization.sessionAttributes
        return found.use(attributes=attributes & LAST, last=not attributes & ~LAST)

    def kind(self, authorization: TPMS_AUTH_COMMAND, authorizes: bool) -> str:
        if authorization.sessionHandle == TPM_RH.RS_PW:
            return "password"
        session = self.sessions[authorization.sessionHandle]
        words = [type(session).__name__, "authorizes" if authorizes else "accompanies"]
        flags = TPMA_SESSION.decrypt, TPMA_SESSION.encrypt, TPMA_SESSION.audit
        words += [str(flag.name) for flag in flags if authorization.sessionAttributes & flag]
        return " ".join(words)

    def plain(self, frame: CommandFrame, entities: list[Entity]) -> Command[Any]:
        """Uncover the encrypted parameter of a command, by other means than ours."""
        command = frame.command
        assert command is not None
        for number, authorization in enumerate(frame.authorizations):
            if authorization.sessionAttributes & DECRYPT:
                session = self.sessions[authorization.sessionHandle]
                authorizes = number < len(command.ROLES)
                auth = entities[number].auth if authorizes else b""
                handles, parameters = command.AREAS.write(command)
                size = int.from_bytes(parameters[:2], "big")
                hidden, others = parameters[2 : 2 + size], parameters[2 + size :]
                shown = deciphered(session, auth, authorization.nonce, hidden)
                return type(command).AREAS.read(handles + parameters[:2] + shown + others)
        return command

    def learn(self, command: Any, response: Any) -> None:
        """Note what a command has changed in the TPM."""
        if isinstance(command, StartAuthSession):
            self.start(command, response)
        elif isinstance(command, HierarchyChangeAuth):
            self.auths[self.name(command.authHandle)] = command.newAuth
        elif isinstance(command, PolicyAuthValue):
            self.sessions[command.policySession].auth_value = True
        elif isinstance(command, ContextSave):
            if command.saveHandle >> 24 == TPM_HT.TRANSIENT:
                self.saved[response.context.pack()] = self.names[command.saveHandle]
        elif isinstance(command, ContextLoad):
            if response.loadedHandle >> 24 == TPM_HT.TRANSIENT:
                self.names[response.loadedHandle] = self.saved[command.context.pack()]
        elif isinstance(command, NV_ReadPublic):
            self.names[command.nvIndex] = response.nvName
        elif isinstance(command, ReadPublic):
            self.names[command.objectHandle] = response.name
            self.publics[response.name] = response.outPublic
        elif hasattr(response, "objectHandle"):
            self.names[response.objectHandle] = response.name
            public = getattr(response, "outPublic", None) or command.inPublic
            self.publics[object_name(public)] = public

    def start(self, command: StartAuthSession, response: Any) -> None:
        """Start the same session with our SessionStart, the salt being known."""
        salt_key = None
        if command.tpmKey != TPM_RH.NULL:
            name = self.names[command.tpmKey]
            salt_key = SaltKey(command.tpmKey, self.publics[name])
            secret = salt_of(self.keys[name], salt_key.public, command.encryptedSalt)
            self.salt = crypto.Shared(secret, command.encryptedSalt)
        self.nonces = [command.nonceCaller]
        started = SessionStart(
            command.sessionType,
            salt_key=salt_key,
            bind=None if command.bind == TPM_RH.NULL else self.entity(command.bind),
            hash_alg=command.authHash,
            symmetric=command.symmetric,
        )
        assert started.command.frame() == command.frame()
        self.sessions[response.sessionHandle] = started.session(response)


def salt_of(key: Any, public: TPMT_PUBLIC, encrypted: bytes) -> bytes:
    """Uncover a salt with the private key, by other means than ours."""
    if isinstance(key, rsa.RSAPrivateKey):
        name_hash = HASHES[public.nameAlg]
        mgf = padding.MGF1(name_hash)
        return key.decrypt(encrypted, padding.OAEP(mgf, name_hash, b"SECRET\0"))
    point = TPMS_ECC_POINT.unpack(encrypted)
    x, y = (int.from_bytes(each, "big") for each in (point.x, point.y))
    z = key.exchange(ec.ECDH(), ec.EllipticCurvePublicNumbers(x, y, key.curve).public_key())
    ours = key.public_key().public_numbers().x.to_bytes(32, "big")
    hashed = b"\0\0\0\1" + z + b"SECRET\0" + x.to_bytes(32, "big") + ours
    return hashlib.sha256(hashed).digest()


def deciphered(session: HmacSession, auth: bytes, newer: bytes, hidden: bytes) -> bytes:
    """Uncover a parameter of a command, by other means than ours."""
    is_xor = session.symmetric.algorithm == TPM_ALG.XOR
    derived = KBKDFHMAC(
        algorithm=HASHES[session.hash],
        mode=Mode.CounterMode,
        length=len(hidden) if is_xor else 32,
        rlen=4,
        llen=4,
        location=CounterLocation.BeforeFixed,
        label=b"XOR" if is_xor else b"CFB",
        context=newer + session.nonce_tpm,
        fixed=None,
    ).derive(session.key + auth.rstrip(b"\0"))
    if is_xor:
        return bytes(a ^ b for a, b in zip(hidden, derived, strict=True))
    decryptor = Cipher(AES(derived[:16]), CFB(derived[16:])).decryptor()
    return decryptor.update(hidden) + decryptor.finalize()


NAMES = ["sessions.json", "sessions-esapi.json"]


@pytest.fixture(params=NAMES)
def replay(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Replay:
    return Replay(request.param, monkeypatch)


def test_we_send_what_others_have_sent_octet_for_octet(replay: Replay):
    for done in replay.done:
        # Somebody has tried a wrong password once: ours makes another HMAC.
        right = done.code != 0x98E
        assert (done.made.hex() == done.sent.hex()) == right, type(done.command).__name__


def test_the_answers_that_others_have_received_verify(replay: Replay):
    # Replay has let each session verify its part of each answer, or raised SessionError.
    verified = [done for done in replay.done if done.code == TPM_RC.SUCCESS]
    assert len(verified) >= 13
    assert all(done.response is not None for done in verified)


def test_what_travelled_encrypted_comes_out_as_what_was_put_in(monkeypatch: pytest.MonkeyPatch):
    replay = Replay("sessions.json", monkeypatch)
    responses = [done.response for done in replay.done if done.response is not None]
    sealed = [each.outData for each in responses if hasattr(each, "outData")]
    stored = [each.data for each in responses if hasattr(each, "data")]
    assert sealed == [b"To be, or not to be\n"] * 5
    assert stored == [b"12345678"] * 3
    written = [done.command.data for done in replay.done if hasattr(done.command, "data")]
    assert written == [b"12345678"] * 2


def test_an_encrypted_answer_of_the_esapi_comes_out_too(monkeypatch: pytest.MonkeyPatch):
    replay = Replay("sessions-esapi.json", monkeypatch)
    read = next(done for done in replay.done if isinstance(done.command, ReadPublic))
    assert object_name(read.response.outPublic) == read.response.name
    hashed = next(done for done in replay.done if isinstance(done.command, Hash))
    assert hashlib.sha256(hashed.command.data).digest() == hashed.response.outHash
    stirred = next(done for done in replay.done if isinstance(done.command, StirRandom))
    assert stirred.command.inData == b"entropy"


@pytest.mark.parametrize("name", NAMES)
def test_no_other_answer_would_have_verified(name: str, monkeypatch: pytest.MonkeyPatch):
    verify, refused = HmacUse.verify, 0

    def check(use: HmacUse, context: Any, answer: TPMS_AUTH_RESPONSE) -> None:
        nonlocal refused
        if answer.hmac:
            nonce = use.session.nonce_tpm
            for wrong in (
                turned(answer, "hmac"),
                turned(answer, "nonce"),
                answer.replace(hmac=b""),
            ):
                with pytest.raises(SessionError, match="the HMAC of the answer is wrong"):
                    verify(use, context, wrong)
            assert use.session.nonce_tpm == nonce
            refused += 1
        verify(use, context, answer)

    monkeypatch.setattr(HmacUse, "verify", check)
    done = Replay(name, monkeypatch).done
    assert refused >= len([each for each in done if each.code == TPM_RC.SUCCESS]) - 1


def turned(answer: TPMS_AUTH_RESPONSE, name: str) -> TPMS_AUTH_RESPONSE:
    """Turn the last bit of a field."""
    octets = answer[name]
    return answer.replace(**{name: octets[:-1] + bytes([octets[-1] ^ 1])})


def test_every_kind_of_use_was_recorded(monkeypatch: pytest.MonkeyPatch):
    done = [each for name in NAMES for each in Replay(name, monkeypatch).done]
    assert {kind for each in done for kind in each.kinds} == {
        "password",
        "HmacSession authorizes",
        "HmacSession authorizes decrypt",
        "HmacSession authorizes encrypt",
        "HmacSession authorizes decrypt encrypt",
        "HmacSession accompanies decrypt",
        "HmacSession accompanies encrypt",
        "HmacSession accompanies audit",
        "HmacSession accompanies decrypt encrypt",
        "HmacSession accompanies encrypt audit",
        "PolicySession authorizes",
        "PolicySession authorizes encrypt",
    }
