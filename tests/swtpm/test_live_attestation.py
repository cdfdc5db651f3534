"""What the TPM certifies, and its audits.  [Part 3, 18 and 21]

Each signature is verified by `cryptography`, and what it is over compared with what is known.
"""

from datetime import UTC, datetime
from typing import Any

import pytest
from claims import runs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from keys import ECDSA, SHA256, public_key, verify
from plain import command_hash, response_hash, session, sha256

from tpmwire import templates
from tpmwire.attributes import TPMA_OBJECT
from tpmwire.client import LoadedObject, Tpm
from tpmwire.commands import (
    Certify,
    CertifyCreation,
    CertifyX509,
    CreatePrimary,
    GetCapability,
    GetCommandAuditDigest,
    GetRandom,
    GetSessionAuditDigest,
    GetTime,
    PCR_Read,
    Quote,
    ReadClock,
    SetCommandCodeAuditStatus,
)
from tpmwire.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_RH, TPM_SE, TPM_ST
from tpmwire.errors import TpmError
from tpmwire.types import TPMS_ATTEST, TPMS_PCR_SELECTION

ENDORSEMENT = TPM_RH.ENDORSEMENT
NONCE = b"a verifier's nonce"
SIGNS = {"qualifyingData": NONCE, "inScheme": ECDSA}


def attested(answer: Any, octets: bytes, key: LoadedObject, kind: TPM_ST) -> Any:
    """Do what a verifier does, and return what is certified."""
    verify(key.public, answer.signature, octets)
    attest = TPMS_ATTEST.unpack(octets)
    assert (attest.type, attest.extraData) == (kind, NONCE)
    return attest.attested


def endorsed(tpm: Tpm) -> LoadedObject:
    """A signing key, from which the TPM hides none of its clocks."""
    return tpm.create_primary(templates.ECC_SIGN, ENDORSEMENT)


@runs(Certify)
def test_a_loaded_object_is_certified_by_its_name(tpm: Tpm):
    with endorsed(tpm) as key, tpm.create_primary(templates.ECC_SRK) as other:
        answer = tpm.execute(Certify(objectHandle=other, signHandle=key, **SIGNS))
        info = attested(answer, answer.certifyInfo, key, TPM_ST.ATTEST_CERTIFY)
        above = TPM_RH.OWNER.to_bytes(4, "big")
        assert info.name == other.name
        assert info.qualifiedName == b"\x00\x0b" + sha256(above, other.name)


@runs(CreatePrimary, CertifyCreation)
def test_how_an_object_was_made_is_certified(tpm: Tpm):
    made = tpm.execute(
        CreatePrimary(
            primaryHandle=TPM_RH.OWNER, inPublic=templates.ECC_SIGN, outsideInfo=b"outside"
        )
    )
    with (
        tpm.adopt(made.objectHandle, made.outPublic, made.name) as made_object,
        endorsed(tpm) as key,
    ):
        certify = CertifyCreation(
            signHandle=key,
            objectHandle=made_object,
            creationHash=made.creationHash,
            creationTicket=made.creationTicket,
            **SIGNS,
        )
        answer = tpm.execute(certify)
        info = attested(answer, answer.certifyInfo, key, TPM_ST.ATTEST_CREATION)
        assert made.creationData.outsideInfo == b"outside"
        assert info.objectName == made.name
        assert info.creationHash == sha256(made.creationData.pack())
        with pytest.raises(TpmError, match=r"TPM_RC_TICKET \(parameter 4\)"):
            tpm.execute(certify.replace(creationHash=bytes(32)))


@runs(Quote, PCR_Read)
def test_a_quote_is_over_the_digest_of_the_selected_pcrs(tpm: Tpm):
    selection = (TPMS_PCR_SELECTION(hash=TPM_ALG.SHA256, pcrSelect=b"\x83\0\1"),)
    values = tpm.execute(PCR_Read(pcrSelectionIn=selection)).pcrValues
    with endorsed(tpm) as key:
        answer = tpm.execute(Quote(signHandle=key, PCRselect=selection, **SIGNS))
        info = attested(answer, answer.quoted, key, TPM_ST.ATTEST_QUOTE)
    assert (info.pcrSelect, info.pcrDigest) == (selection, sha256(*values))


@runs(GetTime, ReadClock)
def test_the_time_is_certified(tpm: Tpm):
    with endorsed(tpm) as key:
        command = GetTime(privacyAdminHandle=ENDORSEMENT, signHandle=key, **SIGNS)
        before = tpm.execute(ReadClock()).currentTime
        answer = tpm.execute(command)
        after = tpm.execute(ReadClock()).currentTime
        info = attested(answer, answer.timeInfo, key, TPM_ST.ATTEST_TIME)
    assert before.time <= info.time.time <= after.time
    assert before.clockInfo.clock <= info.time.clockInfo.clock <= after.clockInfo.clock


@runs(GetSessionAuditDigest)
def test_the_audit_of_a_session_is_over_its_commands_and_answers(tpm: Tpm):
    digest = bytes(32)
    command = GetRandom(bytesRequested=8)
    with session(tpm, TPM_SE.HMAC) as audit, endorsed(tpm) as key:
        for _ in range(2):
            drawn = tpm.execute(command, audit.use(audit=True)).randomBytes
            answered = response_hash(command, b"\0\x08" + drawn)
            digest = sha256(digest, command_hash(command), answered)
        report = GetSessionAuditDigest(
            privacyAdminHandle=ENDORSEMENT,
            signHandle=key,
            sessionHandle=audit.handle,
            **SIGNS,
        )
        answer = tpm.execute(report)
        info = attested(answer, answer.auditInfo, key, TPM_ST.ATTEST_SESSION_AUDIT)
    assert info.sessionDigest == digest


@runs(SetCommandCodeAuditStatus, GetCommandAuditDigest)
def test_the_audit_of_commands_is_over_those_that_were_chosen(tpm: Tpm):
    own = SetCommandCodeAuditStatus(auth=TPM_RH.OWNER, auditAlg=TPM_ALG.SHA256)
    tpm.execute(own)
    tpm.execute(own.replace(auditAlg=TPM_ALG.NULL, setList=(TPM_CC.GetRandom,)))
    question = GetCapability(capability=TPM_CAP.AUDIT_COMMANDS, property=0x11F, propertyCount=99)
    audited = tpm.execute(question).capabilityData.data
    assert TPM_CC.GetRandom in audited
    with endorsed(tpm) as key:
        report = GetCommandAuditDigest(privacyHandle=ENDORSEMENT, signHandle=key, **SIGNS)
        tpm.execute(report)  # what was before is of no interest
        command = GetRandom(bytesRequested=8)
        drawn = tpm.execute(command).randomBytes
        answer = tpm.execute(report)
        info = attested(answer, answer.auditInfo, key, TPM_ST.ATTEST_COMMAND_AUDIT)
    answered = response_hash(command, b"\0\x08" + drawn)
    assert info.auditDigest == sha256(bytes(32), command_hash(command), answered)
    assert info.commandDigest == sha256(*(code.to_bytes(4, "big") for code in audited))
    tpm.execute(own.replace(auditAlg=TPM_ALG.NULL, clearList=(TPM_CC.GetRandom,)))
    assert TPM_CC.GetRandom not in tpm.execute(question).capabilityData.data


@runs(CertifyX509)
def test_a_certificate_that_the_tpm_completes_is_one(tpm: Tpm):
    version, serial, algorithm, issuer, validity, subject, _, extensions = parts(to_be_signed())
    template = templates.ECC_SIGN.replace(
        objectAttributes=templates.ECC_SIGN.objectAttributes | TPMA_OBJECT.x509sign
    )
    with tpm.create_primary(template) as key:
        command = CertifyX509(
            objectHandle=key,
            signHandle=key,
            inScheme=ECDSA,
            partialCertificate=der(0x30, issuer, validity, subject, extensions),
        )
        answer = tpm.execute(command)
        with pytest.raises(TpmError, match="from CertifyX509"):
            tpm.execute(command.replace(partialCertificate=command.partialCertificate[:-1]))
        public = key.public
    version, serial, algorithm, key_info = parts(answer.addedToCertificate)
    tbs = der(0x30, version, serial, algorithm, issuer, validity, subject, key_info, extensions)
    assert answer.tbsDigest == sha256(tbs)
    verify(public, answer.signature, tbs)
    certificate = x509.load_der_x509_certificate(der(0x30, tbs, algorithm, der(0x03, b"\0")))
    assert certificate.subject.rfc4514_string() == "CN=device"
    found = certificate.public_key().public_numbers()
    assert found == public_key(public.unique).public_numbers()


def to_be_signed() -> bytes:
    """What another authority would sign, and the TPM takes the parts of."""
    key = ec.generate_private_key(ec.SECP256R1())
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    builder = (
        x509.CertificateBuilder()
        .issuer_name(x509.Name.from_rfc4514_string("CN=authority"))
        .subject_name(x509.Name.from_rfc4514_string("CN=device"))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2024, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2034, 1, 1, tzinfo=UTC))
        .add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
    )
    return builder.sign(key, SHA256).tbs_certificate_bytes


def der(tag: int, *content: bytes) -> bytes:
    """An element of DER."""
    data = b"".join(content)
    size = len(data)
    length = bytes([size]) if size < 0x80 else b"\x82" + size.to_bytes(2, "big")
    if 0x80 <= size < 0x100:
        length = b"\x81" + bytes([size])
    return bytes([tag]) + length + data


def parts(sequence: bytes) -> list[bytes]:
    """The elements in a SEQUENCE of DER."""
    found, content = [], sequence[start(sequence) :]
    while content:
        first = start(content)
        short = content[1] if first == 2 else int.from_bytes(content[2:first], "big")
        found.append(content[: first + short])
        content = content[first + short :]
    return found


def start(element: bytes) -> int:
    """Where the content of an element begins."""
    return 2 + (element[1] & 0x7F if element[1] & 0x80 else 0)
