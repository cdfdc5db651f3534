"""Errors: response codes as tpm2-tools and the specification read them, and the exceptions."""

import copy
import csv
import pickle
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tpmwire import errors
from tpmwire.client import Tpm
from tpmwire.commands import ReadPublic
from tpmwire.constants import TPM_RC
from tpmwire.errors import (
    EXPLANATIONS,
    LAYERS,
    ConfError,
    DecodeError,
    EncodeError,
    Error,
    KeyFileError,
    SessionError,
    TpmError,
    TpmWarning,
    TransportError,
    tpm_error,
)

TABLE = Path(__file__).parent / "vectors" / "spec" / "constants.csv"
with TABLE.open() as table:
    CODES = [row for row in csv.DictReader(table) if row["type"] == "TPM_RC"]
FORMAT_0 = {row["name"]: int(row["value"], 16) for row in CODES if row["notes"][:4] == "fmt0"}
FORMAT_1 = {
    row["name"]: int(row["value"], 16) for row in CODES if row["notes"].partition(";")[0] == "fmt1"
}
WARNINGS = {row["name"] for row in CODES if row["notes"] == "fmt0 warning"}
NUMBERS = {
    int(row["notes"].split()[3]): int(row["value"], 16)
    for row in CODES
    if row["notes"].startswith("fmt1 modifier: number")
}

words_of_32_bits = st.integers(0, 0xFFFFFFFF)
words_of_the_tpm = st.integers(0, 0xFFF) | st.integers(0, 0xFFF).map(lambda rc: 0xB0000 | rc)


@given(raw=words_of_32_bits | words_of_the_tpm, command=st.text(max_size=5))
@example(raw=0, command="")
@example(raw=0xFFFFFFFF, command="Sign")
def test_any_number_is_an_exception_that_can_be_shown(raw: int, command: str):
    error = tpm_error(raw, command)
    assert isinstance(error, TpmError)
    assert (error.raw, error.command) == (raw, command)
    named = isinstance(error.code, TPM_RC)
    assert str(error).startswith("TPM_RC_" if named else ("response code", "vendor response"))
    assert named or f"{raw:#x}" in str(error)
    assert command in str(error)
    assert repr(error)


@given(raw=words_of_the_tpm)
def test_code_subject_and_index_say_all_that_the_number_does(raw: int):
    error = tpm_error(raw)
    again = {
        "": error.code,
        "handle": error.code | error.index << 8,
        "session": error.code | error.index << 8 | 0x800,
        "parameter": error.code | error.index << 8 | 0x040,
    }
    assert again[error.subject] | error.layer << 16 == raw


@given(raw=words_of_32_bits)
def test_the_layer_is_an_octet_of_the_number(raw: int):
    assert tpm_error(raw).layer == raw.to_bytes(4, "big")[1]


@pytest.mark.parametrize(("name", "value"), FORMAT_0.items())
def test_a_code_of_format_0_is_called_as_in_the_table(name: str, value: int):
    error = tpm_error(value)
    if name == "TPM_RC_NOT_USED":  # a mark in the table, which no TPM sends
        assert str(error) == "response code 0x97f"
        return
    assert str(error).partition(":")[0] == name
    assert (error.code, error.subject, error.index) == (value, "", 0)
    assert isinstance(error, TpmWarning) == (name in WARNINGS)


def test_the_table_has_codes_of_all_kinds():
    assert len(FORMAT_0) > 60
    assert len(FORMAT_1) > 35
    assert len(WARNINGS) > 25
    assert set(NUMBERS) == set(range(1, 16))


@pytest.mark.parametrize(("name", "value"), FORMAT_1.items())
def test_a_code_of_format_1_is_called_as_in_the_table_wherever_the_fault_is(name: str, value: int):
    for number, bits in NUMBERS.items():
        parameter = tpm_error(value | bits | 0x040)
        other = tpm_error(value | bits)
        subject = "session" if bits & 0x800 else "handle"
        index = number & 7
        assert (parameter.code, parameter.subject, parameter.index) == (value, "parameter", number)
        assert (other.code, other.subject, other.index) == (value, subject, index)
        assert str(parameter).partition(":")[0] == f"{name} (parameter {number})"
        place = f"({subject} {index})" if index else f"({subject})"
        assert str(other).partition(":")[0] == f"{name} {place}"
        assert type(parameter) is type(other) is TpmError


RC_DECODE = shutil.which("tpm2_rc_decode")
with_rc_decode = pytest.mark.skipif(RC_DECODE is None, reason="tpm2_rc_decode is not installed")
DECODED = re.compile(
    r"(?P<layer>\w+):"
    r"((?P<subject>handle|session|parameter)\((?P<index>\w+)\)|(?P<kind>error|warn)\(2.0\)):"
    r"(?P<text>.+)"
)


def rc_decode(raw: int) -> str:
    """What tpm2-tools say of a response code."""
    command = [str(RC_DECODE), f"{raw:#x}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


def decoded(raw: int) -> "re.Match[str]":
    found = DECODED.fullmatch(rc_decode(raw))
    assert found, rc_decode(raw)
    return found


# Words of tpm2-tools' explanations that tell a code from the others.
WORDS = {
    TPM_RC.INITIALIZE: "TPM2_Startup",
    TPM_RC.FAILURE: "TPM failure",
    TPM_RC.AUTH_MISSING: "requires an authorization session",
    TPM_RC.PCR_CHANGED: "PCR have changed",
    TPM_RC.COMMAND_CODE: "command code not supported",
    TPM_RC.NV_DEFINED: "already defined",
    TPM_RC.NV_LOCKED: "NV access locked",
    TPM_RC.ASYMMETRIC: "asymmetric algorithm",
    TPM_RC.ATTRIBUTES: "inconsistent attributes",
    TPM_RC.HASH: "hash algorithm",
    TPM_RC.VALUE: "out of range or is not correct",
    TPM_RC.HIERARCHY: "hierarchy",
    TPM_RC.KEY_SIZE: "key size is not supported",
    TPM_RC.HANDLE: "the handle is not correct",
    TPM_RC.AUTH_FAIL: "DA counter incremented",
    TPM_RC.SCHEME: "scheme",
    TPM_RC.SIZE: "wrong size",
    TPM_RC.INSUFFICIENT: "not enough octets",
    TPM_RC.SIGNATURE: "signature is not valid",
    TPM_RC.POLICY_FAIL: "policy check failed",
    TPM_RC.INTEGRITY: "integrity check failed",
    TPM_RC.TICKET: "invalid ticket",
    TPM_RC.BAD_AUTH: "without DA implications",
    TPM_RC.EXPIRED: "expired",
    TPM_RC.CURVE: "curve not supported",
    TPM_RC.ECC_POINT: "not on the required curve",
    TPM_RC.OBJECT_MEMORY: "memory for object contexts",
    TPM_RC.YIELDED: "suspended operation",
    TPM_RC.TESTING: "selftests",
    TPM_RC.NV_RATE: "rate limiting",
    TPM_RC.LOCKOUT: "DA lockout mode",
    TPM_RC.RETRY: "not able to start",
    TPM_RC.REFERENCE_S2: "3rd authorization session",
}


@with_rc_decode
@pytest.mark.parametrize("code", WORDS, ids=lambda code: code.name)
def test_a_code_means_to_tpm2_tools_what_its_name_says(code: TPM_RC):
    places = (0x000, 0x100, 0x240, 0x900) if code in FORMAT_1.values() else (0,)
    for place in places:
        assert WORDS[code] in decoded(code | place)["text"]
        assert str(tpm_error(code | place)).startswith(f"TPM_RC_{code.name}")


@with_rc_decode
@pytest.mark.parametrize("raw", [code | layer for code in WORDS for layer in (0, 0xB0000)][::2])
def test_a_warning_is_what_tpm2_tools_call_one(raw: int):
    assert isinstance(tpm_error(raw), TpmWarning) == (decoded(raw)["kind"] == "warn")


@with_rc_decode
@pytest.mark.parametrize("layer", [0, 11])
@pytest.mark.parametrize("place", [0x000, 0x100, 0x700, 0x040, 0x140, 0x740, 0x800, 0x900, 0xF00])
def test_the_place_is_the_one_that_tpm2_tools_tell(layer: int, place: int):
    raw = layer << 16 | TPM_RC.VALUE | place
    error, theirs = tpm_error(raw), decoded(raw)
    assert error.code == TPM_RC.VALUE
    assert theirs["subject"] == error.subject
    assert theirs["index"] == (str(error.index) if error.index else "unk")
    assert theirs["layer"] == {0: "tpm", 11: "rmt"}[error.layer]
    assert (f"[{LAYERS[11]}]" in str(error)) == (layer == 11)


ABBREVIATIONS = {"RESOURCE MANAGER": "RM", "DRIVER": "DRVR", "SAPI": "SYS"}


@with_rc_decode
@pytest.mark.parametrize("layer", set(LAYERS) - {11})
def test_the_other_layers_are_called_as_by_tpm2_tools_and_have_codes_of_their_own(layer: int):
    for code in (TPM_RC.BAD_TAG, TPM_RC.RETRY, TPM_RC.VALUE):
        raw = layer << 16 | code
        name = LAYERS[layer].upper()
        assert rc_decode(raw).startswith(ABBREVIATIONS.get(name, name).lower() + ":")
        error = tpm_error(raw, "Sign")
        assert type(error) is TpmError
        assert error.code not in set(TPM_RC)
        assert str(error) == f"response code {raw:#x} [{LAYERS[layer]}] from Sign"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (0x98E, "TPM_RC_AUTH_FAIL (session 1) from Sign: the authorization (PIN, password) is"),
        (0x18B, "TPM_RC_HANDLE (handle 1) from Sign: no object or session has this handle"),
        (0x2C4, "TPM_RC_VALUE (parameter 2) from Sign: the value is out of range"),
        (0xFC4, "TPM_RC_VALUE (parameter 15) from Sign: the value"),
        (0x084, "TPM_RC_VALUE (handle) from Sign: the value"),
        (0x921, "TPM_RC_LOCKOUT from Sign: too many wrong authorizations"),
        (0xB0143, "TPM_RC_COMMAND_CODE [resource manager] from Sign: this TPM does not have"),
        (0x7F0143, "response code 0x7f0143 [layer 127] from Sign"),
        (0x0BF, "response code 0xbf (handle) from Sign"),
        (0x5FF, "response code 0x5ff (parameter 5) from Sign"),
        (0x17F, "response code 0x17f from Sign"),
        (0x57F, "vendor response code 0x57f from Sign"),
        (0xD22, "vendor response code 0xd22 from Sign"),
        (0xA0500, "response code 0xa0500 [TCTI] from Sign"),
        (0x400, "response code 0x400 from Sign"),  # not one of TPM 2.0
        (0x1922, "response code 0x1922 from Sign"),  # a reserved bit is set
        (0x1000921, "response code 0x1000921 from Sign"),
        (0xB22, "response code 0xb22 from Sign"),
    ],
)
def test_the_message_says_what_where_by_whom_and_why(raw: int, text: str):
    error = tpm_error(raw, "Sign")
    assert str(error).startswith(text)
    assert "None" not in str(error)
    assert isinstance(error, TpmWarning) == (raw == 0x921)


def test_a_tpm_refuses_a_handle_that_it_does_not_have(tpm: Tpm):
    with pytest.raises(TpmError) as caught:
        tpm.execute(ReadPublic(objectHandle=0x81FFFFFF))
    error = caught.value
    assert (error.code, error.raw) == (TPM_RC.HANDLE, 0x18B)
    assert (error.subject, error.index, error.layer) == ("handle", 1, 0)
    assert error.command == "ReadPublic"


EXAMPLES = [
    EncodeError("it does not fit", "Sign.digest"),
    DecodeError("3 octets left over"),
    tpm_error(0x98E, "Sign"),
    tpm_error(0x922, "Sign"),
    SessionError("the HMAC is wrong"),
    TransportError(2, "no TPM there"),
    ConfError("no such kind"),
    KeyFileError("malformed"),
]
every_kind = pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)


@every_kind
@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))]
)
def test_a_copied_or_pickled_error_is_the_same(copied, error: Error):
    again = copied(error)
    assert type(again) is type(error)
    assert (str(again), repr(again)) == (str(error), repr(error))
    assert vars(again) == vars(error)
    assert again.args == error.args


@given(reason=st.text(), path=st.text(max_size=5))
def test_an_error_at_a_field_says_where_and_what(reason: str, path: str):
    for error in (EncodeError(reason, path), DecodeError(reason, path)):
        assert (error.reason, error.path) == (reason, path)
        assert str(error) == (f"{path}: {reason}" if path else reason)


def test_the_tree_in_the_docstring_is_the_one_that_there_is():
    drawn = re.findall(r"^ {4}([│ ]*)[├└]── (\w+)(?: \(also (\w+)\))?", errors.__doc__ or "", re.M)
    above = {"": "Error", "│   ": "TpmError"}
    found = {
        name: cls
        for name, cls in vars(errors).items()
        if isinstance(cls, type) and issubclass(cls, Error) and name[0] != "_" and cls is not Error
    }
    assert {name for _, name, _ in drawn} == set(found)
    for indent, name, also in drawn:
        parents = {cls.__name__ for cls in found[name].__mro__[1:]}
        assert above[indent] in parents
        assert ("TpmError" in parents) == (indent != "")
        builtin = {"ValueError", "OSError"} & parents
        assert builtin == ({also} if also else set())


@every_kind
def test_the_package_gives_each_kind_a_place_at_the_top(error: Error):
    import tpmwire

    assert getattr(tpmwire, type(error).__name__) is type(error)
    assert type(error).__name__ in tpmwire.__all__


@pytest.mark.parametrize("code", EXPLANATIONS, ids=lambda code: TPM_RC(code).name)
def test_explanations_fit_behind_a_colon(code: int):
    text = EXPLANATIONS[code]
    assert text
    assert not text.endswith(".")
    assert str(tpm_error(code)).endswith(f": {text}")


def test_a_transport_error_is_shown_without_the_number_of_the_system():
    error = errors.TransportError(2, "/dev/tpmrm0: no TPM there")
    assert str(error) == "/dev/tpmrm0: no TPM there"
    assert (error.errno, error.strerror) == (2, "/dev/tpmrm0: no TPM there")
    assert str(errors.TransportError("gone")) == "gone"
