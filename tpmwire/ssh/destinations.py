"""Which servers a key may be used for, and through which others.  [PROTOCOL.agent, 2]

Each constraint permits one hop, from a server or from here (the origin) to a server.
"""

from dataclasses import dataclass

from tpmwire.errors import DecodeError, Error
from tpmwire.ssh.bindings import Bindings
from tpmwire.ssh.certificates import Certificate, read_public
from tpmwire.ssh.patterns import matches
from tpmwire.ssh.publickeys import PublicKey
from tpmwire.ssh.purposes import Login, Purpose
from tpmwire.ssh.wire import BOOLEAN, REST, STRING
from tpmwire.structure import Structure

MAX_DESTINATIONS = 1024
MAX_USER = 256


class DestinationError(Error):
    """A key may not be used for this."""


class Element(Structure):
    """One of several constraints, as they stand in the message."""

    contents: STRING


class Permission(Structure):
    """A hop that is permitted."""

    origin: STRING
    target: STRING
    reserved: STRING


class End(Structure):
    """One end of a hop: a server and its keys, and perhaps a user."""

    user: STRING
    host: STRING
    reserved: STRING
    keys: REST


class EndKey(Structure):
    """A key of a server, or of an authority that certifies such."""

    blob: STRING
    is_authority: BOOLEAN


@dataclass(frozen=True)
class Place:
    """A server, known by its keys; or, without any, the origin."""

    user: bytes
    host: bytes
    keys: frozenset[bytes]
    authorities: frozenset[bytes]

    @property
    def is_origin(self) -> bool:
        """Whether this is where the agent runs."""
        return not self.host

    def has(self, host_key: PublicKey | Certificate) -> bool:
        """Tell whether a key that a server has proven is one of this place."""
        if isinstance(host_key, PublicKey):
            return host_key.blob in self.keys
        return host_key.authority.blob in self.authorities and host_key.stands_for_host(self.host)


@dataclass(frozen=True)
class Destination:
    """A hop that is permitted, for some user there or for any."""

    origin: Place
    target: Place

    def permits(
        self,
        origin: PublicKey | Certificate | None,
        target: PublicKey | Certificate | None,
        user: bytes | None,
    ) -> bool:
        """Tell whether one may go from `origin` to `target` as `user`; None means from here, to
        anywhere, as anybody.
        """
        return (
            (self.origin.is_origin if origin is None else self.origin.has(origin))
            and (target is None or self.target.has(target))
            and (user is None or not self.target.user or matches(user, self.target.user))
        )


def read_destinations(octets: bytes) -> tuple[Destination, ...]:
    """Read all constraints of a key; DecodeError or SignatureError if there is one that is odd."""
    elements = Element.unpack_series(octets)
    if not 0 < len(elements) <= MAX_DESTINATIONS:
        raise DecodeError(f"{len(elements)} destinations")
    return tuple(_read(Permission.unpack(element.contents)) for element in elements)


def permitted(
    destinations: tuple[Destination, ...], bindings: Bindings, user: bytes | None = None
) -> bool:
    """Tell whether a key may be seen, or, given a `user`, be used to log in as them.

    As OpenSSH's agent decides: each hop that the connection has made must be permitted, and to be
    seen where it was forwarded to, the key has to be of use beyond.
    """
    if not destinations:
        return True
    return (
        not bindings.broken
        and _all_permitted(destinations, bindings, user)
        and _of_use(destinations, bindings, user)
    )


def check_login(
    destinations: tuple[Destination, ...], bindings: Bindings, purpose: Purpose | None
) -> None:
    """Check that a key may sign for this purpose; DestinationError tells why not.

    A key without destinations may sign anything.  One that has some only lets somebody log in, in
    the session that the connection was bound to last.
    """
    if not destinations:
        return
    last = bindings.last
    if last is None or not isinstance(purpose, Login):
        raise DestinationError("the key is for some servers only, and this is for none that we see")
    if not permitted(destinations, bindings, purpose.user):
        raise DestinationError("the key is not for this server")
    if purpose.session_id != last.session_id:
        raise DestinationError("the login is in another session than the one bound last")
    if purpose.host_key is None and len(bindings) > 1:
        raise DestinationError("the login is forwarded, and not bound to a server")
    if purpose.host_key not in (None, last.host_key.blob):
        raise DestinationError("the login is bound to another server than the session")


def _all_permitted(
    destinations: tuple[Destination, ...], bindings: Bindings, user: bytes | None
) -> bool:
    here: PublicKey | Certificate | None = None
    for binding in bindings:
        # Who somebody is on the way there, nobody knows.
        at_end = user if binding is bindings.last else None
        if not any(d.permits(here, binding.host_key, at_end) for d in destinations):
            return False
        here = binding.host_key
    return True


def _of_use(destinations: tuple[Destination, ...], bindings: Bindings, user: bytes | None) -> bool:
    last = bindings.last
    if last is None or not last.forwarding:
        return True
    # Nobody logs in by a connection that was only forwarded.
    return user is None and any(d.permits(last.host_key, None, None) for d in destinations)


def _read(permission: Permission) -> Destination:
    origin, target = _place(permission.origin), _place(permission.target)
    if permission.reserved:
        raise DecodeError("a destination with something that is not known here")
    if origin.user or bool(origin.host) != bool(origin.keys | origin.authorities):
        raise DecodeError("a destination from a place that makes no sense")
    if not target.host or not (target.keys or target.authorities):
        raise DecodeError("a destination without a host or its keys")
    return Destination(origin, target)


def _place(octets: bytes) -> Place:
    end = End.unpack(octets)
    if end.reserved:
        raise DecodeError("a destination with something that is not known here")
    if len(end.user) > MAX_USER or b"\0" in end.user + end.host:
        raise DecodeError("a destination with an odd name")
    keys = EndKey.unpack_series(end.keys)
    for key in keys:
        read_public(key.blob)
    return Place(
        end.user,
        end.host,
        frozenset(key.blob for key in keys if not key.is_authority),
        frozenset(key.blob for key in keys if key.is_authority),
    )
