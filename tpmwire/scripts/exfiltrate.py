"""tpmwire exfiltrate: try to get a key out of the TPM in clear, and tell what refuses."""

import argparse

import tpmwire
from tpmwire import exfiltration
from tpmwire.crypto import PrivateKey
from tpmwire.errors import PolicyError
from tpmwire.exfiltration import Expected, Outcome
from tpmwire.moving import Auths
from tpmwire.pem import write_private_key
from tpmwire.scripts import entitling, files, transit

PROGRAM = "tpmwire exfiltrate"
CAME_OUT = 3

EPILOG = """\
examples:
  tpmwire exfiltrate work.tpm && echo "it stays where it is"
  tpmwire exfiltrate work.tpm --out work.pem      the private key in clear, if the TPM gives it out

The TPM is asked to duplicate the key to no parent and without a wrapper, after as much of the key's
policy was met as can be. Nothing is written without --out; but where the TPM gives the key out, it
travels unencrypted from the TPM to this program, and a recording of that has it masked.

exit codes: 0 the TPM refused, 1 it could not be tried, 2 wrong usage, 3 the key came out
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser.description = "Try to get a key out of the TPM in clear, and tell what refuses."
    parser.epilog = EPILOG
    parser.set_defaults(run=run)
    parser.add_argument("key", metavar="KEY", help="the key file")
    told = "write the private key here if it comes out, in PEM, readable by you alone"
    parser.add_argument("--out", metavar="FILE", help=told)
    entitling.add_options(parser)
    transit.add_tpm(parser)


def run(options: argparse.Namespace) -> int:
    """Try it; the exit code tells whether the key came out."""
    keyfile = transit.read(options.key)
    if options.out:
        files.check_directory(options.out)

    def work(auths: Auths) -> Outcome:
        with tpmwire.open(options.tpm) as tpm:
            made = exfiltration.exfiltrate(tpm, keyfile, auths)
        if isinstance(made.refusal, PolicyError):
            raise made.refusal
        return made

    try:
        outcome = entitling.authorized(options, keyfile, exfiltration.way_of(keyfile), work)
    except PolicyError as error:
        outcome = Outcome(error)
    if outcome.key is None:
        print("\n".join(_refused(outcome, exfiltration.expect(keyfile))))
        return 0
    return _came_out(options, outcome.key, outcome.pin)


def _refused(outcome: Outcome, expected: Expected) -> list[str]:
    said = ["The TPM refused: the key did not come out.", f"  its answer: {outcome.refusal}"]
    if isinstance(outcome.refusal, PolicyError):
        said.append("  the rule: the policy lets it go anywhere, but this has to hold before")
    elif outcome.meets(expected):
        said.append(f"  the rule: {expected.rule}")
    else:
        said.append("  the rule: another one than was expected from the key file")
    return said


def _came_out(options: argparse.Namespace, key: PrivateKey, pin: bytes) -> int:
    if options.out:
        files.write_together([(options.out, write_private_key(key), 0o600)])
    told = "with its PIN" if pin else "which has no PIN"
    where = f"it is in {options.out}" if options.out else "it was forgotten again: no --out"
    print(f"The TPM gave the private key out in clear, {told}; {where}.")
    return CAME_OUT
