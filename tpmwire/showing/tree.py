"""Structures as indented text, a line for each field, read off their declarations."""

from collections.abc import Iterable
from typing import Any

from tpmwire.masking import is_secret
from tpmwire.showing.contents import content_of
from tpmwire.showing.oneline import (
    field_words,
    hidden_words,
    octets_words,
    scalar_words,
    structure_words,
)
from tpmwire.showing.paint import Paint
from tpmwire.structure import Field, Structure
from tpmwire.wire import Handle, leaf

_COLUMN, _WIDTH = 26, 74  # where values begin, unless a name is longer, and what is left for them
_MOST_ELEMENTS, _SHORTENED = 16, 8
_MOST_JOINED = 36  # longer elements of a list have a line each


class Tree:
    """Collects lines.  Without `full` long octets and lists are shortened."""

    def __init__(self, paint: Paint, *, full: bool = False, secrets: bool = False) -> None:
        self.paint, self.full, self.secrets = paint, full, secrets
        self.lines: list[str] = []
        self.number = 0
        """The exchange that is being written."""
        self.origins: dict[int, int] = {}
        """The exchanges that handles come from."""

    def line(self, depth: int, name: str, words: str = "", *more: str) -> None:
        """Add a line, and `more` lines below its value."""
        if not words:
            self.lines.append("  " * depth + self.paint.name(name))
            return
        gap = " " * max(_COLUMN - 2 * depth - len(name), 2)
        self.lines.append("  " * depth + self.paint.name(name) + gap + words)
        self.lines += [" " * _COLUMN + line for line in more]

    def fields(self, depth: int, owner: Structure, fields: Iterable[Field]) -> None:
        """Add fields of a structure, as many as there are."""
        values = vars(owner)
        for field in fields:
            if field.name in values:
                self._field(depth, owner, field, values[field.name])

    def octets(self, depth: int, name: str, data: bytes) -> None:
        """Add octets that stand in no structure."""
        self.line(depth, name, octets_words(data, full=self.full))

    def origin(self, handle: int) -> str:
        """Say where a handle comes from, if that was seen."""
        number = self.origins.get(handle, self.number)
        return f", from #{number}" if number != self.number else ""

    def _field(self, depth: int, owner: Structure, field: Field, value: Any) -> None:
        if not self.secrets and is_secret(owner, field):
            self.line(depth, field.name, hidden_words(value))
        elif words := field_words(owner, field.name):
            self.line(depth, field.name, words)
        elif isinstance(value, tuple):
            self._list(depth, field.name, value, leaf(field.subcon, owner))
        elif value is not None or not field.selector:  # where a union selects nothing, say nothing
            self._value(depth, field.name, value, leaf(field.subcon, owner))

    def _value(self, depth: int, name: str, value: Any, subcon: Any) -> None:
        words = self._words(value, subcon)
        self.line(depth, name, *broken(words or ""))
        inner = content_of(value, subcon) if isinstance(value, bytes) else value
        if isinstance(inner, Structure) and (inner is not value or words is None):
            self.fields(depth + 1, inner, inner.schema.fields)

    def _list(self, depth: int, name: str, values: tuple[Any, ...], subcon: Any) -> None:
        shown = values if self.full or len(values) <= _MOST_ELEMENTS else values[:_SHORTENED]
        left = [f"and {len(values) - len(shown)} more"] if len(values) > len(shown) else []
        words = [words for value in shown if (words := self._words(value, subcon)) is not None]
        if not values:
            self.line(depth, name, "none")
        elif len(words) < len(shown):
            for index, value in enumerate(shown):
                self._value(depth, f"{name}[{index}]", value, subcon)
            self.lines += ["  " * depth + line for line in left]
        elif any("," in line or len(line) > _MOST_JOINED for line in words):
            self.line(depth, name, *words, *left)
        else:
            self.line(depth, name, *broken(", ".join([*words, *left])))

    def _words(self, value: Any, subcon: Any) -> str | None:
        """Write a value in one line; None if it wants more."""
        if isinstance(value, bytes):
            return octets_words(value, subcon, full=self.full)
        if isinstance(value, Structure):
            return structure_words(value, full=self.full)
        words = scalar_words(value, subcon)
        return words + self.origin(value) if isinstance(subcon, Handle) else words


def broken(words: str, width: int = _WIDTH) -> list[str]:
    """Break a line that is too long where it has commas."""
    if len(words) <= width:
        return [words]
    lines = [""]
    for part in words.split(", "):
        if lines[-1] and len(lines[-1]) + len(part) + len(", ,") > width:
            lines[-1] += ","
            lines.append(part)
        else:
            lines[-1] += f", {part}" if lines[-1] else part
    return lines
