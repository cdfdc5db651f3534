"""Somebody between a Tpm and its transport: who listens, changes, loses, or breaks off."""

import errno
import signal
from collections.abc import Callable

from tpmwire.constants import TPM_CC
from tpmwire.errors import DecodeError, TpmError, TransportError
from tpmwire.transport import Transport

Send = Callable[[bytes], bytes]
Meddle = Callable[[Send, bytes], bytes]


class Between:
    """A transport in which `meddle` has a hand in each exchange.

    `sent` is what came to it, `received` what was answered.
    """

    def __init__(self, inner: Transport, meddle: Meddle = lambda send, command: send(command)):
        self._inner, self._meddle = inner, meddle
        self.keeps_objects = inner.keeps_objects
        self.sent: list[bytes] = []
        self.received: list[bytes] = []

    def send(self, command: bytes) -> bytes:
        self.sent.append(command)
        self.received.append(self._meddle(self._inner.send, command))
        return self.received[-1]

    def close(self) -> None:
        self._inner.close()

    @property
    def codes(self) -> list[int]:
        return [int.from_bytes(command[6:10], "big") for command in self.sent]


def only_at(number: int, meddle: Meddle) -> Meddle:
    """Meddle with the exchange of this number, from 1, and with no other."""
    left = iter(range(1, number + 1))

    def meddle_once(send: Send, command: bytes) -> bytes:
        return meddle(send, command) if next(left, 0) == number else send(command)

    return meddle_once


def only_with(code: TPM_CC, meddle: Meddle) -> Meddle:
    """Meddle with the commands of one code."""
    octets = code.to_bytes(4, "big")
    return lambda send, command: (meddle if command[6:10] == octets else pass_on)(send, command)


def pass_on(send: Send, command: bytes) -> bytes:
    return send(command)


def refuse(send: Send, command: bytes) -> bytes:
    return bytes.fromhex("8001 0000000a 00000101")


def lose(send: Send, command: bytes) -> bytes:
    raise TransportError(errno.EIO, "lost")


def break_off(send: Send, command: bytes) -> bytes:
    raise KeyboardInterrupt


def interrupt_before(send: Send, command: bytes) -> bytes:
    signal.raise_signal(signal.SIGINT)
    return send(command)


def interrupt_after(send: Send, command: bytes) -> bytes:
    answer = send(command)
    signal.raise_signal(signal.SIGINT)
    return answer


def resized(answer: bytes) -> bytes:
    return answer[:2] + len(answer).to_bytes(4, "big") + answer[6:]


def shorten(send: Send, command: bytes) -> bytes:
    return resized(send(command)[:-1])


def lengthen(send: Send, command: bytes) -> bytes:
    return resized(send(command) + b"\0")


def change_tag(send: Send, command: bytes) -> bytes:
    answer = send(command)
    return (0x8001 ^ 0x8002 ^ int.from_bytes(answer[:2], "big")).to_bytes(2, "big") + answer[2:]


def invent_tag(send: Send, command: bytes) -> bytes:
    return b"\x12\x34" + send(command)[2:]


FAULTS: list[tuple[Meddle, type[BaseException]]] = [
    (refuse, TpmError),
    (lose, TransportError),
    (break_off, KeyboardInterrupt),
    (interrupt_before, KeyboardInterrupt),
    (interrupt_after, KeyboardInterrupt),
    (shorten, DecodeError),
    (lengthen, DecodeError),
    (change_tag, DecodeError),
    (invent_tag, DecodeError),
]
