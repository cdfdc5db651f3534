"""Hierarchies, lockout, and what only the platform may do.  [Part 3, 24-26]"""

import pytest
from claims import runs
from indices import BY_AUTH, define, index
from plain import sha256

from tpmwire import templates
from tpmwire.attributes import TPMA_STARTUP_CLEAR
from tpmwire.authorization import PasswordSession
from tpmwire.client import Tpm
from tpmwire.commands import (
    ChangeEPS,
    ChangePPS,
    Clear,
    ClearControl,
    DictionaryAttackLockReset,
    DictionaryAttackParameters,
    GetCapability,
    HierarchyChangeAuth,
    HierarchyControl,
    NV_Read,
    SetAlgorithmSet,
    SetPrimaryPolicy,
)
from tpmwire.constants import TPM_ALG, TPM_CAP, TPM_PT, TPM_RH
from tpmwire.errors import TpmError
from tpmwire.types import TPMT_HA

PLATFORM = TPM_RH.PLATFORM


def value(tpm: Tpm, which: TPM_PT) -> int:
    question = GetCapability(capability=TPM_CAP.TPM_PROPERTIES, property=which, propertyCount=1)
    (found,) = tpm.execute(question).capabilityData.data
    assert found.property == which
    return found.value


def primary_name(tpm: Tpm, hierarchy: int) -> bytes:
    with tpm.create_primary(templates.ECC_SRK, hierarchy) as key:
        return key.name


@runs(HierarchyControl)
def test_a_hierarchy_that_is_switched_off_makes_no_keys(tpm: Tpm):
    control = HierarchyControl(authHandle=PLATFORM, enable=TPM_RH.ENDORSEMENT, state=False)
    tpm.execute(control)
    assert not value(tpm, TPM_PT.STARTUP_CLEAR) & TPMA_STARTUP_CLEAR.ehEnable
    with pytest.raises(TpmError, match="TPM_RC_HIERARCHY"):
        primary_name(tpm, TPM_RH.ENDORSEMENT)
    tpm.execute(control.replace(state=True))
    assert primary_name(tpm, TPM_RH.ENDORSEMENT)


@runs(SetPrimaryPolicy)
def test_the_policy_of_a_hierarchy_is_kept(tpm: Tpm):
    def policy() -> TPMT_HA:
        question = GetCapability(
            capability=TPM_CAP.AUTH_POLICIES, property=TPM_RH.OWNER, propertyCount=1
        )
        return tpm.execute(question).capabilityData.data[0].policyHash

    digest = sha256(b"policy")
    command = SetPrimaryPolicy(authHandle=TPM_RH.OWNER, authPolicy=digest, hashAlg=TPM_ALG.SHA256)
    tpm.execute(command)
    assert policy() == TPMT_HA(hashAlg=TPM_ALG.SHA256, digest=digest)
    with pytest.raises(TpmError, match="TPM_RC_SIZE"):
        tpm.execute(command.replace(authPolicy=digest[:-1]))
    tpm.execute(command.replace(authPolicy=b"", hashAlg=TPM_ALG.NULL))
    assert policy().hashAlg is TPM_ALG.NULL


@runs(HierarchyChangeAuth)
def test_the_pin_of_a_hierarchy_is_wanted_once_it_is_set(tpm: Tpm):
    change = HierarchyChangeAuth(authHandle=TPM_RH.OWNER, newAuth=b"owner")
    tpm.execute(change)
    with pytest.raises(TpmError, match="TPM_RC_BAD_AUTH"):
        primary_name(tpm, TPM_RH.OWNER)
    tpm.execute(change.replace(newAuth=b""), PasswordSession(b"owner"))
    assert primary_name(tpm, TPM_RH.OWNER)


@runs(ChangeEPS, ChangePPS)
def test_a_new_seed_makes_another_key_of_the_same_template(tpm: Tpm):
    before = {each: primary_name(tpm, each) for each in (TPM_RH.ENDORSEMENT, PLATFORM)}
    assert before == {each: primary_name(tpm, each) for each in before}
    tpm.execute(ChangeEPS(authHandle=PLATFORM))
    assert primary_name(tpm, TPM_RH.ENDORSEMENT) != before[TPM_RH.ENDORSEMENT]
    assert primary_name(tpm, PLATFORM) == before[PLATFORM]
    tpm.execute(ChangePPS(authHandle=PLATFORM))
    assert primary_name(tpm, PLATFORM) != before[PLATFORM]


@runs(Clear, ClearControl)
def test_a_clear_takes_what_is_the_owners_unless_it_is_forbidden(tpm: Tpm):
    before = primary_name(tpm, TPM_RH.OWNER)
    nv = define(tpm, index(BY_AUTH))
    forbid = ClearControl(auth=TPM_RH.LOCKOUT, disable=True)
    tpm.execute(forbid)
    with pytest.raises(TpmError, match="TPM_RC_DISABLED"):
        tpm.execute(Clear(authHandle=TPM_RH.LOCKOUT))
    tpm.execute(forbid.replace(auth=PLATFORM, disable=False))
    tpm.execute(Clear(authHandle=TPM_RH.LOCKOUT))
    assert primary_name(tpm, TPM_RH.OWNER) != before
    with pytest.raises(TpmError, match="TPM_RC_HANDLE"):
        tpm.execute(NV_Read(authHandle=nv, nvIndex=nv, size=1))


@runs(DictionaryAttackParameters, DictionaryAttackLockReset)
def test_wrong_pins_are_counted_up_to_the_lockout_and_forgiven(tpm: Tpm):
    parameters = DictionaryAttackParameters(
        lockHandle=TPM_RH.LOCKOUT, newMaxTries=2, newRecoveryTime=1000, lockoutRecovery=500
    )
    tpm.execute(parameters)
    read = (TPM_PT.MAX_AUTH_FAIL, TPM_PT.LOCKOUT_INTERVAL, TPM_PT.LOCKOUT_RECOVERY)
    assert [value(tpm, each) for each in read] == [2, 1000, 500]
    with tpm.create_primary(templates.ECC_SRK) as parent:
        made = parent.create(templates.ECC_SIGN, auth=b"pin")
        with parent.load(made.outPrivate, made.outPublic, auth=b"wrong") as key:
            for failures in (1, 2):
                with pytest.raises(TpmError, match="TPM_RC_AUTH_FAIL"):
                    key.sign(bytes(32))
                assert value(tpm, TPM_PT.LOCKOUT_COUNTER) == failures
            with pytest.raises(TpmError, match="TPM_RC_LOCKOUT"):
                key.sign(bytes(32))
    tpm.execute(DictionaryAttackLockReset(lockHandle=TPM_RH.LOCKOUT))
    assert value(tpm, TPM_PT.LOCKOUT_COUNTER) == 0


@runs(SetAlgorithmSet)
def test_the_set_of_algorithms_is_the_platforms_choice(tpm: Tpm):
    before = value(tpm, TPM_PT.ALGORITHM_SET)
    tpm.execute(SetAlgorithmSet(authHandle=PLATFORM, algorithmSet=7))
    assert value(tpm, TPM_PT.ALGORITHM_SET) == 7
    tpm.execute(SetAlgorithmSet(authHandle=PLATFORM, algorithmSet=before))
    with pytest.raises(TpmError, match="TPM_RC_VALUE"):
        tpm.execute(SetAlgorithmSet(authHandle=TPM_RH.OWNER, algorithmSet=7))
