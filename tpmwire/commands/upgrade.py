"""Upgrades of the firmware.  [Part 3, 27]"""

from tpmwire.commands.base import ADMIN, Command, Response
from tpmwire.constants import TPM_CC
from tpmwire.structure import handle
from tpmwire.types.algorithms import TPMT_SIGNATURE
from tpmwire.types.base import UINT32
from tpmwire.types.interface import TPMI_DH_OBJECT, TPMI_RH_PLATFORM
from tpmwire.types.structures import TPM2B_DIGEST, TPM2B_MAX_BUFFER, TPMT_HA


class FieldUpgradeStartResponse(Response):
    """Nothing but success."""


class FieldUpgradeStart(Command[FieldUpgradeStartResponse], code=TPM_CC.FieldUpgradeStart):
    """Begin an upgrade whose first digest the manufacturer's key has signed.  [Part 3, 27.2]"""

    authorization: TPMI_RH_PLATFORM = handle(auth=ADMIN)
    keyHandle: TPMI_DH_OBJECT = handle()

    fuDigest: TPM2B_DIGEST
    manifestSignature: TPMT_SIGNATURE


class FieldUpgradeDataResponse(Response):
    """The digest of the data wanted next, and of the first ones of the sequence."""

    nextDigest: TPMT_HA
    firstDigest: TPMT_HA


class FieldUpgradeData(Command[FieldUpgradeDataResponse], code=TPM_CC.FieldUpgradeData):
    """Send a part of the new firmware.  [Part 3, 27.3]"""

    fuData: TPM2B_MAX_BUFFER


class FirmwareReadResponse(Response):
    """A part of the firmware; an empty one is behind the last."""

    fuData: TPM2B_MAX_BUFFER


class FirmwareRead(Command[FirmwareReadResponse], code=TPM_CC.FirmwareRead):
    """Read a part of the firmware that is installed.  [Part 3, 27.4]"""

    sequenceNumber: UINT32
