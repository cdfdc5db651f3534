"""What the tables in tests/vectors/spec say of a command, type or constant, as texts for places.

commands.csv, structures.csv and constants.csv are facts from the specification, version 184, put
together by others.  A "+" behind a type, the size that stands before octets, and cases that no
selector tells are left out: nothing of it is seen in a declaration.
"""

import csv
import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from vectors import DIRECTORY

Row = dict[str, str]
Description = dict[str, str]
"""A text for each place: what stands there."""


def table(name: str) -> list[Row]:
    """Read one of the tables."""
    with open(DIRECTORY / "spec" / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


def by_type(rows: list[Row]) -> dict[str, list[Row]]:
    """Sort rows by the type that they belong to."""
    ordered = sorted(rows, key=lambda row: row["type"])
    return {name: list(group) for name, group in groupby(ordered, lambda row: row["type"])}


COMMAND_ROWS = {row["command"]: row for row in table("commands")}
TYPE_ROWS = by_type(table("structures"))
CONSTANT_ROWS = by_type(table("constants"))
NUMBERS = {row["name"]: int(row["value"], 0) for rows in CONSTANT_ROWS.values() for row in rows}

# Limits that are the same for every TPM.  "" is a bare number; all others are one TPM's choice.
SPECIFIED = {
    "",
    "sizeof(UINT64)",
    "sizeof(TPMU_HA)",  # SHA-512 and its kin have the longest digest of the registry
    "sizeof(TPMT_HA)",
    "sizeof(TPMU_NAME)",
    "sizeof(TPMS_ID_OBJECT)",
    "MAX_SYM_BLOCK_SIZE",  # all block ciphers of the registry have 16 octets, or 8
}

# What stands before the names of a type's constants, where it is not the name of the type.
PREFIXES = {
    "TPM_CONSTANTS32": "TPM_",
    "TPM_ALG_ID": "TPM_ALG_",
    "TPM_ECC_CURVE": "TPM_ECC_",
    "TPM_CLOCK_ADJUST": "TPM_CLOCK_",
    "TPMI_MLDSA_PARAMETER_SET": "TPM_",
    "TPMI_MLKEM_PARAMETER_SET": "TPM_",
}


# What an interface type is based on.
BASES = {
    "TPM_HANDLE": "handle",
    "TPM_ALG_ID": "TPM_ALG",
    "TPM_ECC_CURVE": "TPM_ECC",
    "TPM_ST": "TPM_ST",
    "TPM_KEY_BITS": "2 octets",
    "UINT16": "2 octets",
    "BYTE": "1 octets",
}


def python_name(name: str) -> str:
    """Return the name that a type has in Python."""
    return name.replace("@1.85", "_185")


def tabled_command(row: Row) -> Description:
    name = row["command"]
    plain = {column: text.replace("+", "") for column, text in row.items()}
    return {
        f"{name}.code": row["cc"],
        f"{name}.handles": plain["in_handles"],
        f"{name}.roles": "; ".join(filter(None, (row["auth_role_h1"], row["auth_role_h2"]))),
        f"{name}.authorized": row["auth_handles"],
        f"{name}.parameters": plain["in_params"],
        f"{name}.encryptable": row["decrypt_size"],
        f"{name}.response.handles": plain["out_handle"],
        f"{name}.response.parameters": plain["out_params"],
        f"{name}.response.encryptable": row["encrypt_size"],
        f"{name}.cHandles": row["chandles"],
        f"{name}.rHandle": row["rhandle"],
    }


def tabled_type(name: str, rows: list[Row]) -> Description:
    kind = rows[0]["kind"]
    return dict(TABLED[kind](python_name(name), rows))


def tabled_structure(name: str, rows: list[Row]) -> Iterator[tuple[str, str]]:
    texts = {row["field"]: row["field_type"] for row in rows if row["field"]}
    for field, text in tuple(texts.items()):
        if size := re.fullmatch(r"BYTE\[([a-z]\w*)]", text):
            width = notes(TYPE_ROWS[texts.pop(size[1])][0])["width"]
            texts[field] = f"Annotated[bytes, Buffer(prefix={width})]"
    yield name, f"structure of {', '.join(texts)}"
    for row in rows:
        if row["field"] in texts:
            selector = f" by {row['selector']}" if row["selector"] else ""
            yield f"{name}.{row['field']}", texts[row["field"]] + selector


def tabled_union(name: str, rows: list[Row]) -> Iterator[tuple[str, str]]:
    yield name, "union"
    for row in rows:
        if row["selector"]:
            yield f"{name}[{NUMBERS[row['selector']]:#06x}]", row["field_type"] or "None"


def tabled_list(name: str, rows: list[Row]) -> Iterator[tuple[str, str]]:
    yield name, f"list of {rows[0]['field_type']}"
    yield f"{name} limit", specified_limit(rows[0])


def tabled_buffer(name: str, rows: list[Row]) -> Iterator[tuple[str, str]]:
    yield name, "octets"
    yield f"{name} limit", specified_limit(rows[0])


def tabled_sized(name: str, rows: list[Row]) -> Iterator[tuple[str, str]]:
    optional = notes(rows[0]).get("size0") == "absent"
    yield name, f"{'optional ' if optional else ''}sized {rows[0]['field_type']}"


def tabled_alias(name: str, rows: list[Row]) -> Iterator[tuple[str, str]]:
    if "width" in notes(rows[0]):
        yield name, f"{notes(rows[0])['width']} octets{signed(rows[0])}"
    else:
        yield name, rows[0]["field_type"]


def tabled_interface(name: str, rows: list[Row]) -> Iterator[tuple[str, str]]:
    yield name, BASES[rows[0]["field_type"]]


def tabled_word(name: str, rows: list[Row]) -> Iterator[tuple[str, str]]:
    yield name, f"{rows[0]['kind']} of {rows[0]['limit']} octets{signed(rows[0])}"


TABLED: dict[str, Any] = {
    "structure": tabled_structure,
    "union": tabled_union,
    "list": tabled_list,
    "buffer": tabled_buffer,
    "sized": tabled_sized,
    "alias": tabled_alias,
    "interface": tabled_interface,
    "constant": tabled_word,
    "attributes": tabled_word,
}


def notes(row: Row) -> dict[str, str]:
    return dict(note.split("=", 1) for note in row["notes"].split("; ") if "=" in note)


def signed(row: Row) -> str:
    return ", signed" if "; signed" in row["notes"] else ""


def specified_limit(row: Row) -> str:
    symbol, _, number = row["limit"].rpartition("=")
    return number if symbol in SPECIFIED and number.isdigit() else "none"


def tabled_constants(name: str, rows: list[Row]) -> Description:
    prefix = PREFIXES.get(name, f"{name}_")
    places = {}
    for row in rows:
        member = row["name"].removeprefix(prefix).removeprefix("TPM_" if name == "TPM_RH" else "")
        if row["notes"].startswith("every unnamed bit"):
            continue
        places[f"{name}.{member}"] = f"{int(row['value'], 0):#x}"
    return places
