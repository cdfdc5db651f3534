"""Who attests, and what is checked of every attestation, whatever its kind.

A TPM signs a TPMS_ATTEST, which begins with a number that nothing else begins with that a
restricted key signs, and then tells its kind.  [Part 1, 31; Part 2, 10.12.12]
"""

from dataclasses import dataclass, field
from typing import TypeVar

from tpmwire import signatures
from tpmwire.attributes import TPMA_OBJECT
from tpmwire.constants import TPM_CONSTANTS32, TPM_ST
from tpmwire.errors import AttestationError, DecodeError
from tpmwire.types.algorithms import TPMT_SIGNATURE
from tpmwire.types.attestation import TPMS_ATTEST, TPMS_CLOCK_INFO
from tpmwire.types.objects import TPMT_PUBLIC

K = TypeVar("K")


@dataclass(frozen=True)
class Attester:
    """A key whose word counts, because the caller trusts its public area.

    Only a restricted key cannot be made to sign what somebody wrote to look like an attestation,
    and only one with fixedTPM is nowhere but in its TPM: `unrestricted` and `duplicable` say that
    it may lack the one or the other.  `qualified_name` tells under which parents it has to be.
    `hmac_key` is what an HMAC key consists of.
    """

    public: TPMT_PUBLIC
    qualified_name: bytes | None = None
    unrestricted: bool = False
    duplicable: bool = False
    hmac_key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Clock:
    """What is expected of the TPM's clock.

    `safe`: it has not lost any of its time by a stop that was not orderly.  `since`: an earlier
    clock that the same key attested, since when the TPM was neither reset nor restarted.
    """

    safe: bool = False
    since: TPMS_CLOCK_INFO | None = None


ANY_CLOCK = Clock()


@dataclass(frozen=True)
class Proven:
    """What every attestation proves.

    A key that is neither in the endorsement nor in the platform hierarchy tells counts and firmware
    version changed, by an amount that is always the same for that key.
    """

    qualified_signer: bytes
    clock: TPMS_CLOCK_INFO
    firmware_version: int


@dataclass(frozen=True)
class Opened:
    """An attestation whose signature, kind, nonce, signer and clock are right.

    `hash_alg` is the hash of the signature, by which the TPM hashes what it attests as well.
    """

    attest: TPMS_ATTEST
    hash_alg: int

    @property
    def proven(self) -> tuple[bytes, TPMS_CLOCK_INFO, int]:
        """What is proven, in the order of the fields of `Proven`."""
        attest = self.attest
        return attest.qualifiedSigner, attest.clockInfo, attest.firmwareVersion

    def info(self, kind: type[K]) -> K:
        """Return what is attested, which is of this kind."""
        if not isinstance(self.attest.attested, kind):
            raise AttestationError("of another kind than its type tells", "attested")
        return self.attest.attested


def open_attest(
    octets: bytes,
    signature: TPMT_SIGNATURE,
    attester: Attester,
    nonce: bytes,
    clock: Clock,
    kind: TPM_ST,
) -> Opened:
    """Check what has to be right of every attestation; AttestationError tells what is not.

    Nothing of it is read before the signature is verified.
    """
    _check_key(attester)
    hash_alg = signatures.verify(attester.public, octets, signature, attester.hmac_key)
    attest = _read(octets, kind)
    expect(attest.extraData, nonce, "extraData", "another nonce than was sent: perhaps an old one")
    if attester.qualified_name is not None:
        expected = attester.qualified_name
        expect(attest.qualifiedSigner, expected, "qualifiedSigner", "a key under other parents")
    _check_clock(attest.clockInfo, clock)
    return Opened(attest, hash_alg)


def expect(found: bytes | int, wanted: bytes | int, path: str, otherwise: str) -> None:
    """Raise AttestationError if something else is found than is wanted."""
    if found != wanted:
        raise AttestationError(otherwise, path)


def _check_key(attester: Attester) -> None:
    attributes = attester.public.objectAttributes
    if not attributes & TPMA_OBJECT.sign:
        raise AttestationError("is not one that signs", "key")
    if not (attributes & TPMA_OBJECT.restricted or attester.unrestricted):
        raise AttestationError("is not restricted, so it signs forged attestations too", "key")
    if not (attributes & TPMA_OBJECT.fixedTPM or attester.duplicable):
        raise AttestationError("is not fixed to its TPM, so it can be outside as well", "key")


def _read(octets: bytes, kind: TPM_ST) -> TPMS_ATTEST:
    """Read an attestation, with a look at its first numbers before all the rest."""
    magic, found = (int.from_bytes(part, "big") for part in (octets[:4], octets[4:6]))
    expect(magic, TPM_CONSTANTS32.GENERATED_VALUE, "magic", "not made by a TPM")
    expect(found, kind, "type", f"not an attestation of the kind {kind.name}")
    try:
        return TPMS_ATTEST.unpack(octets)
    except DecodeError as error:
        raise AttestationError(error.reason, error.path) from None


def _check_clock(found: TPMS_CLOCK_INFO, clock: Clock) -> None:
    if clock.safe and not found.safe:
        raise AttestationError("time may have been lost by a stop", "clockInfo.safe")
    if clock.since is None:
        return
    expect(found.resetCount, clock.since.resetCount, "clockInfo.resetCount", "reset since")
    expect(
        found.restartCount, clock.since.restartCount, "clockInfo.restartCount", "restarted since"
    )
    if found.clock < clock.since.clock:
        raise AttestationError("earlier than the clock before", "clockInfo.clock")
