"""What lets a new key leave its TPM: backup parents, the owner's password, or nothing at all."""

import argparse
from dataclasses import dataclass

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.errors import KeyFileError
from tpmwire.keyfile import KeyFile
from tpmwire.movable import BY_ANYONE, BY_OWNER, movable, to_parents
from tpmwire.names import object_name
from tpmwire.parentfile import read_parent
from tpmwire.policy import Policy
from tpmwire.scripts import console
from tpmwire.scripts.console import UserError
from tpmwire.scripts.outside import read_file
from tpmwire.scripts.parentproof import Proof
from tpmwire.types.objects import TPMT_PUBLIC

OWNER_WARNING = """\
warning: whoever knows the password of the owner hierarchy can take this key out of the TPM, in
clear and with its PIN, or to any other; if that password is empty, so can whoever has the file.
A key for --backup-to can go to the TPMs that you name, and nowhere else."""

ANYONE_WARNING = """\
warning: whoever can load this key can take it out of the TPM, in clear and with its PIN. It is no
safer than a key in a file."""


@dataclass(frozen=True)
class Leave:
    """The policy by which a key may move, and the Names of the parents that it tells."""

    policy: Policy
    parents: tuple[bytes, ...] = ()

    @classmethod
    def asked_for(cls, options: argparse.Namespace) -> "Leave":
        """Make what the command line asks for, with a warning where the key is not safe."""
        if options.backup_to:
            names = tuple(dict.fromkeys(map(_name, options.backup_to)))
            return cls(to_parents(names), names)
        by_owner = options.movable == "owner"
        warning = OWNER_WARNING if by_owner else ANYONE_WARNING
        console.say(f"{options.program}: {warning}")
        return cls(BY_OWNER if by_owner else BY_ANYONE)

    def bind(self, template: TPMT_PUBLIC, pin: bytes) -> TPMT_PUBLIC:
        """Make a template for a key that may move."""
        return movable(template, self.policy)

    def note(self, key: KeyFile, pin: bytes) -> KeyFile:
        """Write into a key file where its key may move."""
        return key.replace(backups=self.parents)


def _name(path: str) -> bytes:
    parent = read(path)
    if not parent.objectAttributes & TPMA_OBJECT.fixedTPM:
        raise UserError(
            f"{path}: this parent may leave its TPM, and all keys under it with it: no place for a "
            "key that shall go nowhere else"
        )
    return object_name(parent)


def read(path: str) -> TPMT_PUBLIC:
    """Read the public area of a parent; UserError if there is none in the file, or OSError."""
    data = read_file(path)
    if data.lstrip()[:1] == b"{":  # of tpmwire parent export; what it proves is not looked at
        return Proof.read(path).parent
    try:
        return read_parent(data)
    except KeyFileError as error:
        raise UserError(f"{path}: {error}") from None
