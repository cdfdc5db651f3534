"""tpmwire completion: print what makes a shell complete the options of the programs."""

import argparse
import importlib
import sys

from tpmwire.usage.bash import bash
from tpmwire.usage.fish import fish
from tpmwire.usage.outline import Outline, outline
from tpmwire.usage.zsh import zsh

EPILOG = """\
examples:
  source <(tpmwire completion bash)                in ~/.bashrc
  source <(tpmwire completion zsh)                 in ~/.zshrc, after compinit
  tpmwire completion fish | source                 in ~/.config/fish/config.fish
  tpmwire completion bash tpmwire-agent >FILE      for one program only, as packages have it

exit codes: 0 printed, 1 failed, 2 wrong usage
"""

SHELLS = {"bash": bash, "fish": fish, "zsh": zsh}

PROGRAMS = {"tpmwire": "main", "tpmwire-agent": "agent", "tpmwire-keygen": "keygen"}
"""The programs, and the modules that have their parsers."""


def register(parser: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser.description = "Print what makes a shell complete the options of tpmwire's programs."
    parser.epilog = EPILOG
    parser.set_defaults(run=completion)
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, fish or zsh")
    parser.add_argument(
        "program",
        choices=PROGRAMS,
        nargs="?",
        metavar="PROGRAM",
        help="the program to complete (all of them)",
    )


def completion(options: argparse.Namespace) -> int:
    """Print the completion; the exit code."""
    programs = [options.program] if options.program else PROGRAMS
    sys.stdout.write("\n".join(SHELLS[options.shell](outline_of(name)) for name in programs))
    return 0


def outline_of(program: str) -> Outline:
    """Read the parser of a program."""
    module = importlib.import_module(f"tpmwire.scripts.{PROGRAMS[program]}")
    return outline(module.full_parser() if program == "tpmwire" else module._parser())
