"""Constants and attributes, against the tables of the specification."""

import csv
import enum
from collections import defaultdict
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from vectors import VECTORS

from tpmwire import attributes, constants
from tpmwire.attributes import (
    TPMA_CC,
    TPMA_ML_PARAMETER_SET,
    TPMA_OBJECT,
    Flags8,
    Flags32,
    Flags64,
)
from tpmwire.commands import unpack_response
from tpmwire.constants import TPM_CAP, TPM_CC, TPM_HT, TPM_RC, TPM_RH, SignedEnum8

SPEC = Path(__file__).parent / "vectors" / "spec"

# What the tables call otherwise, or is called otherwise in different versions of them.
RENAMED = {"TPM_ALG_ID": "TPM_ALG", "TPM_ECC_CURVE": "TPM_ECC"}

# Tables for which there is no class, since no command here has a field of them.
ABSENT = {
    "TPM_NV_INDEX",  # a handle
    "TPMI_YES_NO",  # a bool
}

# Rows that are no values of their type.
NO_VALUES = {
    "TPM_ALG": {"FIRST", "LAST"},
    "TPM_CC": {"FIRST", "LAST", "CC_VEND"},  # the bit of vendors' commands
    "TPM_CAP": {"FIRST", "LAST"},
    "TPM_PT_PCR": {"FIRST", "LAST"},
    "TPM_RH": {"FIRST", "LAST"},
    "TPM_PT": {"PT_GROUP", "PT_FIXED", "PT_VAR"},  # where groups of properties begin
    # Bounds and masks of the formats, and the bits that tell the place of a fault.
    "TPM_RC": {"RC_VER1", "RC_MAX_FM0", "RC_FMT1", "RC_WARN", "NOT_USED", "N_MASK"}
    | {"H", "P", "S", *"123456789ABCDEF"},
    # Numbers among the bits: properties of the class.
    "TPMA_CC": {"commandIndex", "cHandles"},
    "TPMA_NV": {"TPM_NT"},
    "TPMA_NV_EXP": {"TPM_NT"},
    # Ends that are the choice of each TPM.
    "TPM_HC": {"PCR_LAST", "TRANSIENT_LAST"}
    | {f"{kind}_SESSION_LAST" for kind in ("HMAC", "LOADED", "POLICY", "ACTIVE")},
}

# What stands before the names of a type's constants, where it is not the name of our class.
PREFIXES = {
    "TPM_CONSTANTS32": "TPM_",
    "TPM_CLOCK_ADJUST": "TPM_CLOCK_",
    "TPMI_MLDSA_PARAMETER_SET": "TPM_",
    "TPMI_MLKEM_PARAMETER_SET": "TPM_",
}


def read_table(name: str) -> list[dict[str, str]]:
    with (SPEC / name).open() as file:
        return list(csv.DictReader(file))


def short(kind: str, name: str) -> str:
    """A name of the tables without the prefix that our class is named after."""
    if name == "TPM_RS_PW":  # the one TPM_RH that is not called so
        return "RS_PW"
    return name.removeprefix(PREFIXES.get(kind, f"{kind}_"))


THEIRS: dict[str, dict[str, int]] = defaultdict(dict)
for row in read_table("constants.csv"):
    kind = RENAMED.get(row["type"], row["type"])
    THEIRS[kind][short(kind, row["name"])] = int(row["value"], 0)

COMMANDS = {row["command"].removeprefix("TPM2_"): row for row in read_table("commands.csv")}

OURS: dict[str, Any] = {
    name: cls
    for module in (constants, attributes)
    for name, cls in vars(module).items()
    if isinstance(cls, enum.EnumType) and cls.__module__ == module.__name__ and len(cls)
}
FLAGS = {name: cls for name, cls in OURS.items() if issubclass(cls, enum.IntFlag)}
every_class = pytest.mark.parametrize("name", OURS)
every_flags = pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS)


def test_each_table_is_a_class_or_is_not_needed():
    assert set(OURS) | ABSENT == set(THEIRS)
    assert not set(OURS) & ABSENT


@every_class
def test_a_class_has_the_names_and_values_of_its_table_and_no_others(name: str):
    wanted = {
        row: value
        for row, value in THEIRS[name].items()
        if row not in NO_VALUES.get(name, set()) and row != "reserved"
    }
    assert {row: int(member) for row, member in OURS[name].__members__.items()} == wanted
    assert len(wanted) > 1 or name in ("TPM_GENERATED", "TPM_PUB_KEY", "TPM_AE")


def test_rows_that_are_left_out_are_rows():
    for name, rows in NO_VALUES.items():
        assert rows <= set(THEIRS[name])


def test_the_codes_are_those_of_the_commands():
    codes = {name: int(row["cc"], 16) for name, row in COMMANDS.items()}
    assert len(codes) > 110
    for name, code in codes.items():
        assert TPM_CC[name] == code
    assert {TPM_CC(code) for code in codes.values()} == set(TPM_CC)


def test_a_number_with_two_names_prefers_the_one_that_is_in_use():
    assert TPM_CC(0x155).name == "HMAC"
    assert constants.TPM_ALG(4).name == "SHA1"
    assert TPM_HT(2).name == "HMAC_SESSION"


OCTETS = {
    RENAMED.get(row["type"], row["type"]): int(row["limit"])
    for row in read_table("structures.csv")
    if row["kind"] in ("constant", "attributes")
} | {"TPMI_MLKEM_PARAMETER_SET": 2, "TPMI_MLDSA_PARAMETER_SET": 2}


@every_class
def test_a_class_has_the_width_of_its_table(name: str):
    bits = 8 * OCTETS[name]
    base = OURS[name].__base__
    assert base.__name__ in (f"Enum{bits}", f"SignedEnum{bits}", f"Flags{bits}")
    least = -(1 << bits - 1) if base is SignedEnum8 else 0
    assert all(least <= member < least + (1 << bits) for member in OURS[name].__members__.values())


def mask(flags: Any) -> int:
    return {Flags8: 0xFF, Flags32: 0xFFFFFFFF, Flags64: 0xFFFFFFFFFFFFFFFF}[flags.__base__]


@every_flags
def test_named_and_reserved_bits_are_all_bits(flags: Any):
    rows = THEIRS[flags.__name__]
    numbers = [rows[field] for field in NO_VALUES.get(flags.__name__, ())]
    named = reduce(or_, [*map(int, flags.__members__.values()), *numbers])
    reserved = rows.get("reserved", 0)
    if flags is TPMA_ML_PARAMETER_SET:  # provisional; the table does not tell the reserved bits
        reserved = mask(flags) & ~named
    if flags is TPMA_OBJECT:  # version 184 reserves in its tables what its code uses
        reserved &= ~int(TPMA_OBJECT.fixedFirmware)
    assert (named | reserved, named & reserved) == (mask(flags), 0)


@every_flags
@given(data=st.data())
def test_every_bit_survives_what_is_done_to_others(flags: Any, data: st.DataObject):
    number = data.draw(st.integers(0, mask(flags)))
    member = data.draw(st.sampled_from(list(flags)))
    value = flags(number)
    assert type(value) is flags
    assert int(value) == number
    assert int(value | member) == number | int(member)
    assert int(value ^ member) == number ^ int(member)
    assert int(value & ~member) == number & ~int(member)
    assert int(~value) == number ^ mask(flags)
    assert {type(value & ~member), type(~value)} == {flags}


class Shape8(Flags8):
    round = 0x01
    red = 0x04


class Shape32(Flags32):
    round = 0x01
    red = 0x04


class Shape64(Flags64):
    round = 0x01
    red = 0x04


@pytest.mark.parametrize("flags", [Shape8, Shape32, Shape64])
def test_bits_above_the_highest_name_survive(flags: Any):
    full = flags(mask(flags))
    assert int(full & ~flags.red) == mask(flags) - 4
    assert int(~flags.round) == mask(flags) - 1
    assert int(~flags(0)) == mask(flags)


@given(number=st.integers(0, 0xFFFFFFFF))
@example(number=0xFFFFFFFF)
def test_the_numbers_in_a_command_word_are_read(number: int):
    attributes = TPMA_CC(number)
    assert attributes.commandIndex == number % 0x10000
    assert attributes.cHandles == number // 0x2000000 % 8


def word(row: dict[str, str]) -> int:
    """The TPMA_CC of a command, from its row in the table of commands.  [Part 2, 8.9]"""
    code = int(row["cc"], 16)
    shifts = {"nv": 22, "extensive": 23, "flushed": 24, "chandles": 25, "rhandle": 28}
    bits = sum(int(row[column]) << shift for column, shift in shifts.items())
    return code & 0x2000FFFF | bits


# Of provisional commands the table knows no attributes.
KNOWN = {name: row for name, row in COMMANDS.items() if row["nv"]}


@pytest.mark.parametrize("row", KNOWN.values(), ids=KNOWN)
def test_a_command_has_the_attributes_of_its_row(row: dict[str, str]):
    attributes = TPMA_CC(word(row))
    assert attributes.commandIndex == int(row["cc"], 16) & 0xFFFF
    assert attributes.cHandles == int(row["chandles"])
    for bit in ("nv", "extensive", "flushed", "rHandle"):
        assert (TPMA_CC[bit] in attributes) == (row[bit.lower()] == "1")
    assert (TPMA_CC.V in attributes) == (row["command"] == "TPM2_Vendor_TCG_Test")


def test_a_tpm_reports_the_attributes_of_its_commands_as_the_table_has_them():
    source = "tpm2_getcap commands"
    vector = next(v for v in VECTORS if v.source.startswith(source))
    response: Any = unpack_response(vector.received, TPM_CC.GetCapability).response
    assert response.capabilityData.capability == TPM_CAP.COMMANDS
    reported = response.capabilityData.data
    assert len(reported) > 100
    table = {int(row["cc"], 16): row for row in KNOWN.values()}
    for value in reported:
        row = table[value.commandIndex | int(value & TPMA_CC.V)]
        assert int(value) == word(row), row["command"]


@pytest.mark.parametrize("name", ["OWNER", "ENDORSEMENT", "PLATFORM", "NULL", "LOCKOUT"])
def test_hierarchies_are_permanent_handles(name: str):
    assert TPM_RH[name] >> 24 == TPM_HT.PERMANENT


def test_every_response_code_is_of_a_format():
    for code in TPM_RC:
        format_1, version_2 = code & 0x80, code & 0x100
        assert format_1 or version_2 or code in (TPM_RC.SUCCESS, TPM_RC.BAD_TAG)
        assert not format_1 or code & ~0xBF == 0


@pytest.mark.parametrize("base", [Flags8, Flags32, Flags64])
def test_attributes_of_a_kind_share_their_width(base: Any):
    assert any(issubclass(flags, base) for flags in FLAGS.values())
