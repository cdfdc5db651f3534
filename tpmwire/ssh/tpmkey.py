"""An SSH key in a TPM: for each signature it is loaded, signs, and is forgotten."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from tpmwire.attributes import TPMA_OBJECT
from tpmwire.client import Tpm
from tpmwire.commands.signing import Sign
from tpmwire.constants import TPM_ALG
from tpmwire.errors import KeyFileError, PolicyError
from tpmwire.importable import make_loadable
from tpmwire.keyfile import IMPORTABLE, LEGACY_LOADABLE, LOADABLE, KeyFile
from tpmwire.lockout import Lockout
from tpmwire.names import object_name
from tpmwire.objects import LoadedObject
from tpmwire.parents import describe_parent, load, open_parent, with_parent_auth
from tpmwire.ssh.keypolicy import Way, ways
from tpmwire.ssh.keys import (
    RSA_SHA2_256,
    SignatureAlgorithm,
    public_blob,
    signature_algorithm,
    signature_blob,
)
from tpmwire.ssh.occasion import UNKNOWN, Occasion
from tpmwire.ssh.pins import Ask, Attempt, Check, Pins, no_check
from tpmwire.ssh.turns import Turns
from tpmwire.types.algorithms import TPMT_SIGNATURE
from tpmwire.types.objects import TPMT_PUBLIC

T = TypeVar("T")

TPM_IN_USE = Turns()
"""One signature at a time: the chip can do no more, and a bare one has no room for more."""


Failures = list[tuple[str, str, str]]
"""What keeps from the ways through a policy, as a PolicyError tells it."""


@dataclass(frozen=True)
class Task:
    """What is to be signed, and for whom."""

    algorithm: SignatureAlgorithm
    digest: bytes
    occasion: Occasion


class TpmKey:
    """A key file, the TPM that can load it, and somebody to ask for the PIN.

    `open_tpm` opens the TPM anew for each signature; `ask` is given a prompt and the occasion, and
    returns the PIN, or raises an Error; the PIN is then kept for `seconds`.  Raises KeyFileError
    for a key that cannot be used this way, and UnsupportedKeyError for one that SSH has no use for.
    """

    def __init__(
        self,
        keyfile: KeyFile,
        comment: str,
        open_tpm: Callable[[], Tpm],
        ask: Ask,
        seconds: float = 0.0,
        certificates: Sequence[bytes] = (),
    ) -> None:
        self.keyfile, self.comment, self.certificates = keyfile, comment, certificates
        self.blob = public_blob(keyfile.public)
        _check(keyfile)
        self._open_tpm, self._ask = open_tpm, ask
        self.pins = pins_of(keyfile.public, comment, open_tpm, ask, seconds)
        self._parent: TPMT_PUBLIC | None = None
        self._parent_wants_auth = False

    def sign(self, data: bytes, flags: int, occasion: Occasion = UNKNOWN) -> bytes:
        """Make an SSH signature of `data`.

        Raises UnsupportedKeyError, TpmError, TransportError, PinError, what `ask` raises, or
        PolicyError if the key has a policy that cannot be met.
        """
        algorithm = signature_algorithm(self.keyfile.public, flags)
        task = Task(algorithm, algorithm.digest(data), occasion)
        return signature_blob(algorithm, self._perform(task))

    def sign_digest(self, algorithm: SignatureAlgorithm, digest: bytes) -> TPMT_SIGNATURE:
        """Sign what has this digest, by any algorithm that the TPM has; errors as of `sign`."""
        return self._perform(Task(algorithm, digest, UNKNOWN))

    def _perform(self, task: Task) -> TPMT_SIGNATURE:
        sign = self._sign_by_policy if self.keyfile.has_policy else self._sign_by_pin
        return sign(task)

    def prove(self, pin: bytes) -> None:
        """Find out whether a PIN is right by signing what means nothing, and keep it.

        A key without one takes any.  Raises what `sign` raises, or PinError rather than spend the
        last try.
        """
        if self.keyfile.empty_auth:
            return
        task = trial(self.keyfile.public)
        if self.keyfile.has_policy:
            self.pins.prove(pin, self._by_policy(ways(self.keyfile), task, []))
        else:
            self.pins.prove(pin, self._by_pin(task))

    def _with_pin(self, task: Task, attempt: Attempt[TPMT_SIGNATURE]) -> TPMT_SIGNATURE:
        # Asked for before the TPM is taken, so that a waiting prompt keeps nobody else waiting.
        if self.keyfile.empty_auth:
            return attempt(b"", no_check)
        return self.pins.use(task.occasion, attempt)

    def _sign_by_pin(self, task: Task) -> TPMT_SIGNATURE:
        return self._with_pin(task, self._by_pin(task))

    def _by_pin(self, task: Task) -> Attempt[TPMT_SIGNATURE]:
        def attempt(pin: bytes, check: Check) -> TPMT_SIGNATURE:
            def sign(tpm: Tpm, parent: LoadedObject) -> TPMT_SIGNATURE:
                # Before the key is there: a resource manager saves and reloads with each command
                # whatever is loaded.
                session = [tpm.start_session(salt_key=parent).use(last=True)] if pin else []
                key = self._load(tpm, parent, pin)
                return key.sign(task.digest, task.algorithm.tpm_scheme, *session)

            return self._under_parent(task, check, sign)

        return attempt

    def _sign_by_policy(self, task: Task) -> TPMT_SIGNATURE:
        """Try the ways through the policy for which the PIN is not wanted, then the others."""
        found = ways(self.keyfile)
        failures: Failures = []
        with suppress(PolicyError):
            quiet = [way for way in found if not way.wants_pin]
            return self._first_of(quiet, task, failures, b"", no_check)
        if not any(way.wants_pin for way in found):
            raise self._policy_error(failures)
        return self._with_pin(task, self._by_policy(found, task, failures))

    def _by_policy(
        self, found: list[Way], task: Task, failures: Failures
    ) -> Attempt[TPMT_SIGNATURE]:
        some = [way for way in found if way.wants_pin]
        return lambda pin, check: self._first_of(some, task, failures, pin, check)

    def _first_of(
        self,
        some: list[Way],
        task: Task,
        failures: Failures,
        pin: bytes,
        check: Check,
    ) -> TPMT_SIGNATURE:
        """Sign by the first way that can be gone; what keeps from the others is added."""
        for way in some:
            try:
                return self._go(way, task, pin, check)
            except PolicyError as error:
                failures += error.failures or [(way.name, "all of it", str(error))]
        raise self._policy_error(failures)

    def _go(self, way: Way, task: Task, pin: bytes, check: Check) -> TPMT_SIGNATURE:
        for other in way.others:
            other.ask(lambda prompt: self._ask(prompt, task.occasion))

        def sign(tpm: Tpm, parent: LoadedObject) -> TPMT_SIGNATURE:
            key = self._load(tpm, parent, pin)
            scheme = task.algorithm.tpm_scheme
            command = Sign(keyHandle=key, digest=task.digest, inScheme=scheme)
            return way.execute(tpm, command, key).signature

        return self._under_parent(task, check, sign)

    def _policy_error(self, failures: Failures) -> PolicyError:
        return PolicyError(f"the policy of TPM key {self.comment} cannot be met", failures)

    def _under_parent(self, task: Task, check: Check, use: Callable[[Tpm, LoadedObject], T]) -> T:
        """Open the parent, and use it; its password is asked for if the TPM wants one."""

        def work(auth: bytes | None) -> T:
            with self._opened(check, auth) as (tpm, parent):
                return use(tpm, parent)

        def ask() -> bytes:
            self._parent_wants_auth = True
            called = describe_parent(self.keyfile.parent)
            question = f"Password of {called}, for TPM key {self.comment}: "
            return self._ask(question, task.occasion)

        return work(ask()) if self._parent_wants_auth else with_parent_auth(work, ask)

    @contextmanager
    def _opened(self, check: Check, auth: bytes | None) -> Iterator[tuple[Tpm, LoadedObject]]:
        """Take the TPM, and open the parent; closing it forgets all that was loaded."""
        with TPM_IN_USE, self._open_tpm() as tpm:
            check(tpm)
            yield tpm, self._open_parent(tpm, auth)

    def _load(self, tpm: Tpm, parent: LoadedObject, pin: bytes) -> LoadedObject:
        if self.keyfile.kind == IMPORTABLE:
            self.keyfile = make_loadable(parent, self.keyfile)
        file, name = self.keyfile, self.keyfile.parent_name
        return load(tpm, parent, file.private, file.public, auth=pin, parent_name=name)

    def _open_parent(self, tpm: Tpm, auth: bytes | None) -> LoadedObject:
        """Open the parent, which has to be the one that made the key, or was there before."""
        file, known = self.keyfile, self._parent
        name = file.parent_name or (object_name(known) if known else b"")
        opened = open_parent(
            tpm, file.parent, rsa=file.rsa_parent, auth=auth, name=name, known=known
        )
        self._parent = opened.public
        return opened


def _check(keyfile: KeyFile) -> None:
    if keyfile.kind not in (LOADABLE, IMPORTABLE, LEGACY_LOADABLE):
        raise KeyFileError(f"a key file of kind {keyfile.kind} cannot be loaded as it is")
    attributes = keyfile.public.objectAttributes
    if keyfile.has_policy:
        ways(keyfile)
    elif not attributes & TPMA_OBJECT.userWithAuth:
        raise KeyFileError("the key is used by a policy only, and the file does not tell it")
    if attributes & (TPMA_OBJECT.sign | TPMA_OBJECT.restricted) != TPMA_OBJECT.sign:
        raise KeyFileError("the TPM signs nothing from outside with this key")


def trial(public: TPMT_PUBLIC) -> Task:
    """Make a task of no meaning, for a key with this public area."""
    flags = RSA_SHA2_256 if public.type == TPM_ALG.RSA else 0
    algorithm = signature_algorithm(public, flags)
    return Task(algorithm, algorithm.digest(b"is this the PIN?"), UNKNOWN)


def pins_of(
    public: TPMT_PUBLIC, comment: str, open_tpm: Callable[[], Tpm], ask: Ask, seconds: float
) -> Pins:
    """Make the keeper of the PIN of a key with this public area."""

    def lockout() -> Lockout:
        with TPM_IN_USE, open_tpm() as tpm:
            return Lockout.read(tpm.execute)

    exempt = public.objectAttributes & TPMA_OBJECT.noDA
    return Pins(comment, ask, None if exempt else lockout, seconds)
