"""Steps that compare what the TPM holds with a value: PCRs, NV, the clock, a capability."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from tpmwire.authorization import HasEntity, SaltKey
from tpmwire.commands import policy as commands
from tpmwire.commands.base import Command
from tpmwire.commands.pcr import PCR_Read
from tpmwire.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_EO
from tpmwire.digests import digest
from tpmwire.errors import PolicyError
from tpmwire.objects import Executor
from tpmwire.policy.base import Assertion, Run, Step, code, execute, listed, words
from tpmwire.structure import Structure
from tpmwire.types.structures import TPML_PCR_SELECTION, TPMS_PCR_SELECTION

AT_ONCE = 8
"""How many PCRs one command reads."""

COMPARISONS: dict[int, str] = {
    TPM_EO.EQ: "is",
    TPM_EO.NEQ: "is not",
    TPM_EO.SIGNED_GT: "is greater (signed) than",
    TPM_EO.UNSIGNED_GT: "is greater than",
    TPM_EO.SIGNED_LT: "is less (signed) than",
    TPM_EO.UNSIGNED_LT: "is less than",
    TPM_EO.SIGNED_GE: "is at least (signed)",
    TPM_EO.UNSIGNED_GE: "is at least",
    TPM_EO.SIGNED_LE: "is at most (signed)",
    TPM_EO.UNSIGNED_LE: "is at most",
    TPM_EO.BITSET: "has all bits set of",
    TPM_EO.BITCLEAR: "has all bits clear of",
}

TIME_INFO = {
    (0, 8): "the time since the TPM was powered",
    (8, 8): "the clock",
    (16, 4): "the count of resets",
    (20, 4): "the count of restarts",
    (24, 1): "the mark that the clock is safe",
}
"""The parts of a TPMS_TIME_INFO, by offset and size.  [Part 2, 10.11.6]"""


class Pcrs(Structure):
    """A selection of PCRs by itself."""

    pcrs: TPML_PCR_SELECTION


@dataclass(frozen=True)
class PCRDigest(Assertion):
    """PCRs have values of which only the digest is known."""

    CC = TPM_CC.PolicyPCR

    pcrs: tuple[TPMS_PCR_SELECTION, ...]
    pcrDigest: bytes

    def explain(self) -> str:
        """Say it in words."""
        return f"{called(self.pcrs)} have a content of the digest {self.pcrDigest.hex()}"

    def _arguments(self, alg: int) -> bytes:
        return Pcrs(pcrs=self.pcrs).pack() + self.pcrDigest

    def _command(self, session: int, alg: int) -> Command[Any]:
        return commands.PolicyPCR(policySession=session, pcrDigest=self.pcrDigest, pcrs=self.pcrs)


class PCR(Assertion):
    """PCRs have certain values: for each bank the values by the number of the PCR."""

    CC = TPM_CC.PolicyPCR

    def __init__(self, banks: Mapping[int, Mapping[int, bytes]]) -> None:
        self.banks = {bank: dict(sorted(values.items())) for bank, values in banks.items()}
        self.pcrs = tuple(selection(bank, values) for bank, values in self.banks.items())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PCR):
            return NotImplemented
        return (self.pcrs, self.banks) == (other.pcrs, other.banks)

    def __hash__(self) -> int:
        return hash((self.pcrs, self.content))

    def __repr__(self) -> str:
        return f"PCR({self.banks!r})"

    @classmethod
    def read(cls, tpm: Executor, banks: Mapping[int, Iterable[int]]) -> Self:
        """Make the step from the values that PCRs have now; PolicyError if one is not there."""
        return cls({bank: dict(_read(tpm, bank, sorted(set(n)))) for bank, n in banks.items()})

    @property
    def content(self) -> bytes:
        """The values one after the other, as the digest is made of them."""
        return b"".join(value for values in self.banks.values() for value in values.values())

    def at(self, alg: int) -> PCRDigest:
        """Make the step that knows the values by their digest only, for a policy of hash `alg`."""
        return PCRDigest(self.pcrs, digest(alg, self.content))

    def explain(self) -> str:
        """Say it in words."""
        values = [
            f"PCR {number} ({words(bank)}) is {value.hex()}"
            for bank, content in self.banks.items()
            for number, value in content.items()
        ]
        return listed(values)

    def _arguments(self, alg: int) -> bytes:
        return self.at(alg)._arguments(alg)

    def _command(self, session: int, alg: int) -> Command[Any]:
        return self.at(alg)._command(session, alg)


def selection(bank: int, numbers: Iterable[int]) -> TPMS_PCR_SELECTION:
    """Select PCRs of a bank; there are three octets at least, as every PC's TPM wants it."""
    bits = sum(1 << number for number in set(numbers))
    size = max(3, (bits.bit_length() + 7) // 8)
    return TPMS_PCR_SELECTION(hash=TPM_ALG(bank), pcrSelect=bits.to_bytes(size, "little"))


def called(pcrs: Iterable[TPMS_PCR_SELECTION]) -> str:
    """Call PCRs by their numbers and banks."""
    banks = [f"{listed(_numbers(pcr))} ({words(pcr.hash)})" for pcr in pcrs]
    return f"PCR {listed(banks)}"


def _numbers(pcr: TPMS_PCR_SELECTION) -> list[int]:
    bits = int.from_bytes(pcr.pcrSelect, "little")
    return [number for number in range(bits.bit_length()) if bits >> number & 1]


def _read(tpm: Executor, bank: int, numbers: list[int]) -> Iterable[tuple[int, bytes]]:
    for start in range(0, len(numbers), AT_ONCE):
        wanted = numbers[start : start + AT_ONCE]
        read = tpm.execute(PCR_Read(pcrSelectionIn=(selection(bank, wanted),)))
        found = [n for pcr in read.pcrSelectionOut if pcr.hash == bank for n in _numbers(pcr)]
        if found != wanted or len(read.pcrValues) != len(wanted):
            raise PolicyError(f"the TPM does not have {called([selection(bank, wanted)])}")
        yield from zip(wanted, read.pcrValues, strict=True)


@dataclass(frozen=True)
class NV(Step):
    """The content of an NV index compares in a way with a value.

    `authorization` is whoever may read it: the index itself unless another one is told.  If that
    has an authorization value, it is kept from listeners by means of `salt_key`.
    """

    CC = TPM_CC.PolicyNV

    index: HasEntity
    operandB: bytes
    operation: TPM_EO = TPM_EO.EQ
    offset: int = 0
    authorization: HasEntity | None = None
    salt_key: SaltKey | None = None

    def digest(self, alg: int, old: bytes) -> bytes:
        """Compute the policy digest after the step from that before it."""
        compared = digest(alg, self.operandB, _comparison(self.offset, self.operation))
        return digest(alg, old, code(self.CC), compared, self.index.name)

    def run(self, run: Run) -> None:
        """Assert the step in a policy session."""
        reader = self.authorization or self.index
        command = commands.PolicyNV(
            authHandle=reader,
            nvIndex=self.index,
            policySession=run.session.handle,
            operandB=self.operandB,
            offset=self.offset,
            operation=self.operation,
        )
        execute(run.tpm, command, reader, self.salt_key)

    def explain(self) -> str:
        """Say it in words."""
        place = f" from octet {self.offset}" if self.offset else ""
        what = f"NV index {self.index.handle:#010x}{place}"
        return f"{what} {_compares(self.operation)} {self.operandB.hex()}"


@dataclass(frozen=True)
class CounterTimer(Assertion):
    """A part of the TPMS_TIME_INFO compares in a way with a value."""

    CC = TPM_CC.PolicyCounterTimer

    operandB: bytes
    offset: int
    operation: TPM_EO

    def explain(self) -> str:
        """Say it in words."""
        span = f"octet {self.offset} on of the TPMS_TIME_INFO"
        part = TIME_INFO.get((self.offset, len(self.operandB)), span)
        return f"{part} {_compares(self.operation)} {int.from_bytes(self.operandB, 'big')}"

    def _arguments(self, alg: int) -> bytes:
        return digest(alg, self.operandB, _comparison(self.offset, self.operation))

    def _command(self, session: int, alg: int) -> Command[Any]:
        return commands.PolicyCounterTimer(
            policySession=session,
            operandB=self.operandB,
            offset=self.offset,
            operation=self.operation,
        )


@dataclass(frozen=True)
class Capability(Assertion):
    """A capability of the TPM compares in a way with a value."""

    CC = TPM_CC.PolicyCapability

    capability: TPM_CAP
    property: int
    operandB: bytes
    operation: TPM_EO = TPM_EO.EQ
    offset: int = 0

    def explain(self) -> str:
        """Say it in words."""
        what = f"capability {words(self.capability)} {self.property:#x}"
        return f"{what} {_compares(self.operation)} {self.operandB.hex()}"

    def _arguments(self, alg: int) -> bytes:
        which = self.capability.to_bytes(4, "big") + self.property.to_bytes(4, "big")
        return digest(alg, self.operandB, _comparison(self.offset, self.operation), which)

    def _command(self, session: int, alg: int) -> Command[Any]:
        return commands.PolicyCapability(
            policySession=session,
            operandB=self.operandB,
            offset=self.offset,
            operation=self.operation,
            capability=self.capability,
            property=self.property,
        )


def _comparison(offset: int, operation: int) -> bytes:
    return offset.to_bytes(2, "big") + operation.to_bytes(2, "big")


def _compares(operation: int) -> str:
    return COMPARISONS.get(operation, f"compares by {operation:#x} with")
