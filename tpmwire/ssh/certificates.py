"""OpenSSH certificates: reading them, and whether one stands for a host.  [PROTOCOL.certkeys]"""

import time
from dataclasses import dataclass

from tpmwire.errors import DecodeError
from tpmwire.ssh.patterns import matches
from tpmwire.ssh.publickeys import (
    FIELDS,
    EcdsaFields,
    Ed25519Fields,
    Fields,
    PublicKey,
    RsaFields,
    algorithm_of,
    read_fields,
    read_key,
)
from tpmwire.ssh.wire import STRING, UINT32, UINT64
from tpmwire.structure import Structure

SUFFIX = b"-cert-v01@openssh.com"
USER, HOST = 1, 2
MAX_PRINCIPALS = 256


class Text(Structure):
    """One of several strings."""

    octets: STRING


class Option(Structure):
    """A critical option or an extension."""

    name: STRING
    value: STRING


class Body(Structure):
    """What an authority says of a key."""

    serial: UINT64
    kind: UINT32
    key_id: STRING
    principals: STRING
    valid_after: UINT64
    valid_before: UINT64
    critical_options: STRING
    extensions: STRING
    reserved: STRING
    authority: STRING
    signature: STRING


class Ed25519Certificate(Structure):
    """A certificate of an Ed25519 key."""

    algorithm: STRING
    nonce: STRING
    fields: Ed25519Fields
    body: Body


class EcdsaCertificate(Structure):
    """A certificate of an ECDSA key."""

    algorithm: STRING
    nonce: STRING
    fields: EcdsaFields
    body: Body


class RsaCertificate(Structure):
    """A certificate of an RSA key."""

    algorithm: STRING
    nonce: STRING
    fields: RsaFields
    body: Body


@dataclass(frozen=True)
class Certificate:
    """A certificate whose signature has been verified; whose authority may be anybody's."""

    blob: bytes
    key: PublicKey
    authority: PublicKey
    body: Body
    principals: tuple[bytes, ...]

    def verify(self, signature: bytes, data: bytes) -> None:
        """Check what was signed with the certified key, as PublicKey.verify does."""
        self.key.verify(signature, data)

    def stands_for_host(self, name: bytes) -> bool:
        """Tell whether this is, now, a certificate for the host `name`."""
        body = self.body
        return (
            body.kind == HOST
            and body.valid_after <= time.time() < body.valid_before
            and not body.critical_options
            and any(matches(name, principal) for principal in self.principals)
        )


def read_public(blob: bytes) -> PublicKey | Certificate:
    """Read a public key or a certificate; DecodeError or SignatureError if it is none."""
    return read_certificate(blob) if algorithm_of(blob).endswith(SUFFIX) else read_key(blob)


def read_certificate(blob: bytes) -> Certificate:
    """Read a certificate and verify it; DecodeError or SignatureError if that is not possible."""
    algorithm, found = _unpacked(blob)
    key = read_fields(algorithm.removesuffix(SUFFIX), found.fields)
    return Certificate(blob, key, _authority(blob, found.body), found.body, _checked(found.body))


def read_unsigned(data: bytes) -> tuple[Body, tuple[bytes, ...]]:
    """Read what an authority signs to make a certificate, and its principals; DecodeError if it is
    something else.
    """
    _, found = _unpacked(data + Text(octets=b"").pack())
    return found.body, _checked(found.body)


def _unpacked(blob: bytes) -> tuple[bytes, Ed25519Certificate | EcdsaCertificate | RsaCertificate]:
    algorithm = algorithm_of(blob)
    plain = algorithm.removesuffix(SUFFIX)
    kind = _CERTIFICATES.get(FIELDS.get(plain))
    if plain == algorithm or kind is None:
        raise DecodeError(f"certificates of type {algorithm!r} are not known here")
    return algorithm, kind.unpack(blob)


def _authority(blob: bytes, body: Body) -> PublicKey:
    authority = read_key(body.authority)
    authority.verify(body.signature, blob[: -4 - len(body.signature)])
    return authority


def _checked(body: Body) -> tuple[bytes, ...]:
    """Check the inner form of a certificate; return its principals."""
    if body.kind not in (USER, HOST):
        raise DecodeError(f"a certificate of unknown kind {body.kind}")
    Option.unpack_series(body.critical_options)
    Option.unpack_series(body.extensions)
    principals = tuple(text.octets for text in Text.unpack_series(body.principals))
    if len(principals) > MAX_PRINCIPALS or any(b"\0" in name for name in principals):
        raise DecodeError("a certificate with too many principals, or an odd one")
    return principals


_CERTIFICATES: dict[
    type[Fields] | None, type[Ed25519Certificate] | type[EcdsaCertificate] | type[RsaCertificate]
] = {
    Ed25519Fields: Ed25519Certificate,
    EcdsaFields: EcdsaCertificate,
    RsaFields: RsaCertificate,
}
