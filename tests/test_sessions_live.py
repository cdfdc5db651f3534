"""Sessions of every kind on a live TPM: it takes what we send, and we take what it answers."""

import hashlib
import hmac as other_hmac
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from conftest import LOADED_SESSIONS, Swtpm, handles, start_swtpm
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tpmwire import templates
from tpmwire.attributes import TPMA_NV, TPMA_OBJECT, TPMA_SESSION
from tpmwire.authorization import Entity, PasswordSession
from tpmwire.client import Tpm
from tpmwire.commands import (
    HMAC,
    Clear,
    Command,
    ContextSave,
    Create,
    EventSequenceComplete,
    EvictControl,
    FlushContext,
    GetRandom,
    GetSessionAuditDigest,
    HashSequenceStart,
    HierarchyChangeAuth,
    HMAC_Start,
    NV_ChangeAuth,
    NV_DefineSpace,
    NV_Read,
    NV_ReadLock,
    NV_UndefineSpace,
    NV_UndefineSpaceSpecial,
    NV_Write,
    NV_WriteLock,
    ObjectChangeAuth,
    PCR_Extend,
    PCR_SetAuthValue,
    PolicyAuthValue,
    PolicyCommandCode,
    PolicyGetDigest,
    PolicyPassword,
    PolicyRestart,
    PolicySecret,
    SequenceComplete,
    SequenceUpdate,
    SetPrimaryPolicy,
    TestParms,
)
from tpmwire.constants import TPM_ALG, TPM_CC, TPM_RC, TPM_RH, TPM_SE
from tpmwire.errors import EncodeError, SessionError, TpmError
from tpmwire.exchange import Exchange
from tpmwire.objects import LoadedObject
from tpmwire.session import HmacSession, HmacUse
from tpmwire.transport import Transport, connect
from tpmwire.types import (
    TPMS_ATTEST,
    TPMS_KEYEDHASH_PARMS,
    TPMS_NV_PUBLIC,
    TPMS_SCHEME_HASH,
    TPMS_SYMCIPHER_PARMS,
    TPMT_HA,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_PUBLIC,
    TPMT_PUBLIC_PARMS,
    TPMT_SENSITIVE,
    TPMT_SYM_DEF,
    TPMT_SYM_DEF_OBJECT,
)

SIZES = {TPM_ALG.SHA1: 20, TPM_ALG.SHA256: 32, TPM_ALG.SHA384: 48, TPM_ALG.SHA512: 64}
NULL = TPMT_SYM_DEF(algorithm=TPM_ALG.NULL)
KEY = b"the HMAC key, known to the test"
INDEX = 0x01800100
NV_AUTH = b"nv auth"
RSA_SALT, ECC_SALT = 0x81800001, 0x81800002


def block_cipher(alg: TPM_ALG, bits: int) -> TPMT_SYM_DEF:
    return TPMT_SYM_DEF(algorithm=alg, keyBits=bits, mode=TPM_ALG.CFB)


def xor_with(alg: TPM_ALG) -> TPMT_SYM_DEF:
    return TPMT_SYM_DEF(algorithm=TPM_ALG.XOR, keyBits=alg)


SYMMETRIC = [
    block_cipher(TPM_ALG.AES, 128),
    block_cipher(TPM_ALG.AES, 192),
    block_cipher(TPM_ALG.AES, 256),
    block_cipher(TPM_ALG.CAMELLIA, 128),
    block_cipher(TPM_ALG.CAMELLIA, 256),
    xor_with(TPM_ALG.SHA1),
    xor_with(TPM_ALG.SHA256),
    xor_with(TPM_ALG.SHA512),
    NULL,
]


class Recording:
    """A transport that keeps what goes through it."""

    def __init__(self, inner: Transport) -> None:
        self._inner, self.keeps_objects = inner, inner.keeps_objects
        self.exchanges: list[tuple[bytes, bytes]] = []

    def send(self, command: bytes) -> bytes:
        answer = self._inner.send(command)
        self.exchanges.append((command, answer))
        return answer

    def close(self) -> None:
        self._inner.close()


# --- what the TPM has for these tests ---------------------------------------------------------


@pytest.fixture(scope="module")
def furnished(swtpm: Swtpm) -> Swtpm:
    """A TPM with persistent salt keys, and an index with an authorization value."""
    platform = Entity.permanent(TPM_RH.PLATFORM)
    with Tpm(connect(swtpm.conf)) as tpm:
        for template, handle in ((templates.RSA_SRK, RSA_SALT), (templates.ECC_SRK, ECC_SALT)):
            with tpm.create_primary(template, TPM_RH.PLATFORM) as key:
                keep = EvictControl(auth=platform, objectHandle=key, persistentHandle=handle)
                tpm.execute(keep)
        define(tpm, INDEX, b"")
        data = NV_Write(authHandle=nv(tpm), nvIndex=INDEX, data=bytes(8), offset=0)
        tpm.execute(data, PasswordSession(NV_AUTH))
    return swtpm


@pytest.fixture
def tpm(furnished: Swtpm, tpm: Tpm) -> Tpm:
    return tpm


OWN_NV = TPMA_NV.AUTHWRITE | TPMA_NV.AUTHREAD | TPMA_NV.NO_DA | TPMA_NV.PLATFORMCREATE


def define(tpm: Tpm, index: int, policy: bytes, attributes: TPMA_NV = OWN_NV) -> None:
    public = TPMS_NV_PUBLIC(
        nvIndex=index,
        nameAlg=TPM_ALG.SHA256,
        attributes=attributes,
        authPolicy=policy,
        dataSize=8,
    )
    tpm.execute(NV_DefineSpace(authHandle=TPM_RH.PLATFORM, auth=NV_AUTH, publicInfo=public))


def nv(tpm: Tpm, index: int = INDEX, auth: bytes = NV_AUTH) -> Entity:
    return Entity.of(tpm.entity(index), auth)


def keyed(auth: bytes, alg: TPM_ALG, policy: bytes) -> tuple[TPMT_PUBLIC, TPMT_SENSITIVE]:
    """An HMAC key that the test knows, with any authorization value and policy."""
    seed = bytes(32)
    scheme = TPMT_KEYEDHASH_SCHEME(
        scheme=TPM_ALG.HMAC, details=TPMS_SCHEME_HASH(hashAlg=TPM_ALG.SHA256)
    )
    public = TPMT_PUBLIC(
        type=TPM_ALG.KEYEDHASH,
        nameAlg=alg,
        objectAttributes=TPMA_OBJECT.userWithAuth | TPMA_OBJECT.noDA | TPMA_OBJECT.sign,
        authPolicy=policy,
        parameters=TPMS_KEYEDHASH_PARMS(scheme=scheme),
        unique=hashlib.new(alg.name, seed[: SIZES[alg]].ljust(SIZES[alg], b"\0") + KEY).digest(),
    )
    sensitive = TPMT_SENSITIVE(
        sensitiveType=TPM_ALG.KEYEDHASH,
        authValue=auth,
        seedValue=bytes(SIZES[alg]),
        sensitive=KEY,
    )
    return public, sensitive


def policy_digest(alg: TPM_ALG, *steps: bytes) -> bytes:
    """The digest of policy commands, each told by its code and what is hashed with it."""
    digest = bytes(SIZES[alg])
    for step in steps:
        digest = hashlib.new(alg.name, digest + step).digest()
    return digest


AUTH_VALUE = TPM_CC.PolicyAuthValue.to_bytes(4, "big")


def command_code(code: TPM_CC) -> bytes:
    return TPM_CC.PolicyCommandCode.to_bytes(4, "big") + code.to_bytes(4, "big")


# --- kinds of sessions ------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """How a session is started, and by what it authorizes."""

    salt: int | None = None
    bind: str = ""
    proof: str = "HMAC"

    @property
    def is_policy(self) -> bool:
        return self.proof != "HMAC"

    def steps(self, code: TPM_CC) -> list[bytes]:
        """What the policy is made of, as hashed."""
        first = [AUTH_VALUE] if self.proof in ("AuthValue", "Password") else []
        return [*first, command_code(code)] if self.is_policy else []

    def satisfy(self, tpm: Tpm, session: HmacSession, code: TPM_CC) -> None:
        """Assert what the policy wants."""
        if not self.is_policy:
            return
        if self.proof == "AuthValue":
            tpm.execute(PolicyAuthValue(policySession=session.handle))
            session.auth_value = True
        if self.proof == "Password":
            tpm.execute(PolicyPassword(policySession=session.handle))
            session.gives_password = True
        tpm.execute(PolicyCommandCode(policySession=session.handle, code=code))

    @contextmanager
    def session(self, tpm: Tpm, entity: Any, **options: Any) -> Iterator[HmacSession]:
        salt_key = tpm.persistent(self.salt) if self.salt else None
        bound = {"": None, "same": entity, "another": nv(tpm)}[self.bind]
        kind = TPM_SE.POLICY if self.is_policy else TPM_SE.HMAC
        with tpm.session(kind, salt_key=salt_key, bind=bound, **options) as session:
            yield session


PROOFS = ["HMAC", "AuthValue", "Password", "code alone"]
KINDS = st.builds(
    Kind,
    salt=st.sampled_from([None, RSA_SALT, ECC_SALT]),
    bind=st.sampled_from(["", "same", "another"]),
    proof=st.sampled_from(PROOFS),
)
EACH_KIND = [
    Kind(salt, bind, proof)
    for salt in (None, ECC_SALT)
    for bind in ("", "same", "another")
    for proof in PROOFS
]
each_kind = pytest.mark.parametrize("kind", EACH_KIND, ids=str)

ALGS = st.sampled_from([*SIZES])
AUTHS = st.one_of(
    st.just(b""),
    st.binary(min_size=1, max_size=20),
    st.binary(min_size=1, max_size=10).map(lambda auth: auth + b"\0\0"),
    st.binary(min_size=1, max_size=5).map(lambda auth: auth + b"\0\0" + auth),
    st.sampled_from([b"\0", bytes(16), b"\0\0a"]),
    st.just(b"\xa5" * 64),
    st.just(b"\0" * 63 + b"\1"),
)


def own_hmac(data: bytes) -> bytes:
    return other_hmac.digest(KEY, data, "sha256")


def supported(tpm: Tpm) -> list[TPMT_SYM_DEF]:
    """The ciphers for sessions that the TPM has."""
    return [each for each in SYMMETRIC if has_cipher(tpm, each)]


def has_cipher(tpm: Tpm, symmetric: TPMT_SYM_DEF) -> bool:
    if symmetric.algorithm in (TPM_ALG.XOR, TPM_ALG.NULL):
        return True
    sym = TPMT_SYM_DEF_OBJECT(
        algorithm=symmetric.algorithm, keyBits=symmetric.keyBits, mode=TPM_ALG.CFB
    )
    parms = TPMT_PUBLIC_PARMS(type=TPM_ALG.SYMCIPHER, parameters=TPMS_SYMCIPHER_PARMS(sym=sym))
    try:
        tpm.execute(TestParms(parameters=parms))
    except TpmError:
        return False
    return True


def test_any_session_serves_at_any_place(tpm: Tpm):
    ciphers, seen = supported(tpm), set()
    assert {each.algorithm for each in ciphers} >= {TPM_ALG.AES, TPM_ALG.XOR}
    recording = Recording(tpm._transport)
    tpm = Tpm(recording)

    @settings(max_examples=250)
    @given(
        kind=KINDS,
        alg=ALGS,
        symmetric=st.sampled_from(ciphers),
        auth=AUTHS,
        decrypt=st.booleans(),
        encrypt=st.booleans(),
        place=st.integers(0, 2),
        last=st.booleans(),
        data=st.binary(max_size=100).map(b"plain data ".__add__),
    )
    def check(
        kind: Kind,
        alg: TPM_ALG,
        symmetric: TPMT_SYM_DEF,
        auth: bytes,
        decrypt: bool,
        encrypt: bool,
        place: int,
        last: bool,
        data: bytes,
    ) -> None:
        assume(place == 0 or not kind.is_policy)
        auth = auth[: SIZES[alg]]
        policy = policy_digest(alg, *kind.steps(TPM_CC.HMAC)) if kind.is_policy else b""
        with ExitStack() as stack:
            key = stack.enter_context(tpm.load_external(*keyed(auth, alg, policy)))
            key.auth = auth
            session = stack.enter_context(kind.session(tpm, key, hash_alg=alg, symmetric=symmetric))
            can_hide = session.confidential and symmetric != NULL
            if not can_hide:
                decrypt = encrypt = False
            kind.satisfy(tpm, session, TPM_CC.HMAC)
            hides = decrypt or encrypt
            flags = {"decrypt": decrypt, "encrypt": encrypt, "last": last}
            flags["audit"] = place > 0 and not hides
            others = beside(tpm, stack, place, key, audit=hides)
            hidden = decrypt or (place == 2 and not hides)
            command = HMAC(handle=key, buffer=data)
            for _ in range(1 if last or kind.is_policy else 2):
                use = session.use(**flags)
                assert tpm.execute(command, *others, use).outHMAC == own_hmac(data)
                sent, received = recording.exchanges[-1]
                assert (data in sent) != hidden
                assert (own_hmac(data) in received) != encrypt
            assert session.ended == last
            assert (session.handle in handles(tpm, LOADED_SESSIONS)) != last
            seen.add((kind.proof, place, decrypt, encrypt))

    check()
    assert len(seen) > 12


def beside(tpm: Tpm, stack: ExitStack, place: int, key: LoadedObject, *, audit: bool) -> list[Any]:
    """What stands before a session: what authorizes the key, and one that audits or hides."""
    if not place:
        return []
    if place == 1:
        return [PasswordSession(key.auth)]
    salt_key = tpm.persistent(ECC_SALT)
    first, second = (stack.enter_context(tpm.session(salt_key=salt_key)) for _ in range(2))
    return [first.use(), second.use(audit=audit, decrypt=not audit)]


# --- what the arithmetic of sessions rests on -------------------------------------------------


@contextmanager
def loaded(tpm: Tpm, auth: bytes = b"", policy: bytes = b"") -> Iterator[LoadedObject]:
    """The HMAC key of these tests; its authorization value is known to the object."""
    with tpm.load_external(*keyed(auth, TPM_ALG.SHA256, policy)) as key:
        yield key


@contextmanager
def three(tpm: Tpm) -> Iterator[list[HmacSession]]:
    """Three salted sessions, as many as swtpm holds."""
    salt_key = tpm.persistent(ECC_SALT)
    with ExitStack() as stack:
        yield [stack.enter_context(tpm.session(salt_key=salt_key)) for _ in range(3)]


@contextmanager
def changed(tpm: Tpm, hierarchy: int, auth: bytes) -> Iterator[Entity]:
    """A hierarchy with an authorization value, which is taken back."""
    entity = Entity.permanent(hierarchy)
    tpm.execute(HierarchyChangeAuth(authHandle=entity, newAuth=auth))
    now = Entity.permanent(hierarchy, auth)
    yield now
    tpm.execute(HierarchyChangeAuth(authHandle=hierarchy, newAuth=b""), PasswordSession(auth))


def test_nonces_of_encrypting_sessions_are_not_vouched_for_where_nothing_is_authorized(
    tpm: Tpm, monkeypatch: pytest.MonkeyPatch
):
    with three(tpm) as (audit, encrypt, _):
        uses = [audit.use(audit=True), encrypt.use(encrypt=True)]
        assert len(tpm.execute(GetRandom(bytesRequested=8), *uses).randomBytes) == 8
        vouched = encrypt.nonce_tpm
        monkeypatch.setattr(
            Exchange, "others", lambda self, use: vouched if use is self._uses[0] else b""
        )
        with pytest.raises(TpmError) as caught:
            tpm.execute(GetRandom(bytesRequested=8), *uses)
        assert caught.value.raw == 0x9A2


def test_nonces_of_encrypting_sessions_are_vouched_for_by_the_first_that_authorizes(
    tpm: Tpm, monkeypatch: pytest.MonkeyPatch
):
    with changed(tpm, TPM_RH.ENDORSEMENT, b"old") as entity, three(tpm) as (first, decrypt, _):
        command = HierarchyChangeAuth(authHandle=entity, newAuth=b"old")
        tpm.execute(command, first.use(), decrypt.use(decrypt=True))
        monkeypatch.setattr(Exchange, "others", lambda self, use: b"")
        with pytest.raises(TpmError) as caught:
            tpm.execute(command, first.use(), decrypt.use(decrypt=True))
        assert caught.value.raw == 0x9A2
        monkeypatch.undo()


def test_the_nonce_of_the_session_that_decrypts_comes_before_that_of_the_one_that_encrypts(
    tpm: Tpm,
):
    with loaded(tpm, b"pin") as key, three(tpm) as (first, one, other):
        command = HMAC(handle=key, buffer=b"data")
        for uses in (
            [one.use(decrypt=True), other.use(encrypt=True)],
            [one.use(encrypt=True), other.use(decrypt=True)],
        ):
            assert tpm.execute(command, first.use(), *uses).outHMAC == own_hmac(b"data")


def test_a_session_that_decrypts_and_encrypts_is_vouched_for_once_and_the_first_not_at_all(
    tpm: Tpm,
):
    with loaded(tpm, b"pin") as key, three(tpm) as (first, other, third):
        command = HMAC(handle=key, buffer=b"data")
        for uses in (
            [first.use(), other.use(decrypt=True, encrypt=True)],
            [first.use(decrypt=True, encrypt=True)],
            [first.use(decrypt=True), other.use(encrypt=True)],
            [first.use(encrypt=True), other.use(decrypt=True), third.use(audit=True)],
        ):
            assert tpm.execute(command, *uses).outHMAC == own_hmac(b"data")


def test_a_session_bound_to_an_entity_counts_as_unbound_once_that_has_another_authorization(
    tpm: Tpm,
):
    values = [b"old", b"new", b"newer", b"old"]
    with (
        changed(tpm, TPM_RH.ENDORSEMENT, b"old") as entity,
        tpm.session(bind=entity) as session,
    ):
        for old, new in pairwise(values):
            now = Entity.permanent(TPM_RH.ENDORSEMENT, old)
            assert session.takes_auth(now) == (old != b"old")
            tpm.execute(HierarchyChangeAuth(authHandle=now, newAuth=new), session.use())


@pytest.mark.parametrize("auth", [b"a", b"a\0\0", b"\0a", b"a\0b\0", b"\0", b"\0\0\0"])
def test_only_zeros_at_the_end_of_an_authorization_value_are_left_out(tpm: Tpm, auth: bytes):
    with loaded(tpm, auth) as key:
        for bind in (None, key, Entity.of(key, auth + b"\0")):
            with tpm.session(bind=bind) as session:
                for given_auth in (None, auth, auth + b"\0\0", auth.rstrip(b"\0")):
                    use = session.use(given_auth)
                    done = tpm.execute(HMAC(handle=key, buffer=b"data"), use)
                    assert done.outHMAC == own_hmac(b"data")


def test_a_wrong_authorization_value_in_a_session_is_refused(tpm: Tpm):
    with loaded(tpm, b"pin") as key, tpm.session() as session:
        for wrong in (b"", b"pim", b"\0pin", b"pin\0\1"):
            with pytest.raises(TpmError) as caught:
                tpm.execute(HMAC(handle=key, buffer=b"data"), session.use(wrong))
            assert caught.value.raw == 0x9A2


def test_the_nonce_of_the_tpm_rolls_also_where_there_is_no_hmac(tpm: Tpm):
    recording = Recording(tpm._transport)
    tpm = Tpm(recording)
    with loaded(tpm) as key, tpm.session() as session:
        nonces = {session.nonce_tpm}
        for _ in range(3):
            tpm.execute(HMAC(handle=key, buffer=b"data"), session.use())
            # nonce, attributes, and an HMAC of no octets
            assert recording.exchanges[-1][1].endswith(session.nonce_tpm + b"\1\0\0")
            nonces.add(session.nonce_tpm)
        assert len(nonces) == 4


def test_the_answer_to_a_password_in_a_policy_has_a_nonce_and_no_hmac(tpm: Tpm):
    recording = Recording(tpm._transport)
    tpm = Tpm(recording)
    policy = policy_digest(TPM_ALG.SHA256, AUTH_VALUE)
    with loaded(tpm, b"the password", policy) as key, tpm.session(TPM_SE.POLICY) as session:
        before = session.nonce_tpm
        tpm.execute(PolicyPassword(policySession=session.handle))
        session.gives_password = True
        assert tpm.execute(HMAC(handle=key, buffer=b"x"), session.use()).outHMAC == own_hmac(b"x")
        sent, received = recording.exchanges[-1]
        assert b"the password" in sent
        assert received.endswith(b"\0\x20" + session.nonce_tpm + b"\1\0\0")
        assert session.nonce_tpm != before


@pytest.mark.parametrize("flag", ["decrypt", "encrypt"])
def test_a_session_of_which_any_listener_knows_the_key_does_not_encrypt(tpm: Tpm, flag: str):
    with loaded(tpm, bytes(4)) as key:
        for bind in (None, key):
            with tpm.session(bind=bind) as session:
                assert not session.confidential
                with pytest.raises(EncodeError, match="neither salted nor bound"):
                    session.use(**{flag: True})


def test_a_refusal_rolls_no_nonce_and_the_session_goes_on(tpm: Tpm):
    index = nv(tpm)
    with tpm.session(salt_key=tpm.persistent(ECC_SALT)) as session:
        read = NV_Read(authHandle=index, nvIndex=index, size=8, offset=0)
        for _ in range(2):
            before = session.nonce_tpm
            with pytest.raises(TpmError) as caught:
                tpm.execute(read.replace(offset=8), session.use(encrypt=True, last=True))
            assert caught.value.raw == 0x146
            assert session.nonce_tpm == before
            assert not session.ended
            assert tpm.execute(read, session.use(encrypt=True)).data == bytes(8)


def test_a_session_that_has_ended_is_not_used_again(tpm: Tpm):
    with loaded(tpm) as key, tpm.session() as session:
        tpm.execute(HMAC(handle=key, buffer=b"data"), session.use(last=True))
        assert session.handle not in handles(tpm, LOADED_SESSIONS)
        with pytest.raises(SessionError, match="has ended"):
            tpm.execute(HMAC(handle=key, buffer=b"data"), session.use())


def test_a_fourth_session_finds_no_room(tpm: Tpm):
    with three(tpm):
        with pytest.raises(TpmError) as caught:
            tpm.start_session()
        assert caught.value.raw == 0x903


@pytest.mark.parametrize("name", ["ContextSave", "FlushContext"])
def test_what_takes_no_sessions_refuses_them(tpm: Tpm, name: str):
    with loaded(tpm) as key, tpm.session() as session:
        command: Command[Any] = {
            "ContextSave": ContextSave(saveHandle=key),
            "FlushContext": FlushContext(flushHandle=key),
        }[name]
        with pytest.raises(TpmError) as caught:
            tpm.execute(command, session.use(audit=True))
        assert caught.value.code == TPM_RC.AUTH_CONTEXT
        # It is still there, so it has to be flushed at the end.
        assert tpm._loaded >= {key.handle}


# --- commands that change what they are authorized by -----------------------------------------


def use_of(session: HmacSession, **flags: bool) -> HmacUse:
    """Hide the new value where the session can."""
    return session.use(decrypt=session.confidential, **flags)


@each_kind
def test_the_authorization_of_a_hierarchy_is_changed_in_each_kind_of_session(tpm: Tpm, kind: Kind):
    code = TPM_CC.HierarchyChangeAuth
    with changed(tpm, TPM_RH.ENDORSEMENT, b"old") as entity:
        policy = policy_digest(TPM_ALG.SHA256, *kind.steps(code)) if kind.is_policy else b""
        alg = TPM_ALG.SHA256 if policy else TPM_ALG.NULL
        own = PasswordSession(b"old")
        tpm.execute(SetPrimaryPolicy(authHandle=entity, authPolicy=policy, hashAlg=alg), own)
        with kind.session(tpm, entity) as session:
            for old, new in ((b"old", b"new, and longer\0\0"), (b"new, and longer", b"old")):
                kind.satisfy(tpm, session, code)
                now = Entity.permanent(TPM_RH.ENDORSEMENT, old)
                tpm.execute(HierarchyChangeAuth(authHandle=now, newAuth=new), use_of(session))
                if kind.is_policy:
                    tpm.execute(PolicyRestart(sessionHandle=session.handle))
        empty = SetPrimaryPolicy(authHandle=entity, authPolicy=b"", hashAlg=TPM_ALG.NULL)
        tpm.execute(empty, own)


def test_a_new_value_counts_also_where_the_old_one_was_given_with_the_session(tpm: Tpm):
    with changed(tpm, TPM_RH.ENDORSEMENT, b"old"), tpm.session() as session:
        command = HierarchyChangeAuth(authHandle=TPM_RH.ENDORSEMENT, newAuth=b"new")
        tpm.execute(command, session.use(b"old"))
        tpm.execute(command.replace(newAuth=b"old"), session.use(b"new"))


NV_POLICY_CODE = TPM_CC.NV_ChangeAuth


@pytest.mark.parametrize("kind", [k for k in EACH_KIND if k.is_policy], ids=str)
def test_the_authorization_of_an_index_is_changed_in_each_kind_of_policy_session(
    tpm: Tpm, kind: Kind
):
    index = INDEX + 1
    define(tpm, index, policy_digest(TPM_ALG.SHA256, *kind.steps(TPM_CC.NV_ChangeAuth)))
    try:
        entity = nv(tpm, index)
        with kind.session(tpm, entity) as session:
            kind.satisfy(tpm, session, TPM_CC.NV_ChangeAuth)
            tpm.execute(NV_ChangeAuth(nvIndex=entity, newAuth=b"new"), use_of(session))
        renewed = Entity.of(entity, b"new")
        with tpm.session() as session:
            write = NV_Write(authHandle=renewed, nvIndex=renewed, data=b"x", offset=0)
            tpm.execute(write, session.use())
    finally:
        tpm.execute(NV_UndefineSpace(authHandle=TPM_RH.PLATFORM, nvIndex=index))


@pytest.mark.parametrize("kind", [k for k in EACH_KIND if k.is_policy], ids=str)
@pytest.mark.parametrize("platform", ["password", "session"])
def test_an_index_is_removed_by_its_policy_in_each_kind_of_session(
    tpm: Tpm, kind: Kind, platform: str
):
    code, index = TPM_CC.NV_UndefineSpaceSpecial, INDEX + 2
    policy = policy_digest(TPM_ALG.SHA256, *kind.steps(code))
    define(tpm, index, policy, OWN_NV | TPMA_NV.POLICY_DELETE)
    entity = nv(tpm, index)
    command = NV_UndefineSpaceSpecial(nvIndex=entity, platform=TPM_RH.PLATFORM)
    with kind.session(tpm, entity) as session, tpm.session() as second:
        kind.satisfy(tpm, session, code)
        others = [second.use()] if platform == "session" else []
        tpm.execute(command, session.use(), *others)
    with pytest.raises(TpmError):
        tpm.entity(index)


@pytest.mark.parametrize("kind", [k for k in EACH_KIND if not k.is_policy], ids=str)
def test_a_pin_is_changed_in_each_kind_of_session_and_the_loaded_key_keeps_the_old_one(
    tpm: Tpm, kind: Kind
):
    template = templates.without_lockout(templates.ECC_SIGN)
    srk = tpm.persistent(ECC_SALT)
    made = srk.create(template, b"old")
    with srk.load(made.outPrivate, made.outPublic, b"old") as key:
        command = ObjectChangeAuth(objectHandle=key, parentHandle=srk, newAuth=b"new")
        with kind.session(tpm, key) as session:
            hidden = session.confidential
            for _ in range(2):
                use = session.use(decrypt=hidden, encrypt=hidden)
                private = tpm.execute(command, use).outPrivate
    with srk.load(private, made.outPublic, b"new") as key:
        assert len(srk.execute(Create(parentHandle=srk, inPublic=template)).outPrivate) > 0
        assert key.change_auth(srk, b"newer")


def test_the_authorization_of_a_pcr_is_changed_in_a_session(tpm: Tpm):
    # The TPM sets the authorization values of its PCRs back when it starts; here they are.
    pcr = Entity.permanent(20)
    with tpm.session() as session:
        tpm.execute(PCR_SetAuthValue(pcrHandle=pcr, auth=b"pcr auth"), session.use())
        now = Entity.permanent(20, b"pcr auth")
        tpm.execute(PCR_SetAuthValue(pcrHandle=now, auth=b""), session.use())


@pytest.fixture
def another_tpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tpm]:
    """A TPM that can be cleared."""
    started = start_swtpm(tmp_path_factory.mktemp("swtpm"))
    with Tpm(connect(started.conf)) as tpm:
        yield tpm
    started.process.kill()
    started.process.wait()


@pytest.mark.parametrize("by", [TPM_RH.LOCKOUT, TPM_RH.PLATFORM], ids=lambda by: by.name)
@pytest.mark.parametrize("bound", [False, True], ids=["unbound", "bound"])
def test_after_clear_the_lockout_has_an_empty_authorization_and_the_platform_its_own(
    another_tpm: Tpm, by: TPM_RH, bound: bool
):
    tpm, now = another_tpm, Entity.permanent(by, b"auth")
    tpm.execute(HierarchyChangeAuth(authHandle=by, newAuth=b"auth"))
    with tpm.session(bind=now if bound else None) as session:
        tpm.execute(Clear(authHandle=now), session.use())
        left = Entity.permanent(by, b"auth" if by == TPM_RH.PLATFORM else b"")
        tpm.execute(HierarchyChangeAuth(authHandle=left, newAuth=b"new"), session.use())
        tpm.execute(Clear(authHandle=Entity.permanent(by, b"new")), session.use())


# --- Names ------------------------------------------------------------------------------------


def test_the_name_of_an_index_changes_with_the_first_write_and_with_each_lock(tpm: Tpm):
    index = INDEX + 3
    locks = TPMA_NV.WRITE_STCLEAR | TPMA_NV.READ_STCLEAR
    define(tpm, index, b"", OWN_NV | locks)
    names = []
    try:
        with tpm.session(salt_key=tpm.persistent(ECC_SALT)) as session:
            for make in (
                lambda e: NV_Write(authHandle=e, nvIndex=e, data=bytes(8), offset=0),
                lambda e: NV_Read(authHandle=e, nvIndex=e, size=8, offset=0),
                lambda e: NV_WriteLock(authHandle=e, nvIndex=e),
                lambda e: NV_ReadLock(authHandle=e, nvIndex=e),
            ):
                entity = nv(tpm, index)
                names.append(entity.name)
                tpm.execute(make(entity), session.use())
            stale = Entity(index, names[0], NV_AUTH)
            with pytest.raises(TpmError) as caught:
                tpm.execute(NV_WriteLock(authHandle=stale, nvIndex=stale), session.use())
            assert caught.value.raw == 0x9A2
    finally:
        tpm.execute(NV_UndefineSpace(authHandle=TPM_RH.PLATFORM, nvIndex=index))
    assert names[1] == names[2]
    assert len(set(names)) == 3


@pytest.mark.parametrize("auth", [b"", b"sequence"])
def test_a_sequence_has_an_empty_name(tpm: Tpm, auth: bytes):
    with loaded(tpm, b"pin") as key, tpm.session(salt_key=tpm.persistent(ECC_SALT)) as session:
        starts = (
            (HashSequenceStart(auth=auth, hashAlg=TPM_ALG.SHA256), []),
            (HMAC_Start(handle=key, auth=auth), [session.use(decrypt=True)]),
        )
        results = []
        for start, uses in starts:
            begun = tpm.execute(start, *uses)
            sequence = Entity.of(tpm.entity(begun.sequenceHandle), auth)
            assert sequence.name == b""
            update = SequenceUpdate(sequenceHandle=sequence, buffer=b"some ")
            tpm.execute(update, session.use(decrypt=True))
            complete = SequenceComplete(sequenceHandle=sequence, buffer=b"data")
            results.append(tpm.execute(complete, session.use(encrypt=True)).result)
        assert results == [hashlib.sha256(b"some data").digest(), own_hmac(b"some data")]
        assert tpm._loaded == {key.handle, session.handle}


def test_a_pcr_and_a_sequence_are_authorized_by_sessions_of_their_own(tpm: Tpm):
    event = tpm.execute(HashSequenceStart(auth=b"seq", hashAlg=TPM_ALG.NULL)).sequenceHandle
    with three(tpm) as (one, other, _):
        command = EventSequenceComplete(
            pcrHandle=Entity.permanent(16), sequenceHandle=Entity(event, b"", b"seq"), buffer=b"x"
        )
        done = tpm.execute(command, one.use(decrypt=True), other.use())
        digests = {each.hashAlg: each.digest for each in done.results}
        assert digests[TPM_ALG.SHA256] == hashlib.sha256(b"x").digest()
    assert tpm._loaded == set()


def test_pcrs_hierarchies_and_sessions_are_their_own_names(tpm: Tpm):
    with three(tpm) as (session, _, third):
        values = (TPMT_HA(hashAlg=TPM_ALG.SHA256, digest=bytes(32)),)
        tpm.execute(PCR_Extend(pcrHandle=16, digests=values), session.use())
        tpm.execute(FlushContext(flushHandle=third.handle))
        third.ended = True
        with tpm.session(TPM_SE.POLICY) as policy:
            secret = PolicySecret(authHandle=TPM_RH.OWNER, policySession=policy.handle)
            tpm.execute(secret, session.use())
            asked = PolicyGetDigest(policySession=policy.handle)
            digest = tpm.execute(asked, session.use(encrypt=True)).policyDigest
            secret_code = TPM_CC.PolicySecret.to_bytes(4, "big")
            once = hashlib.sha256(bytes(32) + secret_code + bytes.fromhex("40000001")).digest()
            assert digest == hashlib.sha256(once).digest()


# --- audit ------------------------------------------------------------------------------------


def audited(tpm: Tpm, session: HmacSession) -> tuple[bool, bytes]:
    """What the TPM says of an audit session: whether it is exclusive, and its digest."""
    asked = GetSessionAuditDigest(
        privacyAdminHandle=TPM_RH.ENDORSEMENT,
        signHandle=TPM_RH.NULL,
        sessionHandle=session.handle,
        qualifyingData=b"",
    )
    attested = TPMS_ATTEST.unpack(tpm.execute(asked).auditInfo).attested
    return attested.exclusiveSession, attested.sessionDigest


@settings(max_examples=25)
@given(
    alg=ALGS,
    salted=st.booleans(),
    steps=st.lists(st.sampled_from(["random", "hmac", "hidden", "refused", "reset"]), max_size=6),
)
def check_audit(tpm: Tpm, alg: TPM_ALG, salted: bool, steps: list[str]) -> None:
    salt_key = tpm.persistent(ECC_SALT)
    with (
        loaded(tpm, b"pin") as key,
        tpm.session(salt_key=salt_key if salted else None, hash_alg=alg) as session,
        tpm.session(salt_key=salt_key) as hiding,
    ):
        tpm.execute(GetRandom(bytesRequested=1), session.use(audit=True))
        for step in steps:
            audit = session.use(audit=True)
            if step == "random":
                tpm.execute(GetRandom(bytesRequested=4), audit)
            elif step == "hmac":
                tpm.execute(HMAC(handle=key, buffer=b"data"), PasswordSession(b"pin"), audit)
            elif step == "hidden":
                use = hiding.use(decrypt=True, encrypt=True)
                tpm.execute(HMAC(handle=key, buffer=b"data"), use, audit)
            elif step == "reset":
                use = session.use(audit=True, attributes=TPMA_SESSION.auditReset)
                tpm.execute(GetRandom(bytesRequested=4), use)
            else:
                with pytest.raises(TpmError):
                    tpm.execute(HMAC(handle=key, buffer=b"data"), PasswordSession(b"no"), audit)
        assert session.audit_digest == audited(tpm, session)[1]


def test_the_audit_digest_is_the_one_that_the_tpm_has(tpm: Tpm):
    check_audit(tpm)


def test_an_exclusive_session_is_one_until_another_command_comes_between(tpm: Tpm):
    exclusive = TPMA_SESSION.auditExclusive
    with tpm.session() as session:
        tpm.execute(GetRandom(bytesRequested=4), session.use(audit=True))
        for _ in range(2):
            use = session.use(audit=True, attributes=exclusive)
            tpm.execute(GetRandom(bytesRequested=4), use)
        assert audited(tpm, session) == (True, session.audit_digest)
        tpm.execute(GetRandom(bytesRequested=4))
        before = session.audit_digest
        with pytest.raises(TpmError) as caught:
            tpm.execute(GetRandom(bytesRequested=4), session.use(audit=True, attributes=exclusive))
        assert caught.value.code == TPM_RC.EXCLUSIVE
        assert audited(tpm, session) == (False, before)
        reset = session.use(audit=True, attributes=TPMA_SESSION.auditReset)
        tpm.execute(GetRandom(bytesRequested=4), reset)
        assert audited(tpm, session) == (True, session.audit_digest)
