"""A refused PIN or key: what the error tells of the tries that are left, or of the parent."""

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from between import Between, Meddle, Send, lose, only_with, refuse, shorten
from conftest import Swtpm, forgive
from test_client import ECDSA

from tpmwire import parents, templates
from tpmwire.client import Tpm
from tpmwire.commands import (
    Clear,
    CreateResponse,
    DictionaryAttackParameters,
    EvictControl,
    GetCapability,
)
from tpmwire.constants import TPM_CAP, TPM_CC, TPM_PT, TPM_RC, TPM_RH
from tpmwire.errors import TpmError, TpmWarning
from tpmwire.lockout import Lockout, explain
from tpmwire.objects import LoadedObject
from tpmwire.transport import connect
from tpmwire.types import TPMS_CAPABILITY_DATA, TPMS_TAGGED_PROPERTY

PIN = b"pin"
NO_DA = templates.without_lockout(templates.ECC_SIGN)


@pytest.fixture
def three_tries(tpm: Tpm) -> Iterator[None]:
    """The TPM takes three wrong PINs, and forgives one every ten minutes."""
    parameters = DictionaryAttackParameters(
        lockHandle=TPM_RH.LOCKOUT, newMaxTries=3, newRecoveryTime=600, lockoutRecovery=86400
    )
    tpm.execute(parameters)
    forgive(tpm)
    yield
    forgive(tpm)


@pytest.fixture
def key(tpm: Tpm, three_tries: None) -> Iterator[LoadedObject]:
    """A key that the lockout protects, with a PIN."""
    with tpm.create_primary(templates.ECC_SRK) as srk:
        made = srk.create(templates.ECC_SIGN, PIN)
        with srk.load(made.outPrivate, made.outPublic, PIN) as loaded:
            yield loaded


def refusal(key: LoadedObject, auth: bytes) -> TpmError:
    key.auth = auth
    with pytest.raises(TpmError) as caught:
        key.sign(bytes(32), ECDSA)
    return caught.value


def test_a_wrong_pin_tells_how_many_tries_are_left_and_a_lockout_how_long_to_wait(
    key: LoadedObject,
):
    told = [refusal(key, b"wrong") for _ in range(4)]
    assert [error.code for error in told] == [TPM_RC.AUTH_FAIL] * 3 + [TPM_RC.LOCKOUT]
    assert [error.help for error in told] == [
        "2 tries left before the TPM locks",
        "1 try left before the TPM locks",
        "one more try in at most 10 minutes",
        "one more try in at most 10 minutes",
    ]
    assert isinstance(told[3], TpmWarning)
    assert str(told[0]) == (
        "TPM_RC_AUTH_FAIL (session 1) from Sign: the authorization (PIN, password) is wrong, and "
        "the failure counts; 2 tries left before the TPM locks"
    )
    assert str(told[3]).endswith(
        "the TPM refuses protected keys for a while; one more try in at most 10 minutes"
    )


def test_the_right_pin_is_refused_during_a_lockout_and_the_error_tells_the_same(
    key: LoadedObject,
):
    for _ in range(3):
        refusal(key, b"wrong")
    error = refusal(key, PIN)
    assert (error.code, error.help) == (TPM_RC.LOCKOUT, "one more try in at most 10 minutes")


def test_a_wrong_pin_of_an_exempt_key_counts_nothing_and_tells_nothing(tpm: Tpm):
    with tpm.create_primary(templates.ECC_SRK) as srk:
        made = srk.create(NO_DA, PIN)
        with srk.load(made.outPrivate, made.outPublic, b"wrong") as key:
            error = refusal(key, b"wrong")
    assert (error.code, error.help) == (TPM_RC.BAD_AUTH, "")


def asked(tpm: Tpm, key: LoadedObject, meddle: Meddle, auth: bytes) -> tuple[list[int], TpmError]:
    """The codes of what is sent, and the error, with somebody in between."""
    between = Between(tpm._transport, meddle)
    parent = key.salt_key
    assert parent is not None
    forged = Tpm(between)
    own = LoadedObject(forged, parent.handle, parent.public)
    loaded = LoadedObject(forged, key.handle, key.public, auth, salt_key=own)
    with pytest.raises(TpmError) as caught:
        loaded.sign(bytes(32), ECDSA)
    return between.codes, caught.value


def pass_on(send: Send, command: bytes) -> bytes:
    return send(command)


def test_the_tpm_is_asked_only_after_such_a_failure(tpm: Tpm, key: LoadedObject):
    codes, _ = asked(tpm, key, pass_on, b"wrong")
    assert codes.count(TPM_CC.GetCapability) == 1
    refused = only_with(TPM_CC.Sign, refuse)
    codes, error = asked(tpm, key, refused, PIN)
    assert TPM_CC.GetCapability not in codes
    assert (error.raw, error.help) == (0x101, "")
    between = Between(tpm._transport)
    own = LoadedObject(Tpm(between), key.handle, key.public, PIN, salt_key=key.salt_key)
    own.sign(bytes(32), ECDSA)
    assert TPM_CC.GetCapability not in between.codes


@pytest.mark.parametrize("fault", [refuse, lose, shorten], ids=lambda fault: fault.__name__)
def test_a_failure_to_ask_does_not_hide_the_first_one(tpm: Tpm, key: LoadedObject, fault: Meddle):
    _, error = asked(tpm, key, only_with(TPM_CC.GetCapability, fault), b"wrong")
    assert (error.code, error.command, error.help) == (TPM_RC.AUTH_FAIL, "Sign", "")


def test_a_tpm_that_does_not_tell_is_no_failure():
    def silent(command: GetCapability) -> object:
        data = TPMS_CAPABILITY_DATA(capability=TPM_CAP.TPM_PROPERTIES, data=())
        return GetCapability.RESPONSE(moreData=False, capabilityData=data)

    error = TpmError(0x98E, "Sign")
    explain(silent, error)
    assert error.help == ""


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        (0, "the TPM forgives none by itself"),
        (1, "one more try in at most 1 second"),
        (90, "one more try in at most 90 seconds"),
        (60, "one more try in at most 1 minute"),
        (1000, "one more try in at most 1000 seconds"),
        (7200, "one more try in at most 2 hours"),
    ],
)
def test_how_long_to_wait_is_told_in_the_largest_unit_that_fits(interval: int, words: str):
    def told(command: GetCapability) -> object:
        values = {
            TPM_PT.PERMANENT: 0x200,
            TPM_PT.LOCKOUT_COUNTER: 7,
            TPM_PT.MAX_AUTH_FAIL: 5,
            TPM_PT.LOCKOUT_INTERVAL: interval,
            TPM_PT.LOCKOUT_RECOVERY: 1,
        }
        listed = tuple(TPMS_TAGGED_PROPERTY(property=k, value=v) for k, v in values.items())
        data = TPMS_CAPABILITY_DATA(capability=TPM_CAP.TPM_PROPERTIES, data=listed)
        return GetCapability.RESPONSE(moreData=False, capabilityData=data)

    assert Lockout.read(told) == Lockout(True, 7, 5, interval, 1)
    assert Lockout.read(told).tries_left == 0
    for code in (0x921, 0x98E):
        error = TpmError(code, "Sign")
        explain(told, error)
        assert error.help == words


@pytest.mark.skipif(shutil.which("tpm2_getcap") is None, reason="tpm2-tools are not installed")
def test_the_state_is_the_one_that_tpm2_tools_read(swtpm: Swtpm):
    with Tpm(connect(swtpm.conf)) as tpm:
        state = Lockout.read(tpm.execute)
    command = ["tpm2_getcap", "-T", swtpm.conf, "properties-variable"]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    values = dict(line.split(": ") for line in printed.splitlines() if ": 0x" in line)
    names = ("LOCKOUT_COUNTER", "MAX_AUTH_FAIL", "LOCKOUT_INTERVAL", "LOCKOUT_RECOVERY")
    read = [int(values[f"TPM2_PT_{name}"], 16) for name in names]
    assert read == [state.failures, state.most_failures, state.interval, state.recovery]


# --- a key that is not loaded -----------------------------------------------------------------


@pytest.fixture
def made(tpm: Tpm) -> tuple[CreateResponse, bytes]:
    """A key under the owner's primary key, and the Name of that."""
    with tpm.create_primary(templates.ECC_SRK) as srk:
        return srk.create(NO_DA), srk.name


def load_refusal(
    tpm: Tpm, parent: LoadedObject, made: tuple[CreateResponse, bytes], private: bytes = b""
) -> TpmError:
    response, name = made
    private = private or response.outPrivate
    with pytest.raises(TpmError) as caught:
        parents.load(tpm, parent, private, response.outPublic, parent_name=name)
    assert caught.value.code == TPM_RC.INTEGRITY
    return caught.value


def test_the_right_parent_loads_the_key(tpm: Tpm, made: tuple[CreateResponse, bytes]):
    response, name = made
    with tpm.create_primary(templates.ECC_SRK) as srk:
        loaded = parents.load(
            tpm, srk, response.outPrivate, response.outPublic, auth=b"", parent_name=name
        )
        with loaded as key:
            key.sign(bytes(32), ECDSA)


def test_a_damaged_private_part_is_told_from_a_wrong_parent(
    tpm: Tpm, made: tuple[CreateResponse, bytes]
):
    private = made[0].outPrivate
    damaged = private[:-1] + bytes([private[-1] ^ 1])
    with tpm.create_primary(templates.ECC_SRK) as srk:
        error = load_refusal(tpm, srk, made, damaged)
    assert error.help.startswith("the parent is the right one, so the private part is damaged")
    assert error.help in str(error)


def test_no_parent_is_called_right_where_the_file_names_none(
    tpm: Tpm, made: tuple[CreateResponse, bytes]
):
    with tpm.create_primary(templates.ECC_SRK, TPM_RH.ENDORSEMENT) as other:
        error = load_refusal(tpm, other, (made[0], b""))
    assert error.help.startswith("the private part is damaged, or of another parent")


def test_the_right_parent_is_named_where_it_is_another_primary_key(
    tpm: Tpm, made: tuple[CreateResponse, bytes]
):
    with tpm.create_primary(templates.ECC_SRK, TPM_RH.ENDORSEMENT) as other:
        error = load_refusal(tpm, other, made)
    expected = "this is the wrong parent; the right one is the primary key of the owner hierarchy"
    assert error.help == expected


def test_the_right_parent_is_named_where_it_is_persistent(
    tpm: Tpm, made: tuple[CreateResponse, bytes]
):
    handle = 0x81000042
    with tpm.create_primary(templates.ECC_SRK) as srk:
        keep = EvictControl(auth=TPM_RH.OWNER, objectHandle=srk, persistentHandle=handle)
        tpm.execute(keep)
    with tpm.create_primary(templates.ECC_SRK, TPM_RH.ENDORSEMENT) as other:
        error = load_refusal(tpm, other, made)
    tpm.execute(keep.replace(objectHandle=handle))
    assert error.help == f"this is the wrong parent; the right one is {handle:#010x}"


def test_a_cleared_tpm_is_told_from_a_wrong_parent(tpm: Tpm, made: tuple[CreateResponse, bytes]):
    tpm.execute(Clear(authHandle=TPM_RH.PLATFORM))
    with tpm.create_primary(templates.ECC_SRK) as srk:
        error = load_refusal(tpm, srk, made)
    expected = "the right parent is not in this TPM: it is another TPM, or was cleared since"
    assert error.help == expected


@pytest.mark.parametrize("fault", [refuse, lose, shorten], ids=lambda fault: fault.__name__)
def test_a_failure_to_look_for_the_parent_does_not_hide_the_first_one(
    tpm: Tpm, made: tuple[CreateResponse, bytes], fault: Meddle
):
    meddled = Tpm(Between(tpm._transport, only_with(TPM_CC.GetCapability, fault)))
    with tpm.create_primary(templates.ECC_SRK, TPM_RH.ENDORSEMENT) as other:
        error = load_refusal(meddled, other, made)
    assert error.command == "Load"
    assert error.help == ""
