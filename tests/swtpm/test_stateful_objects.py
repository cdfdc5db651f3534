"""Objects, in any order of what can be done to them, beside a model of where they are."""

from dataclasses import dataclass

from conftest import handles
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from keys import ECDSA, verify
from machines import Machine, run
from plain import sha256

from tpmwire import templates
from tpmwire.authorization import PasswordSession
from tpmwire.client import Tpm
from tpmwire.commands import (
    ContextLoad,
    ContextSave,
    Create,
    EvictControl,
    FlushContext,
    Load,
    ReadPublic,
    Sign,
)
from tpmwire.constants import TPM_HC, TPM_RC, TPM_RH
from tpmwire.types import TPMS_CONTEXT, TPMS_SENSITIVE_CREATE, TPMT_PUBLIC

SLOTS = 3  # what swtpm has room for
PERSISTENT = (0x81000001, 0x81000002)
PINS = (b"", b"pin", b"\xff" * 32)
TEMPLATE = templates.without_lockout(templates.ECC_SIGN)
places = st.sampled_from(PERSISTENT)


@dataclass
class Key:
    private: bytes
    public: TPMT_PUBLIC
    pin: bytes


class Objects(Machine):
    def __init__(self) -> None:
        super().__init__()
        self.keys: list[Key] = []
        self.loaded: dict[int, Key] = {}
        self.kept: dict[int, Key] = {}
        self.saved: list[tuple[TPMS_CONTEXT, Key]] = []

    @initialize()
    def start(self) -> None:
        self.parent = self.tpm.create_primary(templates.ECC_SRK)

    def teardown(self) -> None:
        for handle in (*self.loaded, self.parent.handle):
            self.tpm.execute(FlushContext(flushHandle=handle))
        for handle in self.kept:
            self.tpm.execute(self.evict(handle, handle))

    def evict(self, handle: int, place: int) -> EvictControl:
        return EvictControl(auth=TPM_RH.OWNER, objectHandle=handle, persistentHandle=place)

    @property
    def room(self) -> TPM_RC:
        """How a command ends that makes an object, or uses one that is kept, and needs a slot."""
        full = len(self.loaded) + 1 == SLOTS
        return TPM_RC.OBJECT_MEMORY if full else TPM_RC.SUCCESS

    @rule(pin=st.sampled_from(PINS))
    def create(self, pin: bytes) -> None:
        sensitive = TPMS_SENSITIVE_CREATE(userAuth=pin)
        command = Create(parentHandle=self.parent, inSensitive=sensitive, inPublic=TEMPLATE)
        made = self.expect(self.room, command)
        if made:
            self.keys.append(Key(made.outPrivate, made.outPublic, pin))

    @precondition(lambda self: self.keys)
    @rule(data=st.data(), other=st.booleans())
    def load(self, data: st.DataObject, other: bool) -> None:
        """The private part of one key does not go with the public part of another."""
        key = data.draw(st.sampled_from(self.keys))
        public = self.keys[0].public if other else key.public
        fits = TPM_RC.SUCCESS if public == key.public else TPM_RC.INTEGRITY
        command = Load(parentHandle=self.parent, inPrivate=key.private, inPublic=public)
        loaded = self.expect(self.room or fits, command)
        if loaded:
            assert loaded.name == b"\x00\x0b" + sha256(public.pack())
            self.loaded[loaded.objectHandle] = key

    def sign(self, handle: int, key: Key, pin: bytes, message: bytes, room: TPM_RC) -> None:
        command = Sign(keyHandle=handle, digest=sha256(message), inScheme=ECDSA)
        right = TPM_RC.SUCCESS if pin == key.pin else TPM_RC.BAD_AUTH
        signed = self.expect(room or right, command, PasswordSession(pin))
        if signed:
            verify(key.public, signed.signature, message)

    @precondition(lambda self: self.loaded)
    @rule(data=st.data(), pin=st.sampled_from(PINS), message=st.binary(max_size=9))
    def sign_with_a_loaded_one(self, data: st.DataObject, pin: bytes, message: bytes) -> None:
        handle = data.draw(st.sampled_from(sorted(self.loaded)))
        self.sign(handle, self.loaded[handle], pin, message, TPM_RC.SUCCESS)

    @precondition(lambda self: self.kept)
    @rule(data=st.data(), pin=st.sampled_from(PINS), message=st.binary(max_size=9))
    def sign_with_a_kept_one(self, data: st.DataObject, pin: bytes, message: bytes) -> None:
        handle = data.draw(st.sampled_from(sorted(self.kept)))
        self.sign(handle, self.kept[handle], pin, message, self.room)

    @rule(handle=st.sampled_from([0x80000000, 0x80000001, 0x80000002, 0x80000003]))
    def flush(self, handle: int) -> None:
        if handle != self.parent.handle:
            there = self.loaded.pop(handle, None)
            absent = TPM_RC.HANDLE if handle - TPM_HC.HR_TRANSIENT < SLOTS else TPM_RC.VALUE
            self.expect(TPM_RC.SUCCESS if there else absent, FlushContext(flushHandle=handle))

    @precondition(lambda self: self.loaded)
    @rule(data=st.data())
    def save(self, data: st.DataObject) -> None:
        handle = data.draw(st.sampled_from(sorted(self.loaded)))
        saved = self.expect(TPM_RC.SUCCESS, ContextSave(saveHandle=handle))
        self.saved.append((saved.context, self.loaded[handle]))

    @precondition(lambda self: self.saved)
    @rule(data=st.data(), wounded=st.booleans())
    def restore(self, data: st.DataObject, wounded: bool) -> None:
        context, key = data.draw(st.sampled_from(self.saved))
        if wounded:
            octets = bytearray(context.contextBlob)
            octets[data.draw(st.integers(len(octets) // 2, len(octets) - 1))] ^= 1
            context = context.replace(contextBlob=bytes(octets))
            self.expect(TPM_RC.INTEGRITY, ContextLoad(context=context))
            return
        loaded = self.expect(self.room, ContextLoad(context=context))
        if loaded:
            self.loaded[loaded.loadedHandle] = key

    @precondition(lambda self: self.loaded)
    @rule(data=st.data(), place=places)
    def keep(self, data: st.DataObject, place: int) -> None:
        handle = data.draw(st.sampled_from(sorted(self.loaded)))
        taken = TPM_RC.NV_DEFINED if place in self.kept else TPM_RC.SUCCESS
        if self.expect(taken, self.evict(handle, place)):
            self.kept[place] = self.loaded[handle]

    @rule(place=places)
    def remove(self, place: int) -> None:
        """To see whether it is there takes a slot, too."""
        there = TPM_RC.SUCCESS if place in self.kept else TPM_RC.HANDLE
        if self.expect(self.room or there, self.evict(place, place)):
            del self.kept[place]

    @invariant()
    def the_tpm_has_what_the_model_has(self) -> None:
        if not hasattr(self, "parent"):
            return
        loaded = {self.parent.handle, *self.loaded}
        assert set(handles(self.tpm, TPM_HC.HR_TRANSIENT)) == loaded
        assert set(handles(self.tpm, TPM_HC.HR_PERSISTENT)) == self.kept.keys()
        for handle, key in self.loaded.items():
            assert self.tpm.execute(ReadPublic(objectHandle=handle)).outPublic == key.public


def test_objects_are_where_the_model_says(tpm: Tpm):
    run(Objects, tpm)
