"""The socket that systemd hands to a service that it starts when the first client comes.

[sd_listen_fds(3)]
"""

import os
import socket

from tpmwire.ssh.server import AgentSocketError

_FIRST = 3
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def inherited() -> socket.socket | None:
    """Take over the listening socket that we were started with; None if there is none.

    What we start ourselves does not inherit it, nor the variables that tell of it.  Raises
    AgentSocketError if what was handed over is something else.
    """
    told = {name: os.environ.pop(name, "") for name in _VARIABLES}
    if told["LISTEN_PID"] != str(os.getpid()):
        return None
    if told["LISTEN_FDS"] != "1":
        raise AgentSocketError(0, f"LISTEN_FDS is {told['LISTEN_FDS']!r}, but one socket is wanted")
    try:
        listener = socket.socket(fileno=_FIRST)
    except OSError as error:
        raise AgentSocketError(error.errno, f"descriptor {_FIRST}: {error.strerror}") from None
    if not _listens(listener):
        listener.close()
        raise AgentSocketError(0, f"descriptor {_FIRST} is no Unix socket that listens")
    listener.set_inheritable(False)
    listener.setblocking(True)
    return listener


def _listens(listener: socket.socket) -> bool:
    return (
        listener.family == socket.AF_UNIX
        and listener.type == socket.SOCK_STREAM
        and listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    )
