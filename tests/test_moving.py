"""Objects on their way to another parent: what a TPM takes in, and what it refuses."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
from between import Between
from conftest import Swtpm, forgive, left_loaded, start_swtpm
from hypothesis import given, settings
from hypothesis import strategies as st
from softkeys import cipher, key_of
from ssh_fixtures import need
from test_duplication import DIGEST, check_signature, scheme_of

from tpmwire import policy, templates
from tpmwire.attributes import TPMA_OBJECT
from tpmwire.authorization import Entity
from tpmwire.client import Tpm
from tpmwire.commands import unpack_command
from tpmwire.constants import TPM_ALG, TPM_CC, TPM_ECC, TPM_RC, TPM_RH, TPM_SE
from tpmwire.crypto import PrivateKey
from tpmwire.duplication import wrap
from tpmwire.errors import EncodeError, PolicyError, TpmError
from tpmwire.names import object_name
from tpmwire.objects import LoadedObject
from tpmwire.policy import Policy
from tpmwire.signatures import verify
from tpmwire.softkeys import public_of, sensitive_of
from tpmwire.templates import AES_128_CFB, NO_CIPHER
from tpmwire.transport import connect
from tpmwire.types import TPMS_SCHEME_HASH, TPMT_PUBLIC, TPMT_SIG_SCHEME, TPMT_SYM_DEF_OBJECT
from tpmwire.wrapped import Wrapped

PARENTS = {"ecc": templates.ECC_SRK, "rsa": templates.RSA_SRK}
SIGNERS = ("P-256", "P-384", "P-521", "RSA-1024", "RSA-2048", "RSA-3072")
each_parent = pytest.mark.parametrize("template", PARENTS.values(), ids=PARENTS.keys())


def wrapped_for(
    parent: TPMT_PUBLIC | None,
    symmetric: TPMT_SYM_DEF_OBJECT = NO_CIPHER,
    kind: str = "P-256",
    auth: bytes = b"",
) -> tuple[PrivateKey, TPMT_PUBLIC, Wrapped]:
    """A key, its public area, and how it is wrapped."""
    key = key_of(kind)
    public = public_of(key)
    return key, public, wrap(sensitive_of(key, auth), public, parent, symmetric)


@each_parent
def test_a_key_that_is_taken_in_signs_as_it_did_outside(template: TPMT_PUBLIC, swtpm: Swtpm):
    with Tpm(connect(swtpm.conf)) as tpm, tpm.create_primary(template) as parent:

        @settings(max_examples=20)
        @given(st.sampled_from(SIGNERS), st.binary(max_size=32), st.sampled_from([0, 128, 256]))
        def takes_in(kind: str, pin: bytes, bits: int) -> None:
            symmetric = cipher(bits=bits) if bits else NO_CIPHER
            key, public, made = wrapped_for(parent.public, symmetric, kind, pin)
            private = parent.import_(public, made)
            with parent.load(private, public, pin) as loaded:
                check_signature(key, loaded.sign(DIGEST, scheme_of(key)))

        takes_in()
    assert left_loaded(swtpm) == ()


# --- what is refused ---------------------------------------------------------------------------


# What an ECC key makes of a strange seed does not verify, an RSA key cannot open it: swtpm calls a
# number that is greater than the modulus a failure, and goes on.
NOT_MINE = (TPM_RC.INTEGRITY, TPM_RC.VALUE, TPM_RC.FAILURE)


def refused(parent: LoadedObject, public: TPMT_PUBLIC, made: Wrapped) -> int:
    with pytest.raises(TpmError) as caught:
        parent.import_(public, made)
    return caught.value.code


def last_bit(octets: bytes) -> bytes:
    return octets[:-1] + bytes([octets[-1] ^ 1])


@each_parent
@pytest.mark.parametrize("symmetric", [NO_CIPHER, cipher()], ids=["outer", "both"])
def test_what_was_changed_on_the_way_is_not_taken_in(
    template: TPMT_PUBLIC, symmetric: TPMT_SYM_DEF_OBJECT, tpm: Tpm
):
    with tpm.create_primary(template) as parent:
        _, public, made = wrapped_for(parent.public, symmetric)
        changed = replace(made, duplicate=last_bit(made.duplicate))
        assert refused(parent, public, changed) == TPM_RC.INTEGRITY
        proof = replace(made, duplicate=made.duplicate[:2] + last_bit(made.duplicate[2:34]))
        proof = replace(proof, duplicate=proof.duplicate + made.duplicate[34:])
        assert refused(parent, public, proof) == TPM_RC.INTEGRITY
        other = templates.without_lockout(public)
        assert refused(parent, other, made) == TPM_RC.INTEGRITY
        assert parent.import_(public, made)


@each_parent
def test_what_was_wrapped_for_another_parent_is_not_taken_in(template: TPMT_PUBLIC, tpm: Tpm):
    with tpm.create_primary(template) as parent:
        _, public, made = wrapped_for(parent.public)
    with tpm.create_primary(template, TPM_RH.ENDORSEMENT) as other:
        assert refused(other, public, made) in NOT_MINE
        _, public, made = wrapped_for(other.public)
        assert other.import_(public, made)


def test_without_the_key_of_its_inner_wrapper_nothing_is_taken_in(tpm: Tpm):
    with tpm.create_primary(templates.ECC_SRK) as parent:
        _, public, made = wrapped_for(parent.public, cipher())
        wrong = replace(made, encryption_key=last_bit(made.encryption_key))
        assert refused(parent, public, wrong) in (TPM_RC.INTEGRITY, TPM_RC.SIZE)
        none = replace(made, encryption_key=b"", symmetric=NO_CIPHER)
        assert refused(parent, public, none) in (TPM_RC.INTEGRITY, TPM_RC.SIZE)


def test_what_has_no_wrapper_is_not_sent(tpm: Tpm):
    between = Between(tpm._transport)
    with Tpm(between).create_primary(templates.ECC_SRK) as parent:
        _, public, made = wrapped_for(None)
        with pytest.raises(EncodeError, match="no wrapper"):
            parent.import_(public, made)
    assert TPM_CC.Import not in between.codes


# --- what whoever listens gets to see ----------------------------------------------------------


def sent_import(between: Between) -> bytes:
    return next(
        sent
        for sent, code in zip(between.sent, between.codes, strict=True)
        if code == TPM_CC.Import
    )


@each_parent
@pytest.mark.parametrize("outer", [True, False], ids=["both", "inner"])
def test_the_key_of_an_inner_wrapper_travels_encrypted(
    outer: bool, template: TPMT_PUBLIC, tpm: Tpm
):
    between = Between(tpm._transport)
    with Tpm(between).create_primary(template) as parent:
        _, public, made = wrapped_for(parent.public if outer else None, cipher())
        assert parent.import_(public, made)
    assert made.encryption_key not in b"".join(between.sent)
    assert between.codes.count(TPM_CC.StartAuthSession) == 1
    frame = unpack_command(sent_import(between))
    assert frame.authorizations[0].sessionHandle >> 24 == 0x02


def test_without_an_inner_wrapper_no_session_is_wanted(tpm: Tpm):
    between = Between(tpm._transport)
    with Tpm(between).create_primary(templates.ECC_SRK) as parent:
        _, public, made = wrapped_for(parent.public)
        assert parent.import_(public, made)
    assert between.codes == [TPM_CC.CreatePrimary, TPM_CC.Import, TPM_CC.FlushContext]


# --- from TPM to TPM ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Swtpm]]:
    """Three TPMs that know nothing of each other."""
    need("swtpm")
    started = [start_swtpm(tmp_path_factory.mktemp("swtpm")) for _ in range(3)]
    yield started
    for each in started:
        each.process.kill()
        each.process.wait()


@pytest.fixture
def tpms(machines: list[Swtpm]) -> Iterator[list[Tpm]]:
    """The three of them, in which a test has to leave nothing loaded."""
    with ExitStack() as stack:
        yield [stack.enter_context(Tpm(connect(each.conf))) for each in machines]
    assert [left_loaded(each) for each in machines] == [()] * 3


FREE = TPMA_OBJECT.sign | TPMA_OBJECT.userWithAuth | TPMA_OBJECT.sensitiveDataOrigin
OWNER = policy.Secret(Entity.permanent(TPM_RH.OWNER))
DUPLICATE = policy.CommandCode(TPM_CC.Duplicate)
MADE = {
    "P-256": templates.ecc_sign(TPM_ECC.NIST_P256),
    "P-384": templates.ecc_sign(TPM_ECC.NIST_P384),
    "P-521": templates.ecc_sign(TPM_ECC.NIST_P521),
    "RSA-2048": templates.rsa_sign(2048),
}


def only_to(public: TPMT_PUBLIC) -> Policy:
    return Policy(policy.DuplicationSelect(object_name(public)))


def movable(kind: str, how: Policy, attributes: TPMA_OBJECT = FREE) -> TPMT_PUBLIC:
    """A template for a key that this policy lets go."""
    return MADE[kind].replace(objectAttributes=attributes, authPolicy=how.digest(TPM_ALG.SHA256))


def sent(
    tpm: Tpm,
    key: LoadedObject,
    to: TPMT_PUBLIC,
    how: Policy,
    symmetric: TPMT_SYM_DEF_OBJECT = AES_128_CFB,
) -> Wrapped:
    """Duplicate a key for a parent that is known by its public area only."""
    with (
        tpm.load_external(to) as new_parent,
        tpm.session(TPM_SE.POLICY, salt_key=key.salt_key) as session,
    ):
        for_this = (
            replace(step, objectName=key.name)
            if isinstance(step, policy.DuplicationSelect)
            else step
            for step in how.steps
        )
        Policy(*for_this).satisfy(tpm, session)
        return key.duplicate(new_parent, session, symmetric)


def signs(key: LoadedObject, public: TPMT_PUBLIC) -> None:
    """Let the key sign, and `verify` do so by the public area that the first TPM told."""
    alg = TPM_ALG.RSASSA if public.type == TPM_ALG.RSA else TPM_ALG.ECDSA
    scheme = TPMT_SIG_SCHEME(scheme=alg, details=TPMS_SCHEME_HASH(hashAlg=TPM_ALG.SHA256))
    verify(public, b"to be signed", key.sign(DIGEST, scheme))


def public_of_parent(tpm: Tpm, template: TPMT_PUBLIC) -> TPMT_PUBLIC:
    with tpm.create_primary(template) as parent:
        return parent.public


@pytest.mark.parametrize(
    "inner", [NO_CIPHER, AES_128_CFB, cipher(bits=256)], ids=["outer", "128", "256"]
)
@pytest.mark.parametrize("pin", [b"", b"1234"], ids=["no pin", "pin"])
@pytest.mark.parametrize("kind", MADE)
@each_parent
def test_a_key_goes_from_tpm_to_tpm_and_signs_in_both(
    template: TPMT_PUBLIC, kind: str, pin: bytes, inner: TPMT_SYM_DEF_OBJECT, tpms: list[Tpm]
):
    here, there, _ = tpms
    to = public_of_parent(there, template)
    with here.create_primary(templates.ECC_SRK) as srk:
        made = srk.create(movable(kind, only_to(to)), pin)
        public = made.outPublic
        with srk.load(made.outPrivate, public, pin) as key:
            wrapped = sent(here, key, to, only_to(to), inner)
            signs(key, public)
    with there.create_primary(template) as parent:
        with parent.load(parent.import_(public, wrapped), public, pin) as key:
            signs(key, public)
        with parent.load(parent.import_(public, wrapped), public, b"4321") as key:
            if pin:
                with pytest.raises(TpmError) as caught:
                    signs(key, public)
                assert caught.value.code == TPM_RC.AUTH_FAIL
    forgive(there)


@pytest.mark.parametrize("inner", [NO_CIPHER, AES_128_CFB], ids=["outer", "both"])
@each_parent
def test_a_parent_between_rewraps_what_it_cannot_use(
    template: TPMT_PUBLIC, inner: TPMT_SYM_DEF_OBJECT, tpms: list[Tpm]
):
    first, between, last = tpms
    how = Policy(OWNER, DUPLICATE)
    by, to = public_of_parent(between, templates.ECC_SRK), public_of_parent(last, template)
    with first.create_primary(templates.ECC_SRK) as srk:
        made = srk.create(movable("P-256", how), b"1234")
        public, name = made.outPublic, object_name(made.outPublic)
        with srk.load(made.outPrivate, public, b"1234") as key:
            wrapped = sent(first, key, by, how, inner)
    with between.create_primary(templates.ECC_SRK) as old, between.load_external(to) as new:
        again = old.rewrap(wrapped, name, new)
        with pytest.raises(TpmError) as caught:
            old.rewrap(again, name, new)
        assert caught.value.code in NOT_MINE
    assert again.duplicate != wrapped.duplicate
    assert again.encryption_key == wrapped.encryption_key
    with last.create_primary(template) as parent:
        assert refused(parent, public, wrapped) in (*NOT_MINE, TPM_RC.SIZE, TPM_RC.ECC_POINT)
        with parent.load(parent.import_(public, again), public, b"1234") as key:
            signs(key, public)


def test_an_object_without_an_outer_wrapper_is_not_rewrapped(tpm: Tpm):
    with tpm.create_primary(templates.ECC_SRK) as parent:
        _, public, made = wrapped_for(None, cipher())
        with pytest.raises(EncodeError, match="no outer wrapper"):
            parent.rewrap(made, object_name(public), parent)


def goes(here: Tpm, template: TPMT_PUBLIC, to: TPMT_PUBLIC, how: Policy,
         symmetric: TPMT_SYM_DEF_OBJECT = AES_128_CFB) -> int:  # fmt: skip
    """The response code with which a TPM refuses to let a key go."""
    with here.create_primary(templates.ECC_SRK) as srk:
        made = srk.create(template)
        with (
            srk.load(made.outPrivate, made.outPublic) as key,
            pytest.raises((TpmError, PolicyError)) as caught,
        ):
            sent(here, key, to, how, symmetric)
    return caught.value.code if isinstance(caught.value, TpmError) else -1


def test_a_key_goes_only_to_the_parent_that_its_policy_names(tpms: list[Tpm]):
    here, there, _ = tpms
    to = public_of_parent(there, templates.ECC_SRK)
    other = public_of_parent(there, templates.RSA_SRK)
    assert goes(here, movable("P-256", only_to(to)), other, only_to(to)) == TPM_RC.POLICY_FAIL
    assert goes(here, movable("P-256", only_to(to)), other, only_to(other)) == TPM_RC.POLICY_FAIL


def test_a_key_of_the_owner_goes_with_the_owner_s_password_only(tpms: list[Tpm]):
    here, there, _ = tpms
    to, how = public_of_parent(there, templates.ECC_SRK), Policy(OWNER, DUPLICATE)
    wrong = Policy(policy.Secret(Entity.permanent(TPM_RH.OWNER, b"wrong")), DUPLICATE)
    assert goes(here, movable("P-256", how), to, wrong) == -1
    assert goes(here, movable("P-256", how), to, Policy(DUPLICATE)) == TPM_RC.POLICY_FAIL


def test_a_fixed_key_goes_nowhere(tpms: list[Tpm]):
    here, there, _ = tpms
    to, how = public_of_parent(there, templates.ECC_SRK), Policy(DUPLICATE)
    fixed = movable("P-256", how, templates.ECC_SIGN.objectAttributes)
    assert goes(here, fixed, to, how) == TPM_RC.ATTRIBUTES


def test_a_key_that_wants_both_wrappers_does_not_go_with_one(tpms: list[Tpm]):
    here, there, _ = tpms
    to = public_of_parent(there, templates.ECC_SRK)
    how = only_to(to)
    wary = movable("P-256", how, FREE | TPMA_OBJECT.encryptedDuplication)
    assert goes(here, wary, to, how, NO_CIPHER) == TPM_RC.SYMMETRIC


def test_a_key_that_came_to_its_parent_goes_no_further(tpms: list[Tpm]):
    here, there, elsewhere = tpms
    to = public_of_parent(there, templates.ECC_SRK)
    further = public_of_parent(elsewhere, templates.ECC_SRK)
    with here.create_primary(templates.ECC_SRK) as srk:
        made = srk.create(movable("P-256", only_to(to)))
        with srk.load(made.outPrivate, made.outPublic) as key:
            wrapped = sent(here, key, to, only_to(to))
    with there.create_primary(templates.ECC_SRK) as parent:
        private = parent.import_(made.outPublic, wrapped)
        with parent.load(private, made.outPublic) as key, pytest.raises(TpmError) as caught:
            sent(there, key, further, only_to(further))
    assert caught.value.code == TPM_RC.POLICY_FAIL


def test_the_key_of_the_inner_wrapper_is_hidden_or_not_asked_for(tpms: list[Tpm]):
    here, there, _ = tpms
    to = public_of_parent(there, templates.ECC_SRK)
    between = Between(here._transport)
    listened = Tpm(between)
    with listened.create_primary(templates.ECC_SRK) as srk:
        made = srk.create(movable("P-256", only_to(to)))
        with srk.load(made.outPrivate, made.outPublic) as key:
            wrapped = sent(listened, key, to, only_to(to))
            with (
                listened.load_external(to) as parent,
                listened.session(TPM_SE.POLICY) as session,
                pytest.raises(EncodeError, match="neither salted nor bound"),
            ):
                key.duplicate(parent, session)
    assert len(wrapped.encryption_key) == 16
    assert wrapped.encryption_key not in b"".join(between.sent + between.received)
    assert between.codes.count(TPM_CC.Duplicate) == 1
