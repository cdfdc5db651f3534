"""Completion for fish."""

from collections.abc import Iterator

from tpmwire.usage.outline import COMMAND, CONF, CONFS, DIRECTORY, FILE, Argument, Outline


def fish(outline: Outline) -> str:
    """Write the completion of a program."""
    head = f"# Completion of {outline.program} for fish, made by 'tpmwire completion fish'.\n\n"
    return head + "".join(f"complete -c {outline.program} {rest}\n" for rest in _lines(outline))


def _lines(outline: Outline) -> Iterator[str]:
    yield "-f"
    outside = "-n __fish_use_subcommand " if outline.subcommands else ""
    for each in outline.subcommands:
        yield f"{outside}-a {each.name} -d {_quoted(each.summary)}"
    yield from _options(outline, outside)
    yield from _places(outline, "true", 1)
    for each in outline.subcommands:
        condition = f"__fish_seen_subcommand_from {each.name}"
        yield from _options(each, f"-n {_quoted(condition)} ")
        yield from _places(each, condition, 2)


def _options(outline: Outline, condition: str) -> Iterator[str]:
    for option in outline.options:
        flags = " ".join(_flag(flag) for flag in option.flags)
        value = f" {_value(option)}" if option.takes_value else ""
        yield f"{condition}{flags}{value} -d {_quoted(option.brief)}"


def _places(outline: Outline, condition: str, first: int) -> Iterator[str]:
    """Write what may be at a place, told by the number of words before it that are no options."""
    for number, place in enumerate(outline.places, first):
        here = condition if place.repeats else f"{condition}; and {_BEFORE} -eq {number}"
        yield f"-n {_quoted(here)} " + _value(place).removeprefix("-r ").removeprefix("-x ")


_BEFORE = 'test (commandline -opc | string match -v -- "-*" | count)'


def _flag(flag: str) -> str:
    if flag.startswith("--"):
        return f"-l {flag[2:]}"
    return f"-s {flag[1:]}" if len(flag) == 2 else f"-o {flag[1:]}"


def _value(argument: Argument) -> str:
    """Write what a value may be: a file, one of these and nothing else, or anything."""
    if argument.choices:
        return f"-x -a {_quoted(' '.join(argument.choices))}"
    values = {
        FILE: "-r -F",
        DIRECTORY: "-x -a '(__fish_complete_directories)'",
        CONF: f"-x -a '{' '.join(CONFS)}'",
        COMMAND: "-x -a '(__fish_complete_command)'",
    }
    return values.get(argument.kind, "-x")


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
