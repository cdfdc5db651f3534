"""The lines of text before the PEM of a key file: what the format has no element for.

    Parent-Name: 000b...            the Name of the parent
    Backup-Parent: 000b...          a parent that the key may be duplicated to; one line for each
    Inner-Wrapper: AES-128-CFB      what is wrapped has an inner wrapper, too

Every reader passes over such lines [RFC 7468, 2], while half of them refuse an element that they do
not know.  None of the lines has to be believed: another Name of the parent makes the TPM refuse the
key, other backup parents do not have the digest that is the key's policy, and what has another
wrapper than is told does not open.
"""

from dataclasses import dataclass
from typing import Self

from tpmwire.constants import TPM_ALG
from tpmwire.errors import EncodeError, KeyFileError
from tpmwire.templates import NO_CIPHER
from tpmwire.types.algorithms import TPMT_SYM_DEF_OBJECT

_PARENT, _BACKUP, _INNER = "Parent-Name", "Backup-Parent", "Inner-Wrapper"
_CIPHERS = {
    f"AES-{bits}-CFB": TPMT_SYM_DEF_OBJECT(algorithm=TPM_ALG.AES, keyBits=bits, mode=TPM_ALG.CFB)
    for bits in (128, 192, 256)
}


@dataclass(frozen=True)
class Preamble:
    """What stands before a key."""

    parent_name: bytes = b""
    backups: tuple[bytes, ...] = ()
    inner: TPMT_SYM_DEF_OBJECT = NO_CIPHER

    @classmethod
    def read(cls, text: bytes) -> Self:
        """Read the lines, passing over others; KeyFileError if one of ours makes no sense."""
        lines = [line.partition(b":") for line in text.splitlines()]
        told = [(label, value.decode("ascii", "replace").strip()) for label, _, value in lines]

        def named(wanted: str) -> list[str]:
            return [value for label, value in told if label == wanted.encode()]

        parents, ciphers = named(_PARENT), named(_INNER)
        return cls(
            _octets(_PARENT, parents[0]) if parents else b"",
            tuple(_octets(_BACKUP, value) for value in named(_BACKUP)),
            _cipher(ciphers[0]) if ciphers else NO_CIPHER,
        )

    def lines(self) -> list[str]:
        """Write the lines; EncodeError for a cipher that has no name here."""
        parent = [f"{_PARENT}: {self.parent_name.hex()}"] if self.parent_name else []
        backups = [f"{_BACKUP}: {name.hex()}" for name in self.backups]
        return [*parent, *backups, *self._inner()]

    def _inner(self) -> list[str]:
        if self.inner == NO_CIPHER:
            return []
        for word, cipher in _CIPHERS.items():
            if cipher == self.inner:
                return [f"{_INNER}: {word}"]
        raise EncodeError("an inner wrapper is of AES in CFB mode", "KeyFile.inner")


def _octets(label: str, value: str) -> bytes:
    try:
        return bytes.fromhex(value)
    except ValueError:
        raise KeyFileError(f"its {label} is not hexadecimal") from None


def _cipher(value: str) -> TPMT_SYM_DEF_OBJECT:
    try:
        return _CIPHERS[value]
    except KeyError:
        raise KeyFileError(f"its {_INNER} is of a kind that is not known here") from None
