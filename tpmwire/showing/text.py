"""Exchanges as indented text.

What is secret is told by its size, and a damaged buffer is shown up to the place where it breaks.
The text is ASCII, whatever the octets are.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from tpmwire.attributes import TPMA_SESSION
from tpmwire.commands.damaged import Reading
from tpmwire.constants import TPM_RC, TPM_RH
from tpmwire.errors import DecodeError, TpmWarning, tpm_error
from tpmwire.showing.dissection import Dissection, hides_body
from tpmwire.showing.oneline import hidden_words, octets_words
from tpmwire.showing.paint import Paint
from tpmwire.showing.tree import Tree
from tpmwire.showing.words import command_name, handle_words, response_words
from tpmwire.structure import Structure
from tpmwire.traces.messages import Message
from tpmwire.types.structures import TPMS_AUTH_COMMAND, TPMS_AUTH_RESPONSE

_MOST_REMEMBERED = 256
_QUIET = (TPMA_SESSION(0), TPMA_SESSION.continueSession)


class Text:
    """Writes exchanges as text; one object may write any number of them."""

    def __init__(self, paint: Paint, *, full: bool = False, secrets: bool = False) -> None:
        self._paint, self._secrets = paint, secrets
        self._tree = Tree(paint, full=full, secrets=secrets)
        self._origins: OrderedDict[Hashable, dict[int, int]] = OrderedDict()

    def exchange(self, number: int, dissection: Dissection) -> str:
        """Write an exchange: lines, each with its end."""
        command, response, stray = dissection.exchange
        self._tree.number, self._tree.origins = number, self._origins_on(command or response)
        if stray is not None:
            self._stray(number, stray)
        else:
            self._head(number, dissection)
        if command is not None and dissection.command is not None:
            self._command(command, dissection.command, dissection)
        if response is not None and dissection.response is not None:
            self._note_origin(number, dissection.response.frame)
            self._response(response, dissection.response, dissection)
        return self._take()

    def structure(self, value: Structure) -> str:
        """Write a structure by itself."""
        self._tree.fields(0, value, value.schema.fields)
        return self._take()

    def _take(self) -> str:
        lines = self._tree.lines
        text = "\n".join(lines) + "\n"
        lines.clear()
        return text

    def _say(self, line: str) -> None:
        self._tree.lines.append(line)

    def _origins_on(self, message: Message | None) -> dict[int, int]:
        """Return where the handles come from that a channel knows; few channels are remembered."""
        channel = message.channel if message else None
        origins = self._origins.setdefault(channel, {})
        self._origins.move_to_end(channel)
        if len(self._origins) > _MOST_REMEMBERED:
            self._origins.popitem(last=False)
        return origins

    def _note_origin(self, number: int, frame: Any) -> None:
        """Note which exchange a handle comes from."""
        if frame is None or frame.response is None:
            return
        origins = self._tree.origins
        for field in type(frame.response).AREAS.handles:
            if field.name in vars(frame.response):
                origins[frame.response[field.name]] = number
            if len(origins) > _MOST_REMEMBERED:
                del origins[next(iter(origins))]

    def _head(self, number: int, dissection: Dissection) -> None:
        name = "response" if dissection.code is None else command_name(dissection.code)
        self._say(f"{self._paint.title(f'#{number} {name}')}: {self._verdict(dissection)}")

    def _verdict(self, dissection: Dissection) -> str:
        code = dissection.response_code
        if dissection.response is None:
            return self._paint.late("no response recorded")
        if code is None:
            return self._paint.bad("damaged")
        words = response_words(code, dissection.known)
        if code == TPM_RC.SUCCESS:
            return self._paint.good(words)
        late = isinstance(tpm_error(code), TpmWarning)
        return self._paint.late(words) if late else self._paint.bad(words)

    def _stray(self, number: int, stray: Message) -> None:
        self._say(f"{self._paint.title(f'#{number}')} {self._paint.bad('damaged')}")
        self._section("octets", stray)
        if self._secrets:
            self._tree.octets(2, "octets", stray.octets)
        self._broken(stray.fault)

    def _command(self, message: Message, reading: Reading, dissection: Dissection) -> None:
        self._section("command", message)
        frame = reading.frame
        if frame is not None and frame.command is not None:
            areas = type(frame.command).AREAS
            self._tree.fields(2, frame.command, areas.handles)
            self._authorizations(frame)
            self._tree.fields(2, frame.command, areas.parameters)
        elif frame is not None:
            self._body(frame, dissection, "there may be a password in them")
        self._damage(reading.errors)

    def _response(self, message: Message, reading: Reading, dissection: Dissection) -> None:
        self._section("response", message)
        frame = reading.frame
        if frame is not None and frame.response is not None:
            areas = type(frame.response).AREAS
            self._tree.fields(2, frame.response, (*areas.handles, *areas.parameters))
            for number, answer in enumerate(frame.authorizations, 1):
                self._answer(number, answer)
        elif frame is not None:
            self._body(frame, dissection, "--command NAME says what they answer")
        self._damage(reading.errors)

    def _section(self, title: str, message: Message) -> None:
        place = f"{len(message.octets)} octets at {message.place}"
        self._say(f"  {title}  {self._paint.aside(f'({place})')}")

    def _body(self, frame: Any, dissection: Dissection, why: str) -> None:
        if frame.body and hides_body(frame, dissection) and not self._secrets:
            self._tree.line(2, "octets", f"{len(frame.body)} octets, not shown: {why}")
        elif frame.body:
            self._tree.octets(2, "octets", frame.body)

    def _damage(self, errors: tuple[DecodeError, ...]) -> None:
        for error in errors:
            place = "" if error.octet is None else f" at octet {error.octet}"
            self._broken(f"broken{place}: {error.path}: {error.reason}")

    def _broken(self, words: str) -> None:
        self._say("    " + self._paint.bad(f"!! {words}"))

    def _authorizations(self, frame: Any) -> None:
        command = type(frame.command)
        uses = [
            f" for {field.name} ({role.value} role)"
            for field, role in zip(command.AREAS.handles, command.ROLES, strict=False)
        ]
        for index, authorization in enumerate(frame.authorizations):
            use = uses[index] if index < len(uses) else ""
            self._authorization(f"authorization {index + 1}", authorization, use)

    def _authorization(self, name: str, authorization: TPMS_AUTH_COMMAND, use: str) -> None:
        values = vars(authorization)
        session = values.get("sessionHandle")
        if session == TPM_RH.RS_PW and not values.get("nonce") and _is_quiet(values):
            self._tree.line(2, name, self._password(authorization.hmac) + use)
        elif session is not None:
            self._tree.line(2, name, handle_words(session) + use + self._tree.origin(session))
            self._tree.fields(3, authorization, authorization.schema.fields[1:])

    def _password(self, password: bytes) -> str:
        words = octets_words(password) if self._secrets else hidden_words(password)
        return f"password: {words}," if password else "empty password"

    def _answer(self, number: int, answer: TPMS_AUTH_RESPONSE) -> None:
        values, name = vars(answer), f"authorization {number}"
        if values.get("nonce") or values.get("hmac") or not _is_quiet(values):
            self._tree.line(2, name)
            self._tree.fields(3, answer, answer.schema.fields)
        else:
            self._tree.line(2, name, "empty, as to a password")


def _is_quiet(values: dict[str, Any]) -> bool:
    """Tell whether an authorization is whole, and its attributes say nothing."""
    return "hmac" in values and values["sessionAttributes"] in _QUIET
