"""Pairing each response with its command, also where one of them is missing.

A TPM does one thing at a time, so a response belongs to the last command on its channel.  Where the
recording does not tell commands from responses, their headers do.  Only an error and a command that
consists of a header may look alike: then it is the response to a command that waits for one.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator

from tpmwire.commands.base import COMMANDS, HEADER
from tpmwire.constants import TPM_CC, TPM_RC, TPM_ST
from tpmwire.errors import TpmError
from tpmwire.traces.messages import VENDOR_COMMANDS, Exchange, Kind, Message

MAX_WAITING = 64
"""How many channels may wait for a response; the one that waits longest is given up first."""

_COMMAND_CODES = frozenset(TPM_CC)


def pair(messages: Iterable[Message]) -> Iterator[Exchange]:
    """Put commands and responses together, in the order in which the exchanges end."""
    waiting: OrderedDict[Hashable, Message] = OrderedDict()
    for message in messages:
        kind = message.kind or kind_of(message.octets, waiting=message.channel in waiting)
        if kind is Kind.STRAY:
            yield Exchange(stray=message)
        elif kind is Kind.RESPONSE:
            yield Exchange(waiting.pop(message.channel, None), message)
        else:
            if message.channel in waiting:
                yield Exchange(waiting.pop(message.channel))
            elif len(waiting) == MAX_WAITING:
                yield Exchange(waiting.popitem(last=False)[1])
            waiting[message.channel] = message
    for command in waiting.values():
        yield Exchange(command)


def kind_of(data: bytes, *, waiting: bool) -> Kind:
    """Tell a command from a response; `waiting` says whether a response is due."""
    if len(data) < HEADER.size:
        return Kind.RESPONSE if waiting else Kind.COMMAND
    tag, size, code = HEADER.unpack_from(data)
    if code == TPM_RC.SUCCESS or tag == TPM_ST.RSP_COMMAND:
        return Kind.RESPONSE
    if size != HEADER.size or tag == TPM_ST.SESSIONS:
        return Kind.COMMAND
    can_be_error = waiting and isinstance(TpmError(code).code, TPM_RC)
    return Kind.COMMAND if _is_bare(code) and not can_be_error else Kind.RESPONSE


def _is_bare(code: int) -> bool:
    """Tell whether a command of this code can consist of a header."""
    if code in COMMANDS:
        return not COMMANDS[code].schema.fields
    return code in _COMMAND_CODES or code >> 16 == VENDOR_COMMANDS
