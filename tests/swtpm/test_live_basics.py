"""Starting, self-tests, random numbers, capabilities, the clock.  [Part 3, 9-10, 16, 29-30]"""

import pytest
from claims import runs
from conftest import Swtpm
from power import power_cycle

from tpmwire import templates
from tpmwire.client import Tpm
from tpmwire.commands import (
    ClockRateAdjust,
    ClockSet,
    GetCapability,
    GetRandom,
    GetTestResult,
    IncrementalSelfTest,
    ReadClock,
    SelfTest,
    Shutdown,
    Startup,
    StirRandom,
    TestParms,
)
from tpmwire.constants import TPM_ALG, TPM_CAP, TPM_CLOCK_ADJUST, TPM_PT, TPM_RC, TPM_RH, TPM_SU
from tpmwire.errors import TpmError
from tpmwire.types import TPMS_CLOCK_INFO, TPMT_PUBLIC_PARMS


def clock_info(tpm: Tpm) -> TPMS_CLOCK_INFO:
    return tpm.execute(ReadClock()).currentTime.clockInfo


@runs(Shutdown, Startup, ReadClock)
def test_a_start_after_an_orderly_stop_is_a_reset_or_a_resumption(tpm: Tpm, swtpm: Swtpm):
    before = clock_info(tpm)
    tpm.execute(Shutdown(shutdownType=TPM_SU.STATE))
    power_cycle(swtpm)
    with pytest.raises(TpmError, match="TPM_RC_INITIALIZE"):
        tpm.execute(ReadClock())
    tpm.execute(Startup(startupType=TPM_SU.STATE))
    resumed = clock_info(tpm)
    assert resumed.resetCount == before.resetCount
    assert resumed.restartCount == before.restartCount + 1
    tpm.execute(Shutdown(shutdownType=TPM_SU.CLEAR))
    power_cycle(swtpm)
    tpm.execute(Startup(startupType=TPM_SU.CLEAR))
    reset = clock_info(tpm)
    assert (reset.resetCount, reset.restartCount) == (before.resetCount + 1, 0)


@runs(SelfTest, IncrementalSelfTest, GetTestResult)
def test_nothing_is_left_to_test_after_a_full_self_test(tpm: Tpm):
    tpm.execute(SelfTest(fullTest=True))
    assert tpm.execute(IncrementalSelfTest(toTest=(TPM_ALG.SHA256, TPM_ALG.AES))).toDoList == ()
    assert tpm.execute(GetTestResult()).testResult is TPM_RC.SUCCESS


@runs(GetRandom, StirRandom)
def test_random_numbers_are_as_many_as_wanted_and_never_the_same(tpm: Tpm):
    tpm.execute(StirRandom(inData=b"entropy"))
    drawn = [tpm.execute(GetRandom(bytesRequested=32)).randomBytes for _ in range(8)]
    assert {len(each) for each in drawn} == {32}
    assert len(set(drawn)) == 8


@runs(GetCapability)
def test_the_properties_of_a_tpm_come_in_order_from_the_one_asked_for(tpm: Tpm):
    question = GetCapability(
        capability=TPM_CAP.TPM_PROPERTIES, property=TPM_PT.FAMILY_INDICATOR, propertyCount=6
    )
    answer = tpm.execute(question)
    found = {each.property: each.value for each in answer.capabilityData.data}
    assert answer.moreData is True
    assert list(found) == list(range(0x100, 0x106))
    assert found[TPM_PT.FAMILY_INDICATOR].to_bytes(4, "big") == b"2.0\0"
    assert found[TPM_PT.MANUFACTURER].to_bytes(4, "big") == b"IBM\0"


@runs(TestParms)
def test_parameters_that_a_tpm_does_not_have_are_refused(tpm: Tpm):
    parameters = templates.RSA_SRK.parameters
    tpm.execute(TestParms(parameters=TPMT_PUBLIC_PARMS(type=TPM_ALG.RSA, parameters=parameters)))
    odd = TPMT_PUBLIC_PARMS(type=TPM_ALG.RSA, parameters=parameters.replace(keyBits=1111))
    with pytest.raises(TpmError, match=r"TPM_RC_VALUE \(parameter 1\) from TestParms"):
        tpm.execute(TestParms(parameters=odd))


@runs(ReadClock, ClockSet)
def test_the_clock_goes_forward_only(tpm: Tpm):
    later = clock_info(tpm).clock + 1_000_000
    tpm.execute(ClockSet(auth=TPM_RH.OWNER, newTime=later))
    assert later <= clock_info(tpm).clock < later + 1_000_000
    with pytest.raises(TpmError, match=r"TPM_RC_VALUE \(parameter 1\) from ClockSet"):
        tpm.execute(ClockSet(auth=TPM_RH.OWNER, newTime=later - 1))


@runs(ClockRateAdjust)
def test_the_rate_of_the_clock_is_adjusted_in_steps_that_exist(tpm: Tpm):
    for step in (TPM_CLOCK_ADJUST.FINE_SLOWER, TPM_CLOCK_ADJUST.FINE_FASTER):
        tpm.execute(ClockRateAdjust(auth=TPM_RH.OWNER, rateAdjust=step))
    with pytest.raises(TpmError, match=r"TPM_RC_VALUE \(parameter 1\) from ClockRateAdjust"):
        tpm.execute(ClockRateAdjust(auth=TPM_RH.OWNER, rateAdjust=4))


def test_a_command_that_is_claimed_and_refused_fails_its_test(tpm: Tpm):
    @runs(ClockSet, ReadClock)
    def refused(tpm: Tpm) -> None:
        tpm.execute(ReadClock())
        with pytest.raises(TpmError):
            tpm.execute(ClockSet(auth=TPM_RH.OWNER, newTime=0))

    with pytest.raises(AssertionError, match=r"\['ClockSet'\]"):
        refused(tpm=tpm)
