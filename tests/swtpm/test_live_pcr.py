"""Platform configuration registers.  [Part 3, 22]"""

import hashlib

import pytest
from claims import runs
from conftest import Swtpm
from plain import sha256
from power import power_cycle

from tpmwire.authorization import PasswordSession
from tpmwire.client import Tpm
from tpmwire.commands import (
    GetCapability,
    PCR_Allocate,
    PCR_Event,
    PCR_Extend,
    PCR_Read,
    PCR_Reset,
    PCR_SetAuthPolicy,
    PCR_SetAuthValue,
    Shutdown,
    Startup,
)
from tpmwire.constants import TPM_ALG, TPM_CAP, TPM_RH
from tpmwire.errors import TpmError
from tpmwire.types import TPMS_PCR_SELECTION, TPMT_HA

ALL = b"\xff\xff\xff"
DEBUG, WITH_AUTH = 16, 20


def pcr(tpm: Tpm, number: int, bank: TPM_ALG = TPM_ALG.SHA256) -> bytes:
    selected = (1 << number).to_bytes(3, "little")
    selection = (TPMS_PCR_SELECTION(hash=bank, pcrSelect=selected),)
    return tpm.execute(PCR_Read(pcrSelectionIn=selection)).pcrValues[0]


def extend(number: int, digest: bytes) -> PCR_Extend:
    digests = (TPMT_HA(hashAlg=TPM_ALG.SHA256, digest=digest),)
    return PCR_Extend(pcrHandle=number, digests=digests)


def banks(tpm: Tpm) -> tuple[TPMS_PCR_SELECTION, ...]:
    question = GetCapability(capability=TPM_CAP.PCRS, propertyCount=1)
    return tpm.execute(question).capabilityData.data


@runs(PCR_Read, PCR_Extend, PCR_Reset)
def test_a_pcr_is_extended_and_where_it_may_be_reset(tpm: Tpm):
    tpm.execute(PCR_Reset(pcrHandle=DEBUG))
    digest = sha256(b"measured")
    tpm.execute(extend(DEBUG, digest))
    assert pcr(tpm, DEBUG) == sha256(bytes(32), digest)
    assert pcr(tpm, DEBUG, TPM_ALG.SHA384) == bytes(48)
    tpm.execute(PCR_Reset(pcrHandle=DEBUG))
    assert pcr(tpm, DEBUG) == bytes(32)
    with pytest.raises(TpmError, match="TPM_RC_LOCALITY"):
        tpm.execute(PCR_Reset(pcrHandle=0))


@runs(PCR_Event)
def test_an_event_is_hashed_for_each_bank(tpm: Tpm):
    before = pcr(tpm, DEBUG)
    digests = tpm.execute(PCR_Event(pcrHandle=DEBUG, eventData=b"event")).digests
    assert [each.hashAlg for each in digests] == [each.hash for each in banks(tpm)]
    for each in digests:
        assert each.digest == hashlib.new(TPM_ALG(each.hashAlg).name.lower(), b"event").digest()
    assert pcr(tpm, DEBUG) == sha256(before, sha256(b"event"))


@runs(PCR_SetAuthValue, PCR_SetAuthPolicy)
def test_a_pcr_with_a_pin_wants_it(tpm: Tpm):
    policy = PCR_SetAuthPolicy(
        authHandle=TPM_RH.PLATFORM,
        authPolicy=sha256(b"policy"),
        hashAlg=TPM_ALG.SHA256,
        pcrNum=WITH_AUTH,
    )
    tpm.execute(policy)
    with pytest.raises(TpmError, match=r"TPM_RC_VALUE \(parameter 3\) from PCR_SetAuthPolicy"):
        tpm.execute(policy.replace(pcrNum=0))
    tpm.execute(policy.replace(authPolicy=b"", hashAlg=TPM_ALG.NULL))
    tpm.execute(PCR_SetAuthValue(pcrHandle=WITH_AUTH, auth=b"pin"))
    change = PCR_SetAuthValue(pcrHandle=WITH_AUTH, auth=b"")
    with pytest.raises(TpmError, match="TPM_RC_BAD_AUTH"):
        tpm.execute(change)
    tpm.execute(change, PasswordSession(b"pin"))


@runs(PCR_Allocate, Shutdown, Startup)
def test_banks_are_allocated_with_the_next_start(tpm: Tpm, swtpm: Swtpm):
    before = banks(tpm)
    wanted = tuple(
        each.replace(pcrSelect=ALL if each.hash == TPM_ALG.SHA256 else bytes(3)) for each in before
    )
    for allocation in (wanted, before):
        answer = tpm.execute(PCR_Allocate(authHandle=TPM_RH.PLATFORM, pcrAllocation=allocation))
        assert answer.allocationSuccess is True
        tpm.execute(Shutdown())
        power_cycle(swtpm)
        tpm.execute(Startup())
        assert banks(tpm) == allocation
    without = (TPMS_PCR_SELECTION(hash=TPM_ALG.SM3_256, pcrSelect=ALL),)
    with pytest.raises(TpmError, match="TPM_RC_HASH"):
        tpm.execute(PCR_Allocate(authHandle=TPM_RH.PLATFORM, pcrAllocation=without))
