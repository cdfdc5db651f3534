"""An object on its way from one parent to another."""

from dataclasses import dataclass, field

from tpmwire.constants import TPM_ALG
from tpmwire.templates import NO_CIPHER
from tpmwire.types.algorithms import TPMT_SYM_DEF_OBJECT


@dataclass(frozen=True)
class Wrapped:
    """An object on its way to another parent; for TPM2_Import, or from TPM2_Duplicate.

    Without an outer wrapper there is no `encrypted_secret`, without an inner one `symmetric` is of
    TPM_ALG_NULL and there is no `encryption_key`.  Without both, `duplicate` is in clear.
    """

    duplicate: bytes = field(repr=False)
    encrypted_secret: bytes = b""
    encryption_key: bytes = field(default=b"", repr=False)
    symmetric: TPMT_SYM_DEF_OBJECT = NO_CIPHER

    @property
    def in_clear(self) -> bool:
        """Whether whoever sees it can read the key."""
        return not self.encrypted_secret and self.symmetric.algorithm == TPM_ALG.NULL
