"""Which commands the tests here run.  A test claims some, and fails if one of them did not succeed.

    @runs(NV_Write, NV_Read)
    def test_what_was_written_is_read(tpm): ...

What a test claims is known before it runs, so a command that no test claims is found without them.
"""

import functools
from collections.abc import Callable
from typing import Any

from tpmwire.commands import Command, unpack_command, unpack_response
from tpmwire.transport import Transport

CLAIMED: set[int] = set()


class Witness:
    """A transport that notes which commands succeed, and that their octets are understood."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.keeps_objects = transport.keeps_objects
        self.succeeded: set[int] = set()

    def send(self, command: bytes) -> bytes:
        answer = self._transport.send(command)
        code = int.from_bytes(command[6:10], "big")
        assert unpack_command(command).pack() == command
        assert unpack_response(answer, code).pack() == answer
        if answer[6:10] == bytes(4):
            self.succeeded.add(code)
        return answer

    def close(self) -> None:
        self._transport.close()


def runs(*commands: type[Command[Any]]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Claim that a test, which takes the fixture `tpm`, runs each of `commands` successfully."""
    CLAIMED.update(command.CC for command in commands)

    def claim(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def held(tpm: Any, **fixtures: Any) -> None:
            witness = tpm._transport = Witness(tpm._transport)
            test(tpm=tpm, **fixtures)
            failed = [each.__name__ for each in commands if each.CC not in witness.succeeded]
            assert not failed, f"claimed, and without success: {failed}"

        return held

    return claim
