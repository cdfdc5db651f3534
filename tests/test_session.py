"""Sessions: what a password puts on the wire, what may come back, how a wrong one is refused."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import forgive
from hypothesis import given
from hypothesis import strategies as st
from strategies import commands, structures

from tpmwire import templates
from tpmwire.attributes import TPMA_OBJECT, TPMA_SESSION
from tpmwire.authorization import Entity, PasswordSession
from tpmwire.client import Tpm
from tpmwire.commands import Certify, Command, CreatePrimary, GetRandom, Sign
from tpmwire.constants import TPM_ALG, TPM_RC, TPM_RH
from tpmwire.errors import EncodeError, SessionError, TpmError
from tpmwire.exchange import Exchange
from tpmwire.objects import LoadedObject
from tpmwire.types import (
    TPMS_AUTH_RESPONSE,
    TPMS_SCHEME_HASH,
    TPMT_PUBLIC,
    TPMT_SIG_SCHEME,
)

ECDSA = TPMT_SIG_SCHEME(scheme=TPM_ALG.ECDSA, details=TPMS_SCHEME_HASH(hashAlg=TPM_ALG.SHA256))
NO_DA = templates.without_lockout(templates.ECC_SIGN)
ANY = Exchange(GetRandom(bytesRequested=1), ())


# --- octets -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "octets"),
    [
        # TPM_RS_PW, no nonce, continueSession, the value where an HMAC would stand
        (b"", "40000009 0000 01 0000"),
        (b"pin", "40000009 0000 01 0003 70696e"),
        (b"\0a\0", "40000009 0000 01 0003 006100"),
        (b"\xff" * 64, "40000009 0000 01 0040" + "ff" * 64),
    ],
)
@given(command=commands())
def test_a_password_stands_where_an_hmac_would(auth: bytes, octets: str, command: Command[Any]):
    assert PasswordSession(auth).authorize(Exchange(command, ())) == bytes.fromhex(octets)


def test_no_password_is_the_empty_one():
    assert PasswordSession().authorize(ANY) == PasswordSession(b"").authorize(ANY)


def test_a_password_longer_than_any_digest_is_an_encode_error_that_does_not_show_it():
    with pytest.raises(EncodeError, match="65 octets where 64 is the most") as caught:
        PasswordSession(b"\xa5" * 65).authorize(ANY)
    assert "a5a5" not in str(caught.value)
    assert r"\xa5" not in str(caught.value)


@given(st.binary(min_size=4, max_size=64))
def test_a_password_is_not_shown(auth: bytes):
    shown = repr(PasswordSession(auth))
    assert shown == f"PasswordSession(<{len(auth)} octets, secret>)"
    assert str(PasswordSession(auth)) == shown


# --- answers ----------------------------------------------------------------------------------


def test_the_answer_to_a_password_is_empty():
    answer = TPMS_AUTH_RESPONSE(sessionAttributes=TPMA_SESSION.continueSession)
    assert answer.pack() == bytes.fromhex("0000 01 0000")
    PasswordSession(b"pin").verify(ANY, answer)


@given(structures(TPMS_AUTH_RESPONSE).filter(lambda answer: answer.nonce or answer.hmac))
def test_an_answer_with_a_nonce_or_an_hmac_is_a_session_error(answer: TPMS_AUTH_RESPONSE):
    with pytest.raises(SessionError, match="a nonce or an HMAC"):
        PasswordSession(b"pin").verify(ANY, answer)


# --- a TPM ------------------------------------------------------------------------------------


@pytest.fixture
def key(tpm: Tpm, request: pytest.FixtureRequest) -> Iterator[LoadedObject]:
    """A signing key with the PIN "pin", of the template that the test chooses."""
    template: TPMT_PUBLIC = request.param
    with tpm.create_primary(templates.ECC_SRK) as srk:
        made = srk.create(template, auth=b"pin")
        with srk.load(made.outPrivate, made.outPublic, auth=b"pin") as loaded:
            yield loaded
    forgive(tpm)


protected = pytest.mark.parametrize("key", [templates.ECC_SIGN], indirect=True, ids=["DA"])
exempt = pytest.mark.parametrize("key", [NO_DA], indirect=True, ids=["noDA"])


def refusal(tpm: Tpm, key: LoadedObject, *auths: bytes) -> TpmError:
    sessions = [PasswordSession(auth) for auth in auths]
    with pytest.raises(TpmError) as caught:
        tpm.execute(Sign(keyHandle=key, digest=bytes(32), inScheme=ECDSA), *sessions)
    return caught.value


def said_by_others(error: TpmError) -> str:
    """Return what tpm2-tools make of the response code."""
    done = subprocess.run(["tpm2_rc_decode", f"{error.raw:#x}"], capture_output=True, check=True)
    return done.stdout.decode().strip()


@protected
def test_a_password_comes_from_its_session_alone(tpm: Tpm, key: LoadedObject):
    sign = Sign(keyHandle=key, digest=bytes(32), inScheme=ECDSA)
    key.auth = b"wrong"
    assert tpm.execute(sign, PasswordSession(b"pin")).signature.sigAlg == TPM_ALG.ECDSA


def test_no_password_goes_out_that_was_not_chosen():
    owner = Entity.permanent(TPM_RH.OWNER, b"secret")
    command = CreatePrimary(primaryHandle=owner, inPublic=templates.ECC_SRK)
    with pytest.raises(EncodeError, match=r"^CreatePrimary\.primaryHandle: .* in clear$") as caught:
        Exchange(command, ())
    assert "secret" not in str(caught.value)


@exempt
def test_a_password_that_no_session_of_several_gives_is_not_sent_either(
    tpm: Tpm, key: LoadedObject
):
    """Certify wants two authorizations; the first session is for the object."""
    with tpm.create_primary(NO_DA) as signer:
        certify = Certify(objectHandle=signer, signHandle=key, qualifyingData=b"", inScheme=ECDSA)
        with pytest.raises(EncodeError, match=r"^Certify\.signHandle: "):
            tpm.execute(certify, PasswordSession())
        assert tpm.execute(certify, PasswordSession(), PasswordSession(b"pin")).signature


@protected
def test_trailing_zeros_of_a_password_mean_nothing(tpm: Tpm, key: LoadedObject):
    sign = Sign(keyHandle=key, digest=bytes(32), inScheme=ECDSA)
    assert tpm.execute(sign, PasswordSession(b"pin\0\0")).signature.sigAlg == TPM_ALG.ECDSA


@protected
@pytest.mark.parametrize("auth", [b"", b"pim", b"pin "])
def test_a_wrong_password_of_a_protected_key_counts(tpm: Tpm, key: LoadedObject, auth: bytes):
    error = refusal(tpm, key, auth)
    assert error.raw == 0x98E
    assert (error.code, error.subject, error.index) == (TPM_RC.AUTH_FAIL, "session", 1)
    assert "and the failure counts" in str(error)


@exempt
def test_a_wrong_password_of_an_exempt_key_does_not_count(tpm: Tpm, key: LoadedObject):
    assert key.public.objectAttributes & TPMA_OBJECT.noDA
    for _ in range(10):
        error = refusal(tpm, key, b"wrong")
        assert error.raw == 0x9A2
        assert (error.code, error.subject, error.index) == (TPM_RC.BAD_AUTH, "session", 1)
    assert key.sign(bytes(32), ECDSA).sigAlg == TPM_ALG.ECDSA


@exempt
def test_a_refused_second_session_is_told_from_the_first(tpm: Tpm, key: LoadedObject):
    error = refusal(tpm, key, b"pin", b"")
    assert (error.code, error.subject, error.index) == (TPM_RC.HANDLE, "session", 2)


def test_a_password_where_none_is_wanted_is_refused(tpm: Tpm):
    with pytest.raises(TpmError) as caught:
        tpm.execute(GetRandom(bytesRequested=1), PasswordSession())
    error = caught.value
    assert (error.code, error.subject, error.index) == (TPM_RC.HANDLE, "session", 1)


def test_a_wrong_password_of_a_hierarchy_is_refused(tpm: Tpm):
    command = CreatePrimary(primaryHandle=TPM_RH.OWNER, inPublic=templates.ECC_SRK)
    with pytest.raises(TpmError) as caught:
        tpm.execute(command, PasswordSession(b"wrong"))
    error = caught.value
    assert (error.code, error.subject, error.index) == (TPM_RC.BAD_AUTH, "session", 1)


@exempt
@pytest.mark.skipif(shutil.which("tpm2_rc_decode") is None, reason="tpm2-tools is not installed")
def test_other_programs_read_the_same_place_in_a_refusal(tpm: Tpm, key: LoadedObject):
    for error in (refusal(tpm, key, b"wrong"), refusal(tpm, key, b"pin", b"")):
        found = re.match(r"tpm:(\w+)\((\d)\):", said_by_others(error))
        assert found is not None
        assert found.groups() == (error.subject, str(error.index))


@exempt
def test_a_refusal_does_not_show_the_password(tpm: Tpm, key: LoadedObject):
    error = refusal(tpm, key, b"swordfish")
    for shown in (str(error), repr(error), repr(vars(error))):
        assert "swordfish" not in shown
        assert b"swordfish".hex() not in shown
