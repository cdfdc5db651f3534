"""What a TPM is and what it holds, as far as it tells without any authorization.

Nothing is loaded and nothing is changed.  A TPM that lacks a group of capabilities is no failure:
what it does not tell is empty.
"""

import datetime
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from tpmwire.attributes import TPMA_CC, TPMA_PERMANENT, TPMA_STARTUP_CLEAR
from tpmwire.client import Tpm
from tpmwire.commands import GetCapability, NV_ReadPublic, ReadPublic
from tpmwire.constants import TPM_CAP, TPM_HT, TPM_PT
from tpmwire.errors import DecodeError, TpmError
from tpmwire.lockout import Lockout
from tpmwire.types.capabilities import TPMS_ALG_PROPERTY, TPMS_TAGGED_POLICY
from tpmwire.types.nv import TPMS_NV_PUBLIC
from tpmwire.types.objects import TPMT_PUBLIC
from tpmwire.types.structures import TPMS_PCR_SELECTION

# The vendor identifiers that the TCG has registered.  [TCG TPM Vendor ID Registry]
VENDORS = {
    "AMD": "AMD",
    "ANT": "Ant Group",
    "ATML": "Atmel",
    "BRCM": "Broadcom",
    "CSCO": "Cisco",
    "FLYS": "Flyslice Technologies",
    "GOOG": "Google",
    "HISI": "Huawei",
    "HPE": "Hewlett Packard Enterprise",
    "HPI": "HPI",
    "IBM": "IBM",
    "IFX": "Infineon",
    "INTC": "Intel",
    "LEN": "Lenovo",
    "MSFT": "Microsoft",
    "NSG": "NSING",
    "NSM": "National Semiconductor",
    "NTC": "Nuvoton Technology",
    "NTZ": "Nationz",
    "QCOM": "Qualcomm",
    "ROCC": "Fuzhou Rockchip",
    "SEAL": "Wisekey",
    "SECE": "SecEdge",
    "SMSC": "SMSC",
    "SMSN": "Samsung",
    "SNS": "Sinosun",
    "STM": "STMicroelectronics",
    "TXN": "Texas Instruments",
    "WEC": "Winbond",
}

_AT_ONCE = 254  # how many of a group are asked for; the TPM gives fewer if they do not fit
_VENDOR_STRINGS = (
    *(TPM_PT.VENDOR_STRING_1, TPM_PT.VENDOR_STRING_2),
    *(TPM_PT.VENDOR_STRING_3, TPM_PT.VENDOR_STRING_4),
)
_INDICES = (TPM_HT.NV_INDEX, TPM_HT.EXTERNAL_NV, TPM_HT.PERMANENT_NV)


class PersistentObject(NamedTuple):
    """An object in the TPM for good; its public area and Name, if the TPM tells them."""

    handle: int
    public: TPMT_PUBLIC | None
    name: bytes


class NvIndex(NamedTuple):
    """An NV index; its public area and Name, if the TPM tells them."""

    handle: int
    public: TPMS_NV_PUBLIC | None
    name: bytes


@dataclass(frozen=True)
class Inventory:
    """What a TPM has told of itself."""

    properties: dict[int, int]
    algorithms: tuple[TPMS_ALG_PROPERTY, ...]
    curves: tuple[int, ...]
    commands: tuple[TPMA_CC, ...]
    banks: tuple[TPMS_PCR_SELECTION, ...]
    policies: tuple[TPMS_TAGGED_POLICY, ...]
    objects: tuple[PersistentObject, ...]
    indices: tuple[NvIndex, ...]

    def text(self, *names: int) -> str:
        """Put together the text in properties, four octets in each."""
        octets = b"".join(self.properties.get(name, 0).to_bytes(4, "big") for name in names)
        return " ".join(octets.replace(b"\0", b"").decode("ascii", "backslashreplace").split())

    @property
    def manufacturer(self) -> str:
        """The registered letters of who made the TPM."""
        return self.text(TPM_PT.MANUFACTURER)

    @property
    def model(self) -> str:
        """What the manufacturer calls the TPM."""
        return self.text(*_VENDOR_STRINGS)

    @property
    def firmware(self) -> tuple[int, int]:
        """The two words of the firmware's version."""
        first = self.properties.get(TPM_PT.FIRMWARE_VERSION_1, 0)
        return first, self.properties.get(TPM_PT.FIRMWARE_VERSION_2, 0)

    @property
    def specified_on(self) -> datetime.date | None:
        """The date of the specification, if it is one."""
        year, day = self.properties.get(TPM_PT.YEAR, 0), self.properties.get(TPM_PT.DAY_OF_YEAR, 0)
        if not (0 < year < 10000 and 0 < day < 367):
            return None
        return datetime.date(year, 1, 1) + datetime.timedelta(day - 1)

    @property
    def permanent(self) -> TPMA_PERMANENT:
        """State that lasts: which authorizations are set, and whether the TPM is locked."""
        return TPMA_PERMANENT(self.properties.get(TPM_PT.PERMANENT, 0))

    @property
    def startup_clear(self) -> TPMA_STARTUP_CLEAR:
        """State since the last start: which hierarchies are enabled."""
        return TPMA_STARTUP_CLEAR(self.properties.get(TPM_PT.STARTUP_CLEAR, 0))

    @property
    def lockout(self) -> Lockout:
        """The state of the protection against guessing."""
        return Lockout.of(defaultdict(int, self.properties))


def take_inventory(tpm: Tpm) -> Inventory:
    """Ask a TPM for everything that it tells; TpmError if it does not even tell its properties."""
    return Inventory(
        properties=_properties(tpm),
        algorithms=_told(tpm, TPM_CAP.ALGS, 0, lambda each: each.alg),
        curves=_told(tpm, TPM_CAP.ECC_CURVES, 0, int),
        commands=_told(tpm, TPM_CAP.COMMANDS, 0, command_code),
        banks=_told(tpm, TPM_CAP.PCRS, 0, None),
        policies=_told(
            tpm, TPM_CAP.AUTH_POLICIES, TPM_HT.PERMANENT << 24, lambda each: each.handle
        ),
        objects=tuple(_object(tpm, handle) for handle in _handles(tpm, TPM_HT.PERSISTENT)),
        indices=tuple(_index(tpm, handle) for kind in _INDICES for handle in _handles(tpm, kind)),
    )


def command_code(attributes: TPMA_CC) -> int:
    """Return the code of a command as `TPM_CC` has it."""
    return attributes.commandIndex | (attributes & TPMA_CC.V)


def _properties(tpm: Tpm) -> dict[int, int]:
    """Ask for the fixed and the variable properties, which some TPMs list apart."""
    found: dict[int, int] = {}
    for first in (TPM_PT.FAMILY_INDICATOR, TPM_PT.PERMANENT):
        if first not in found:
            listed = _listed(tpm, TPM_CAP.TPM_PROPERTIES, first, lambda each: each.property)
            found |= {each.property: each.value for each in listed}
    return found


def _listed(
    tpm: Tpm, group: TPM_CAP, first: int, key: Callable[[Any], int] | None
) -> Iterator[Any]:
    """List a group of capabilities; `key` tells the number of each, unless all come at once."""
    while True:
        question = GetCapability(capability=group, property=first, propertyCount=_AT_ONCE)
        answer = tpm.execute(question)
        data: Any = answer.capabilityData.data
        yield from data
        if not answer.moreData or not data or key is None:
            return
        if key(data[-1]) < first:
            raise DecodeError("the TPM goes round in circles", "GetCapability")
        first = key(data[-1]) + 1


def _told(tpm: Tpm, group: TPM_CAP, first: int, key: Callable[[Any], int] | None) -> Any:
    """List a group of capabilities that the TPM may lack."""
    try:
        return tuple(_listed(tpm, group, first, key))
    except TpmError:
        return ()


def _handles(tpm: Tpm, kind: TPM_HT) -> tuple[int, ...]:
    found = _told(tpm, TPM_CAP.HANDLES, kind << 24, int)
    return tuple(handle for handle in found if handle >> 24 == kind)


def _object(tpm: Tpm, handle: int) -> PersistentObject:
    try:
        read = tpm.execute(ReadPublic(objectHandle=handle))
    except TpmError:
        return PersistentObject(handle, None, b"")
    return PersistentObject(handle, read.outPublic, read.name)


def _index(tpm: Tpm, handle: int) -> NvIndex:
    try:
        read = tpm.execute(NV_ReadPublic(nvIndex=handle))
    except TpmError:
        return NvIndex(handle, None, b"")
    return NvIndex(handle, read.nvPublic, read.nvName)
