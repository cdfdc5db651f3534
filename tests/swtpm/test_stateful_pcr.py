"""PCRs, in any order of what can be done to them, beside a model of their values."""

import hashlib

from conftest import Swtpm
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from machines import Machine, run
from power import power_cycle

from tpmwire.client import Tpm
from tpmwire.commands import PCR_Event, PCR_Extend, PCR_Read, PCR_Reset, Shutdown, Startup
from tpmwire.constants import TPM_ALG, TPM_RC
from tpmwire.types import DIGEST_SIZES, TPMS_PCR_SELECTION, TPMT_HA

BANKS = (TPM_ALG.SHA1, TPM_ALG.SHA256, TPM_ALG.SHA384, TPM_ALG.SHA512)
OF_OTHERS = range(17, 23)  # of localities above 0
RESETTABLE = (16, 23)
pcrs = st.sampled_from((0, 9, 15, 16, 17, 22, 23, 24))


def digest(bank: TPM_ALG, *parts: bytes) -> bytes:
    return hashlib.new(bank.name.lower(), b"".join(parts)).digest()


class Pcrs(Machine):
    swtpm: Swtpm

    @initialize()
    def start(self) -> None:
        self.start_anew()

    @rule()
    def start_anew(self) -> None:
        self.tpm.execute(Shutdown())
        power_cycle(self.swtpm)
        self.tpm.execute(Startup())
        self.values = {
            (bank, pcr): (b"\xff" if pcr in OF_OTHERS else b"\0") * DIGEST_SIZES[bank]
            for bank in BANKS
            for pcr in range(24)
        }

    def extended(self, bank: TPM_ALG, pcr: int, value: bytes) -> None:
        self.values[bank, pcr] = digest(bank, self.values[bank, pcr], value)

    @staticmethod
    def allowed(pcr: int) -> TPM_RC:
        if pcr > 23:
            return TPM_RC.VALUE
        return TPM_RC.LOCALITY if pcr in OF_OTHERS else TPM_RC.SUCCESS

    @rule(pcr=pcrs, banks=st.lists(st.sampled_from(BANKS), max_size=4), data=st.data())
    def extend(self, pcr: int, banks: list[TPM_ALG], data: st.DataObject) -> None:
        """The same bank may be there twice."""
        digests = tuple(
            TPMT_HA(hashAlg=bank, digest=data.draw(octets(DIGEST_SIZES[bank]))) for bank in banks
        )
        if self.expect(self.allowed(pcr), PCR_Extend(pcrHandle=pcr, digests=digests)):
            for each in digests:
                self.extended(each.hashAlg, pcr, each.digest)

    @rule(pcr=pcrs)
    def extend_a_bank_that_is_not_there(self, pcr: int) -> None:
        digests = (TPMT_HA(hashAlg=TPM_ALG.SM3_256, digest=bytes(32)),)
        expected = TPM_RC.VALUE if pcr > 23 else TPM_RC.HASH
        self.expect(expected, PCR_Extend(pcrHandle=pcr, digests=digests))

    @rule(pcr=pcrs, event=st.binary(max_size=1024))
    def event(self, pcr: int, event: bytes) -> None:
        answer = self.expect(self.allowed(pcr), PCR_Event(pcrHandle=pcr, eventData=event))
        if answer:
            assert {each.hashAlg: each.digest for each in answer.digests} == {
                bank: digest(bank, event) for bank in BANKS
            }
            for bank in BANKS:
                self.extended(bank, pcr, digest(bank, event))

    @rule(pcr=pcrs)
    def reset(self, pcr: int) -> None:
        allowed = TPM_RC.SUCCESS if pcr in RESETTABLE else TPM_RC.LOCALITY
        expected = TPM_RC.VALUE if pcr > 23 else allowed
        if self.expect(expected, PCR_Reset(pcrHandle=pcr)):
            for bank in BANKS:
                self.values[bank, pcr] = bytes(DIGEST_SIZES[bank])

    @invariant()
    def a_bank_reads_as_the_model_says(self) -> None:
        if not hasattr(self, "values"):
            return
        for first in (0, 8, 16):  # the TPM gives eight at once
            bits = (0xFF << first).to_bytes(3, "little")
            for bank in BANKS:
                selection = (TPMS_PCR_SELECTION(hash=bank, pcrSelect=bits),)
                read = self.tpm.execute(PCR_Read(pcrSelectionIn=selection)).pcrValues
                assert read == tuple(self.values[bank, first + n] for n in range(8))


def octets(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


def test_pcrs_have_the_values_that_the_model_says(tpm: Tpm, swtpm: Swtpm):
    run(Pcrs, tpm, swtpm=swtpm)
