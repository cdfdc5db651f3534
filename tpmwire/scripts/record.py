"""tpmwire record: run a program and record what it says to the TPM."""

import argparse
import os
import signal
from typing import NoReturn

from tpmwire.scripts import console
from tpmwire.scripts.console import UsageError
from tpmwire.transport import ENVIRONMENT, parse_conf

EPILOG = f"""\
examples:
  tpmwire record --out a.pcapng -- tpmwire-keygen -f key
  tpmwire record --out a.pcapng --tpm swtpm:path=sock -- python3 program.py
  tpmwire decode a.pcapng              read it; Wireshark opens it too

The program is one that uses tpmwire and lets ${ENVIRONMENT} say which TPM: it is set to
pcap:FILE:CONF, which works as a conf string everywhere. Programs that use tpm2-tss are recorded
by that, with their secrets: TPM2TOOLS_TCTI=pcap:device:/dev/tpmrm0.

FILE is made for you alone, or gone on with. Zeros stand in the place of passwords and keys. An HMAC
stays; it helps to guess a weak PIN.

exit codes: those of the program; 1 it could not be run, 2 wrong usage
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser.description = "Run a program and record what it says to the TPM."
    parser.usage = "tpmwire record [-h] --out FILE [--tpm CONF] [--with-secrets] -- COMMAND ..."
    parser.epilog = EPILOG
    parser.set_defaults(run=record)
    add = parser.add_argument
    add("--out", required=True, metavar="FILE", help="the pcapng file to make or go on with")
    add("--tpm", type=console.conf, metavar="CONF", help=console.TPM_HELP)
    add("--with-secrets", action="store_true", help="record passwords and keys in clear")
    add("program", nargs="+", metavar="COMMAND", help="the program and its arguments")


def record(options: argparse.Namespace) -> NoReturn:
    """Become the program, with a recording TPM in its environment."""
    conf = recording_conf(options.out, options.tpm, secrets=options.with_secrets)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, and they would stay ignored
    try:
        environment = os.environ | {ENVIRONMENT: conf}
        os.execvpe(options.program[0], options.program, environment)  # noqa: S606 - no shell wanted
    except OSError as error:
        error.filename = options.program[0]
        raise


def recording_conf(path: str, tpm: str | None, *, secrets: bool) -> str:
    """Make the conf string of a recording; UsageError if the path cannot stand in one."""
    path = os.path.abspath(path)
    if ":" in path or "," in path:
        raise UsageError(f"{path}: a recording cannot have a colon or comma in its name")
    below = tpm or os.environ.get(ENVIRONMENT) or "device"
    conf = f"pcap:{path}{',secrets=yes' if secrets else ''}:{below}"
    parse_conf(conf)
    return conf
