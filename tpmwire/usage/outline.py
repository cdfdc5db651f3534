"""The outline of a program: what its parser knows, as plain values."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

FILE, DIRECTORY, CONF, COMMAND, WORD = "file", "directory", "conf", "command", "word"
"""What an argument is, so far as its metavar tells."""

CONFS = ("device:", "swtpm:path=", "swtpm:host=", "mssim:host=", "embedded:", "pcap:")
"""How conf strings begin."""

_FILES = ("FILE", "KEY", "NAME", "SOCKET", "INPUT", "OUTPUT", "PATH", "PUB", "PRIV")
_MANY = ("*", "+", argparse.REMAINDER)


@dataclass(frozen=True)
class Argument:
    """An option, or without flags an argument that has a place."""

    flags: tuple[str, ...]
    metavar: str
    help: str
    kind: str = WORD
    choices: tuple[str, ...] = ()
    takes_value: bool = True
    repeats: bool = False
    group: str = ""
    """The title of the group that it stands in, if that is not one of argparse's own."""

    @property
    def brief(self) -> str:
        """The beginning of the help, for the narrow columns of a shell."""
        text = self.help.partition("; ")[0]
        return text if len(text) <= 70 else text[:70].rsplit(" ", 1)[0] + " ..."


@dataclass(frozen=True)
class Outline:
    """A program or a subcommand."""

    program: str
    summary: str
    usage: str
    description: str
    epilog: str
    arguments: tuple[Argument, ...]
    subcommands: tuple["Outline", ...] = ()

    @property
    def options(self) -> tuple[Argument, ...]:
        """The arguments that have flags."""
        return tuple(argument for argument in self.arguments if argument.flags)

    @property
    def places(self) -> tuple[Argument, ...]:
        """The arguments that have none."""
        return tuple(argument for argument in self.arguments if not argument.flags)

    @property
    def name(self) -> str:
        """The last word of the program: that of the subcommand, if it is one."""
        return self.program.rpartition(" ")[2]


def outline(parser: argparse.ArgumentParser, summary: str = "") -> Outline:
    """Read a parser, and those of its subcommands."""
    return Outline(
        program=parser.prog,
        summary=summary or parser.description or "",
        usage=_usage(parser),
        description=parser.description or "",
        epilog=parser.epilog or "",
        arguments=tuple(_arguments(parser)),
        subcommands=tuple(_subcommands(parser)),
    )


def _usage(parser: argparse.ArgumentParser) -> str:
    """Write the usage in one line, without the word before it."""
    formatter = argparse.HelpFormatter(parser.prog, width=10_000)
    groups = parser._mutually_exclusive_groups
    formatter.add_usage(parser.usage, parser._actions, groups, prefix="")
    return " ".join(formatter.format_help().split())


def _arguments(parser: argparse.ArgumentParser) -> Iterator[Argument]:
    groups = {
        id(action): group.title or ""
        for group in parser._action_groups
        for action in group._group_actions
        if group not in (parser._positionals, parser._optionals)
    }
    for action in parser._actions:
        if action.help != argparse.SUPPRESS and not isinstance(action, argparse._SubParsersAction):
            yield _argument(parser, action, groups.get(id(action), ""))


def _argument(parser: argparse.ArgumentParser, action: argparse.Action, group: str) -> Argument:
    # Shortest first, as people write them: -h, --help.
    flags = tuple(sorted(action.option_strings, key=lambda flag: flag.startswith("--")))
    choices = tuple(map(str, action.choices or ()))
    return Argument(
        flags=flags,
        metavar=_metavar(action, choices),
        help=_help(parser, action),
        kind=_kind(action),
        choices=choices,
        takes_value=action.nargs != 0,
        repeats=action.nargs in _MANY or isinstance(action, argparse._AppendAction),
        group=group,
    )


def _metavar(action: argparse.Action, choices: tuple[str, ...]) -> str:
    if isinstance(action.metavar, str):
        return action.metavar
    if choices:
        return "{" + ",".join(choices) + "}"
    return action.dest.upper() if action.option_strings else action.dest


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    values = {name: value for name, value in vars(action).items() if value != argparse.SUPPRESS}
    values |= {"prog": parser.prog, "choices": ", ".join(map(str, action.choices or ()))}
    return " ".join((action.help or "").split()) % values


def _kind(action: argparse.Action) -> str:
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    if metavar == "CONF":
        return CONF
    if metavar == "COMMAND":
        return COMMAND
    if "DIR" in metavar:
        return DIRECTORY
    # A namespace is no file, for all that there is a name in it.
    named = "NAMESPACE" not in metavar and any(word in metavar for word in _FILES)
    return FILE if named else WORD


def _subcommands(parser: argparse.ArgumentParser) -> Iterator[Outline]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action._choices_actions:
                yield outline(action.choices[one.dest], one.help or "")
