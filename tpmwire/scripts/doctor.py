"""tpmwire doctor: find out what is wrong with the TPM and its keys, and how to mend it."""

import argparse
import json
import os
import sys
from collections.abc import Iterator

import tpmwire
from tpmwire.client import Tpm
from tpmwire.diagnosis.agent import SUBJECT as AGENT
from tpmwire.diagnosis.agent import check_asking, check_socket
from tpmwire.diagnosis.chip import (
    RESTART,
    SUBJECT,
    check_health,
    check_identity,
    check_lockout,
    check_parent,
)
from tpmwire.diagnosis.device import SUBJECT as DEVICE
from tpmwire.diagnosis.device import check_device
from tpmwire.diagnosis.finding import Finding, Severity, note, problem
from tpmwire.diagnosis.keys import Found, check_directory, check_file, check_loading
from tpmwire.diagnosis.loading import seconds_for_parent, try_loading
from tpmwire.errors import Error, TransportError
from tpmwire.inventory import take_inventory
from tpmwire.scripts import console, surroundings

EPILOG = """\
examples:
  tpmwire doctor                                   this machine's TPM, and the keys in ~/.ssh
  tpmwire doctor --key-dir /etc/ssh
  tpmwire doctor -q || echo "something is wrong"
  tpmwire doctor --json | jq -r '.findings[] | select(.severity == "problem") | .fix'

Each key is loaded once to see whether it can be. No PIN is asked for, no try of one is spent, and
nothing is changed.

exit codes: 0 no problem was found, 1 there is one, 2 wrong usage
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser.description = "Find out what is wrong with the TPM and its keys, and how to mend it."
    parser.epilog = EPILOG
    parser.set_defaults(run=doctor)
    add = parser.add_argument
    add("--key-dir", metavar="DIR", default="~/.ssh", help="where the key files are (%(default)s)")
    add("--no-load", action="store_true", help="do not try whether the keys can be loaded")
    add("-q", dest="quiet", action="store_true", help="tell only what is not fine")
    add("--json", action="store_true", help="write a JSON object")
    add("--tpm", type=console.conf, metavar="CONF", help=console.TPM_HELP)


def doctor(options: argparse.Namespace) -> int:
    """Look at everything and tell; the exit code."""
    findings = list(examine(options))
    bad = any(finding.severity is Severity.PROBLEM for finding in findings)
    if options.quiet:
        findings = [finding for finding in findings if finding.severity is not Severity.FINE]
    if options.json:
        listed = [vars(finding) | {"severity": finding.severity.value} for finding in findings]
        print(json.dumps({"healthy": not bad, "findings": listed}, indent=2))
    else:
        sys.stdout.writelines(f"{line}\n" for finding in findings for line in _lines(finding))
    return console.FAILED if bad else 0


def examine(options: argparse.Namespace) -> Iterator[Finding]:
    """Go through all checks."""
    directory = os.path.expanduser(options.key_dir)
    keys = surroundings.keys(directory)
    yield from _tpm(options, keys)
    yield from check_directory(surroundings.entry(directory), directory, len(keys))
    for key in keys:
        yield from check_file(key)
    yield from check_socket(surroundings.agent(), keys)
    yield from check_asking(surroundings.asking(), keys)
    if not surroundings.has_ssh():
        yield note(AGENT, "there is no ssh on this machine", "Debian: openssh-client")


def _tpm(options: argparse.Namespace, keys: list[Found]) -> Iterator[Finding]:
    """Look at the way to the TPM, and if it can be gone, at the TPM."""
    device = surroundings.device(options.tpm)
    if device is None:
        place = surroundings.chosen(options.tpm)
        yield note(DEVICE, f"{place}: not a device of the kernel, so the hardware is not looked at")
    else:
        found = list(check_device(device))
        yield from found
        if any(finding.severity is Severity.PROBLEM for finding in found):
            return
    try:
        with tpmwire.open(options.tpm) as tpm:
            yield from _chip(tpm, [] if options.no_load else keys, load=not options.no_load)
    except TransportError as error:
        yield problem(SUBJECT, str(error), "start what should answer there, or name another: --tpm")
    except Error as error:
        yield problem(SUBJECT, f"it does not answer as it should: {error}", RESTART)


def _chip(tpm: Tpm, keys: list[Found], *, load: bool) -> Iterator[Finding]:
    failures = list(check_health(tpm))
    if failures:
        yield from failures
        return
    inventory = take_inventory(tpm)
    yield from check_identity(inventory)
    yield from check_lockout(inventory)
    yield from check_parent(inventory, seconds_for_parent(tpm) if load else None)
    readable = [(key.path, key.keyfile) for key in keys if key.keyfile is not None]
    yield from check_loading(keys, try_loading(tpm, readable))


def _lines(finding: Finding) -> Iterator[str]:
    # Never broken, so that a command can be copied.
    severity = finding.severity.value
    loud = severity.upper() if finding.severity is Severity.PROBLEM else severity
    yield f"{loud:10}{finding.subject:8}{finding.text}"
    if finding.fix:
        yield f"{'':18}fix: {finding.fix}"
