"""Somebody sits between us and the TPM: what they change is noticed, and nothing of it believed."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from between import Between, Meddle, Send, lengthen, only_at, only_with, resized, shorten
from conftest import Swtpm, handles, left_loaded
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from test_client import ECDSA, forging

from tpmwire import crypto, templates
from tpmwire.attributes import TPMA_OBJECT, TPMA_SESSION
from tpmwire.client import Tpm
from tpmwire.commands import (
    EvictControl,
    GetRandom,
    NV_ReadPublic,
    Unseal,
    unpack_command,
    unpack_response,
)
from tpmwire.constants import TPM_ALG, TPM_CC, TPM_RH
from tpmwire.digests import kdfa
from tpmwire.errors import DecodeError, Error, SessionError, TpmError, TransportError
from tpmwire.names import object_name
from tpmwire.objects import LoadedObject, Protection
from tpmwire.transport import connect
from tpmwire.types import (
    TPMS_KEYEDHASH_PARMS,
    TPMS_NV_PUBLIC,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_PUBLIC,
)

SRK = 0x81000001
PIN = b"the PIN of the tests"
NO_DA = templates.without_lockout(templates.ECC_SIGN)
SEALED = TPMT_PUBLIC(
    type=TPM_ALG.KEYEDHASH,
    nameAlg=TPM_ALG.SHA256,
    objectAttributes=TPMA_OBJECT.fixedTPM
    | TPMA_OBJECT.fixedParent
    | TPMA_OBJECT.userWithAuth
    | TPMA_OBJECT.noDA,
    parameters=TPMS_KEYEDHASH_PARMS(scheme=TPMT_KEYEDHASH_SCHEME(scheme=TPM_ALG.NULL)),
    unique=b"",
)


@pytest.fixture(scope="module")
def furnished(swtpm: Swtpm) -> Swtpm:
    """A TPM with a persistent storage root key."""
    with Tpm(connect(swtpm.conf)) as tpm, tpm.create_primary(templates.ECC_SRK) as srk:
        tpm.execute(EvictControl(auth=TPM_RH.OWNER, objectHandle=srk, persistentHandle=SRK))
    return swtpm


@pytest.fixture
def tpm(furnished: Swtpm, tpm: Tpm) -> Tpm:
    return tpm


@pytest.fixture
def sealed(tpm: Tpm) -> Iterator[LoadedObject]:
    """Data that is sealed with a PIN."""
    srk = tpm.persistent(SRK)
    made = srk.create(SEALED, PIN, b"the sealed data")
    with srk.load(made.outPrivate, made.outPublic, PIN) as loaded:
        yield loaded


# --- answers that were changed ----------------------------------------------------------------


def turning(at: int, bit: int) -> Callable[[bytes], bytes]:
    return lambda answer: answer[:at] + bytes([answer[at] ^ 1 << bit]) + answer[at + 1 :]


def changing(change: Callable[[bytes], bytes]) -> Meddle:
    return lambda send, command: change(send(command))


def sending(change: Callable[[bytes], bytes]) -> Meddle:
    return lambda send, command: send(change(command))


USES: dict[str, Callable[[LoadedObject], object]] = {
    "unseal": lambda loaded: loaded.unseal(),
    "change_auth": lambda loaded: loaded.change_auth(loaded.salt_key, b"new"),
    "create": lambda loaded: loaded.salt_key.create(NO_DA, b"pin"),
}


@pytest.mark.parametrize("use", USES)
def test_each_octet_of_an_answer_in_a_session_counts(tpm: Tpm, sealed: LoadedObject, use: str):
    # Two exchanges: the session is started, and used.
    for number, errors in ((1, Error), (2, (SessionError, DecodeError, TpmError))):
        size = answer_size(tpm, sealed, USES[use], number)
        for at in range(size):
            if number == 1 and 10 <= at < 14:
                continue  # the handle: who changes that alone knows which session to flush
            meddle = only_at(number, changing(turning(at, at % 8)))
            with pytest.raises(errors) as caught:
                USES[use](with_salt_key(tpm, meddle, sealed))
            assert not isinstance(caught.value, TransportError)
            # The TPM itself can have refused only what came of the first answer.
            if number == 2 and isinstance(caught.value, TpmError):
                assert 6 <= at < 10
            assert handles(tpm, 0x02000000) == (), at


def with_salt_key(tpm: Tpm, meddle: Meddle, object_: LoadedObject) -> LoadedObject:
    """The same object and its salt key, with one and the same person in between."""
    forged = Tpm(Between(tpm._transport, meddle))
    parent = object_.salt_key
    assert parent is not None
    salt_key = LoadedObject(forged, parent.handle, parent.public)
    return LoadedObject(forged, object_.handle, object_.public, object_.auth, salt_key=salt_key)


def answer_size(
    tpm: Tpm, object_: LoadedObject, use: Callable[[LoadedObject], object], number: int
) -> int:
    between = Between(tpm._transport)
    forged = with_salt_key(tpm, lambda send, command: between.send(command), object_)
    use(forged)
    return len(between.received[number - 1])


def test_an_answer_that_ends_too_early_or_too_late_is_refused(tpm: Tpm, sealed: LoadedObject):
    for meddle in (shorten, lengthen):
        with pytest.raises(DecodeError):
            with_salt_key(tpm, only_at(2, meddle), sealed).unseal()
        assert handles(tpm, 0x02000000) == ()


@pytest.mark.parametrize("size", range(0, 80, 7))
def test_a_part_of_an_answer_is_refused(tpm: Tpm, sealed: LoadedObject, size: int):
    for cut in (
        lambda answer: answer[:size],
        lambda answer: resized(answer[:size].ljust(10, b"\0")),
    ):
        with pytest.raises((DecodeError, SessionError)):
            with_salt_key(tpm, only_at(2, changing(cut)), sealed).unseal()
        assert handles(tpm, 0x02000000) == ()


def test_an_older_answer_is_refused(tpm: Tpm, sealed: LoadedObject):
    salt_key = sealed.salt_key
    answers: list[bytes] = []

    def replay(send: Send, command: bytes) -> bytes:
        answers.append(send(command))
        return answers[0]

    listening = Tpm(Between(tpm._transport, only_with(TPM_CC.Unseal, replay)))
    with tpm.session(salt_key=salt_key) as session:
        unseal = Unseal(itemHandle=sealed)
        data = listening.execute(unseal, session.use(encrypt=True)).outData
        assert data == b"the sealed data"
        with pytest.raises(SessionError, match="the HMAC of the answer is wrong"):
            listening.execute(unseal, session.use(encrypt=True))


def test_two_answers_that_were_swapped_are_refused(tpm: Tpm, sealed: LoadedObject):
    unseal = Unseal(itemHandle=sealed)
    with (
        tpm.session(salt_key=sealed.salt_key) as one,
        tpm.session(salt_key=sealed.salt_key) as other,
    ):
        early: list[bytes] = []

        def hold(send: Send, command: bytes) -> bytes:
            early.append(send(command))
            raise TransportError(5, "held")

        with pytest.raises(TransportError):
            Tpm(Between(tpm._transport, hold)).execute(unseal, one.use(encrypt=True))
        swapped = Tpm(Between(tpm._transport, lambda send, command: (send(command), early[0])[1]))
        with pytest.raises(SessionError, match="the HMAC of the answer is wrong"):
            swapped.execute(unseal, other.use(encrypt=True))


def test_an_answer_to_another_command_of_the_same_shape_is_refused(tpm: Tpm, sealed: LoadedObject):
    # Both answers are one TPM2B: the code of the command is hashed with them.
    def random_instead(send: Send, command: bytes) -> bytes:
        return held[0]

    with tpm.session(salt_key=sealed.salt_key) as session:
        before = session.nonce_tpm
        between = Between(tpm._transport)
        Tpm(between).execute(GetRandom(bytesRequested=15), session.use(encrypt=True))
        held = [between.received[0]]
        session.nonce_tpm = before
        instead = Tpm(Between(tpm._transport, random_instead))
        with pytest.raises(SessionError, match="the HMAC of the answer is wrong"):
            instead.execute(Unseal(itemHandle=sealed), session.use(encrypt=True))


@pytest.mark.parametrize("bit", ["continueSession", "decrypt", "encrypt", "audit"])
def test_other_session_attributes_than_those_sent_are_refused(
    tpm: Tpm, sealed: LoadedObject, bit: str
):
    def change(answer: bytes) -> bytes:
        frame = unpack_response(answer, TPM_CC.Unseal)
        (authorization,) = frame.authorizations
        flags = authorization.sessionAttributes ^ TPMA_SESSION[bit]
        place = len(answer) - len(authorization.pack()) + 2 + len(authorization.nonce)
        return answer[:place] + bytes([flags]) + answer[place + 1 :]

    forged = Tpm(Between(tpm._transport, only_with(TPM_CC.Unseal, changing(change))))
    with tpm.session(salt_key=sealed.salt_key) as session:
        with pytest.raises(SessionError, match="other session attributes"):
            forged.execute(Unseal(itemHandle=sealed), session.use(encrypt=True))
        assert not session.ended
        assert session.handle in handles(tpm, 0x02000000)


@pytest.mark.parametrize("size", [0, 1, 15, 31, 33, 64])
def test_a_nonce_of_another_size_is_refused(tpm: Tpm, sealed: LoadedObject, size: int):
    start = forging(TPM_CC.StartAuthSession, nonceTPM=lambda nonce: (nonce * 2)[:size])
    with pytest.raises(SessionError, match=f"a nonce of {size} octets, not 32"):
        with_salt_key(tpm, start, sealed).unseal()
    assert handles(tpm, 0x02000000) == ()

    def change(answer: bytes) -> bytes:
        frame = unpack_response(answer, TPM_CC.Unseal)
        (authorization,) = frame.authorizations
        other = authorization.replace(nonce=(authorization.nonce * 2)[:size])
        return resized(answer[: -len(authorization.pack())] + other.pack())

    later = only_with(TPM_CC.Unseal, changing(change))
    with pytest.raises(SessionError, match="another size than its first one"):
        with_salt_key(tpm, later, sealed).unseal()


def test_a_refusal_that_was_made_up_is_all_that_can_be_forged(tpm: Tpm, sealed: LoadedObject):
    # A refusal is authenticated by nothing; the session and its nonces stay as they were.
    meddle = only_with(TPM_CC.Unseal, lambda send, command: bytes.fromhex("80010000000a00000101"))
    forged = Tpm(Between(tpm._transport, meddle))
    with tpm.session(salt_key=sealed.salt_key) as session:
        with pytest.raises(TpmError) as caught:
            forged.execute(Unseal(itemHandle=sealed), session.use(encrypt=True))
        assert caught.value.raw == 0x101
        done = tpm.execute(Unseal(itemHandle=sealed), session.use(encrypt=True))
        assert done.outData == b"the sealed data"


# --- commands that were changed ---------------------------------------------------------------


def test_each_octet_of_a_command_in_a_session_counts(tpm: Tpm, sealed: LoadedObject):
    with tpm.session(salt_key=sealed.salt_key) as session:
        between = Between(tpm._transport)
        unseal = Unseal(itemHandle=sealed)
        Tpm(between).execute(unseal, session.use(encrypt=True))
        for at in range(10, len(between.sent[0])):
            forged = Tpm(Between(tpm._transport, sending(turning(at, at % 8))))
            with pytest.raises(Error):
                forged.execute(unseal, session.use(encrypt=True))
        assert Tpm(between).execute(unseal, session.use(encrypt=True)).outData


# --- keys that were exchanged -----------------------------------------------------------------

THEIRS = rsa.generate_private_key(65537, 2048)


def exchanged(code: TPM_CC) -> Meddle:
    """Put a key of theirs in the place of the salt key, with its right Name."""

    def meddle(send: Send, command: bytes) -> bytes:
        frame = unpack_response(send(command), code)
        modulus = THEIRS.public_key().public_numbers().n.to_bytes(256, "big")
        public = frame.response.outPublic.replace(unique=modulus)
        name = b"\0\x0b" + hashlib.sha256(public.pack()).digest()
        changed = {"outPublic": public, "name": name}
        return type(frame)(
            frame.tag, frame.code, frame.response.replace(**changed), frame.authorizations
        ).pack()

    return only_with(code, meddle)


class Thief:
    """Exchanges the salt key, and reads what is encrypted for it."""

    def __init__(self) -> None:
        self.stolen = b""
        self.salt = self.caller = self.nonce = b""
        self.exchange = exchanged(TPM_CC.CreatePrimary)

    def __call__(self, send: Send, command: bytes) -> bytes:
        code = int.from_bytes(command[6:10], "big")
        if code == TPM_CC.StartAuthSession:
            started = unpack_command(command).command
            sha256 = hashes.SHA256()
            oaep = padding.OAEP(padding.MGF1(sha256), sha256, b"SECRET\0")
            self.salt = THEIRS.decrypt(started.encryptedSalt, oaep)
            self.caller, self.nonce = started.nonceCaller, bytes(32)
            return bytes.fromhex("80010000003000000000020000000020") + self.nonce
        if code == TPM_CC.Create:
            self.read(command)
            raise TransportError(5, "they have seen enough")
        return self.exchange(send, command)

    def read(self, command: bytes) -> None:
        frame = unpack_command(command)
        newer = frame.authorizations[0].nonce
        session_key = kdfa(TPM_ALG.SHA256, self.salt, b"ATH", self.nonce, self.caller, 256)
        key = kdfa(TPM_ALG.SHA256, session_key, b"CFB", newer, self.nonce, 256)
        hidden = bytes(frame.command.inSensitive)
        self.stolen = crypto.cfb_decrypt(TPM_ALG.AES, key[:16], key[16:], hidden)


def test_an_exchanged_salt_key_is_noticed_where_it_is_pinned_and_nothing_secret_sent(tpm: Tpm):
    with tpm.create_primary(templates.RSA_SRK) as srk:
        name = srk.name
        srk.pin(name)
        assert srk.protection is Protection.INTERPOSER
    thief = Thief()
    between = Between(tpm._transport, thief)
    with Tpm(between).create_primary(templates.RSA_SRK) as srk:
        with pytest.raises(SessionError, match="is not the one that was there before"):
            srk.pin(name)
        assert srk.protection is Protection.LISTENER
    assert between.codes == [TPM_CC.CreatePrimary, TPM_CC.FlushContext]


def test_an_exchanged_salt_key_that_is_not_pinned_gives_them_the_pin_and_we_say_so(tpm: Tpm):
    thief = Thief()
    between = Between(tpm._transport, thief)
    with Tpm(between).create_primary(templates.RSA_SRK) as srk:
        assert srk.protection is Protection.LISTENER
        assert "but not from whoever changes what is sent" in srk.protection.value
        with pytest.raises(TransportError):
            srk.create(NO_DA, PIN)
    assert PIN in thief.stolen
    assert PIN not in b"".join(between.sent)


def test_the_children_of_a_pinned_key_are_protected_as_it_is(tpm: Tpm):
    srk = tpm.persistent(SRK)
    made = srk.create(NO_DA, PIN)
    with srk.load(made.outPrivate, made.outPublic, PIN) as key:
        assert key.protection is Protection.LISTENER
        srk.pin(srk.name)
        assert key.protection is Protection.INTERPOSER
        assert key.sign(bytes(32), ECDSA).sigAlg == TPM_ALG.ECDSA


def test_an_exchanged_public_area_of_a_persistent_key_is_noticed_where_it_is_pinned(tpm: Tpm):
    name = tpm.persistent(SRK).name
    other = crypto.ecc_point(crypto.ec.generate_private_key(crypto.ec.SECP256R1()).public_key())

    def meddle(send: Send, command: bytes) -> bytes:
        frame = unpack_response(send(command), TPM_CC.ReadPublic)
        public = frame.response.outPublic.replace(unique=other)
        response = frame.response.replace(outPublic=public, name=object_name(public))
        return type(frame)(frame.tag, frame.code, response).pack()

    forged = Tpm(Between(tpm._transport, only_with(TPM_CC.ReadPublic, meddle)))
    srk = forged.persistent(SRK)
    with pytest.raises(SessionError):
        srk.pin(name)
    # Unpinned it cannot even be talked to, unless they translate everything.
    with pytest.raises(Error):
        srk.create(NO_DA, PIN)


@pytest.mark.parametrize("turn", ["name", "outPublic"], ids=["another Name", "another public area"])
def test_a_bare_handle_is_looked_up_and_its_name_has_to_fit(tpm: Tpm, turn: str):
    def other(value: Any) -> Any:
        if isinstance(value, bytes):
            return value[:-1] + bytes([value[-1] ^ 1])
        return value.replace(objectAttributes=value.objectAttributes ^ TPMA_OBJECT.noDA)

    forged = Tpm(Between(tpm._transport, forging(TPM_CC.ReadPublic, **{turn: other})))
    with pytest.raises(DecodeError, match="the Name from the TPM"):
        forged.entity(SRK)


def test_so_has_that_of_an_index(tpm: Tpm):
    public = TPMS_NV_PUBLIC(
        nvIndex=0x01800001, nameAlg=TPM_ALG.SHA256, attributes=0x00040004, dataSize=8
    )
    name = b"\0\x0b" + hashlib.sha256(public.pack()).digest()
    answer = NV_ReadPublic.RESPONSE(nvPublic=public, nvName=name)
    octets = b"\x80\x01\0\0\0\0\0\0\0\0" + answer.pack()
    meddle = only_with(TPM_CC.NV_ReadPublic, lambda send, command: resized(octets))
    assert Tpm(Between(tpm._transport, meddle)).entity(0x01800001).name == name
    wrong = answer.replace(nvName=bytes(34))
    octets = b"\x80\x01\0\0\0\0\0\0\0\0" + wrong.pack()
    with pytest.raises(DecodeError, match="the Name from the TPM"):
        Tpm(Between(tpm._transport, meddle)).entity(0x01800001)


# --- nothing stays in the TPM -----------------------------------------------------------------


def test_after_a_wrong_hmac_closing_finds_nothing_to_flush(furnished: Swtpm):
    meddle = only_with(TPM_CC.Create, changing(lambda answer: turning(len(answer) - 1, 0)(answer)))
    between = Between(connect(furnished.conf), meddle)
    with Tpm(between) as tpm:
        srk = tpm.persistent(SRK)
        with pytest.raises(SessionError):
            srk.create(NO_DA, PIN)
    assert left_loaded(furnished) == ()
