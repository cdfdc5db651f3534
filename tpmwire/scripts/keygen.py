"""tpmwire-keygen: make an SSH key in the TPM, and look after it."""

import argparse
import importlib
import sys
from typing import Any

import tpmwire
from tpmwire.scripts import (
    console,
    generating,
    importing,
    letting,
    parentage,
    pcrs,
    pins,
    publishing,
    storing,
)
from tpmwire.scripts import main as subcommands
from tpmwire.scripts.console import UsageError

PROGRAM = "tpmwire-keygen"

EPILOG = """\
examples:
  tpmwire-keygen                       a P-256 key in ~/.ssh/id_tpm_ecdsa.tpm
  tpmwire-keygen -t rsa -f work -N ''  an RSA key without a PIN in work.tpm
  tpmwire-agent -D work.tpm            an agent that signs with it
  tpmwire-keygen -p -f work            give it another PIN
  tpmwire-keygen -lv -f work.tpm       its fingerprint, and a picture of that; wants no TPM
  tpmwire-keygen --pcrs sha256:7       a key that signs only while Secure Boot stays as it is
  tpmwire-keygen --backup-to b.parent  a key of which the TPM of b.parent can have a copy
  tpmwire-keygen -A                    keys for the SSH server, in /etc/ssh

The key pair is made inside the TPM. NAME.tpm holds what only this TPM can use, NAME.pub is the
public key for authorized_keys. Whoever has NAME.tpm, this very machine, and the PIN can sign;
nobody can copy the key, unless it was made with --backup-to or --movable.

A PIN is asked for twice: on the terminal, or as ssh-keygen does by the program in SSH_ASKPASS
(always if SSH_ASKPASS_REQUIRE is "force"). Wrong PINs are counted by the TPM, for all its keys
together: after some it locks itself for a while.

A key that is bound to PCRs is lost when they change for good, as by an update of the firmware. One
that is bound to an authority can be given new PCRs:
  openssl ecparam -name prime256v1 -genkey -noout -out authority.pem
  openssl pkey -in authority.pem -pubout -out authority.pub.pem
  tpmwire-keygen -f work --policy-authority authority.pub.pem
  tpmwire-keygen -f work --approve-pcrs sha256:7 --authority-key authority.pem
Whoever has authority.pem decides, so it is better kept on another machine; there the content to
come can be approved, as sha256:7=HEX, without any TPM.

exit codes: 0 made or done, 1 failed or interrupted, 2 wrong usage
"""

_MAKING, _CHANGING, _HOSTS, _APPROVING = "generating", "changing", "hostkeys", "approving"
_IMPORTING = "importing"
_ONLY_FOR = {
    "new_pin": (_MAKING, _CHANGING, _IMPORTING),
    "old_pin": (_CHANGING,),
    "type": (_MAKING,),
    "bits": (_MAKING,),
    "comment": (_MAKING, _HOSTS, _IMPORTING),
    "parent": (_MAKING, _HOSTS, _IMPORTING),
    "parent_auth": (_MAKING, _HOSTS, _CHANGING, _IMPORTING),
    "pcrs": (_MAKING, _HOSTS),
    "policy_authority": (_MAKING, _HOSTS),
    "backup_to": (_MAKING, _HOSTS),
    "movable": (_MAKING, _HOSTS),
    "authority_key": (_APPROVING,),
    "json": (_MAKING, _HOSTS, "publishing", "supporting"),
}
_GROUPS: dict[str, Any] = {
    "the key to make": generating,
    "PINs": pins,
    "its parent in the TPM": parentage,
    "what it is bound to": pcrs,
    "where it may move": letting,
    "a key that exists already": importing,
    "fingerprints": publishing,
}
_CALLED = {"new_pin": "a new PIN", "old_pin": "an old PIN"}
_CALLED |= {"type": "-t", "bits": "-b", "comment": "-C"}


def main(arguments: list[str] | None = None) -> int:
    """Run the script; the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["inspect"]:
        return subcommands.main(given)
    return console.run(PROGRAM, lambda: _run(_parser().parse_args(given)))


def _run(options: argparse.Namespace) -> int:
    """Do what is asked for; a module is imported only when it is."""
    module, function = _verb(options)
    _check(options, module)
    options.type = options.type or generating.DEFAULT_TYPE
    if module != _IMPORTING and options.comment is None:
        options.comment = generating.default_comment()
    if module != "hostkeys" and options.file is not None:
        options.file = storing.base(options.file)
    work = getattr(importlib.import_module(f"tpmwire.scripts.{module}"), function)
    code: int = work(options)
    return code


def _verb(options: argparse.Namespace) -> tuple[str, str]:
    """Find what is asked for: a module, and the function of it; UsageError if it is two things."""
    if importing.wanted(options) and (options.approve_pcrs or options.verb[0] != _MAKING):
        raise UsageError("only one thing can be done at a time; see --help")
    if importing.wanted(options):
        return _IMPORTING, "run"
    verb: tuple[str, str] = options.verb
    return (_APPROVING, "run") if options.approve_pcrs else verb


def _check(options: argparse.Namespace, module: str) -> None:
    """Refuse options that would be passed over; UsageError."""
    for name, modules in _ONLY_FOR.items():
        if getattr(options, name) is not None and module not in modules:
            option = _CALLED.get(name, f"--{name.replace('_', '-')}")
            raise UsageError(f"{option} means nothing here; see --help")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Make an SSH key pair inside the TPM, and look after it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(program=PROGRAM, verb=(_MAKING, "run"))
    _add_common(parser)
    _add_verbs(parser.add_argument_group("what to do, if not to make a key"))
    for title, module in _GROUPS.items():
        module.add_options(parser.add_argument_group(title))
    return parser


def _add_verbs(group: argparse._ArgumentGroup) -> None:
    verbs = group.add_mutually_exclusive_group()

    def add(option: str, module: str, function: str, told: str) -> None:
        verbs.add_argument(
            option, dest="verb", action="store_const", const=(module, function), help=told
        )

    add("-p", "changing", "run", "change the PIN of NAME.tpm")
    add("-y", "publishing", "print_keys", "print the public key of NAME.tpm")
    add("-l", "publishing", "print_fingerprints", "print the fingerprint of NAME.tpm or FILE.pub")
    add("-A", "hostkeys", "run", "make the host keys that are missing in /etc/ssh, or NAME/etc/ssh")
    add("--supported", "supporting", "run", "list the keys that this TPM can make")
    verbs.add_argument(
        "--approve-pcrs",
        type=pcrs.parse,
        metavar="PCRS",
        help="let a key that is bound to an authority sign with these PCRs, too",
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-f", dest="file", metavar="NAME", help="the files NAME.tpm and NAME.pub")
    add("-q", dest="quiet", action="store_true", help="say nothing but errors and warnings")
    told = "print what was made or found as JSON; nobody is asked for a name, or to overwrite"
    add("--json", action="store_const", const=True, help=told)
    add("--tpm", type=console.conf, metavar="CONF", help=console.TPM_HELP)
    add("--version", action="version", version=f"%(prog)s {tpmwire.__version__}")


if __name__ == "__main__":
    sys.exit(main())
