"""tpmwire info: tell what TPM this is and how it is doing."""

import argparse
import json
import sys

import tpmwire
from tpmwire.inventory import take_inventory
from tpmwire.scripts import console
from tpmwire.scripts.columns import columns
from tpmwire.showing.inventory import inventory_data, inventory_lines

EPILOG = """\
examples:
  tpmwire info                                     this machine's TPM
  tpmwire info --tpm swtpm:path=sock
  tpmwire info --json | jq .lockout.tries_left     how many wrong PINs are left
  tpmwire info --json | jq -r '.objects[].name'    the Names of its persistent keys

No authorization is needed, nothing is loaded and nothing is changed.

exit codes: 0 told, 1 the TPM cannot be reached or does not answer, 2 wrong usage
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser.description = "Tell what TPM this is and how it is doing."
    parser.epilog = EPILOG
    parser.set_defaults(run=info)
    parser.add_argument("--tpm", type=console.conf, metavar="CONF", help=console.TPM_HELP)
    parser.add_argument("--json", action="store_true", help="write a JSON object")


def info(options: argparse.Namespace) -> int:
    """Tell about the TPM; the exit code."""
    with tpmwire.open(options.tpm) as tpm:
        inventory = take_inventory(tpm)
    if options.json:
        print(json.dumps(inventory_data(inventory), indent=2))
    else:
        sys.stdout.writelines(columns(inventory_lines(inventory)))
    return 0
