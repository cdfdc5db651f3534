"""tpmwire-keygen: make an SSH key in the TPM."""

import argparse
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
from tpmwire.scripts import console, files
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

exit codes: 0 made, 1 failed (nothing was changed), 2 wrong usage
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the script; the exit code."""
    options = _parser().parse_args(arguments)
    return console.run(PROGRAM, lambda: generate(options))


def generate(options: argparse.Namespace) -> int:
    """Make a key as the command line says."""
    template = _template(options.type, options.bits)
    base = _base(options)
    private, public = f"{base}.tpm", f"{base}.pub"
    overwrite = _may_write(private, public)
    pin = _pin(options)
    if not options.quiet:
        print(f"Generating public/private {options.type} key pair in the TPM.", flush=True)
    console.warn_of_emulator(PROGRAM, options.tpm)
    with tpmwire.open(options.tpm) as tpm:
        check_support(tpm, template)
        keyfile = make_key(tpm, template, options.parent, pin)
    blob = public_blob(keyfile.public)
    line = public_line(blob, options.comment)
    contents = [(private, keyfile.to_pem(), 0o600), (public, line, 0o644)]
    files.write_together(contents, overwrite=overwrite)
    if not options.quiet:
        print(f"Your identification has been saved in {private}")
        print(f"Your public key has been saved in {public}")
        print(f"The key fingerprint is:\n{fingerprint(blob)} {options.comment}".rstrip())
    return 0


def make_key(tpm: Tpm, template: TPMT_PUBLIC, parent: int | None, pin: bytes) -> KeyFile:
    """Make a key in the TPM, under the best parent there is unless one is named."""
    handle = default_parent(tpm) if parent is None else parent
    if not pin:
        template = without_lockout(template)
    with open_parent(tpm, handle) as storage, console.signs_of_life("The TPM makes the key"):
        made = storage.create(template, auth=pin)
    return KeyFile(
        public=made.outPublic, private=made.outPrivate, parent=handle, empty_auth=not pin
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
    size = bits or DEFAULT_BITS[kind]
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


def _base(options: argparse.Namespace) -> str:
    """Choose the name of the files without their endings."""
    if options.file:
        return str(options.file).removesuffix(".tpm")
    default = os.path.expanduser(f"~/.ssh/id_tpm_{options.type}")
    if console.terminal() and not options.quiet:
        print(f"Enter file in which to save the key ({default}): ", end="", flush=True)
        default = sys.stdin.readline().strip().removesuffix(".tpm") or default
    os.makedirs(os.path.expanduser("~/.ssh"), mode=0o700, exist_ok=True)
    return default


def _may_write(*paths: str) -> bool:
    """Find out whether files stand in the way; False if none do, UserError if they shall stay."""
    files.check_directory(paths[0])
    there = [path for path in paths if os.path.lexists(path)]
    for path in there:
        if not os.path.isfile(path):
            raise UserError(f"{path} is there and is no ordinary file")
        print(f"{path} already exists.")
    if there and not console.confirm("Overwrite (y/n)? "):
        raise UserError("nothing was changed")
    return bool(there)


def _pin(options: argparse.Namespace) -> bytes:
    text = options.new_pin
    if text is None:
        if not console.terminal():
            raise UsageError("no terminal to ask for a PIN on: give one with -N, or -N '' for none")
        text = console.ask_new_pin("Enter PIN")
    pin: bytes = os.fsencode(text)
    if len(pin) > MAX_PIN:
        raise UsageError(f"the PIN is {len(pin)} octets long; the TPM takes {MAX_PIN} at most")
    if pin.endswith(b"\0"):
        raise UsageError("a PIN cannot end with a zero octet")
    return pin


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
    )
    add = parser.add_argument
    add("-t", dest="type", choices=("ecdsa", "rsa"), default="ecdsa", help="type of key (ecdsa)")
    add("-b", dest="bits", type=int, help="size: 256, 384, 521 for ecdsa; 2048, 3072 ... for rsa")
    add("-f", dest="file", metavar="NAME", help="write NAME.tpm and NAME.pub")
    add("-C", dest="comment", default=_default_comment(), help="comment in NAME.pub (%(default)s)")
    add("-N", dest="new_pin", metavar="PIN", help="PIN of the key; '' for none, else asked for")
    add("-q", dest="quiet", action="store_true", help="say nothing but errors")
    add("--tpm", type=console.conf, metavar="CONF", help=console.TPM_HELP)
    add(
        "--parent",
        type=_parent,
        metavar="PARENT",
        help="owner, endorsement, platform, null, or a persistent handle; default is 0x81000001 "
        "if the TPM has it, else owner",
    )
    add("--version", action="version", version=f"%(prog)s {tpmwire.__version__}")
    return parser


def _parent(text: str) -> int:
    try:
        return parse_parent(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
