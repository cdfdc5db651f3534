"""Recorded exchanges of other people's programs with a TPM, read and written."""

from typing import Any

import pytest
from vectors import VECTORS, Vector

from tpmwire.commands import COMMANDS, Response, unpack_command, unpack_response
from tpmwire.constants import TPM_CC, TPM_RC
from tpmwire.wire import Encrypted

every_vector = pytest.mark.parametrize("vector", VECTORS, ids=str)


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
    return value.hex() if isinstance(value, bytes) else value


@pytest.mark.parametrize("code", COMMANDS, ids=lambda code: TPM_CC(code).name)
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


def is_encrypted(value: Any) -> bool:
    return isinstance(value, Encrypted)


def command_of(vector: Vector) -> Any:
    return unpack_command(vector.sent).command


def response_of(vector: Vector) -> Any:
    return unpack_response(vector.received, code_of(vector)).response
