"""Man pages, in the macros of man(7).

Blank lines part an epilog into paragraphs.  One whose first line ends with a colon is a section of
its own, as it stands; "exit codes: 0 done, 1 failed" becomes one too.  What else is there belongs
to the description.
"""

import re
import textwrap
from collections.abc import Iterator

from tpmwire.usage.outline import Argument, Outline

_EXIT = "exit codes: "
_TITLE = re.compile(r"([a-z ]+):\n(?= )")


def manual(outline: Outline, version: str, related: tuple[str, ...]) -> str:
    """Write the page of a program; `related` are the pages to see also, as in ssh(1)."""
    sections = [
        ("NAME", [f"{_name(outline)} \\- {_written(_uncapitalized(outline.summary))}"]),
        ("SYNOPSIS", [_synopsis(outline.usage)]),
        ("DESCRIPTION", [*_description(outline)]),
        ("ARGUMENTS", [line for place in outline.places for line in _argument(place)]),
        ("SUBCOMMANDS", [line for each in outline.subcommands for line in _subcommand(each)]),
        ("OPTIONS", [*_options(outline)]),
        *_titled(outline.epilog),
        ("SEE ALSO", [_related(related)]),
    ]
    head = f'.TH {_name(outline).upper()} 1 "" "tpmwire {version}" "User Commands"\n.nh\n.ad l'
    lines = [f".SH {title}\n" + "\n".join(content) for title, content in sections if content]
    return "\n".join((f".\\\" Made by tools/share from the program's parser.\n{head}", *lines, ""))


def page_name(outline: Outline) -> str:
    """Tell the name of the page: tpmwire-sign for 'tpmwire sign'."""
    return outline.program.replace(" ", "-")


def _name(outline: Outline) -> str:
    return page_name(outline).replace("-", "\\-")


def _uncapitalized(summary: str) -> str:
    """Make a sentence what stands in the list of apropos."""
    text = summary.rstrip(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def _synopsis(usage: str) -> str:
    """Set what is typed in bold, and what is to be replaced in italics."""
    words = re.sub(r"(?<![\w-])(--?[A-Za-z][\w-]*)", r"\\fB\1\\fP", usage)
    words = re.sub(r"(?<![\w\\-])([A-Z][A-Z]+)\b", r"\\fI\1\\fP", words)
    name = re.match(r"[a-z -]+(?= |$)", words)
    typed = name[0].rstrip() if name else ""
    return f"\\fB{typed}\\fP{words[len(typed) :]}".replace("-", "\\-")


def _description(outline: Outline) -> Iterator[str]:
    yield from _text(outline.description)
    for paragraph in _paragraphs(outline.epilog):
        if not (_TITLE.match(paragraph) or paragraph.startswith(_EXIT)):
            yield ".PP"
            yield from _mixed(paragraph)


def _titled(epilog: str) -> Iterator[tuple[str, list[str]]]:
    for paragraph in _paragraphs(epilog):
        if found := _TITLE.match(paragraph):
            _, *lines = _as_it_stands(paragraph[found.end() :])
            yield found[1].upper(), lines
        elif paragraph.startswith(_EXIT):
            codes = re.split(r"[,;] (?=\d)", " ".join(paragraph.removeprefix(_EXIT).split()))
            yield "EXIT STATUS", [line for code in codes for line in _exit_code(code)]


def _exit_code(text: str) -> Iterator[str]:
    number, _, meaning = text.partition(" ")
    if number.isdecimal():
        yield from (".TP", f".B {number}", *_text(meaning))
    else:
        yield from _text(text)


def _paragraphs(epilog: str) -> list[str]:
    return [
        paragraph.strip("\n") for paragraph in re.split(r"\n\s*\n", epilog) if paragraph.strip()
    ]


def _mixed(paragraph: str) -> Iterator[str]:
    """Fill the lines but for those that are indented."""
    for number, (indented, lines) in enumerate(_runs(paragraph.splitlines())):
        if indented:
            yield from _as_it_stands("\n".join(lines))
        else:
            yield from ((".PP",) if number else ())
            yield from _text(" ".join(lines))


def _runs(lines: list[str]) -> Iterator[tuple[bool, list[str]]]:
    run: list[str] = []
    for line in lines:
        if run and line.startswith(" ") != run[-1].startswith(" "):
            yield run[-1].startswith(" "), run
            run = []
        run.append(line)
    yield run[-1].startswith(" "), run


def _as_it_stands(text: str) -> Iterator[str]:
    yield from (".PP", ".nf")
    yield from (_guarded(_written(line.removeprefix("  "))) for line in text.splitlines())
    yield ".fi"


def _options(outline: Outline) -> Iterator[str]:
    """Write the options by groups, those of none first."""
    groups = dict.fromkeys(("", *(option.group for option in outline.options)))
    for group in groups:
        if group:
            yield f".SS {_written(group[:1].upper() + group[1:])}"
        for option in outline.options:
            if option.group == group:
                yield from _argument(option)


def _argument(argument: Argument) -> Iterator[str]:
    flags = ", ".join(f"\\fB{_written(flag)}\\fP" for flag in argument.flags)
    value = f"\\fI{_written(argument.metavar)}\\fP" if argument.takes_value else ""
    yield ".TP"
    yield " ".join(filter(None, (flags, value)))
    yield from _text(argument.help)


def _subcommand(outline: Outline) -> Iterator[str]:
    yield from (".TP", f".BR {_name(outline)} (1)", *_text(outline.summary))


def _related(pages: tuple[str, ...]) -> str:
    shown = (re.sub(r"^(.+)(\(\d\))$", r"\\fB\1\\fP\2", page) for page in pages)
    return ", ".join(shown).replace("-", "\\-")


def _text(text: str) -> Iterator[str]:
    """Write text that may be filled."""
    lines = textwrap.wrap(_written(text), 78, break_long_words=False, break_on_hyphens=False)
    yield from map(_guarded, lines)


def _guarded(line: str) -> str:
    """Keep a line from being taken for a request."""
    return f"\\&{line}" if line.startswith(".") else line


def _written(text: str) -> str:
    """Write characters that the macros would read or print as others."""
    written = text.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti")
    return written.replace("^", "\\(ha").replace("`", "\\(ga").replace("'", "\\(aq")
