"""Self-tests of the TPM.  [Part 3, 10]"""

from tpmwire.commands.base import Command, Response
from tpmwire.constants import TPM_CC, TPM_RC
from tpmwire.types.base import TPMI_YES_NO
from tpmwire.types.structures import TPM2B_MAX_BUFFER, TPML_ALG


class SelfTestResponse(Response):
    """Nothing but success."""


class SelfTest(Command[SelfTestResponse], code=TPM_CC.SelfTest):
    """Test all functions, or with fullTest=False those not tested yet.  [Part 3, 10.2]"""

    fullTest: TPMI_YES_NO = True


class IncrementalSelfTestResponse(Response):
    """The algorithms that are still to be tested, of those asked for."""

    toDoList: TPML_ALG


class IncrementalSelfTest(Command[IncrementalSelfTestResponse], code=TPM_CC.IncrementalSelfTest):
    """Test these algorithms; an empty list only asks what there is to test.  [Part 3, 10.3]"""

    toTest: TPML_ALG


class GetTestResultResponse(Response):
    """What the tests found; what `outData` holds is the manufacturer's."""

    outData: TPM2B_MAX_BUFFER
    testResult: TPM_RC


class GetTestResult(Command[GetTestResultResponse], code=TPM_CC.GetTestResult):
    """Ask how the self-tests went.  [Part 3, 10.4]"""
