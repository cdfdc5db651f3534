"""Agents to talk with in octets, ours and OpenSSH's, and what is said to them, written by hand."""

import contextlib
import hashlib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from ssh_fixtures import need, string

from tpmwire.errors import Error
from tpmwire.ssh.agent import Agent
from tpmwire.ssh.locking import AgentLock
from tpmwire.ssh.occasion import UNKNOWN, Occasion, Peer
from tpmwire.ssh.server import listening, serve

FAILURE, SUCCESS, EXTENSION_FAILURE = b"\5", b"\6", b"\x1c"
LIST, REMOVE_ALL, REMOVE_ALL_SSH1 = b"\x0b", b"\x13", b"\x09"

Talk = Callable[[bytes], bytes]


class RefusedError(Error):
    """The key does not want to sign."""


class SoftwareKey:
    """An Ed25519 key; its signatures are always the same for the same data.  [RFC 8709]"""

    def __init__(self, seed: int, comment: str = "") -> None:
        self.private = Ed25519PrivateKey.from_private_bytes(seed.to_bytes(32, "big"))
        self.public = self.private.public_key().public_bytes_raw()
        self.blob = string(b"ssh-ed25519") + string(self.public)
        self.comment = comment or f"key {seed}"
        self.certificates: tuple[bytes, ...] = ()
        self.occasions: list[Occasion] = []

    def sign(self, data: bytes, flags: int, occasion: Occasion = UNKNOWN) -> bytes:
        self.occasions.append(occasion)
        if flags:
            raise RefusedError(f"flags {flags}")
        return string(b"ssh-ed25519") + string(self.private.sign(data))

    @property
    def listed(self) -> bytes:
        return string(self.blob) + string(self.comment.encode())

    @property
    def as_software(self) -> bytes:
        """What ssh-add sends to add the key.  [RFC 9987, 5.2.1]"""
        private = self.private.private_bytes_raw() + self.public
        key = string(b"ssh-ed25519") + string(self.public) + string(private)
        return key + string(self.comment.encode())

    def asked_to_sign(self, data: bytes, flags: int = 0) -> bytes:
        return b"\x0d" + string(self.blob) + string(data) + flags.to_bytes(4, "big")

    def signature(self, data: bytes) -> bytes:
        return b"\x0e" + string(self.sign(data, 0))

    @property
    def removal(self) -> bytes:
        return b"\x12" + string(self.blob)


ADA, BOB = SoftwareKey(1, "Ada at home"), SoftwareKey(2, "Bøb")


def listing(*keys: SoftwareKey) -> bytes:
    return b"\x0c" + len(keys).to_bytes(4, "big") + b"".join(key.listed for key in keys)


# --- servers, and the authorities that certify them ---------------------------------------------


class Server:
    """The key of a server, or of an authority, and what it signs."""

    def __init__(self, private: object) -> None:
        self.private = private

    @property
    def name(self) -> bytes:
        if isinstance(self.private, Ed25519PrivateKey):
            return b"ssh-ed25519"
        if isinstance(self.private, rsa.RSAPrivateKey):
            return b"ssh-rsa"
        return b"ecdsa-sha2-nistp" + str(self.private.curve.key_size).encode()

    @property
    def fields(self) -> bytes:
        public = self.private.public_key()
        if isinstance(self.private, Ed25519PrivateKey):
            return string(public.public_bytes_raw())
        numbers = public.public_numbers()
        if isinstance(self.private, rsa.RSAPrivateKey):
            return mpint(numbers.e) + mpint(numbers.n)
        size = (public.curve.key_size + 7) // 8
        point = b"\4" + numbers.x.to_bytes(size, "big") + numbers.y.to_bytes(size, "big")
        return string(b"nistp" + str(public.curve.key_size).encode()) + string(point)

    @property
    def blob(self) -> bytes:
        return string(self.name) + self.fields

    def sign(self, data: bytes, rsa_name: bytes = b"rsa-sha2-512") -> bytes:
        if isinstance(self.private, Ed25519PrivateKey):
            return string(self.name) + string(self.private.sign(data))
        if isinstance(self.private, rsa.RSAPrivateKey):
            made = self.private.sign(data, padding.PKCS1v15(), RSA_HASHES[rsa_name]())
            return string(rsa_name) + string(made)
        made = self.private.sign(data, ec.ECDSA(EC_HASHES[self.private.curve.key_size]()))
        r, s = decode_dss_signature(made)
        return string(self.name) + string(mpint(r) + mpint(s))

    def certificate(
        self,
        authority: "Server",
        *principals: bytes,
        kind: int = 2,
        valid: tuple[int, int] = (0, 2**64 - 1),
        critical: bytes = b"",
        extensions: bytes = b"",
        suffix: bytes = b"-cert-v01@openssh.com",
    ) -> bytes:
        """Certify this server.  [PROTOCOL.certkeys]"""
        body = (
            string(self.name + suffix)
            + string(b"nonce")
            + self.fields
            + (7).to_bytes(8, "big")
            + kind.to_bytes(4, "big")
            + string(b"an id")
            + string(b"".join(map(string, principals)))
            + b"".join(moment.to_bytes(8, "big") for moment in valid)
            + string(critical)
            + string(extensions)
            + string(b"")
            + string(authority.blob)
        )
        return body + string(authority.sign(body))


class Authenticator(Server):
    """A key of FIDO.  [PROTOCOL.u2f]"""

    @property
    def name(self) -> bytes:
        return b"sk-" + super().name + b"@openssh.com"

    @property
    def fields(self) -> bytes:
        return super().fields + string(b"ssh:test")

    def sign(self, data: bytes, rsa_name: bytes = b"") -> bytes:
        told = b"\1" + (42).to_bytes(4, "big")
        hashed = (hashlib.sha256(octets).digest() for octets in (b"ssh:test", data))
        signed = told.join(hashed)
        inner = Server(self.private).sign(signed)
        size = int.from_bytes(inner[:4], "big")
        return string(self.name) + inner[4 + size :] + told


RSA_HASHES = {
    b"ssh-rsa": hashes.SHA1,
    b"rsa-sha2-256": hashes.SHA256,
    b"rsa-sha2-512": hashes.SHA512,
}
EC_HASHES = {256: hashes.SHA256, 384: hashes.SHA384, 521: hashes.SHA512}


def mpint(number: int) -> bytes:
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big"))


@cache
def server(seed: int) -> Server:
    return Server(Ed25519PrivateKey.from_private_bytes(seed.to_bytes(32, "little")))


@cache
def server_of(kind: str) -> Server:
    if kind.startswith("sk-"):
        return Authenticator(server_of(kind.removeprefix("sk-")).private)
    if kind == "rsa":
        return Server(rsa.generate_private_key(65537, 2048))
    if kind == "ed25519":
        return server(99)
    return Server(ec.generate_private_key(getattr(ec, f"SECP{kind}R1")()))


# --- requests -------------------------------------------------------------------------------------


def locking(passphrase: bytes) -> bytes:
    return b"\x16" + string(passphrase)


def unlocking(passphrase: bytes) -> bytes:
    return b"\x17" + string(passphrase)


def extension(name: bytes, contents: bytes = b"") -> bytes:
    return b"\x1b" + string(name) + contents


def binding(
    host: Server,
    session: bytes,
    *,
    forwarding: bool,
    certificate: bytes = b"",
    signature: bytes = b"",
) -> bytes:
    """Bind a connection to a session.  [PROTOCOL.agent, 1]"""
    contents = string(certificate or host.blob) + string(session)
    contents += string(signature or host.sign(session)) + bytes([forwarding])
    return extension(b"session-bind@openssh.com", contents)


def login(
    session: bytes,
    user: bytes,
    blob: bytes,
    host_key: bytes | None = None,
    *,
    algorithm: bytes = b"ssh-ed25519",
    service: bytes = b"ssh-connection",
    method: bytes | None = None,
    message: int = 50,
    signed: int = 1,
    rest: bytes = b"",
) -> bytes:
    """Write what is signed to log in.  [RFC 4252, 7]"""
    bound = b"publickey-hostbound-v00@openssh.com"
    method = method or (b"publickey" if host_key is None else bound)
    return (
        string(session)
        + bytes([message])
        + string(user)
        + string(service)
        + string(method)
        + bytes([signed])
        + string(algorithm)
        + string(blob)
        + (b"" if host_key is None else string(host_key))
        + rest
    )


def place(user: bytes = b"", host: bytes = b"", *keys: bytes, reserved: bytes = b"") -> bytes:
    return string(user) + string(host) + string(reserved) + b"".join(keys)


def plain(host: Server | bytes) -> bytes:
    return string(host if isinstance(host, bytes) else host.blob) + b"\0"


def authority(host: Server) -> bytes:
    return string(host.blob) + b"\1"


def hop(origin: bytes, target: bytes, reserved: bytes = b"") -> bytes:
    return string(string(origin) + string(target) + string(reserved))


def restriction(*hops: bytes) -> bytes:
    """Restrict the destinations of a key.  [PROTOCOL.agent, 2, and what ssh-add sends]"""
    return b"\xff" + string(b"restrict-destination-v00@openssh.com") + string(b"".join(hops))


def lifetime(seconds: int) -> bytes:
    return b"\x01" + seconds.to_bytes(4, "big")


CONFIRM = b"\x02"


def certificates(*blobs: bytes, only: bool = False) -> bytes:
    contents = bytes([only]) + string(b"".join(map(string, blobs)))
    return b"\xff" + string(b"associated-certs-v00@openssh.com") + contents


def token(number: int, name: bytes, pin: bytes = b"", constraints: bytes = b"") -> bytes:
    return bytes([number]) + string(name) + string(pin) + constraints


def sshsig(namespace: bytes, algorithm: bytes = b"sha512", size: int = 64) -> bytes:
    """Write what is signed by `ssh-keygen -Y sign`.  [PROTOCOL.sshsig]"""
    return b"SSHSIG" + string(namespace) + string(b"") + string(algorithm) + string(bytes(size))


# --- agents ---------------------------------------------------------------------------------------


class Ours:
    """Our agent, which loads the keys it is to have as if they were on a token."""

    def __init__(self, *, confirmed: bool = True) -> None:
        self._offered: dict[str, SoftwareKey] = {}
        lock = AgentLock(sleep=lambda seconds: None)
        confirm = lambda key, occasion: confirmed  # noqa: E731
        self.agent = Agent(load=self._load, confirm=confirm, lock=lock)

    def connect(self) -> Talk:
        return self.agent.conversation(Peer()).answer

    def add(self, key: SoftwareKey, constraints: bytes = b"") -> bytes:
        self._offered = {key.comment: key}
        name = key.comment.encode()
        return self.connect()(token(26, name, b"", constraints))

    def _load(self, name: str, pin: bytes) -> Iterable[SoftwareKey]:
        return [self._offered[name]]


class Theirs:
    """OpenSSH's agent, which is told keys in software."""

    def __init__(self, path: str, open_later: contextlib.ExitStack) -> None:
        self._path, self._stack = path, open_later

    def connect(self) -> Talk:
        connection = self._stack.enter_context(socket.socket(socket.AF_UNIX))
        connection.settimeout(60)
        connection.connect(self._path)
        return lambda request: exchange(connection, request)

    def add(self, key: SoftwareKey, constraints: bytes = b"") -> bytes:
        return self.connect()(b"\x19" + key.as_software + constraints)


def exchange(connection: socket.socket, request: bytes) -> bytes:
    connection.sendall(string(request))
    with connection.makefile("rb") as stream:
        return stream.read(int.from_bytes(stream.read(4), "big"))


@contextlib.contextmanager
def served(agent: Agent, path: str) -> Iterator[None]:
    """Serve our agent in a thread, at a socket."""

    def run() -> None:
        with contextlib.suppress(OSError):
            serve(listener, agent.conversation)

    with listening(path) as listener:
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextlib.contextmanager
def openssh_agent(directory: Path, *, confirmed: bool = True) -> Iterator[Theirs]:
    """Run OpenSSH's agent; whoever it asks to confirm something does so, or not."""
    need("ssh-agent")
    path = str(directory / "agent")
    askpass = directory / "askpass"
    askpass.write_text(f"#!/bin/sh\nexit {0 if confirmed else 1}\n")
    askpass.chmod(0o700)
    env = {"PATH": "/usr/bin:/bin", "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
    command = ["timeout", "60", "ssh-agent", "-d", "-a", path]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=env, **pipes)
    try:
        process.stdout.readline()
        with contextlib.ExitStack() as stack:
            yield Theirs(path, stack)
    finally:
        process.terminate()
        process.communicate()
