"""Making the keys of an SSH server, those that are not there yet."""

import argparse
import os

import tpmwire
from tpmwire.scripts import console, files, generating, storing
from tpmwire.scripts.place import Place
from tpmwire.scripts.supporting import supports

DIRECTORY = "/etc/ssh"


def run(options: argparse.Namespace) -> int:
    """Make a host key of each type that the TPM can make, without a PIN."""
    console.warn_of_emulator(options.program, options.tpm)
    for kind in generating.DEFAULT_BITS:
        base = f"{options.file or ''}{DIRECTORY}/ssh_host_tpm_{kind}_key"
        if not os.path.lexists(storing.paths(base)[0]):
            _make(options, kind, base)
    return 0


def _make(options: argparse.Namespace, kind: str, base: str) -> None:
    place = Place(*storing.paths(base))
    files.check_directory(base)
    template = generating.template_of(kind)
    with tpmwire.open(options.tpm) as tpm:
        if not supports(tpm, template):
            console.say(f"{options.program}: this TPM cannot make {kind} keys; passed over")
            return
    key = generating.fulfil(generating.order_of(template, options), b"", options)
    place.save(options, key, options.comment)
