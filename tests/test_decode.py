"""tpmwire decode: what it prints, held against what other programs say of the same octets."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import COMMAND_CLASSES, mutated, structures
from vectors import DIRECTORY, VECTORS, Vector

import tpmwire
from tpmwire import constants
from tpmwire.attributes import TPMA_LOCALITY, TPMA_SESSION
from tpmwire.commands import (
    COMMANDS,
    Command,
    Create,
    CreatePrimary,
    GetCapability,
    GetRandom,
    HashSequenceStart,
    HierarchyChangeAuth,
    LoadExternal,
    NV_ChangeAuth,
    ObjectChangeAuth,
    PCR_SetAuthValue,
    Response,
    Unseal,
    UnsealResponse,
)
from tpmwire.commands.base import ResponseFrame
from tpmwire.commands.damaged import read_command, read_response
from tpmwire.constants import (
    TPM_ALG,
    TPM_CAP,
    TPM_CC,
    TPM_ECC,
    TPM_PT,
    TPM_RC,
    TPM_RH,
    TPM_ST,
)
from tpmwire.scripts.main import main
from tpmwire.showing.data import Data
from tpmwire.showing.dissection import Dissection, dissect
from tpmwire.showing.paint import Paint
from tpmwire.showing.text import Text
from tpmwire.showing.words import flag_names, handle_words, pcr_words
from tpmwire.templates import ECC_SIGN
from tpmwire.traces import Exchange, Kind, Message, Place
from tpmwire.types import TPMS_AUTH_COMMAND, TPMS_SENSITIVE_CREATE, TPMT_SENSITIVE
from tpmwire.wire import Encrypted

TRACE = DIRECTORY / "traces" / "create.pcapng"
GET_RANDOM = "80010000000c0000017b0010"
RANDOM = "80010000000e00000000000201ff"
HERE = Place("octet", 0)


def taken(sent: bytes | None, received: bytes | None = None, code: int | None = None) -> Dissection:
    """Take an exchange apart that consists of these octets."""
    messages = [None if data is None else Message(data, HERE) for data in (sent, received)]
    return dissect(Exchange(*messages), code)


def text(dissection: Dissection, **options: bool) -> str:
    return Text(Paint(colour=False), **options).exchange(1, dissection)


def decode(*arguments: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """Run the script as a program of its own."""
    command = [sys.executable, "-m", "tpmwire.scripts.main", "decode", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60)


def values(shown: str, name: str) -> list[str]:
    """What stands behind a name in the text."""
    return re.findall(rf"^ +{re.escape(name)} {{2,}}(.*)$", shown, re.M)


# --- against other programs --------------------------------------------------------------------


def follow(data: Any, path: list[str]) -> Any:
    """Go down a path of keys; `*` is each element, and octets may hold a structure."""
    if not path:
        return data
    if isinstance(data, dict) and "content" in data:
        data = data["content"]
    first, *others = path
    if first == "*":
        return [follow(element, others) for element in data]
    if "names" in data:  # a number inside of attributes, with its name
        (name,) = (name for name in data["names"] if name.startswith(f"{first}="))
        return int(getattr(constants, first)[name.removeprefix(f"{first}=")])
    return follow(data[first], others)


def number(data: Any) -> Any:
    """The number of an enumeration, a handle or attributes; else what it is."""
    if isinstance(data, list):
        return [number(element) for element in data]
    return data.get("value", data.get("octets")) if isinstance(data, dict) else data


@pytest.mark.parametrize("vector", [v for v in VECTORS if v.fields], ids=str)
def test_json_has_the_values_that_the_programs_printed(vector: Vector):
    code = TPM_CC[vector.command]
    response = Data(secrets=True).exchange(1, taken(vector.sent, vector.received))["response"]
    fields = response["handles"] | response["parameters"]
    assert response["code"]["name"] == "TPM_RC_SUCCESS"
    assert code in COMMANDS
    for path, printed in vector.fields.items():
        first, *others = path.split(".")
        if isinstance(fields[first], dict) and "encrypted" in fields[first]:
            continue
        found = number(follow(fields[first], others))
        assert found == (bool(printed) if isinstance(found, bool) else printed), path


@pytest.mark.parametrize("vector", [v for v in VECTORS if v.fields], ids=str)
def test_the_text_has_the_octets_that_the_programs_printed(vector: Vector):
    shown = text(taken(vector.sent, vector.received), full=True, secrets=True)
    for printed in vector.fields.values():
        if isinstance(printed, str) and len(printed) > 8 and "encrypted" not in shown:
            assert printed in shown


REFUSED = sorted({v.received[6:10] for v in VECTORS if v.received[6:10] != bytes(4)})


@pytest.mark.skipif(shutil.which("tpm2_rc_decode") is None, reason="tpm2-tools is not installed")
def test_response_codes_point_where_tpm2_tools_point():
    assert len(REFUSED) > 20
    for code in REFUSED:
        asked = subprocess.run(
            ["tpm2_rc_decode", f"0x{code.hex()}"], capture_output=True, text=True, timeout=60
        )
        place = re.search(r":(session|handle|parameter)\((\d+)\)", asked.stdout)
        shown = text(taken(None, bytes.fromhex("80010000000a") + code)).splitlines()[0]
        assert (f"({place[1]} {place[2]})" in shown) if place else "(session" not in shown
        assert ("warn" in asked.stdout) == (shown.split(": ")[1] in WARNINGS)


WARNINGS = {f"TPM_RC_{code.name}" for code in TPM_RC if 0x900 <= code < 0x980}


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_a_trace_has_the_commands_and_response_codes_that_wireshark_sees(
    capsys: pytest.CaptureFixture[str],
):
    command = ["tshark", "-r", str(TRACE), "-T", "fields", "-e", "_ws.col.Info"]
    seen = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    names = re.findall(r"Command TPM2_CC_(\w+)", seen)
    sizes = [int(size) for size in re.findall(r"len\((\d+)\)", seen)]
    assert main(["decode", "--json", str(TRACE)]) == 0
    exchanges = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["name"] for each in exchanges] == names
    assert [m["size"] for each in exchanges for m in (each["command"], each["response"])] == sizes
    failed = [each["response"]["code"]["value"] != 0 for each in exchanges]
    assert failed == ["Success" not in line for line in seen.splitlines()[1::2]]


# --- how it reads ------------------------------------------------------------------------------

CREATE = Create(
    parentHandle=0x81000001,
    inSensitive=TPMS_SENSITIVE_CREATE(userAuth=b"my PIN"),
    inPublic=ECC_SIGN,
    outsideInfo=b"for the record",
)


def test_a_create_command_needs_no_book_beside_it():
    password = TPMS_AUTH_COMMAND(sessionHandle=TPM_RH.RS_PW, hmac=b"parent")
    shown = text(taken(CREATE.frame([password])))
    assert shown.splitlines()[0] == "#1 Create: no response recorded"
    assert values(shown, "parentHandle") == ["persistent object 0x81000001"]
    assert values(shown, "authorization 1") == [
        "password: 6 octets, secret, for parentHandle (USER role)"
    ]
    assert values(shown, "userAuth") == ["6 octets, secret"]
    assert values(shown, "type") == ["ECC"]
    assert values(shown, "nameAlg") == ["SHA256"]
    assert values(shown, "curveID") == ["NIST_P256"]
    assert values(shown, "symmetric") == ["NULL"]
    assert values(shown, "outsideInfo") == ['666f7220746865207265636f7264  "for the record"']
    assert values(shown, "creationPCR") == ["none"]
    assert "fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth" in shown


def test_an_error_says_which_field_is_at_fault():
    refused = bytes.fromhex("80010000000a000002c4")  # TPM_RC_VALUE, parameter 2
    shown = text(taken(CREATE.frame(), refused))
    assert "TPM_RC_VALUE (parameter 2, inPublic): " in shown.splitlines()[0]
    wrong = bytes.fromhex("80010000000a0000098e")  # TPM_RC_AUTH_FAIL, session 1
    shown = text(taken(CREATE.frame(), wrong))
    assert "TPM_RC_AUTH_FAIL (session 1, parentHandle): " in shown.splitlines()[0]
    code = Data().exchange(1, taken(CREATE.frame(), wrong))["response"]["code"]
    assert code.pop("words").startswith("TPM_RC_AUTH_FAIL (session 1, parentHandle): the auth")
    assert code == {
        "value": 0x98E,
        "name": "TPM_RC_AUTH_FAIL",
        "layer": 0,
        "subject": "session",
        "index": 1,
        "field": "parentHandle",
    }


@pytest.mark.parametrize(
    ("handle", "words"),
    [
        (7, "PCR 7"),
        (0x01C00002, "NV index 0x01c00002"),
        (0x02000001, "HMAC session 0x02000001"),
        (0x03000000, "policy session 0x03000000"),
        (0x40000001, "owner hierarchy (TPM_RH_OWNER)"),
        (0x40000007, "null hierarchy (TPM_RH_NULL)"),
        (0x40000009, "password (TPM_RS_PW)"),
        (0x40000110, "TPM_RH_ACT_0"),
        (0x40001234, "permanent handle 0x40001234"),
        (0x80000002, "transient object 0x80000002"),
        (0x81800000, "persistent object 0x81800000"),
        (0xFF000000, "handle 0xff000000"),
    ],
)
def test_handles_are_told_by_kind(handle: int, words: str):
    assert handle_words(handle) == words


@pytest.mark.parametrize(
    ("selected", "words"),
    [
        ("", "none"),
        ("000000", "none"),
        ("ffffff", "0-23"),
        ("810000", "0, 7"),
        ("070001", "0-2, 16"),
        ("030002", "0-1, 17"),
    ],
)
def test_pcrs_are_told_by_number(selected: str, words: str):
    assert pcr_words(bytes.fromhex(selected)) == words


def test_what_is_asked_for_of_the_capabilities_is_named():
    question = GetCapability(
        capability=TPM_CAP.TPM_PROPERTIES, property=TPM_PT.MANUFACTURER, propertyCount=1
    )
    answer = bytes.fromhex("80010000001b 00000000 01 00000006 00000001 00000105 49424d00")
    shown = text(taken(question.frame(), answer))
    assert values(shown, "property") == ["MANUFACTURER"]
    assert values(shown, "data") == ['MANUFACTURER: "IBM"']
    handles = question.replace(capability=TPM_CAP.HANDLES, property=0x81000000)
    assert values(text(taken(handles.frame())), "property") == ["persistent object 0x81000000"]


def test_a_handle_says_where_it_comes_from():
    writer = Text(Paint(colour=False))
    made = next(v for v in VECTORS if v.command == "CreatePrimary" and v.received[9:10] == b"\0")
    handle = int.from_bytes(made.received[10:14], "big")
    first = writer.exchange(1, taken(made.sent, made.received))
    assert f"transient object {handle:#010x}\n" in first
    second = writer.exchange(2, taken(CREATE.replace(parentHandle=handle).frame()))
    assert values(second, "parentHandle") == [f"transient object {handle:#010x}, from #1"]


def test_an_encrypted_parameter_is_said_to_be_encrypted():
    sealed = [
        taken(v.sent, v.received)
        for v in VECTORS
        if any(
            isinstance(value, Encrypted)
            for value in vars(read_command(v.sent).frame.command).values()
        )
    ]
    assert len(sealed) > 2
    for dissection in sealed:
        assert re.search(r"^    \w+ +[0-9a-f.]+.*  encrypted$", text(dissection), re.M)
        (parameter, *_) = Data().exchange(1, dissection)["command"]["parameters"].values()
        assert set(parameter) == {"encrypted"}


def test_long_octets_are_shortened_unless_all_are_wanted():
    long = CREATE.replace(outsideInfo=bytes(range(60)))
    assert values(text(taken(long.frame())), "outsideInfo") == [
        f"{bytes(range(28)).hex()}... (60 octets)"
    ]
    assert values(text(taken(long.frame()), full=True), "outsideInfo") == [bytes(range(60)).hex()]


def test_the_text_is_ascii_and_no_line_is_much_longer_than_a_terminal():
    for vector in VECTORS:
        for line in text(taken(vector.sent, vector.received)).splitlines():
            assert line.isascii()
            assert line.isprintable()
            assert len(line) < 125 or line.startswith("#")


def test_every_exchange_and_message_has_the_same_keys_in_json():
    exchanges = [Data().exchange(1, taken(v.sent, v.received)) for v in VECTORS]
    exchanges += [Data().exchange(1, taken(v.sent[:-1], None)) for v in VECTORS[:9]]
    exchanges += [Data().exchange(1, taken(None, v.received)) for v in VECTORS[:9]]
    assert len({tuple(each) for each in exchanges}) == 1
    messages = [each[name] for each in exchanges for name in ("command", "response") if each[name]]
    assert len({tuple(message) for message in messages}) == 1
    json.dumps(exchanges)


@given(st.sampled_from(COMMAND_CLASSES).flatmap(structures))
def test_any_command_can_be_shown(command: Command[Any]):
    dissection = taken(command.frame())
    assert not dissection.damaged
    shown = text(dissection, full=True, secrets=True)
    for field in command.schema.fields:
        assert f" {field.name}" in shown
    json.dumps(Data().exchange(1, dissection))


@given(st.sampled_from(COMMAND_CLASSES).flatmap(lambda cls: structures(cls.RESPONSE)))
def test_any_response_can_be_shown(response: Response):
    code = next(code for code, cls in COMMANDS.items() if cls.RESPONSE is type(response))
    octets = ResponseFrame(TPM_ST.NO_SESSIONS, TPM_RC.SUCCESS, response).pack()
    dissection = taken(None, octets, code)
    assert not dissection.damaged
    text(dissection)
    json.dumps(Data().exchange(1, dissection))


# --- secrets -----------------------------------------------------------------------------------


def passwords(vector: Vector) -> set[str]:
    """The passwords on the command line of the program, as hexadecimal digits."""
    given = re.findall(r" -[pPw] (?:session:[^ +]+\+)?(\w\w\w+)(?= |$)", vector.source)
    return {password.encode().hex() for password in given}


def everything_shown(dissection: Dissection, *, secrets: bool) -> str:
    shown = text(dissection, full=True, secrets=secrets)
    return shown + json.dumps(Data(secrets=secrets).exchange(1, dissection))


def test_no_password_of_any_program_is_shown_unless_it_is_asked_for():
    told = 0
    for vector in VECTORS:
        dissection = taken(vector.sent, vector.received)
        asked_for = everything_shown(dissection, secrets=True)
        shown = everything_shown(dissection, secrets=False)
        for password in passwords(vector):
            told += password in asked_for
            assert password not in shown
            assert f'"{bytes.fromhex(password).decode()}' not in text(dissection, full=True)
    assert told > 20


MARK = b"\xde\xad\xbe\xef\xfe\xed\xfa\xce" * 2

# Where the specification puts authorization values and sensitive data.
SECRETS = [
    CREATE.replace(inSensitive=TPMS_SENSITIVE_CREATE(userAuth=MARK)),
    CREATE.replace(inSensitive=TPMS_SENSITIVE_CREATE(data=MARK)),
    CreatePrimary(
        primaryHandle=TPM_RH.OWNER,
        inSensitive=TPMS_SENSITIVE_CREATE(userAuth=MARK),
        inPublic=ECC_SIGN,
    ),
    LoadExternal(
        inPrivate=TPMT_SENSITIVE(sensitiveType=TPM_ALG.ECC, sensitive=MARK), inPublic=ECC_SIGN
    ),
    LoadExternal(
        inPrivate=TPMT_SENSITIVE(sensitiveType=TPM_ALG.RSA, authValue=MARK, sensitive=b"p"),
        inPublic=ECC_SIGN,
    ),
    LoadExternal(
        inPrivate=TPMT_SENSITIVE(sensitiveType=TPM_ALG.KEYEDHASH, seedValue=MARK, sensitive=b""),
        inPublic=ECC_SIGN,
    ),
    ObjectChangeAuth(objectHandle=0x80000000, parentHandle=0x80000001, newAuth=MARK),
    HierarchyChangeAuth(authHandle=TPM_RH.OWNER, newAuth=MARK),
    NV_ChangeAuth(nvIndex=0x01500000, newAuth=MARK),
    PCR_SetAuthValue(pcrHandle=20, auth=MARK),
    HashSequenceStart(auth=MARK, hashAlg=TPM_ALG.SHA256),
]


@pytest.mark.parametrize("command", SECRETS, ids=lambda command: type(command).__name__)
def test_a_secret_of_a_command_is_shown_only_if_it_is_asked_for(command: Command[Any]):
    dissection = taken(command.frame())
    assert MARK.hex() not in everything_shown(dissection, secrets=False)
    assert MARK.hex() in everything_shown(dissection, secrets=True)


@pytest.mark.parametrize(
    ("session", "secret"), [(TPM_RH.RS_PW, True), (0x03000001, True), (0x02000001, False)]
)
def test_a_password_is_a_secret_and_an_hmac_is_none(session: int, secret: bool):
    authorization = TPMS_AUTH_COMMAND(sessionHandle=session, hmac=MARK)
    shown = everything_shown(taken(CREATE.frame([authorization])), secrets=False)
    assert (MARK.hex() not in shown) == secret


def test_secrets_of_responses_are_shown_only_if_they_are_asked_for():
    answer = ResponseFrame(TPM_ST.NO_SESSIONS, TPM_RC.SUCCESS, UnsealResponse(outData=MARK)).pack()
    dissection = taken(Unseal(itemHandle=0x80000000).frame(), answer)
    assert MARK.hex() not in everything_shown(dissection, secrets=False)
    assert MARK.hex() in everything_shown(dissection, secrets=True)


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        (b"\x80\x02" + (26).to_bytes(4, "big") + b"\x20\0\0\1" + MARK, None),  # a vendor's
        (None, b"\x80\x01" + (26).to_bytes(4, "big") + bytes(4) + MARK),  # of who knows what
    ],
)
def test_what_cannot_be_read_may_be_a_secret(sent: bytes | None, received: bytes | None):
    dissection = taken(sent, received)
    assert MARK.hex() not in everything_shown(dissection, secrets=False)
    assert MARK.hex() in everything_shown(dissection, secrets=True)
    stray = dissect(Exchange(stray=Message(MARK, HERE, Kind.STRAY, fault="lost")))
    assert MARK.hex() not in everything_shown(stray, secrets=False)
    assert MARK.hex() in everything_shown(stray, secrets=True)


def test_what_a_vendors_command_says_without_authorizations_is_shown():
    sent = b"\x80\x01" + (26).to_bytes(4, "big") + b"\x20\0\0\1" + MARK
    received = b"\x80\x01" + (26).to_bytes(4, "big") + bytes(4) + MARK
    shown = text(taken(sent, received))
    assert shown.startswith("#1 vendor command 0x20000001: success\n")
    assert values(shown, "octets") == [MARK.hex()] * 2


# --- damage ------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS[::9], ids=str)
def test_a_cut_command_is_shown_as_far_as_it_goes(vector: Vector):
    whole = text(taken(vector.sent), full=True).splitlines()
    shown_before = 0
    for size in range(1, len(vector.sent)):
        dissection = taken(vector.sent[:size])
        lines = text(dissection, full=True).splitlines()
        assert dissection.damaged
        assert "!! broken" in lines[-1]
        same = sum(1 for line in lines[2:-2] if line in whole)
        assert same >= shown_before - 1  # what a longer part says is no less, but the last line
        shown_before = same


@pytest.mark.parametrize("vector", VECTORS[::9], ids=str)
def test_a_cut_response_is_shown_as_far_as_it_goes(vector: Vector):
    for size in range(1, len(vector.received)):
        dissection = taken(vector.sent, vector.received[:size])
        assert "!! broken" in text(dissection).splitlines()[-1]
        damage = Data().exchange(1, dissection)["response"]["damage"]
        assert damage
        assert damage[-1]["octet"] is None or damage[-1]["octet"] <= size


def test_the_place_of_damage_is_told_by_octet_and_field():
    sent = bytearray(CREATE.frame())
    curve = bytes(sent).index(TPM_ECC.NIST_P256.to_bytes(2, "big") + b"\0\x10")
    scheme = curve - 2
    sent[scheme : scheme + 2] = b"\0\x01"  # no scheme of an ECC key
    shown = text(taken(bytes(sent))).splitlines()
    assert shown[-1] == (
        f"    !! broken at octet {scheme + 2}: Create.inPublic.parameters.scheme.details: "
        "nothing is known for scheme <TPM_ALG.RSA: 1>"
    )
    assert shown[-2].split() == ["scheme", "RSA"]
    (damage,) = Data().exchange(1, taken(bytes(sent)))["command"]["damage"]
    assert damage["octet"] == scheme + 2
    assert damage["path"] == "Create.inPublic.parameters.scheme.details"


def test_a_structure_that_is_cut_is_shown_as_far_as_it_goes():
    sent = CREATE.frame()
    curve = sent.index(TPM_ECC.NIST_P256.to_bytes(2, "big") + b"\0\x10")
    shown = text(taken(sent[: curve + 3]))
    assert values(shown, "curveID") == ["NIST_P256"]
    assert "kdf" in shown.splitlines()[-3]
    assert "header.size" in shown.splitlines()[-2]
    assert "Create.inPublic: " in shown.splitlines()[-1]


def test_elements_of_a_list_before_the_break_are_shown():
    question = GetCapability(capability=TPM_CAP.ECC_CURVES, propertyCount=3)
    answer = bytes.fromhex("800100000019 00000000 00 00000008 00000003 0003 0004 0005")
    shown = text(taken(question.frame(), answer[:-1]))
    assert values(shown, "data") == ["NIST_P256, NIST_P384"]


def test_equal_numbers_of_different_attributes_have_different_names():
    assert flag_names(TPMA_LOCALITY(1)) == ["TPM_LOC_ZERO"]
    assert flag_names(TPMA_SESSION(1)) == ["continueSession"]
    assert flag_names(TPMA_LOCALITY(0x47)) == [
        *("TPM_LOC_ZERO", "TPM_LOC_ONE", "TPM_LOC_TWO"),
        "Extended=2",
    ]


def test_a_size_that_is_wrong_does_not_hide_the_rest():
    sent = CREATE.frame()
    wrong = sent[:2] + (len(sent) + 7).to_bytes(4, "big") + sent[6:]
    assert text(taken(wrong)).splitlines()[2:-1] == text(taken(sent)).splitlines()[2:]
    assert "header.size" in text(taken(wrong)).splitlines()[-1]


def test_octets_left_over_are_told_after_everything_else():
    authorization = TPMS_AUTH_COMMAND(sessionHandle=TPM_RH.RS_PW)
    sent = GetRandom(bytesRequested=8).frame([authorization])
    long = sent[:2] + (len(sent) + 1).to_bytes(4, "big") + sent[6:] + b"\xff"
    shown = text(taken(long)).splitlines()
    assert shown[-2].split() == ["bytesRequested", "8"]
    assert shown[-1] == f"    !! broken at octet {len(sent)}: GetRandom: 1 octets left over"


def test_every_part_of_every_message_is_read_as_far_as_it_goes():
    for vector in VECTORS[::4]:
        code = TPM_CC[vector.command]
        for size in range(len(vector.sent)):
            assert read_command(vector.sent[:size]).errors
        for size in range(len(vector.received)):
            assert read_response(vector.received[:size], code).errors


@given(st.data())
def test_whatever_the_octets_are_they_are_shown(data: st.DataObject):
    vector = data.draw(st.sampled_from(VECTORS))
    sent, received = data.draw(mutated(vector.sent)), data.draw(mutated(vector.received))
    dissection = taken(sent, received)
    shown = text(dissection)
    assert shown.isascii()
    assert len(shown) < 40 * (len(sent) + len(received)) + 10000
    json.dumps(Data().exchange(1, dissection))


@given(st.binary(max_size=200), st.sampled_from(sorted(COMMANDS)))
def test_whatever_follows_a_header_is_shown(data: bytes, code: int):
    size = (10 + len(data)).to_bytes(4, "big")
    for tag in (b"\x80\x01", b"\x80\x02"):
        read_command(tag + size + code.to_bytes(4, "big") + data)
        read_response(tag + size + bytes(4) + data, code)
        text(taken(tag + size + code.to_bytes(4, "big") + data, tag + size + bytes(4) + data))


# --- the script --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [[GET_RANDOM, RANDOM], [GET_RANDOM + RANDOM], ["80 01:0000 000c", "0x0000017b 0010", RANDOM]],
)
def test_hexadecimal_digits_are_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(["decode", *arguments]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("#1 GetRandom: success\n")
    assert values(shown, "bytesRequested") == ["16"]
    assert values(shown, "randomBytes") == ["01ff"]
    assert "argument 1" in shown


def test_standard_input_is_read_if_nothing_else_is_named():
    as_text = decode(stdin=f"{GET_RANDOM}\n{RANDOM}\n".encode())
    as_octets = decode("-", stdin=bytes.fromhex(GET_RANDOM + RANDOM))
    assert as_text.returncode == as_octets.returncode == 0
    assert as_text.stdout.splitlines()[2:3] == as_octets.stdout.splitlines()[2:3]
    assert as_text.stdout.startswith(b"#1 GetRandom: success\n")


def test_a_response_by_itself_is_read_if_its_command_is_named(capsys: pytest.CaptureFixture[str]):
    assert main(["decode", RANDOM]) == 0
    assert "4 octets, not shown: --command NAME" in capsys.readouterr().out
    for name in ("GetRandom", "TPM2_GetRandom", "getrandom", "TPM_CC_GetRandom"):
        assert main(["decode", "--command", name, RANDOM]) == 0
        assert values(capsys.readouterr().out, "randomBytes") == ["01ff"]


def test_damage_is_an_exit_code_of_one(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert main(["decode", GET_RANDOM[:-2]]) == 1
    assert "!! broken" in capsys.readouterr().out
    assert main(["decode", "--json", GET_RANDOM[:-2], RANDOM]) == 1
    assert json.loads(capsys.readouterr().out)["damaged"] is True
    empty = tmp_path / "empty"
    empty.touch()
    assert main(["decode", str(empty)]) == 1
    assert "no command or response is in it" in capsys.readouterr().err
    assert main(["decode", str(tmp_path / "missing")]) == 1
    assert "missing: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--format", "morse"], ["--command", "Sing", RANDOM], ["--color"], ["--nonsense"]]
)
def test_wrong_usage_is_an_exit_code_of_two(arguments: list[str]):
    done = decode(*arguments)
    assert done.returncode == 2
    assert b"usage: tpmwire decode" in done.stderr


def test_a_subcommand_has_to_be_named():
    program = [sys.executable, "-m", "tpmwire.scripts.main"]
    for arguments in ([], ["encode"]):
        done = subprocess.run([*program, *arguments], capture_output=True, timeout=60)
        assert done.returncode == 2
        assert b"SUBCOMMAND" in done.stderr
    done = subprocess.run([*program, "--version"], capture_output=True, text=True, timeout=60)
    assert done.stdout == f"tpmwire {tpmwire.__version__}\n"


def test_several_inputs_are_told_apart(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_text(GET_RANDOM + RANDOM)
    assert main(["decode", *map(str, paths)]) == 0
    shown = capsys.readouterr().out
    assert re.findall(r"^== (.*)$", shown, re.M) == [str(path) for path in paths]
    assert "#2 GetRandom: success" in shown
    assert main(["decode", "--json", *map(str, paths)]) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["input"] for each in objects] == [str(path) for path in paths]


def on_a_terminal(*arguments: str, **environment: str) -> bytes:
    """Run the script with standard output on a terminal, and return what it wrote there."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "tpmwire.scripts.main", "decode", *arguments]
    variables = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm"}
    process = subprocess.Popen(command, stdout=theirs, env=variables | environment)
    os.close(theirs)
    written = b""
    while chunk := _read_terminal(ours):
        written += chunk
    os.close(ours)
    assert process.wait(60) == 0
    return written


def _read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # how a terminal says that nobody writes to it any more
        return b""


def test_colours_are_for_terminals():
    coloured = on_a_terminal(GET_RANDOM, RANDOM)
    assert b"\x1b[1m#1 GetRandom\x1b[0m: \x1b[32msuccess\x1b[0m" in coloured
    plain = decode(GET_RANDOM, RANDOM).stdout
    assert b"\x1b" not in plain
    assert re.sub(rb"\x1b\[[0-9;]*m", b"", coloured).replace(b"\r\n", b"\n") == plain


def test_colours_can_be_forbidden_and_forced():
    assert b"\x1b" not in on_a_terminal("--color=never", GET_RANDOM, RANDOM)
    assert b"\x1b" not in on_a_terminal(GET_RANDOM, RANDOM, NO_COLOR="1")
    assert b"\x1b" not in on_a_terminal(GET_RANDOM, RANDOM, TERM="dumb")
    assert b"\x1b[32m" in on_a_terminal("--color=always", GET_RANDOM, RANDOM, NO_COLOR="1")
    assert b"\x1b[32m" in decode("--color=always", GET_RANDOM, RANDOM).stdout


def test_a_reader_that_has_enough_ends_it_quietly(tmp_path: Path):
    path = tmp_path / "long"
    path.write_bytes(bytes.fromhex(GET_RANDOM + RANDOM) * 5000)
    command = f"{sys.executable} -m tpmwire.scripts.main decode {path} | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, timeout=60)
    assert done.stdout == b"#1 GetRandom: success\n"
    assert done.stderr == b""


def test_exchanges_are_shown_as_they_come_and_an_interrupt_ends_it():
    command = [sys.executable, "-m", "tpmwire.scripts.main", "decode", "-"]
    with subprocess.Popen(
        command,
        env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # it may be ignored here
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(bytes.fromhex(GET_RANDOM + RANDOM))
        process.stdin.flush()
        assert select.select([process.stdout], [], [], 60)[0], "nothing is shown"
        assert process.stdout.readline() == b"#1 GetRandom: success\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"Traceback" not in errors


def test_memory_does_not_grow_with_what_is_shown():
    def most(times: int) -> int:
        tracemalloc.start()
        writer, data = Text(Paint(colour=False)), Data()
        for number in range(times * 100):
            vector = VECTORS[number % 100]
            dissection = taken(vector.sent, vector.received)
            writer.exchange(number, dissection)
            data.exchange(number, dissection)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    most(1)
    assert most(4) < 1.2 * most(1) + 50000


@pytest.mark.parametrize("subcommand", [[], ["decode"], ["info"], ["record"]])
def test_help_teaches_with_examples(subcommand: list[str]):
    command = [sys.executable, "-m", "tpmwire.scripts.main", *subcommand, "--help"]
    wide = os.environ | {"COLUMNS": "100"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=wide)
    assert done.returncode == 0
    assert "examples:\n  tpmwire " in done.stdout
    assert "exit codes: " in done.stdout
    assert all(len(line) <= 100 for line in done.stdout.splitlines())
