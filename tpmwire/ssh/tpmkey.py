"""An SSH key in a TPM: for each signature it is loaded, signs, and is forgotten."""

from collections.abc import Callable
from threading import Lock

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.client import Tpm
from tpmwire.errors import KeyFileError
from tpmwire.keyfile import LEGACY_LOADABLE, LOADABLE, KeyFile
from tpmwire.parents import open_parent
from tpmwire.ssh.keys import public_blob, signature_algorithm, signature_blob

TPM_IN_USE = Lock()
"""One signature at a time: the chip can do no more, and a bare one has no room for more."""


class TpmKey:
    """A key file, the TPM that can load it, and somebody to ask for the PIN.

    `open_tpm` opens the TPM anew for each signature; `ask_pin` is given a prompt and returns the
    PIN, or raises an Error.  Raises KeyFileError for a key that cannot be used this way, and
    UnsupportedKeyError for one that SSH has no use for.
    """

    def __init__(
        self,
        keyfile: KeyFile,
        comment: str,
        open_tpm: Callable[[], Tpm],
        ask_pin: Callable[[str], bytes],
    ) -> None:
        self.keyfile, self.comment = keyfile, comment
        self.blob = public_blob(keyfile.public)
        _check(keyfile)
        self._open_tpm, self._ask_pin = open_tpm, ask_pin

    def sign(self, data: bytes, flags: int) -> bytes:
        """Make an SSH signature of `data`.

        Raises UnsupportedKeyError, TpmError, TransportError, or what `ask_pin` raises.
        """
        file = self.keyfile
        algorithm = signature_algorithm(file.public, flags)
        digest = algorithm.digest(data)
        # Asked for before the TPM is taken, so that a waiting prompt keeps nobody else waiting.
        pin = b"" if file.empty_auth else self._ask_pin(f"PIN for TPM key {self.comment}: ")
        with (
            TPM_IN_USE,
            self._open_tpm() as tpm,
            open_parent(tpm, file.parent, rsa=file.rsa_parent) as parent,
            parent.load(file.private, file.public, pin) as key,
        ):
            made = key.sign(digest, algorithm.tpm_scheme)
        return signature_blob(algorithm, made)


def _check(keyfile: KeyFile) -> None:
    if keyfile.kind not in (LOADABLE, LEGACY_LOADABLE):
        raise KeyFileError(f"a key file of kind {keyfile.kind} cannot be loaded as it is")
    attributes = keyfile.public.objectAttributes
    if keyfile.has_policy or not attributes & TPMA_OBJECT.userWithAuth:
        raise KeyFileError("the key has a policy, and policies are not supported yet")
    if attributes & (TPMA_OBJECT.sign | TPMA_OBJECT.restricted) != TPMA_OBJECT.sign:
        raise KeyFileError("the TPM signs nothing from outside with this key")
