#!/usr/bin/env python3
"""Load an SSH agent with many clients at once, verify all that it signs, and print figures as JSON.

    SSH_AUTH_SOCK=... tools/benchmarks/agent.py --clients 200 --signatures 10000

The first key is used, an ECDSA one on P-256.  All clients connect first, then sign at the same
time, one after the other each.  Beside them are rude clients that anybody can have: they ask and do
not read, or hang up in the middle of a request or of an answer.

`alone` is the median time of a signature for a single client before; `p99` is to be held against
`alone` times the number of clients, since a TPM does one thing at a time.  `memory` is that of the
process, in KiB of VmRSS, if --pid is given: after a first round with all clients, and in the end.
"""

import argparse
import base64
import contextlib
import json
import os
import socket
import statistics
import struct
import threading
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

LIST, SIGN, SIGNED = b"\x0b", b"\x0d", 14
PATIENCE = 600.0
RUDE = 3  # of each kind


def string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def strings(data: bytes) -> list[bytes]:
    found = []
    while data:
        (size,) = struct.unpack(">I", data[:4])
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


def connected(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    connection.connect(path)
    return connection


def ask(connection: socket.socket, request: bytes) -> bytes:
    connection.sendall(string(request))
    (size,) = struct.unpack(">I", read(connection, 4))
    return read(connection, size)


def read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise ConnectionError("the agent hung up")
        data += more
    return data


class Load:
    """The clients, what they want signed, and how that went."""

    def __init__(self, path: str) -> None:
        self.path = path
        with connected(path) as connection:
            self.blob = strings(ask(connection, LIST)[5:])[0]
        line = b" ".join((b"ecdsa-sha2-nistp256", base64.b64encode(self.blob)))
        self.key: Any = load_ssh_public_key(line)
        self.times: list[float] = []
        self.failures: list[str] = []

    def connected(self) -> socket.socket:
        return connected(self.path)

    def sign(self, connection: socket.socket) -> None:
        data = os.urandom(40)
        start = time.monotonic()
        answer = ask(connection, request(self.blob, data))
        self.times.append(time.monotonic() - start)
        if answer[0] != SIGNED:
            raise ConnectionError(f"answer {answer[:1].hex()}")
        (signature,) = strings(answer[1:])
        r, s = (int.from_bytes(number, "big") for number in strings(strings(signature)[1]))
        self.key.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))

    def run(self, clients: int, signatures: int) -> float:
        """Let clients sign so many times altogether; return the seconds that it took."""
        start = threading.Barrier(clients + 1)
        threads = [
            threading.Thread(target=self.client, args=(start, count))
            for count in shares(signatures, clients)
        ]
        for thread in threads:
            thread.start()
        start.wait(PATIENCE)
        began = time.monotonic()
        for thread in threads:
            thread.join()
        return time.monotonic() - began

    def client(self, start: threading.Barrier, count: int) -> None:
        with connected(self.path) as connection:
            start.wait(PATIENCE)
            for _ in range(count):
                try:
                    self.sign(connection)
                except Exception as error:
                    self.failures.append(f"{type(error).__name__}: {error}")
                    return

    @contextlib.contextmanager
    def rude(self):
        """Have rude clients around."""
        with contextlib.ExitStack() as stack:
            for _ in range(RUDE):
                self.lazy(stack.enter_context(connected(self.path)))
                with connected(self.path) as hasty:
                    hasty.sendall(string(request(self.blob, b"x" * 100))[:50])
                with connected(self.path) as impatient:
                    impatient.sendall(string(request(self.blob, b"x")))
            yield

    def lazy(self, connection: socket.socket) -> None:
        """Ask for lists until nothing more is taken, and never read one."""
        connection.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                connection.send(string(LIST) * 1000)


def request(blob: bytes, data: bytes) -> bytes:
    return SIGN + string(blob) + string(data) + bytes(4)


def shares(total: int, parts: int) -> list[int]:
    return [total // parts + (number < total % parts) for number in range(parts)]


def memory(pid: int | None) -> int | None:
    if pid is None:
        return None
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--signatures", type=int, default=10_000)
    parser.add_argument("--pid", type=int, help="the agent's process, for its memory")
    options = parser.parse_args()
    load = Load(os.environ["SSH_AUTH_SOCK"])
    load.run(1, 20)
    alone = statistics.median(load.times)
    load.run(options.clients, options.clients)
    load.times.clear()
    before = memory(options.pid)
    with load.rude():
        seconds = load.run(options.clients, options.signatures)
    after = memory(options.pid)
    figures = {
        "clients": options.clients,
        "signatures": len(load.times),
        "failures": load.failures[:5],
        "seconds": round(seconds, 2),
        "alone": round(alone, 5),
        "p50": round(statistics.median(load.times), 4),
        "p99": round(statistics.quantiles(load.times, n=100)[98], 4),
        "memory": [before, after],
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
