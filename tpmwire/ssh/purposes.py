"""What is signed: what a request to sign tells of its purpose, and saying so in words.

Three kinds of data tell: a request to log in [RFC 4252, 7; PROTOCOL, 3.1], a certificate
[PROTOCOL.certkeys], and what is signed for anything else [PROTOCOL.sshsig].
"""

from dataclasses import dataclass

from tpmwire.errors import DecodeError
from tpmwire.ssh.bindings import Bindings
from tpmwire.ssh.certificates import HOST, SUFFIX, read_certificate, read_unsigned
from tpmwire.ssh.keys import fingerprint
from tpmwire.ssh.publickeys import SignatureError, algorithm_of
from tpmwire.ssh.wire import BOOLEAN, REST, STRING, UINT8
from tpmwire.structure import Structure

USERAUTH, SSHSIG, CERTIFICATE = "userauth", "sshsig", "certificate"
"""Names of the three, for who wants nothing else to be signed."""

USERAUTH_REQUEST = 50
PUBLICKEY, HOSTBOUND = b"publickey", b"publickey-hostbound-v00@openssh.com"
MAGIC = b"SSHSIG"
HASH_SIZES = {b"sha256": 32, b"sha512": 64}


class UserauthRequest(Structure):
    """What is signed to log in."""

    session_id: STRING
    message: UINT8
    user: STRING
    service: STRING
    method: STRING
    signed: BOOLEAN
    algorithm: STRING
    blob: STRING
    rest: REST


class HostKey(Structure):
    """What a login bound to a host has after it."""

    blob: STRING


class SignedData(Structure):
    """What is signed that is not a login, after the magic octets."""

    namespace: STRING
    reserved: STRING
    hash_algorithm: STRING
    hash: STRING


@dataclass(frozen=True)
class Login:
    """To log in as `user`, in a session, where the server may have been named by its key."""

    session_id: bytes
    user: bytes
    host_key: bytes | None
    kind = USERAUTH

    def words(self, bindings: Bindings) -> str:
        """Say where to, as far as the session or the request tells."""
        bound = [b for b in bindings if b.session_id == self.session_id]
        host_key = bound[0].host_key.blob if bound else self.host_key
        where = f"the server with key {fingerprint(host_key)}" if host_key else "an unknown server"
        return f"log in as {_shown(self.user)} at {where}"


@dataclass(frozen=True)
class Signature:
    """To sign something in a namespace: a file, a commit."""

    namespace: bytes
    kind = SSHSIG

    def words(self, bindings: Bindings) -> str:
        """Say what namespace it is."""
        return f"sign something in the namespace {_shown(self.namespace)}"


@dataclass(frozen=True)
class Certification:
    """To certify the key of a user or of a host, for these names."""

    of_host: bool
    principals: tuple[bytes, ...]
    kind = CERTIFICATE

    def words(self, bindings: Bindings) -> str:
        """Say whose key it is; only the first names, if there are many."""
        names = ", ".join(map(_shown, self.principals[:3])) or "any name"
        more = f" and {len(self.principals) - 3} more" if len(self.principals) > 3 else ""
        return f"certify the key of a {'host' if self.of_host else 'user'} for {names}{more}"


Purpose = Login | Signature | Certification


def read_purpose(data: bytes, blob: bytes) -> Purpose | None:
    """Find what data to be signed with the key of `blob` are for; None if they do not tell."""
    try:
        if data.startswith(MAGIC):
            return _signature(SignedData.unpack(data.removeprefix(MAGIC)))
        if algorithm_of(data).endswith(SUFFIX):
            return _certification(data, blob)
        return _login(UserauthRequest.unpack(data), blob)
    except (DecodeError, SignatureError):
        return None


def in_words(purpose: Purpose | None, bindings: Bindings) -> str:
    """Say what a signature is for, and through whom the request came if by a forwarded agent."""
    what = purpose.words(bindings) if purpose else "sign something unknown"
    servers = [fingerprint(binding.host_key.blob) for binding in bindings if binding.forwarding]
    return f"{what}, asked for from the server with key {servers[-1]}" if servers else what


def _login(request: UserauthRequest, blob: bytes) -> Login | None:
    told = (request.message, request.service, request.signed)
    if told != (USERAUTH_REQUEST, b"ssh-connection", True) or not request.session_id:
        return None
    if _key_type(request.algorithm) != algorithm_of(request.blob) or b"\0" in request.user:
        return None
    if blob not in (request.blob, _certified_key(request.blob)):
        return None
    if request.method == HOSTBOUND:
        host_key = HostKey.unpack(request.rest).blob
        return Login(request.session_id, request.user, host_key)
    if request.method != PUBLICKEY or request.rest:
        return None
    return Login(request.session_id, request.user, None)


def _certified_key(blob: bytes) -> bytes:
    """Tell what key a certificate is of; ssh has it sign for the certificate, if it is listed."""
    return read_certificate(blob).key.blob if algorithm_of(blob).endswith(SUFFIX) else blob


def _key_type(algorithm: bytes) -> bytes:
    """Tell what keys an algorithm is of: RSA has several for one kind of key."""
    plain = algorithm.removesuffix(SUFFIX)
    if plain in (b"rsa-sha2-256", b"rsa-sha2-512"):
        return b"ssh-rsa" + algorithm.removeprefix(plain)
    return algorithm


def _certification(data: bytes, blob: bytes) -> Certification | None:
    body, principals = read_unsigned(data)
    return Certification(body.kind == HOST, principals) if body.authority == blob else None


def _signature(data: SignedData) -> Signature | None:
    if not data.namespace or HASH_SIZES.get(data.hash_algorithm) != len(data.hash):
        return None
    return Signature(data.namespace)


def _shown(name: bytes) -> str:
    """Show a name that anybody may have chosen: nothing in it moves a cursor or begins a line."""
    text = name.decode("utf-8", "backslashreplace")
    shown = (c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return f"“{''.join(shown)}”"
