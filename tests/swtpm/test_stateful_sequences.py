"""Hashes and HMACs over parts, several at a time, beside those of the standard library."""

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Any

from conftest import handles
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from keys import hmac_key
from machines import Machine, run

from tpmwire.authorization import PasswordSession
from tpmwire.client import Tpm
from tpmwire.commands import (
    EventSequenceComplete,
    FlushContext,
    HashSequenceStart,
    HMAC_Start,
    SequenceComplete,
    SequenceUpdate,
)
from tpmwire.constants import TPM_ALG, TPM_CONSTANTS32, TPM_HC, TPM_RC, TPM_RH

SLOTS = 3  # what swtpm has room for
BUFFER = 1024  # what swtpm takes at once
HASHES = (TPM_ALG.SHA1, TPM_ALG.SHA256, TPM_ALG.SHA384, TPM_ALG.SHA512)
GENERATED = TPM_CONSTANTS32.GENERATED_VALUE.to_bytes(4, "big")
KEY = bytes(range(32))
PINS = (b"", b"pin")
parts = st.one_of(
    st.binary(max_size=9),
    st.integers(1000, 1030).map(lambda size: b"\xa5" * size),
    st.just(GENERATED + b"!"),
)


@dataclass
class Sequence:
    """A sequence as the model knows it; `compute` is None where each bank's hash is computed."""

    pin: bytes
    compute: Any
    is_hash: bool = True
    parts: list[bytes] = field(default_factory=list)

    @property
    def ticket(self) -> bool:
        """Whether the TPM vouches that it did not make what was hashed."""
        first = self.parts[0]
        return self.is_hash and len(first) >= 4 and not first.startswith(GENERATED)


class Sequences(Machine):
    @initialize()
    def start(self) -> None:
        self.key = hmac_key(self.tpm, KEY)
        self.going: dict[int, Sequence] = {}

    def teardown(self) -> None:
        for handle in (*self.going, self.key.handle):
            self.tpm.execute(FlushContext(flushHandle=handle))

    def begin(self, command: Any, sequence: Sequence) -> None:
        full = len(self.going) + 1 == SLOTS
        started = self.expect(TPM_RC.OBJECT_MEMORY if full else TPM_RC.SUCCESS, command)
        if started:
            self.going[started.sequenceHandle] = sequence

    @rule(alg=st.sampled_from(HASHES), pin=st.sampled_from(PINS))
    def begin_a_hash(self, alg: TPM_ALG, pin: bytes) -> None:
        compute = lambda data: hashlib.new(alg.name.lower(), data).digest()  # noqa: E731
        self.begin(HashSequenceStart(auth=pin, hashAlg=alg), Sequence(pin, compute))

    @rule(pin=st.sampled_from(PINS))
    def begin_an_hmac(self, pin: bytes) -> None:
        compute = lambda data: hmac.digest(KEY, data, "sha256")  # noqa: E731
        self.begin(HMAC_Start(handle=self.key, auth=pin), Sequence(pin, compute, is_hash=False))

    @rule(pin=st.sampled_from(PINS))
    def begin_an_event(self, pin: bytes) -> None:
        self.begin(HashSequenceStart(auth=pin, hashAlg=TPM_ALG.NULL), Sequence(pin, None))

    def one(self, data: st.DataObject) -> tuple[int, Sequence, bytes]:
        handle = data.draw(st.sampled_from(sorted(self.going)))
        return handle, self.going[handle], data.draw(st.sampled_from(PINS))

    @staticmethod
    def before(sequence: Sequence, pin: bytes, part: bytes) -> TPM_RC:
        """How a command ends that comes to a sequence with this PIN and part, if badly."""
        if pin != sequence.pin:
            return TPM_RC.BAD_AUTH
        return TPM_RC.SIZE if len(part) > BUFFER else TPM_RC.SUCCESS

    @precondition(lambda self: self.going)
    @rule(data=st.data(), part=parts)
    def update(self, data: st.DataObject, part: bytes) -> None:
        handle, sequence, pin = self.one(data)
        command = SequenceUpdate(sequenceHandle=handle, buffer=part)
        if self.expect(self.before(sequence, pin, part), command, PasswordSession(pin)):
            sequence.parts.append(part)

    @precondition(lambda self: self.going)
    @rule(data=st.data(), part=parts)
    def complete(self, data: st.DataObject, part: bytes) -> None:
        handle, sequence, pin = self.one(data)
        command = SequenceComplete(sequenceHandle=handle, buffer=part, hierarchy=TPM_RH.OWNER)
        wrong = TPM_RC.SUCCESS if sequence.compute else TPM_RC.MODE
        expected = self.before(sequence, pin, part) or wrong
        answer = self.expect(expected, command, PasswordSession(pin))
        if answer:
            sequence.parts.append(part)
            assert answer.result == sequence.compute(b"".join(sequence.parts))
            vouched = TPM_RH.OWNER if sequence.ticket else TPM_RH.NULL
            assert answer.validation.hierarchy == vouched, sequence.parts
            del self.going[handle]

    @precondition(lambda self: self.going)
    @rule(data=st.data(), part=parts)
    def complete_an_event(self, data: st.DataObject, part: bytes) -> None:
        handle, sequence, pin = self.one(data)
        command = EventSequenceComplete(pcrHandle=16, sequenceHandle=handle, buffer=part)
        wrong = TPM_RC.MODE if sequence.compute else TPM_RC.SUCCESS
        expected = self.before(sequence, pin, part) or wrong
        answer = self.expect(expected, command, PasswordSession(), PasswordSession(pin))
        if answer:
            data_of_all = b"".join([*sequence.parts, part])
            assert {each.hashAlg: each.digest for each in answer.results} == {
                alg: hashlib.new(alg.name.lower(), data_of_all).digest() for alg in HASHES
            }
            del self.going[handle]

    @precondition(lambda self: self.going)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        handle, *_ = self.one(data)
        self.expect(TPM_RC.SUCCESS, FlushContext(flushHandle=handle))
        del self.going[handle]

    @invariant()
    def the_tpm_has_what_the_model_has(self) -> None:
        if hasattr(self, "key"):
            there = set(handles(self.tpm, TPM_HC.HR_TRANSIENT))
            assert there == {self.key.handle, *self.going}


def test_any_split_gives_the_digest_of_the_whole(tpm: Tpm):
    run(Sequences, tpm)
