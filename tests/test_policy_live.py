"""Policies on a TPM: its digest is ours, and what they forbid is refused."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from between import Between, break_off, interrupt_after, interrupt_before, lose, only_at, refuse
from conftest import Swtpm, forgive, left_loaded
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st
from ssh_fixtures import need, search_path

from tpmwire import policy, templates
from tpmwire.attributes import TPMA_LOCALITY, TPMA_NV, TPMA_OBJECT
from tpmwire.authorization import Entity, PasswordSession
from tpmwire.client import Tpm
from tpmwire.commands import (
    Create,
    NV_DefineSpace,
    NV_ReadPublic,
    NV_UndefineSpace,
    NV_Write,
    PCR_Extend,
    PCR_Read,
    PolicyGetDigest,
    PolicyPCR,
    PolicyRestart,
    ReadClock,
    Sign,
)
from tpmwire.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_ECC, TPM_EO, TPM_RC, TPM_RH, TPM_SE
from tpmwire.errors import Error, PolicyError, TpmError
from tpmwire.objects import LoadedObject
from tpmwire.policy import Policy
from tpmwire.session import HmacSession, PolicySession
from tpmwire.transport import connect
from tpmwire.types import (
    TPMS_ECC_POINT,
    TPMS_NV_PUBLIC,
    TPMS_PCR_SELECTION,
    TPMS_SCHEME_HASH,
    TPMS_SIGNATURE_ECDSA,
    TPMT_HA,
    TPMT_PUBLIC,
    TPMT_SIG_SCHEME,
    TPMT_SIGNATURE,
)

SHA256, SHA384 = TPM_ALG.SHA256, TPM_ALG.SHA384
SIGN = TPM_CC.Sign
ECDSA = TPMT_SIG_SCHEME(scheme=TPM_ALG.ECDSA, details=TPMS_SCHEME_HASH(hashAlg=SHA256))
OWNER = Entity.permanent(TPM_RH.OWNER)

FIELD, WRITTEN = 0x01800001, bytes(range(16))
POLICIES = 0x01800002
READABLE = TPMA_NV.AUTHREAD | TPMA_NV.AUTHWRITE | TPMA_NV.OWNERREAD | TPMA_NV.NO_DA


class Somebody:
    """The holder of a P-256 key outside the TPM, who signs by somebody else's program."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        numbers = self._key.public_key().public_numbers()
        point = TPMS_ECC_POINT(x=numbers.x.to_bytes(32, "big"), y=numbers.y.to_bytes(32, "big"))
        plain = templates.ecc_public(TPM_ECC.NIST_P256, TPMA_OBJECT.sign | TPMA_OBJECT.userWithAuth)
        self.public = plain.replace(unique=point)

    def sign(self, octets: bytes) -> TPMT_SIGNATURE:
        made = self._key.sign(octets, ec.ECDSA(hashes.SHA256()))
        r, s = (number.to_bytes(32, "big") for number in decode_dss_signature(made))
        details = TPMS_SIGNATURE_ECDSA(hash=SHA256, signatureR=r, signatureS=s)
        return TPMT_SIGNATURE(sigAlg=TPM_ALG.ECDSA, signature=details)


SOMEBODY, NOBODY = Somebody(), Somebody()


@pytest.fixture(autouse=True)
def nothing_stays_loaded(swtpm: Swtpm) -> Iterator[None]:
    yield
    assert left_loaded(swtpm) == ()


@contextmanager
def index(
    tpm: Tpm, handle: int, content: bytes, auth: bytes = b"", more: TPMA_NV = READABLE
) -> Iterator[Entity]:
    """Make an NV index and write it; it is removed at the end."""
    public = TPMS_NV_PUBLIC(nvIndex=handle, nameAlg=SHA256, attributes=more, dataSize=len(content))
    tpm.execute(NV_DefineSpace(authHandle=TPM_RH.OWNER, auth=auth, publicInfo=public))
    try:
        write = NV_Write(authHandle=handle, nvIndex=handle, data=content, offset=0)
        tpm.execute(write, PasswordSession(auth))
        yield Entity(handle, tpm.execute(NV_ReadPublic(nvIndex=handle)).nvName, auth)
    finally:
        tpm.execute(NV_UndefineSpace(authHandle=TPM_RH.OWNER, nvIndex=handle))


@contextmanager
def session(tpm: Tpm, alg: int = SHA256, **more: Any) -> Iterator[HmacSession]:
    with tpm.session(TPM_SE.POLICY, hash_alg=TPM_ALG(alg), **more) as started:
        yield started


@contextmanager
def key(tpm: Tpm, whole: Policy, auth: bytes = b"") -> Iterator[LoadedObject]:
    """Load a signing key that only the policy lets use."""
    with tpm.create_primary(templates.ECC_SRK) as srk, srk_key(srk, whole, auth) as loaded:
        yield loaded


def srk_key(srk: LoadedObject, whole: Policy, auth: bytes = b"") -> LoadedObject:
    """Load a signing key that only the policy lets use, to be flushed by a `with` block."""
    plain = templates.ECC_SIGN.objectAttributes & ~TPMA_OBJECT.userWithAuth
    template = templates.ECC_SIGN.replace(authPolicy=whole.digest(SHA256), objectAttributes=plain)
    made = srk.create(template, auth)
    return srk.load(made.outPrivate, made.outPublic, auth)


def signs(tpm: Tpm, signer: LoadedObject, used: HmacSession) -> bool:
    """Sign, and verify the signature by somebody else's program."""
    command = Sign(keyHandle=signer, digest=bytes(32), inScheme=ECDSA)
    made = tpm.execute(command, used.use()).signature.signature
    return len(made.signatureR) > 0


def refusal(action: Callable[[], object]) -> tuple[int, str, int]:
    with pytest.raises(TpmError) as caught:
        action()
    return caught.value.code, caught.value.subject, caught.value.index


def tpm_digest(tpm: Tpm, used: HmacSession) -> bytes:
    return tpm.execute(PolicyGetDigest(policySession=used.handle)).policyDigest


# --- any policy -------------------------------------------------------------------------------

ANY_LOCALITY = TPMA_LOCALITY.TPM_LOC_ZERO | TPMA_LOCALITY.TPM_LOC_ONE

# Steps that hold always and go together in any order.
HOLDING = (
    st.just(policy.AuthValue()),
    st.just(policy.Password()),
    st.just(policy.CommandCode(SIGN)),
    st.just(policy.Locality(ANY_LOCALITY)),
    st.just(policy.NvWritten()),
    st.just(policy.PhysicalPresence()),
    st.integers(0, 9).map(
        lambda seconds: policy.CounterTimer(seconds.to_bytes(8, "big"), 8, TPM_EO.UNSIGNED_GE)
    ),
    st.binary(max_size=32).map(lambda ref: policy.Secret(OWNER, policyRef=ref)),
    st.builds(
        lambda ref, fresh: policy.Signed(
            SOMEBODY.public, SOMEBODY.sign, policyRef=ref, fresh=fresh
        ),
        st.binary(max_size=32),
        st.booleans(),
    ),
    st.sets(st.integers(0, 10), min_size=1, max_size=9).map(
        lambda numbers: policy.PCR({SHA256: dict.fromkeys(numbers, bytes(32))})
    ),
)


def approving(whole: Policy, alg: int, policy_ref: bytes) -> policy.Authorize:
    """Make the step for a policy that somebody has approved."""
    signature = SOMEBODY.sign(policy.approval(whole.digest(alg), policy_ref))
    approved = policy.Approved(whole, signature)
    return policy.Authorize(SOMEBODY.public, (approved,), policy_ref)


@st.composite
def policies(draw: st.DrawFn, alg: int, depth: int = 2) -> Policy:
    """Make a policy with branches of branches."""
    steps = draw(st.lists(st.one_of(*HOLDING), max_size=3))
    if depth and draw(st.booleans()):
        count = draw(st.one_of(st.integers(2, 4), st.integers(9, 10)))
        inner = [draw(policies(alg, depth - 1)) for _ in range(count)]
        steps.insert(draw(st.integers(0, len(steps))), policy.Or(*inner))
    return Policy(*steps)


@settings(max_examples=25)
@given(data=st.data(), alg=st.sampled_from([TPM_ALG.SHA1, SHA256, SHA384, TPM_ALG.SHA512]))
def test_any_policy_has_the_digest_that_the_tpm_computes(
    swtpm: Swtpm, data: st.DataObject, alg: TPM_ALG
):
    whole = data.draw(policies(alg))
    if data.draw(st.booleans()):
        rest = data.draw(policies(alg, 1))
        whole = Policy(approving(whole, alg, data.draw(st.binary(max_size=32))), *rest.steps)
    branch = "/".join(data.draw(st.sampled_from([p.labels for p in whole.paths()])))
    with Tpm(connect(swtpm.conf)) as tpm:
        for kind in (TPM_SE.TRIAL, TPM_SE.POLICY):
            with tpm.session(kind, hash_alg=alg) as used:
                whole.satisfy(tpm, used, branch or None)
                assert tpm_digest(tpm, used) == whole.digest(alg)


def others(alg: int, size: int) -> dict[str, policy.Policy]:
    name = b"\0\x0b" + b"n" * 32
    return {
        "CpHash": Policy(policy.CpHash(b"c" * size)),
        "NameHash": Policy(policy.NameHash(b"n" * size)),
        "Template": Policy(policy.Template(b"t" * size)),
        "DuplicationSelect": Policy(policy.DuplicationSelect(name)),
        "one object": Policy(policy.DuplicationSelect(name, b"\0\x0b" + b"o" * 32, True)),
        "not written": Policy(policy.NvWritten(written=False)),
        "locality above": Policy(policy.Locality(TPMA_LOCALITY(0x20))),
        "PCR digest": Policy(policy.PCR({SHA256: {0: bytes(32)}, SHA384: {5: bytes(48)}}).at(alg)),
    }


@pytest.mark.parametrize("kind", [TPM_SE.TRIAL, TPM_SE.POLICY])
@pytest.mark.parametrize(("alg", "size"), [(SHA256, 32), (SHA384, 48)])
@pytest.mark.parametrize("which", others(SHA256, 32))
def test_a_step_that_goes_with_few_others_has_the_digest_of_the_tpm(
    tpm: Tpm, which: str, alg: TPM_ALG, size: int, kind: TPM_SE
):
    whole = others(alg, size)[which]
    with tpm.session(kind, hash_alg=alg) as used:
        assert whole.satisfy(tpm, used) == ()
        assert tpm_digest(tpm, used) == whole.digest(alg)


@pytest.mark.parametrize("kind", [TPM_SE.TRIAL, TPM_SE.POLICY])
@pytest.mark.parametrize("alg", [SHA256, SHA384])
def test_steps_with_an_index_have_the_digest_of_the_tpm(tpm: Tpm, alg: TPM_ALG, kind: TPM_SE):
    approved = Policy(policy.CommandCode(SIGN), policy.AuthValue())
    held = TPMT_HA(hashAlg=alg, digest=approved.digest(alg)).pack()
    with index(tpm, FIELD, WRITTEN) as field, index(tpm, POLICIES, held) as place:
        steps = (
            policy.NV(field, WRITTEN[3:5], offset=3),
            policy.NV(field, WRITTEN, TPM_EO.EQ, authorization=OWNER),
            policy.NV(field, b"\xf0", TPM_EO.BITCLEAR, 7),
        )
        for whole in (
            Policy(*steps),
            Policy(policy.AuthorizeNV(place, (approved,)), policy.PhysicalPresence()),
            Policy(*approved.steps, policy.AuthorizeNV(place, authorization=OWNER)),
        ):
            with tpm.session(kind, hash_alg=alg) as used:
                whole.satisfy(tpm, used)
                assert tpm_digest(tpm, used) == whole.digest(alg)


# --- gates ------------------------------------------------------------------------------------


def test_without_its_policy_a_key_does_not_sign(tpm: Tpm):
    with key(tpm, Policy(policy.CommandCode(SIGN))) as signer, session(tpm) as used:
        assert refusal(lambda: signs(tpm, signer, used)) == (TPM_RC.POLICY_FAIL, "session", 1)
        assert tpm.execute(PolicyRestart(sessionHandle=used.handle)) is not None
        Policy(policy.CommandCode(SIGN)).satisfy(tpm, used)
        assert signs(tpm, signer, used)


def test_a_session_authorizes_once_and_can_be_used_again_after_its_policy_is_met_again(tpm: Tpm):
    whole = Policy(policy.CommandCode(SIGN))
    with key(tpm, whole) as signer, session(tpm) as used:
        for _ in range(2):
            whole.satisfy(tpm, used)
            assert signs(tpm, signer, used)
            assert refusal(lambda: signs(tpm, signer, used))[0] == TPM_RC.POLICY_FAIL


def branched() -> Policy:
    return Policy(
        policy.Or(
            Policy(policy.PCR({SHA256: {16: b"x" * 32}}), name="measured"),
            Policy(policy.Signed(SOMEBODY.public, SOMEBODY.sign), name="signed"),
            Policy(policy.AuthValue(), name="pin"),
        ),
        policy.CommandCode(SIGN),
    )


@pytest.mark.parametrize("branch", [None, "signed", "pin"])
def test_each_branch_that_holds_lets_sign(tpm: Tpm, branch: str | None):
    with key(tpm, branched(), b"pin") as signer, session(tpm) as used:
        branched().satisfy(tpm, used, branch)
        assert signs(tpm, signer, used)


def test_a_branch_that_does_not_hold_is_told_with_its_step_and_the_reason(tpm: Tpm):
    with session(tpm) as used:
        with pytest.raises(PolicyError) as caught:
            branched().satisfy(tpm, used, "measured")
        ((branch, step, reason),) = caught.value.failures
        assert branch == "measured"
        assert step == f"PCR 16 (SHA256) is {'78' * 32}"
        assert reason.startswith("TPM_RC_VALUE (parameter 1) from PolicyPCR")
        assert tpm_digest(tpm, used) == bytes(32)


def test_if_no_branch_holds_all_are_told(tpm: Tpm):
    wrong = {SHA256: {16: b"x" * 32}}
    whole = Policy(
        policy.Or(
            Policy(policy.PCR(wrong), name="measured"),
            Policy(policy.Or(
                Policy(policy.AuthValue(), policy.Signed(SOMEBODY.public, NOBODY.sign)),
                Policy(policy.Signed(SOMEBODY.public)),
            ), name="people"),
        ),
        policy.Or(Policy(policy.NvWritten()), Policy(policy.AuthValue())),
    )  # fmt: skip
    with session(tpm) as used:
        with pytest.raises(PolicyError, match="the policy cannot be met: branch measured: ") as e:
            whole.satisfy(tpm, used)
        assert [failure[0] for failure in e.value.failures] == ["measured", "people/1", "people/2"]
        reasons = [failure[2] for failure in e.value.failures]
        assert "TPM_RC_SIGNATURE (parameter 5) from PolicySigned" in reasons[1]
        assert reasons[2] == "nobody is there to sign"
        assert isinstance(used, PolicySession)
        assert not used.auth_value
        assert tpm_digest(tpm, used) == bytes(32)


def test_a_branch_that_is_not_there_is_told(tpm: Tpm):
    with session(tpm) as used, pytest.raises(PolicyError, match="no branch 'nothing'"):
        branched().satisfy(tpm, used, "nothing")


def test_an_hmac_session_meets_no_policy(tpm: Tpm):
    with tpm.session() as used, pytest.raises(PolicyError, match="no policy session"):
        branched().satisfy(tpm, used)


def test_a_session_in_which_something_was_asserted_before_is_not_taken(tpm: Tpm):
    with session(tpm) as used:
        Policy(policy.AuthValue()).satisfy(tpm, used)
        with pytest.raises(PolicyError, match="another policy digest"):
            Policy(policy.CommandCode(SIGN)).satisfy(tpm, used)
        assert tpm_digest(tpm, used) == bytes(32)


def test_every_one_of_many_branches_lets_sign(tpm: Tpm):
    whole = Policy(
        policy.Or(*(Policy(policy.Secret(OWNER, policyRef=bytes([n]))) for n in range(20)))
    )
    with key(tpm, whole) as signer, session(tpm) as used:
        for number in range(20):
            whole.satisfy(tpm, used, str(number + 1))
            assert signs(tpm, signer, used)


def test_a_pcr_policy_holds_until_the_pcr_changes(tpm: Tpm):
    whole = Policy(policy.PCR.read(tpm, {SHA256: (0, 11), SHA384: range(10)}))
    event = PCR_Extend(pcrHandle=11, digests=(TPMT_HA(hashAlg=SHA256, digest=b"e" * 32),))
    with key(tpm, whole) as signer, session(tpm) as used:
        whole.satisfy(tpm, used)
        assert signs(tpm, signer, used)
        whole.satisfy(tpm, used)
        tpm.execute(event)
        assert refusal(lambda: signs(tpm, signer, used)) == (TPM_RC.PCR_CHANGED, "", 0)
        tpm.execute(PolicyRestart(sessionHandle=used.handle))
        with pytest.raises(PolicyError, match="TPM_RC_VALUE"):
            whole.satisfy(tpm, used)


def test_the_values_of_pcrs_are_read_or_said_not_to_be_there(tpm: Tpm):
    read = policy.PCR.read(tpm, {SHA256: (23, 0), SHA384: range(12)})
    assert read.banks[SHA256].keys() == {0, 23}
    assert {len(value) for value in read.banks[SHA384].values()} == {48}
    assert len(read.banks[SHA384]) == 12
    with pytest.raises(TpmError) as caught:
        policy.PCR.read(tpm, {TPM_ALG.SM3_256: (1,)})
    assert caught.value.code == TPM_RC.HASH
    other = TPMS_PCR_SELECTION(hash=SHA384, pcrSelect=b"\x06\0\0")
    for instead in ((), (other.replace(pcrSelect=b"\x03\0\0"),), (other.replace(hash=SHA256),)):
        with pytest.raises(PolicyError, match=r"does not have PCR 1 and 2 \(SHA384\)"):
            policy.PCR.read(Forgetful(tpm, instead), {SHA384: (1, 2)})
    assert policy.PCR.read(Forgetful(tpm, (other,)), {SHA384: (1, 2)}).banks[SHA384].keys() == {
        1,
        2,
    }


class Forgetful:
    """A TPM without the PCRs that it is asked for: it leaves them out.  [CVE-2020-24455]"""

    def __init__(self, tpm: Tpm, instead: tuple[TPMS_PCR_SELECTION, ...] = ()) -> None:
        self._tpm, self._instead = tpm, instead

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tpm, name)

    def execute(self, command: Any, *sessions: Any) -> Any:
        if isinstance(command, PolicyPCR):
            command = command.replace(pcrs=(), pcrDigest=b"")
        if isinstance(command, PCR_Read):
            command = command.replace(pcrSelectionIn=self._instead)
        return self._tpm.execute(command, *sessions)


def test_a_policy_from_which_pcrs_are_left_out_is_not_believed(tpm: Tpm):
    whole = Policy(policy.PCR({SHA256: {0: bytes(32)}}))
    with session(tpm) as used:
        with pytest.raises(PolicyError, match="it may have left something out"):
            whole.satisfy(Forgetful(tpm), used)
        assert tpm_digest(tpm, used) == bytes(32)


@pytest.mark.parametrize(
    ("step", "refused"),
    [
        (policy.CommandCode(TPM_CC.ReadClock), (TPM_RC.POLICY_CC, "session", 1)),
        (policy.Locality(TPMA_LOCALITY.TPM_LOC_ONE), (TPM_RC.LOCALITY, "", 0)),
        (policy.PhysicalPresence(), (TPM_RC.PP, "session", 1)),
        (policy.CpHash(b"c" * 32), (TPM_RC.POLICY_FAIL, "session", 1)),
        (policy.NameHash(b"n" * 32), (TPM_RC.POLICY_FAIL, "session", 1)),
        (policy.Template(b"t" * 32), (TPM_RC.POLICY_FAIL, "session", 1)),
    ],
)
def test_a_step_that_looks_at_the_command_refuses_another(
    tpm: Tpm, step: Any, refused: tuple[int, str, int]
):
    with key(tpm, Policy(step)) as signer, session(tpm) as used:
        Policy(step).satisfy(tpm, used)
        assert refusal(lambda: signs(tpm, signer, used)) == refused


def told(step: Any) -> Policy:
    """What a digest tells of a key cannot stand in the key's own policy, but be approved."""
    return Policy(approving(Policy(step), SHA256, b""))


@pytest.mark.parametrize("step", [policy.CpHash, policy.NameHash])
def test_what_is_told_by_a_digest_is_let_through_and_nothing_else(tpm: Tpm, step: Any):
    sign = Sign(keyHandle=0, digest=bytes(32), inScheme=ECDSA)
    whole = Policy(policy.Authorize(SOMEBODY.public))
    with key(tpm, whole) as signer, session(tpm) as used:
        for name, lets in (
            (signer.name, True),
            (signer.name[:-1] + bytes([signer.name[-1] ^ 1]), False),
        ):
            is_name = step is policy.NameHash
            made = policy.name_hash(SHA256, name) if is_name else policy.cp_hash(SHA256, sign, name)
            told(step(made)).satisfy(tpm, used)
            if lets:
                assert signs(tpm, signer, used)
            else:
                found = refusal(lambda: signs(tpm, signer, used))
                assert found == (TPM_RC.POLICY_FAIL, "session", 1)


def test_a_signature_can_be_for_one_command_only(tpm: Tpm):
    whole = Policy(policy.Signed(SOMEBODY.public, SOMEBODY.sign))
    with key(tpm, whole) as signer, session(tpm) as used:
        for octet, lets in ((0, True), (1, False)):
            sign = Sign(keyHandle=signer, digest=bytes([octet]) * 32, inScheme=ECDSA)
            meant = policy.cp_hash(SHA256, sign, signer.name)
            step = policy.Signed(SOMEBODY.public, SOMEBODY.sign, cpHashA=meant)
            Policy(step).satisfy(tpm, used)
            if lets:
                assert signs(tpm, signer, used)
            else:
                assert refusal(lambda: signs(tpm, signer, used))[0] == TPM_RC.POLICY_FAIL


def test_a_template_policy_lets_make_that_object_only(tpm: Tpm):
    meant = templates.without_lockout(templates.ECC_SIGN)
    whole = Policy(policy.Template(policy.template_hash(SHA256, meant)))
    attributes = templates.ECC_SRK.objectAttributes & ~TPMA_OBJECT.userWithAuth
    parent = templates.ECC_SRK.replace(authPolicy=whole.digest(SHA256), objectAttributes=attributes)
    with tpm.create_primary(parent) as srk, session(tpm) as used:
        whole.satisfy(tpm, used)
        assert tpm.execute(Create(parentHandle=srk, inPublic=meant), used.use()).outPrivate
        whole.satisfy(tpm, used)
        other = Create(parentHandle=srk, inPublic=templates.ECC_SIGN)
        found = refusal(lambda: tpm.execute(other, used.use()))
        assert found == (TPM_RC.POLICY_FAIL, "session", 1)


@pytest.mark.parametrize("step", [
    policy.Capability(TPM_CAP.TPM_PROPERTIES, 0x105, b"IBM\0"),
    policy.Parameters(b"p" * 32),
])  # fmt: skip
def test_a_step_that_the_tpm_does_not_know_yet_is_told(tpm: Tpm, step: Any):
    with session(tpm) as used, pytest.raises(PolicyError, match="does not have the command"):
        Policy(step).satisfy(tpm, used)


# --- PINs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [policy.AuthValue(), policy.Password()])
def test_the_pin_of_the_key_opens_it_and_a_wrong_one_does_not(tpm: Tpm, step: Any):
    whole = Policy(step)
    with key(tpm, whole, b"pin") as signer, session(tpm) as used:
        whole.satisfy(tpm, used)
        assert signs(tpm, signer, used)
        signer.auth = b"wrong"
        whole.satisfy(tpm, used)
        assert refusal(lambda: signs(tpm, signer, used)) == (TPM_RC.AUTH_FAIL, "session", 1)
    forgive(tpm)


def test_what_asks_for_a_password_is_met_by_a_proof(tpm: Tpm):
    with key(tpm, Policy(policy.Password()), b"pin") as signer, session(tpm) as used:
        Policy(policy.AuthValue()).satisfy(tpm, used)
        assert signs(tpm, signer, used)


def test_a_later_proof_takes_the_place_of_an_earlier_password(swtpm: Swtpm, tpm: Tpm):
    whole = Policy(policy.Password(), policy.AuthValue())
    with key(tpm, whole, b"unspoken") as signer, session(tpm) as used:
        seen = len(logged(swtpm))
        whole.satisfy(tpm, used)
        assert signs(tpm, signer, used)
        assert b"unspoken".hex() not in logged(swtpm)[seen:]


def logged(swtpm: Swtpm) -> str:
    """Return all octets that went to and came from the TPM, in hex."""
    return "".join(swtpm.log.read_text().lower().split())


@pytest.mark.parametrize("salted", [True, False])
@pytest.mark.parametrize("kind", ["Secret", "NV", "AuthorizeNV"])
def test_the_secret_of_an_entity_never_travels_in_clear(
    swtpm: Swtpm, tpm: Tpm, kind: str, salted: bool
):
    secret = f"whispered to {kind}, {salted}".encode()
    content = TPMT_HA(hashAlg=SHA256, digest=bytes(32)).pack()
    public = TPMS_NV_PUBLIC(
        nvIndex=FIELD, nameAlg=SHA256, attributes=READABLE, dataSize=len(content)
    )
    with tpm.create_primary(templates.ECC_SRK) as srk:
        define = NV_DefineSpace(authHandle=TPM_RH.OWNER, auth=secret, publicInfo=public)
        tpm.execute_protected(define, srk)
        try:
            entity = Entity.of(tpm.entity(FIELD), secret)
            write = NV_Write(authHandle=entity, nvIndex=entity, data=content, offset=0)
            tpm.execute_protected(write, srk)
            entity = Entity.of(tpm.entity(FIELD), secret)
            salt_key = srk if salted else None
            steps: dict[str, Any] = {
                "Secret": policy.Secret(entity, salt_key=salt_key),
                "NV": policy.NV(entity, content, salt_key=salt_key),
                "AuthorizeNV": policy.AuthorizeNV(entity, salt_key=salt_key),
            }
            with session(tpm) as used:
                Policy(steps[kind]).satisfy(tpm, used)
        finally:
            tpm.execute(NV_UndefineSpace(authHandle=TPM_RH.OWNER, nvIndex=FIELD))
    assert content.hex() in logged(swtpm)
    assert secret.hex() not in logged(swtpm)


@pytest.mark.parametrize("salted", [True, False])
def test_a_wrong_secret_is_told_and_leaves_nothing_loaded(tpm: Tpm, salted: bool):
    with tpm.create_primary(templates.ECC_SRK) as srk, index(tpm, FIELD, b"x", b"right") as field:
        wrong = Entity.of(field, b"wrong")
        step = policy.Secret(wrong, salt_key=srk if salted else None)
        with session(tpm) as used:
            with pytest.raises(PolicyError, match=r"TPM_RC_BAD_AUTH \(session 1\)") as caught:
                Policy(step).satisfy(tpm, used)
            assert "wrong)" not in repr(caught.value)
            Policy(policy.Secret(field)).satisfy(tpm, used)


# --- signatures -------------------------------------------------------------------------------


def test_a_signature_of_somebody_else_is_refused(tpm: Tpm):
    with session(tpm) as used, pytest.raises(PolicyError, match="TPM_RC_SIGNATURE"):
        Policy(policy.Signed(SOMEBODY.public, NOBODY.sign)).satisfy(tpm, used)


def test_what_is_signed_is_what_the_specification_says(tpm: Tpm):
    seen: list[bytes] = []

    def sign(octets: bytes) -> TPMT_SIGNATURE:
        seen.append(octets)
        return SOMEBODY.sign(octets)

    step = policy.Signed(SOMEBODY.public, sign, policyRef=b"ref", cpHashA=b"c" * 32, expiration=-9)
    with session(tpm) as used:
        Policy(step).satisfy(tpm, used)
        assert seen == [used.nonce_tpm + bytes.fromhex("fffffff7") + b"c" * 32 + b"ref"]


@pytest.mark.parametrize("fresh", [True, False])
def test_a_fresh_signature_is_of_no_use_in_another_session(tpm: Tpm, fresh: bool):
    made: list[TPMT_SIGNATURE] = []

    def once(octets: bytes) -> TPMT_SIGNATURE:
        made.append(made[0] if made else SOMEBODY.sign(octets))
        return made[0]

    whole = Policy(policy.Signed(SOMEBODY.public, once, fresh=fresh))
    with session(tpm) as first, session(tpm) as second:
        whole.satisfy(tpm, first)
        if fresh:
            with pytest.raises(PolicyError, match="TPM_RC_SIGNATURE"):
                whole.satisfy(tpm, second)
        else:
            whole.satisfy(tpm, second)


def test_a_signature_for_one_command_is_of_no_use_for_another(tpm: Tpm):
    whole = Policy(policy.Signed(SOMEBODY.public, SOMEBODY.sign, cpHashA=b"c" * 32))
    with key(tpm, whole) as signer, session(tpm) as used:
        whole.satisfy(tpm, used)
        assert refusal(lambda: signs(tpm, signer, used))[0] == TPM_RC.POLICY_FAIL


def entity_and_step(which: str) -> tuple[Any, bytes]:
    if which == "Signed":
        name = b"\0\x0b" + hashlib_name(SOMEBODY.public)
        return policy.Signed(SOMEBODY.public, SOMEBODY.sign, b"ref", expiration=-100), name
    return policy.Secret(OWNER, b"ref", expiration=-100, fresh=True), OWNER.name


def hashlib_name(public: TPMT_PUBLIC) -> bytes:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(public.pack())
    return digest.finalize()


@pytest.mark.parametrize("which", ["Signed", "Secret"])
def test_a_ticket_stands_for_what_was_given_before(tpm: Tpm, which: str):
    step, name = entity_and_step(which)
    with key(tpm, Policy(step)) as signer:
        with session(tpm) as used:
            (ticket,) = Policy(step).satisfy(tpm, used)
        assert ticket.authName == name
        assert Policy(ticket).digest(SHA256) == Policy(step).digest(SHA256)
        with session(tpm) as used:
            assert Policy(ticket).satisfy(tpm, used) == ()
            assert signs(tpm, signer, used)
            forged = ticket.ticket.replace(digest=bytes(len(ticket.ticket.digest)))
            for wrong in (
                policy.Ticket(name, forged, ticket.timeout, b"ref"),
                policy.Ticket(name, ticket.ticket, ticket.timeout, b"other"),
            ):
                with pytest.raises(PolicyError, match="TPM_RC_TICKET"):
                    Policy(wrong).satisfy(tpm, used)


def test_without_an_expiration_there_is_no_ticket(tpm: Tpm):
    step = policy.Signed(SOMEBODY.public, SOMEBODY.sign, expiration=100)
    with session(tpm) as used:
        assert Policy(step, policy.Secret(OWNER)).satisfy(tpm, used) == ()


# --- approved policies ------------------------------------------------------------------------


def test_a_new_policy_that_is_approved_opens_an_old_key(tpm: Tpm):
    old = Policy(policy.Authorize(SOMEBODY.public, policyRef=b"laptop"))
    new = Policy(policy.PCR.read(tpm, {SHA256: (1, 2)}), policy.AuthValue(), name="today")
    before = Policy(policy.PCR({SHA256: {1: b"o" * 32}}), name="yesterday")
    both = policy.Authorize(
        SOMEBODY.public,
        tuple(
            policy.Approved(one, SOMEBODY.sign(one.digest(SHA256) + b"laptop"))
            for one in (before, new)
        ),
        b"laptop",
    )
    with key(tpm, old, b"pin") as signer, session(tpm) as used:
        Policy(both).satisfy(tpm, used)
        assert signs(tpm, signer, used)


@pytest.mark.parametrize(
    ("signer", "approved", "reference"),
    [
        (NOBODY, Policy(policy.AuthValue()), b"laptop"),
        (SOMEBODY, Policy(policy.CommandCode(SIGN)), b"laptop"),
        (SOMEBODY, Policy(policy.AuthValue()), b"desktop"),
    ],
    ids=["somebody else", "another policy", "another reference"],
)
def test_what_was_not_approved_is_refused(
    tpm: Tpm, signer: Somebody, approved: Policy, reference: bytes
):
    signature = signer.sign(approved.digest(SHA256) + reference)
    step = policy.Authorize(
        SOMEBODY.public, (policy.Approved(Policy(policy.AuthValue()), signature),), b"laptop"
    )
    with session(tpm) as used, pytest.raises(PolicyError, match="TPM_RC_SIGNATURE") as caught:
        Policy(step).satisfy(tpm, used)
    assert "from VerifySignature" in str(caught.value)


def test_without_an_approved_policy_nothing_can_be_met(tpm: Tpm):
    with session(tpm) as used, pytest.raises(PolicyError, match="no approved policy is known"):
        Policy(policy.Authorize(SOMEBODY.public)).satisfy(tpm, used)


def test_the_policy_in_an_index_holds_and_no_other(tpm: Tpm):
    first, second = Policy(policy.CommandCode(SIGN), name="a"), Policy(policy.AuthValue(), name="b")
    content = [TPMT_HA(hashAlg=SHA256, digest=one.digest(SHA256)).pack() for one in (first, second)]
    with index(tpm, POLICIES, content[0], b"pass") as place:
        whole = Policy(policy.AuthorizeNV(place, (first, second)))
        with key(tpm, whole, b"pin") as signer, session(tpm) as used:
            for number, one in enumerate(content):
                write = NV_Write(authHandle=place, nvIndex=POLICIES, data=one, offset=0)
                tpm.execute(write, PasswordSession(b"pass"))
                whole.satisfy(tpm, used)
                assert signs(tpm, signer, used)
                with pytest.raises(PolicyError, match="from PolicyAuthorizeNV"):
                    whole.satisfy(tpm, used, "ba"[number])
                (wrong,) = [Policy(policy.AuthorizeNV(Entity.of(place, b"no"), (first, second)))]
                with pytest.raises(PolicyError, match="TPM_RC_BAD_AUTH"):
                    wrong.satisfy(tpm, used)


# --- NV and the clock -------------------------------------------------------------------------


def test_an_nv_policy_holds_while_the_index_has_the_value(tpm: Tpm):
    with index(tpm, FIELD, WRITTEN) as field:
        whole = Policy(policy.NV(field, b"\1\2", offset=1))
        with key(tpm, whole) as signer, session(tpm) as used:
            whole.satisfy(tpm, used)
            assert signs(tpm, signer, used)
            tpm.execute(NV_Write(authHandle=field, nvIndex=field, data=b"\xff", offset=2))
            with pytest.raises(PolicyError, match="TPM_RC_POLICY from PolicyNV"):
                whole.satisfy(tpm, used)


@pytest.mark.parametrize(
    ("operation", "less", "same", "more"),
    [
        (TPM_EO.EQ, False, True, False),
        (TPM_EO.NEQ, True, False, True),
        (TPM_EO.UNSIGNED_GT, False, False, True),
        (TPM_EO.UNSIGNED_LT, True, False, False),
        (TPM_EO.UNSIGNED_GE, False, True, True),
        (TPM_EO.UNSIGNED_LE, True, True, False),
        (TPM_EO.SIGNED_GT, False, False, True),
        (TPM_EO.SIGNED_LE, True, True, False),
    ],
)
def test_the_content_of_an_index_is_compared(
    tpm: Tpm, operation: TPM_EO, less: bool, same: bool, more: bool
):
    with index(tpm, FIELD, b"\x40\x05") as field, session(tpm) as used:
        for operand, holds in ((b"\x40\x06", less), (b"\x40\x05", same), (b"\x40\x04", more)):
            step = policy.NV(field, operand, operation)
            if holds:
                Policy(step).satisfy(tpm, used)
                tpm.execute(PolicyRestart(sessionHandle=used.handle))
            else:
                with pytest.raises(PolicyError, match="TPM_RC_POLICY"):
                    Policy(step).satisfy(tpm, used)


def test_an_index_that_was_made_anew_is_another(tpm: Tpm):
    with index(tpm, FIELD, WRITTEN) as field:
        pass
    with (
        index(tpm, FIELD, WRITTEN, more=READABLE | TPMA_NV.OWNERWRITE),
        session(tpm) as used,
        pytest.raises(PolicyError, match="another policy digest"),
    ):
        Policy(policy.NV(field, WRITTEN)).satisfy(tpm, used)


def test_a_time_that_is_not_over_is_told(tpm: Tpm):
    century = (100 * 365 * 86400 * 1000).to_bytes(8, "big")
    with session(tpm) as used:
        with pytest.raises(PolicyError, match=r"the clock is at least 31.*: TPM_RC_POLICY from"):
            Policy(policy.CounterTimer(century, 8, TPM_EO.UNSIGNED_GE)).satisfy(tpm, used)
        Policy(policy.CounterTimer(century, 8, TPM_EO.UNSIGNED_LT)).satisfy(tpm, used)


# --- somebody else's digests -------------------------------------------------------------------


class Tools:
    """A trial session of tpm2-tools, which keep it in a file."""

    def __init__(self, swtpm: Swtpm, directory: Path) -> None:
        self._directory, self._conf = directory, swtpm.conf
        self.run("startauthsession", "-S", "s")

    def run(self, name: str, *arguments: str) -> None:
        command = [f"tpm2_{name}", "-T", self._conf, *arguments]
        env = {"PATH": search_path()}
        done = subprocess.run(command, cwd=self._directory, env=env, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()

    def digest(self, name: str, *arguments: str) -> bytes:
        """Return the digest after a policy command."""
        self.run(f"policy{name}", "-S", "s", "-L", "digest", *arguments)
        return self.read("digest")

    def read(self, name: str) -> bytes:
        return (self._directory / name).read_bytes()

    def write(self, name: str, octets: bytes) -> None:
        (self._directory / name).write_bytes(octets)


@pytest.fixture
def tools(swtpm: Swtpm, tmp_path: Path) -> Iterator[Tools]:
    need("tpm2_startauthsession")
    started = Tools(swtpm, tmp_path)
    yield started
    started.run("flushcontext", "s")


def test_tpm2_tools_come_to_the_same_digests_step_by_step(tools: Tools):
    pin, password = policy.AuthValue(), policy.Password()
    steps = {
        "commandcode": (policy.CommandCode(TPM_CC.Duplicate), ["TPM2_CC_Duplicate"]),
        "authvalue": (pin, []),
        "password": (password, []),
        "locality": (policy.Locality(TPMA_LOCALITY.TPM_LOC_THREE), ["three"]),
        "nvwritten": (policy.NvWritten(), ["s"]),
        "pcr": (policy.PCR({SHA256: {0: bytes(32), 5: bytes(32)}}), ["-l", "sha256:0,5"]),
        "countertimer": (
            policy.CounterTimer((7).to_bytes(8, "big"), 8, TPM_EO.UNSIGNED_GE),
            ["--uge", "clock=7"],
        ),
        "secret": (policy.Secret(OWNER, policyRef=b"r"), ["-c", "owner", "-q", "72"]),
    }
    done: list[Any] = []
    for name, (step, arguments) in steps.items():
        done.append(step)
        assert tools.digest(name, *arguments) == Policy(*done).digest(SHA256), name


@pytest.mark.parametrize("name", ["cphash", "namehash", "template"])
def test_tpm2_tools_come_to_the_same_digest_of_what_a_digest_tells(tools: Tools, name: str):
    option = {"cphash": "--cphash-input", "namehash": "-n", "template": "--template-hash"}[name]
    size = b"\0\x20" if name == "cphash" else b""  # as their own file of a cpHash begins
    tools.write("given", size + bytes(range(32)))
    step = {"cphash": policy.CpHash, "namehash": policy.NameHash, "template": policy.Template}[name]
    expected = Policy(step(bytes(range(32)))).digest(SHA256)
    assert tools.digest(name, option, "given") == expected


def test_tpm2_tools_come_to_the_same_digest_for_branches(tools: Tools):
    branches = Policy(policy.AuthValue()), Policy(policy.CommandCode(SIGN))
    for name, branch in zip("ab", branches, strict=True):
        tools.write(name, branch.digest(SHA256))
    found = tools.digest("or", "sha256:a,b")
    assert found == Policy(policy.Or(*branches)).digest(SHA256)


def test_tpm2_tools_come_to_the_same_digest_for_a_duplication(tools: Tools):
    old, new = b"\0\x0b" + b"o" * 32, b"\0\x0b" + b"n" * 32
    tools.write("old", old)
    tools.write("new", new)
    found = tools.digest("duplicationselect", "-N", "new", "-n", "old", "--include-object")
    assert found == Policy(policy.DuplicationSelect(new, old, includeObject=True)).digest(SHA256)


def test_tpm2_tools_come_to_the_same_digest_for_what_an_authority_signs(tools: Tools):
    name = b"\0\x0b" + hashlib_name(SOMEBODY.public)
    tools.write("name", name)
    tools.write("approved", Policy(policy.AuthValue()).digest(SHA256))
    tools.write("reference", b"ref")
    found = tools.digest("authorize", "-i", "approved", "-n", "name", "-q", "reference")
    assert found == Policy(policy.Authorize(SOMEBODY.public, policyRef=b"ref")).digest(SHA256)


def test_tpm2_tools_come_to_the_same_digest_for_what_is_in_an_index(swtpm: Swtpm, tools: Tools):
    tools.write("content", b"\x2a")
    tools.run("nvdefine", "0x1800003", "-s", "1", "-a", "authread|authwrite|ownerread")
    try:
        tools.run("nvwrite", "0x1800003", "-i", "content")
        with Tpm(connect(swtpm.conf)) as tpm:
            entity = tpm.entity(0x01800003)
        tools.write("bound", b"\x2b")
        found = tools.digest("nv", "0x1800003", "ult", "-i", "bound")
        assert found == Policy(policy.NV(entity, b"\x2b", TPM_EO.UNSIGNED_LT)).digest(SHA256)
    finally:
        tools.run("nvundefine", "0x1800003")


# --- faults -----------------------------------------------------------------------------------


def eventful(tpm: Tpm) -> None:
    """Meet a policy on the way to which much is loaded, and sign."""
    secret = policy.Secret(Entity.of(OWNER, b""), salt_key=None)
    approved = Policy(
        policy.Or(
            Policy(policy.Signed(SOMEBODY.public, NOBODY.sign)),
            Policy(policy.Signed(SOMEBODY.public, SOMEBODY.sign), secret),
        ),
        policy.AuthValue(),
    )
    whole = Policy(approving(approved, SHA256, b"ref"))
    with tpm.create_primary(templates.ECC_SRK) as srk, srk_key(srk, whole, b"pin") as signer:
        proof = policy.Secret(Entity.of(signer, b"pin"), salt_key=srk)
        with session(tpm, salt_key=srk) as used, pytest.raises(PolicyError):
            Policy(proof).satisfy(tpm, used)  # the key's own policy forbids it
        with session(tpm, salt_key=srk) as used:
            whole.satisfy(tpm, used)
            assert signs(tpm, signer, used)


@pytest.mark.parametrize("fault", [refuse, lose, break_off, interrupt_before, interrupt_after])
def test_nothing_stays_loaded_whatever_goes_wrong_at_whatever_command(swtpm: Swtpm, fault: Any):
    with Tpm(watched := Between(connect(swtpm.conf))) as tpm:
        eventful(tpm)
    assert left_loaded(swtpm) == ()
    count = len(watched.sent)
    assert TPM_CC.LoadExternal in watched.codes
    failed = 0
    for number in range(1, count + 1):
        transport = Between(connect(swtpm.conf), only_at(number, fault))
        try:
            with Tpm(transport) as tpm:
                eventful(tpm)
        except (Error, KeyboardInterrupt, pytest.fail.Exception):
            failed += 1
        assert left_loaded(swtpm) == (), f"after a fault at command {number} of {count}"
    assert failed > count // 2


class Interrupted(BaseException):
    """What a user may raise."""


def test_whatever_a_signer_raises_nothing_stays_asserted(tpm: Tpm):
    def sign(octets: bytes) -> TPMT_SIGNATURE:
        raise Interrupted

    with session(tpm) as used:
        with pytest.raises(Interrupted):
            Policy(policy.AuthValue(), policy.Signed(SOMEBODY.public, sign)).satisfy(tpm, used)
        assert isinstance(used, PolicySession)
        assert not used.auth_value
        assert tpm_digest(tpm, used) == bytes(32)


def test_an_expired_signature_is_refused(tpm: Tpm):
    while tpm.execute(ReadClock()).currentTime.time < 2000:
        pass
    # Without a nonce the second, rounded up, is counted from the start of the TPM.
    late = policy.Signed(SOMEBODY.public, SOMEBODY.sign, expiration=1, fresh=False)
    with session(tpm) as used, pytest.raises(PolicyError, match="TPM_RC_EXPIRED"):
        Policy(late).satisfy(tpm, used)
