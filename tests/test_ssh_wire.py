"""The data types of SSH."""

import pytest
from cryptography.hazmat import asn1
from hypothesis import given
from hypothesis import strategies as st

from tpmwire.errors import DecodeError, EncodeError
from tpmwire.ssh.wire import MPINT, SECRET_STRING, STRING, UINT32
from tpmwire.structure import Structure


class Number(Structure):
    value: MPINT


class Text(Structure):
    value: STRING


class Hidden(Structure):
    value: SECRET_STRING


class Word(Structure):
    value: UINT32


class Several(Structure):
    name: STRING
    number: MPINT
    word: UINT32


NUMBERS = st.integers() | st.integers(1, 4096).flatmap(
    lambda bits: st.integers(-(2**bits) - 1, 2**bits + 1)
)


@pytest.mark.parametrize(
    ("cls", "value", "octets"),
    [
        (Word, 699921578, "29b7f4aa"),
        (Text, b"testing", "00000007 74657374696e67"),
        (Text, b"", "00000000"),
        (Number, 0, "00000000"),
        (Number, 0x9A378F9B2E332A7, "00000008 09a378f9b2e332a7"),
        (Number, 0x80, "00000002 0080"),
        (Number, -0x1234, "00000002 edcc"),
        (Number, -0xDEADBEEF, "00000005 ff21524111"),
    ],
    ids=str,
)
def test_the_examples_of_rfc_4251_are_written_and_read(
    cls: type[Structure], value: object, octets: str
):
    assert cls(value=value).pack() == bytes.fromhex(octets)
    assert cls.unpack(bytes.fromhex(octets)).value == value


@given(number=NUMBERS)
def test_a_number_has_the_octets_of_a_der_integer(number: int):
    """Both are two's complement without superfluous octets; only zero differs, which has none."""
    integer = asn1.decode_der(asn1.TLV, asn1.encode_der(number))
    octets = bytes(integer.data) if number else b""
    assert Number(value=number).pack() == len(octets).to_bytes(4, "big") + octets
    assert Number.unpack(Number(value=number).pack()).value == number


@pytest.mark.parametrize(
    "octets", ["00000001 00", "00000002 0001", "00000002 ffff", "00000003 000080", "00000002 ff80"]
)
def test_a_number_with_superfluous_octets_is_refused(octets: str):
    with pytest.raises(DecodeError, match="superfluous"):
        Number.unpack(bytes.fromhex(octets))


@pytest.mark.parametrize("value", ["1", b"\1", 1.0, None])
def test_what_is_no_integer_is_no_number(value: object):
    with pytest.raises(EncodeError, match="an integer wanted"):
        Number(value=value).pack()


@given(octets=st.binary(max_size=24) | st.binary(max_size=8).map(lambda d: b"\0\0\0" + d))
def test_any_octets_are_a_value_that_packs_to_them_or_a_decode_error(octets: bytes):
    for cls in (Number, Text, Hidden, Word, Several):
        try:
            value = cls.unpack(octets)
        except DecodeError:
            continue
        assert value.pack() == octets


def test_a_string_that_claims_more_than_there_is_is_refused():
    with pytest.raises(DecodeError, match="4294967295 octets wanted, 3 left"):
        Text.unpack(bytes.fromhex("ffffffff 616263"))


def test_the_repr_of_a_secret_does_not_show_it():
    assert "hunter" not in repr(Hidden(value=b"hunter2"))
    assert "hunter" in repr(Text(value=b"hunter2"))
