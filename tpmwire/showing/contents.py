"""Structures that stand in octets, because what they are is signed, encrypted or not fixed."""

from typing import Any

from tpmwire.errors import DecodeError
from tpmwire.structure import Structure, wire_of
from tpmwire.types.attestation import TPM2B_ATTEST, TPMS_ATTEST
from tpmwire.types.objects import (
    TPM2B_ID_OBJECT,
    TPM2B_TEMPLATE,
    TPMS_ID_OBJECT,
    TPMT_PUBLIC,
    DerivationTemplate,
)

# What may stand in the octets of each type; the first that fits is it.
_CONTENTS: dict[Any, tuple[type[Structure], ...]] = {
    wire_of(TPM2B_ATTEST): (TPMS_ATTEST,),
    wire_of(TPM2B_ID_OBJECT): (TPMS_ID_OBJECT,),
    wire_of(TPM2B_TEMPLATE): (TPMT_PUBLIC, DerivationTemplate),
}


def content_of(data: bytes, subcon: Any) -> Structure | None:
    """Read the structure in octets that `subcon` has read; None if there is none."""
    for cls in _CONTENTS.get(subcon, ()):
        try:
            return cls.unpack(data)
        except DecodeError:
            continue
    return None
