"""Writing key files so that either all of them are there, whole, or nothing was changed."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterable

Content = tuple[str, str, int]
"""A path, the text to write to it, and the permissions of the file."""


def check_directory(path: str) -> None:
    """Find out whether a file could be made at `path`, before any work is done for it; OSError."""
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        raise FileNotFoundError(errno.ENOENT, "no such directory", directory)
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "no permission to write here", directory)


def write_together(contents: Iterable[Content], *, overwrite: bool = False) -> None:
    """Write several files, or none of them.

    All are written in full beside their places first, and then put into them.  Without `overwrite`
    a file that is there already is left alone.  Raises OSError, with nothing changed.
    """
    contents = list(contents)
    drafts: list[str] = []
    try:
        for path, text, mode in contents:
            drafts.append(_draft(path, text, mode))
        _put_in_place(drafts, [path for path, _, _ in contents], overwrite)
    finally:
        for draft in drafts:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)


def _draft(path: str, text: str, mode: int) -> str:
    directory, name = os.path.split(os.path.abspath(path))
    descriptor, draft = tempfile.mkstemp(prefix=f".{name}.", dir=directory)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:
        os.unlink(draft)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = path
        raise
    return draft


def _put_in_place(drafts: list[str], paths: list[str], overwrite: bool) -> None:
    if overwrite:
        for draft, path in zip(drafts, paths, strict=True):
            os.replace(draft, path)
        return
    made: list[str] = []
    try:
        for draft, path in zip(drafts, paths, strict=True):
            _link(draft, path)
            made.append(path)
    except BaseException:
        for path in made:
            os.unlink(path)
        raise


def _link(draft: str, path: str) -> None:
    """Put a draft in a place that is still free."""
    try:
        os.link(draft, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        # A file system without links; what is left is to look first.
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "it is there already", path) from None
        os.rename(draft, path)
