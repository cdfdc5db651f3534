"""Public keys as OpenSSH shows them: their fingerprints, in text and as a picture."""

import base64
import hashlib
import re
from typing import NamedTuple

from tpmwire.errors import DecodeError
from tpmwire.ssh.keys import EcdsaPublicKey, RsaPublicKey, fingerprint, key_type, public_line

HASHES = ("sha256", "md5")

_NAMES = {
    "ssh-ed25519": "ED25519",
    "sk-ssh-ed25519@openssh.com": "ED25519-SK",
    "sk-ecdsa-sha2-nistp256@openssh.com": "ECDSA-SK",
    "ecdsa-sha2-nistp256": "ECDSA",
    "ecdsa-sha2-nistp384": "ECDSA",
    "ecdsa-sha2-nistp521": "ECDSA",
    "ssh-rsa": "RSA",
}
_KEY = re.compile(
    rf"(?<!\S)(?P<kind>{'|'.join(map(re.escape, _NAMES))})[ \t]+(?P<blob>\S+)[ \t]*(?P<comment>.*)"
)
_CURVES = {b"nistp256": 256, b"nistp384": 384, b"nistp521": 521}

_WIDTH, _HEIGHT = 17, 9
_PAINT = " .o+=*BOX@%&#/^"
_START, _END = "S", "E"


class PublishedKey(NamedTuple):
    """A public key, as it stands in a .pub file."""

    blob: bytes
    comment: str = ""

    @classmethod
    def read(cls, line: str) -> "PublishedKey":
        """Read a line of a .pub or authorized_keys file; DecodeError if there is no key in it."""
        found = _KEY.search(line)
        while found:
            key = cls(_blob(found["blob"]), found["comment"].rstrip())
            if key_type(key.blob) == found["kind"] and key.bits:
                return key
            # It may have been a word in an option before the key.
            found = _KEY.search(line, found.start() + 1)
        raise DecodeError("no public key")

    @classmethod
    def of_file(cls, octets: bytes) -> "PublishedKey":
        """Read the first line of a .pub file; an empty key if there is none in it."""
        try:
            return cls.read(octets.decode("utf-8", "replace").partition("\n")[0])
        except DecodeError:
            return cls(b"")

    def comment_for(self, blob: bytes) -> str:
        """Tell the comment, if this is the key of `blob`."""
        return self.comment if self.blob == blob else ""

    @property
    def kind(self) -> str:
        """The kind of key, in OpenSSH's capitals."""
        return _NAMES[key_type(self.blob)]

    @property
    def bits(self) -> int:
        """The size of the key."""
        if self.kind == "RSA":
            return RsaPublicKey.unpack(self.blob).n.bit_length()
        if self.kind == "ECDSA":
            return _CURVES.get(EcdsaPublicKey.unpack(self.blob).curve, 0)
        return 256

    def fingerprint(self, hash_name: str = "sha256") -> str:
        """Compute the fingerprint, with the name of the hash before it."""
        if hash_name == "md5":
            return "MD5:" + self._digest(hash_name).hex(":")
        return fingerprint(self.blob)

    def data(self, hash_name: str = "sha256") -> dict[str, str | int]:
        """Tell the same as plain data, ready for JSON."""
        return {
            "type": self.kind,
            "bits": self.bits,
            "fingerprint": self.fingerprint(hash_name),
            "comment": self.comment,
            "public_key": public_line(self.blob, "").strip(),
        }

    def line(self, hash_name: str = "sha256") -> str:
        """Write the line that ssh-keygen -l does."""
        comment = self.comment or "no comment"
        return f"{self.bits} {self.fingerprint(hash_name)} {comment} ({self.kind})"

    def picture(self, hash_name: str = "sha256") -> str:
        """Draw the picture that ssh-keygen -lv does."""
        field = _walk(self._digest(hash_name))
        rows = (f"|{''.join(row)}|" for row in field)
        title = f"[{self.kind} {self.bits}]"
        title = title if len(title) < _WIDTH else f"[{self.kind}]"
        return "\n".join((_border(title), *rows, _border(f"[{hash_name.upper()}]")))

    def _digest(self, hash_name: str) -> bytes:
        return hashlib.new(hash_name, self.blob, usedforsecurity=False).digest()


def _blob(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:
        return b""


def _walk(digest: bytes) -> list[list[str]]:
    """Let the drunken bishop walk diagonally, two bits for a step, and note where he was."""
    visits = [[0] * _WIDTH for _ in range(_HEIGHT)]
    x, y = _WIDTH // 2, _HEIGHT // 2
    for octet in digest:
        for shift in range(0, 8, 2):
            step = octet >> shift
            x = min(max(x + (1 if step & 1 else -1), 0), _WIDTH - 1)
            y = min(max(y + (1 if step & 2 else -1), 0), _HEIGHT - 1)
            visits[y][x] += 1
    field = [[_PAINT[min(count, len(_PAINT) - 1)] for count in row] for row in visits]
    field[_HEIGHT // 2][_WIDTH // 2] = _START
    field[y][x] = _END
    return field


def _border(title: str) -> str:
    before = (_WIDTH - len(title)) // 2
    return f"+{'-' * before}{title}{'-' * (_WIDTH - before - len(title))}+"
