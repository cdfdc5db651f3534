"""Constraints: how a key that is added may be used.  [RFC 9987, 5.2.7]

What is not understood, or stands there twice, makes the whole request fail: a key must never be
less constrained than who adds it believes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

from tpmwire.errors import DecodeError
from tpmwire.ssh.certificates import Certificate, read_public
from tpmwire.ssh.destinations import Destination, Element, read_destinations
from tpmwire.ssh.wire import BOOLEAN, STRING, UINT8, UINT32
from tpmwire.structure import Structure, by, union

LIFETIME, CONFIRM, EXTENSION = 1, 2, 255
RESTRICT_DESTINATION = b"restrict-destination-v00@openssh.com"
ASSOCIATED_CERTS = b"associated-certs-v00@openssh.com"

MAX_CERTIFICATES = 1024


class Lifetime(Structure):
    """The key is forgotten after so many seconds."""

    seconds: UINT32


class RestrictDestination(Structure):
    """The key is for some servers only."""

    destinations: STRING


class AssociatedCerts(Structure):
    """Certificates of keys that have none with them; perhaps only these are wanted."""

    only: BOOLEAN
    certificates: STRING


class Restriction(Structure):
    """A constraint of OpenSSH's."""

    name: STRING
    details: Annotated[
        RestrictDestination | AssociatedCerts,
        union({RESTRICT_DESTINATION: RestrictDestination, ASSOCIATED_CERTS: AssociatedCerts}),
    ] = by("name")


class Constraint(Structure):
    """One constraint of several."""

    kind: UINT8
    details: Annotated[
        Lifetime | Restriction | None,
        union({LIFETIME: Lifetime, CONFIRM: None, EXTENSION: Restriction}),
    ] = by("kind", default=None)


@dataclass(frozen=True)
class Constraints:
    """How a key may be used, and what was said of it besides."""

    lifetime: int | None = None
    confirm: bool = False
    destinations: tuple[Destination, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    certificates_only: bool = False


NONE = Constraints()


def read_constraints(octets: bytes, *, of_token: bool = False) -> Constraints:
    """Read the constraints at the end of a request; an Error if there is one not understood.

    Certificates may only come with a token, `of_token`.
    """
    constraints, seen = NONE, set[int | bytes]()
    for constraint in Constraint.unpack_series(octets):
        what = _kind(constraint)
        if what in seen:
            raise DecodeError("a constraint stands there twice")
        if what == ASSOCIATED_CERTS and not of_token:
            raise DecodeError("certificates where they do not belong")
        seen.add(what)
        constraints = replace(constraints, **_said(constraint.details))
    return constraints


def _kind(constraint: Constraint) -> int | bytes:
    details = constraint.details
    return details.name if isinstance(details, Restriction) else constraint.kind


def _said(details: Lifetime | Restriction | None) -> dict[str, Any]:
    """Tell what a constraint says in the words of Constraints."""
    inner = details.details if isinstance(details, Restriction) else details
    match inner:
        case Lifetime():
            return {"lifetime": inner.seconds}
        case RestrictDestination():
            return {"destinations": read_destinations(inner.destinations)}
        case AssociatedCerts():
            found = tuple(_certificates(inner.certificates))
            return {"certificates": found, "certificates_only": inner.only}
    return {"confirm": True}


def _certificates(octets: bytes) -> Iterator[Certificate]:
    elements = Element.unpack_series(octets)
    if len(elements) > MAX_CERTIFICATES:
        raise DecodeError(f"{len(elements)} certificates")
    for element in elements:
        if isinstance(found := read_public(element.contents), Certificate):
            yield found
