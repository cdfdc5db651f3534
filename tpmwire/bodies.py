"""The steps of policies as key files hold them, unread: a command code and octets for each.

`policy.bodies` tells what they say.
"""

from typing import NamedTuple


class Body(NamedTuple):
    """One step: the code of its command, and octets."""

    code: int
    octets: bytes = b""


class Alternative(NamedTuple):
    """A policy that an authority has approved."""

    name: str | None
    bodies: tuple[Body, ...]
