"""Titles, and lines beside each of them."""

from collections.abc import Iterable, Iterator

from tpmwire.showing.tree import broken

_COLUMN, _WIDTH = 20, 80


def columns(sections: Iterable[tuple[str, list[str]]]) -> Iterator[str]:
    """Write the lines of each section beside its title; what is too long is broken."""
    for title, content in sections:
        lines = [line for entry in content for line in _indented(entry)] or ["none"]
        for name, line in zip([title, *[""] * len(lines)], lines, strict=False):
            yield f"{name:{_COLUMN}}{line}\n"


def _indented(entry: str) -> list[str]:
    """Break an entry that is too long; what comes after goes as far in as it does."""
    margin = " " * (len(entry) - len(entry.lstrip()))
    return [margin + line for line in broken(entry.lstrip(), _WIDTH - len(margin))]
