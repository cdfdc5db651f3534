"""Digests that tell a policy which command is meant: of its parameters, entities, or template."""

from typing import Any

from tpmwire.commands.base import Command
from tpmwire.digests import digest
from tpmwire.types.objects import TPMT_PUBLIC


def cp_hash(alg: int, command: Command[Any], *names: bytes) -> bytes:
    """Hash a command with the Names of its entities, for CpHash, Signed and Secret.

    Raises EncodeError if a value of the command does not fit.
    """
    _, parameters = command.AREAS.write(command)
    return digest(alg, command.CC.to_bytes(4, "big"), *names, parameters)


def parameters_hash(alg: int, command: Command[Any]) -> bytes:
    """Hash a command without its entities, for Parameters."""
    return cp_hash(alg, command)


def name_hash(alg: int, *names: bytes) -> bytes:
    """Hash the Names of the entities of a command, in its order, for NameHash."""
    return digest(alg, *names)


def template_hash(alg: int, template: TPMT_PUBLIC) -> bytes:
    """Hash the template of an object as it is sent to the TPM, for Template."""
    return digest(alg, template.pack())
