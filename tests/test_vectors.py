"""Exchanges of other people's programs with a TPM, and some made by hand, read and written."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tables import COMMAND_ROWS
from vectors import DIRECTORY, VECTORS, Vector

from tpmwire.commands import COMMANDS, Response, unpack_command, unpack_response
from tpmwire.constants import TPM_CC, TPM_CONSTANTS32, TPM_RC, TPM_ST
from tpmwire.types import DIGEST_SIZES, TPMS_ATTEST, TPMS_ID_OBJECT
from tpmwire.wire import Encrypted

every_vector = pytest.mark.parametrize("vector", VECTORS, ids=str)

HANDMADE = Path(__file__).parent.parent / "tools" / "handmade"

IMPLEMENTED = {
    int(row["cc"], 16) for row in COMMAND_ROWS.values() if row["in_libtpms_0_9_2"] == "yes"
}
"""The commands that there is a TPM to record from."""


def code_of(vector: Vector) -> int:
    return TPM_CC[vector.command]


@every_vector
def test_a_command_packs_to_the_octets_it_came_from(vector: Vector):
    frame = unpack_command(vector.sent)
    assert frame.code == code_of(vector)
    assert (frame.command is not None) == (frame.code in COMMANDS)
    assert frame.pack() == vector.sent


@every_vector
def test_a_response_packs_to_the_octets_it_came_from(vector: Vector):
    frame = unpack_response(vector.received, code_of(vector))
    succeeded = vector.received[6:10] == bytes(4)
    assert (frame.code == TPM_RC.SUCCESS) == succeeded
    assert (frame.response is not None) == (succeeded and code_of(vector) in COMMANDS)
    assert frame.pack() == vector.received


@every_vector
def test_a_command_made_of_its_fields_is_the_one_that_was_recorded(vector: Vector):
    frame = unpack_command(vector.sent)
    if frame.command is not None:
        again = type(frame.command)(**vars(frame.command))
        assert again.frame(frame.authorizations) == vector.sent


@pytest.mark.parametrize("vector", [v for v in VECTORS if v.fields], ids=str)
def test_a_response_says_what_the_program_printed(vector: Vector):
    response = unpack_response(vector.received, code_of(vector)).response
    assert response is not None
    for path, printed in vector.fields.items():
        first, *others = path.split(".")
        if isinstance(getattr(response, first), Encrypted):
            continue
        assert plain(follow(getattr(response, first), others)) == printed, path


def test_what_the_programs_printed_is_compared_with_most_commands():
    compared = {vector.command for vector in VECTORS if vector.fields}
    assert compared >= {"Create", "CreatePrimary", "GetRandom", "Load", "ReadPublic", "Sign"}


def follow(value: Any, path: list[str]) -> Any:
    """Go down a path of field names; `*` is each element."""
    if not path:
        return value
    first, *others = path
    if first == "*":
        return [follow(element, others) for element in value]
    return follow(getattr(value, first), others)


def plain(value: Any) -> Any:
    if isinstance(value, list):
        return [plain(element) for element in value]
    return value.hex() if isinstance(value, bytes) else value


@pytest.mark.parametrize("vector", [v for v in VECTORS if v.asked], ids=str)
def test_a_command_says_what_was_put_into_it(vector: Vector):
    command = command_of(vector)
    for path, value in vector.asked.items():
        assert plain(follow(command, path.split("."))) == value, path
    assert type(command)(**vars(command)).frame(unpack_command(vector.sent).authorizations) == (
        vector.sent
    )


@pytest.mark.parametrize("code", COMMANDS.keys() - IMPLEMENTED, ids=lambda c: TPM_CC(c).name)
def test_each_command_that_no_tpm_here_has_is_there_handmade(code: int):
    """Each of its fields, the handles too, is compared with what the vector says."""
    made = [vector for vector in VECTORS if code_of(vector) == code and vector.asked]
    assert made
    assert all("handmade" in vector.source for vector in made)
    for cls, paths in (
        (COMMANDS[code], {path for vector in made for path in vector.asked}),
        (COMMANDS[code].RESPONSE, {path for vector in made for path in vector.fields}),
    ):
        compared = {path.partition(".")[0] for path in paths}
        assert compared == {field.name for field in cls.schema.fields}


def test_the_handmade_vectors_are_what_the_tool_makes(tmp_path: Path):
    subprocess.run([sys.executable, HANDMADE, tmp_path], check=True)
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_text() for path in (DIRECTORY / "handmade").iterdir()}


@pytest.mark.parametrize("code", sorted(IMPLEMENTED), ids=lambda code: TPM_CC(code).name)
def test_each_command_was_recorded_with_success(code: int):
    answers = [
        unpack_response(vector.received, code).response
        for vector in VECTORS
        if code_of(vector) == code
    ]
    assert any(isinstance(answer, Response) for answer in answers)


def test_encrypted_parameters_were_recorded_both_ways():
    def first_parameter(value: Any) -> Any:
        fields = value.AREAS.parameters if value is not None else ()
        return value[fields[0].name] if fields else None

    sent = {v.command for v in VECTORS if is_encrypted(first_parameter(command_of(v)))}
    received = {v.command for v in VECTORS if is_encrypted(first_parameter(response_of(v)))}
    assert sent >= {"Create", "CreatePrimary", "Load"}
    assert received >= {"Create", "CreatePrimary", "GetRandom", "Load"}


def test_what_a_tpm_certified_reads_as_its_structure():
    kinds = set()
    for response in map(response_of, VECTORS):
        for name in ("certifyInfo", "quoted", "auditInfo", "timeInfo"):
            octets = getattr(response, name, None)
            if octets is not None and not is_encrypted(octets):
                attest = TPMS_ATTEST.unpack(octets)
                assert attest.pack() == octets
                assert attest.magic is TPM_CONSTANTS32.GENERATED_VALUE
                kinds.add(attest.type)
    assert kinds == {tag for tag in TPM_ST if tag.name.startswith("ATTEST")}


def test_a_credential_that_a_tpm_made_is_an_integrity_value_and_an_encrypted_digest():
    made = [v for v in VECTORS if v.command == "MakeCredential" and response_of(v)]
    assert made
    for vector in made:
        blob = TPMS_ID_OBJECT.unpack(response_of(vector).credentialBlob)
        assert len(blob.integrityHMAC) in DIGEST_SIZES.values()
        assert len(blob.encIdentity) == 2 + len(command_of(vector).credential)


def is_encrypted(value: Any) -> bool:
    return isinstance(value, Encrypted)


def command_of(vector: Vector) -> Any:
    return unpack_command(vector.sent).command


def response_of(vector: Vector) -> Any:
    return unpack_response(vector.received, code_of(vector)).response
