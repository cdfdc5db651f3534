"""Completion for bash, with and without the package bash-completion."""

import shlex
from collections.abc import Iterator

from tpmwire.usage.outline import CONFS, Argument, Outline

_ENGINE = r"""
{function}() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} context={program} kind= pending= joined= ended=
    local options subcommands places repeats takes word
    local -i i count=0 first=0
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${{COMP_WORDS[i]}}
        # bash makes words of their own of = and :, which are within one of ours.
        if [[ $word == [:=] ]]; then joined=1; continue; fi
        if [[ $joined || $pending ]]; then joined= pending=; continue; fi
        if [[ $word == -- ]]; then ended=1; continue; fi
        {function}_knows "$context" "$word"
        if [[ ! $ended && $word == -* ]]; then pending=$takes; continue; fi
        if [[ " $subcommands " == *" $word "* ]]; then context+=" $word"; continue; fi
        count+=1
        ((first)) || first=$i
    done
    {function}_knows "$context" ""
    if [[ $cur == [:=] ]]; then cur= joined=1; fi
    if [[ $pending ]]; then kind=$pending
    elif [[ $joined ]]; then kind=file
    elif [[ $cur == -* && ! $ended ]]; then kind="words $options"
    elif [[ $subcommands ]]; then kind="words $subcommands"
    elif ((count < ${{#places[@]}})); then kind=${{places[count]}}
    elif [[ $repeats ]]; then kind=${{places[-1]}}
    fi
    case $kind in
    file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    directory) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    conf)
        compopt -o nospace 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -W {confs} -- "$cur")
        ;;
    command)
        if ((first)) && declare -F _command_offset >/dev/null; then _command_offset "$first"
        elif ((first)); then mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        else mapfile -t COMPREPLY < <(compgen -c -- "$cur")
        fi
        ;;
    words\ *) mapfile -t COMPREPLY < <(compgen -W "${{kind#words }}" -- "$cur") ;;
    esac
}}
complete -F {function} {program}
"""


def bash(outline: Outline) -> str:
    """Write the completion of a program."""
    function = "_" + outline.program.replace("-", "_")
    confs = shlex.quote(" ".join(CONFS))
    knows = "\n".join((f"{function}_knows() {{", *_knows(outline), "}"))
    head = f"# Completion of {outline.program} for bash, made by 'tpmwire completion bash'.\n\n"
    engine = _ENGINE.format(function=function, program=outline.program, confs=confs)
    return head + knows + "\n" + engine


def _knows(outline: Outline) -> Iterator[str]:
    """Write what sets options, subcommands, places, repeats, and what an option takes."""
    yield "    options= subcommands= places=() repeats= takes="
    yield "    case $1 in"
    for each in (outline, *outline.subcommands):
        yield f"    {shlex.quote(each.program)})"
        yield from (f"        {line}" for line in _context(each))
        yield "        ;;"
    yield "    esac"


def _context(outline: Outline) -> Iterator[str]:
    flags = " ".join(flag for option in outline.options for flag in option.flags)
    yield f"options={shlex.quote(flags)}"
    if outline.subcommands:
        yield f"subcommands={shlex.quote(' '.join(each.name for each in outline.subcommands))}"
    if outline.places:
        yield f"places=({' '.join(shlex.quote(_kind(place)) for place in outline.places)})"
        yield f"repeats={'1' if outline.places[-1].repeats else ''}"
    valued = [option for option in outline.options if option.takes_value]
    if valued:
        yield "case $2 in"
        yield from (f"{'|'.join(one.flags)}) takes={shlex.quote(_kind(one))} ;;" for one in valued)
        yield "esac"


def _kind(argument: Argument) -> str:
    return f"words {' '.join(argument.choices)}" if argument.choices else argument.kind
