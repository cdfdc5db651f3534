"""The TPMA_* attribute words: sets of bits, spelt as in the TCG tables.

Reserved bits that a TPM sets survive: a Name is computed over them too.
"""

import enum
from typing import Any

# `~flag` looks up a negative number, of which enum itself would keep no bits above the highest one
# with a name, so that `attributes & ~flag` lost reserved bits.


class Flags8(enum.IntFlag, boundary=enum.KEEP):
    """Attributes of one octet on the wire."""

    @classmethod
    def _missing_(cls, value: Any) -> Any:
        return super()._missing_(_positive(value, 0xFF))


class Flags32(enum.IntFlag, boundary=enum.KEEP):
    """Attributes of four octets on the wire."""

    @classmethod
    def _missing_(cls, value: Any) -> Any:
        return super()._missing_(_positive(value, 0xFFFFFFFF))


def _positive(value: Any, mask: int) -> Any:
    return value & mask if isinstance(value, int) and value < 0 else value


class TPMA_ALGORITHM(Flags32):
    """What an algorithm can be used for.  [Part 2, 8.2]"""

    asymmetric = 0x00000001
    symmetric = 0x00000002
    hash = 0x00000004
    object = 0x00000008
    signing = 0x00000100
    encrypting = 0x00000200
    method = 0x00000400


class TPMA_OBJECT(Flags32):
    """What an object may do and where it may go.  [Part 2, 8.3]"""

    fixedTPM = 0x00000002
    stClear = 0x00000004
    fixedFirmware = 0x00000008  # reserved in the tables of version 184, used by its code
    fixedParent = 0x00000010
    sensitiveDataOrigin = 0x00000020
    userWithAuth = 0x00000040
    adminWithPolicy = 0x00000080
    firmwareLimited = 0x00000100
    svnLimited = 0x00000200
    noDA = 0x00000400
    encryptedDuplication = 0x00000800
    restricted = 0x00010000
    decrypt = 0x00020000
    sign = 0x00040000  # or encrypt, for a symmetric cipher
    x509sign = 0x00080000


class TPMA_SESSION(Flags8):
    """How a session serves one command.  [Part 2, 8.4]"""

    continueSession = 0x01
    auditExclusive = 0x02
    auditReset = 0x04
    decrypt = 0x20
    encrypt = 0x40
    audit = 0x80


class TPMA_LOCALITY(Flags8):
    """A set of localities.  [Part 2, 8.5]"""

    TPM_LOC_ZERO = 0x01
    TPM_LOC_ONE = 0x02
    TPM_LOC_TWO = 0x04
    TPM_LOC_THREE = 0x08
    TPM_LOC_FOUR = 0x10
    Extended = 0xE0  # a number of three bits, not flags


class TPMA_PERMANENT(Flags32):
    """Lasting state, as TPM_PT.PERMANENT reports it.  [Part 2, 8.6]"""

    ownerAuthSet = 0x00000001
    endorsementAuthSet = 0x00000002
    lockoutAuthSet = 0x00000004
    disableClear = 0x00000100
    inLockout = 0x00000200
    tpmGeneratedEPS = 0x00000400


class TPMA_STARTUP_CLEAR(Flags32):
    """State since TPM Reset, as TPM_PT.STARTUP_CLEAR reports it.  [Part 2, 8.7]"""

    phEnable = 0x00000001
    shEnable = 0x00000002
    ehEnable = 0x00000004
    phEnableNV = 0x00000008
    readOnly = 0x00000010
    orderly = 0x80000000


class TPMA_MEMORY(Flags32):
    """How the TPM keeps its memory, as TPM_PT.MEMORY reports it.  [Part 2, 8.8]"""

    sharedRAM = 0x00000001
    sharedNV = 0x00000002
    objectCopiedToRam = 0x00000004


class TPMA_CC(Flags32):
    """A command code and what its command needs.  [Part 2, 8.9]"""

    nv = 0x00400000
    extensive = 0x00800000
    flushed = 0x01000000
    rHandle = 0x10000000
    V = 0x20000000

    @property
    def commandIndex(self) -> int:
        """The command code, without the vendor bit."""
        return self.value & 0xFFFF

    @property
    def cHandles(self) -> int:
        """How many handles stand in the command's handle area."""
        return self.value >> 25 & 7


class TPMA_MODES(Flags32):
    """Modes of the TPM, as TPM_PT.MODES reports them.  [Part 2, 8.10]"""

    FIPS_140_2 = 0x00000001
    FIPS_140_3 = 0x00000002
    FIPS_140_3_INDICATOR = 0x0000000C  # a number of two bits


class TPMA_ACT(Flags32):
    """State of an authenticated countdown timer.  [Part 2, 8.12]"""

    signaled = 0x00000001
    preserveSignaled = 0x00000002
