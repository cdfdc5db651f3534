"""What keys a TPM can make: asking it for one kind, and listing all."""

import argparse
import json
from typing import Any

import tpmwire
from tpmwire.client import Tpm
from tpmwire.commands.capability import TestParms
from tpmwire.constants import TPM_ALG, TPM_ECC, TPM_RC
from tpmwire.errors import TpmError
from tpmwire.scripts.console import UserError
from tpmwire.ssh.keys import RSA_SHA2_256, signature_algorithm
from tpmwire.templates import ecc_sign, rsa_sign
from tpmwire.types.algorithms import TPMS_SCHEME_HASH, TPMT_ECC_SCHEME, TPMT_RSA_SCHEME
from tpmwire.types.objects import TPMS_ECC_PARMS, TPMS_RSA_PARMS, TPMT_PUBLIC, TPMT_PUBLIC_PARMS

CURVES = {256: TPM_ECC.NIST_P256, 384: TPM_ECC.NIST_P384, 521: TPM_ECC.NIST_P521}
RSA_SIZES = (2048, 3072, 4096)

_LACKS = (
    *(TPM_RC.VALUE, TPM_RC.CURVE, TPM_RC.KEY_SIZE, TPM_RC.RANGE),
    *(TPM_RC.HASH, TPM_RC.SCHEME, TPM_RC.ASYMMETRIC, TPM_RC.TYPE),
)


def run(options: argparse.Namespace) -> int:
    """List the keys that the TPM can make."""
    with tpmwire.open(options.tpm) as tpm:
        found = {
            "ecdsa": [bits for bits, curve in CURVES.items() if supports(tpm, ecc_sign(curve))],
            "rsa": [bits for bits in RSA_SIZES if supports(tpm, rsa_sign(bits))],
        }
    if options.json:
        print(json.dumps(found))
        return 0
    for kind, sizes in found.items():
        print(f"{kind:6}{', '.join(map(str, sizes)) or 'none'}")
    return 0


def check(tpm: Tpm, template: TPMT_PUBLIC) -> None:
    """Ask the TPM whether it can make such a key; UserError if not."""
    if not supports(tpm, template):
        raise UserError(f"this TPM cannot make {_kind(template)} keys")


def supports(tpm: Tpm, template: TPMT_PUBLIC) -> bool:
    """Ask the TPM whether it can make such a key, and sign with it as SSH wants it."""
    parameters = TPMT_PUBLIC_PARMS(type=template.type, parameters=_with_scheme(template))
    try:
        tpm.execute(TestParms(parameters=parameters))
    except TpmError as error:
        if error.code not in _LACKS:
            raise
        return False
    return True


def _with_scheme(template: TPMT_PUBLIC) -> Any:
    """Bind the parameters to the scheme of SSH, for the TPM may know the curve but not the hash."""
    is_rsa = template.type == TPM_ALG.RSA
    chosen = signature_algorithm(template, RSA_SHA2_256 if is_rsa else 0)
    details = TPMS_SCHEME_HASH(hashAlg=chosen.hash)
    kind = TPMT_RSA_SCHEME if is_rsa else TPMT_ECC_SCHEME
    parameters: Any = template.parameters
    return parameters.replace(scheme=kind(scheme=chosen.scheme, details=details))


def _kind(template: TPMT_PUBLIC) -> str:
    parameters = template.parameters
    if isinstance(parameters, TPMS_RSA_PARMS):
        return f"RSA-{parameters.keyBits}"
    return parameters.curveID.name if isinstance(parameters, TPMS_ECC_PARMS) else "such"
