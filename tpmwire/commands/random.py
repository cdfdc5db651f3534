"""Random numbers.  [Part 3, 16]"""

from tpmwire.commands.base import Command, Response
from tpmwire.constants import TPM_CC
from tpmwire.types.algorithms import TPM2B_SENSITIVE_DATA
from tpmwire.types.base import UINT16
from tpmwire.types.structures import TPM2B_DIGEST


class GetRandomResponse(Response):
    """Random octets, perhaps fewer than asked for."""

    randomBytes: TPM2B_DIGEST


class GetRandom(Command[GetRandomResponse], code=TPM_CC.GetRandom):
    """Get random octets.  [Part 3, 16.1]"""

    bytesRequested: UINT16


class StirRandomResponse(Response):
    """Nothing but success."""


class StirRandom(Command[StirRandomResponse], code=TPM_CC.StirRandom):
    """Add octets, at most 128, to the state of the random number generator.  [Part 3, 16.2]"""

    inData: TPM2B_SENSITIVE_DATA
