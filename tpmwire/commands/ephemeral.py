"""Ephemeral ECC keys, for signatures and key exchange in two phases.  [Part 3, 19]"""

from tpmwire.commands.base import USER, Command, Response
from tpmwire.constants import TPM_CC
from tpmwire.structure import handle
from tpmwire.types.algorithms import (
    TPM2B_ECC_PARAMETER,
    TPM2B_ECC_POINT,
    TPM2B_SENSITIVE_DATA,
    TPMS_ECC_POINT,
)
from tpmwire.types.base import UINT16
from tpmwire.types.interface import TPMI_DH_OBJECT, TPMI_ECC_CURVE

NO_POINT = TPMS_ECC_POINT()


class CommitResponse(Response):
    """The points of the commitment, and its number for TPM2_Sign."""

    K: TPM2B_ECC_POINT
    L: TPM2B_ECC_POINT
    E: TPM2B_ECC_POINT
    counter: UINT16


class Commit(Command[CommitResponse], code=TPM_CC.Commit):
    """Do the first half of an anonymous signature.  [Part 3, 19.2]

    The x-coordinate of the second point is the digest of `s2`, its y-coordinate `y2`.
    """

    signHandle: TPMI_DH_OBJECT = handle(auth=USER)

    P1: TPM2B_ECC_POINT = NO_POINT
    s2: TPM2B_SENSITIVE_DATA = b""
    y2: TPM2B_ECC_PARAMETER = b""


class EC_EphemeralResponse(Response):
    """The public point, and its number for TPM2_ZGen_2Phase."""

    Q: TPM2B_ECC_POINT
    counter: UINT16


class EC_Ephemeral(Command[EC_EphemeralResponse], code=TPM_CC.EC_Ephemeral):
    """Make an ephemeral key for a key exchange in two phases.  [Part 3, 19.3]"""

    curveID: TPMI_ECC_CURVE
