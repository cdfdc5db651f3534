"""NV indices for the tests."""

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import handles

from tpmwire.attributes import TPMA_NV
from tpmwire.client import Tpm
from tpmwire.commands import NV_DefineSpace, NV_ReadPublic, NV_UndefineSpace
from tpmwire.constants import TPM_ALG, TPM_HC, TPM_NT, TPM_RH
from tpmwire.types import TPMS_NV_PUBLIC

INDEX = 0x01500000
BY_AUTH = TPMA_NV.AUTHREAD | TPMA_NV.AUTHWRITE | TPMA_NV.NO_DA
BY_OWNER = TPMA_NV.OWNERREAD | TPMA_NV.OWNERWRITE | TPMA_NV.NO_DA
SIZES = {TPM_NT.ORDINARY: 16, TPM_NT.COUNTER: 8, TPM_NT.BITS: 8, TPM_NT.EXTEND: 32}


def kind(number: TPM_NT) -> TPMA_NV:
    """The bits of an attribute word that tell the kind of index."""
    return TPMA_NV(number << 4)


def index(attributes: TPMA_NV, size: int | None = None, **others: Any) -> TPMS_NV_PUBLIC:
    chosen = SIZES[TPM_NT(attributes.TPM_NT)] if size is None else size
    fields = {"nvIndex": INDEX, "nameAlg": TPM_ALG.SHA256, "attributes": attributes}
    return TPMS_NV_PUBLIC(**{**fields, "dataSize": chosen, **others})


def define(tpm: Tpm, public: TPMS_NV_PUBLIC, auth: bytes = b"", by: int = TPM_RH.OWNER) -> int:
    """Define an index and return its handle."""
    tpm.execute(NV_DefineSpace(authHandle=by, auth=auth, publicInfo=public))
    return public.nvIndex


def attributes(tpm: Tpm, nv: int) -> TPMA_NV:
    return tpm.execute(NV_ReadPublic(nvIndex=nv)).nvPublic.attributes


@pytest.fixture(autouse=True)
def no_index_left(tpm: Tpm) -> Iterator[None]:
    """Remove the indices that a test has left, and let it fail for them."""
    yield
    left = handles(tpm, TPM_HC.HR_NV_INDEX)
    for nv in left:
        tpm.execute(NV_UndefineSpace(authHandle=TPM_RH.OWNER, nvIndex=nv))
    assert left == ()
