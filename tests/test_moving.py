"""Objects on their way to another parent: what a TPM takes in, and what it refuses."""

from dataclasses import replace

import pytest
from between import Between
from conftest import Swtpm, left_loaded
from hypothesis import given, settings
from hypothesis import strategies as st
from softkeys import cipher, key_of
from test_duplication import DIGEST, check_signature, scheme_of

from tpmwire import templates
from tpmwire.client import Tpm
from tpmwire.commands import unpack_command
from tpmwire.constants import TPM_CC, TPM_RC, TPM_RH
from tpmwire.crypto import PrivateKey
from tpmwire.duplication import wrap
from tpmwire.errors import EncodeError, TpmError
from tpmwire.objects import LoadedObject
from tpmwire.softkeys import public_of, sensitive_of
from tpmwire.templates import NO_CIPHER
from tpmwire.transport import connect
from tpmwire.types import TPMT_PUBLIC, TPMT_SYM_DEF_OBJECT
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
