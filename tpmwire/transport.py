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
import grp
import os
import re
import signal
import socket
import stat
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
        self._fd = _open_device(path)

    def send(self, command: bytes) -> bytes:
        """Write the command, read the response."""
        if self._fd < 0:
            raise TransportError(errno.EBADF, f"{self.path}: the connection is closed")
        try:
            written = os.write(self._fd, command)
            if written != len(command):
                raise OSError(errno.EIO, f"{written} of {len(command)} octets written")
            return _whole(os.read(self._fd, MAX_RESPONSE))
        except OSError as error:
            self.close()
            raise _explained(error, self.path) from None
        except BaseException:
            self.close()
            raise

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
        except OSError as error:
            self.close()
            raise _explained(error, self.name) from None
        except BaseException:
            self.close()
            raise

    def _exchange(self, command: bytes) -> bytes:
        self._socket.sendall(command)
        response = self._socket.recv(_FIRST_READ)
        if len(response) < _HEADER_SIZE:
            response += _receive(self._socket, _HEADER_SIZE - len(response))
        size = _bounded(response[2:6])
        if len(response) < size:
            response += _receive(self._socket, size - len(response))
        return _whole(response)

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
                platform.sendall(request.to_bytes(4, "big"))
                if _receive(platform, 4) != bytes(4):
                    raise OSError(errno.EPROTO, "the simulator's platform port refused")
        except OSError as error:
            self.close()
            raise _explained(error, name) from None
        except BaseException:
            self.close()
            raise

    def _exchange(self, command: bytes) -> bytes:
        self._socket.sendall(struct.pack(">IBI", self._SEND_COMMAND, 0, len(command)) + command)
        size = _bounded(_receive(self._socket, 4))
        response = _receive(self._socket, size)
        if _receive(self._socket, 4) != bytes(4):
            raise OSError(errno.EPROTO, "the simulator reports a failure")
        return _whole(response)

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
    if not _nameable(conf):
        raise ConfError(f"{conf!r} has a character that can be in no name")
    kind, _, rest = conf.partition(":")
    if kind not in _PARSERS:
        raise ConfError(f"{kind!r} is no way to a TPM; known are {', '.join(_PARSERS)}")
    return _PARSERS[kind](rest)


class InterruptsHeld:
    """Hold back SIGINT, SIGTERM and SIGHUP while a command is under way in this thread.

    One of these can be used again, and within itself.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._before: list[set[int]] = []

    def __enter__(self) -> None:
        self._before.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, self._SIGNALS)
        except BaseException:
            # Python ran the handler of a signal from just before, after it had blocked them.
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before.pop())


def _nameable(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _parse_device(rest: str) -> Callable[[], Transport]:
    return lambda: DeviceTransport(rest or DEFAULT_DEVICE)


def _parse_swtpm(rest: str) -> Callable[[], Transport]:
    options = _options("swtpm", rest, ("path", "host", "port"))
    if path := options.get("path"):
        if len(options) > 1:
            raise ConfError("a swtpm conf string takes path=..., or host=... and port=...")
        return lambda: SocketTransport(_connect_unix(path), f"swtpm:path={path}")
    host, port = _address(options, 65535)
    return lambda: SocketTransport(_connect_tcp(host, port), f"swtpm:host={host},port={port}")


def _parse_mssim(rest: str) -> Callable[[], Transport]:
    host, port = _address(_options("mssim", rest, ("host", "port")), 65534)
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
    options: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if key not in known or not equals or not value:
            wanted = ", ".join(f"{name}=..." for name in known)
            raise ConfError(f"{part!r} means nothing in a {kind} conf string; it takes {wanted}")
        if key in options:
            raise ConfError(f"{part!r}: a {kind} conf string takes {key}=... once")
        options[key] = value
    return options


def _address(options: dict[str, str], highest: int) -> tuple[str, int]:
    text = options.get("port", "2321")
    if not re.fullmatch("[0-9]{1,5}", text) or not 0 < int(text) <= highest:
        raise ConfError(f"port={text} is no port; it takes a number from 1 to {highest}")
    return options.get("host", "localhost"), int(text)


def _open_device(path: str) -> int:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise TransportError(error.errno, _device_advice(path, error)) from None
    if not stat.S_ISCHR(os.fstat(fd).st_mode):
        # A command written to a file would destroy what is in it.
        os.close(fd)
        raise TransportError(errno.ENODEV, f"{path}: not a device")
    return fd


def _connect_unix(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(TIMEOUT)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise _explained(error, f"swtpm:path={path}") from None
    return connection


def _connect_tcp(host: str, port: int) -> socket.socket:
    try:
        connection = socket.create_connection((host, port), timeout=TIMEOUT)
    except (OSError, UnicodeError) as error:
        raise _explained(error, f"{host} port {port}") from None
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise OSError(errno.ECONNRESET, "the TPM hung up in the middle of a command")
        data += more
    return data


def _bounded(size_field: bytes) -> int:
    size = int.from_bytes(size_field, "big")
    if size > MAX_RESPONSE:
        raise OSError(errno.EPROTO, f"a response of {size} octets")
    return size


def _whole(response: bytes) -> bytes:
    size = int.from_bytes(response[2:6], "big")
    if len(response) < _HEADER_SIZE or len(response) != size:
        raise OSError(errno.EPROTO, f"a response of {len(response)} octets that claims {size}")
    return response


def _explained(error: OSError | UnicodeError, name: str) -> TransportError:
    """Say on the way to which TPM it happened, and what, where the system has no words for it."""
    number, words = getattr(error, "errno", None), getattr(error, "strerror", None)
    if isinstance(error, TimeoutError) and number is None:
        number, words = errno.ETIMEDOUT, f"no answer within {TIMEOUT:.0f} s"
    return TransportError(number or errno.EINVAL, f"{name}: {words or error}")


def _device_advice(path: str, error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{path}: permission denied; {_group_advice(path)}"
    if error.errno == errno.EBUSY:
        return f"{path}: in use by another program; /dev/tpmrm0 serves several at a time"
    if error.errno in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return (
            f"{path}: no TPM there; is it enabled in the firmware set-up? To try things out "
            "without one, 'embedded:' runs a TPM emulator (swtpm), with no hardware behind its keys"
        )
    return f"{path}: {error.strerror}"


def _group_advice(path: str) -> str:
    group = _group(path)
    if group == "root":
        return "the device is root's alone; the package tpm-udev makes it the group tss's"
    return f"it belongs to the group {group}: 'sudo usermod -aG {group} $USER', then log in again"


def _group(path: str) -> str:
    """Find the group of a device; what most systems give it to if that cannot be seen."""
    try:
        return grp.getgrgid(os.stat(path).st_gid).gr_name
    except (KeyError, OSError):
        return "tss"
