"""An SSH key that is in a TPM for good, at a persistent handle, and has no file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.client import Tpm
from tpmwire.constants import TPM_HT, TPM_RC
from tpmwire.errors import KeyFileError, TpmError
from tpmwire.objects import LoadedObject
from tpmwire.ssh.keys import public_blob, signature_algorithm, signature_blob
from tpmwire.ssh.occasion import UNKNOWN, Occasion
from tpmwire.ssh.pins import Ask, Attempt, Check
from tpmwire.ssh.tpmkey import TPM_IN_USE, Task, pins_of, trial
from tpmwire.types.algorithms import TPMT_SIGNATURE


class PersistentKey:
    """The key at a handle, the TPM that has it, and somebody to ask for the PIN.

    It is read at once.  Whether it has a PIN at all, the TPM does not tell: somebody is asked in
    any case, unless a PIN was given, which may be empty.  Raises KeyFileError if there is no key,
    or none that SSH can use with a PIN alone.
    """

    certificates = ()

    def __init__(
        self, handle: int, open_tpm: Callable[[], Tpm], ask: Ask, seconds: float = 0.0
    ) -> None:
        if handle >> 24 != TPM_HT.PERSISTENT:
            raise KeyFileError(f"{handle:#x} is no persistent handle")
        self._handle, self._open_tpm = handle, open_tpm
        self.comment = f"handle:{handle:#010x}"
        with TPM_IN_USE, open_tpm() as tpm:
            self.public = _found(tpm, handle, b"").public
        _check(self.public.objectAttributes)
        self.blob = public_blob(self.public)
        self.pins = pins_of(self.public, self.comment, open_tpm, ask, seconds)

    def sign(self, data: bytes, flags: int, occasion: Occasion = UNKNOWN) -> bytes:
        """Make an SSH signature of `data`.

        Raises KeyFileError if there is another key now, and what TpmKey raises.
        """
        algorithm = signature_algorithm(self.public, flags)
        task = Task(algorithm, algorithm.digest(data), occasion)
        return signature_blob(algorithm, self.pins.use(occasion, self._by_pin(task)))

    def prove(self, pin: bytes) -> None:
        """Find out whether a PIN is right by signing what means nothing, and keep it."""
        self.pins.prove(pin, self._by_pin(trial(self.public)))

    def _by_pin(self, task: Task) -> Attempt[TPMT_SIGNATURE]:
        def attempt(pin: bytes, check: Check) -> TPMT_SIGNATURE:
            with self._opened(pin, check) as key:
                return key.sign(task.digest, task.algorithm.tpm_scheme)

        return attempt

    @contextmanager
    def _opened(self, pin: bytes, check: Check) -> Iterator[LoadedObject]:
        with TPM_IN_USE, self._open_tpm() as tpm:
            check(tpm)
            found = _found(tpm, self._handle, pin)
            if found.public != self.public:
                raise KeyFileError(f"at {self._handle:#010x} there is another key now")
            yield found


def _found(tpm: Tpm, handle: int, pin: bytes) -> LoadedObject:
    try:
        return tpm.persistent(handle, pin)
    except TpmError as error:
        if error.code != TPM_RC.HANDLE:
            raise
        raise KeyFileError(f"there is no key at {handle:#010x} in this TPM") from None


def _check(attributes: TPMA_OBJECT) -> None:
    if not attributes & TPMA_OBJECT.userWithAuth:
        raise KeyFileError("the key is used by a policy only, which nobody has told")
    if attributes & (TPMA_OBJECT.sign | TPMA_OBJECT.restricted) != TPMA_OBJECT.sign:
        raise KeyFileError("the TPM signs nothing from outside with this key")
