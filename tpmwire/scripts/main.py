"""tpmwire: look at a TPM and at what is said to it; sign with its keys, and move them.

Each subcommand is a module beside this one with a function `register(parser)`; only the one that is
wanted is imported.
"""

import argparse
import importlib
import sys
from collections.abc import Collection, Sequence

import tpmwire
from tpmwire.scripts import console

PROGRAM = "tpmwire"

SUBCOMMANDS = {
    "completion": "print what makes a shell complete the options",
    "decode": "show commands and responses so that people can read them",
    "doctor": "find out what is wrong with the TPM and its keys, and how to mend it",
    "duplicate": "wrap a key of this TPM for a parent in another one",
    "exfiltrate": "try to get a key out of the TPM in clear, and tell what refuses",
    "import": "let the TPM take in a key that was wrapped for it",
    "info": "tell what TPM this is and how it is doing",
    "inspect": "tell what a key file says of its key, and whether its TPM is here",
    "parent": "show another machine a storage parent, and find out what is proven of one",
    "record": "run a program and record what it says to the TPM",
    "rewrap": "wrap for another parent a key that was wrapped for one of this TPM",
    "sign": "sign a file with a key in the TPM",
    "verify": "check a signature of a file, without a TPM",
}

_MODULES = {"import": "takein"}
"""Modules that cannot be called as their subcommands are."""

EPILOG = """\
examples:
  tpmwire doctor                       what is wrong, and how to mend it
  tpmwire info                         what is known of this machine's TPM
  tpmwire decode swtpm.log             what a program said to an emulator
  tpmwire decode 80010000000c0000017b0010
  tpmwire inspect key.tpm              what a key file says of its key
  tpmwire record --out a.pcapng -- tpmwire-keygen -f key
  tpmwire decode --help                more about one of them

exit codes: 0 done, 1 failed, 2 wrong usage
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    return console.run(PROGRAM, lambda: _run(given))


def full_parser() -> argparse.ArgumentParser:
    """Make the parser with all subcommands in full, which takes its time."""
    return _parser(SUBCOMMANDS)


def _run(arguments: list[str]) -> int:
    wanted = next((argument for argument in arguments if not argument.startswith("-")), "")
    options, unknown = _parser([wanted]).parse_known_args(arguments)
    if unknown:
        options.subparser.error(f"unrecognized arguments: {' '.join(unknown)}")
    code: int = options.run(options)
    return code


def _parser(wanted: Collection[str]) -> argparse.ArgumentParser:
    """Make the parser, in full for the subcommands that are wanted."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Look at a TPM and at what is said to it; sign with its keys, and move them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {tpmwire.__version__}")
    below = parser.add_subparsers(title="subcommands", metavar="SUBCOMMAND", required=True)
    for name, summary in SUBCOMMANDS.items():
        subparser = below.add_parser(
            name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        subparser.set_defaults(subparser=subparser)
        if name in wanted:
            module = _MODULES.get(name, name)
            importlib.import_module(f"tpmwire.scripts.{module}").register(subparser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
