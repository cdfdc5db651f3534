"""An exchange taken apart: what its octets stand for, as far as they go."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tpmwire.commands.base import COMMANDS, HEADER, Command, CommandFrame, ResponseFrame
from tpmwire.commands.damaged import Reading, read_command, read_response
from tpmwire.constants import TPM_ST
from tpmwire.traces.messages import Exchange, Message


@dataclass
class Dissection:
    """An exchange with what its octets stand for; `code` is that of its command, if it is known."""

    exchange: Exchange
    code: int | None
    command: Reading | None
    response: Reading | None

    @cached_property
    def known(self) -> type[Command[Any]] | None:
        """The class of the command, if there is one for it."""
        return None if self.code is None else COMMANDS.get(self.code)

    @property
    def response_code(self) -> int | None:
        """The response code, if there is one."""
        return self.response.frame.code if self.response and self.response.frame else None

    @property
    def damaged(self) -> bool:
        """Whether anything of it could not be read."""
        readings = (self.command, self.response)
        return bool(self.exchange.stray) or any(r.errors for r in readings if r)


def dissect(exchange: Exchange, code: int | None = None) -> Dissection:
    """Take an exchange apart; `code` is that of the command where only the response is there."""
    command = response = None
    if exchange.command is not None:
        command = read_command(exchange.command.octets)
        code = _code(exchange.command)
    if exchange.response is not None:
        response = read_response(exchange.response.octets, -1 if code is None else code)
    return Dissection(exchange, code, command, response)


def hides_body(frame: CommandFrame | ResponseFrame, dissection: Dissection) -> bool:
    """Tell whether the octets of a body, of which nothing is known, may well have secrets in them.

    Where the handles of a vendor's command end is not known, and after them may come a password;
    and a response without its command may be anything.
    """
    if isinstance(frame, CommandFrame):
        return frame.tag == TPM_ST.SESSIONS
    return dissection.code is None


def _code(command: Message) -> int | None:
    if len(command.octets) < HEADER.size:
        return None
    return int(HEADER.unpack_from(command.octets)[2])
