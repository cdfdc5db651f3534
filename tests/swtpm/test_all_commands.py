"""Every command that swtpm has runs successfully in some test of this directory."""

import importlib
from pathlib import Path

import pytest
from claims import CLAIMED

from tpmwire.client import Tpm
from tpmwire.commands import COMMANDS, GetCapability, PP_Commands
from tpmwire.constants import TPM_CAP, TPM_CC, TPM_RH
from tpmwire.errors import TpmError

REFUSED = {
    # It wants somebody to be there, which swtpm cannot be told.  tests/vectors has a success, from
    # libtpms without swtpm around it.
    TPM_CC.PP_Commands: "TPM_RC_PP"
}


def claimed() -> set[int]:
    for path in Path(__file__).parent.glob("test_*.py"):
        importlib.import_module(path.stem)
    return CLAIMED


def test_each_command_of_the_tpm_is_run_by_a_test_or_has_its_reason(tpm: Tpm):
    question = GetCapability(
        capability=TPM_CAP.COMMANDS, property=TPM_CC.NV_UndefineSpaceSpecial, propertyCount=256
    )
    answer = tpm.execute(question)
    has = {each.commandIndex for each in answer.capabilityData.data}
    assert answer.moreData is False
    assert len(has) >= 110
    assert {COMMANDS[code].__name__ for code in has - claimed() - REFUSED.keys()} == set()
    assert not claimed() & REFUSED.keys()


def test_physical_presence_cannot_be_asserted(tpm: Tpm):
    with pytest.raises(TpmError, match=REFUSED[TPM_CC.PP_Commands]):
        tpm.execute(PP_Commands(auth=TPM_RH.PLATFORM, setList=(TPM_CC.Clear,)))


def test_what_the_tpm_says_of_a_command_is_how_it_is_declared(tpm: Tpm):
    question = GetCapability(
        capability=TPM_CAP.COMMANDS, property=TPM_CC.NV_UndefineSpaceSpecial, propertyCount=256
    )
    for each in tpm.execute(question).capabilityData.data:
        declared = COMMANDS[each.commandIndex]
        assert each.cHandles == len(declared.AREAS.handles), declared
        assert bool(each & each.rHandle) == bool(declared.RESPONSE.AREAS.handles), declared
