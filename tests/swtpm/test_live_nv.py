"""Indices in non-volatile memory.  [Part 3, 31]"""

import pytest
from claims import runs
from indices import (
    BY_AUTH,
    BY_OWNER,
    attributes,
    define,
    index,
    kind,
    no_index_left,  # noqa: F401
)
from keys import ECDSA, verify
from plain import session, sha256

from tpmwire import templates
from tpmwire.attributes import TPMA_NV
from tpmwire.authorization import PasswordSession
from tpmwire.client import Tpm
from tpmwire.commands import (
    NV_Certify,
    NV_ChangeAuth,
    NV_DefineSpace,
    NV_Extend,
    NV_GlobalWriteLock,
    NV_Increment,
    NV_Read,
    NV_ReadLock,
    NV_ReadPublic,
    NV_SetBits,
    NV_UndefineSpace,
    NV_UndefineSpaceSpecial,
    NV_Write,
    NV_WriteLock,
    PolicyCommandCode,
)
from tpmwire.constants import TPM_CC, TPM_NT, TPM_RH, TPM_ST
from tpmwire.errors import TpmError
from tpmwire.types import TPMS_ATTEST

OWNER = TPM_RH.OWNER
CHANGE = TPM_CC.NV_ChangeAuth.to_bytes(4, "big")
REMOVE = TPM_CC.NV_UndefineSpaceSpecial.to_bytes(4, "big")


def only_for(code: bytes) -> bytes:
    """The policy that allows the command of this code."""
    return sha256(bytes(32), TPM_CC.PolicyCommandCode.to_bytes(4, "big"), code)


def read(tpm: Tpm, nv: int, size: int) -> bytes:
    return tpm.execute(NV_Read(authHandle=OWNER, nvIndex=nv, size=size)).data


def remove(tpm: Tpm, nv: int) -> None:
    tpm.execute(NV_UndefineSpace(authHandle=OWNER, nvIndex=nv))


@runs(NV_DefineSpace, NV_Write, NV_Read, NV_ReadPublic, NV_UndefineSpace)
def test_an_index_holds_what_was_written_and_its_name_tells_that_something_was(tpm: Tpm):
    public = index(BY_OWNER)
    nv = define(tpm, public)
    with pytest.raises(TpmError, match="TPM_RC_NV_UNINITIALIZED"):
        read(tpm, nv, 16)
    for offset, part in ((4, b"be or not"), (0, b"to")):
        tpm.execute(NV_Write(authHandle=OWNER, nvIndex=nv, data=part, offset=offset))
    assert read(tpm, nv, 13) == b"to\xff\xffbe or not"
    known = tpm.execute(NV_ReadPublic(nvIndex=nv))
    written = public.replace(attributes=public.attributes | TPMA_NV.WRITTEN)
    assert (known.nvPublic, known.nvName) == (written, b"\x00\x0b" + sha256(written.pack()))
    remove(tpm, nv)
    with pytest.raises(TpmError, match=r"TPM_RC_HANDLE \(handle 1\) from NV_ReadPublic"):
        tpm.execute(NV_ReadPublic(nvIndex=nv))


@runs(NV_Increment)
def test_a_counter_counts(tpm: Tpm):
    nv = define(tpm, index(BY_OWNER | kind(TPM_NT.COUNTER)))
    values = []
    for _ in range(3):
        tpm.execute(NV_Increment(authHandle=OWNER, nvIndex=nv))
        values.append(int.from_bytes(read(tpm, nv, 8), "big"))
    assert values == [values[0], values[0] + 1, values[0] + 2]
    with pytest.raises(TpmError, match="TPM_RC_ATTRIBUTES"):
        tpm.execute(NV_Write(authHandle=OWNER, nvIndex=nv, data=bytes(8)))
    remove(tpm, nv)


@runs(NV_SetBits)
def test_bits_are_set_for_good(tpm: Tpm):
    nv = define(tpm, index(BY_OWNER | kind(TPM_NT.BITS)))
    for bits in (1 << 63, 5, 0):
        tpm.execute(NV_SetBits(authHandle=OWNER, nvIndex=nv, bits=bits))
    assert int.from_bytes(read(tpm, nv, 8), "big") == 1 << 63 | 5
    remove(tpm, nv)


@runs(NV_Extend)
def test_an_index_is_extended_as_a_pcr_is(tpm: Tpm):
    nv = define(tpm, index(BY_OWNER | kind(TPM_NT.EXTEND)))
    for data in (b"first", b"second"):
        tpm.execute(NV_Extend(authHandle=OWNER, nvIndex=nv, data=data))
    assert read(tpm, nv, 32) == sha256(sha256(bytes(32), b"first"), b"second")
    remove(tpm, nv)


@runs(NV_WriteLock, NV_ReadLock)
def test_a_locked_index_is_neither_written_nor_read(tpm: Tpm):
    locks = TPMA_NV.WRITE_STCLEAR | TPMA_NV.READ_STCLEAR
    nv = define(tpm, index(BY_OWNER | locks))
    write = NV_Write(authHandle=OWNER, nvIndex=nv, data=bytes(16))
    tpm.execute(write)
    tpm.execute(NV_WriteLock(authHandle=OWNER, nvIndex=nv))
    with pytest.raises(TpmError, match="TPM_RC_NV_LOCKED"):
        tpm.execute(write)
    assert read(tpm, nv, 16) == bytes(16)
    tpm.execute(NV_ReadLock(authHandle=OWNER, nvIndex=nv))
    with pytest.raises(TpmError, match="TPM_RC_NV_LOCKED"):
        read(tpm, nv, 16)
    assert attributes(tpm, nv) & (TPMA_NV.WRITELOCKED | TPMA_NV.READLOCKED) == (
        TPMA_NV.WRITELOCKED | TPMA_NV.READLOCKED
    )
    remove(tpm, nv)


@runs(NV_GlobalWriteLock)
def test_the_global_lock_takes_those_that_want_it(tpm: Tpm):
    locked = define(tpm, index(BY_OWNER | TPMA_NV.GLOBALLOCK))
    free = define(tpm, index(BY_OWNER, nvIndex=locked + 1))
    tpm.execute(NV_GlobalWriteLock(authHandle=OWNER))
    write = NV_Write(authHandle=OWNER, nvIndex=locked, data=bytes(16))
    with pytest.raises(TpmError, match="TPM_RC_NV_LOCKED"):
        tpm.execute(write)
    tpm.execute(write.replace(nvIndex=free))
    for nv in (locked, free):
        remove(tpm, nv)


@runs(NV_ChangeAuth)
def test_the_pin_of_an_index_is_changed_by_its_policy(tpm: Tpm):
    policy = only_for(CHANGE)
    nv = define(tpm, index(BY_AUTH, authPolicy=policy), b"old")
    with session(tpm) as allowed:
        tpm.execute(PolicyCommandCode(policySession=allowed, code=TPM_CC.NV_ChangeAuth))
        tpm.execute(NV_ChangeAuth(nvIndex=nv, newAuth=b"new"), allowed)
    write = NV_Write(authHandle=nv, nvIndex=nv, data=bytes(16))
    with pytest.raises(TpmError, match="TPM_RC_BAD_AUTH"):
        tpm.execute(write, PasswordSession(b"old"))
    tpm.execute(write, PasswordSession(b"new"))
    remove(tpm, nv)


@runs(NV_UndefineSpaceSpecial)
def test_an_index_of_the_platform_goes_by_its_policy_only(tpm: Tpm):
    guarded = TPMA_NV.PLATFORMCREATE | TPMA_NV.POLICY_DELETE | TPMA_NV.PPWRITE | TPMA_NV.PPREAD
    public = index(guarded, authPolicy=only_for(REMOVE))
    nv = define(tpm, public, by=TPM_RH.PLATFORM)
    with pytest.raises(TpmError, match="TPM_RC_ATTRIBUTES"):
        tpm.execute(NV_UndefineSpace(authHandle=TPM_RH.PLATFORM, nvIndex=nv))
    with session(tpm) as allowed:
        tpm.execute(PolicyCommandCode(policySession=allowed, code=TPM_CC.NV_UndefineSpaceSpecial))
        special = NV_UndefineSpaceSpecial(nvIndex=nv, platform=TPM_RH.PLATFORM)
        tpm.execute(special, allowed, PasswordSession())
    with pytest.raises(TpmError, match="TPM_RC_HANDLE"):
        attributes(tpm, nv)


@runs(NV_Certify)
def test_what_an_index_holds_is_certified(tpm: Tpm):
    nv = define(tpm, index(BY_OWNER))
    tpm.execute(NV_Write(authHandle=OWNER, nvIndex=nv, data=bytes(range(16))))
    with tpm.create_primary(templates.ECC_SIGN) as key:
        certify = NV_Certify(
            signHandle=key,
            authHandle=OWNER,
            nvIndex=nv,
            qualifyingData=b"nonce",
            inScheme=ECDSA,
            size=4,
            offset=3,
        )
        answer = tpm.execute(certify)
        verify(key.public, answer.signature, answer.certifyInfo)
    attest = TPMS_ATTEST.unpack(answer.certifyInfo)
    name = tpm.execute(NV_ReadPublic(nvIndex=nv)).nvName
    assert (attest.type, attest.extraData) == (TPM_ST.ATTEST_NV, b"nonce")
    assert attest.attested.indexName == name
    assert (attest.attested.offset, attest.attested.nvContents) == (3, bytes(range(3, 7)))
    remove(tpm, nv)
