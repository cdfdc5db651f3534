"""An SSH key in a TPM: for each signature it is loaded, signs, and is forgotten."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import TypeVar

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.client import Tpm
from tpmwire.commands.signing import Sign
from tpmwire.errors import KeyFileError, PolicyError
from tpmwire.keyfile import LEGACY_LOADABLE, LOADABLE, KeyFile
from tpmwire.names import object_name
from tpmwire.objects import LoadedObject
from tpmwire.parents import describe_parent, load, open_parent, with_parent_auth
from tpmwire.ssh.keypolicy import Way, ways
from tpmwire.ssh.keys import SignatureAlgorithm, public_blob, signature_algorithm, signature_blob
from tpmwire.ssh.occasion import UNKNOWN, Occasion
from tpmwire.types.algorithms import TPMT_SIGNATURE
from tpmwire.types.objects import TPMT_PUBLIC

T = TypeVar("T")

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
        self._open_tpm, self._ask = open_tpm, ask_pin
        self._parent: TPMT_PUBLIC | None = None
        self._parent_wants_auth = False

    def sign(self, data: bytes, flags: int, occasion: Occasion = UNKNOWN) -> bytes:
        """Make an SSH signature of `data`.

        Raises UnsupportedKeyError, TpmError, TransportError, what `ask_pin` raises, or PolicyError
        if the key has a policy that cannot be met.
        """
        algorithm = signature_algorithm(self.keyfile.public, flags)
        sign = self._sign_by_policy if self.keyfile.has_policy else self._sign_by_pin
        return signature_blob(algorithm, sign(algorithm, algorithm.digest(data)))

    def _sign_by_pin(self, algorithm: SignatureAlgorithm, digest: bytes) -> TPMT_SIGNATURE:
        # Asked for before the TPM is taken, so that a waiting prompt keeps nobody else waiting.
        return self._use(self._ask_pin(), lambda _, key: key.sign(digest, algorithm.tpm_scheme))

    def _sign_by_policy(self, algorithm: SignatureAlgorithm, digest: bytes) -> TPMT_SIGNATURE:
        pin: bytes | None = None
        failures: list[tuple[str, str, str]] = []
        for way in ways(self.keyfile):
            if way.wants_pin and pin is None:
                pin = self._ask_pin()
            for other in way.others:
                other.ask(self._ask)
            try:
                return self._use(pin or b"", partial(_sign, way, digest, algorithm))
            except PolicyError as error:
                failures += error.failures or [(way.name, "all of it", str(error))]
        raise PolicyError(f"the policy of TPM key {self.comment} cannot be met", failures)

    def _ask_pin(self) -> bytes:
        if self.keyfile.empty_auth:
            return b""
        return self._ask(f"PIN for TPM key {self.comment}: ")

    def _use(self, pin: bytes, use: Callable[[Tpm, LoadedObject], T]) -> T:
        """Load the key, and use it; the parent's password is asked for if the TPM wants one."""

        def work(parent_auth: bytes | None) -> T:
            with self._loaded(pin, parent_auth) as (tpm, key):
                return use(tpm, key)

        if self._parent_wants_auth:
            return work(self._ask_parent_auth())
        return with_parent_auth(work, self._ask_parent_auth)

    def _ask_parent_auth(self) -> bytes:
        self._parent_wants_auth = True
        parent = describe_parent(self.keyfile.parent)
        return self._ask(f"Password of {parent}, for TPM key {self.comment}: ")

    @contextmanager
    def _loaded(self, pin: bytes, parent_auth: bytes | None) -> Iterator[tuple[Tpm, LoadedObject]]:
        file = self.keyfile
        with (
            TPM_IN_USE,
            self._open_tpm() as tpm,
            self._open_parent(tpm, parent_auth) as parent,
            load(
                *(tpm, parent, file.private, file.public),
                auth=pin,
                parent_name=file.parent_name or parent.name,
            ) as key,
        ):
            yield tpm, key

    def _open_parent(self, tpm: Tpm, auth: bytes | None) -> LoadedObject:
        """Open the parent, which has to be the one that made the key, or was there before."""
        file, known = self.keyfile, self._parent
        name = file.parent_name or (object_name(known) if known else b"")
        opened = open_parent(
            tpm, file.parent, rsa=file.rsa_parent, auth=auth, name=name, known=known
        )
        self._parent = opened.public
        return opened


def _sign(
    way: Way, digest: bytes, algorithm: SignatureAlgorithm, tpm: Tpm, key: LoadedObject
) -> TPMT_SIGNATURE:
    command = Sign(keyHandle=key, digest=digest, inScheme=algorithm.tpm_scheme)
    return way.execute(tpm, command, key).signature


def _check(keyfile: KeyFile) -> None:
    if keyfile.kind not in (LOADABLE, LEGACY_LOADABLE):
        raise KeyFileError(f"a key file of kind {keyfile.kind} cannot be loaded as it is")
    attributes = keyfile.public.objectAttributes
    if keyfile.has_policy:
        ways(keyfile)
    elif not attributes & TPMA_OBJECT.userWithAuth:
        raise KeyFileError("the key is used by a policy only, and the file does not tell it")
    if attributes & (TPMA_OBJECT.sign | TPMA_OBJECT.restricted) != TPMA_OBJECT.sign:
        raise KeyFileError("the TPM signs nothing from outside with this key")
