"""Why a key is used: who asks, and what for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """The process at the other end of a connection; 0 where it is not known."""

    pid: int = 0
    uid: int = 0


@dataclass(frozen=True)
class Occasion:
    """One use of a key: the process that asks, and in words what for, if the request tells."""

    peer: Peer = Peer()
    purpose: str = ""


UNKNOWN = Occasion()
