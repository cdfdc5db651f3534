"""Ways to a TPM, named by the conf strings that tpm2-tss made known.

    device:/dev/tpmrm0          the kernel's resource manager: the default
    device:/dev/tpm0            the chip itself, for one program at a time
    swtpm:path=SOCK             an swtpm on a Unix socket
    swtpm:host=H,port=P         an swtpm on TCP
    mssim:host=H,port=P         the reference simulator: commands at P, power at P + 1
    embedded:dir=D              an swtpm of our own, as a private child: no hardware behind it
    pcap:FILE:CONF              any of these, and a recording of what is said, for Wireshark

A transport sends one whole command and brings one whole response: a single write, and for a device
a single read.  When anything goes wrong in between, the connection is closed, because what comes
next on it could be the answer to another command.
"""

import contextlib
import errno
import os
import signal
import socket
import struct
from collections.abc import Callable
from typing import Protocol

from tpmwire.errors import ConfError, TransportError

DEFAULT_DEVICE = "/dev/tpmrm0"
ENVIRONMENT = "TPMWIRE_TCTI"
MAX_RESPONSE = 0x10000
TIMEOUT = 300.0  # seconds; a chip may take minutes to make an RSA key

_HEADER_SIZE, _FIRST_READ = 10, 4096


class Transport(Protocol):
    """A way to a TPM."""

    keeps_objects: bool
    """Whether the TPM still holds what was loaded when the connection is closed."""

    def send(self, command: bytes) -> bytes:
        """Send a whole command and wait for the whole response; TransportError if that fails."""

    def close(self) -> None:
        """Close the connection.  A second time does nothing."""


class DeviceTransport:
    """A character device of the kernel.

    The read blocks: the kernel itself bounds the time that each command may take, by the durations
    that the TPM reports, and then answers with ETIME.
    """

    def __init__(self, path: str = DEFAULT_DEVICE) -> None:
        self.path = path
        self.keeps_objects = "tpmrm" not in os.path.basename(path)
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise TransportError(error.errno, _device_advice(path, error)) from None

    def send(self, command: bytes) -> bytes:
        """Write the command, read the response."""
        if self._fd < 0:
            raise TransportError(errno.EBADF, f"{self.path}: the connection is closed")
        try:
            written = os.write(self._fd, command)
            if written != len(command):
                raise OSError(errno.EIO, f"{written} of {len(command)} octets written")
            response = os.read(self._fd, MAX_RESPONSE)
        except OSError as error:
            self.close()
            raise TransportError(error.errno, f"{self.path}: {error.strerror}") from None
        except BaseException:
            self.close()
            raise
        return _whole(response, self)

    def close(self) -> None:
        """Close the device; the resource manager forgets what was loaded through it."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class SocketTransport:
    """A stream socket on which a swtpm listens: commands and responses without further framing."""

    keeps_objects = True

    def __init__(self, connection: socket.socket, name: str) -> None:
        self._socket, self.name = connection, name

    def send(self, command: bytes) -> bytes:
        """Send the command, receive the response by the size in its header."""
        if self._socket.fileno() < 0:
            raise TransportError(errno.EBADF, f"{self.name}: the connection is closed")
        try:
            return self._exchange(command)
        except TransportError:
            self.close()
            raise
        except TimeoutError:
            self.close()
            message = f"{self.name}: no answer from the TPM within {TIMEOUT:.0f} s"
            raise TransportError(errno.ETIMEDOUT, message) from None
        except OSError as error:
            self.close()
            raise TransportError(error.errno, f"{self.name}: {error.strerror}") from None
        except BaseException:
            self.close()
            raise

    def _exchange(self, command: bytes) -> bytes:
        self._socket.sendall(command)
        response = self._socket.recv(_FIRST_READ)
        if len(response) < _HEADER_SIZE:
            response += self._receive(_HEADER_SIZE - len(response))
        size = int.from_bytes(response[2:6], "big")
        if size > MAX_RESPONSE:
            raise TransportError(errno.EPROTO, f"{self.name}: a response of {size} octets")
        if len(response) < size:
            response += self._receive(size - len(response))
        return _whole(response, self)

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            if not more:
                message = f"{self.name}: the TPM hung up in the middle of a command"
                raise TransportError(errno.ECONNRESET, message)
            data += more
        return data

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class MssimTransport(SocketTransport):
    """The protocol of the reference simulator: a second socket switches the power."""

    _POWER_ON, _SEND_COMMAND, _NV_ON, _SESSION_END = 1, 8, 11, 20

    def __init__(self, connection: socket.socket, platform: socket.socket, name: str) -> None:
        super().__init__(connection, name)
        self._platform = platform
        try:
            for request in (self._POWER_ON, self._NV_ON):
                self._platform.sendall(request.to_bytes(4, "big"))
                if self._platform.recv(4, socket.MSG_WAITALL) != bytes(4):
                    raise OSError(errno.EPROTO, "the simulator's platform port refused")
        except OSError as error:
            self.close()
            raise TransportError(error.errno, f"{name}: {error.strerror}") from None

    def _exchange(self, command: bytes) -> bytes:
        self._socket.sendall(struct.pack(">IBI", self._SEND_COMMAND, 0, len(command)) + command)
        size = int.from_bytes(self._receive(4), "big")
        if size > MAX_RESPONSE:
            raise TransportError(errno.EPROTO, f"{self.name}: a response of {size} octets")
        response = self._receive(size)
        if self._receive(4) != bytes(4):
            raise TransportError(errno.EPROTO, f"{self.name}: the simulator reports a failure")
        return _whole(response, self)

    def close(self) -> None:
        """Take leave of the simulator and close both sockets."""
        for connection in (self._socket, self._platform):
            with contextlib.suppress(OSError):
                connection.sendall(self._SESSION_END.to_bytes(4, "big"))
            connection.close()


def connect(conf: str | None = None) -> Transport:
    """Open the TPM that `conf` names, else the one of $TPMWIRE_TCTI, else the kernel's.

    Raises TransportError if there is none, or ConfError if the conf string makes no sense.
    """
    return parse_conf(conf or os.environ.get(ENVIRONMENT) or "device")()


def parse_conf(conf: str) -> Callable[[], Transport]:
    """Read a conf string, and return what opens the TPM; ConfError if it makes no sense."""
    kind, _, rest = conf.partition(":")
    if kind not in _PARSERS:
        raise ConfError(f"{kind!r} is no way to a TPM; known are {', '.join(_PARSERS)}")
    return _PARSERS[kind](rest)


class InterruptsHeld:
    """Hold back SIGINT, SIGTERM and SIGHUP while a command is under way in this thread."""

    _SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __enter__(self) -> None:
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, self._SIGNALS)

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)


def _parse_device(rest: str) -> Callable[[], Transport]:
    return lambda: DeviceTransport(rest or DEFAULT_DEVICE)


def _parse_swtpm(rest: str) -> Callable[[], Transport]:
    options = _options("swtpm", rest, ("path", "host", "port"))
    if path := options.get("path"):
        return lambda: SocketTransport(_connect_unix(path), f"swtpm:path={path}")
    host, port = _address(options)
    return lambda: SocketTransport(_connect_tcp(host, port), f"swtpm:host={host},port={port}")


def _parse_mssim(rest: str) -> Callable[[], Transport]:
    host, port = _address(_options("mssim", rest, ("host", "port")))
    return lambda: _open_mssim(host, port)


def _open_mssim(host: str, port: int) -> Transport:
    commands = _connect_tcp(host, port)
    try:
        platform = _connect_tcp(host, port + 1)
    except TransportError:
        commands.close()
        raise
    return MssimTransport(commands, platform, f"mssim:host={host},port={port}")


def _parse_embedded(rest: str) -> Callable[[], Transport]:
    directory = _options("embedded", rest, ("dir",)).get("dir")
    return lambda: _open_embedded(directory)


def _open_embedded(directory: str | None) -> Transport:
    from tpmwire.embedded import EmbeddedTransport

    return EmbeddedTransport(directory)


def _parse_pcap(rest: str) -> Callable[[], Transport]:
    from tpmwire.recording import parse_recording

    return parse_recording(rest)


_PARSERS: dict[str, Callable[[str], Callable[[], Transport]]] = {
    "device": _parse_device,
    "swtpm": _parse_swtpm,
    "mssim": _parse_mssim,
    "embedded": _parse_embedded,
    "pcap": _parse_pcap,
}


def _options(kind: str, text: str, known: tuple[str, ...]) -> dict[str, str]:
    options = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if key not in known or not equals or not value:
            wanted = ", ".join(f"{name}=..." for name in known)
            raise ConfError(f"{part!r} means nothing in a {kind} conf string; it takes {wanted}")
        options[key] = value
    return options


def _address(options: dict[str, str]) -> tuple[str, int]:
    text = options.get("port", "2321")
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ConfError(f"{text!r} is no port")
    return options.get("host", "localhost"), int(text)


def _connect_unix(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(TIMEOUT)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise TransportError(error.errno, f"{path}: {error.strerror or error}") from None
    return connection


def _connect_tcp(host: str, port: int) -> socket.socket:
    try:
        connection = socket.create_connection((host, port), timeout=TIMEOUT)
    except OSError as error:
        message = f"{host} port {port}: {error.strerror or error}"
        raise TransportError(error.errno, message) from None
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _whole(response: bytes, transport: Transport) -> bytes:
    size = int.from_bytes(response[2:6], "big")
    if len(response) < _HEADER_SIZE or len(response) != size:
        transport.close()
        message = f"a response of {len(response)} octets that claims {size}"
        raise TransportError(errno.EPROTO, message)
    return response


def _device_advice(path: str, error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{path}: permission denied; the device belongs to the group tss: "
            "'sudo usermod -aG tss $USER', then log in again"
        )
    if error.errno == errno.EBUSY:
        return f"{path}: in use by another program; /dev/tpmrm0 serves several at a time"
    if error.errno in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return (
            f"{path}: no TPM there; is it enabled in the firmware set-up? To try things out "
            "without one, 'embedded:' runs a TPM emulator (swtpm), with no hardware behind its keys"
        )
    return f"{path}: {error.strerror}"
