"""TPM 2.0 in pure Python, from declarative schemas to the octets that /dev/tpmrm0 takes.

`tpmwire.open()` opens a TPM; `tpmwire.commands` and `tpmwire.types` hold its commands and
structures, `tpmwire.templates` ready public areas.  A program that only imports this package pays
for nothing else: the rest is read when it is first used.
"""

from typing import TYPE_CHECKING, Any

from tpmwire.errors import (
    AttestationError,
    ConfError,
    DecodeError,
    EncodeError,
    Error,
    KeyFileError,
    PolicyError,
    SessionError,
    TpmError,
    TpmWarning,
    TransportError,
)

if TYPE_CHECKING:
    from tpmwire.client import Tpm, open
    from tpmwire.objects import LoadedObject

__version__ = "0.1.0"

__all__ = [
    "AttestationError",
    "ConfError",
    "DecodeError",
    "EncodeError",
    "Error",
    "KeyFileError",
    "LoadedObject",
    "PolicyError",
    "SessionError",
    "Tpm",
    "TpmError",
    "TpmWarning",
    "TransportError",
    "open",
]


def __getattr__(name: str) -> Any:
    if name in ("LoadedObject", "Tpm", "open"):
        from tpmwire import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
