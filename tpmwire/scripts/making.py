"""Making keys for the agent: from key files, from what is in the TPM, from what was sent."""

import os
from collections.abc import Callable, Iterable, Sequence

from tpmwire.client import Tpm
from tpmwire.keyfile import KeyFile
from tpmwire.scripts.console import UserError
from tpmwire.scripts.keyfiles import ENDING, Contents, key_files_in
from tpmwire.scripts.uses import Reported, Tell
from tpmwire.ssh.keyring import Key
from tpmwire.ssh.others import NotOursError
from tpmwire.ssh.persistent import PersistentKey
from tpmwire.ssh.pins import Ask
from tpmwire.ssh.tpmkey import TpmKey

HANDLE = "handle:"
"""What the id of a key begins with that is in the TPM for good."""


class Maker:
    """How keys are made: the TPM, whom to ask, how long to keep a PIN, whom to tell of uses."""

    def __init__(
        self,
        open_tpm: Callable[[], Tpm],
        ask: Ask,
        seconds: float = 0.0,
        tell: Sequence[Tell] = (),
    ) -> None:
        self._open_tpm, self._ask, self._seconds, self._tell = open_tpm, ask, seconds, tell

    def of_file(self, keyfile: KeyFile, comment: str, certificates: Sequence[bytes]) -> Reported:
        """Make a key of what a key file has in it."""
        made = TpmKey(keyfile, comment, self._open_tpm, self._ask, self._seconds, certificates)
        return Reported(made, self._tell)

    def of_pem(self, pem: bytes) -> Key:
        """Make a key of a key file that was sent."""
        keyfile = KeyFile.from_pem(pem)
        return self.of_file(keyfile, keyfile.description or "added by a client", ())

    def of_handle(self, handle: int) -> Reported:
        """Make a key of one that is in the TPM for good."""
        made = PersistentKey(handle, self._open_tpm, self._ask, self._seconds)
        return Reported(made, self._tell)


class Tokens:
    """What the id of `ssh-add -s` may mean.

    A key file below a directory, by its path, absolute or from there; a directory there, with all
    key files in it; or handle:0x81... for a key in the TPM.  A PIN that comes with it is kept for
    as long as the key is; with `verify` a wrong one is refused at once, which costs a try.
    """

    def __init__(self, directory: str, maker: Maker, *, verify: bool = False) -> None:
        self._directory, self._maker, self._verify = directory, maker, verify

    def load(self, token: str, pin: bytes) -> Iterable[Key]:
        """Load the keys that an id means.

        Raises NotOursError for what looks like somebody else's, and UserError or another Error for
        what cannot be loaded.
        """
        keys = [*self._keys(token)]
        for key in keys:
            self._give(key, pin, token)
        return keys

    def _keys(self, token: str) -> Iterable[Reported]:
        if token.startswith(HANDLE):
            return [self._maker.of_handle(_handle(token.removeprefix(HANDLE)))]
        path = self._path(token)
        paths = key_files_in(path) if os.path.isdir(path) else [path]
        return [self._read(each) for each in paths]

    def _path(self, token: str) -> str:
        """Find the file or directory, wherever links lead, which has to be below ours."""
        if "\0" in token:
            raise UserError("no name of a file has a zero octet in it")
        root = os.path.realpath(self._directory)
        path = os.path.realpath(os.path.join(root, token))
        if os.path.commonpath([root, path]) == root and _could_be_ours(path):
            return path
        if token.endswith(ENDING):  # whoever gave a PIN for it did not mean it for other agents
            raise UserError(f"{token}: keys are loaded from {self._directory} only")
        raise NotOursError(f"{token!r} means no key here")

    def _read(self, path: str) -> Reported:
        # What a directory has in it may lead elsewhere.
        self._path(path)
        try:
            if not os.path.isfile(path):
                raise UserError(f"{path}: no such file")
            return Contents.read(path).made(path, self._maker.of_file)
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from None

    def _give(self, key: Reported, pin: bytes, token: str) -> None:
        if self._verify and pin:
            key.prove(pin)
        elif pin or token.startswith(HANDLE):
            key.give(pin)


def _could_be_ours(path: str) -> bool:
    return path.endswith(ENDING) or os.path.isdir(path)


def _handle(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        raise UserError(f"{text!r} is no handle like 0x81000005") from None
