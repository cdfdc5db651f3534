"""Writing key files so that either all of them are there, whole, or nothing was changed."""

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator

from tpmwire.transport import InterruptsHeld

Content = tuple[str, str, int]
"""A path, the text to write to it, and the permissions of the file."""

_PREFIX = ".tpmwire."
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


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
    # Signals are held back, so that one cannot come between a change and the note of it.
    with InterruptsHeld(), contextlib.ExitStack() as leftovers:
        drafts = []
        for path, text, mode in contents:
            with _naming(path):
                draft = _draft(path, text, mode)
            leftovers.callback(_discard, draft)
            drafts.append((draft, path))
        for aside in _put_all_in_place(drafts, overwrite):
            _discard(aside)


def rewrite(path: str, text: str) -> None:
    """Replace the content of a file in one step; its permissions and owner stay, and so do links.

    Raises OSError, with nothing changed.
    """
    with InterruptsHeld(), _naming(path):
        place = os.path.realpath(path)
        there = os.stat(place)
        draft = _draft(place, text, stat.S_IMODE(there.st_mode), (there.st_uid, there.st_gid))
        try:
            os.replace(draft, place)
        except OSError:
            _discard(draft)
            raise


def _put_all_in_place(drafts: list[tuple[str, str]], overwrite: bool) -> list[str]:
    """Put the drafts into their places, or none of them; what stood there, by its second names."""
    asides = []
    with contextlib.ExitStack() as undo:
        for draft, path in drafts:
            with _naming(path):
                aside = _set_aside(path) if overwrite else None
                _put_in_place(draft, path, aside, undo)
            if aside is not None:
                asides.append(aside)
        undo.pop_all()
    return asides


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    """Let an OSError name the file that was asked for, not the one beside it."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = path, None
        raise


def _draft(path: str, text: str, mode: int, owner: tuple[int, int] | None = None) -> str:
    directory = os.path.dirname(os.path.abspath(path))
    descriptor, draft = tempfile.mkstemp(prefix=_PREFIX, dir=directory)
    try:
        # Octets that are no UTF-8 came in as surrogates, and go out as they were.
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            if owner and owner != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        _discard(draft)
        raise
    return draft


def _put_in_place(draft: str, path: str, aside: str | None, undo: contextlib.ExitStack) -> None:
    """Put a draft into its place, and note how to take that back."""
    if aside is None:
        _link(draft, path)
        undo.callback(os.unlink, path)
    else:
        undo.callback(_put_back, aside, path)
        os.replace(draft, path)


def _set_aside(path: str) -> str | None:
    """Give the file at `path` a second name, from which it can be put back; None without one."""
    if os.path.isdir(path) and not os.path.islink(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    aside = os.path.join(os.path.dirname(path), _PREFIX + os.urandom(8).hex())
    try:
        _link_or_rename(path, aside)
    except FileNotFoundError:
        return None
    return aside


def _link_or_rename(path: str, aside: str) -> None:
    try:
        os.link(path, aside, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.rename(path, aside)


def _put_back(aside: str, path: str) -> None:
    os.replace(aside, path)
    # Replacing a file by its own second name does nothing, so that name may still be there.
    _discard(aside)


def _link(draft: str, path: str) -> None:
    """Put a draft in a place that is still free."""
    try:
        os.link(draft, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A file system without links; what is left is to look first.
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "it is there already", path) from None
        os.rename(draft, path)


def _discard(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
