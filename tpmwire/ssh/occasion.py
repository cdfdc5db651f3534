"""Why a key is used: who asks, and what for."""

from collections.abc import Callable
from dataclasses import dataclass, field


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Peer:
    """The process at the other end of a connection; 0 where it is not known.

    `gone` tells whether it has hung up meanwhile, so that nobody is asked for it any more.
    """

    pid: int = 0
    uid: int = 0
    gone: Callable[[], bool] = field(default=_never, compare=False, repr=False)


@dataclass(frozen=True)
class Occasion:
    """One use of a key: the process that asks, and in words what for, if the request tells."""

    peer: Peer = Peer()
    purpose: str = ""


UNKNOWN = Occasion()
