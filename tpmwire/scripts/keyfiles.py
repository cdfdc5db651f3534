"""Key files on disk: reading them, and noticing when they change.

They are looked at whenever somebody asks the agent for something: a few calls of stat() cost less
than a thread that watches, and whoever asks is told of what is on the disk at that moment.
"""

import base64
import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from tpmwire.errors import Error
from tpmwire.keyfile import KeyFile
from tpmwire.scripts import console
from tpmwire.scripts.console import UserError
from tpmwire.ssh.fingerprints import PublishedKey
from tpmwire.ssh.keyring import Key
from tpmwire.ssh.keys import public_blob

ENDING = ".tpm"
_LARGEST = 65536  # octets of a file
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EIO)
_RECENT = 2_000_000_000  # nanoseconds in which a file may change again at the very same time

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Key)

Make = Callable[[KeyFile, str, Sequence[bytes]], K]
"""Makes a key of what is in a file, a comment, and certificates."""


class Contents(NamedTuple):
    """A key file, and what stands beside it in NAME.pub and NAME-cert.pub."""

    key: bytes
    public: bytes = b""
    certificate: bytes = b""

    @classmethod
    def read(cls, path: str) -> "Contents":
        """Read them; OSError if the key file cannot be read."""
        _, public, certificate = _names(path)
        return cls(_read(path), _read_if_there(public), _read_if_there(certificate))

    def made(self, path: str, make: Make[K]) -> K:
        """Make the key; UserError if the file is no key file, or not for us."""
        try:
            keyfile = KeyFile.from_pem(self.key)
            return make(keyfile, self.comment(path, keyfile), (*self.certificates(),))
        except Error as error:
            raise UserError(f"{path}: {error}") from None

    def comment(self, path: str, keyfile: KeyFile) -> str:
        """Find what to call a key: the comment in its .pub file, its description, or its path."""
        beside = PublishedKey.of_file(self.public).comment_for(public_blob(keyfile.public))
        return beside or keyfile.description or os.fsencode(path).decode("utf-8", "replace")

    def certificates(self) -> Iterator[bytes]:
        """Read the certificates, one a line."""
        for line in self.certificate.splitlines():
            with suppress(ValueError, IndexError):
                yield base64.b64decode(line.split()[1], validate=True)


class Changes(NamedTuple):
    """Keys that are not there any more, and keys that are new."""

    gone: list[Key]
    new: list[Key]


@dataclass
class _File:
    """What is known of a file: its version, unless it may just be changing; what was in it, or why
    that is not known; and its key, if it has one.
    """

    version: object = None
    contents: Contents | str = ""
    key: Key | None = None


class KeyFiles:
    """The key files that were named, and those of a directory; of several for one key the first.

    Those that were named have to be there at the beginning: else UserError or OSError.
    """

    def __init__(self, named: Iterable[str], directory: str | None, make: Make[Key]) -> None:
        self._directory, self._make = directory, make
        self._lock = threading.Lock()
        self._once, self._files = list[Key](), dict[str, _File]()
        self._named = [path for path in named if self._begin(path)]
        self._offered: dict[bytes, Key] = {}

    def _begin(self, path: str) -> bool:
        """Read a file that was named; tell whether it can be read again, unlike a pipe."""
        version, contents = _version(path), Contents.read(path)
        key = contents.made(path, self._make)
        if os.path.isfile(path):
            self._files[path] = _File(version, contents, key)
            return True
        self._once.append(key)
        return False

    def changes(self) -> Changes:
        """Tell what has changed since this was last asked; at first everything is new."""
        with self._lock:
            before = self._offered
            try:
                self._offered = self._look()
            except OSError as error:
                # The system lacks the means just now: what was known is good enough.
                log.warning("key files: %s", console.explain(error))
            now = self._offered
            return Changes(
                [key for blob, key in before.items() if now.get(blob) is not key],
                [key for blob, key in now.items() if before.get(blob) is not key],
            )

    def _look(self) -> dict[bytes, Key]:
        """Look at all files, and choose the first one of each key."""
        paths = [path for path in self._named if os.path.isfile(path)]
        paths += [] if self._directory is None else key_files_in(self._directory)
        for path in self._files.keys() - {*paths}:
            if self._files.pop(path).key is not None:
                log.warning("%s is gone, and its key with it", path)
        for path in paths:
            self._look_at(path, self._files.setdefault(path, _File()))
        offered: dict[bytes, Key] = {}
        for key in (*self._once, *(self._files[path].key for path in paths)):
            if key is not None:
                offered.setdefault(key.blob, key)
        return offered

    def _look_at(self, path: str, file: _File) -> None:
        version = _version(path)
        if version is not None and version == file.version:
            return
        contents = _contents(path)
        file.version = version
        if contents != file.contents:
            file.contents = contents
            file.key = self._made(path, contents)

    def _made(self, path: str, contents: Contents | str) -> Key | None:
        try:
            if isinstance(contents, str):
                raise UserError(f"{path}: {contents}")
            return contents.made(path, self._make)
        except UserError as error:
            log.warning("%s; passed over", error)
            return None


def _names(path: str) -> tuple[str, str, str]:
    base = path.removesuffix(ENDING)
    return path, f"{base}.pub", f"{base}-cert.pub"


def key_files_in(directory: str) -> list[str]:
    """Find key files, except hidden ones; none in a directory that is not there."""
    try:
        names = os.listdir(directory)
    except OSError as error:
        if error.errno in _PASSING:
            raise
        return []
    found = (name for name in names if name.endswith(ENDING) and not name.startswith("."))
    return [os.path.join(directory, name) for name in sorted(found)]


def _contents(path: str) -> Contents | str:
    """Read a file, or tell in words why that is not possible."""
    try:
        return Contents.read(path) if os.path.isfile(path) else "not an ordinary file"
    except OSError as error:
        if error.errno in _PASSING:
            raise
        return error.strerror or str(error)


def _version(path: str) -> object:
    """Tell one content of a file, and of those beside it, from another without reading them.

    None if one of them was changed so lately that another change may leave the same time.
    """
    parts = [_status(name) for name in _names(path)]
    lately = time.time_ns() - _RECENT
    return None if any(part and part[-1] > lately for part in parts) else parts


def _status(path: str) -> tuple[int, ...]:
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(_LARGEST)


def _read_if_there(path: str) -> bytes:
    try:
        return _read(path) if os.path.isfile(path) else b""
    except OSError as error:
        if error.errno in _PASSING:
            raise
        return b""
