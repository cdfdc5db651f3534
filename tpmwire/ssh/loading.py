"""Loading keys into the agent at a client's request.  [RFC 9987, 5.2.2, 5.2.6]"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from tpmwire.errors import Error
from tpmwire.ssh.bindings import Bindings
from tpmwire.ssh.certificates import read_certificate
from tpmwire.ssh.constraints import Constraints, read_constraints
from tpmwire.ssh.keyring import Key, Keyring, NoSuchKeyError
from tpmwire.ssh.messages import ADD_ID_CONSTRAINED, ADD_IDENTITY, TPM_KEY, TpmAddKey
from tpmwire.ssh.occasion import Occasion
from tpmwire.ssh.others import NotOursError, Other


class RefusedError(Error):
    """The agent does not want to do this."""


@dataclass(frozen=True)
class Surroundings:
    """What the agent has around it; `Agent` tells what each is."""

    load: Callable[[str, bytes], Iterable[Key]] | None = None
    load_pem: Callable[[bytes], Key] | None = None
    confirm: Callable[[Key, Occasion], bool] | None = None
    others: Sequence[Other] = ()
    only: frozenset[str] | None = None


class Loader:
    """Who loads keys for one client."""

    def __init__(self, keyring: Keyring, around: Surroundings, bindings: Bindings) -> None:
        self._keyring, self._around, self._bindings = keyring, around, bindings

    def load(self, token: str, pin: bytes, constraints: bytes) -> None:
        """Add the keys of a token.

        Raises NotOursError for a token that is not known here, RefusedError, or another Error.
        """
        limits = self._read(constraints, of_token=True)
        if self._around.load is None:
            raise NotOursError("no tokens are known here")
        if not self._keyring.add(self._around.load(token, pin), limits, token):
            raise NoSuchKeyError("there was no key, or no certificate that fits one")

    def load_pem(self, contents: bytes) -> None:
        """Add the key of a key file, as `load` does."""
        request = TpmAddKey.unpack(contents)
        if request.kind not in (ADD_IDENTITY, ADD_ID_CONSTRAINED) or request.name != TPM_KEY:
            raise RefusedError("not a key of a TPM")
        limits = self._read(request.constraints, of_token=False)
        if self._around.load_pem is None:
            raise NotOursError("key files are not known here")
        key = self._around.load_pem(request.pem)
        if request.certificate:
            limits = _with_certificate(limits, key, request.certificate)
        self._keyring.add([key], limits)

    def _read(self, octets: bytes, *, of_token: bool) -> Constraints:
        """Read the constraints; RefusedError if this client loads no keys, or not so."""
        if self._bindings.attempted:
            raise RefusedError("no keys are loaded for a connection that may be from elsewhere")
        constraints = read_constraints(octets, of_token=of_token)
        if constraints.confirm and self._around.confirm is None:
            raise RefusedError("there is nobody who could confirm a use of the key")
        return constraints


def _with_certificate(constraints: Constraints, key: Key, blob: bytes) -> Constraints:
    certificate = read_certificate(blob)
    if certificate.key.blob != key.blob:
        raise RefusedError("the certificate is of another key")
    return replace(constraints, certificates=(certificate,))
