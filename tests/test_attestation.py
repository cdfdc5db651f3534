"""Attestations of a TPM, made by our client and by tpm2-tools, verified; and each falsification."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from conftest import Swtpm, left_loaded
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from softkeys import HASHES, key_of

from tpmwire import attestation, templates
from tpmwire.attestation import (
    Proven,
    Quoted,
    extend_audit,
    verify_certify,
    verify_certify_creation,
    verify_command_audit,
    verify_get_time,
    verify_nv_certify,
    verify_nv_digest,
    verify_quote,
    verify_session_audit,
)
from tpmwire.attester import Attester, Clock
from tpmwire.attributes import TPMA_NV, TPMA_OBJECT
from tpmwire.client import Tpm
from tpmwire.commands import (
    Certify,
    CertifyCreation,
    Create,
    GetCapability,
    GetCommandAuditDigest,
    GetRandom,
    GetSessionAuditDigest,
    GetTime,
    NV_Certify,
    NV_DefineSpace,
    NV_ReadPublic,
    NV_UndefineSpace,
    NV_Write,
    PCR_Extend,
    PCR_Read,
    Quote,
    ReadClock,
    ReadPublic,
    SetCommandCodeAuditStatus,
)
from tpmwire.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_RH, TPM_ST
from tpmwire.errors import AttestationError
from tpmwire.names import nv_name, object_name, qualified_name
from tpmwire.objects import LoadedObject
from tpmwire.softkeys import public_of
from tpmwire.transport import connect
from tpmwire.types import (
    TPMS_ATTEST,
    TPMS_CLOCK_INFO,
    TPMS_KEYEDHASH_PARMS,
    TPMS_NV_PUBLIC,
    TPMS_PCR_SELECTION,
    TPMS_QUOTE_INFO,
    TPMS_SCHEME_HASH,
    TPMS_SENSITIVE_CREATE,
    TPMS_SIGNATURE_ECC,
    TPMS_SIGNATURE_RSA,
    TPMT_ECC_SCHEME,
    TPMT_HA,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_PUBLIC,
    TPMT_SIG_SCHEME,
    TPMT_SIGNATURE,
)

SHA1, SHA256 = TPM_ALG.SHA1, TPM_ALG.SHA256
NONCE = b"a fresh nonce"
OWN = templates.ECC_SIGN.objectAttributes
RESTRICTED = OWN | TPMA_OBJECT.restricted


def bound(scheme: TPM_ALG, hash_alg: TPM_ALG) -> dict[str, Any]:
    return {"scheme": scheme, "details": TPMS_SCHEME_HASH(hashAlg=hash_alg)}


AK = templates.ECC_SIGN.replace(
    objectAttributes=RESTRICTED,
    parameters=templates.ECC_SIGN.parameters.replace(
        scheme=TPMT_ECC_SCHEME(**bound(TPM_ALG.ECDSA, SHA256))
    ),
)
ECDSA = TPMT_SIG_SCHEME(**bound(TPM_ALG.ECDSA, SHA256))


@dataclass(frozen=True)
class Case:
    """An attestation with all that it takes to verify it."""

    verify: Callable[..., Proven]
    octets: bytes
    signature: TPMT_SIGNATURE
    attester: Attester
    expected: dict[str, Any] = field(default_factory=dict)
    nonce: bytes = NONCE

    def check(self, **changes: Any) -> Proven:
        expected = {**self.expected, **changes}
        return self.verify(self.octets, self.signature, self.attester, self.nonce, **expected)

    @property
    def attest(self) -> TPMS_ATTEST:
        return TPMS_ATTEST.unpack(self.octets)


# --- what a TPM attests to our client ----------------------------------------------------------


def selection(bank: TPM_ALG, *numbers: int) -> TPMS_PCR_SELECTION:
    bits = sum(1 << number for number in numbers)
    return TPMS_PCR_SELECTION(hash=bank, pcrSelect=bits.to_bytes(3, "little"))


def pcr_value(tpm: Tpm, bank: TPM_ALG, number: int) -> bytes:
    return tpm.execute(PCR_Read(pcrSelectionIn=(selection(bank, number),))).pcrValues[0]


def quote(tpm: Tpm, ak: LoadedObject) -> Case:
    select = (selection(SHA256, 0, 7, 16), selection(SHA1, 16))
    made = tpm.execute(Quote(signHandle=ak, qualifyingData=NONCE, PCRselect=select))
    banks = {SHA256: (0, 7, 16), SHA1: (16,)}
    pcrs = {bank: {n: pcr_value(tpm, bank, n) for n in numbers} for bank, numbers in banks.items()}
    return Case(verify_quote, made.quoted, made.signature, Attester(ak.public), {"pcrs": pcrs})


def certify(tpm: Tpm, ak: LoadedObject) -> Case:
    with tpm.create_primary(templates.ECC_SIGN) as key:
        made = tpm.execute(Certify(objectHandle=key, signHandle=ak, qualifyingData=NONCE))
        qualified = tpm.execute(ReadPublic(objectHandle=key)).qualifiedName
    expected = {"name": key.name, "qualified_name": qualified}
    attester = Attester(ak.public)
    return Case(verify_certify, made.certifyInfo, made.signature, attester, expected)


def certify_creation(tpm: Tpm, ak: LoadedObject) -> Case:
    with tpm.create_primary(templates.ECC_SRK) as srk:
        new = tpm.execute(
            Create(
                parentHandle=srk,
                inPublic=templates.ECC_SIGN,
                outsideInfo=b"outside",
                creationPCR=(selection(SHA256, 16),),
            )
        )
        with srk.load(new.outPrivate, new.outPublic) as key:
            made = tpm.execute(
                CertifyCreation(
                    signHandle=ak,
                    objectHandle=key,
                    qualifyingData=NONCE,
                    creationHash=new.creationHash,
                    creationTicket=new.creationTicket,
                )
            )
    expected = {"name": key.name, "creation": new.creationData}
    attester = Attester(ak.public)
    return Case(verify_certify_creation, made.certifyInfo, made.signature, attester, expected)


INDEX = 0x01800001
CONTENTS = bytes(range(32))
NV = TPMS_NV_PUBLIC(
    nvIndex=INDEX,
    nameAlg=SHA256,
    attributes=TPMA_NV.AUTHREAD | TPMA_NV.AUTHWRITE | TPMA_NV.OWNERREAD | TPMA_NV.NO_DA,
    dataSize=32,
)


def nv_case(tpm: Tpm, ak: LoadedObject, size: int, offset: int) -> tuple[bytes, Any]:
    """Make an index, write it, certify a part of it, and take it away; its Name too."""
    tpm.execute(NV_DefineSpace(authHandle=TPM_RH.OWNER, auth=b"", publicInfo=NV))
    try:
        tpm.execute(NV_Write(authHandle=INDEX, nvIndex=INDEX, data=CONTENTS, offset=0))
        read = tpm.execute(NV_ReadPublic(nvIndex=INDEX))
        assert nv_name(read.nvPublic) == read.nvName != nv_name(NV)
        command = NV_Certify(
            signHandle=ak,
            authHandle=INDEX,
            nvIndex=INDEX,
            qualifyingData=NONCE,
            size=size,
            offset=offset,
        )
        return read.nvName, tpm.execute(command)
    finally:
        tpm.execute(NV_UndefineSpace(authHandle=TPM_RH.OWNER, nvIndex=INDEX))


def nv_certify(tpm: Tpm, ak: LoadedObject) -> Case:
    name, made = nv_case(tpm, ak, 8, 4)
    expected = {"name": name, "contents": CONTENTS[4:12], "offset": 4}
    attester = Attester(ak.public)
    return Case(verify_nv_certify, made.certifyInfo, made.signature, attester, expected)


def nv_digest(tpm: Tpm, ak: LoadedObject) -> Case:
    name, made = nv_case(tpm, ak, 0, 0)
    expected = {"name": name, "contents": CONTENTS}
    attester = Attester(ak.public)
    return Case(verify_nv_digest, made.certifyInfo, made.signature, attester, expected)


def get_time(tpm: Tpm, ak: LoadedObject) -> Case:
    command = GetTime(privacyAdminHandle=TPM_RH.ENDORSEMENT, signHandle=ak, qualifyingData=NONCE)
    made = tpm.execute(command)
    return Case(verify_get_time, made.timeInfo, made.signature, Attester(ak.public))


def session_audit(tpm: Tpm, ak: LoadedObject) -> Case:
    with tpm.session() as session:
        for size in (8, 16):
            tpm.execute(GetRandom(bytesRequested=size), session.use(audit=True))
        command = GetSessionAuditDigest(
            privacyAdminHandle=TPM_RH.ENDORSEMENT,
            signHandle=ak,
            sessionHandle=session,
            qualifyingData=NONCE,
        )
        made = tpm.execute(command)
        expected = {"audit_digest": session.audit_digest}
    attester = Attester(ak.public)
    return Case(verify_session_audit, made.auditInfo, made.signature, attester, expected)


def hashed(alg: str, *parts: bytes) -> bytes:
    return hashlib.new(alg, b"".join(parts)).digest()


def command_audit(tpm: Tpm, ak: LoadedObject) -> Case:
    def audit(*codes: TPM_CC, clear: bool = False) -> None:
        lists = {"clearList" if clear else "setList": codes}
        tpm.execute(SetCommandCodeAuditStatus(auth=TPM_RH.OWNER, **lists))

    def ask() -> Any:
        return tpm.execute(
            GetCommandAuditDigest(
                privacyHandle=TPM_RH.ENDORSEMENT, signHandle=ak, qualifyingData=NONCE
            )
        )

    audit(TPM_CC.GetRandom)
    ask()  # and begin a new digest
    answer = tpm.execute(GetRandom(bytesRequested=8)).randomBytes
    made = ask()
    question = GetCapability(capability=TPM_CAP.AUDIT_COMMANDS, property=0, propertyCount=64)
    listed = tpm.execute(question).capabilityData.data
    audit(TPM_CC.GetRandom, clear=True)
    alg = TPMS_ATTEST.unpack(made.auditInfo).attested.digestAlg
    name = alg.name.lower()
    code = TPM_CC.GetRandom.to_bytes(4, "big")
    cp_hash = hashed(name, code, bytes.fromhex("0008"))
    rp_hash = hashed(name, bytes(4), code, bytes.fromhex("0008"), answer)
    digest = extend_audit(alg, b"", cp_hash, rp_hash)
    assert digest == hashed(name, bytes(len(cp_hash)), cp_hash, rp_hash)
    expected = {"alg": alg, "commands": listed, "audit_digest": digest}
    attester = Attester(ak.public)
    return Case(verify_command_audit, made.auditInfo, made.signature, attester, expected)


MAKERS: dict[str, Callable[[Tpm, LoadedObject], Case]] = {
    "quote": quote,
    "certify": certify,
    "creation": certify_creation,
    "nv": nv_certify,
    "nv digest": nv_digest,
    "time": get_time,
    "session audit": session_audit,
    "command audit": command_audit,
}
every_kind = pytest.mark.parametrize("kind", MAKERS)


@pytest.fixture(scope="module")
def cases(swtpm: Swtpm) -> dict[str, Case]:
    """An attestation of each kind, by a key whose qualified Name the TPM told."""
    with Tpm(connect(swtpm.conf)) as tpm:
        for bank, size in ((SHA256, 32), (SHA1, 20)):
            value = TPMT_HA(hashAlg=bank, digest=bytes(range(size)))
            tpm.execute(PCR_Extend(pcrHandle=16, digests=(value,)))
        with tpm.create_primary(AK, TPM_RH.ENDORSEMENT) as ak:
            made = {kind: make(tpm, ak) for kind, make in MAKERS.items()}
            qualified = tpm.execute(ReadPublic(objectHandle=ak)).qualifiedName
    assert left_loaded(swtpm) == ()
    return {
        kind: replace(case, attester=replace(case.attester, qualified_name=qualified))
        for kind, case in made.items()
    }


@every_kind
def test_what_a_tpm_attests_is_proven(kind: str, cases: dict[str, Case]):
    case = cases[kind]
    proven = case.check()
    assert proven.clock == case.attest.clockInfo
    assert proven.firmware_version == case.attest.firmwareVersion
    assert proven.qualified_signer == case.attester.qualified_name


def test_the_qualified_name_of_the_attester_follows_from_its_hierarchy(cases: dict[str, Case]):
    attester = cases["quote"].attester
    hierarchy = TPM_RH.ENDORSEMENT.to_bytes(4, "big")
    assert attester.qualified_name == qualified_name(hierarchy, object_name(attester.public))


def test_the_values_of_a_quote_are_those_of_the_tpm(cases: dict[str, Case]):
    proven = cases["quote"].check()
    assert isinstance(proven, Quoted)
    assert proven.pcrs[SHA256][16] == hashlib.sha256(bytes(32) + bytes(range(32))).digest()
    assert proven.pcrs[SHA1][16] == hashlib.sha1(bytes(20) + bytes(range(20))).digest()
    assert proven.pcrs[SHA256][0] == bytes(32)


def test_a_time_has_the_true_counts_of_the_tpm(cases: dict[str, Case], tpm: Tpm):
    proven = cases["time"].check()
    now = tpm.execute(ReadClock()).currentTime
    assert isinstance(proven, attestation.TimeAttested)
    assert proven.time.clockInfo.resetCount == now.clockInfo.resetCount
    assert proven.time.clockInfo.clock <= now.clockInfo.clock
    assert proven.time.time <= now.time


def test_nv_contents_are_returned_where_none_are_expected(cases: dict[str, Case]):
    proven = cases["nv"].check(contents=None)
    assert isinstance(proven, attestation.NvCertified)
    assert (proven.contents, proven.offset) == (CONTENTS[4:12], 4)


def test_an_audit_session_is_exclusive_until_something_else_is_done(tpm: Tpm):
    exclusive = {}
    with tpm.create_primary(AK, TPM_RH.ENDORSEMENT) as ak:
        for other in (False, True):
            with tpm.session() as session:
                tpm.execute(GetRandom(bytesRequested=8), session.use(audit=True))
                if other:
                    tpm.execute(PCR_Extend(pcrHandle=16, digests=()))
                made = tpm.execute(
                    GetSessionAuditDigest(
                        privacyAdminHandle=TPM_RH.ENDORSEMENT,
                        signHandle=ak,
                        sessionHandle=session,
                        qualifyingData=NONCE,
                    )
                )
                exclusive[other] = Case(
                    verify_session_audit,
                    made.auditInfo,
                    made.signature,
                    Attester(ak.public),
                    {"audit_digest": session.audit_digest, "exclusive": True},
                )
    assert exclusive[False].check()
    with pytest.raises(AttestationError, match=r"^exclusiveSession: other commands came between"):
        exclusive[True].check()
    assert exclusive[True].check(exclusive=False)


# --- signatures --------------------------------------------------------------------------------

SCHEMES = {
    TPM_ALG.ECDSA: templates.ECC_SIGN,
    TPM_ALG.RSASSA: templates.RSA_SIGN,
    TPM_ALG.RSAPSS: templates.RSA_SIGN,
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_and_hash_of_a_tpm_is_verified(scheme: TPM_ALG, tpm: Tpm):
    with tpm.create_primary(SCHEMES[scheme]) as key:
        value = pcr_value(tpm, SHA256, 16)
        for hash_alg in HASHES:
            made = tpm.execute(
                Quote(
                    signHandle=key,
                    qualifyingData=NONCE,
                    inScheme=TPMT_SIG_SCHEME(**bound(scheme, hash_alg)),
                    PCRselect=(selection(SHA256, 16),),
                )
            )
            attester = Attester(key.public, unrestricted=True)
            expected = {"pcrs": {SHA256: {16: value}}}
            case = Case(verify_quote, made.quoted, made.signature, attester, expected)
            assert case.signature.sigAlg == scheme
            assert case.check()
            with pytest.raises(AttestationError, match=r"^signature: is not that of the key"):
                replace(case, octets=case.octets[:-1] + bytes([case.octets[-1] ^ 1])).check()


HMACS = TPMA_OBJECT.userWithAuth | TPMA_OBJECT.sign | TPMA_OBJECT.restricted


@pytest.mark.parametrize("salt", [0, 20, 32, 222])
def test_a_salt_of_any_length_is_that_of_some_tpm(salt: int):
    # As long as the digest where FIPS 186 is kept to; as long as goes elsewhere.
    key, octets = key_of("RSA-2048"), forged(TPM_ST.ATTEST_QUOTE)
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), salt)
    sig = key.sign(octets, scheme, hashes.SHA256())
    details = TPMS_SIGNATURE_RSA(hash=SHA256, sig=sig)
    signature = TPMT_SIGNATURE(sigAlg=TPM_ALG.RSAPSS, signature=details)
    attester = Attester(public_of(key, RESTRICTED))
    expected = {"pcrs": {SHA256: {16: bytes(32)}}}
    case = Case(verify_quote, octets, signature, attester, expected)
    assert case.check()
    other = signature.replace(sigAlg=TPM_ALG.RSASSA)
    with pytest.raises(AttestationError, match=r"^signature: is not that of the key"):
        replace(case, signature=other).check()


def hmac_template(hash_alg: TPM_ALG) -> TPMT_PUBLIC:
    scheme = TPMT_KEYEDHASH_SCHEME(**bound(TPM_ALG.HMAC, hash_alg))
    return TPMT_PUBLIC(
        type=TPM_ALG.KEYEDHASH,
        nameAlg=SHA256,
        objectAttributes=HMACS,
        parameters=TPMS_KEYEDHASH_PARMS(scheme=scheme),
        unique=b"",
    )


@pytest.mark.parametrize("hash_alg", HASHES)
def test_an_hmac_is_verified_by_its_key(hash_alg: TPM_ALG, tpm: Tpm):
    with tpm.create_primary(templates.ECC_SRK) as srk:
        sensitive = TPMS_SENSITIVE_CREATE(data=b"the key of the HMAC")
        command = Create(parentHandle=srk, inSensitive=sensitive, inPublic=hmac_template(hash_alg))
        new = tpm.execute(command)
        with srk.load(new.outPrivate, new.outPublic) as key:
            case = get_time(tpm, key)
    # A TPM lets nobody choose a key that is restricted and fixed to it: who knows it could lie.
    attester = Attester(new.outPublic, duplicable=True, hmac_key=b"the key of the HMAC")
    assert "the key of" not in repr(attester)
    assert replace(case, attester=attester).check()
    with pytest.raises(AttestationError, match=r"^signature: is not that of the key"):
        replace(case, attester=replace(attester, hmac_key=b"another key")).check()
    for none in (None, b""):
        with pytest.raises(AttestationError, match=r"^signature: .* only be verified with its key"):
            replace(case, attester=replace(attester, hmac_key=none)).check()


def test_a_change_of_any_octet_is_refused(cases: dict[str, Case]):
    case = cases["quote"]
    for n in range(len(case.octets)):
        octets = case.octets[:n] + bytes([case.octets[n] ^ 1 << n % 8]) + case.octets[n + 1 :]
        with pytest.raises(AttestationError, match=r"^signature: is not that of the key"):
            replace(case, octets=octets).check()


def test_a_change_of_any_octet_of_a_signature_is_refused(cases: dict[str, Case]):
    case, details = cases["quote"], cases["quote"].signature.signature
    assert isinstance(details, TPMS_SIGNATURE_ECC)
    for name in ("signatureR", "signatureS"):
        number = getattr(details, name)
        for n in range(len(number)):
            changed = number[:n] + bytes([number[n] ^ 0x10]) + number[n + 1 :]
            signature = case.signature.replace(signature=details.replace(**{name: changed}))
            with pytest.raises(AttestationError, match=r"^signature: is not that of the key"):
                replace(case, signature=signature).check()


@pytest.mark.parametrize(
    ("number", "other"), [(b"", b""), (b"\0", b"\0"), (b"\xff" * 128, b"\1"), (b"\1", b"\0" * 32)]
)
def test_numbers_that_are_none_of_a_signature_are_refused(
    number: bytes, other: bytes, cases: dict[str, Case]
):
    details = TPMS_SIGNATURE_ECC(hash=SHA256, signatureR=number, signatureS=other)
    signature = TPMT_SIGNATURE(sigAlg=TPM_ALG.ECDSA, signature=details)
    with pytest.raises(AttestationError, match=r"^signature: is not that of the key"):
        replace(cases["quote"], signature=signature).check()


ECC = TPMS_SIGNATURE_ECC(hash=SHA256, signatureR=b"\1", signatureS=b"\1")


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        (TPMT_SIGNATURE(sigAlg=TPM_ALG.NULL), "there is none"),
        (TPMT_SIGNATURE(sigAlg=TPM_ALG.ECDAA, signature=ECC), "ECDAA.* cannot be verified"),
        (TPMT_SIGNATURE(sigAlg=TPM_ALG.SM2, signature=ECC), "SM2.* cannot be verified"),
        (TPMT_SIGNATURE(sigAlg=TPM_ALG.ECSCHNORR, signature=ECC), "cannot be verified"),
        (TPMT_SIGNATURE(sigAlg=TPM_ALG.MLDSA, signature=b""), "cannot be verified"),
        (TPMT_SIGNATURE(sigAlg=TPM_ALG.ECDSA, signature=None), "another kind"),
        (
            TPMT_SIGNATURE(
                sigAlg=TPM_ALG.RSASSA, signature=TPMS_SIGNATURE_RSA(hash=SHA256, sig=b"")
            ),
            "not for a key of type",
        ),
        (
            TPMT_SIGNATURE(
                sigAlg=TPM_ALG.HMAC, signature=TPMT_HA(hashAlg=SHA256, digest=bytes(32))
            ),
            "not for a key of type",
        ),
        (
            TPMT_SIGNATURE(sigAlg=TPM_ALG.ECDSA, signature=ECC.replace(hash=SHA1)),
            "another scheme or hash than the key is bound to",
        ),
    ],
)
def test_a_signature_that_cannot_be_verified_is_refused_with_the_reason(
    signature: TPMT_SIGNATURE, words: str, cases: dict[str, Case]
):
    with pytest.raises(AttestationError, match=f"^signature: .*{words}"):
        replace(cases["quote"], signature=signature).check()


def test_another_key_is_refused(cases: dict[str, Case]):
    other = AK.replace(unique=public_of(key_of("P-256")).unique)
    with pytest.raises(AttestationError, match=r"^signature: is not that of the key"):
        replace(cases["quote"], attester=Attester(other)).check()
    broken = AK.replace(unique=AK.unique)
    with pytest.raises(AttestationError, match=r"^signature: not an ECC key"):
        replace(cases["quote"], attester=Attester(broken)).check()


@pytest.mark.parametrize("hash_alg", [TPM_ALG.SM3_256, TPM_ALG.SHA3_256, TPM_ALG.SHAKE256_256])
def test_a_hash_that_swtpm_does_not_have_is_verified_or_refused_with_a_word(hash_alg: TPM_ALG):
    key = key_of("RSA-2048")
    public = public_of(key, RESTRICTED)
    digests = {TPM_ALG.SM3_256: hashes.SM3(), TPM_ALG.SHA3_256: hashes.SHA3_256()}
    octets, used = forged(TPM_ST.ATTEST_QUOTE), digests.get(hash_alg)
    sig = b"\1" * 256
    if hash_alg == TPM_ALG.SHA3_256:
        sig = key.sign(octets, padding.PKCS1v15(), used)
    details = TPMS_SIGNATURE_RSA(hash=hash_alg, sig=sig)
    signature = TPMT_SIGNATURE(sigAlg=TPM_ALG.RSASSA, signature=details)
    expected = {"pcrs": {SHA256: {16: bytes(32)}}}
    case = Case(verify_quote, octets, signature, Attester(public), expected)
    with pytest.raises(AttestationError) as caught:
        case.check()
    path = "pcrDigest" if hash_alg == TPM_ALG.SHA3_256 else "signature"
    assert caught.value.path == path


# --- falsifications that are signed by the key that is trusted ---------------------------------

SOFT = key_of("P-256", 3)
SOFT_AK = public_of(SOFT, RESTRICTED)


def signed(octets: bytes) -> TPMT_SIGNATURE:
    """Sign as a TPM with the key SOFT would."""
    assert isinstance(SOFT, ec.EllipticCurvePrivateKey)
    numbers = decode_dss_signature(SOFT.sign(octets, ec.ECDSA(hashes.SHA256())))
    r, s = (number.to_bytes(32, "big") for number in numbers)
    details = TPMS_SIGNATURE_ECC(hash=SHA256, signatureR=r, signatureS=s)
    return TPMT_SIGNATURE(sigAlg=TPM_ALG.ECDSA, signature=details)


def resigned(case: Case, octets: bytes) -> Case:
    """The same case with other octets, signed by a key that the verifier trusts as much."""
    attester = replace(case.attester, public=SOFT_AK)
    return replace(case, octets=octets, signature=signed(octets), attester=attester)


def forged(kind: TPM_ST) -> bytes:
    """A quote of PCR 16 as a TPM would make it."""
    info = TPMS_QUOTE_INFO(
        pcrSelect=(selection(SHA256, 16),), pcrDigest=hashlib.sha256(bytes(32)).digest()
    )
    clock = TPMS_CLOCK_INFO(clock=1, resetCount=1, restartCount=1, safe=True)
    return TPMS_ATTEST(
        type=kind,
        qualifiedSigner=b"",
        extraData=NONCE,
        clockInfo=clock,
        firmwareVersion=1,
        attested=info,
    ).pack()


@every_kind
def test_a_key_outside_a_tpm_signs_as_a_tpm_does(kind: str, cases: dict[str, Case]):
    assert resigned(cases[kind], cases[kind].octets).check()


FALSE: dict[str, dict[str, Any]] = {
    "quote": {"pcrSelect": (selection(SHA256, 0, 7, 16),), "pcrDigest": bytes(32)},
    "certify": {"name": b"\0\x0b" + bytes(32), "qualifiedName": b"\0\x0b" + bytes(32)},
    "creation": {"objectName": b"\0\x0b" + bytes(32), "creationHash": bytes(32)},
    "nv": {"indexName": b"\0\x0b" + bytes(32), "offset": 3, "nvContents": CONTENTS[3:11]},
    "nv digest": {"indexName": b"\0\x0b" + bytes(32), "nvDigest": bytes(32)},
    "session audit": {"sessionDigest": bytes(32)},
    "command audit": {
        "digestAlg": TPM_ALG.SHA384,
        "auditDigest": bytes(32),
        "commandDigest": bytes(32),
        "auditCounter": 0,
    },
}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in FALSE.items() for name in names]
)
def test_whatever_is_attested_otherwise_is_refused_for_that(
    kind: str, name: str, cases: dict[str, Case]
):
    case = cases[kind]
    if kind == "command audit":
        counter = case.attest.attested.auditCounter
        case = replace(case, expected={**case.expected, "counter": counter})
        assert case.check()
    attested = case.attest.attested.replace(**{name: FALSE[kind][name]})
    octets = case.attest.replace(attested=attested).pack()
    with pytest.raises(AttestationError) as caught:
        resigned(case, octets).check()
    assert caught.value.path == name


@every_kind
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("extraData", b"an old nonce!", "another nonce than was sent"),
        ("extraData", b"", "another nonce than was sent"),
        ("qualifiedSigner", b"\0\x0b" + bytes(32), "a key under other parents"),
    ],
)
def test_whatever_stands_before_it_otherwise_is_refused_for_that(
    kind: str, name: str, value: bytes, words: str, cases: dict[str, Case]
):
    octets = cases[kind].attest.replace(**{name: value}).pack()
    with pytest.raises(AttestationError, match=f"^{name}: {words}"):
        resigned(cases[kind], octets).check()


@pytest.mark.parametrize("nonce", [b"", NONCE[:-1], NONCE + b"\0"])
def test_an_answer_to_another_challenge_is_refused(nonce: bytes, cases: dict[str, Case]):
    with pytest.raises(AttestationError, match=r"^extraData: another nonce than was sent"):
        replace(cases["quote"], nonce=nonce).check()


@pytest.mark.parametrize("made", MAKERS)
@every_kind
def test_one_kind_is_not_accepted_as_another(kind: str, made: str, cases: dict[str, Case]):
    # GHSA-x5j2-26fc-hhc3: what TPM2_Certify had signed was accepted as a quote.
    other = replace(cases[kind], octets=cases[made].octets, signature=cases[made].signature)
    if kind == made:
        assert other.check()
    else:
        with pytest.raises(AttestationError, match=r"^type: not an attestation of the kind A"):
            other.check()


@pytest.mark.parametrize("magic", ["00000000", "ff544346", "474354ff"])
@every_kind
def test_what_no_tpm_has_made_is_not_accepted_though_it_is_signed(
    magic: str, kind: str, cases: dict[str, Case]
):
    # CVE-2024-29038 and CVE-2024-29040: the magic number was not looked at.
    octets = bytes.fromhex(magic) + cases[kind].octets[4:]
    with pytest.raises(AttestationError, match=r"^magic: not made by a TPM"):
        resigned(cases[kind], octets).check()


def test_octets_that_are_no_attestation_are_refused(cases: dict[str, Case]):
    # GHSA-7638-f8gq-c475, GHSA-p3px-r4mm-jpw5: lengths that lie, and errors that were ignored.
    case = cases["quote"]
    for octets in (b"", b"\xffTCG", case.octets[:-1], case.octets + b"\0", case.octets[:20]):
        with pytest.raises(AttestationError):
            resigned(case, octets).check()
    for size in (0, 1, 0x20, 0x7FFF, 0xFFFF):  # of qualifiedSigner
        octets = case.octets[:6] + size.to_bytes(2, "big") + case.octets[8:]
        with pytest.raises(AttestationError):
            resigned(case, octets).check()


# --- PCRs --------------------------------------------------------------------------------------


def quoted(select: tuple[TPMS_PCR_SELECTION, ...], values: bytes) -> Case:
    attest = TPMS_ATTEST.unpack(forged(TPM_ST.ATTEST_QUOTE))
    info = TPMS_QUOTE_INFO(pcrSelect=select, pcrDigest=hashlib.sha256(values).digest())
    octets = attest.replace(attested=info).pack()
    return Case(verify_quote, octets, signed(octets), Attester(SOFT_AK))


ONE, TWO, THREE = (bytes([n]) * 32 for n in (1, 2, 3))


@pytest.mark.parametrize(
    ("pcrs", "words"),
    [
        ({SHA256: {1: ONE}}, "pcrSelect: with PCR 2 of <TPM_ALG.SHA256: 11>"),
        ({SHA256: {1: ONE, 2: TWO, 3: THREE}}, "pcrSelect: without PCR 3 of <TPM_ALG.SHA256: 11>"),
        ({SHA256: {1: ONE, 3: TWO}}, "pcrSelect: without PCR 3 .* and with PCR 2"),
        ({TPM_ALG.SM3_256: {1: ONE, 2: TWO}}, "pcrSelect: without PCR 1 of <TPM_ALG.SM3_256: 18>"),
        ({SHA256: {1: TWO, 2: ONE}}, "pcrDigest: of other values than are expected"),
        ({SHA256: {1: ONE + TWO[:1], 2: TWO[1:]}}, "pcrs: an expected value is not as long"),
        ({SHA256: {1: ONE + TWO, 2: b""}}, "pcrs: an expected value is not as long"),
        ({SHA1: {1: ONE, 2: TWO}}, "pcrs: an expected value is not as long"),
        ({}, "pcrSelect: no PCR is expected"),
        ({SHA256: {}}, "pcrSelect: no PCR is expected"),
    ],
)
def test_other_pcrs_or_values_than_are_expected_are_refused(pcrs: Any, words: str):
    # CVE-2024-29039: values were compared, but not which PCRs they were of.
    case = quoted((selection(SHA256, 1, 2),), ONE + TWO)
    assert case.check(pcrs={SHA256: {1: ONE, 2: TWO}})
    assert case.check(pcrs={SHA256: {2: TWO, 1: ONE}})
    with pytest.raises(AttestationError, match=f"^{words}"):
        case.check(pcrs=pcrs)


def test_a_quote_of_nothing_is_refused():
    case = quoted((selection(SHA256),), b"")
    with pytest.raises(AttestationError, match=r"^pcrSelect: no PCR is expected"):
        case.check(pcrs={})
    with pytest.raises(AttestationError, match=r"^pcrSelect: without PCR 1"):
        case.check(pcrs={SHA256: {1: ONE}})


def test_banks_are_hashed_in_the_order_in_which_they_were_quoted():
    pcrs = {SHA256: {1: ONE}, SHA1: {1: TWO[:20]}}
    select = (selection(SHA1, 1), selection(SHA256), selection(SHA256, 1))
    assert quoted(select, TWO[:20] + ONE).check(pcrs=pcrs)
    with pytest.raises(AttestationError, match=r"^pcrDigest"):
        quoted(select, ONE + TWO[:20]).check(pcrs=pcrs)


def test_the_length_of_a_selection_does_not_count():
    for size in (1, 3, 4):
        select = TPMS_PCR_SELECTION(hash=SHA256, pcrSelect=b"\2".ljust(size, b"\0"))
        assert quoted((select,), ONE).check(pcrs={SHA256: {1: ONE}})


# --- the key -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lacks", "waiver", "words"),
    [
        (TPMA_OBJECT.restricted, {"unrestricted": True}, "is not restricted"),
        (TPMA_OBJECT.fixedTPM, {"duplicable": True}, "is not fixed to its TPM"),
        (TPMA_OBJECT.sign, None, "is not one that signs"),
    ],
)
def test_a_key_that_could_be_made_to_lie_is_refused_unless_the_caller_accepts_that(
    lacks: TPMA_OBJECT, waiver: dict[str, bool] | None, words: str, cases: dict[str, Case]
):
    case = resigned(cases["quote"], cases["quote"].octets)
    public = SOFT_AK.replace(objectAttributes=RESTRICTED & ~lacks)
    weak = replace(case.attester, public=public)
    waivers = [{}, {"unrestricted": True}, {"duplicable": True}]
    for given in waivers:
        attester = replace(weak, **given)
        if given == waiver:
            assert replace(case, attester=attester).check()
        else:
            with pytest.raises(AttestationError, match=f"^key: {words}"):
                replace(case, attester=attester).check()


def test_an_unrestricted_key_does_sign_a_forged_attestation(tpm: Tpm):
    # Which is why its word does not count: the TPM has not made a quote, but signed a digest.
    octets = forged(TPM_ST.ATTEST_QUOTE)
    with tpm.create_primary(templates.ECC_SIGN) as key:
        signature = key.sign(hashlib.sha256(octets).digest(), ECDSA)
    expected = {"pcrs": {SHA256: {16: bytes(32)}}}
    case = Case(verify_quote, octets, signature, Attester(key.public), expected)
    with pytest.raises(AttestationError, match=r"^key: is not restricted"):
        case.check()
    assert replace(case, attester=Attester(key.public, unrestricted=True)).check()


# --- the clock ---------------------------------------------------------------------------------


def at(**changes: Any) -> TPMS_CLOCK_INFO:
    return TPMS_CLOCK_INFO(clock=1000, resetCount=5, restartCount=6, safe=True).replace(**changes)


@pytest.mark.parametrize(
    ("found", "clock", "words"),
    [
        (at(), Clock(safe=True, since=at()), ""),
        (at(), Clock(since=at(clock=999, safe=False)), ""),
        (at(safe=False), Clock(), ""),
        (at(safe=False), Clock(safe=True), "clockInfo.safe: time may have been lost"),
        (at(clock=999), Clock(since=at()), "clockInfo.clock: earlier than the clock before"),
        (at(resetCount=6), Clock(since=at()), "clockInfo.resetCount: reset since"),
        (at(resetCount=4), Clock(since=at()), "clockInfo.resetCount: reset since"),
        (at(restartCount=7), Clock(since=at()), "clockInfo.restartCount: restarted since"),
        (at(restartCount=0), Clock(since=at()), "clockInfo.restartCount: restarted since"),
    ],
)
@every_kind
def test_a_clock_that_is_not_as_expected_is_refused(
    kind: str, found: TPMS_CLOCK_INFO, clock: Clock, words: str, cases: dict[str, Case]
):
    case = resigned(cases[kind], cases[kind].attest.replace(clockInfo=found).pack())
    if words:
        with pytest.raises(AttestationError, match=f"^{words}"):
            case.check(clock=clock)
    else:
        assert case.check(clock=clock).clock == found


def test_one_tpm_attests_one_time_after_the_other(cases: dict[str, Case]):
    first, last = cases["quote"].check().clock, cases["command audit"].check().clock
    assert cases["command audit"].check(clock=Clock(safe=first.safe, since=first))
    if last.clock > first.clock:
        with pytest.raises(AttestationError, match="earlier than the clock before"):
            cases["quote"].check(clock=Clock(since=last))
