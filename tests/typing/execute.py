"""Type-checked by mypy, never run: what a type checker knows of commands and structures."""

from typing import assert_type

import tpmwire
from tpmwire import templates
from tpmwire.commands import (
    MAC,
    Create,
    CreateResponse,
    GetRandom,
    GetRandomResponse,
    HMACResponse,
    MakeCredential,
    NV_ReadPublic,
    PCR_SetAuthValue,
)
from tpmwire.constants import TPM_ALG
from tpmwire.objects import LoadedObject
from tpmwire.types import TPMS_ECC_PARMS, TPMS_NV_PUBLIC, TPMT_PUBLIC, TPMT_SIGNATURE

with tpmwire.open() as tpm:
    assert_type(tpm.execute(GetRandom(bytesRequested=16)), GetRandomResponse)
    assert_type(GetRandom.read(b"").randomBytes, bytes)
    with tpm.create_primary(templates.ECC_SRK) as srk:
        assert_type(srk, LoadedObject)
        made = tpm.execute(Create(parentHandle=srk, inPublic=templates.ECC_SIGN))
        assert_type(made, CreateResponse)
        assert_type(made.outPublic, TPMT_PUBLIC)
        assert_type(srk.sign(b""), TPMT_SIGNATURE)
        if isinstance(made.outPublic.parameters, TPMS_ECC_PARMS):
            made.outPublic.parameters.curveID.to_bytes(2, "big")
        # A field called `handle`, as in the table, though that is what declares one.
        assert_type(tpm.execute(MAC(handle=srk, buffer=b"")), HMACResponse)
        assert_type(tpm.execute(NV_ReadPublic(nvIndex=0x01800001)).nvPublic, TPMS_NV_PUBLIC)

GetRandom(bytesRequested="16")  # type: ignore[arg-type]
GetRandom()  # type: ignore[call-arg]
GetRandom(bytesWanted=16)  # type: ignore[call-arg]
MakeCredential(handle=srk, objectName=b"")  # type: ignore[call-arg]
PCR_SetAuthValue(pcrHandle=0, auth="pin")  # type: ignore[arg-type]
made.outPublic.nameAlg = TPM_ALG.SHA256  # type: ignore[misc]
