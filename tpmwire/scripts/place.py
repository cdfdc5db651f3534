"""Where a key that is brought in goes: its files, and what stands in the way."""

import argparse
import os
from dataclasses import dataclass
from typing import Self

from tpmwire.keyfile import KeyFile
from tpmwire.scripts import console, files, outside, prompts
from tpmwire.scripts.console import UserError
from tpmwire.ssh.keys import fingerprint, public_blob, public_line

PROGRAM = "tpmwire-keygen"

_ENDINGS = (".tpm", ".pem", ".key")


@dataclass(frozen=True)
class Place:
    """The files of a key: the private one, and the public one if it is to be written."""

    private: str
    public: str | None
    overwrite: bool

    @classmethod
    def choose(cls, options: argparse.Namespace, blob: bytes) -> Self:
        """Choose the place, and ask about files that stand in the way; UserError if they stay.

        The public key of the same key may stand there, and stays as it is.
        """
        base = options.file or stem(options.imported)
        files.check_directory(base)
        known = outside.beside(base).split()[:2] == public_line(blob, "").encode().split()
        private, public = f"{base}.tpm", None if known else f"{base}.pub"
        return cls(private, public, may_write([private, *filter(None, [public])]))

    def save(self, options: argparse.Namespace, keyfile: KeyFile, comment: str) -> None:
        """Write the files, and tell of them."""
        blob = public_blob(keyfile.public)
        contents = [(self.private, keyfile.to_pem(), 0o600)]
        news = [f"Your identification has been saved in {self.private}"]
        if self.public:
            contents.append((self.public, public_line(blob, comment), 0o644))
            news.append(f"Your public key has been saved in {self.public}")
        files.write_together(contents, overwrite=self.overwrite)
        news += ["The key fingerprint is:", f"{fingerprint(blob)} {comment}".rstrip()]
        if not options.quiet:
            console.report(PROGRAM, "\n".join(news))


def may_write(paths: list[str]) -> bool:
    """Ask about files that stand in the way; whether there are any, UserError if they stay."""
    there = [path for path in paths if os.path.lexists(path)]
    for path in there:
        if not os.path.isfile(path):
            raise UserError(f"{path} is there and is no ordinary file")
        print(f"{path} already exists.")
    if there and not prompts.confirm("Overwrite (y/n)? "):
        raise UserError("nothing was changed")
    return bool(there)


def stem(path: str) -> str:
    """Take the ending of a key file away."""
    base, ending = os.path.splitext(path)
    return base if ending in _ENDINGS and os.path.basename(base) else path


def comment_for(options: argparse.Namespace, found: str) -> str:
    """Choose the comment: the one that was given, or else the one that was found."""
    return found if options.comment is None else str(options.comment)
