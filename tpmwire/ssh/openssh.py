"""What an OpenSSH private key file tells without its passphrase.  [OpenSSH, PROTOCOL.key]"""

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated

from tpmwire.errors import DecodeError, KeyFileError
from tpmwire.ssh.keys import key_type
from tpmwire.ssh.wire import SECRET_STRING, STRING, UINT32
from tpmwire.structure import Structure, secret
from tpmwire.wire import Rest

_BEGIN, _END = (f"-----{word} OPENSSH PRIVATE KEY-----".encode() for word in ("BEGIN", "END"))
_MAGIC = b"openssh-key-v1\0"

# How many fields stand between the name of the key type and the comment: those of the private key.
_FIELDS = {"ssh-rsa": 6, "ssh-ed25519": 2, "ssh-dss": 5}
_ECDSA_FIELDS = 3


class _File(Structure):
    cipher: STRING
    kdf: STRING
    options: STRING
    count: UINT32
    public: STRING
    private: SECRET_STRING
    rest: Annotated[bytes, Rest()]


class _Private(Structure):
    check: UINT32
    again: UINT32
    rest: Annotated[bytes, Rest()] = secret()


class _String(Structure):
    octets: SECRET_STRING
    rest: Annotated[bytes, Rest()] = secret()


@dataclass(frozen=True)
class Outside:
    """What can be read of a file: the type of its key, and the comment if that is not encrypted."""

    key_type: str
    encrypted: bool
    comment: bytes = b""


def look_at(data: bytes) -> Outside | None:
    """Look at a private key file from outside; None if it is in another format.

    Raises KeyFileError if it is damaged.
    """
    text = b"\n" + data.replace(b"\r\n", b"\n")
    _, begin, behind = text.partition(b"\n" + _BEGIN)
    if not begin:
        return None
    body, end, _ = behind.partition(_END)
    try:
        octets = base64.b64decode(b"".join(body.split()), validate=True)
        if not end or not octets.startswith(_MAGIC):
            raise DecodeError("it is of another version, or has no end")
        return _outside(_File.unpack(octets.removeprefix(_MAGIC)))
    except (binascii.Error, DecodeError):
        raise KeyFileError("the OPENSSH PRIVATE KEY is malformed") from None


def _outside(file: _File) -> Outside:
    kind, encrypted = key_type(file.public), file.cipher != b"none"
    return Outside(kind, encrypted, b"" if encrypted else _comment(kind, file.private))


def _comment(kind: str, octets: bytes) -> bytes:
    count = _ECDSA_FIELDS if kind.startswith("ecdsa-sha2-") else _FIELDS.get(kind)
    if count is None:
        return b""
    rest = _Private.unpack(octets).rest
    for _ in range(1 + count):
        rest = _String.unpack(rest).rest
    return _String.unpack(rest).octets
