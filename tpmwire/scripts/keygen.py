"""tpmwire-keygen: make an SSH key in the TPM."""

import argparse
import contextlib
import getpass
import os
import socket
import sys

import tpmwire
from tpmwire.client import Tpm
from tpmwire.commands.capability import TestParms
from tpmwire.constants import TPM_ECC, TPM_RC
from tpmwire.errors import TpmError
from tpmwire.keyfile import KeyFile
from tpmwire.parents import default_parent, open_parent, parse_parent
from tpmwire.scripts import console, files, importing, prompts
from tpmwire.scripts import main as subcommands
from tpmwire.scripts.console import UsageError, UserError
from tpmwire.ssh.keys import fingerprint, public_blob, public_line
from tpmwire.templates import ecc_sign, rsa_sign, without_lockout
from tpmwire.types.objects import TPMS_ECC_PARMS, TPMS_RSA_PARMS, TPMT_PUBLIC, TPMT_PUBLIC_PARMS

PROGRAM = "tpmwire-keygen"

CURVES = {256: TPM_ECC.NIST_P256, 384: TPM_ECC.NIST_P384, 521: TPM_ECC.NIST_P521}
DEFAULT_BITS = {"ecdsa": 256, "rsa": 2048}
MAX_PIN = 32  # octets; the TPM takes no more than a digest of the key's name algorithm

EPILOG = """\
examples:
  tpmwire-keygen                       a P-256 key in ~/.ssh/id_tpm_ecdsa.tpm
  tpmwire-keygen -t rsa -f work -N ''  an RSA key without a PIN in work.tpm
  tpmwire-agent -D work.tpm            an agent that signs with it

The key pair is made inside the TPM. NAME.tpm holds what only this TPM can use, NAME.pub is the
public key for authorized_keys. Whoever has NAME.tpm, this very machine, and the PIN can sign;
nobody can copy the key.

exit codes: 0 made, 1 failed or interrupted, 2 wrong usage
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the script; the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["inspect"]:
        return subcommands.main(given)
    return console.run(PROGRAM, lambda: generate(_parser().parse_args(given)))


def generate(options: argparse.Namespace) -> int:
    """Make a key as the command line says."""
    if importing.wanted(options):
        return importing.bring_in(options, lambda: _pin(options))
    if options.comment is None:
        options.comment = _default_comment()
    template = _template(options.type, options.bits)
    if options.new_pin is None and not prompts.terminal():
        raise UsageError("no terminal to ask for a PIN on: give one with -N, or -N '' for none")
    console.warn_of_emulator(PROGRAM, options.tpm)
    with tpmwire.open(options.tpm) as tpm:  # before anybody is asked anything
        check_support(tpm, template)
    base = _base(options)
    overwrite = _may_write(base)
    pin = _new_pin() if options.new_pin is None else options.new_pin
    if not options.quiet:
        print(f"Generating public/private {options.type} key pair in the TPM.", flush=True)
    with _signs_of_life(options), tpmwire.open(options.tpm) as tpm:
        keyfile = make_key(tpm, template, options.parent, pin)
    _save(options, base, keyfile, overwrite)
    return 0


def _pin(options: argparse.Namespace) -> bytes:
    if options.new_pin is None and not prompts.terminal():
        raise UsageError("no terminal to ask for a PIN on: give one with -N, or -N '' for none")
    pin: bytes = _new_pin() if options.new_pin is None else options.new_pin
    return pin


def make_key(tpm: Tpm, template: TPMT_PUBLIC, parent: int | None, pin: bytes) -> KeyFile:
    """Make a key in the TPM, under the best parent there is unless one is named."""
    handle = default_parent(tpm) if parent is None else parent
    if not pin:
        template = without_lockout(template)
    with open_parent(tpm, handle) as storage:
        made = storage.create(template, auth=pin)
    return KeyFile(
        public=made.outPublic,
        private=made.outPrivate,
        parent=handle,
        empty_auth=not pin,
        parent_name=storage.name,
    )


def check_support(tpm: Tpm, template: TPMT_PUBLIC) -> None:
    """Ask the TPM whether it can make such a key; UserError if not."""
    parameters = TPMT_PUBLIC_PARMS(type=template.type, parameters=template.parameters)
    try:
        tpm.execute(TestParms(parameters=parameters))
    except TpmError as error:
        if error.code not in (TPM_RC.VALUE, TPM_RC.CURVE, TPM_RC.KEY_SIZE, TPM_RC.RANGE):
            raise
        raise UserError(f"this TPM cannot make {_kind(template)} keys") from None


def _template(kind: str, bits: int | None) -> TPMT_PUBLIC:
    size = DEFAULT_BITS[kind] if bits is None else bits
    if kind == "rsa":
        if not 1024 <= size <= 16384:
            raise UsageError(f"{size} is no size of an RSA key; try 2048 or 3072")
        return rsa_sign(size)
    if size not in CURVES:
        raise UsageError(f"{size} is no size of an ECDSA key; there are 256, 384 and 521")
    return ecc_sign(CURVES[size])


def _kind(template: TPMT_PUBLIC) -> str:
    parameters = template.parameters
    if isinstance(parameters, TPMS_RSA_PARMS):
        return f"RSA-{parameters.keyBits}"
    return parameters.curveID.name if isinstance(parameters, TPMS_ECC_PARMS) else "such"


def _signs_of_life(options: argparse.Namespace) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if options.quiet else console.signs_of_life("The TPM works")


def _save(options: argparse.Namespace, base: str, keyfile: KeyFile, overwrite: bool) -> None:
    private, public = _paths(base)
    blob = public_blob(keyfile.public)
    contents = [
        (private, keyfile.to_pem(), 0o600),
        (public, public_line(blob, options.comment), 0o644),
    ]
    files.write_together(contents, overwrite=overwrite)
    news = (
        f"Your identification has been saved in {private}",
        f"Your public key has been saved in {public}",
        "The key fingerprint is:",
        f"{fingerprint(blob)} {options.comment}".rstrip(),
    )
    if not options.quiet:
        console.report(PROGRAM, "\n".join(news))


def _paths(base: str) -> tuple[str, str]:
    return f"{base}.tpm", f"{base}.pub"


def _base(options: argparse.Namespace) -> str:
    """Choose the name of the files without their endings."""
    if options.file is not None:
        return str(options.file)
    directory = os.path.expanduser("~/.ssh")
    base = os.path.join(directory, f"id_tpm_{options.type}")
    if prompts.terminal() and not options.quiet:
        answer = prompts.ask(f"Enter file in which to save the key ({base}): ")
        base = _name(answer) if answer else base
    if os.path.dirname(base) == directory:
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o700)
    return base


def _may_write(base: str) -> bool:
    """Find out whether files stand in the way; False if none do, UserError if they shall stay."""
    files.check_directory(base)
    there = [path for path in _paths(base) if os.path.lexists(path)]
    for path in there:
        if not os.path.isfile(path):
            raise UserError(f"{path} is there and is no ordinary file")
        print(f"{path} already exists.")
    if there and not prompts.confirm("Overwrite (y/n)? "):
        raise UserError("nothing was changed")
    return bool(there)


def _new_pin() -> bytes:
    """Ask for a PIN until one comes that is possible, and twice the same."""
    while True:
        pin = prompts.ask_secret("Enter PIN (empty for no PIN): ")
        if not pin:
            return pin
        if problem := _problem(pin):
            print(f"{problem}. Try again.", flush=True)
        elif prompts.ask_secret("Enter same PIN again: ") == pin:
            return pin
        else:
            print("PINs do not match. Try again.", flush=True)


def _problem(pin: bytes) -> str | None:
    if len(pin) > MAX_PIN:
        return f"The PIN is {len(pin)} octets long, and the TPM takes {MAX_PIN} at most"
    # The TPM takes away zero octets at the end.
    return "A PIN cannot end with a zero octet" if pin.endswith(b"\0") else None


def _default_comment() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Make an SSH key pair inside the TPM.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("-t", dest="type", choices=("ecdsa", "rsa"), default="ecdsa", help="type of key (ecdsa)")
    add("-b", dest="bits", type=int, help="size: 256, 384, 521 for ecdsa; 2048, 3072 ... for rsa")
    add("-f", dest="file", type=_name, metavar="NAME", help="write NAME.tpm and NAME.pub")
    add(
        "-C",
        dest="comment",
        type=_comment,
        help="comment in NAME.pub; default is you@here, or that of the key that is imported",
    )
    add(
        "-N",
        dest="new_pin",
        type=_given_pin,
        metavar="PIN",
        help="PIN of the key ('' for none), which others may see while this runs; else asked for",
    )
    add("-q", dest="quiet", action="store_true", help="say nothing but errors and warnings")
    add("--tpm", type=console.conf, metavar="CONF", help=console.TPM_HELP)
    add(
        "--parent",
        type=_parent,
        metavar="PARENT",
        help="owner, endorsement, platform, null (a key for as long as the machine runs), or a "
        "persistent handle; default is 0x81000001 if the TPM has it, else owner",
    )
    importing.add_options(parser)
    add("--version", action="version", version=f"%(prog)s {tpmwire.__version__}")
    return parser


def _name(text: str) -> str:
    base = text.removesuffix(".tpm")
    if not os.path.basename(base):
        raise UsageError(f"{text!r} is no name for a file")
    return base


def _comment(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise UsageError("a comment is a single line")
    return text


def _given_pin(text: str) -> bytes:
    pin = os.fsencode(text)
    if problem := _problem(pin):
        raise UsageError(problem)
    return pin


def _parent(text: str) -> int:
    try:
        return parse_parent(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
