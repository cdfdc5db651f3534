"""Telling of each use of a key: in the log, and on the desktop if that is wanted."""

import html
import logging
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence

from tpmwire.scripts.journal import fields
from tpmwire.scripts.requester import describe, harmless, short_name
from tpmwire.ssh.keyring import Key
from tpmwire.ssh.occasion import Occasion
from tpmwire.ssh.persistent import PersistentKey
from tpmwire.ssh.tpmkey import TpmKey

log = logging.getLogger(__name__)

Tell = Callable[[Key, Occasion], None]
"""Tells somebody that a key was used; it never waits, and never fails."""

_PATIENCE = 10.0  # seconds for notify-send
_AT_A_TIME = threading.BoundedSemaphore(4)
_LONGEST = 200  # characters of a line


class Reported:
    """A key in a TPM, of whose uses somebody is told."""

    def __init__(self, key: TpmKey | PersistentKey, tell: Sequence[Tell] = ()) -> None:
        self._key, self._tell = key, tell
        self.blob, self.comment, self.certificates = key.blob, key.comment, key.certificates

    def sign(self, data: bytes, flags: int, occasion: Occasion) -> bytes:
        """Sign, and tell of it; nobody is told of what has failed."""
        signature = self._key.sign(data, flags, occasion)
        for tell in self._tell:
            tell(self._key, occasion)
        return signature

    def give(self, pin: bytes) -> None:
        """Let a PIN be kept for good that may be wrong."""
        self._key.pins.give(pin)

    def prove(self, pin: bytes) -> None:
        """Let a PIN be tried out, and kept for good; an Error if it is wrong."""
        self._key.prove(pin)


def write_to_log(key: Key, occasion: Occasion) -> None:
    """Log the use, without the requester's arguments, in which there may be secrets."""
    known = {"key": key.comment, "pid": occasion.peer.pid, "program": short_name(occasion.peer)}
    log.info("signed", extra=fields(**known, purpose=occasion.purpose))


def notify(key: Key, occasion: Occasion) -> None:
    """Show the use on the desktop, in a thread of its own; nothing happens without notify-send."""
    if _AT_A_TIME.acquire(blocking=False):
        try:
            # Who asked is still there now, waiting for the answer.
            message = _message(key, occasion)
            threading.Thread(target=_notify, args=(message,), daemon=True).start()
        except RuntimeError:  # the system has no room for another thread
            _AT_A_TIME.release()


def _notify(message: Sequence[str]) -> None:
    try:
        program = shutil.which("notify-send")
        if program:
            command = [program, "--app-name=tpmwire-agent", "--", *message]
            null = subprocess.DEVNULL
            subprocess.run(
                command, stdin=null, stdout=null, stderr=null, timeout=_PATIENCE, check=False
            )
    except (OSError, subprocess.SubprocessError) as error:
        log.info("notify-send: %s", error)
    finally:
        _AT_A_TIME.release()


def _message(key: Key, occasion: Occasion) -> tuple[str, str]:
    """Write a summary and a body, in which the desktop may read markup."""
    lines = [f"by {describe(occasion.peer)}", *filter(None, [occasion.purpose])]
    body = "\n".join(html.escape(harmless(line, _LONGEST)) for line in lines)
    return f"TPM key {harmless(key.comment, _LONGEST)} was used", body
