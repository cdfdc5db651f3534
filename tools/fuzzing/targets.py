"""The places where octets from outside come in; the first two octets of an input choose one.

What is read has to be a value that packs to the same octets, or a DecodeError.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import tpmwire.types
from tpmwire.commands import COMMANDS, unpack_command, unpack_response
from tpmwire.errors import DecodeError
from tpmwire.structure import Structure

VECTORS = Path(__file__).resolve().parent.parent.parent / "tests" / "vectors"
CHOICE = 2  # octets

Read = Callable[[bytes], Any]


def _targets() -> dict[str, Read]:
    found: dict[str, Read] = {"command": unpack_command}
    for code in sorted(COMMANDS):
        found[f"response {code:#x}"] = partial(unpack_response, code=code)
    for name, cls in sorted(vars(tpmwire.types).items()):
        if isinstance(cls, type) and hasattr(cls, "schema") and cls.__name__ == name:
            found[name] = cls.unpack
    return found


TARGETS = _targets()
NAMES = list(TARGETS)


def check(data: bytes) -> bool:
    """Read an input; AssertionError, or whatever else is raised, if the promise is not kept.

    Returns whether it was a value.
    """
    number = int.from_bytes(data[:CHOICE], "big") % len(NAMES)
    octets = data[CHOICE:]
    try:
        value = TARGETS[NAMES[number]](octets)
    except DecodeError as error:
        str(error)
        return False
    if value.pack() != octets:
        raise AssertionError(f"{NAMES[number]}: packs to {value.pack().hex()}")
    repr(value)
    return True


def seeds() -> Iterator[bytes]:
    """Make an input of each command and response in the vectors, and of each structure in them."""
    for path in sorted([*VECTORS.glob("*.json"), *VECTORS.glob("handmade/*.json")]):
        for vector in json.loads(path.read_text()):
            sent, received = bytes.fromhex(vector["sent"]), bytes.fromhex(vector["received"])
            code = int.from_bytes(sent[6:10], "big")
            yield _chosen("command", sent)
            yield _chosen(f"response {code:#x}", received)
            for value in (unpack_command(sent), unpack_response(received, code)):
                for structure in _structures(vars(value)):
                    yield _chosen(type(structure).__name__, structure.pack())


def _chosen(name: str, octets: bytes) -> bytes:
    return NAMES.index(name).to_bytes(CHOICE, "big") + octets if name in TARGETS else b""


def _structures(fields: dict[str, Any]) -> Iterator[Structure]:
    for value in fields.values():
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, Structure):
                yield from _structures(vars(each))
                if type(each).__name__ in TARGETS:
                    yield each
