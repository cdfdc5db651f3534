"""Policies: each digest is computed beside the TPM, and some are used.  [Part 3, 11 and 23]"""

from collections.abc import Iterator

import pytest
from claims import runs
from indices import BY_AUTH, define, index, no_index_left  # noqa: F401
from keys import ECDSA, ecc_pair, signature
from plain import command_hash, session, sha256

from tpmwire import templates
from tpmwire.attributes import TPMA_LOCALITY, TPMA_OBJECT
from tpmwire.client import LoadedObject, Tpm
from tpmwire.commands import (
    Command,
    HierarchyChangeAuth,
    LoadExternal,
    NV_ReadPublic,
    NV_UndefineSpace,
    NV_Write,
    PCR_Event,
    PCR_Read,
    PCR_Reset,
    PolicyAuthorize,
    PolicyAuthorizeNV,
    PolicyAuthValue,
    PolicyCommandCode,
    PolicyCounterTimer,
    PolicyCpHash,
    PolicyDuplicationSelect,
    PolicyGetDigest,
    PolicyLocality,
    PolicyNameHash,
    PolicyNV,
    PolicyNvWritten,
    PolicyOR,
    PolicyPassword,
    PolicyPCR,
    PolicyPhysicalPresence,
    PolicyRestart,
    PolicySecret,
    PolicySigned,
    PolicyTemplate,
    PolicyTicket,
    SetPrimaryPolicy,
    Sign,
    StartAuthSession,
    VerifySignature,
)
from tpmwire.constants import TPM_ALG, TPM_CC, TPM_EO, TPM_RH, TPM_SE
from tpmwire.errors import TpmError
from tpmwire.session import HmacSession
from tpmwire.types import TPMS_PCR_SELECTION, TPMT_HA

ZERO, ONES = bytes(32), b"\xff" * 32
PCR_16 = (TPMS_PCR_SELECTION(hash=TPM_ALG.SHA256, pcrSelect=b"\0\0\1"),)
NAME = b"\x00\x0b" + ONES
OTHER_NAME = b"\x00\x0b" + ZERO
DATA = bytes(range(16))


def extended(code: int, *arguments: bytes, old: bytes = ZERO) -> bytes:
    """PolicyUpdate without its second step.  [Part 3, 23.2.3]"""
    return sha256(old, code.to_bytes(4, "big"), *arguments)


def digest(tpm: Tpm, policy: HmacSession) -> bytes:
    return tpm.execute(PolicyGetDigest(policySession=policy.handle)).policyDigest


@pytest.fixture
def trial(tpm: Tpm) -> Iterator[HmacSession]:
    with session(tpm, TPM_SE.TRIAL) as started:
        yield started


@pytest.fixture
def policy(tpm: Tpm) -> Iterator[HmacSession]:
    with session(tpm) as started:
        yield started


def assertions(handle: int) -> list[tuple[Command, bytes]]:
    """Assertions that need nothing else, and what each makes of a digest of zeros."""
    operand = {"operandB": bytes(8), "offset": 0, "operation": TPM_EO.UNSIGNED_GE}
    comparison = sha256(bytes(8), b"\0\0", b"\0\7")
    pcr_bits = b"\0\0\0\1" + b"\0\x0b" + b"\3\0\0\1"
    loc, here = TPM_CC.PolicyLocality, {"policySession": handle}
    pair = (b"\1" * 32, b"\2" * 32)
    return [
        (PolicyLocality(**here, locality=TPMA_LOCALITY(3)), extended(loc, b"\3")),
        (
            PolicyCommandCode(**here, code=TPM_CC.Sign),
            extended(TPM_CC.PolicyCommandCode, TPM_CC.Sign.to_bytes(4, "big")),
        ),
        (
            PolicyCounterTimer(**here, **operand),
            extended(TPM_CC.PolicyCounterTimer, comparison),
        ),
        (PolicyPhysicalPresence(**here), extended(TPM_CC.PolicyPhysicalPresence)),
        (PolicyCpHash(**here, cpHashA=ONES), extended(TPM_CC.PolicyCpHash, ONES)),
        (PolicyNameHash(**here, nameHash=ONES), extended(TPM_CC.PolicyNameHash, ONES)),
        (PolicyTemplate(**here, templateHash=ONES), extended(TPM_CC.PolicyTemplate, ONES)),
        (PolicyNvWritten(**here, writtenSet=True), extended(TPM_CC.PolicyNvWritten, b"\1")),
        (PolicyAuthValue(**here), extended(TPM_CC.PolicyAuthValue)),
        (PolicyPassword(**here), extended(TPM_CC.PolicyAuthValue)),
        (
            PolicyDuplicationSelect(
                **here, objectName=NAME, newParentName=OTHER_NAME, includeObject=True
            ),
            extended(TPM_CC.PolicyDuplicationSelect, NAME, OTHER_NAME, b"\1"),
        ),
        (
            PolicyPCR(**here, pcrDigest=ONES, pcrs=PCR_16),
            extended(TPM_CC.PolicyPCR, pcr_bits, ONES),
        ),
        (PolicyOR(**here, pHashList=pair), extended(TPM_CC.PolicyOR, *pair)),
    ]


@runs(
    PolicyLocality,
    PolicyCommandCode,
    PolicyCounterTimer,
    PolicyPhysicalPresence,
    PolicyCpHash,
    PolicyNameHash,
    PolicyTemplate,
    PolicyNvWritten,
    PolicyAuthValue,
    PolicyPassword,
    PolicyDuplicationSelect,
    PolicyPCR,
    PolicyOR,
    PolicyGetDigest,
    PolicyRestart,
)
def test_each_assertion_extends_the_digest_as_the_specification_says(tpm: Tpm, trial: HmacSession):
    for command, expected in assertions(trial.handle):
        tpm.execute(command)
        assert digest(tpm, trial) == expected, command
        tpm.execute(PolicyRestart(sessionHandle=trial.handle))
        assert digest(tpm, trial) == ZERO


@runs(PolicySecret)
def test_a_secret_puts_the_name_of_its_owner_into_the_digest(tpm: Tpm, policy: HmacSession):
    secret = PolicySecret(
        authHandle=TPM_RH.OWNER, policySession=policy.handle, policyRef=b"reference"
    )
    tpm.execute(secret)
    first = extended(TPM_CC.PolicySecret, TPM_RH.OWNER.to_bytes(4, "big"))
    assert digest(tpm, policy) == sha256(first, b"reference")


@runs(PolicySigned, PolicyTicket)
def test_a_signed_permission_gives_a_ticket_that_stands_for_it(tpm: Tpm, policy: HmacSession):
    pair = ecc_pair(TPMA_OBJECT.sign)
    expiration = (-600).to_bytes(4, "big", signed=True)
    made = tpm.execute(LoadExternal(inPublic=pair.public, hierarchy=TPM_RH.OWNER))
    with tpm.adopt(made.objectHandle, pair.public, made.name) as key:
        signed = PolicySigned(
            authObject=key,
            policySession=policy.handle,
            nonceTPM=policy.nonce_tpm,
            policyRef=b"reference",
            expiration=-600,
            auth=signature(pair.private, policy.nonce_tpm + expiration + b"reference"),
        )
        answer = tpm.execute(signed)
    expected = sha256(extended(TPM_CC.PolicySigned, made.name), b"reference")
    assert digest(tpm, policy) == expected
    with session(tpm) as later:
        ticket = PolicyTicket(
            policySession=later.handle,
            timeout=answer.timeout,
            policyRef=b"reference",
            authName=made.name,
            ticket=answer.policyTicket,
        )
        with pytest.raises(TpmError, match="TPM_RC_TICKET"):
            tpm.execute(ticket.replace(policyRef=b"another"))
        tpm.execute(ticket)
        assert digest(tpm, later) == expected


@runs(PolicyAuthorize, VerifySignature)
def test_an_authorized_policy_is_replaced_by_the_name_of_who_authorized_it(
    tpm: Tpm, policy: HmacSession
):
    pair = ecc_pair(TPMA_OBJECT.sign)
    tpm.execute(PolicyCommandCode(policySession=policy.handle, code=TPM_CC.Sign))
    approved = digest(tpm, policy)
    made = tpm.execute(LoadExternal(inPublic=pair.public, hierarchy=TPM_RH.OWNER))
    with tpm.adopt(made.objectHandle, pair.public, made.name) as key:
        check = VerifySignature(
            keyHandle=key,
            digest=sha256(approved, b"reference"),
            signature=signature(pair.private, approved + b"reference"),
        )
        ticket = tpm.execute(check).validation
    authorize = PolicyAuthorize(
        policySession=policy.handle,
        approvedPolicy=approved,
        policyRef=b"reference",
        keySign=made.name,
        checkTicket=ticket,
    )
    with pytest.raises(TpmError, match="TPM_RC_VALUE"):
        tpm.execute(authorize.replace(approvedPolicy=ONES))
    tpm.execute(authorize)
    assert digest(tpm, policy) == sha256(extended(TPM_CC.PolicyAuthorize, made.name), b"reference")


@runs(PolicyNV)
def test_what_an_index_holds_is_compared(tpm: Tpm, policy: HmacSession):
    nv = define(tpm, index(BY_AUTH))
    tpm.execute(NV_Write(authHandle=nv, nvIndex=nv, data=DATA))
    name = index_name(tpm, nv)
    compare = PolicyNV(
        authHandle=nv,
        nvIndex=nv,
        policySession=policy.handle,
        operandB=DATA[2:6],
        offset=2,
        operation=TPM_EO.EQ,
    )
    with pytest.raises(TpmError, match="TPM_RC_POLICY"):
        tpm.execute(compare.replace(offset=3))
    tpm.execute(compare)
    assert digest(tpm, policy) == extended(
        TPM_CC.PolicyNV, sha256(DATA[2:6], b"\0\2", b"\0\0"), name
    )
    tpm.execute(NV_UndefineSpace(authHandle=TPM_RH.OWNER, nvIndex=nv))


@runs(PolicyAuthorizeNV)
def test_a_policy_in_an_index_is_replaced_by_the_name_of_the_index(tpm: Tpm, policy: HmacSession):
    nv = define(tpm, index(BY_AUTH, size=34))
    allowed = extended(TPM_CC.PolicyCommandCode, TPM_CC.Sign.to_bytes(4, "big"))
    stored = TPMT_HA(hashAlg=TPM_ALG.SHA256, digest=allowed).pack()
    tpm.execute(NV_Write(authHandle=nv, nvIndex=nv, data=stored))
    authorize = PolicyAuthorizeNV(authHandle=nv, nvIndex=nv, policySession=policy.handle)
    with pytest.raises(TpmError, match="TPM_RC_VALUE"):
        tpm.execute(authorize)
    tpm.execute(PolicyCommandCode(policySession=policy.handle, code=TPM_CC.Sign))
    tpm.execute(authorize)
    assert digest(tpm, policy) == extended(TPM_CC.PolicyAuthorizeNV, index_name(tpm, nv))
    tpm.execute(NV_UndefineSpace(authHandle=TPM_RH.OWNER, nvIndex=nv))


def index_name(tpm: Tpm, nv: int) -> bytes:
    return tpm.execute(NV_ReadPublic(nvIndex=nv)).nvName


def key_with(tpm: Tpm, policy: bytes) -> LoadedObject:
    """A key that signs by this policy only."""
    attributes = templates.ECC_SIGN.objectAttributes & ~TPMA_OBJECT.userWithAuth
    return tpm.create_primary(
        templates.ECC_SIGN.replace(objectAttributes=attributes, authPolicy=policy)
    )


@runs(PolicyPCR, Sign)
def test_a_key_bound_to_a_pcr_signs_until_one_changes(tpm: Tpm, policy: HmacSession):
    """Any PCR will do, but PCR 16 and 23, which count no changes."""
    tpm.execute(PCR_Reset(pcrHandle=16))
    (value,) = tpm.execute(PCR_Read(pcrSelectionIn=PCR_16)).pcrValues
    expected = extended(TPM_CC.PolicyPCR, b"\0\0\0\1\0\x0b\3\0\0\1", sha256(value))
    with key_with(tpm, expected) as key:
        sign = Sign(keyHandle=key, digest=ZERO, inScheme=ECDSA)
        with pytest.raises(TpmError, match="TPM_RC_AUTH_UNAVAILABLE"):
            tpm.execute(sign)
        with pytest.raises(TpmError, match="TPM_RC_POLICY_FAIL"):
            tpm.execute(sign, policy)
        tpm.execute(PolicyPCR(policySession=policy.handle, pcrDigest=b"", pcrs=PCR_16))
        tpm.execute(sign, policy)
        tpm.execute(PolicyPCR(policySession=policy.handle, pcrDigest=b"", pcrs=PCR_16))
        tpm.execute(PCR_Event(pcrHandle=10, eventData=b"changed"))
        with pytest.raises(TpmError, match="TPM_RC_PCR_CHANGED"):
            tpm.execute(sign, policy)


@runs(StartAuthSession, PolicyGetDigest)
def test_a_policy_begins_with_zeros(tpm: Tpm):
    with session(tpm) as started:
        assert digest(tpm, started) == ZERO
        assert len(started.nonce_tpm) == 32


@runs(SetPrimaryPolicy, PolicyCpHash, HierarchyChangeAuth)
def test_a_policy_over_a_command_allows_that_command_only(tpm: Tpm, policy: HmacSession):
    change = HierarchyChangeAuth(authHandle=TPM_RH.OWNER, newAuth=b"")
    allowed = command_hash(change, TPM_RH.OWNER.to_bytes(4, "big"))
    own = SetPrimaryPolicy(
        authHandle=TPM_RH.OWNER,
        authPolicy=extended(TPM_CC.PolicyCpHash, allowed),
        hashAlg=TPM_ALG.SHA256,
    )
    tpm.execute(own)
    tpm.execute(PolicyCpHash(policySession=policy.handle, cpHashA=allowed))
    with pytest.raises(TpmError, match="TPM_RC_POLICY_FAIL"):
        tpm.execute(change.replace(newAuth=b"pin"), policy)
    tpm.execute(change, policy)
    tpm.execute(own.replace(authPolicy=b"", hashAlg=TPM_ALG.NULL))
