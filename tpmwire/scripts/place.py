"""Where a key goes: its files, what stands in the way, and what is told of them."""

import argparse
import importlib
import json
import os
from dataclasses import dataclass
from typing import Any, Self

from tpmwire.keyfile import KeyFile
from tpmwire.parents import parent_word
from tpmwire.scripts import console, files, prompts, storing
from tpmwire.scripts.console import UserError
from tpmwire.ssh.fingerprints import PublishedKey
from tpmwire.ssh.keys import fingerprint, public_blob, public_line

_ENDINGS = (".tpm", ".pem", ".key")


@dataclass(frozen=True)
class Place:
    """The files of a key: the private one, and the public one if it is to be written."""

    private: str
    public: str | None
    overwrite: bool = False

    @classmethod
    def choose(cls, base: str, blob: bytes | None = None, *, may_ask: bool = True) -> Self:
        """Choose the place, and ask about files that stand in the way; UserError if they stay.

        The public key `blob` may stand there if it is known yet, and stays as it is.
        """
        files.check_directory(base)
        private, public = storing.paths(base)
        known = blob is not None and storing.public_beside(base).blob == blob
        written = [private] if known else [private, public]
        return cls(private, None if known else public, may_write(written, may_ask=may_ask))

    def save(self, options: argparse.Namespace, key: KeyFile, comment: str) -> None:
        """Write the files, and tell of them."""
        made = PublishedKey(public_blob(key.public), comment)
        contents = [(self.private, key.to_pem(), 0o600)]
        if self.public:
            contents.append((self.public, public_line(made.blob, comment), 0o644))
        files.write_together(contents, overwrite=self.overwrite)
        if options.json:
            console.report(options.program, json.dumps(self._data(key, made)))
        elif not options.quiet:
            console.report(options.program, "\n".join(self._news(made)))

    def _news(self, made: PublishedKey) -> list[str]:
        news = [f"Your identification has been saved in {self.private}"]
        if self.public:
            news.append(f"Your public key has been saved in {self.public}")
        told = f"{fingerprint(made.blob)} {made.comment}".rstrip()
        return [*news, "The key fingerprint is:", told]

    def _data(self, key: KeyFile, made: PublishedKey) -> dict[str, Any]:
        return {
            "private": storing.shown(self.private),
            "public": storing.shown(self.public) if self.public else None,
            **made.data(),
            "parent": parent_word(key.parent),
            "parent_name": key.parent_name.hex(),
            "pin": not key.empty_auth,
            "policy": _policy(key) if key.has_policy else None,
            "backup_parents": [name.hex() for name in key.backups],
        }


def _policy(key: KeyFile) -> list[str]:
    # Imported only for keys that are bound: it takes a good part of the time to make one.
    told: list[str] = importlib.import_module("tpmwire.scripts.binding").told(key)
    return told


def may_write(paths: list[str], *, may_ask: bool = True) -> bool:
    """Ask about files that stand in the way; whether there are any, UserError if they stay."""
    there = [path for path in paths if os.path.lexists(path)]
    for path in there:
        if not os.path.isfile(path):
            raise UserError(f"{path} is there and is no ordinary file")
        if not may_ask:
            raise UserError(f"{path} is there already")
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
