"""The same values as tpm2-tss has them, through tpm2-pytss.

That package needs a C compiler and the TSS's headers to install, so it is in no extra.  Where
libtss2-dev is there, `pip install tpm2-pytss` in .venv lets these tests run.
"""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from strategies import STRUCTURES, structures

from tpmwire.constants import TPM_ALG
from tpmwire.structure import Structure
from tpmwire.types import TPMS_SCHEME_ECDAA, TPMS_SIGNATURE_ECC

os.environ.setdefault("TSS2_LOG", "all+NONE")
pytest.importorskip("tpm2_pytss", reason="tpm2-pytss is not installed")

from tpm2_pytss import TSS2_Exception, types

OTHERWISE = {
    "TPMS_ALGORITHM_DESCRIPTION": "the TSS has no function that reads it",
    "TPMS_ASYM_PARMS": "the TSS has no function that reads it",
    "TPMS_ID_OBJECT": "for the TSS, encIdentity has a size of its own, which is encrypted",
}
SHARED = sorted(
    {
        cls.__name__: cls
        for cls in STRUCTURES
        if hasattr(getattr(types, cls.__name__, None), "unmarshal")
        and cls.__name__ not in OTHERWISE
    }.values(),
    key=lambda cls: cls.__name__,
)


def theirs(value: Structure) -> Any:
    """Their value of the same octets; None where their limits, or their version, are narrower."""
    octets = value.pack()
    try:
        read, used = getattr(types, type(value).__name__).unmarshal(octets)
    except TSS2_Exception:
        return None
    assert used == len(octets)
    return read


def compare(ours: Structure, other: Any) -> None:
    """Compare numbers and octets, field by field, as far as both call them by the same name."""
    for name, value in vars(ours).items():
        peer = getattr(other, name, None)
        if isinstance(value, Structure) and type(peer).__name__ == type(value).__name__:
            compare(value, peer)
        elif isinstance(value, int) and isinstance(peer, int):
            assert value == peer, name
        elif isinstance(value, bytes) and isinstance(peer, types.TPM2B_SIMPLE_OBJECT):
            assert value == bytes(peer), name


def test_most_structures_are_there_on_both_sides():
    assert len(SHARED) > 50
    assert {"TPMT_PUBLIC", "TPMS_ATTEST", "TPMT_SIGNATURE"} <= {each.__name__ for each in SHARED}


@pytest.mark.parametrize("cls", SHARED, ids=lambda cls: cls.__name__)
@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(data=st.data())
def test_both_sides_read_and_write_the_same(cls: type[Structure], data: st.DataObject):
    value = data.draw(structures(cls))
    read = theirs(value)
    assume(read is not None)
    assert bytes(read.marshal()) == value.pack()
    compare(value, read)


def test_a_difference_is_seen():
    ours = TPMS_SIGNATURE_ECC(hash=TPM_ALG.SHA256, signatureR=b"r", signatureS=b"s")
    compare(ours, theirs(ours))
    with pytest.raises(AssertionError, match="signatureS"):
        compare(ours, theirs(ours.replace(signatureS=b"t")))
    numbers = TPMS_SCHEME_ECDAA(hashAlg=TPM_ALG.SHA256, count=1)
    with pytest.raises(AssertionError, match="count"):
        compare(numbers, theirs(numbers.replace(count=2)))
