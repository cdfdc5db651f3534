"""NV indices, in any order of what can be done to them, beside a model of what they hold."""

from dataclasses import dataclass

from conftest import Swtpm, handles
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from indices import BY_OWNER, INDEX, SIZES, index, kind
from machines import Machine, run
from plain import sha256
from power import power_cycle

from tpmwire.attributes import TPMA_NV
from tpmwire.client import Tpm
from tpmwire.commands import (
    NV_DefineSpace,
    NV_Extend,
    NV_Increment,
    NV_Read,
    NV_ReadLock,
    NV_ReadPublic,
    NV_SetBits,
    NV_UndefineSpace,
    NV_Write,
    NV_WriteLock,
    Shutdown,
    Startup,
)
from tpmwire.constants import TPM_HC, TPM_NT, TPM_RC, TPM_RH
from tpmwire.types import TPMS_NV_PUBLIC

LOCKS = (
    TPMA_NV(0),
    TPMA_NV.WRITEDEFINE,
    TPMA_NV.WRITE_STCLEAR,
    TPMA_NV.READ_STCLEAR,
    TPMA_NV.WRITE_STCLEAR | TPMA_NV.READ_STCLEAR,
)
PLACES = (INDEX, INDEX + 1, INDEX + 2)
OWNER = TPM_RH.OWNER
places = st.sampled_from(PLACES)


@dataclass
class Held:
    """An index as the model knows it."""

    public: TPMS_NV_PUBLIC
    content: bytes
    written: bool = False
    write_locked: bool = False
    read_locked: bool = False

    @property
    def kind(self) -> int:
        return self.public.attributes.TPM_NT

    @property
    def attributes(self) -> TPMA_NV:
        state = TPMA_NV.WRITTEN * self.written | TPMA_NV.WRITELOCKED * self.write_locked
        return self.public.attributes | TPMA_NV(state | TPMA_NV.READLOCKED * self.read_locked)

    def write(self, content: bytes) -> None:
        self.content, self.written = content, True

    def changes(self, *kinds: TPM_NT) -> TPM_RC:
        """How a change ends that goes with these kinds of index."""
        if self.write_locked:
            return TPM_RC.NV_LOCKED
        return TPM_RC.SUCCESS if self.kind in kinds else TPM_RC.ATTRIBUTES

    def range(self, offset: int, size: int) -> TPM_RC:
        if offset > len(self.content):
            return TPM_RC.VALUE
        return TPM_RC.NV_RANGE if offset + size > len(self.content) else TPM_RC.SUCCESS


class Indices(Machine):
    swtpm: Swtpm

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[int, Held] = {}
        self.counted = 0  # what a counter has shown that is gone no new one shows again

    def teardown(self) -> None:
        for place in self.held:
            self.tpm.execute(NV_UndefineSpace(authHandle=OWNER, nvIndex=place))

    @rule(place=places, number=st.sampled_from(list(SIZES)), locks=st.sampled_from(LOCKS))
    def define(self, place: int, number: TPM_NT, locks: TPMA_NV) -> None:
        public = index(BY_OWNER | kind(number) | locks, nvIndex=place)
        command = NV_DefineSpace(authHandle=OWNER, auth=b"", publicInfo=public)
        taken = TPM_RC.NV_DEFINED if place in self.held else TPM_RC.SUCCESS
        if self.expect(taken, command):
            empty = b"\xff" if number == TPM_NT.ORDINARY else b"\0"
            self.held[place] = Held(public, empty * public.dataSize)

    @rule(place=places)
    def undefine(self, place: int) -> None:
        there = TPM_RC.SUCCESS if place in self.held else TPM_RC.HANDLE
        self.expect(there, NV_UndefineSpace(authHandle=OWNER, nvIndex=place))
        held = self.held.pop(place, None)
        if held and held.kind == TPM_NT.COUNTER:
            self.counted = max(self.counted, int.from_bytes(held.content, "big"))

    def one(self, data: st.DataObject) -> tuple[dict[str, int], Held]:
        place = data.draw(st.sampled_from(sorted(self.held)))
        return {"authHandle": OWNER, "nvIndex": place}, self.held[place]

    @precondition(lambda self: self.held)
    @rule(data=st.data(), octets=st.binary(min_size=1, max_size=17), offset=st.integers(0, 17))
    def write(self, data: st.DataObject, octets: bytes, offset: int) -> None:
        at, held = self.one(data)
        expected = held.changes(TPM_NT.ORDINARY) or held.range(offset, len(octets))
        if self.expect(expected, NV_Write(**at, data=octets, offset=offset)):
            after = held.content[offset + len(octets) :]
            held.write(held.content[:offset] + octets + after)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), octets=st.binary(max_size=40))
    def extend(self, data: st.DataObject, octets: bytes) -> None:
        at, held = self.one(data)
        if self.expect(held.changes(TPM_NT.EXTEND), NV_Extend(**at, data=octets)):
            held.write(sha256(held.content, octets))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), bits=st.integers(0, 2**64 - 1))
    def set_bits(self, data: st.DataObject, bits: int) -> None:
        at, held = self.one(data)
        if self.expect(held.changes(TPM_NT.BITS), NV_SetBits(**at, bits=bits)):
            held.write((int.from_bytes(held.content, "big") | bits).to_bytes(8, "big"))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def increment(self, data: st.DataObject) -> None:
        """Where a counter begins is the TPM's choice, so that it has to be read."""
        at, held = self.one(data)
        if held.read_locked and not held.written:
            return
        if not self.expect(held.changes(TPM_NT.COUNTER), NV_Increment(**at)):
            return
        number = int.from_bytes(held.content, "big") + 1
        if not held.written:
            number = int.from_bytes(self.tpm.execute(NV_Read(**at, size=8)).data, "big")
            assert number > self.counted
        held.write(number.to_bytes(8, "big"))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), size=st.integers(0, 33), offset=st.integers(0, 33))
    def read(self, data: st.DataObject, size: int, offset: int) -> None:
        at, held = self.one(data)
        expected = TPM_RC.SUCCESS if held.written else TPM_RC.NV_UNINITIALIZED
        locked = TPM_RC.NV_LOCKED if held.read_locked else TPM_RC.SUCCESS
        read = self.expect(
            locked or expected or held.range(offset, size), NV_Read(**at, size=size, offset=offset)
        )
        assert read is None or read.data == held.content[offset : offset + size]

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def lock_writing(self, data: st.DataObject) -> None:
        at, held = self.one(data)
        can = held.public.attributes & (TPMA_NV.WRITEDEFINE | TPMA_NV.WRITE_STCLEAR)
        self.expect(TPM_RC.SUCCESS if can else TPM_RC.ATTRIBUTES, NV_WriteLock(**at))
        held.write_locked = bool(can)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def lock_reading(self, data: st.DataObject) -> None:
        at, held = self.one(data)
        can = held.public.attributes & TPMA_NV.READ_STCLEAR
        self.expect(TPM_RC.SUCCESS if can else TPM_RC.ATTRIBUTES, NV_ReadLock(**at))
        held.read_locked = bool(can)

    @rule()
    def start_anew(self) -> None:
        """A lock is for good only where WRITEDEFINE says so, and something was written."""
        self.tpm.execute(Shutdown())
        power_cycle(self.swtpm)
        self.tpm.execute(Startup())
        for held in self.held.values():
            lasting = bool(held.public.attributes & TPMA_NV.WRITEDEFINE) and held.written
            held.write_locked, held.read_locked = held.write_locked and lasting, False

    @invariant()
    def the_tpm_has_what_the_model_has(self) -> None:
        assert set(handles(self.tpm, TPM_HC.HR_NV_INDEX)) == self.held.keys()
        for place, held in self.held.items():
            public = held.public.replace(attributes=held.attributes)
            read = self.tpm.execute(NV_ReadPublic(nvIndex=place))
            assert (read.nvPublic, read.nvName) == (public, b"\x00\x0b" + sha256(public.pack()))


def test_indices_hold_what_the_model_says(tpm: Tpm, swtpm: Swtpm):
    run(Indices, tpm, swtpm=swtpm)
