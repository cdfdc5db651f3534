"""Whole buffers: handles, authorizations and parameters in their frames."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    COMMAND_CLASSES,
    RESPONSE_CLASSES,
    command_authorizations,
    commands,
    mutated,
    octets,
    per_class,
    response_authorizations,
    structures,
)
from vectors import VECTORS, Vector

from tpmwire.attributes import TPMA_SESSION
from tpmwire.commands import (
    COMMANDS,
    HMAC,
    MAC,
    ClockRateAdjust,
    Command,
    Create,
    CreatePrimary,
    EvictControl,
    FlushContext,
    GetCapability,
    GetRandom,
    GetRandomResponse,
    HMAC_Start,
    Load,
    MAC_Start,
    ObjectChangeAuth,
    ReadPublic,
    ResponseFrame,
    Role,
    SelfTest,
    Startup,
    unpack_command,
    unpack_response,
)
from tpmwire.constants import (
    TPM_ALG,
    TPM_CAP,
    TPM_CC,
    TPM_CLOCK_ADJUST,
    TPM_RC,
    TPM_RH,
    TPM_ST,
)
from tpmwire.errors import DecodeError, EncodeError, TpmError, TpmWarning
from tpmwire.types import TPMS_AUTH_COMMAND, TPMS_AUTH_RESPONSE
from tpmwire.wire import Encrypted

every_command = pytest.mark.parametrize("cls", COMMAND_CLASSES, ids=lambda cls: cls.__name__)
encryptable = pytest.mark.parametrize(
    "cls", [c for c in COMMAND_CLASSES if c.AREAS.encryptable], ids=lambda cls: cls.__name__
)
encryptable_response = pytest.mark.parametrize(
    "cls", [c for c in RESPONSE_CLASSES if c.AREAS.encryptable], ids=lambda cls: cls.__name__
)
every_vector = pytest.mark.parametrize("vector", VECTORS, ids=str)

PASSWORD = TPMS_AUTH_COMMAND(sessionHandle=TPM_RH.RS_PW)
DECRYPTS = TPMS_AUTH_COMMAND(
    sessionHandle=0x02000000, sessionAttributes=TPMA_SESSION.decrypt | TPMA_SESSION.encrypt
)
ENCRYPTS = TPMS_AUTH_RESPONSE(sessionAttributes=TPMA_SESSION.encrypt)


def command_refused_or_the_same(data: bytes) -> None:
    try:
        frame = unpack_command(data)
    except DecodeError:
        return
    assert frame.pack() == data
    repr(frame)


def response_refused_or_the_same(data: bytes, code: int) -> None:
    try:
        frame = unpack_response(data, code)
    except DecodeError:
        return
    assert frame.pack() == data
    repr(frame)


def resized(data: bytes) -> bytes:
    """Write the size of a buffer into its header, so that what is inside gets looked at."""
    return data[:2] + len(data).to_bytes(4, "big") + data[6:] if len(data) >= 6 else data


def limit_of(field: Any) -> int:
    """Return how many octets an encryptable parameter may have."""
    return getattr(field.subcon, "limit", 0xFFFF)


def response_buffer(response: Any, authorizations: Any = ()) -> bytes:
    tag = TPM_ST.SESSIONS if authorizations else TPM_ST.NO_SESSIONS
    return ResponseFrame(tag, 0, response, tuple(authorizations)).pack()


# --- frames by hand ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "authorizations", "expected"),
    [
        (GetRandom(bytesRequested=16), [], "8001 0000000c 0000017b 0010"),
        (Startup(), [], "8001 0000000c 00000144 0000"),
        (SelfTest(fullTest=False), [], "8001 0000000b 00000143 00"),
        (FlushContext(flushHandle=0x80000001), [], "8001 0000000e 00000165 80000001"),
        (ReadPublic(objectHandle=0x81000001), [], "8001 0000000e 00000173 81000001"),
        (
            GetCapability(capability=TPM_CAP.HANDLES, property=0x80000000, propertyCount=8),
            [],
            "8001 00000016 0000017a 00000001 80000000 00000008",
        ),
        (
            EvictControl(auth=TPM_RH.OWNER, objectHandle=0x80000000, persistentHandle=0x81000001),
            [PASSWORD],
            "8002 00000023 00000120 40000001 80000000 00000009 40000009 0000 00 0000 81000001",
        ),
        (
            ObjectChangeAuth(objectHandle=0x80000000, parentHandle=0x80000001, newAuth=b"pin"),
            [PASSWORD.replace(hmac=b"old", sessionAttributes=TPMA_SESSION.continueSession)],
            "8002 00000027 00000150 80000000 80000001 0000000c 40000009 0000 01 0003 6f6c64"
            "0003 70696e",
        ),
        (
            GetRandom(bytesRequested=1),
            [DECRYPTS.replace(nonce=b"n", hmac=b"h"), PASSWORD],
            "8002 00000024 0000017b 00000014 02000000 0001 6e 60 0001 68 40000009 0000 00 00000001",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_command_is_framed_as_the_specification_says(
    command: Command[Any], authorizations: list[TPMS_AUTH_COMMAND], expected: str
):
    assert command.frame(authorizations) == bytes.fromhex(expected)


def test_a_response_is_read_as_the_specification_says():
    plain = bytes.fromhex("8001 0000000e 00000000 0002 abcd")
    assert GetRandom.read(plain) == GetRandomResponse(randomBytes=b"\xab\xcd")
    audited = bytes.fromhex("8002 00000018 00000000 00000004 0002 abcd 0001 6e 80 0000")
    assert GetRandom.read(audited) == GetRandomResponse(randomBytes=b"\xab\xcd")
    frame = unpack_response(audited, TPM_CC.GetRandom)
    assert frame.authorizations == (
        TPMS_AUTH_RESPONSE(nonce=b"n", sessionAttributes=TPMA_SESSION.audit),
    )


def test_roles_say_which_handles_want_an_authorization():
    assert Create.ROLES == (Role.USER,)
    assert ObjectChangeAuth.ROLES == (Role.ADMIN,)
    assert ReadPublic.ROLES == ()


def test_a_mac_is_an_hmac_with_another_algorithm():
    command = MAC(handle=0x80000000, buffer=b"ab", hashAlg=TPM_ALG.CMAC)
    assert command.frame() == bytes.fromhex("8001 00000014 00000155 80000000 0002 6162 003f")
    assert (MAC, MAC_Start) == (HMAC, HMAC_Start)
    assert COMMANDS[TPM_CC.MAC] is COMMANDS[TPM_CC.HMAC] is HMAC
    assert COMMANDS[TPM_CC.MAC_Start] is COMMANDS[TPM_CC.HMAC_Start] is HMAC_Start


def test_the_clock_can_be_slowed_down():
    command = ClockRateAdjust(auth=TPM_RH.OWNER, rateAdjust=TPM_CLOCK_ADJUST.COARSE_SLOWER)
    octets = bytes.fromhex("8001 0000000f 00000130 40000001 fd")
    assert command.frame() == octets
    assert unpack_command(octets).command.rateAdjust is TPM_CLOCK_ADJUST.COARSE_SLOWER


# --- values come back -------------------------------------------------------------------------


@every_command
@per_class
@given(data=st.data())
def test_a_command_comes_back_from_its_frame(cls: type[Command[Any]], data: st.DataObject):
    command = data.draw(structures(cls))
    authorizations = data.draw(command_authorizations())
    buffer = command.frame(authorizations)
    assert int.from_bytes(buffer[2:6], "big") == len(buffer)
    frame = unpack_command(buffer)
    assert frame.command == command
    assert frame.authorizations == tuple(authorizations)
    assert (frame.tag, frame.code) == (
        TPM_ST.SESSIONS if authorizations else TPM_ST.NO_SESSIONS,
        cls.CC,
    )
    assert frame.pack() == buffer


@every_command
@per_class
@given(data=st.data())
def test_a_response_comes_back_from_its_frame(cls: type[Command[Any]], data: st.DataObject):
    response = data.draw(structures(cls.RESPONSE))
    authorizations = data.draw(response_authorizations())
    buffer = response_buffer(response, authorizations)
    frame = unpack_response(buffer, cls.CC)
    assert frame.response == response
    assert frame.authorizations == tuple(authorizations)
    assert frame.pack() == buffer
    assert cls.read(buffer) == response


# --- encrypted parameters ---------------------------------------------------------------------


@encryptable
@per_class
@given(data=st.data())
def test_an_encrypted_first_parameter_of_a_command_is_opaque_and_the_others_read(
    cls: type[Command[Any]], data: st.DataObject
):
    first, *others = cls.AREAS.parameters
    secret = Encrypted(data.draw(octets(limit_of(first))))
    command = data.draw(structures(cls)).replace(**{first.name: secret})
    buffer = command.frame([DECRYPTS])
    frame = unpack_command(buffer)
    assert type(frame.command[first.name]) is Encrypted
    assert frame.command == command
    assert all(frame.command[field.name] == command[field.name] for field in others)
    assert frame.pack() == buffer


@encryptable_response
@per_class
@given(data=st.data())
def test_an_encrypted_first_parameter_of_a_response_is_opaque_and_the_others_read(
    cls: type[Any], data: st.DataObject
):
    first = cls.AREAS.parameters[0]
    code = next(command.CC for command in COMMANDS.values() if command.RESPONSE is cls)
    secret = Encrypted(data.draw(octets(limit_of(first))))
    response = data.draw(structures(cls)).replace(**{first.name: secret})
    buffer = response_buffer(response, [ENCRYPTS])
    frame = unpack_response(buffer, code)
    assert type(frame.response[first.name]) is Encrypted
    assert frame.response == response
    assert frame.pack() == buffer


@encryptable
@per_class
@given(data=st.data())
def test_an_encrypted_parameter_longer_than_the_plain_one_may_be_packs_to_itself_or_is_refused(
    cls: type[Command[Any]], data: st.DataObject
):
    plain = data.draw(structures(cls))
    first = cls.AREAS.parameters[0]
    mark = bytes.fromhex("c0ffee") * 2
    body = plain.replace(**{first.name: Encrypted(mark)}).frame([DECRYPTS])
    longer = b"\x03\x00" + mark * 128
    command_refused_or_the_same(resized(body.replace(b"\0\6" + mark, longer)))


@encryptable_response
@per_class
@given(data=st.data())
def test_an_encrypted_parameter_of_a_response_longer_than_the_plain_one_may_be_does_so_too(
    cls: type[Any], data: st.DataObject
):
    code = next(command.CC for command in COMMANDS.values() if command.RESPONSE is cls)
    plain = data.draw(structures(cls))
    first = cls.AREAS.parameters[0]
    mark = bytes.fromhex("c0ffee") * 2
    body = response_buffer(plain.replace(**{first.name: Encrypted(mark)}), [ENCRYPTS])
    handles = 4 * len(cls.AREAS.handles)
    area = int.from_bytes(body[10 + handles : 14 + handles], "big") + 127 * len(mark)
    body = body[: 10 + handles] + area.to_bytes(4, "big") + body[14 + handles :]
    longer = b"\x03\x00" + mark * 128
    response_refused_or_the_same(resized(body.replace(b"\0\6" + mark, longer)), code)


@pytest.mark.parametrize("cls", [c for c in COMMAND_CLASSES if not c.AREAS.encryptable])
@per_class
@given(data=st.data())
def test_a_session_that_encrypts_what_is_no_tpm2b_is_a_decode_error(
    cls: type[Command[Any]], data: st.DataObject
):
    with pytest.raises(DecodeError, match="not a TPM2B"):
        unpack_command(data.draw(structures(cls)).frame([DECRYPTS]))


@pytest.mark.parametrize("cls", [c for c in COMMAND_CLASSES if not c.RESPONSE.AREAS.encryptable])
@per_class
@given(data=st.data())
def test_a_session_that_encrypts_what_is_no_tpm2b_is_a_decode_error_in_a_response(
    cls: type[Command[Any]], data: st.DataObject
):
    buffer = response_buffer(data.draw(structures(cls.RESPONSE)), [ENCRYPTS])
    with pytest.raises(DecodeError, match="not a TPM2B"):
        unpack_response(buffer, cls.CC)


def test_the_repr_of_an_encrypted_parameter_does_not_show_it():
    command = Load(
        parentHandle=1,
        inPrivate=Encrypted(b"abc"),
        inPublic=next(
            unpack_command(v.sent).command for v in VECTORS if v.command == "Load"
        ).inPublic,
    )
    assert "<3 octets, encrypted>" in repr(command)


# --- octets from outside ----------------------------------------------------------------------


@given(data=st.data())
def test_wounded_commands_are_values_that_pack_to_them_or_decode_errors(data: st.DataObject):
    buffer = data.draw(commands()).frame(data.draw(command_authorizations()))
    wounded = data.draw(mutated(buffer))
    command_refused_or_the_same(wounded)
    command_refused_or_the_same(resized(wounded))


@every_command
@per_class
@given(data=st.data())
def test_wounded_responses_are_values_that_pack_to_them_or_decode_errors(
    cls: type[Command[Any]], data: st.DataObject
):
    response = data.draw(structures(cls.RESPONSE))
    buffer = response_buffer(response, data.draw(response_authorizations()))
    wounded = data.draw(mutated(buffer))
    response_refused_or_the_same(wounded, cls.CC)
    response_refused_or_the_same(resized(wounded), cls.CC)


@every_vector
@per_class
@given(data=st.data())
def test_wounded_vectors_are_values_that_pack_to_them_or_decode_errors(
    vector: Vector, data: st.DataObject
):
    code = int.from_bytes(vector.sent[6:10], "big")
    command_refused_or_the_same(resized(data.draw(mutated(vector.sent))))
    response_refused_or_the_same(resized(data.draw(mutated(vector.received))), code)


@given(
    tag=st.sampled_from((0x8001, 0x8002, 0x00C4)),
    code=st.sampled_from(sorted(COMMANDS)) | st.integers(0, 0xFFFFFFFF),
    body=st.binary(max_size=64),
)
def test_any_octets_in_a_frame_are_a_value_or_a_decode_error(tag: int, code: int, body: bytes):
    size = (10 + len(body)).to_bytes(4, "big")
    command_refused_or_the_same(tag.to_bytes(2, "big") + size + code.to_bytes(4, "big") + body)
    response_refused_or_the_same(tag.to_bytes(2, "big") + size + bytes(4) + body, code)


@given(data=st.binary(max_size=32), code=st.integers(0, 0xFFFFFFFF))
def test_any_octets_at_all_are_a_value_or_a_decode_error(data: bytes, code: int):
    command_refused_or_the_same(data)
    response_refused_or_the_same(data, code)


@every_vector
def test_every_beginning_of_a_buffer_is_a_decode_error(vector: Vector):
    code = int.from_bytes(vector.sent[6:10], "big")
    for length in range(len(vector.sent)):
        with pytest.raises(DecodeError):
            unpack_command(vector.sent[:length])
    for length in range(len(vector.received)):
        with pytest.raises(DecodeError):
            unpack_response(vector.received[:length], code)


@pytest.mark.parametrize("vector", [v for v in VECTORS if TPM_CC[v.command] in COMMANDS], ids=str)
def test_every_beginning_with_its_own_size_in_the_header_is_a_decode_error(vector: Vector):
    """Only where the authorizations end can a response be cut and still be one of fewer."""
    code = int.from_bytes(vector.sent[6:10], "big")
    for length in range(len(vector.sent)):
        with pytest.raises(DecodeError):
            unpack_command(resized(vector.sent[:length]))
    whole = unpack_response(vector.received, code)
    ends = set()
    if whole.tag == TPM_ST.SESSIONS:
        end = len(vector.received)
        for authorization in reversed(whole.authorizations):
            end -= len(authorization.pack())
            ends.add(end)
    for length in set(range(len(vector.received))) - ends:
        with pytest.raises(DecodeError):
            unpack_response(resized(vector.received[:length]), code)


@pytest.mark.parametrize("vector", [v for v in VECTORS if TPM_CC[v.command] in COMMANDS], ids=str)
def test_an_octet_behind_the_end_is_a_decode_error(vector: Vector):
    code = int.from_bytes(vector.sent[6:10], "big")
    for more in (lambda data: data + b"\0", lambda data: resized(data + b"\0")):
        with pytest.raises(DecodeError):
            unpack_command(more(vector.sent))
        with pytest.raises(DecodeError):
            unpack_response(more(vector.received), code)


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        ("", "0 octets where a header has 10"),
        ("8001 0000000d 0000017b 0010", "13 octets claimed, 12 there"),
        ("8001 0000000b 0000017b 0010", "11 octets claimed, 12 there"),
        ("8003 0000000c 0000017b 0010", "tag 0x8003 is none of a command"),
        ("8002 00000010 0000017b 00000000 0010", "an empty authorization area"),
        ("8002 0000000c 0000017b 0010", r"GetRandom\.authorizationSize: 4 octets wanted, 2 left"),
        ("8002 00000010 0000017b 00000003 0010", "3 octets claimed, 2 left"),
        ("8002 00000010 0000017b ffffffff 0010", "4294967295 octets claimed, 2 left"),
        ("8002 00000014 0000017b 00000004 40000009 0010", "TPMS_AUTH_COMMAND"),
        ("8001 0000000c 00000173 8000", r"ReadPublic\.objectHandle"),
        ("8001 00000010 00000173 80000000 0000", "ReadPublic: 2 octets left over"),
    ],
)
def test_a_damaged_command_is_refused_with_the_reason(octets: str, message: str):
    with pytest.raises(DecodeError, match=message):
        unpack_command(bytes.fromhex(octets))


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        ("8001 0000000d 00000000 0002 ab", "2 octets wanted, 1 left"),
        ("8001 0000000f 00000000 0002 abcd ef", "1 octets left over"),
        ("00c4 0000000e 00000000 0002 abcd", "tag 0x00c4 is none of a response"),
        ("8002 00000012 00000000 00000005 0002 abcd", "5 octets claimed, 4 left"),
        ("8002 00000012 00000000 00000003 0002 abcd", "2 octets wanted, 1 left"),
        ("8002 0000000c 00000000 0002", "parameterSize: 4 octets wanted, 2 left"),
        ("8002 00000016 00000000 00000004 0002 abcd 0000 00 00", "TPMS_AUTH_RESPONSE"),
        ("8001 0000000b 00000101 00", "11 octets where an error has 10"),
    ],
)
def test_a_damaged_response_is_refused_with_the_reason(octets: str, message: str):
    with pytest.raises(DecodeError, match=message):
        unpack_response(bytes.fromhex(octets), TPM_CC.GetRandom)
    with pytest.raises(DecodeError):
        GetRandom.read(bytes.fromhex(octets))


def test_a_response_without_its_handle_is_a_decode_error():
    with pytest.raises(DecodeError, match=r"LoadResponse\.handle: 4 octets wanted, 2 left"):
        unpack_response(bytes.fromhex("8001 0000000c 00000000 8000"), TPM_CC.Load)


# --- errors and unknown codes -----------------------------------------------------------------


@given(code=st.integers(1, 0xFFFFFFFF), cls=st.sampled_from(COMMAND_CLASSES))
def test_a_response_with_an_error_is_raised_as_a_tpm_error(code: int, cls: type[Command[Any]]):
    data = bytes.fromhex("80010000000a") + code.to_bytes(4, "big")
    frame = unpack_response(data, cls.CC)
    assert (frame.code, frame.response, frame.pack()) == (code, None, data)
    with pytest.raises(TpmError) as caught:
        cls.read(data)
    assert caught.value.raw == code
    assert caught.value.command == cls.__name__


def test_a_warning_is_raised_as_one():
    with pytest.raises(TpmWarning) as caught:
        GetRandom.read(bytes.fromhex("80010000000a00000922"))
    assert caught.value.code == TPM_RC.RETRY


def test_an_error_of_tpm_1_2_is_raised_as_a_tpm_error():
    """A TPM 1.2, and a TPM 2.0 to a command with its tag, answers with tag 0x00C4."""
    with pytest.raises(TpmError) as caught:
        GetRandom.read(bytes.fromhex("00c40000000a0000001e"))
    assert caught.value.code == TPM_RC.BAD_TAG


@given(
    tag=st.integers(0, 0xFFFF),
    code=st.integers(0, 0xFFFFFFFF).filter(lambda code: code not in COMMANDS),
    body=st.binary(max_size=32),
)
def test_an_unknown_command_is_kept_as_octets(tag: int, code: int, body: bytes):
    size = (10 + len(body)).to_bytes(4, "big")
    sent = tag.to_bytes(2, "big") + size + code.to_bytes(4, "big") + body
    frame = unpack_command(sent)
    assert (frame.tag, frame.code, frame.command, frame.body) == (tag, code, None, body)
    assert frame.pack() == sent
    received = tag.to_bytes(2, "big") + size + bytes(4) + body
    answer = unpack_response(received, code)
    assert (answer.response, answer.body, answer.pack()) == (None, body, received)


# --- what does not fit ------------------------------------------------------------------------


def test_a_value_that_does_not_fit_is_an_encode_error_that_names_command_and_field():
    with pytest.raises(EncodeError, match=r"GetRandom\.bytesRequested: 65536 does not fit"):
        GetRandom(bytesRequested=0x10000).frame()
    with pytest.raises(EncodeError, match=r"ReadPublic\.objectHandle: an integer wanted"):
        ReadPublic(objectHandle="srk").frame()


def test_a_misspelt_field_is_named():
    with pytest.raises(TypeError, match="GetRandom: unknown bytesWanted; missing bytesRequested"):
        GetRandom(bytesWanted=1)


def test_encrypted_octets_fit_only_where_something_is_sized():
    with pytest.raises(EncodeError):
        GetRandom(bytesRequested=Encrypted(b"ab")).frame()
    sealed = CreatePrimary(primaryHandle=1, inPublic=Encrypted(b"abc")).frame()
    assert sealed.endswith(bytes.fromhex("0003616263 0000 00000000"))
