"""Key files as a command line names them: reading one, putting another key into it."""

import argparse
import os

from tpmwire.errors import Error
from tpmwire.keyfile import LABEL, KeyFile
from tpmwire.scripts import files, prompts
from tpmwire.scripts.console import UsageError, UserError
from tpmwire.ssh.fingerprints import PublishedKey
from tpmwire.ssh.keys import public_blob

ENDING, PUBLIC_ENDING = ".tpm", ".pub"

_MOST = 65536  # octets of a key file
_END = f"-----END {LABEL}-----"


def base(text: str) -> str:
    """Read what people write for a key: a name with or without the ending; UsageError."""
    found = text.removesuffix(ENDING)
    if not os.path.basename(found):
        raise UsageError(f"{text!r} is no name for a file")
    return found


def paths(base: str) -> tuple[str, str]:
    """Name the two files of a key: the private and the public one."""
    return f"{base}{ENDING}", f"{base}{PUBLIC_ENDING}"


def chosen(options: argparse.Namespace) -> str:
    """Find the file that -f names, with or without its ending; asked for without -f."""
    name = options.file
    if name is None:
        name = base(os.path.expanduser("~/.ssh/id_tpm_ecdsa"))
        if prompts.terminal() and not (options.quiet or options.json):
            answer = prompts.ask(f"Enter file in which the key is ({name}): ")
            name = base(answer) if answer else name
    private, _ = paths(name)
    return name if os.path.isfile(name) and not os.path.exists(private) else private


def read(path: str) -> KeyFile:
    """Read a key file.  Raises UserError if it is none, OSError if it cannot be read."""
    try:
        return KeyFile.from_pem(read_octets(path))
    except Error as error:
        raise UserError(f"{path}: {error}") from None


def read_octets(path: str) -> bytes:
    """Read what may be a key file, as far as one can reach; OSError."""
    with open(path, "rb") as file:
        return file.read(_MOST)


def rewrite(path: str, key: KeyFile) -> None:
    """Put another key into a key file in one step; what stands after the key stays.

    Raises OSError, with nothing changed.
    """
    before = read_octets(path).decode("utf-8", "surrogateescape")
    head, _, _ = before.partition(f"-----BEGIN {LABEL}-----")
    _, _, tail = before.partition(_END)
    written = key.to_pem()
    if head.strip():  # the Name of the parent, and what others have noted
        written = head + written[written.index("-----BEGIN") :]
    files.rewrite(path, written.removesuffix("\n") + tail)


def public_beside(base: str) -> PublishedKey:
    """Read the public key file of a key; an empty key if there is none."""
    try:
        return PublishedKey.of_file(read_octets(base + PUBLIC_ENDING))
    except OSError:
        return PublishedKey(b"")


def comment(path: str, key: KeyFile) -> str:
    """Find the comment of a key: that in its .pub file, or its description; empty without one."""
    beside = public_beside(path.removesuffix(ENDING))
    return beside.comment_for(public_blob(key.public)) or key.description or ""


def shown(path: str) -> str:
    """Write a path as text."""
    return os.fsencode(path).decode("utf-8", "replace")
