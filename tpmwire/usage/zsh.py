"""Completion for zsh, by its `_arguments`."""

from collections.abc import Iterator

from tpmwire.usage.outline import COMMAND, CONF, CONFS, DIRECTORY, FILE, Argument, Outline

_FRAME = """\
#compdef {program}
# Completion of {program} for zsh, made by 'tpmwire completion zsh'.

{function}() {{
{body}
}}

if [[ $funcstack[1] == {function} ]]; then
    {function} "$@"
else
    compdef {function} {program}
fi
"""


def zsh(outline: Outline) -> str:
    """Write the completion of a program."""
    function = f"_{outline.program}"  # as the file is called that is loaded when it is needed
    lines = _with_subcommands(outline) if outline.subcommands else _call(outline, "    ")
    body = "\n".join(lines)
    return _FRAME.format(program=outline.program, function=function, body=body)


def _with_subcommands(outline: Outline) -> Iterator[str]:
    yield "    local curcontext=$curcontext state line ret=1"
    yield "    local -a subcommands"
    specs = [*_specs(outline), "'1:subcommand:->subcommand'", "'*::argument:->argument'"]
    yield from _continued("    _arguments -C", specs, " && ret=0")
    yield "    case $state in"
    yield "    subcommand)"
    listed = [_quoted(f"{each.name}:{each.summary}") for each in outline.subcommands]
    yield from _continued("        subcommands=(", listed, " )")
    yield "        _describe subcommand subcommands && ret=0"
    yield "        ;;"
    yield "    argument)"
    yield "        case $line[1] in"
    for each in outline.subcommands:
        yield f"        {each.name})"
        yield from _call(each, "            ", " && ret=0")
        yield "            ;;"
    yield from ("        esac", "        ;;", "    esac", "    return ret")


def _call(outline: Outline, margin: str, end: str = "") -> Iterator[str]:
    yield from _continued(f"{margin}_arguments -s -S", [*_specs(outline)], end)


def _continued(first: str, rest: list[str], end: str) -> Iterator[str]:
    margin = " " * (len(first) - len(first.lstrip()) + 4)
    lines = [first, *(margin + each for each in rest)]
    yield from (f"{line} \\" for line in lines[:-1])
    yield lines[-1] + end


def _specs(outline: Outline) -> Iterator[str]:
    for option in outline.options:
        yield from _option(option)
    for number, place in enumerate(outline.places, 1):
        yield from _place(place, number)


def _option(option: Argument) -> Iterator[str]:
    """Write the spec of each flag; one rules the others out, unless it may be given again."""
    before = "*" if option.repeats else f"({' '.join(option.flags)})"
    text = _escaped(option.brief, r"\[]:")
    for flag in option.flags:
        mark = ("=" if flag.startswith("--") else "+") if option.takes_value else ""
        yield _quoted(f"{before}{flag}{mark}[{text}]" + _value(option))


def _value(option: Argument) -> str:
    return f":{_escaped(option.metavar, ':')}:{_action(option)}" if option.takes_value else ""


def _place(place: Argument, number: int) -> Iterator[str]:
    if place.kind == COMMAND:
        yield from ("'(-)1:command:_command_names -e'", "'*::argument:_normal'")
    else:
        which = "*" if place.repeats else str(number)
        yield _quoted(f"{which}:{_escaped(place.metavar, ':')}:{_action(place)}")


def _action(argument: Argument) -> str:
    if argument.choices:
        return f"({' '.join(argument.choices)})"
    confs = " ".join(_escaped(conf, ":") for conf in CONFS)
    actions = {FILE: "_files", DIRECTORY: "_files -/", CONF: f"compadd -S '' - {confs}"}
    return actions.get(argument.kind, " ")


def _escaped(text: str, characters: str) -> str:
    return "".join(f"\\{each}" if each in characters else each for each in text)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
