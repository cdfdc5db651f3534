"""What a TPM attests, verified: by whom, for whom, when, and that it is what was expected.

There is a function for each kind.  It takes the octets of the attestation and the signature as the
TPM gave them, whose word counts (`Attester`), the nonce that was sent as `qualifyingData`, and what
is expected.  It returns what is proven; AttestationError tells what is not, and why.  A DecodeError
says that what is expected is of a hash that this machine does not have.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tpmwire.attester import ANY_CLOCK, Attester, Clock, Proven, expect, open_attest
from tpmwire.constants import TPM_ALG, TPM_ST
from tpmwire.digests import digest, digest_size
from tpmwire.errors import AttestationError
from tpmwire.types.algorithms import TPMT_SIGNATURE
from tpmwire.types.attestation import (
    TPMS_CERTIFY_INFO,
    TPMS_COMMAND_AUDIT_INFO,
    TPMS_CREATION_INFO,
    TPMS_NV_CERTIFY_INFO,
    TPMS_NV_DIGEST_CERTIFY_INFO,
    TPMS_QUOTE_INFO,
    TPMS_SESSION_AUDIT_INFO,
    TPMS_TIME_ATTEST_INFO,
    TPMS_TIME_INFO,
)
from tpmwire.types.objects import TPMS_CREATION_DATA
from tpmwire.types.structures import DIGEST_SIZES, TPMS_PCR_SELECTION

Pcrs = Mapping[TPM_ALG, Mapping[int, bytes]]
"""The values of PCRs: by bank (the hash), then by number."""


@dataclass(frozen=True)
class Quoted(Proven):
    """PCRs have these values."""

    pcrs: Pcrs


@dataclass(frozen=True)
class Certified(Proven):
    """An object is in the TPM, under the parents that its qualified Name tells."""

    name: bytes
    qualified_name: bytes


@dataclass(frozen=True)
class CreationCertified(Proven):
    """The TPM has made an object in these circumstances."""

    name: bytes
    creation: TPMS_CREATION_DATA


@dataclass(frozen=True)
class NvCertified(Proven):
    """An index has this content from that octet on."""

    name: bytes
    contents: bytes
    offset: int


@dataclass(frozen=True)
class TimeAttested(Proven):
    """The TPM has this time, with its true counts, and this firmware."""

    time: TPMS_TIME_INFO
    true_firmware_version: int


@dataclass(frozen=True)
class SessionAudited(Proven):
    """An audit session has this digest; nothing came between if it was exclusive."""

    digest: bytes
    exclusive: bool


@dataclass(frozen=True)
class CommandsAudited(Proven):
    """The audited commands have this digest since the count was last raised."""

    digest: bytes
    counter: int


# --- one function per kind ---------------------------------------------------------------------


def verify_quote(
    octets: bytes,
    signature: TPMT_SIGNATURE,
    attester: Attester,
    nonce: bytes,
    *,
    pcrs: Pcrs,
    clock: Clock = ANY_CLOCK,
) -> Quoted:
    """Verify that PCRs have the values `pcrs`: those, no others, and no fewer.  [Part 3, 18.4]"""
    opened = open_attest(octets, signature, attester, nonce, clock, TPM_ST.ATTEST_QUOTE)
    info = opened.info(TPMS_QUOTE_INFO)
    expected = {(bank, n): value for bank, values in pcrs.items() for n, value in values.items()}
    if not expected:
        raise AttestationError("no PCR is expected to have a value", "pcrSelect")
    if any(len(value) != DIGEST_SIZES.get(bank) for (bank, _), value in expected.items()):
        raise AttestationError("an expected value is not as long as a digest of its bank", "pcrs")
    selected = _selected(info.pcrSelect)
    if set(selected) != expected.keys():
        raise AttestationError(_difference({*selected}, {*expected}), "pcrSelect")
    wanted = digest(opened.hash_alg, *(expected[each] for each in selected))
    expect(info.pcrDigest, wanted, "pcrDigest", "of other values than are expected")
    return Quoted(*opened.proven, pcrs)


def verify_certify(
    octets: bytes,
    signature: TPMT_SIGNATURE,
    attester: Attester,
    nonce: bytes,
    *,
    name: bytes,
    qualified_name: bytes | None = None,
    clock: Clock = ANY_CLOCK,
) -> Certified:
    """Verify that the object `name` is in the TPM of the attester.  [Part 3, 18.2]"""
    opened = open_attest(octets, signature, attester, nonce, clock, TPM_ST.ATTEST_CERTIFY)
    info = opened.info(TPMS_CERTIFY_INFO)
    expect(info.name, name, "name", "of another object")
    if qualified_name is not None:
        expect(info.qualifiedName, qualified_name, "qualifiedName", "under other parents")
    return Certified(*opened.proven, info.name, info.qualifiedName)


def verify_certify_creation(
    octets: bytes,
    signature: TPMT_SIGNATURE,
    attester: Attester,
    nonce: bytes,
    *,
    name: bytes,
    creation: TPMS_CREATION_DATA,
    clock: Clock = ANY_CLOCK,
) -> CreationCertified:
    """Verify that the TPM made the object `name`, in the circumstances `creation`.

    [Part 3, 18.3]
    """
    opened = open_attest(octets, signature, attester, nonce, clock, TPM_ST.ATTEST_CREATION)
    info = opened.info(TPMS_CREATION_INFO)
    expect(info.objectName, name, "objectName", "of another object")
    wanted = digest(int.from_bytes(name[:2], "big"), creation.pack())
    expect(info.creationHash, wanted, "creationHash", "of other circumstances")
    return CreationCertified(*opened.proven, info.objectName, creation)


def verify_nv_certify(
    octets: bytes,
    signature: TPMT_SIGNATURE,
    attester: Attester,
    nonce: bytes,
    *,
    name: bytes,
    contents: bytes | None = None,
    offset: int = 0,
    clock: Clock = ANY_CLOCK,
) -> NvCertified:
    """Verify what the index `name` contains from octet `offset` on.  [Part 3, 31.16]

    Without `contents` any are accepted, and are in what is returned.
    """
    opened = open_attest(octets, signature, attester, nonce, clock, TPM_ST.ATTEST_NV)
    info = opened.info(TPMS_NV_CERTIFY_INFO)
    expect(info.indexName, name, "indexName", "of another index, or it was written since")
    expect(info.offset, offset, "offset", "of another part of the index")
    if contents is not None:
        expect(info.nvContents, contents, "nvContents", "other than expected")
    return NvCertified(*opened.proven, info.indexName, info.nvContents, info.offset)


def verify_nv_digest(
    octets: bytes,
    signature: TPMT_SIGNATURE,
    attester: Attester,
    nonce: bytes,
    *,
    name: bytes,
    contents: bytes,
    clock: Clock = ANY_CLOCK,
) -> NvCertified:
    """Verify the whole content of the index `name`, of which only a digest was certified.

    That is what TPM2_NV_Certify does if it is asked for no octets from octet 0 on.  [Part 3, 31.16]
    """
    opened = open_attest(octets, signature, attester, nonce, clock, TPM_ST.ATTEST_NV_DIGEST)
    info = opened.info(TPMS_NV_DIGEST_CERTIFY_INFO)
    expect(info.indexName, name, "indexName", "of another index, or it was written since")
    wanted = digest(opened.hash_alg, contents)
    expect(info.nvDigest, wanted, "nvDigest", "of other contents")
    return NvCertified(*opened.proven, info.indexName, contents, 0)


def verify_get_time(
    octets: bytes,
    signature: TPMT_SIGNATURE,
    attester: Attester,
    nonce: bytes,
    *,
    clock: Clock = ANY_CLOCK,
) -> TimeAttested:
    """Verify the time and the clock of the TPM.  [Part 3, 18.7]"""
    opened = open_attest(octets, signature, attester, nonce, clock, TPM_ST.ATTEST_TIME)
    info = opened.info(TPMS_TIME_ATTEST_INFO)
    return TimeAttested(*opened.proven, info.time, info.firmwareVersion)


def verify_session_audit(
    octets: bytes,
    signature: TPMT_SIGNATURE,
    attester: Attester,
    nonce: bytes,
    *,
    audit_digest: bytes,
    exclusive: bool = False,
    clock: Clock = ANY_CLOCK,
) -> SessionAudited:
    """Verify the digest of an audit session; `exclusive` if nothing may have come between.

    [Part 3, 18.5]
    """
    opened = open_attest(octets, signature, attester, nonce, clock, TPM_ST.ATTEST_SESSION_AUDIT)
    info = opened.info(TPMS_SESSION_AUDIT_INFO)
    expect(info.sessionDigest, audit_digest, "sessionDigest", "of other commands or answers")
    if exclusive and not info.exclusiveSession:
        raise AttestationError("other commands came between", "exclusiveSession")
    return SessionAudited(*opened.proven, info.sessionDigest, info.exclusiveSession)


def verify_command_audit(
    octets: bytes,
    signature: TPMT_SIGNATURE,
    attester: Attester,
    nonce: bytes,
    *,
    alg: int,
    commands: Collection[int],
    audit_digest: bytes,
    counter: int | None = None,
    clock: Clock = ANY_CLOCK,
) -> CommandsAudited:
    """Verify that `commands` are audited by the hash `alg`, and the digest of those executed.

    [Part 3, 18.6]
    """
    opened = open_attest(octets, signature, attester, nonce, clock, TPM_ST.ATTEST_COMMAND_AUDIT)
    info = opened.info(TPMS_COMMAND_AUDIT_INFO)
    expect(info.digestAlg, alg, "digestAlg", "another hash")
    listed = command_digest(alg, commands)
    expect(info.commandDigest, listed, "commandDigest", "other commands are audited")
    expect(info.auditDigest, audit_digest, "auditDigest", "of other commands or answers")
    if counter is not None:
        expect(info.auditCounter, counter, "auditCounter", "another count")
    return CommandsAudited(*opened.proven, info.auditDigest, info.auditCounter)


# --- digests that are expected -----------------------------------------------------------------


def command_digest(alg: int, commands: Collection[int]) -> bytes:
    """Compute the digest of a list of audited commands.  [Part 2, 10.12.5]"""
    return digest(alg, *(code.to_bytes(4, "big") for code in sorted({*commands})))


def extend_audit(alg: int, before: bytes, cp_hash: bytes, rp_hash: bytes) -> bytes:
    """Add a command and its answer to an audit digest, which begins as zeros.  [Part 1, 30]"""
    return digest(alg, before or bytes(digest_size(alg)), cp_hash, rp_hash)


# --- PCRs --------------------------------------------------------------------------------------


def _selected(selections: tuple[TPMS_PCR_SELECTION, ...]) -> list[tuple[TPM_ALG, int]]:
    """List bank and number of each PCR, in the order in which their values are hashed."""
    return [
        (selection.hash, number)
        for selection in selections
        for number in range(8 * len(selection.pcrSelect))
        if selection.pcrSelect[number // 8] >> number % 8 & 1
    ]


def _difference(found: set[tuple[TPM_ALG, int]], expected: set[tuple[TPM_ALG, int]]) -> str:
    missing, more = (sorted(one) for one in (expected - found, found - expected))
    parts = [
        f"without {_listed(missing)}" if missing else "",
        f"with {_listed(more)}" if more else "",
    ]
    return " and ".join(filter(None, parts))


def _listed(pcrs: list[tuple[TPM_ALG, int]]) -> str:
    return ", ".join(f"PCR {number} of {bank!r}" for bank, number in pcrs)
