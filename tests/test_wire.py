"""The TPM's notation, each construct by itself."""

import enum
import io
from types import SimpleNamespace
from typing import Any

import pytest
from construct import Construct, ConstructError
from hypothesis import given
from hypothesis import strategies as st

from tpmwire.attributes import Flags8, Flags64
from tpmwire.constants import Enum16, SignedEnum8
from tpmwire.wire import (
    Attributes,
    Buffer,
    Counted,
    Empty,
    Encrypted,
    Enumeration,
    Handle,
    Integer,
    Octets,
    Rest,
    Sealed,
    Sized,
    Union,
    Unless,
    YesNo,
    fail,
    put_before,
    reason,
)


class Colour(Enum16):
    RED = 1
    SCARLET = 1
    BLUE = 0xFFFE


class Temperature(SignedEnum8):
    COLD = -5
    WARM = 20


class Shape(Flags8):
    round = 0x01
    big = 0x80


class Vast(Flags64):
    last = 1 << 63


class Handles(enum.IntEnum):
    OWNER = 0x40000001


UNION = Union({1: Integer(1), 2: Buffer(), 3: Empty()}, "kind")
LEVELS = Sized(Counted(Sized(Buffer(limit=3))))
CONSTRUCTS = {
    "UINT8": Integer(1),
    "UINT16": Integer(2),
    "UINT32": Integer(4),
    "UINT64": Integer(8),
    "INT8": Integer(1, signed=True),
    "INT32": Integer(4, signed=True),
    "enumeration": Enumeration(Colour, 2),
    "signed enumeration": Enumeration(Temperature, 1),
    "attributes": Attributes(Shape, 1),
    "long attributes": Attributes(Vast, 8),
    "handle": Handle(Handles),
    "yes or no": YesNo(),
    "octets": Octets(3),
    "rest": Rest(),
    "buffer": Buffer(),
    "buffer with limit": Buffer(limit=2),
    "buffer of one octet's size": Buffer(prefix=1),
    "string": Buffer(prefix=4),
    "sealed": Sealed(),
    "sized": Sized(Integer(4)),
    "sized or none": Sized(Integer(4), optional=True),
    "list": Counted(Integer(2)),
    "list with limit": Counted(Integer(2), limit=2),
    "levels": LEVELS,
    "union, number": SimpleNamespace(kind=1),
    "union, buffer": SimpleNamespace(kind=2),
    "union, nothing": SimpleNamespace(kind=3),
    "union, unknown": SimpleNamespace(kind=4),
}
every_construct = pytest.mark.parametrize("subcon", CONSTRUCTS.values(), ids=CONSTRUCTS.keys())


def parse(subcon: Any, data: bytes) -> Any:
    """Parse all of `data`; a namespace stands for the union in its context."""
    stream = io.BytesIO(data)
    if isinstance(subcon, Construct):
        value = subcon._parse(stream, None, "")
    else:
        value = UNION._parse(stream, subcon, "")
    rest = len(data) - stream.tell()
    if rest:
        raise fail(f"{rest} octets left over")
    return value


def build(subcon: Any, value: Any) -> bytes:
    stream = io.BytesIO()
    if isinstance(subcon, Construct):
        subcon._build(value, stream, None, "")
    else:
        UNION._build(value, stream, subcon, "")
    return stream.getvalue()


@every_construct
@given(data=st.binary(max_size=16) | st.binary(max_size=8).map(lambda d: b"\0\0\0" + d))
def test_any_octets_are_a_value_that_builds_to_them_or_a_construct_error(subcon: Any, data: bytes):
    try:
        value = parse(subcon, data)
    except ConstructError:
        return
    assert build(subcon, value) == data


@every_construct
@given(
    value=st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.binary(max_size=8)
    | st.text(max_size=3)
    | st.lists(st.integers() | st.none(), max_size=3)
    | st.just(object())
)
def test_any_value_builds_to_octets_that_read_as_it_or_is_a_construct_error(
    subcon: Any, value: Any
):
    try:
        data = build(subcon, value)
    except ConstructError:
        return
    again = parse(subcon, data)
    assert again == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize(
    ("subcon", "value", "data"),
    [
        (Integer(2), 0x0102, "0102"),
        (Integer(8), 1, "0000000000000001"),
        (Integer(1, signed=True), -3, "fd"),
        (Integer(4, signed=True), -2, "fffffffe"),
        (Enumeration(Colour, 2), Colour.BLUE, "fffe"),
        (Enumeration(Temperature, 1), Temperature.COLD, "fb"),
        (Attributes(Shape, 1), Shape.big, "80"),
        (Attributes(Vast, 8), Vast.last, "8000000000000000"),
        (Handle(Handles), Handles.OWNER, "40000001"),
        (YesNo(), True, "01"),
        (Octets(2), b"ab", "6162"),
        (Rest(), b"", ""),
        (Rest(), b"abc", "616263"),
        (Sized(Rest()), b"abc", "0003616263"),
        (Buffer(), b"", "0000"),
        (Buffer(), b"abc", "0003616263"),
        (Buffer(prefix=1), b"abc", "03616263"),
        (Buffer(prefix=4), b"abc", "00000003616263"),
        (Sealed(), Encrypted(b"abc"), "0003616263"),
        (Sized(Integer(2)), 7, "00020007"),
        (Sized(Integer(2)), Encrypted(b"abc"), "0003616263"),
        (Sized(Integer(2), optional=True), None, "0000"),
        (Counted(Integer(2)), (), "00000000"),
        (Counted(Integer(2)), (1, 2), "0000000200010002"),
        (Counted(Integer(2)), [1, 2], "0000000200010002"),
        (Empty(), None, ""),
    ],
)
def test_values_stand_on_the_wire_as_the_specification_says(
    subcon: Construct, value: Any, data: str
):
    assert build(subcon, value) == bytes.fromhex(data)
    if not isinstance(value, Encrypted | list) or isinstance(subcon, Sealed):
        assert parse(subcon, bytes.fromhex(data)) == value


@pytest.mark.parametrize(
    ("subcon", "data", "message"),
    [
        (Integer(4), "000000", "4 octets wanted, 3 left"),
        (YesNo(), "02", "0 or 1 wanted, not 2"),
        (YesNo(), "", "1 octets wanted, 0 left"),
        (Octets(3), "0000", "3 octets wanted, 2 left"),
        (Buffer(), "00", "2 octets wanted, 1 left"),
        (Buffer(), "000361", "3 octets wanted, 1 left"),
        (Buffer(limit=2), "0003616263", "3 octets where 2 is the most"),
        (Buffer(prefix=4), "ffffffff", "4294967295 octets wanted, 0 left"),
        (Sized(Integer(2)), "0003000700", "1 octets left over of 3"),
        (Sized(Integer(2)), "000100", "2 octets wanted, 1 left"),
        (Sized(Integer(2)), "0000", "2 octets wanted, 0 left"),
        (Sized(Integer(2), optional=True), "000100", "2 octets wanted, 1 left"),
        (Counted(Integer(2)), "00000002000100", "2 octets wanted, 1 left"),
        (Counted(Integer(2)), "00000003ffff", "3 elements claimed, 2 octets left"),
        (Counted(Integer(1), limit=2), "00000003ffffff", "3 elements where 2 is the most"),
        (Counted(Sized(Integer(1))), "ffffffff0000", "4294967295 elements claimed"),
    ],
)
def test_octets_that_do_not_fit_are_refused_with_the_reason(
    subcon: Construct, data: str, message: str
):
    with pytest.raises(ConstructError, match=message):
        parse(subcon, bytes.fromhex(data))


@pytest.mark.parametrize(
    ("subcon", "value", "message"),
    [
        (Integer(1), 256, "256 does not fit in 1 octets"),
        (Integer(1), -1, "-1 does not fit"),
        (Integer(1, signed=True), 128, "128 does not fit"),
        (Integer(4), "1", "an integer wanted, not str"),
        (Integer(4), None, "an integer wanted, not NoneType"),
        (Handle(Handles), b"", "an integer wanted, not bytes"),
        (YesNo(), 2, "True or False wanted"),
        (YesNo(), "yes", "True or False wanted, not str"),
        (Octets(3), b"ab", "3 octets wanted, not 2"),
        (Octets(3), "abc", "bytes wanted, not str"),
        (Rest(), "abc", "bytes wanted, not str"),
        (Enumeration(Temperature, 1), 128, "128 does not fit"),
        (Buffer(limit=2), b"abc", "3 octets where 2 is the most"),
        (Buffer(), bytes(0x10000), "65536 octets where 65535 is the most"),
        (Buffer(prefix=1), bytes(256), "256 octets where 255 is the most"),
        (Buffer(), 5, "bytes wanted, not int"),
        (Sized(Buffer()), bytes(0xFFFF), "65537 octets where 65535 is the most"),
        (Sized(Integer(4)), None, "an integer wanted"),
        (Counted(Integer(1)), 5, "a tuple wanted, not int"),
        (Counted(Integer(1)), b"abc", "a tuple wanted, not bytes"),
        (Counted(Integer(1), limit=2), (1, 2, 3), "3 elements where 2 is the most"),
        (Empty(), 0, "int given where nothing belongs"),
        (Empty(), b"", "bytes given where nothing belongs"),
    ],
)
def test_values_that_do_not_fit_are_refused_with_the_reason(
    subcon: Construct, value: Any, message: str
):
    with pytest.raises(ConstructError, match=message):
        build(subcon, value)


def test_a_number_with_a_name_reads_as_the_member_and_one_without_as_a_number():
    colour = Enumeration(Colour, 2)
    assert parse(colour, b"\0\1") is Colour.RED
    assert type(parse(colour, b"\0\2")) is int


def test_reserved_bits_survive():
    shape = parse(Attributes(Shape, 1), b"\x42")
    assert isinstance(shape, Shape)
    assert int(shape) == 0x42
    assert build(Attributes(Shape, 1), shape) == b"\x42"


def test_an_object_stands_for_its_handle():
    assert build(Handle(Handles), SimpleNamespace(handle=5)) == b"\0\0\0\5"


def test_a_buffer_takes_every_kind_of_octets():
    for value in (b"ab", bytearray(b"ab"), memoryview(b"ab")):
        assert build(Buffer(), value) == b"\0\2ab"


def test_a_union_is_read_by_its_selector_and_says_when_that_has_no_case():
    assert parse(SimpleNamespace(kind=1), b"\5") == 5
    assert parse(SimpleNamespace(kind=2), b"\0\1a") == b"a"
    assert parse(SimpleNamespace(kind=3), b"") is None
    with pytest.raises(ConstructError, match="nothing is known for kind 4"):
        parse(SimpleNamespace(kind=4), b"")
    with pytest.raises(ConstructError, match="nothing is known for kind 4"):
        build(SimpleNamespace(kind=4), None)


def test_what_is_absent_unless_an_earlier_field_says_so_reads_as_none():
    subcon = Unless(Integer(1), "kind", 3)
    here, away = SimpleNamespace(kind=1), SimpleNamespace(kind=3)
    assert subcon._parse(io.BytesIO(b"\5"), here, "") == 5
    with pytest.raises(ConstructError, match="1 octets wanted, 0 left"):
        subcon._parse(io.BytesIO(b""), here, "")
    stream = io.BytesIO(b"\5")
    assert subcon._parse(stream, away, "") is None
    assert stream.tell() == 0
    for context, value, data in ((here, 5, b"\5"), (away, None, b"")):
        stream = io.BytesIO()
        subcon._build(value, stream, context, "")
        assert stream.getvalue() == data
    with pytest.raises(ConstructError, match="int given where nothing belongs"):
        subcon._build(5, io.BytesIO(), away, "")
    with pytest.raises(ConstructError, match="an integer wanted, not NoneType"):
        subcon._build(None, io.BytesIO(), here, "")


def test_one_union_can_be_selected_by_different_fields():
    other = UNION.selected_by("sort")
    assert other._parse(io.BytesIO(b"\5"), SimpleNamespace(sort=1), "") == 5
    assert UNION.selector == "kind"


def test_the_repr_of_encrypted_octets_does_not_show_them():
    assert repr(Encrypted(b"secret")) == "<6 octets, encrypted>"


@pytest.mark.parametrize(
    ("inner", "path"), [(None, "a"), ("b", "a.b"), ("[2]", "a[2]"), ("[2].b", "a[2].b")]
)
def test_places_grow_from_the_inside(inner: str | None, path: str):
    error = fail("no")
    error.path = inner
    put_before("a", error)
    assert error.path == path


def test_a_failing_element_is_named_by_its_index():
    with pytest.raises(ConstructError) as caught:
        parse(Counted(YesNo()), bytes.fromhex("00000003010105"))
    assert caught.value.path == "[2]"
    with pytest.raises(ConstructError) as caught:
        build(Counted(YesNo()), (True, "no"))
    assert caught.value.path == "[1]"


def test_the_reason_is_without_the_place_that_construct_writes_before_it():
    assert reason(fail("no")) == "no"
    assert reason(ConstructError("no", path="(parsing) -> a")) == "no"
