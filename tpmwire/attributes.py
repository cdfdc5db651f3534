"""The TPMA_* attribute words: sets of bits, spelt as in the TCG tables.

Reserved bits that a TPM sets survive: a Name is computed over them too.
"""

import enum
import functools
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
        return _combination(cls, _positive(value, 0xFFFFFFFF))


class Flags64(enum.IntFlag, boundary=enum.KEEP):
    """Attributes of eight octets on the wire."""

    @classmethod
    def _missing_(cls, value: Any) -> Any:
        return _combination(cls, _positive(value, 0xFFFFFFFFFFFFFFFF))


def _positive(value: Any, mask: int) -> int:
    if not isinstance(value, int):
        raise ValueError(f"an integer wanted, not {type(value).__name__}")
    return value & mask if value < 0 else int(value)


@functools.lru_cache(maxsize=1024)
def _combination(cls: type[enum.IntFlag], value: int) -> Any:
    """Make the value of `cls` that has no name of its own.

    enum would keep each one for ever, so whoever sends words of 32 random bits could fill the
    memory of a process that reads them.  The latest ones are kept here, as making one is slow.
    """
    made = enum.Flag._missing_.__func__(cls, value)  # type: ignore[attr-defined]
    if made._name_ not in cls.__members__:
        cls._value2member_map_.pop(value, None)
    return made


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


class TPMA_X509_KEY_USAGE(Flags32):
    """The key usage of a certificate, its BIT STRING from the left.  [Part 2, 8.11]"""

    decipherOnly = 0x00800000
    encipherOnly = 0x01000000
    cRLSign = 0x02000000
    keyCertSign = 0x04000000
    keyAgreement = 0x08000000
    dataEncipherment = 0x10000000
    keyEncipherment = 0x20000000
    nonrepudiation = 0x40000000
    digitalSignature = 0x80000000


class TPMA_ACT(Flags32):
    """State of an authenticated countdown timer.  [Part 2, 8.12]"""

    signaled = 0x00000001
    preserveSignaled = 0x00000002


class TPMA_NV(Flags32):
    """What an NV Index may be used for, and its state.  [Part 2, 13.4]"""

    PPWRITE = 0x00000001
    OWNERWRITE = 0x00000002
    AUTHWRITE = 0x00000004
    POLICYWRITE = 0x00000008
    POLICY_DELETE = 0x00000400
    WRITELOCKED = 0x00000800
    WRITEALL = 0x00001000
    WRITEDEFINE = 0x00002000
    WRITE_STCLEAR = 0x00004000
    GLOBALLOCK = 0x00008000
    PPREAD = 0x00010000
    OWNERREAD = 0x00020000
    AUTHREAD = 0x00040000
    POLICYREAD = 0x00080000
    NO_DA = 0x02000000
    ORDERLY = 0x04000000
    CLEAR_STCLEAR = 0x08000000
    READLOCKED = 0x10000000
    WRITTEN = 0x20000000
    PLATFORMCREATE = 0x40000000
    READ_STCLEAR = 0x80000000

    @property
    def TPM_NT(self) -> int:
        """The kind of the index, a TPM_NT."""
        return self.value >> 4 & 0xF


class TPMA_NV_EXP(Flags64):
    """TPMA_NV with what only an external index has.  [Part 2, 13.5]"""

    PPWRITE = 0x0000000000000001
    OWNERWRITE = 0x0000000000000002
    AUTHWRITE = 0x0000000000000004
    POLICYWRITE = 0x0000000000000008
    POLICY_DELETE = 0x0000000000000400
    WRITELOCKED = 0x0000000000000800
    WRITEALL = 0x0000000000001000
    WRITEDEFINE = 0x0000000000002000
    WRITE_STCLEAR = 0x0000000000004000
    GLOBALLOCK = 0x0000000000008000
    PPREAD = 0x0000000000010000
    OWNERREAD = 0x0000000000020000
    AUTHREAD = 0x0000000000040000
    POLICYREAD = 0x0000000000080000
    NO_DA = 0x0000000002000000
    ORDERLY = 0x0000000004000000
    CLEAR_STCLEAR = 0x0000000008000000
    READLOCKED = 0x0000000010000000
    WRITTEN = 0x0000000020000000
    PLATFORMCREATE = 0x0000000040000000
    READ_STCLEAR = 0x0000000080000000
    EXTERNAL_NV_ENCRYPTION = 0x0000000100000000
    EXTERNAL_NV_INTEGRITY = 0x0000000200000000
    EXTERNAL_NV_ANTIROLLBACK = 0x0000000400000000

    @property
    def TPM_NT(self) -> int:
        """The kind of the index, a TPM_NT."""
        return self.value >> 4 & 0xF


class TPMA_HASH_ALGS(Flags32):
    """A set of hash algorithms.  [Algorithm Registry]"""

    alg_sha1 = 0x00000001
    alg_sha256 = 0x00000002
    alg_sha384 = 0x00000004
    alg_sha512 = 0x00000008
    alg_sm3_256 = 0x00000010
    alg_sha3_256 = 0x00000020
    alg_sha3_384 = 0x00000040
    alg_sha3_512 = 0x00000080


class TPMA_ML_PARAMETER_SET(Flags32):
    """ML-KEM and ML-DSA as TPM_PT.ML_PARAMETER_SETS reports them; provisional, version 1.85."""

    mlKem_512 = 0x00000001
    mlKem_768 = 0x00000002
    mlKem_1024 = 0x00000004
    mlDsa_44 = 0x00000008
    mlDsa_65 = 0x00000010
    mlDsa_87 = 0x00000020
    extMu = 0x00000040
