"""The declarations against the tables of the specification.

Both are turned into the same kind of description, a text for each place, and compared.  What
differs on purpose stands in EXPLAINED, with what the code says instead and why.
"""

import re
from itertools import pairwise
from typing import Any

import pytest
from declared import declared_command, declared_constants, declared_type
from tables import (
    COMMAND_ROWS,
    CONSTANT_ROWS,
    TYPE_ROWS,
    Description,
    python_name,
    tabled_command,
    tabled_constants,
    tabled_type,
)

import tpmwire.commands
from tpmwire import attributes, constants, types
from tpmwire.commands import COMMANDS

EXPLAINED: dict[str, dict[str, str]] = {
    "One class stands for both tables of a code; the fields have the names of TPM2_HMAC.": {
        "TPM2_MAC.parameters": "buffer:TPM2B_MAX_BUFFER; hashAlg:TPMI_ALG_HASH",
        "TPM2_MAC.response.parameters": "outHMAC:TPM2B_DIGEST",
        "TPM2_MAC_Start.parameters": "auth:TPM2B_AUTH; hashAlg:TPMI_ALG_HASH",
    },
    "Another vendor's command of this code may be anything, so it is left as octets.": {
        "TPM2_Vendor_TCG_Test": "absent",
    },
    "The table of commands leaves out that the ticket is the one of version 1.85.": {
        "TPM2_VerifySequenceComplete.response.parameters": "validation:TPMT_TK_VERIFIED_185",
        "TPM2_VerifyDigestSignature.response.parameters": "validation:TPMT_TK_VERIFIED_185",
    },
    "A ticket of the NULL hierarchy has no metadata, whatever its tag.": {
        "TPMU_TK_VERIFIED_META[0x8027]": (
            "Annotated[TPM_ALG | None, Unless(wire_of(TPM_ALG_ID), 'hierarchy', TPM_RH.NULL)]"
        ),
    },
    "The same octets as its alias, but never shown.": {
        "TPM2B_AUTH": "Annotated[bytes, Buffer(limit=64, secret=True)]",
    },
    "It is encrypted together with its size, so there is no size to read.": {
        "TPMS_ID_OBJECT.encIdentity": "Annotated[bytes, Rest()]",
    },
    "No member is defined, so what is sent are the octets up to the end.": {
        "TPMU_SET_CAPABILITIES": "Annotated[bytes, Rest()]",
        "TPMS_SET_CAPABILITY_DATA.data": "TPMU_SET_CAPABILITIES",
    },
    "Not the TPM's choice: as long as the longest key that TPMI_RSA_KEY_BITS names, 16384 bits.": {
        "TPM2B_PUBLIC_KEY_RSA limit": "2048",
    },
    "Not the TPM's choice: more than any registered curve needs, BN_P638 has 80.": {
        "TPM2B_ECC_PARAMETER limit": "128",
    },
    "A handle reads as a TPM_RH where it has a name.": {
        "TPM_HANDLE": "Annotated[int, Handle(TPM_RH)]",
    },
    "In Python it is a bool.": {
        "TPMI_YES_NO": "yes or no",
        "TPMI_YES_NO.NO": "absent",
        "TPMI_YES_NO.YES": "absent",
    },
    "An interface type whose values have names of its own is an enumeration.": {
        "TPMI_MLDSA_PARAMETER_SET": "TPMI_MLDSA_PARAMETER_SET",
        "TPMI_MLKEM_PARAMETER_SET": "TPMI_MLKEM_PARAMETER_SET",
    },
    "Never on the wire.": {
        "BOOL": "absent",
        "TPM2B_PRIVATE_VENDOR_SPECIFIC": "absent",
        "TPMU_ENCRYPTED_SECRET": "absent",  # it only tells how long the octets may be
    },
    "Nothing in the octets tells the case, so they are left as octets.": {
        "TPMU_NAME": "absent",
        "TPMU_SENSITIVE_CREATE": "absent",
    },
    "Encrypted by the TPM for itself: what it sends does not have this form.": {
        "_PRIVATE": "absent",
        "TPMS_CONTEXT_DATA": "absent",
        "TPM2B_CONTEXT_SENSITIVE": "absent",
    },
    "A handle, whose octets are numbers and not bits; no structure has one.": {
        "TPM_NV_INDEX": "absent",
        "TPM_NV_INDEX.index": "absent",
        "TPM_NV_INDEX.RH_NV": "absent",
    },
    "A bound of one version's list, or the base of one of its parts: it means nothing itself.": {
        **dict.fromkeys(("TPM_ALG_ID.FIRST", "TPM_ALG_ID.LAST"), "absent"),
        **dict.fromkeys(("TPM_CC.FIRST", "TPM_CC.LAST", "TPM_CC.CC_VEND"), "absent"),
        **dict.fromkeys(("TPM_CAP.FIRST", "TPM_CAP.LAST"), "absent"),
        **dict.fromkeys(("TPM_PT.PT_GROUP", "TPM_PT.PT_FIXED", "TPM_PT.PT_VAR"), "absent"),
        **dict.fromkeys(("TPM_PT_PCR.FIRST", "TPM_PT_PCR.LAST"), "absent"),
        **dict.fromkeys(("TPM_RH.FIRST", "TPM_RH.LAST"), "absent"),
        **dict.fromkeys(("TPM_RC.RC_VER1", "TPM_RC.RC_MAX_FM0", "TPM_RC.RC_FMT1"), "absent"),
        "TPM_RC.RC_WARN": "absent",
    },
    "A part of a response code, or the mark of none: errors.py takes them apart.": {
        **{f"TPM_RC.{part}": "absent" for part in ("H", "P", "S", *"123456789ABCDEF", "N_MASK")},
        "TPM_RC.NOT_USED": "absent",
    },
    "How many there are is the choice of each TPM.": {
        "TPM_HC.PCR_LAST": "absent",
        "TPM_HC.HMAC_SESSION_LAST": "absent",
        "TPM_HC.LOADED_SESSION_LAST": "absent",
        "TPM_HC.POLICY_SESSION_LAST": "absent",
        "TPM_HC.ACTIVE_SESSION_LAST": "absent",
        "TPM_HC.TRANSIENT_LAST": "absent",
    },
}


def comparisons() -> dict[str, tuple[Description, Description]]:
    """Describe each command, type and set of constants as the table and as the code have it."""
    found = {}
    for name, row in COMMAND_ROWS.items():
        found[name] = tabled_command(row), declared_command(name)
    for name, rows in TYPE_ROWS.items():
        ours = declared_type(python_name(name), rows[0]["kind"])
        found[name] = tabled_type(name, rows), ours
    for name, rows in CONSTANT_ROWS.items():
        found[f"{name}.*"] = tabled_constants(name, rows), declared_constants(name, rows)
    return found


COMPARISONS = comparisons()
EXPLAINED_PLACES = {place: text for places in EXPLAINED.values() for place, text in places.items()}


def differences(name: str) -> dict[str, tuple[str, str]]:
    """Find the places where table and code differ; if all is absent, that is one difference."""
    tabled, declared = COMPARISONS[name]
    if list(declared.values()) == ["absent"]:
        return dict.fromkeys(declared, ("there", "absent"))
    return {
        place: (tabled.get(place, "absent"), declared.get(place, "absent"))
        for place in {**tabled, **declared}
        if tabled.get(place, "absent") != declared.get(place, "absent")
    }


@pytest.mark.parametrize("name", COMPARISONS)
def test_a_declaration_says_what_the_table_says(name: str):
    unexplained = {
        place: difference
        for place, difference in differences(name).items()
        if EXPLAINED_PLACES.get(place) != difference[1]
    }
    assert unexplained == {}


def test_nothing_is_explained_that_does_not_differ():
    differing = {place for name in COMPARISONS for place in differences(name)}
    assert EXPLAINED_PLACES.keys() - differing == set()
    assert len(EXPLAINED_PLACES) == sum(len(places) for places in EXPLAINED.values())


def test_every_command_that_is_declared_stands_in_the_table():
    tabled = {int(row["cc"], 16) for row in COMMAND_ROWS.values()}
    assert COMMANDS.keys() - tabled == set()
    assert len(COMMANDS) == 126 + 8


def test_every_type_that_is_declared_stands_in_a_table():
    declared = {name for name in vars(types) if re.match("TPM[A2SILTU]?", name)}
    ours = {"TPM_ALG", "TPM_ECC"}  # the classes of TPM_ALG_ID and TPM_ECC_CURVE
    assert declared - ours - {python_name(name) for name in TYPE_ROWS} == set()


def cited(cls: Any, part: int) -> tuple[int, ...]:
    """Read the section that the docstring of a class cites."""
    section = re.search(rf"\[Part {part}, ([\d.]+)[];]", cls.__doc__ or "")
    assert section, f"{cls.__name__} cites no section of part {part}"
    return tuple(map(int, section[1].split(".")))


def test_commands_cite_the_sections_in_the_order_of_the_pages():
    pages = {}
    for name, row in COMMAND_ROWS.items():
        page = re.search(r"p(\d+)", row["part3_r184_tables"])
        cls = getattr(tpmwire.commands, name.removeprefix("TPM2_"), None)
        if page and cls is not None and name == f"TPM2_{cls.__name__}":
            pages[int(page[1])] = cited(cls, 3)
    sections = [pages[page] for page in sorted(pages)]
    assert len(sections) == 126
    assert sections == sorted(set(sections))


def test_types_cite_the_sections_in_the_order_of_the_tables():
    tables = {}
    for name, rows in TYPE_ROWS.items():
        number = re.match(r"r184 T(\d+)", rows[0]["part2"])
        found = [getattr(module, name, None) for module in (types, constants, attributes)]
        cls = next((it for it in found if isinstance(it, type) and it.__name__ == name), None)
        if number and cls is not None:
            tables[int(number[1])] = cited(cls, 2)
    sections = [tables[number] for number in sorted(tables)]
    assert len(sections) > 90
    for before, after in pairwise(sections):
        assert before[: len(after)] <= after
