"""A transport that records what is said to another one, in a file that Wireshark opens.

    pcap:FILE:CONF                  record what is said on the way CONF to a TPM
    pcap:FILE,secrets=yes:CONF      the same with passwords and keys in clear

Unless they are wanted, zeros stand in the place of secrets.  HMACs stay: whoever knows the nonces
in the same file can try PINs against one until it fits, so the file is its owner's alone.

Each packet is written whole, and at once.  If one cannot be, the recording ends with the one before
it; the TPM goes on being used, and closing tells.
"""

import errno
import os
import stat
import time
from collections.abc import Callable

from tpmwire.commands.base import HEADER
from tpmwire.errors import ConfError, TransportError
from tpmwire.masking import mask_command, mask_response
from tpmwire.traces.messages import Kind
from tpmwire.traces.packets import Conversation, section
from tpmwire.traces.pcapng import is_pcapng
from tpmwire.transport import Transport, parse_conf

_COMMENTS = {
    False: "zeros stand in the place of secrets",
    True: "passwords and keys are in clear",
}


def parse_recording(rest: str) -> Callable[[], Transport]:
    """Read what comes after `pcap:` in a conf string; ConfError if it makes no sense."""
    head, _, conf = rest.partition(":")
    path, _, option = head.partition(",")
    if not path or option not in ("", "secrets=no", "secrets=yes"):
        raise ConfError(f"{rest!r} is no FILE:CONF, or FILE,secrets=yes:CONF")
    connect = parse_conf(conf or "device")
    return lambda: _open(path, connect, secrets=option == "secrets=yes")


def _open(path: str, connect: Callable[[], Transport], *, secrets: bool) -> Transport:
    recording = Recording(path, secrets=secrets)
    try:
        return RecordingTransport(connect(), recording)
    except BaseException:
        recording.close()
        raise


class RecordingTransport:
    """Passes commands on, and writes them and their responses to a recording."""

    def __init__(self, transport: Transport, recording: "Recording") -> None:
        self._transport, self._recording = transport, recording
        self.keeps_objects = transport.keeps_objects

    def send(self, command: bytes) -> bytes:
        """Send the command and wait for the response; TransportError if that fails."""
        self._recording.command(command)
        response = self._transport.send(command)
        self._recording.response(response, command)
        return response

    def close(self) -> None:
        """Close both; TransportError if the recording has not everything."""
        try:
            self._transport.close()
        finally:
            self._recording.close()


class Recording:
    """A pcapng file that is made, or gone on with; TransportError if it cannot be."""

    def __init__(self, path: str, *, secrets: bool = False) -> None:
        self.path, self._secrets = path, secrets
        self._failure: OSError | None = None
        unique = os.urandom(4)
        self._conversation = Conversation(b"\x7f" + unique[:3], 0xC000 | unique[3])
        try:
            self._file = _open_for_appending(path)
        except OSError as error:
            raise TransportError(error.errno, f"{path}: {error.strerror}") from None
        if not self._write(section(_COMMENTS[secrets])):
            self.close()

    def command(self, command: bytes) -> None:
        """Record a command."""
        octets = command if self._secrets else mask_command(command)
        self._write(self._conversation.message(Kind.COMMAND, octets, _now()))

    def response(self, response: bytes, command: bytes) -> None:
        """Record the response to a command."""
        code = int.from_bytes(command[6 : HEADER.size], "big")
        octets = response if self._secrets else mask_response(response, code)
        self._write(self._conversation.message(Kind.RESPONSE, octets, _now()))

    def close(self) -> None:
        """Close the file; TransportError if something is missing in it."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
        failure, self._failure = self._failure, None
        if failure:
            message = f"{self.path}: the recording is not whole: {failure.strerror}"
            raise TransportError(failure.errno, message)

    def _write(self, blocks: bytes) -> bool:
        """Write blocks, all of them or none, unless that has failed before."""
        if self._failure or self._file < 0:
            return False
        try:
            written = os.write(self._file, blocks)
            if written < len(blocks):
                _take_back(self._file, written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._failure = error
        return self._failure is None


def _open_for_appending(path: str) -> int:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        status = os.fstat(file)
        if stat.S_ISREG(status.st_mode) and status.st_size and not _is_capture(path):
            raise OSError(errno.EEXIST, "it is there, and no pcapng file")
    except BaseException:
        os.close(file)
        raise
    return file


def _is_capture(path: str) -> bool:
    with open(path, "rb") as file:
        return is_pcapng(file.read(4))


def _take_back(file: int, written: int) -> None:
    """Cut off what was written of a block that there was no room for."""
    status = os.fstat(file)
    if stat.S_ISREG(status.st_mode):
        os.ftruncate(file, status.st_size - written)


def _now() -> int:
    return time.time_ns() // 1000
