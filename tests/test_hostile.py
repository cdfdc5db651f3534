"""Octets of an enemy: whatever comes, the answer is a value or a DecodeError, and costs little.

That each beginning and each small wound of a vector is refused or read, test_commands.py holds;
here the octets are many, random, and made to cost.
"""

import enum
import gc
import pickle
import random
import struct
import sys
import tracemalloc
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import ALL, COMMAND_CLASSES, STRUCTURES, mutated, per_class
from vectors import VECTORS, Vector

from tpmwire import attributes, wire
from tpmwire.commands import Command, unpack_command, unpack_response
from tpmwire.constants import TPM_ALG, TPM_CAP
from tpmwire.errors import DecodeError
from tpmwire.structure import Structure
from tpmwire.types import TPMS_CAPABILITY_DATA, TPMT_PUBLIC

LONGEST = 8192
MEMORY = 100  # octets of memory at most for each octet that is read, and
OVERHEAD = 100_000  # as many for whatever it is
STEPS = 20  # calls of a function at most for each octet that is read

every_response = pytest.mark.parametrize("cls", COMMAND_CLASSES, ids=lambda cls: cls.__name__)
every_structure = pytest.mark.parametrize("cls", STRUCTURES, ids=lambda cls: cls.__name__)
WORDS = [
    flags
    for flags in vars(attributes).values()
    if isinstance(flags, type) and issubclass(flags, enum.IntFlag) and len(flags)
]


def framed(tag: int, code: int, body: bytes) -> bytes:
    return struct.pack(">HII", tag, 10 + len(body), code) + body


def response(body: bytes, tag: int = 0x8001) -> bytes:
    return framed(tag, 0, body)


def read(function: Callable[..., Any], data: bytes, *others: int) -> Any:
    """Read octets; what is accepted has to pack to them, and to show itself."""
    try:
        value = function(data, *others)
    except DecodeError:
        return None
    assert value.pack() == data
    assert repr(value)
    return value


def peak(function: Callable[..., Any], data: bytes, *others: int) -> int:
    """The memory that the reading of octets takes at its height, besides what it had before."""
    tracemalloc.start()
    try:
        function(data, *others)
    except DecodeError:
        pass
    finally:
        _, height = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return height


def calls(function: Callable[..., Any], data: bytes, *others: int) -> int:
    """How often a function is called while octets are read: a measure of time that is exact."""
    count = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += 1

    sys.setprofile(note)
    try:
        function(data, *others)
    except DecodeError:
        pass
    finally:
        sys.setprofile(None)
    return count


# --- random and wounded octets ------------------------------------------------------------------


@st.composite
def hostile(draw: st.DrawFn) -> bytes:
    """Up to 8 KiB of random octets, of one octet only, or of a few octets again and again."""
    size = draw(st.integers(0, LONGEST))
    match draw(st.sampled_from(("random", "one", "again", "short"))):
        case "random":
            return random.Random(draw(st.integers(0, 2**32))).randbytes(size)
        case "one":
            return draw(st.sampled_from((b"\0", b"\1", b"\xff"))) * size
        case "again":
            return (draw(st.binary(min_size=1, max_size=12)) * size)[:size]
        case _:
            return draw(st.binary(max_size=64))


@every_response
@per_class
@given(body=hostile(), tag=st.sampled_from((0x8001, 0x8002)))
def test_a_response_of_hostile_octets_is_a_value_or_a_decode_error(
    cls: type[Command[Any]], body: bytes, tag: int
):
    read(unpack_response, response(body, tag), cls.CC)


@every_response
@per_class
@given(body=hostile(), tag=st.sampled_from((0x8001, 0x8002)))
def test_a_command_of_hostile_octets_is_a_value_or_a_decode_error(
    cls: type[Command[Any]], body: bytes, tag: int
):
    read(unpack_command, framed(tag, cls.CC, body))


@every_structure
@per_class
@given(data=hostile())
def test_a_structure_of_hostile_octets_is_a_value_or_a_decode_error(
    cls: type[Structure], data: bytes
):
    read(cls.unpack, data)


@pytest.mark.parametrize("vector", VECTORS[::7], ids=str)
@per_class
@given(data=st.data())
def test_a_response_to_another_command_is_a_value_or_a_decode_error(
    vector: Vector, data: st.DataObject
):
    other = data.draw(st.sampled_from(COMMAND_CLASSES))
    read(unpack_response, data.draw(mutated(vector.received)), other.CC)
    read(unpack_response, vector.received, other.CC)


# --- memory and time ----------------------------------------------------------------------------


LISTS = [
    (cls, field.name, field.subcon)
    for cls in ALL
    for field in cls.schema.fields
    if isinstance(field.subcon, wire.Counted)
]


@pytest.mark.parametrize("fill", [b"\0", b"\1", b"\xff"], ids=["zeros", "ones", "full"])
@every_response
def test_what_a_response_costs_is_bounded_by_its_size(cls: type[Command[Any]], fill: bytes):
    data = response(fill * LONGEST)
    assert peak(unpack_response, data, cls.CC) < MEMORY * len(data) + OVERHEAD
    assert calls(unpack_response, data, cls.CC) < STEPS * len(data)


def test_there_are_lists_to_lie_about():
    assert len(LISTS) > 20
    assert {cls.__name__ for cls, *_ in LISTS} >= {"PCR_ReadResponse", "PolicyOR"}


@pytest.mark.parametrize("claimed", [2**32 - 1, 2**16])
@pytest.mark.parametrize(("cls", "name", "subcon"), LISTS)
def test_a_list_that_claims_more_elements_than_there_are_octets_is_refused_at_once(
    cls: type[Structure], name: str, subcon: wire.Counted, claimed: int
):
    alone = type("Alone", (Structure,), {"__annotations__": {name: Annotated[tuple, subcon]}})
    data = claimed.to_bytes(4, "big") + bytes(64)
    with pytest.raises(DecodeError, match=rf"Alone\.{name}: .*(claimed|is the most)"):
        alone.unpack(data)
    assert peak(alone.unpack, data) < OVERHEAD


@pytest.mark.parametrize("capability", list(TPM_CAP), ids=lambda each: each.name)
def test_a_capability_list_of_2_to_the_32_entries_is_refused_at_once(capability: TPM_CAP):
    data = capability.to_bytes(4, "big") + b"\xff" * 4 + bytes(64)
    with pytest.raises(DecodeError, match="claimed"):
        TPMS_CAPABILITY_DATA.unpack(data)
    assert peak(TPMS_CAPABILITY_DATA.unpack, data) < OVERHEAD


@every_structure
def test_what_a_structure_costs_is_bounded_by_its_size(cls: type[Structure]):
    data = bytes(LONGEST)
    assert peak(cls.unpack, data) < MEMORY * len(data) + OVERHEAD
    assert calls(cls.unpack, data) < STEPS * len(data)


ELEMENTS = {TPM_CAP.ALGS: 6, TPM_CAP.COMMANDS: 4, TPM_CAP.PCRS: 3, TPM_CAP.ECC_CURVES: 2}


@pytest.mark.parametrize("capability", ELEMENTS, ids=lambda each: each.name)
def test_what_a_list_costs_that_is_as_long_as_it_claims_is_bounded_by_its_size(
    capability: TPM_CAP,
):
    size = ELEMENTS[capability]
    data = struct.pack(">II", capability, LONGEST // size) + bytes(LONGEST // size * size)
    assert len(TPMS_CAPABILITY_DATA.unpack(data).data) == LONGEST // size
    assert peak(TPMS_CAPABILITY_DATA.unpack, data) < MEMORY * len(data) + OVERHEAD
    assert calls(TPMS_CAPABILITY_DATA.unpack, data) < STEPS * len(data)


# --- words of bits ------------------------------------------------------------------------------


def memory_of(flags: Any, words: range, *, width: int) -> int:
    """The memory that remains taken after so many different words were read."""
    subcon = wire.Attributes(flags, width)
    gc.collect()
    tracemalloc.start()
    for word in words:
        subcon.parse(word.to_bytes(width, "big"))
    gc.collect()
    left, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return left


def test_a_process_that_reads_ever_new_attributes_does_not_grow():
    """The first words fill what is kept of the latest ones; those after them take nothing more."""
    step = 7 << 20  # many bits, with and without names
    few = memory_of(attributes.TPMA_NV_EXP, range(step, 1_200 * step, step), width=8)
    many = memory_of(attributes.TPMA_NV_EXP, range(step, 3_600 * step, step), width=8)
    assert many < few * 1.2


@pytest.mark.parametrize("flags", WORDS, ids=lambda flags: flags.__name__)
def test_enum_keeps_no_more_words_than_an_octet_has(flags: Any):
    before = len(flags._value2member_map_)
    for word in range(1 << 24, (1 << 24) + 3000 * 7, 7):
        flags(word & 0xFF if issubclass(flags, attributes.Flags8) else word)
    assert len(flags._value2member_map_) <= max(before, 256)


class Plain(enum.IntFlag, boundary=enum.KEEP):
    """What enum itself makes of the same bits."""

    red = 1
    green = 2
    high = 0x80000000


class Ours(attributes.Flags32):
    red = 1
    green = 2
    high = 0x80000000


@given(number=st.integers(0, 2**32 - 1) | st.integers(0, 8), other=st.integers(0, 2**32 - 1))
def test_words_that_are_not_kept_are_like_those_of_enum(number: int, other: int):
    plain, ours = Plain(number), Ours(number)
    assert type(ours) is Ours
    assert repr(ours) == repr(plain).replace("Plain", "Ours")
    assert (str(ours), ours.name, ours.value) == (str(plain), plain.name, plain.value)
    assert [each.name for each in ours] == [each.name for each in plain]
    assert (ours, hash(ours), len(ours), bool(ours)) == (
        plain,
        hash(plain),
        len(plain),
        bool(plain),
    )
    for theirs, mine in (
        (plain | other, ours | other),
        (plain & other, ours & other),
        (plain ^ other, ours ^ other),
        (plain & ~Plain.red, ours & ~Ours.red),
    ):
        assert (type(mine), int(mine)) == (Ours, int(theirs))
    assert (Ours.red in ours) == (Plain.red in plain)
    assert pickle.loads(pickle.dumps(ours)) == ours


@pytest.mark.parametrize("member", list(attributes.TPMA_OBJECT), ids=lambda each: each.name)
def test_a_bit_with_a_name_is_always_the_same_object(member: attributes.TPMA_OBJECT):
    assert attributes.TPMA_OBJECT(member.value) is member
    assert attributes.TPMA_OBJECT(~(member.value ^ 0xFFFFFFFF)) is member
    assert (attributes.TPMA_OBJECT(0xFFFFFFFF) & member) is member


def test_a_word_that_is_no_number_is_refused():
    for wrong in ("4", None, 1.5, b"\0", []):
        with pytest.raises(ValueError, match="an integer wanted"):
            attributes.TPMA_OBJECT(wrong)


def test_a_value_stays_the_same_whatever_is_read_after_it():
    first = TPMT_PUBLIC.schema.fields[2].subcon.parse(b"\x12\x34\x56\x78")
    shown = repr(first)
    for word in range(3_000):
        attributes.TPMA_OBJECT(word * 7)
    assert (repr(first), first) == (shown, attributes.TPMA_OBJECT(0x12345678))
    assert TPM_ALG(0x000B) is TPM_ALG.SHA256
