"""Files with the public area of a parent, for whoever wraps a key for it on another machine.

What is wrapped is bound to the Name of the key, so that a parent's whole public area has to be
known.  A file holds a TPM2B_PUBLIC, as tpm2-tools and systemd write and read it; a TPMT_PUBLIC and
a SubjectPublicKeyInfo are read, too.  The latter tells the key alone, and stands for that of the
well-known template.
"""

from contextlib import suppress

from tpmwire.errors import DecodeError, EncodeError, KeyFileError
from tpmwire.objects import is_storage
from tpmwire.pem import read_public_key
from tpmwire.softkeys import public_of
from tpmwire.structure import Structure
from tpmwire.templates import AES_128_CFB, ECC_SRK, RSA_SRK
from tpmwire.types.objects import TPM2B_PUBLIC, TPMS_ECC_PARMS, TPMS_RSA_PARMS, TPMT_PUBLIC


class _File(Structure):
    public: TPM2B_PUBLIC


class _Bare(Structure):
    public: TPMT_PUBLIC


def write_parent(public: TPMT_PUBLIC) -> bytes:
    """Write the public area of a parent; EncodeError if it does not fit."""
    return _File(public=public).pack()


def read_parent(data: bytes) -> TPMT_PUBLIC:
    """Read the public area of a parent; KeyFileError if there is none that a key can be under."""
    public = _from_pem(data) if b"-----BEGIN " in data else _from_octets(data)
    if not is_storage(public) or not isinstance(public.parameters, TPMS_ECC_PARMS | TPMS_RSA_PARMS):
        raise KeyFileError("it is not the public area of a storage key, so no key can be under it")
    return public


def is_well_known(public: TPMT_PUBLIC) -> bool:
    """Tell whether a key is one of those that a SubjectPublicKeyInfo stands for."""
    return any(public == template.replace(unique=public.unique) for template in (ECC_SRK, RSA_SRK))


def _from_octets(data: bytes) -> TPMT_PUBLIC:
    for kind in (_File, _Bare):
        with suppress(DecodeError):
            public = kind.unpack(data).public
            if isinstance(public, TPMT_PUBLIC):
                return public
    raise KeyFileError("it is neither a TPM2B_PUBLIC nor a public key in PEM")


def _from_pem(data: bytes) -> TPMT_PUBLIC:
    key = read_public_key(data)
    try:
        public = public_of(key, ECC_SRK.objectAttributes, AES_128_CFB)
    except EncodeError as error:
        raise KeyFileError(error.reason) from None
    if not is_well_known(public):
        raise KeyFileError("the well-known storage keys are others: a TPM2B_PUBLIC is wanted")
    return public
