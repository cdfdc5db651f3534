"""Certificates of endorsement keys: read from the TPM, and followed to a root that is trusted.

What is checked: each is signed by the next and valid now, each issuer is a CA, the last is signed
by a root or is one, and the first is of this endorsement key.  What is not: whether one was
revoked.  [TCG EK Credential Profile]
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tpmwire.authorization import Entity
from tpmwire.client import Tpm
from tpmwire.commands.nv import NV_Read, NV_ReadPublic
from tpmwire.constants import TPM_ALG, TPM_RC
from tpmwire.crypto import ecc_key, rsa_key
from tpmwire.errors import AttestationError, KeyFileError, TpmError
from tpmwire.types.objects import TPMT_PUBLIC

INDICES = {"rsa": 0x01C00002, "ecc": 0x01C0000A}
"""Where manufacturers put the certificates of the default endorsement keys."""

_PIECE = 512  # octets that every TPM reads at once
_DEEPEST = 8  # certificates in a chain


def read_certificate(tpm: Tpm, kind: str) -> bytes:
    """Read the certificate of an endorsement key, in DER; nothing if the TPM has none."""
    handle = INDICES[kind]
    try:
        found = tpm.execute(NV_ReadPublic(nvIndex=handle))
    except TpmError as error:
        if error.code != TPM_RC.HANDLE:
            raise
        return b""
    index, size, octets = Entity(handle, found.nvName), found.nvPublic.dataSize, b""
    while len(octets) < size:
        piece = min(_PIECE, size - len(octets))
        command = NV_Read(authHandle=index, nvIndex=index, size=piece, offset=len(octets))
        octets += tpm.execute(command).data
    return _trimmed(octets)


def _trimmed(octets: bytes) -> bytes:
    """Take away what fills the index after a SEQUENCE with a length of two octets."""
    if octets[:2] != b"\x30\x82":
        return octets
    return octets[: 4 + int.from_bytes(octets[2:4], "big")]


def read_roots(data: bytes) -> list[x509.Certificate]:
    """Read certificates in PEM; KeyFileError if there are none."""
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise KeyFileError("no certificates in PEM in it") from None


def check_certificate(
    der: bytes, ek: TPMT_PUBLIC, trusted: Sequence[x509.Certificate], now: datetime | None = None
) -> str:
    """Check that a certificate is of an endorsement key, and leads to a root; who has issued it.

    `trusted` are roots, which are signed by themselves, and intermediate ones.  AttestationError
    tells what is wrong.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        if _spki(certificate) != _spki_of(ek):
            raise AttestationError("is of another endorsement key", "certificate")
        return _follow(certificate, trusted, now or datetime.now(UTC))
    except ValueError:
        raise AttestationError("is none that could be read", "certificate") from None


def _follow(
    certificate: x509.Certificate, trusted: Sequence[x509.Certificate], now: datetime
) -> str:
    _check_time(certificate, now)
    for _ in range(_DEEPEST):
        issuer = next((each for each in trusted if _has_issued(each, certificate)), None)
        if issuer is None:
            raise AttestationError("leads to no root that is trusted", "certificate")
        _check_time(issuer, now)
        if issuer.issuer == issuer.subject:
            return issuer.subject.rfc4514_string()
        certificate = issuer
    raise AttestationError("leads to no root within a few certificates", "certificate")


def _check_time(certificate: x509.Certificate, now: datetime) -> None:
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise AttestationError("is not valid now", "certificate")


def _has_issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
        basic = issuer.extensions.get_extension_for_class(x509.BasicConstraints)
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return basic.value.ca


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _spki_of(ek: TPMT_PUBLIC) -> bytes:
    key = rsa_key(ek) if ek.type == TPM_ALG.RSA else ecc_key(ek)
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
