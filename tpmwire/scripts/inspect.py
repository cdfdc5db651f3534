"""tpmwire inspect: tell what a key file says of its key, and whether its TPM is here."""

import argparse
import json
import sys
from typing import Any

import tpmwire
from tpmwire.errors import Error, KeyFileError
from tpmwire.importable import loaded
from tpmwire.keyfile import KeyFile
from tpmwire.scripts import console
from tpmwire.scripts.columns import columns
from tpmwire.scripts.console import UserError
from tpmwire.scripts.outside import read_file
from tpmwire.showing.keyfile import keyfile_data, keyfile_lines
from tpmwire.ssh.keys import UnsupportedKeyError, fingerprint, key_type, public_blob

EPILOG = """\
examples:
  tpmwire inspect ~/.ssh/id_tpm_ecdsa.tpm          what the file says, without a TPM
  tpmwire inspect --load id.tpm                    and whether this machine's TPM loads it
  tpmwire inspect --json id.tpm | jq .made_in_tpm

The files of other tools are read, too: whatever is a TSS2 PRIVATE KEY. Nobody is asked for a PIN.

exit codes: 0 told, and loaded if that was asked for; 1 no key file, or not loaded; 2 wrong usage
"""


def register(parser: argparse.ArgumentParser) -> None:
    """Describe the subcommand."""
    parser.description = "Tell what a key file says of its key, and whether its TPM is here."
    parser.epilog = EPILOG
    parser.set_defaults(run=inspect)
    add = parser.add_argument
    add("file", metavar="FILE", help="a key file: NAME.tpm of tpmwire-keygen, or of another tool")
    add("--load", action="store_true", help="have the TPM load it; if it does not, tell why")
    add("--tpm", type=console.conf, metavar="CONF", help=f"load it, too; {console.TPM_HELP}")
    add("--json", action="store_true", help="write a JSON object")


def inspect(options: argparse.Namespace) -> int:
    """Tell about the key file; the exit code."""
    keyfile = _read(options.file)
    loads = _try(options, keyfile) if options.load or options.tpm else None
    if options.json:
        data = {"ssh": _ssh(keyfile), **keyfile_data(keyfile), "load": loads}
        print(json.dumps(data, indent=2))
    else:
        _print(keyfile, loads)
    return 0 if loads is None or loads["loads"] else console.FAILED


def _read(path: str) -> KeyFile:
    data = read_file(path)
    try:
        return KeyFile.from_der(data) if data[:1] == b"\x30" else KeyFile.from_pem(data)
    except KeyFileError as error:
        raise UserError(f"{path}: {error}") from None


def _try(options: argparse.Namespace, keyfile: KeyFile) -> dict[str, Any]:
    """Load the key; whether that worked, and why not."""
    try:
        with tpmwire.open(options.tpm) as tpm, loaded(tpm, keyfile):
            return {"loads": True, "reason": None}
    except Error as error:
        return {"loads": False, "reason": str(error)}


def _ssh(keyfile: KeyFile) -> dict[str, str] | None:
    try:
        blob = public_blob(keyfile.public)
    except UnsupportedKeyError:
        return None
    return {"type": key_type(blob), "fingerprint": fingerprint(blob)}


def _print(keyfile: KeyFile, loads: dict[str, Any] | None) -> None:
    ssh = _ssh(keyfile)
    told = ["{type} {fingerprint}".format(**ssh)] if ssh else ["SSH has no use for it"]
    key, *others = keyfile_lines(keyfile)
    sections = [key, ("SSH key", told), *others]
    if loads:
        words = "it loads" if loads["loads"] else f"it does NOT load: {loads['reason']}"
        sections.append(("in this TPM", [words]))
    sys.stdout.writelines(columns(sections))
