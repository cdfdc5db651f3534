"""TSS2 PRIVATE KEY files, both ways.  [draft-bottomley-tpm2-keys]

    TPMKey ::= SEQUENCE {
        type        OBJECT IDENTIFIER,
        emptyAuth   [0] EXPLICIT BOOLEAN OPTIONAL,
        policy      [1] EXPLICIT SEQUENCE OF TPMPolicy OPTIONAL,
        secret      [2] EXPLICIT OCTET STRING OPTIONAL,
        authPolicy  [3] EXPLICIT SEQUENCE OF TPMAuthPolicy OPTIONAL,
        description [4] EXPLICIT UTF8String OPTIONAL,
        rsaParent   [5] EXPLICIT BOOLEAN OPTIONAL,
        parent      INTEGER,
        pubkey      OCTET STRING,       -- a TPM2B_PUBLIC
        privkey     OCTET STRING }      -- a TPM2B_PRIVATE
    TPMPolicy ::= SEQUENCE {
        commandCode   [0] EXPLICIT INTEGER,
        commandPolicy [1] EXPLICIT OCTET STRING }
    TPMAuthPolicy ::= SEQUENCE {
        name          [0] EXPLICIT UTF8String OPTIONAL,
        policy        [1] EXPLICIT SEQUENCE OF TPMPolicy }

What others have written is read with patience (any TRUE, a negative parent, tags of the future),
and kept: a file that is read and written again loses nothing.  What we write can be read by as many
tools as possible: `emptyAuth` always stands there, and a description only if it is asked for, since
half of them refuse a file that has one.

A policy is kept as it came, and looked at when it is asked for: `policy.bodies` tells what it says.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

from cryptography.hazmat import asn1

from tpmwire.bodies import Alternative, Body
from tpmwire.constants import TPM_RH
from tpmwire.errors import DecodeError, EncodeError, KeyFileError
from tpmwire.preamble import Preamble
from tpmwire.structure import Structure
from tpmwire.templates import NO_CIPHER
from tpmwire.types.algorithms import TPM2B_ENCRYPTED_SECRET, TPMT_SYM_DEF_OBJECT
from tpmwire.types.base import TPM_HANDLE
from tpmwire.types.objects import TPM2B_PRIVATE, TPM2B_PUBLIC, TPMT_PUBLIC

LOADABLE = "2.23.133.10.1.3"
IMPORTABLE = "2.23.133.10.1.4"
SEALED = "2.23.133.10.1.5"
LEGACY_LOADABLE = "2.23.133.10.2"

_KINDS = {
    LOADABLE: bytes.fromhex("06 06 67 81 05 0a 01 03"),
    IMPORTABLE: bytes.fromhex("06 06 67 81 05 0a 01 04"),
    SEALED: bytes.fromhex("06 06 67 81 05 0a 01 05"),
    LEGACY_LOADABLE: bytes.fromhex("06 05 67 81 05 0a 02"),
}

LABEL = "TSS2 PRIVATE KEY"
_BEGIN, _END = f"-----BEGIN {LABEL}-----".encode(), f"-----END {LABEL}-----".encode()

_EMPTY_AUTH, _POLICY, _SECRET, _AUTH_POLICY, _DESCRIPTION, _RSA_PARENT = range(0xA0, 0xA6)
_OID, _INTEGER, _OCTET_STRING, _BOOLEAN = 0x06, 0x02, 0x04, 0x01


@asn1.sequence
class _One:
    value: asn1.TLV


@asn1.sequence
class _Series:
    elements: list[asn1.TLV]


@asn1.sequence
class _Known:
    """The optional elements that are understood here."""

    emptyAuth: Annotated[bool, asn1.Explicit(0)]
    description: Annotated[str | None, asn1.Explicit(4)]
    rsaParent: Annotated[bool | None, asn1.Explicit(5)]


@asn1.sequence
class _Policy:
    commandCode: Annotated[int, asn1.Explicit(0)]
    commandPolicy: Annotated[bytes, asn1.Explicit(1)]


@asn1.sequence
class _AuthPolicy:
    name: Annotated[str | None, asn1.Explicit(0)]
    policy: Annotated[list[_Policy], asn1.Explicit(1)]


@asn1.sequence
class _Policies:
    policy: Annotated[list[_Policy] | None, asn1.Explicit(1)]
    authPolicy: Annotated[list[_AuthPolicy] | None, asn1.Explicit(3)]


@asn1.sequence
class _Secret:
    secret: Annotated[bytes | None, asn1.Explicit(2)]


@asn1.sequence
class _Required:
    parent: int
    pubkey: bytes
    privkey: bytes


class _Parent(Structure):
    value: TPM_HANDLE


class _Public(Structure):
    value: TPM2B_PUBLIC


class _Private(Structure):
    value: TPM2B_PRIVATE


class _EncryptedSecret(Structure):
    value: TPM2B_ENCRYPTED_SECRET


@dataclass(frozen=True)
class KeyFile:
    """The content of a key file.

    `parent` is a hierarchy (the primary key made by a well-known template there) or the handle of
    a persistent key.  `parent_name` is the Name it had when the key was made, if that is known.
    `others` are the other elements, as DER: policies, and what is not understood here.

    `backups` are the Names of the parents that the key may be duplicated to, if it was made so:
    that is not in its policy here, for other readers would want to meet it before they sign.
    `inner` is the cipher of the inner wrapper that an importable key has besides the outer one.
    """

    public: TPMT_PUBLIC
    private: bytes
    parent: int = TPM_RH.OWNER
    empty_auth: bool = False
    description: str | None = None
    rsa_parent: bool = False
    kind: str = LOADABLE
    others: tuple[bytes, ...] = ()
    parent_name: bytes = b""
    backups: tuple[bytes, ...] = ()
    inner: TPMT_SYM_DEF_OBJECT = NO_CIPHER

    @classmethod
    def from_pem(cls, text: bytes | str) -> Self:
        """Read a PEM file; KeyFileError if it holds no key that makes sense."""
        data = text.encode("utf-8", "replace") if isinstance(text, str) else text
        try:
            der = base64.b64decode(_framed(data), validate=True)
        except binascii.Error:
            raise KeyFileError(f"the {LABEL} is not base64") from None
        told = Preamble.read(data.partition(_BEGIN)[0])
        return cls.from_der(der).replace(**vars(told))

    @classmethod
    def from_der(cls, der: bytes) -> Self:
        """Read the DER form; KeyFileError if it holds no key that makes sense."""
        try:
            return cls._from_elements(_parted(der))
        except (ValueError, DecodeError) as error:
            raise KeyFileError(f"the {LABEL} is malformed: {error}") from None

    @classmethod
    def _from_elements(cls, elements: list[asn1.TLV]) -> Self:
        _check(elements)
        optional = sorted(elements[1:-3], key=_tag_order)
        found = {element.tag_bytes[0]: bytes(element.data) for element in optional}
        required = asn1.decode_der(_Required, _joined(elements[-3:]))
        known = (_EMPTY_AUTH, _DESCRIPTION, _RSA_PARENT)
        return cls(
            public=_Public.unpack(required.pubkey).value,
            private=_Private.unpack(required.privkey).value,
            parent=_handle(required.parent),
            empty_auth=_true(found.get(_EMPTY_AUTH)),
            description=asn1.decode_der(str, found[_DESCRIPTION])
            if _DESCRIPTION in found
            else None,
            rsa_parent=_true(found.get(_RSA_PARENT)),
            kind=_kind(elements[0]),
            others=tuple(asn1.encode_der(e) for e in optional if e.tag_bytes[0] not in known),
        )

    def to_der(self) -> bytes:
        """Write the DER form; EncodeError if a field is nothing that can stand there."""
        try:
            elements = self._to_elements()
            _check(elements)
            return _joined(elements)
        except EncodeError:
            raise
        except ValueError as error:
            raise EncodeError(str(error), "KeyFile") from None

    def _to_elements(self) -> list[asn1.TLV]:
        known = _Known(
            emptyAuth=self.empty_auth,
            description=self.description,
            rsaParent=True if self.rsa_parent else None,
        )
        others = [asn1.decode_der(asn1.TLV, other) for other in self.others]
        optional = _parted(asn1.encode_der(known)) + others
        required = _Required(
            parent=int.from_bytes(_Parent(value=self.parent).pack(), "big"),
            pubkey=_Public(value=self.public).pack(),
            privkey=_Private(value=self.private).pack(),
        )
        return [
            _kind_element(self.kind),
            *sorted(optional, key=_tag_order),
            *_parted(asn1.encode_der(required)),
        ]

    def to_pem(self) -> str:
        """Write the PEM form, in lines of 64.

        What the format has no element for stands before it, as text: see `preamble`.
        """
        body = base64.b64encode(self.to_der()).decode("ascii")
        lines = (body[start : start + 64] for start in range(0, len(body), 64))
        before = Preamble(self.parent_name, self.backups, self.inner).lines()
        return "\n".join(
            (*before, f"-----BEGIN {LABEL}-----", *lines, f"-----END {LABEL}-----", "")
        )

    def replace(self, **changes: Any) -> Self:
        """Make a copy with some fields changed."""
        return replace(self, **changes)

    @property
    def has_policy(self) -> bool:
        """Whether the file tells a policy that has to be met before the key can be used."""
        return any(other[0] == _POLICY for other in self.others)

    @property
    def policy(self) -> tuple[Body, ...]:
        """What has to hold before the key can be used; KeyFileError if it is malformed."""
        return _bodies(self._policies.policy or [])

    @property
    def auth_policy(self) -> tuple[Alternative, ...]:
        """What an authority has approved to hold instead; KeyFileError if it is malformed."""
        told = self._policies.authPolicy or []
        return tuple(Alternative(one.name, _bodies(one.policy)) for one in told)

    def with_policy(self, bodies: Sequence[Body], alternatives: Sequence[Alternative] = ()) -> Self:
        """Make a copy with another policy; others are kept."""
        told = _Policies(
            policy=_entries(bodies) if bodies else None,
            authPolicy=[_AuthPolicy(name=name, policy=_entries(b)) for name, b in alternatives]
            or None,
        )
        return self._with_others((_POLICY, _AUTH_POLICY), told)

    @property
    def secret(self) -> bytes:
        """What tells the parent the seed of an importable key's wrapper; empty if nothing does.

        KeyFileError if it is malformed.
        """
        told = [asn1.decode_der(asn1.TLV, other) for other in self.others if other[0] == _SECRET]
        try:
            octets = asn1.decode_der(_Secret, _joined(told)).secret
            return b"" if octets is None else _EncryptedSecret.unpack(octets).value
        except (ValueError, DecodeError):
            raise KeyFileError(f"the secret in the {LABEL} is malformed") from None

    def with_secret(self, secret: bytes) -> Self:
        """Make a copy with another secret, or none."""
        told = _Secret(secret=_EncryptedSecret(value=secret).pack() if secret else None)
        return self._with_others((_SECRET,), told)

    def _with_others(self, tags: Sequence[int], told: object) -> Self:
        others = [other for other in self.others if other[0] not in tags]
        written = (asn1.encode_der(element) for element in _parted(asn1.encode_der(told)))
        return self.replace(others=tuple(sorted((*others, *written), key=_der_order)))

    @property
    def _policies(self) -> _Policies:
        wanted = (other for other in self.others if other[0] in (_POLICY, _AUTH_POLICY))
        try:
            return asn1.decode_der(
                _Policies, _joined([asn1.decode_der(asn1.TLV, w) for w in wanted])
            )
        except ValueError as error:
            raise KeyFileError(f"the policy in the {LABEL} is malformed: {error}") from None


def _framed(data: bytes) -> bytes:
    """Find what stands between the lines that frame a key; KeyFileError if nothing does."""
    lines = [line.rstrip() for line in data.splitlines()]
    try:
        begin = lines.index(_BEGIN) + 1
        end = lines.index(_END, begin)
    except ValueError:
        raise KeyFileError(f"no {LABEL} in it") from None
    return b"".join(b"".join(lines[begin:end]).split())


def _check(elements: list[asn1.TLV]) -> None:
    """Check that there are the elements of a TPMKey, each of them once; ValueError if not."""
    tags = [element.tag_bytes[0] for element in elements]
    wanted = [_OID, *tags[1:-3], _INTEGER, _OCTET_STRING, _OCTET_STRING]
    if tags != wanted or any(tag >> 5 != 0b101 for tag in tags[1:-3]):
        raise ValueError("its elements are not those of a TPMKey")
    if len({element.tag_bytes for element in elements[1:-3]}) != len(elements) - 4:
        raise ValueError("an element stands in it twice")


def _tag_order(element: asn1.TLV) -> tuple[int, bytes]:
    return len(element.tag_bytes), element.tag_bytes


def _parted(der: bytes) -> list[asn1.TLV]:
    """Part a SEQUENCE of whatever into its elements."""
    outer = _One(value=asn1.decode_der(asn1.TLV, der))
    return asn1.decode_der(_Series, asn1.encode_der(outer)).elements


def _joined(elements: list[asn1.TLV]) -> bytes:
    """Make a SEQUENCE of the elements."""
    wrapped = asn1.encode_der(_Series(elements=elements))
    return asn1.encode_der(asn1.decode_der(_One, wrapped).value)


def _der_order(der: bytes) -> tuple[int, bytes]:
    return _tag_order(asn1.decode_der(asn1.TLV, der))


def _bodies(entries: list[_Policy]) -> tuple[Body, ...]:
    return tuple(Body(entry.commandCode, entry.commandPolicy) for entry in entries)


def _entries(bodies: Sequence[Body]) -> list[_Policy]:
    return [_Policy(commandCode=body.code, commandPolicy=body.octets) for body in bodies]


def _kind(element: asn1.TLV) -> str:
    """Read the kind of a key."""
    der = asn1.encode_der(element)
    known = next((kind for kind, octets in _KINDS.items() if octets == der), None)
    return known or asn1.decode_der(_object_identifier(), der).dotted_string


def _kind_element(kind: str) -> asn1.TLV:
    der = _KINDS.get(kind) or asn1.encode_der(_object_identifier()(kind))
    return asn1.decode_der(asn1.TLV, der)


def _object_identifier() -> Any:
    # Imported only for kinds that are not known here: it takes as long as a key is made.
    from cryptography.x509 import ObjectIdentifier

    return ObjectIdentifier


def _handle(number: int) -> int:
    # Some programs write 0x81000001 without the zero octet that keeps it positive.
    if -0x80000000 <= number < 0:
        number += 0x100000000
    if not 0 <= number <= 0xFFFFFFFF:
        raise ValueError("its parent is not a handle")
    return number


def _true(der: bytes | None) -> bool:
    # Not decoded as a BOOLEAN, because DER knows one TRUE only and files have others.
    if der is None:
        return False
    value = asn1.decode_der(asn1.TLV, der)
    if value.tag_bytes[0] != _BOOLEAN or len(value.data) != 1:
        raise ValueError("a BOOLEAN of it is none")
    return value.data[0] != 0
