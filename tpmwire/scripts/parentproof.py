"""Files of tpmwire parent: a parent with what proves something of it, challenges, answers."""

import json
from dataclasses import dataclass
from typing import Any, Self

from tpmwire.constants import TPM_RH
from tpmwire.duplication import Credential
from tpmwire.errors import DecodeError, KeyFileError
from tpmwire.parentfile import read_parent, write_parent
from tpmwire.proof import Certification
from tpmwire.scripts import streams
from tpmwire.scripts.console import UserError
from tpmwire.structure import Structure
from tpmwire.types.algorithms import TPMT_SIGNATURE
from tpmwire.types.objects import TPM2B_PUBLIC, TPMT_PUBLIC


class _Public(Structure):
    value: TPM2B_PUBLIC


class _Signature(Structure):
    value: TPMT_SIGNATURE


@dataclass(frozen=True)
class Proof:
    """What a parent's TPM tells of it: where it is, its certification, the endorsement key."""

    parent: TPMT_PUBLIC
    handle: int
    certification: Certification
    ek: TPMT_PUBLIC
    ek_kind: str
    certificate: bytes = b""

    def write(self) -> str:
        """Write it as JSON, all octets in hexadecimal."""
        made = self.certification
        told = {
            "parent": write_parent(self.parent).hex(),
            "handle": self.handle,
            "attestation_key": _Public(value=made.key).pack().hex(),
            "attestation": made.octets.hex(),
            "signature": _Signature(value=made.signature).pack().hex(),
            "endorsement_key": _Public(value=self.ek).pack().hex(),
            "endorsement_kind": self.ek_kind,
            "endorsement_certificate": self.certificate.hex(),
        }
        return json.dumps(told, indent=2) + "\n"

    @classmethod
    def read(cls, path: str) -> Self:
        """Read the file; UserError if it is none, or OSError."""
        told = _object(path)
        try:
            made = Certification(
                _public(told["attestation_key"]),
                bytes.fromhex(told["attestation"]),
                _Signature.unpack(bytes.fromhex(told["signature"])).value,
            )
            parent = read_parent(bytes.fromhex(told["parent"]))
            ek, kind = _public(told["endorsement_key"]), str(told["endorsement_kind"])
            certificate = bytes.fromhex(told["endorsement_certificate"])
            return cls(parent, int(told["handle"]), made, ek, kind, certificate)
        except (KeyError, TypeError, ValueError, DecodeError, KeyFileError) as error:
            raise UserError(f"{path}: no file of tpmwire parent export: {error}") from None


@dataclass(frozen=True)
class Challenge:
    """A credential, and the parent and endorsement key that it is for."""

    made: Credential
    handle: int = TPM_RH.OWNER
    ek_kind: str = "ecc"

    def write(self) -> str:
        """Write it as JSON, all octets in hexadecimal."""
        told = {
            "credential": self.made.id_object.hex(),
            "secret": self.made.encrypted_secret.hex(),
            "handle": self.handle,
            "endorsement_kind": self.ek_kind,
        }
        return json.dumps(told, indent=2) + "\n"

    @classmethod
    def read(cls, path: str) -> Self:
        """Read the file; UserError if it is none, or OSError."""
        told = _object(path)
        try:
            octets = (bytes.fromhex(told[name]) for name in ("credential", "secret"))
            return cls(Credential(*octets), int(told["handle"]), str(told["endorsement_kind"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}: no file of tpmwire parent challenge: {error}") from None


def _object(path: str) -> dict[str, Any]:
    try:
        told = json.loads(streams.read_small(path))
    except ValueError:
        raise UserError(f"{path}: no JSON") from None
    if not isinstance(told, dict):
        raise UserError(f"{path}: no JSON object")
    return told


def _public(text: str) -> TPMT_PUBLIC:
    public = _Public.unpack(bytes.fromhex(text)).value
    if not isinstance(public, TPMT_PUBLIC):
        raise DecodeError("no public area")
    return public
